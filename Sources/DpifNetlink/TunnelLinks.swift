// Tunnel interfaces of the kernel (rtnetlink(7)): one for each kind and UDP port, without ends of its own ("collect metadata"), so that flows say
// where each packet goes. Kernels that cannot make one that way have the module's own port types for it.

import CLinux
import Dpif
import Glibc

/// A tunnel interface to be made.
struct TunnelLink: Equatable {
    enum Kind: String { case vxlan, geneve, gre = "gretap", ip6gre = "ip6gretap", erspan, ip6erspan, bareudp }
    let name: String
    let kind: Kind
    /// Of vxlan, geneve and bareudp.
    var destinationPort: UInt16 = 0
    /// VXLAN's extension for group policies.
    var hasGroupPolicy = false
    /// VXLAN's extension for other payloads than Ethernet.
    var hasGenericProtocol = false
    /// What bareudp carries.
    var payloadType: UInt16 = 0

    /// The module's own port type for it, on kernels that have no such interfaces.
    var portType: ovs_vport_type? {
        switch kind {
        case .vxlan: hasGroupPolicy || hasGenericProtocol ? nil : OVS_VPORT_TYPE_VXLAN
        case .geneve: OVS_VPORT_TYPE_GENEVE
        case .gre: OVS_VPORT_TYPE_GRE
        default: nil
        }
    }

    /// How to get what it takes, when the kernel has it not.
    var module: String {
        switch kind {
        case .gre: "ip_gre"
        case .ip6gre, .ip6erspan: "ip6_gre"
        case .erspan: "ip_gre"
        default: kind.rawValue
        }
    }

    /// IFLA_INFO_DATA.
    fileprivate func write(to w: inout NetlinkMessageWriter) {
        func on(_ type: Int, _ w: inout NetlinkMessageWriter) { w.attribute(type, host: UInt8(1)) }
        switch kind {
        case .vxlan:
            w.attribute(Int(IFLA_VXLAN_LEARNING), host: UInt8(0))
            on(Int(IFLA_VXLAN_COLLECT_METADATA), &w)
            on(Int(IFLA_VXLAN_UDP_ZERO_CSUM6_RX), &w)
            if hasGroupPolicy { w.flag(Int(IFLA_VXLAN_GBP)) }
            if hasGenericProtocol { w.flag(Int(IFLA_VXLAN_GPE)) }
            w.attribute(Int(IFLA_VXLAN_PORT), network: destinationPort)
        case .geneve:
            w.flag(Int(IFLA_GENEVE_COLLECT_METADATA))
            on(Int(IFLA_GENEVE_UDP_ZERO_CSUM6_RX), &w)
            w.attribute(Int(IFLA_GENEVE_PORT), network: destinationPort)
        case .gre, .ip6gre, .erspan, .ip6erspan: w.flag(Int(clinux_IFLA_GRE_COLLECT_METADATA))
        case .bareudp:
            w.attribute(Int(IFLA_BAREUDP_PORT), network: destinationPort)
            w.attribute(Int(IFLA_BAREUDP_ETHERTYPE), network: payloadType)
            w.attribute(Int(IFLA_BAREUDP_SRCPORT_MIN), host: UInt16(49152))
            w.flag(Int(IFLA_BAREUDP_MULTIPROTO_MODE))
        }
    }
}

/// Makes and removes interfaces. Confined to the main thread.
struct LinkRequests {
    let transport: NetlinkTransport
    /// False: as on a kernel that has no such interfaces.
    let makesTunnels: Bool

    private func link(_ type: Int, flags: Int32, up: Bool) -> NetlinkMessageWriter {
        var w = NetlinkMessageWriter(type: UInt16(type), flags: UInt16(flags))
        // struct ifinfomsg
        w.raw([UInt8(AF_UNSPEC), 0])
        w.host(UInt16(0))
        w.host(Int32(0))
        w.host(UInt32(up ? UInt32(IFF_UP) : 0))
        w.host(UInt32(up ? UInt32(IFF_UP) : 0))
        return w
    }

    /// Makes an interface that is up. Throws EEXIST when there is one of the name, EOPNOTSUPP when the kernel has no such kind.
    func create(_ tunnel: TunnelLink) throws(DpifError) {
        guard makesTunnels else { throw DpifError(EOPNOTSUPP, "interface \(tunnel.name) of kind \(tunnel.kind.rawValue)") }
        var w = link(RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, up: true)
        w.attribute(Int(IFLA_IFNAME), string: tunnel.name)
        w.flaggedNest(Int(IFLA_LINKINFO)) {
            $0.attribute(Int(IFLA_INFO_KIND), string: tunnel.kind.rawValue)
            $0.flaggedNest(Int(IFLA_INFO_DATA)) { tunnel.write(to: &$0) }
        }
        try transport.transact(w, "interface \(tunnel.name) of kind \(tunnel.kind.rawValue)")
        // Nothing that flows send through it is to be cut by it.
        for mtu: UInt32 in [65_535, 65_000, 65_400] {
            var w = link(RTM_NEWLINK, flags: 0, up: true)
            w.attribute(Int(IFLA_IFNAME), string: tunnel.name)
            w.attribute(Int(IFLA_MTU), host: mtu)
            if (try? transport.transact(w, "MTU of \(tunnel.name)")) != nil { break }
        }
    }

    /// Throws ENODEV when there is none.
    func remove(_ name: String) throws(DpifError) {
        var w = link(RTM_DELLINK, flags: 0, up: false)
        w.attribute(Int(IFLA_IFNAME), string: name)
        try transport.transact(w, "interface \(name)")
    }
}
