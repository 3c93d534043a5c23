// What a datapath can be told to do with a packet. The cases are the OVS_ACTION_ATTR_* actions of
// include/uapi/linux/openvswitch.h and the userspace datapath's additions.

import Flow

/// A datapath action. A list of them runs in order; an empty list drops the packet.
public indirect enum DpAction: Hashable, Sendable {
    /// Sends the packet out of a datapath port.
    case output(UInt32)
    /// Sends the packet up.
    case userspace(UserspaceAction)
    /// Rewrites the masked bits of one key attribute.
    case set(DpSet)
    /// `tci` without the "present" bit.
    case pushVLAN(tpid: UInt16, tci: UInt16)
    case popVLAN
    case pushMPLS(lse: UInt32, ethType: UInt16)
    case popMPLS(ethType: UInt16)
    /// Puts a label before all of the packet, whose Ethernet header, if any, becomes part of what is carried.
    case addMPLS(lse: UInt32, ethType: UInt16)
    /// Looks the packet up again with this recirculation id.
    case recirc(UInt32)
    /// Computes `dp_hash`.
    case hash(algorithm: HashAlgorithm, basis: UInt32)
    /// Runs the actions for this fraction of packets, `probability` / 2^32.
    case sample(probability: UInt32, [DpAction])
    case ct(DpConntrack)
    case ctClear
    /// The next output sends at most this many bytes.
    case truncate(UInt32)
    case pushEthernet(source: UInt64, destination: UInt64)
    case popEthernet
    /// Runs the actions on a copy.
    case clone([DpAction])
    case meter(UInt32)
    case checkPacketLength(UInt16, greater: [DpAction], lessOrEqual: [DpAction])
    /// Hands the packet to the tunnel port that decapsulates it.
    case tunnelPop(UInt32)
    /// Puts a tunnel header before the packet and sends it out of `outPort`.
    case tunnelPush(TunnelHeader)
    /// Drops, with a reason that is counted (`DropCode`).
    case drop(UInt32)
    case pushNSH(DpNSH)
    case popNSH
    /// Sends the packet out of a member of a bond by its hash.
    case lbOutput(UInt32)
}

/// The reasons that a `drop` action names, by what the real daemon's coverage calls them.
public enum DropCode {
    /// Translation went well, and came to nothing.
    public static let pipeline: UInt32 = 0
    /// By code.
    public static let names = [
        "drop_action_of_pipeline", "drop_action_bridge_not_found", "drop_action_recursion_too_deep", "drop_action_too_many_resubmit",
        "drop_action_stack_too_deep", "drop_action_no_recirculation_context", "drop_action_recirculation_conflict",
        "drop_action_too_many_mpls_labels", "drop_action_invalid_tunnel_metadata", "drop_action_unsupported_packet_type",
        "drop_action_congestion", "drop_action_forwarding_disabled",
    ]
}

public enum HashAlgorithm: UInt32, Hashable, Sendable {
    case l4 = 0
    case symmetricL4 = 1
}

/// The attributes that `set` can rewrite.
public enum DpSetKind: String, Hashable, Sendable, CaseIterable {
    case skbPriority = "skb_priority"
    case skbMark = "skb_mark"
    case tunnel, eth, ipv4, ipv6, tcp, udp, sctp, icmp, icmpv6, arp, nd, mpls, nsh
}

/// One `set`: which attribute, and the bits of its fields.
public struct DpSet: Hashable, Sendable {
    public struct Field: Hashable, Sendable {
        public let location: FieldLocation
        public let value: UInt128
        public let mask: UInt128

        public init(_ location: FieldLocation, _ value: UInt128, mask: UInt128? = nil) {
            self.location = location
            self.mask = mask ?? location.allOnes
            self.value = value & self.mask
        }
    }

    public let kind: DpSetKind
    public let fields: [Field]

    public init(_ kind: DpSetKind, _ fields: [Field]) {
        self.kind = kind
        self.fields = fields
    }

    /// True when some field is rewritten in part, or not all fields of the attribute are.
    public var isMasked: Bool { !ODPSetText.coversWholeAttribute(kind.rawValue, fields.map { ($0.location, $0.mask) }) }
}

/// What a `userspace` action is for (the cookie that comes back with the upcall).
public enum UserspaceAction: Hashable, Sendable {
    case sFlow(bridge: UInt32, vid: UInt16, pcp: UInt8, output: UInt32)
    case slowPath(SlowPathReasons)
    case flowSample(FlowSample)
    case ipfix(bridge: UInt32, output: UInt32, tunnel: UInt32?)
    case controller(
        reason: UInt8, dontSend: Bool, continuation: Bool, recircID: UInt32, ruleCookie: UInt64, controllerID: UInt16,
        maxLength: UInt16)

    /// As what a packet is sampled.
    public enum Direction: UInt8, Hashable, Sendable { case unspecified = 0, ingress, egress }

    /// The sample wants to know its flow's actions.
    public var wantsActions: Bool {
        switch self {
        case .sFlow, .ipfix, .flowSample: true
        case .slowPath, .controller: false
        }
    }

    /// The datapath's tunnel port whose header the sample wants to know.
    public var tunnelPort: UInt32? {
        switch self {
        case .ipfix(_, _, let tunnel): tunnel
        case .flowSample(let sample): sample.tunnel
        case .sFlow, .slowPath, .controller: nil
        }
    }
}

/// What an OpenFlow `sample` action says of its packets.
public struct FlowSample: Hashable, Sendable {
    /// The switch whose action it is.
    public var bridge: UInt32 = 0
    /// Of 65535.
    public var probability: UInt16 = 0
    public var collectorSet: UInt32 = 0
    public var domain: UInt32 = 0
    public var point: UInt32 = 0
    /// The datapath port that the packet is sampled for; the largest number: the one that it came in by.
    public var output: UInt32 = .max
    /// The same port where it is a tunnel's and its header is to be told of.
    public var tunnel: UInt32?
    public var direction = UserspaceAction.Direction.unspecified
    public init() {}
}

/// Why packets of a flow always go through userspace.
public struct SlowPathReasons: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let cfm = SlowPathReasons(rawValue: 1)
    public static let bfd = SlowPathReasons(rawValue: 2)
    public static let lacp = SlowPathReasons(rawValue: 4)
    public static let stp = SlowPathReasons(rawValue: 8)
    public static let lldp = SlowPathReasons(rawValue: 16)
    public static let action = SlowPathReasons(rawValue: 32)
    public static let match = SlowPathReasons(rawValue: 64)

    static let names: [(SlowPathReasons, String, String)] = [
        (.cfm, "cfm", "Consists of CFM packets"), (.bfd, "bfd", "Consists of BFD packets"), (.lacp, "lacp", "Consists of LACP packets"),
        (.stp, "stp", "Consists of STP packets"), (.lldp, "lldp", "Consists of LLDP packets"),
        (.action, "action", "Uses action(s) not supported by datapath"),
        (.match, "match", "Datapath can't match specifically enough"),
    ]
    /// Short names joined by commas, as in `slow_path(...)`.
    public var text: String { Self.names.filter { contains($0.0) }.map { $0.1 }.joined(separator: ",") }
    /// One sentence for each reason, as `ofproto/trace` explains them.
    public var explanations: [String] { Self.names.filter { contains($0.0) }.map { $0.2 } }
    public init?(text: String) {
        var all: SlowPathReasons = []
        for part in text.split(separator: ",") {
            guard let row = Self.names.first(where: { $0.1 == part }) else { return nil }
            all.insert(row.0)
        }
        self = all
    }
}

/// The conntrack action.
public struct DpConntrack: Hashable, Sendable {
    public var commit = false
    public var force = false
    public var zone: UInt16 = 0
    /// Value and mask.
    public var mark: Masked<UInt32>?
    public var label: Masked<UInt128>?
    public var helper: String?
    public var timeoutPolicy: String?
    /// Which changes of the connection the kernel tells of, as bits by the numbers of `enum ip_conntrack_events`.
    public var eventMask: UInt32?
    public var nat: DpNAT?
    /// New, related, destroyed, and changes of mark and labels: not each packet that changes a protocol's state.
    public static let usualEvents: UInt32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 10

    public struct Masked<T: Hashable & Sendable>: Hashable, Sendable {
        public var value: T
        public var mask: T
        public init(_ value: T, _ mask: T) {
            self.value = value
            self.mask = mask
        }
    }
    public init() {}
}

/// Address translation within a conntrack action.
public struct DpNAT: Hashable, Sendable {
    public enum Kind: Hashable, Sendable { case none, source, destination }
    public var kind: Kind = .none
    public var isIPv6 = false
    public var addresses: ClosedRange<UInt128>?
    public var ports: ClosedRange<UInt16>?
    public var persistent = false
    public var hashPorts = false
    public var random = false
    public init() {}
}

/// An outer header built by Ofproto for `tunnelPush`.
public struct TunnelHeader: Hashable, Sendable {
    public var tunnelPort: UInt32
    public var outPort: UInt32
    /// Ethernet, IP and tunnel headers.
    public var header: [UInt8]
    /// The tunnel type's name, e.g. `vxlan`.
    public var type: String
    /// The type's number in text (OVS_VPORT_TYPE_*).
    public var number: Int
    public init(tunnelPort: UInt32, outPort: UInt32, header: [UInt8], type: String, number: Int) {
        self.number = number
        self.tunnelPort = tunnelPort
        self.outPort = outPort
        self.header = header
        self.type = type
    }
}

/// The header that `pushNSH` adds (RFC 8300).
public struct DpNSH: Hashable, Sendable {
    public var flags: UInt8 = 0
    public var ttl: UInt8 = 63
    public var mdType: UInt8 = 1
    public var nextProtocol: UInt8 = 0
    /// Service path identifier (24 bits) and service index (8 bits).
    public var path: UInt32 = 0
    /// Context headers of MD type 1, or the bytes of MD type 2.
    public var context: [UInt8] = []
    public init() {}
}
