// OpenFlow actions and instructions, as one type for every version of the wire.
//
// As in ovs-actions(7), a flow's instructions and actions are one list: the actions to apply stand for themselves, and the other
// instructions are cases of their own (`meter`, `clearActions`, `writeActions`, `writeMetadata`, `gotoTable`). A case
// keeps what is needed to print and encode it again the way it came, in any version.

import Flow

public enum OFAction: Hashable, Sendable {
    // Output.
    /// `maxLength` counts for the controller port only: how many bytes of the packet to send.
    case output(OFPort, maxLength: UInt16)
    case outputRegister(Subfield, maxLength: UInt16)
    case outputTruncated(OFPort, maxLength: UInt32)
    indirect case controller(ControllerAction)
    case enqueue(OFPort, queue: UInt32)
    case group(UInt32)
    indirect case bundle(BundleAction)

    // Headers. Ethernet addresses are 48 bits, host order.
    case setVLANVID(UInt16, VLANContext)
    case setVLANPCP(UInt8, VLANContext)
    /// `isPop`: came as pop_vlan of OpenFlow 1.1 and later, and is printed so.
    case stripVLAN(isPop: Bool)
    case pushVLAN(etherType: UInt16)
    case setEthSrc(UInt64)
    case setEthDst(UInt64)
    case setIPv4Src(UInt32)
    case setIPv4Dst(UInt32)
    /// The TOS byte with the DSCP in its upper six bits.
    case setIPDSCP(UInt8)
    case setIPECN(UInt8)
    case setIPTTL(UInt8)
    /// `ipProto` is that of the flow's match, 0 when unknown: OpenFlow 1.2 and later encode a set-field of it.
    case setL4SrcPort(UInt16, ipProto: UInt8)
    case setL4DstPort(UInt16, ipProto: UInt8)
    indirect case setField(SetFieldAction)
    case regMove(from: Subfield, to: Subfield)
    case stackPush(Subfield)
    case stackPop(Subfield)
    indirect case decTTL(DecTTLAction)
    case setMPLSLabel(UInt32)
    case setMPLSTC(UInt8)
    case setMPLSTTL(UInt8)
    case decMPLSTTL
    case pushMPLS(etherType: UInt16)
    case popMPLS(etherType: UInt16)
    case decNSHTTL
    case deleteField(FieldID)
    indirect case encap(EncapAction)
    /// The packet type that must be inside; 0x1fffe: whatever is.
    case decap(packetType: UInt32)

    // Metadata. `wide`: came as set_tunnel64.
    case setTunnel(UInt64, wide: Bool)
    case setQueue(UInt32)
    case popQueue
    /// Seconds; 0: not changed.
    case finTimeout(idle: UInt16, hard: UInt16)

    // Processing.
    indirect case resubmit(ResubmitAction)
    indirect case learn(LearnAction)
    case conjunction(id: UInt32, clause: UInt8, count: UInt8)
    indirect case multipath(MultipathAction)
    indirect case note([UInt8])
    case exit
    indirect case sample(SampleAction)
    indirect case clone([OFAction])
    case checkPacketLarger(UInt16, to: Subfield)
    indirect case ct(CTAction)
    case ctClear
    indirect case nat(NATAction)
    case debugRecirc
    case debugSlow

    // Instructions.
    case meter(UInt32)
    case clearActions
    indirect case writeActions([OFAction])
    indirect case writeMetadata(value: UInt64, mask: UInt64)
    case gotoTable(UInt8)
}

/// What set_vlan_vid and set_vlan_pcp remember of where they stood.
public struct VLANContext: Hashable, Sendable {
    /// OpenFlow 1.0 style: a tag is pushed when the packet has none.
    public var pushIfNeeded: Bool
    /// The flow matches a tag, or pushed one before.
    public var flowHasVLAN: Bool

    public init(pushIfNeeded: Bool, flowHasVLAN: Bool) {
        self.pushIfNeeded = pushIfNeeded
        self.flowHasVLAN = flowHasVLAN
    }
}

/// Sends the packet to controllers.
public struct ControllerAction: Hashable, Sendable {
    public var maxLength: UInt16 = 0xffff
    public var controllerID: UInt16 = 0
    public var reason: PacketInReason = .action
    public var userdata: [UInt8] = []
    /// Freeze the packet for NXT_RESUME.
    public var pause = false
    /// The meter to charge; UInt32.max: the controller meter of the bridge.
    public var meterID: UInt32 = .max
    /// Came as NXAST_CONTROLLER or NXAST_CONTROLLER2, not as an output.
    public var extended = true

    public init() {}
}

/// Why a packet is sent to the controller (the numbers of OpenFlow 1.4, and those of Open vSwitch's own from 64).
public enum PacketInReason: UInt8, Hashable, Sendable, CaseIterable {
    case noMatch = 0, action, invalidTTL, actionSet, group, packetOut
    /// A table-miss flow's action, which some versions call noMatch and some action.
    case explicitMiss = 6
    case implicitMiss = 7

    /// The name in text.
    public var name: String {
        switch self {
        case .noMatch: "no_match"
        case .action: "action"
        case .invalidTTL: "invalid_ttl"
        case .actionSet: "action_set"
        case .group: "group"
        case .packetOut: "packet_out"
        case .explicitMiss, .implicitMiss: ""
        }
    }
}

/// The headers that a hash covers, in multipath and bundle.
public enum HashFields: UInt16, Hashable, Sendable, CaseIterable {
    case ethSrc = 0, symmetricL4, symmetricL3L4, symmetricL3L4UDP, nwSrc, nwDst, symmetricL3

    public var name: String {
        switch self {
        case .ethSrc: "eth_src"
        case .symmetricL4: "symmetric_l4"
        case .symmetricL3L4: "symmetric_l3l4"
        case .symmetricL3L4UDP: "symmetric_l3l4+udp"
        case .nwSrc: "nw_src"
        case .nwDst: "nw_dst"
        case .symmetricL3: "symmetric_l3"
        }
    }
}

public enum BundleAlgorithm: UInt16, Hashable, Sendable {
    case activeBackup = 0, highestRandomWeight

    public var name: String { self == .activeBackup ? "active_backup" : "hrw" }
}

/// Outputs to, or loads the number of, one of some ports.
public struct BundleAction: Hashable, Sendable {
    public var fields: HashFields
    public var basis: UInt16
    public var algorithm: BundleAlgorithm
    /// Nil: outputs; otherwise bundle_load.
    public var destination: Subfield?
    public var members: [OFPort]

    public init(
        fields: HashFields, basis: UInt16, algorithm: BundleAlgorithm, destination: Subfield?, members: [OFPort]
    ) {
        self.fields = fields
        self.basis = basis
        self.algorithm = algorithm
        self.destination = destination
        self.members = members
    }
}

/// Sets all or some bits of a field. Tunnel options have their bytes in `wideValue` and `wideMask`.
public struct SetFieldAction: Hashable, Sendable {
    public var field: FieldID
    public var value: UInt128
    public var mask: UInt128
    public var wideValue: [UInt8] = []
    public var wideMask: [UInt8] = []
    /// Came as NXAST_REG_LOAD, and is printed as `load`.
    public var fromLoad = false
    /// For vlan_vid and vlan_pcp: the flow has a tag at this point.
    public var flowHasVLAN = false

    public init(_ field: FieldID, _ value: UInt128, mask: UInt128? = nil, fromLoad: Bool = false) {
        self.field = field
        self.value = value
        self.mask = mask ?? field.row.allOnes
        self.fromLoad = fromLoad
    }
}

public struct DecTTLAction: Hashable, Sendable {
    /// The controllers to tell of an expired TTL.
    public var controllers: [UInt16]
    /// Came as dec_ttl_cnt_ids, or as plain dec_ttl (controller 0).
    public var hasIDs: Bool

    public init(controllers: [UInt16] = [0], hasIDs: Bool = false) {
        self.controllers = controllers
        self.hasIDs = hasIDs
    }
}

public struct EncapAction: Hashable, Sendable {
    public struct Property: Hashable, Sendable {
        /// encap(nsh(md_type=...)).
        public static func nshMDType(_ type: UInt8) -> Property { Property(kind: .nshMDType(type)) }
        /// encap(nsh(tlv(class,type,value))).
        public static func nshTLV(tlvClass: UInt16, type: UInt8, value: [UInt8]) -> Property {
            Property(kind: .nshTLV(tlvClass: tlvClass, type: type, value: value))
        }
        public enum Kind: Hashable, Sendable {
            case nshMDType(UInt8)
            case nshTLV(tlvClass: UInt16, type: UInt8, value: [UInt8])
        }
        public var kind: Kind
    }

    /// (namespace << 16) | type of the new header: 0 Ethernet, 0x1894f NSH, 0x18847 MPLS, 0x18848 MPLS multicast.
    public var packetType: UInt32
    public var headerSize: UInt16 = 0
    public var properties: [Property] = []

    public init(packetType: UInt32) { self.packetType = packetType }
}

public struct ResubmitAction: Hashable, Sendable {
    /// The wire form it came in, which is printed differently.
    public enum Form: Hashable, Sendable { case resubmit, resubmitTable, resubmitTableCT }

    /// `.inPort`: unchanged.
    public var inPort: OFPort
    /// 255: the current table.
    public var table: UInt8
    public var form: Form
    /// Swap the source and destination of the packet's key with the original tuple of its connection.
    public var withCT: Bool { form == .resubmitTableCT }

    public init(inPort: OFPort = .inPort, table: UInt8 = 255, form: Form = .resubmitTable) {
        self.inPort = inPort
        self.table = table
        self.form = form
    }
}

public struct MultipathAction: Hashable, Sendable {
    public enum Algorithm: UInt16, Hashable, Sendable {
        case moduloN = 0, hashThreshold, highestRandomWeight, iterativeHash

        public var name: String {
            switch self {
            case .moduloN: "modulo_n"
            case .hashThreshold: "hash_threshold"
            case .highestRandomWeight: "hrw"
            case .iterativeHash: "iter_hash"
            }
        }
    }

    public var fields: HashFields
    public var basis: UInt16
    public var algorithm: Algorithm
    /// The largest link number; links are 0 to this.
    public var maxLink: UInt16
    public var argument: UInt32
    public var destination: Subfield

    public init(
        fields: HashFields, basis: UInt16, algorithm: Algorithm, maxLink: UInt16, argument: UInt32,
        destination: Subfield
    ) {
        self.fields = fields
        self.basis = basis
        self.algorithm = algorithm
        self.maxLink = maxLink
        self.argument = argument
        self.destination = destination
    }
}

public struct SampleAction: Hashable, Sendable {
    public enum Form: Hashable, Sendable { case sample, sample2, sample3 }
    public enum Direction: UInt8, Hashable, Sendable { case unspecified = 0, ingress, egress }

    /// Of 65535.
    public var probability: UInt16 = 0
    public var collectorSet: UInt32 = 0
    public var observationDomain: UInt32 = 0
    public var observationPoint: UInt32 = 0
    /// `.none`: no tunnel data.
    public var samplingPort: OFPort = .none
    public var direction: Direction = .unspecified
    public var form: Form = .sample

    public init() {}
}

public struct LearnAction: Hashable, Sendable {
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let sendFlowRemoved = Flags(rawValue: 1)
        public static let deleteLearned = Flags(rawValue: 2)
        public static let writeResult = Flags(rawValue: 4)
    }

    /// One piece of the flow to learn.
    public struct Spec: Hashable, Sendable {
        public enum Source: Hashable, Sendable {
            case field(Subfield)
            /// `bits` wide, in the low bits.
            case immediate(UInt128)
        }
        public enum Destination: Hashable, Sendable {
            case match(Subfield)
            case load(Subfield)
            case output
        }
        /// How many bits move.
        public var bits: Int
        public var source: Source
        public var destination: Destination

        public init(bits: Int, source: Source, destination: Destination) {
            self.bits = bits
            self.source = source
            self.destination = destination
        }
    }

    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    public var priority: UInt16 = 0x8000
    public var cookie: UInt64 = 0
    public var flags: Flags = []
    public var table: UInt8 = 1
    public var finIdleTimeout: UInt16 = 0
    public var finHardTimeout: UInt16 = 0
    /// The most flows with this cookie and table; 0: no limit.
    public var limit: UInt32 = 0
    /// With `writeResult`: the bit that says whether a flow was learned.
    public var result: Subfield?
    public var specs: [Spec] = []
    /// Came as NXAST_LEARN2, or needs it.
    public var isLearn2 = false

    public init() {}
}

public struct CTAction: Hashable, Sendable {
    public var commit = false
    public var force = false
    /// The zone to use: a constant, or a field's.
    public var zone: UInt16 = 0
    public var zoneSource: Subfield?
    /// 255: no recirculation.
    public var recircTable: UInt8 = 255
    /// The port of the application-level gateway to use: 21 FTP, 69 TFTP; 0 none.
    public var alg: UInt16 = 0
    /// nat and settings of ct_mark and ct_label.
    public var actions: [OFAction] = []

    public init() {}
}

public struct NATAction: Hashable, Sendable {
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let source = Flags(rawValue: 1)
        public static let destination = Flags(rawValue: 2)
        public static let persistent = Flags(rawValue: 4)
        public static let protocolHash = Flags(rawValue: 8)
        public static let protocolRandom = Flags(rawValue: 16)
    }
    public enum Addresses: Hashable, Sendable {
        case none
        /// `max` is 0 when there is no range.
        case ipv4(min: UInt32, max: UInt32)
        case ipv6(min: UInt128, max: UInt128)
    }

    public var flags: Flags = []
    public var addresses: Addresses = .none
    /// 0: none.
    public var portMin: UInt16 = 0
    /// 0: no range.
    public var portMax: UInt16 = 0

    public init() {}
}
