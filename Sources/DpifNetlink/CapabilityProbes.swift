// What the running kernel's module can do: asked with flows and packets that it takes or refuses, and that leave no trace
// (OVS_FLOW_ATTR_PROBE, OVS_PACKET_ATTR_PROBE keep its log quiet).
//
// What cannot be asked is told from the kernel's release, and said in the log.

import CLinux
import Dpif
import Flow
import Glibc
import Packet
import Vlog

/// Asks a datapath what it can do.
struct CapabilityProbes {
    private let transport: NetlinkTransport
    private let requests: FlowRequests
    private let families: OpenVSwitchFamilies

    init(_ transport: NetlinkTransport, _ requests: FlowRequests, _ families: OpenVSwitchFamilies) {
        self.transport = transport
        self.requests = requests
        self.families = families
    }

    /// The probed set.
    func run() -> DpifCapabilities {
        var c = DpifCapabilities()
        // Never there: tunnels are ports, and these actions are the userspace datapath's or of kernels after those that this was tried on.
        c.tunnelPushPop = false
        c.explicitDrop = false
        c.lbOutput = false
        c.addMPLS = acceptsAddMPLS
        c.ndExtensions = false
        c.maxHashAlgorithm = 0

        c.ufid = true
        c.recirculation = accepts { $0.set(Location.recircID, 1) }
        c.megaflows = acceptsMegaflow
        c.ctState = accepts { $0.set(FieldLocation(54, 48, 8), 0x20) }
        c.ctStateNAT = accepts { $0.set(FieldLocation(54, 48, 8), 0x60) }
        c.ctZone = accepts { $0.set(Location.ctZone, 1) }
        c.ctMark = accepts { $0.set(Location.ctMark, 1) }
        c.ctLabel = accepts { $0.set(Location.ctLabel, 1) }
        c.ctOrigTuple = accepts { m in
            m.set(FieldLocation(54, 48, 8), 0x20)
            Self.ip(&m, EtherType.ipv4, 17)
            m.set(Location.ctNwSrc, 0x0a00_0001)
            m.set(Location.ctNwDst, 0x0a00_0002)
            m.set(Location.ctNwProto, 17)
        }
        c.ctOrigTuple6 = accepts { m in
            m.set(FieldLocation(54, 48, 8), 0x20)
            Self.ip(&m, EtherType.ipv6, 17)
            m.set(Location.ctIPv6Src, 1)
            m.set(Location.ctIPv6Dst, 2)
            m.set(Location.ctNwProto, 17)
        }
        c.tcpFlags = accepts { m in
            Self.ip(&m, EtherType.ipv4, 6)
            m.set(Location.tcpFlags, 2)
        }
        c.sctp = accepts { m in
            Self.ip(&m, EtherType.ipv4, 132)
            m.set(Location.tpSrc, 1)
        }
        c.maxVLANHeaders = vlanHeaders
        c.maxMPLSDepth = mplsDepth

        c.maskedSet = accepts(actions: [.set(DpSet(.eth, [.init(Location.ethSrc, 1, mask: 0xff)]))])
        c.truncate = accepts(actions: [.truncate(64), .output(0)])
        c.clone = accepts(actions: [.clone([.output(0)])])
        c.sampleNesting = sampleNesting
        c.checkPacketLength = accepts(actions: [.checkPacketLength(64, greater: [.output(0)], lessOrEqual: [])])
        c.ctClear = accepts(actions: [.ctClear])
        c.ctEventMask = accepts(actions: [ct { $0.eventMask = 1 }])
        c.ctTimeoutPolicy = acceptsTimeout
        c.ctNAT = accepts(actions: [ct { $0.nat = DpNAT() }])
        c.ctZeroSNAT = acceptsZeroSNAT
        c.meters = families.meter != nil && !Self.hasBrokenMeters
        c.ctZoneLimit = families.conntrackLimit != nil
        c.tunnelTypes = KernelPortPlan.tunnelTypes
        return c
    }

    // MARK: Flows

    private static func ip(_ m: inout Match, _ type: UInt16, _ proto: UInt8) {
        m.set(Location.ethType, UInt128(type))
        m.set(Location.nwProto, UInt128(proto))
        m.set(Location.nwFrag, 0)
    }

    private func accepts(_ fill: (inout Match) -> Void) -> Bool {
        var match = Match()
        match.set(Location.inPort, 0)
        fill(&match)
        return accepts(match, actions: [])
    }

    /// An action within a flow of IPv4 and UDP.
    private func accepts(actions: [DpAction]) -> Bool {
        var match = Match()
        match.set(Location.inPort, 0)
        Self.ip(&match, EtherType.ipv4, 17)
        return accepts(match, actions: actions)
    }

    private func accepts(_ match: Match, actions: [DpAction], raw: ((inout NetlinkMessageWriter) -> Void)? = nil) -> Bool {
        // A pass that no packet takes, so that the flow decides about none while it is there.
        var match = match
        if match.mask.isWild(Location.recircID) { match.set(Location.recircID, 0xffff_fffe) }
        let flow = DpFlow(ufid: UFID(key: match.key, mask: match.mask), key: match.key, mask: match.mask, actions: actions)
        do throws(DpifError) {
            try transport.transact(try requests.put(DpFlowPut(.createOrModify, flow), isProbe: true, rawActions: raw), "probe")
        } catch {
            NetlinkDatapath.log.dbg(
                "probe of \(ODPFormatter().text(key: match.key, mask: match.mask)) \(DpAction.text(actions)): \(error.reason)")
            return error.errno == EEXIST
        }
        _ = try? transport.transact(requests.delete(flow.ufid), "probe")
        return true
    }

    /// Wildcards are there since flows have masks.
    private var acceptsMegaflow: Bool { accepts { $0.set(Location.ethSrc, 0x0100, mask: 0xff00) } }

    private var vlanHeaders: Int {
        let two = accepts { m in
            for (tpid, tci) in [(Location.vlanTPID, Location.vlanTCI), (Location.innerVLANTPID, Location.innerVLANTCI)] {
                m.set(tpid, UInt128(EtherType.vlan))
                m.set(tci, 0x1001)
            }
            m.set(Location.ethType, UInt128(EtherType.ipv4))
        }
        return two ? 2 : 1
    }

    private var mplsDepth: Int {
        for depth in stride(from: maxMPLSLabels, to: 0, by: -1) {
            let isKnown = accepts { m in
                m.set(Location.ethType, UInt128(EtherType.mpls))
                for i in 0..<depth { m.set(Location.mplsLSE(i), i == depth - 1 ? 0x100 : 0x1000) }
            }
            if isKnown { return depth }
        }
        return 0
    }

    /// Nested samples ever deeper until the module refuses.
    private var sampleNesting: Int {
        var actions: [DpAction] = [.output(0)]
        for depth in 1...10 {
            actions = [.sample(probability: .max / 2, actions)]
            if !accepts(actions: actions) { return depth - 1 }
        }
        return 10
    }

    private func ct(_ fill: (inout DpConntrack) -> Void) -> DpAction {
        var ct = DpConntrack()
        ct.commit = true
        fill(&ct)
        return .ct(ct)
    }

    /// A module that knows the attribute says that there is no such policy.
    private var acceptsTimeout: Bool {
        if accepts(actions: [ct { $0.timeoutPolicy = "ovs_test_tp" }]) { return true }
        return release >= (5, 2)
    }

    /// That an address of zero is translated to is said only by the kernel's release: 5.17 has it, and flows are taken before as well.
    private var acceptsZeroSNAT: Bool { release >= (5, 17) }

    /// `add_mpls` has no action here yet; the module is asked with the bytes.
    private var acceptsAddMPLS: Bool {
        var match = Match()
        match.set(Location.inPort, 0)
        Self.ip(&match, EtherType.ipv4, 17)
        return accepts(match, actions: []) {
            $0.attribute(Int(OVS_ACTION_ATTR_ADD_MPLS.rawValue)) {
                $0.network(UInt32(0x100))
                $0.network(EtherType.mpls)
                // OVS_MPLS_L3_TUNNEL_FLAG_MASK
                $0.host(UInt16(1))
            }
        }
    }

    // MARK: The kernel's release

    private var release: (Int, Int) { Self.release }

    /// The first two numbers of uname(2)'s release.
    private static let release: (Int, Int) = {
        var name = utsname()
        uname(&name)
        let text = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = text.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
    }()

    /// Until 4.18 the module gave meters other numbers than it was asked for.
    private static var hasBrokenMeters: Bool { release < (4, 18) }
}
