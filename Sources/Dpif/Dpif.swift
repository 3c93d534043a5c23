// The seam between the switch and its datapaths: one protocol, three providers.
//
// A provider keeps ports and flows, forwards packets that its flows cover, and hands the others up. Ofproto decides what
// to do with those and installs flows. Ofproto never imports a provider; vswitchd registers them in `DpifRegistry`.
//
// Threading: every method here is called on the main thread, and none may block for longer than a few milliseconds.
// Providers that forward on threads of their own deliver upcalls to the main thread.

import Flow
import Packet

/// A flow's 128-bit identifier.
public struct UFID: Hashable, Sendable, CustomStringConvertible {
    public let value: UInt128
    public init(_ value: UInt128) { self.value = value }

    private static let seeds = (UInt64.random(in: 1 ... .max), UInt64.random(in: 1 ... .max))

    /// For a `HashIndex`: 64 bits that nobody outside can foresee.
    public var indexHash: UInt64 {
        let seeds = Self.seeds
        let (high, low) = (UInt64(truncatingIfNeeded: value >> 64) ^ seeds.0).multipliedFullWidth(
            by: UInt64(truncatingIfNeeded: value) ^ seeds.1)
        return high ^ low
    }

    /// A hash of words under masks.
    private struct Digest {
        private var a: UInt64 = 0x9e37_79b9_7f4a_7c15
        private var b: UInt64 = 0xc2b2_ae3d_27d4_eb4f

        @inline(__always)
        mutating func add(_ word: UInt64, under mask: UInt64, _ i: Int) {
            mix(word & mask, i)
            mix(mask, i + 128)
        }

        @inline(__always)
        private mutating func mix(_ word: UInt64, _ i: Int) {
            a = (a ^ word &+ UInt64(i)) &* 0xff51_afd7_ed55_8ccd
            a ^= a >> 32
            b = (b &+ word) &* 0xc4ce_b9fe_1a85_ec53 ^ UInt64(i)
            b ^= b >> 29
        }

        var value: UInt128 { UInt128(a) << 64 | UInt128(b) }
    }

    /// The identifier that this switch gives a flow: a hash of its key and mask.
    public init(key: borrowing FlowKey, mask: borrowing FlowMask) {
        var digest = Digest()
        let (key, mask) = (key.words.span, mask.bits.words.span)
        for i in mask.indices where mask[i] != 0 { digest.add(key[i], under: mask[i], i) }
        value = digest.value
    }

    /// The same identifier.
    public init(key: borrowing FlowKey, mask: MiniMask) {
        var digest = Digest()
        let key = key.words.span
        for word in mask.words { digest.add(key[word.index], under: word.bits, word.index) }
        value = digest.value
    }

    /// As `ufid:` prints it.
    public var description: String {
        let hex = String(value, radix: 16)
        let padded = String(repeating: "0", count: 32 - hex.count) + hex
        let c = Array(padded)
        return [c[0..<8], c[8..<12], c[12..<16], c[16..<20], c[20..<32]].map { String($0) }.joined(separator: "-")
    }

    public init?(text: String) {
        let digits = text.filter { $0 != "-" }
        guard digits.utf8.count == 32, let v = UInt128(digits, radix: 16) else { return nil }
        value = v
    }
}

/// Counters of a datapath flow.
public struct DpFlowStats: Hashable, Sendable {
    public var packets: UInt64 = 0
    public var bytes: UInt64 = 0
    /// Milliseconds of the datapath's clock when the last packet passed; nil when none has.
    public var used: Int64?
    public var tcpFlags: UInt16 = 0
    public init() {}
}

/// A flow as a datapath holds it.
public struct DpFlow: Sendable {
    public var ufid: UFID
    public var key: FlowKey
    public var mask: FlowMask
    public var actions: [DpAction]
    public var stats: DpFlowStats

    public init(ufid: UFID, key: FlowKey, mask: FlowMask, actions: [DpAction], stats: DpFlowStats = .init()) {
        self.ufid = ufid
        self.key = key
        self.mask = mask
        self.actions = actions
        self.stats = stats
    }
}

public struct DpFlowPut: Sendable {
    public enum Mode: Sendable { case create, modify, createOrModify }
    public var mode: Mode
    public var flow: DpFlow
    public var zeroStats = false

    public init(_ mode: Mode, _ flow: DpFlow) {
        self.mode = mode
        self.flow = flow
    }
}

public struct DpPort: Sendable {
    public var number: UInt32
    public var name: String
    public var type: String
    public init(number: UInt32, name: String, type: String) {
        self.number = number
        self.name = name
        self.type = type
    }
}

public struct DpStats: Hashable, Sendable {
    public var hit: UInt64 = 0
    public var missed: UInt64 = 0
    public var lost: UInt64 = 0
    public var flows: UInt64 = 0
    public var masks: UInt32?
    public var maskHits: UInt64?
    public init() {}
}

/// One operation of a batch.
public enum DpifOperation: Sendable {
    case put(DpFlowPut)
    case delete(UFID, FlowKey, FlowMask)
    case get(UFID)
    case execute(packet: [UInt8], metadata: FlowKey, actions: [DpAction])
}

public enum DpifResult: Sendable {
    case done
    case flow(DpFlow)
    case stats(DpFlowStats)
    case failed(DpifError)
}

/// A packet that the datapath hands up.
public struct Upcall {
    public enum Kind {
        /// No flow covers the packet.
        case miss
        /// A `userspace` action sent it.
        case action(UserspaceAction)
    }
    public var kind: Kind
    /// The packet's key with datapath port numbers.
    public var key: FlowKey
    /// The actions of the flow whose `userspace` action sent it, where that `wantsActions`; empty where they are not known.
    public var actions: [DpAction] = []
    /// The tunnel fields that the port of `UserspaceAction.tunnelPort` would send it with; nil where the datapath does not tell.
    public var egressTunnel: FlowKey?

    public init(kind: Kind, key: FlowKey) {
        self.kind = kind
        self.key = key
    }
}

/// What an upcall handler keeps of a flow that it had installed, so that the datapath can leave something with it, too.
open class DpFlowRecord {
    public final let ufid: UFID
    /// What finds the flow without a search. The datapath's alone.
    public final var inDatapath: AnyObject?

    public init(_ ufid: UFID) { self.ufid = ufid }
}

/// A flow that an upcall handler wants to have for packets like one that came up. Key and mask have the form in which they are kept, and
/// are shared by all who keep them.
public struct FlowInstallation: ~Copyable {
    public let ufid: UFID
    /// The packet's.
    public let key: MiniKey
    public let mask: MiniMask
    /// They may differ from those for the packet.
    public let actions: [DpAction]
    public let record: DpFlowRecord?

    public init(_ ufid: UFID, key: MiniKey, mask: MiniMask, actions: [DpAction], record: DpFlowRecord? = nil) {
        self.ufid = ufid
        self.key = key
        self.mask = mask
        self.actions = actions
        self.record = record
    }
}

/// What the upcall handler decided about a packet.
public struct UpcallVerdict: ~Copyable {
    /// The actions for this packet. The provider executes them.
    public var actions: [DpAction]
    /// The flow to install, or nil.
    public var install: FlowInstallation?

    /// Nobody knows what to do with the packet, which is dropped and counted as lost.
    public let isFailed: Bool

    public init(failed: Void) {
        actions = []
        isFailed = true
    }

    public init(actions: [DpAction], install: consuming FlowInstallation? = nil) {
        self.actions = actions
        self.install = install
        isFailed = false
    }
}

/// Who decides about packets that no flow covers. Ofproto implements it.
public protocol UpcallHandler: AnyObject {
    /// Called on the main thread for each packet handed up. The packet stays the provider's.
    func handle(_ upcall: Upcall, packet: borrowing Packet) -> UpcallVerdict
    /// The same for a packet that no flow covers, whose key need not be copied.
    func handleMiss(_ key: borrowing FlowKey, packet: borrowing Packet) -> UpcallVerdict
}

extension UpcallHandler {
    public func handleMiss(_ key: borrowing FlowKey, packet: borrowing Packet) -> UpcallVerdict {
        handle(Upcall(kind: .miss, key: copy key), packet: packet)
    }
}

/// Meters, where a datapath has them.
public protocol DpifMeters: AnyObject {
    func setMeter(_ id: UInt32, _ meter: DpMeter) throws(DpifError)
    func deleteMeter(_ id: UInt32) throws(DpifError)
    func meterStats(_ id: UInt32) -> DpMeterStats?
}

public struct DpMeter: Hashable, Sendable {
    public struct Band: Hashable, Sendable {
        /// Kilobits or packets per second.
        public var rate: UInt32
        public var burst: UInt32
        public init(rate: UInt32, burst: UInt32) {
            self.rate = rate
            self.burst = burst
        }
    }
    public var inPackets: Bool
    public var bands: [Band]
    public init(inPackets: Bool, bands: [Band]) {
        self.inPackets = inPackets
        self.bands = bands
    }
}

public struct DpMeterStats: Hashable, Sendable {
    public var packets: UInt64 = 0
    public var bytes: UInt64 = 0
    public var bands: [(packets: UInt64, bytes: UInt64)] = []
    public init() {}
    public static func == (a: Self, b: Self) -> Bool {
        a.packets == b.packets && a.bytes == b.bytes && a.bands.elementsEqual(b.bands, by: ==)
    }
    public func hash(into hasher: inout Hasher) { hasher.combine(packets) }
}

/// The statistics of a datapath's flows, some at a time and in an order of the datapath's. Confined to the main thread.
public protocol FlowStatsWalk: AnyObject {
    /// The next ones, about so many; none are left when it gives nil. A flow that comes or goes meanwhile may be there or not.
    func next(about count: Int) -> [(ufid: UFID, stats: DpFlowStats)]?
}

/// An open datapath.
public protocol Dpif: AnyObject {
    /// The datapath type, e.g. `netdev`.
    var type: String { get }
    /// The datapath's name, e.g. `ovs-netdev`.
    var name: String { get }
    var capabilities: DpifCapabilities { get }
    var stats: DpStats { get }
    /// How many VLAN tags of a packet are looked at, 0 to 2 (other_config:vlan-limit).
    var vlanLimit: Int { get set }

    /// Which Geneve options go into keys, and where; of the bridge that set it last.
    var tunnelOptions: TunnelOptionMap? { get set }

    /// Removes the datapath with all its ports and flows. Nothing else may be called afterwards.
    func destroy()

    // Ports.
    /// Adds a device. The datapath keeps it until `deletePort`.
    /// - Parameter requested: the port number wanted, or nil for any.
    /// - Returns: the port's number. Throws EBUSY when the number is taken, EEXIST when the name is.
    func addPort(_ device: any PortDevice, requested: UInt32?) throws(DpifError) -> UInt32
    /// Throws ENODEV when there is no such port.
    func deletePort(_ number: UInt32) throws(DpifError)
    func port(_ number: UInt32) -> DpPort?
    func port(named name: String) -> DpPort?
    /// In order of their numbers.
    var ports: [DpPort] { get }
    /// The device of a port.
    func device(_ number: UInt32) -> (any PortDevice)?
    /// Changes whenever a port comes, goes or is renamed.
    var portChangeCount: UInt64 { get }

    // Flows.
    /// Throws EEXIST for a `create` of a flow that is there, ENOENT for a `modify` of one that is not, EINVAL for a key,
    /// mask or action outside the capabilities.
    func putFlow(_ put: DpFlowPut) throws(DpifError)
    /// Returns the flow's last statistics. Throws ENOENT.
    @discardableResult
    func deleteFlow(_ ufid: UFID) throws(DpifError) -> DpFlowStats
    func flow(_ ufid: UFID) -> DpFlow?
    /// The statistics of a flow alone, which are cheaper than the flow.
    func flowStats(_ ufid: UFID) -> DpFlowStats?
    /// The same for many flows, which is cheaper where each question costs.
    func flowStats(_ ufids: [UFID]) -> [DpFlowStats?]
    /// The same for flows that the upcall handler had installed.
    func flowStats(of records: [DpFlowRecord]) -> [DpFlowStats?]
    /// Begins to go through the statistics of all flows, where that costs less than to ask for each; else nil.
    func walkFlowStats() -> (any FlowStatsWalk)?
    /// Finds a flow by its key and mask, for those who do not know its id.
    func flow(key: FlowKey, mask: FlowMask) -> DpFlow?
    func flushFlows()
    /// Calls `body` for each flow until it returns false. The flows may be changed meanwhile.
    func dumpFlows(_ body: (DpFlow) -> Bool)

    // Packets.
    /// Runs actions on a packet that is not in the datapath. `metadata` holds the packet's metadata fields.
    func execute(_ packet: consuming Packet, metadata: FlowKey, actions: [DpAction]) throws(DpifError)
    /// Runs operations in order; one that fails does not stop the others.
    func operate(_ operations: [DpifOperation]) -> [DpifResult]
    /// The datapath was there before this daemon, with ports and flows that go on forwarding. Packets that no flow covers wait until
    /// `endAdoption`.
    var isAdopted: Bool { get }
    /// What there is was looked through: ports that nobody added go, and packets that waited are taken.
    func endAdoption()
    /// The priority of packets that are to go to a queue of their port (OFPAT_SET_QUEUE).
    func priority(ofQueue queue: UInt32) -> UInt32
    /// Packets that no flow covers go to this handler; nil drops them.
    var upcallHandler: (any UpcallHandler)? { get set }
    /// Work to be done on the main thread now and then: packets that arrived, timers.
    func run()

    /// Makes `lb_output(id)` send packets to the ports of the buckets that they hash to; nil: there is no such bond any more. Buckets
    /// without a port drop. Called only when `capabilities.lbOutput` says so.
    func setBond(_ id: UInt32, buckets: [UInt32?]?)
    /// Bytes that each bucket of a bond sent since the last call.
    func takeBondBytes(_ id: UInt32) -> [UInt64]

    /// How many entries the cache of masks has that is looked into before flows are; nil: there is none to size.
    var masksCacheSize: UInt32? { get }
    /// Sets its size, rounded up where only some sizes can be. Throws EOPNOTSUPP where there is none, EINVAL or ERANGE for a size that cannot be.
    func setMasksCacheSize(_ size: UInt32) throws(DpifError)

    /// The meters, exactly when `capabilities.meters` says so.
    var meters: (any DpifMeters)? { get }
    /// Connections, or nil.
    var conntrack: (any DpifConntrack)? { get }
    var threads: (any DpifThreads)? { get }
    /// Packets dropped, by reason, with the names of the real daemon's coverage counters. Each that can occur, 0 too.
    var drops: [(name: String, count: UInt64)] { get }
}

extension Dpif {
    public var masksCacheSize: UInt32? { nil }
    public func setMasksCacheSize(_ size: UInt32) throws(DpifError) { throw DpifError(95, "masks cache of \(name)") }
    public var meters: (any DpifMeters)? { nil }
    public var conntrack: (any DpifConntrack)? { nil }
    public var threads: (any DpifThreads)? { nil }
    public var drops: [(name: String, count: UInt64)] { [] }
    public func setBond(_ id: UInt32, buckets: [UInt32?]?) {}
    public func takeBondBytes(_ id: UInt32) -> [UInt64] { [] }
    public var tunnelOptions: TunnelOptionMap? {
        get { nil }
        set {}
    }
    public func run() {}
    public var isAdopted: Bool { false }
    public func endAdoption() {}
    public func priority(ofQueue queue: UInt32) -> UInt32 { queue }
    public func flowStats(_ ufid: UFID) -> DpFlowStats? { flow(ufid)?.stats }

    public func flowStats(_ ufids: [UFID]) -> [DpFlowStats?] { ufids.map { flowStats($0) } }
    public func flowStats(of records: [DpFlowRecord]) -> [DpFlowStats?] { flowStats(records.map(\.ufid)) }
    public func walkFlowStats() -> (any FlowStatsWalk)? { nil }

    public func operate(_ operations: [DpifOperation]) -> [DpifResult] { operations.map(perform) }

    /// Runs one operation.
    public func perform(_ operation: DpifOperation) -> DpifResult {
        do throws(DpifError) {
            switch operation {
            case .put(let put):
                try putFlow(put)
                return .done
            case .delete(let ufid, _, _): return .stats(try deleteFlow(ufid))
            case .get(let ufid):
                guard let flow = flow(ufid) else { throw DpifError(2, "flow \(ufid)") }
                return .flow(flow)
            case .execute(let packet, let metadata, let actions):
                try execute(Packet(packet), metadata: metadata, actions: actions)
                return .done
            }
        } catch {
            return .failed(error)
        }
    }
}
