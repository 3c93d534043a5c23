// Conntrack timeout policies: which of the datapath's policies the connections of a zone get.

import Dpif
import Flow
import Packet

/// The policies of a datapath, by their content. Confined to the main thread.
struct TimeoutPolicies {
    /// Zones by number.
    private var zones: [UInt16: UInt32] = [:]
    private var ids: [[String: UInt32]: UInt32] = [:]
    private var next: UInt32 = 1

    /// Gives zones these timeouts, in seconds by state, and others the default ones.
    /// - Returns: true when something changed.
    mutating func set(_ wanted: [UInt16: [String: UInt32]], in conntrack: any DpifConntrack) -> Bool {
        var zones: [UInt16: UInt32] = [:]
        for (zone, timeouts) in wanted.sorted(by: { $0.key < $1.key }) {
            if let id = ids[timeouts] {
                zones[zone] = id
            } else {
                ids[timeouts] = next
                conntrack.setTimeoutPolicy(Self.name(next, in: conntrack), timeouts)
                zones[zone] = next
                next += 1
            }
        }
        let used = Set(zones.values)
        for (timeouts, id) in ids where !used.contains(id) {
            conntrack.setTimeoutPolicy(Self.name(id, in: conntrack), nil)
            ids[timeouts] = nil
        }
        defer { self.zones = zones }
        return zones != self.zones
    }

    func policy(_ zone: UInt16) -> UInt32? { zones[zone] }

    /// The kernel's names are shared with whoever else makes policies there.
    static func name(_ id: UInt32, in conntrack: any DpifConntrack) -> String {
        conntrack.hasPoliciesByProtocol ? "ovs_tp_\(id)" : String(id)
    }
}

extension DatapathBacker {
    /// Gives connections of zones their timeouts (CT_Timeout_Policy), in seconds by state.
    public func setTimeoutPolicies(_ zones: [UInt16: [String: UInt32]]) {
        guard let conntrack = dpif.conntrack, capabilities.ctTimeoutPolicy else { return }
        if timeoutPolicies.set(zones, in: conntrack) { changed() }
    }

    /// The policy's name that a packet's `ct` action gives; what the name looks at goes into the mask.
    func timeoutPolicy(zone: UInt16, flow: FlowKey, consulted: inout FlowMask) -> String? {
        guard capabilities.ctTimeoutPolicy, let id = timeoutPolicies.policy(zone) else { return nil }
        guard let conntrack = dpif.conntrack else { return nil }
        let name = TimeoutPolicies.name(id, in: conntrack)
        guard conntrack.hasPoliciesByProtocol else { return name }
        consulted.setExact(Location.nwProto)
        let family = flow.ethType == EtherType.ipv6 ? "6" : "4"
        switch flow.nwProto {
        case IPProtocol.tcp: return "\(name)_tcp\(family)"
        case IPProtocol.udp: return "\(name)_udp\(family)"
        case IPProtocol.icmp: return "\(name)_icmp4"
        case IPProtocol.icmpv6: return "\(name)_icmpv6"
        default: return nil
        }
    }
}
