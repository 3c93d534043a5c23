// Translation: an OpenFlow pipeline's answer for one packet, as datapath actions and the mask of what it depended on.
//
// One `Translation` is made for each packet that comes up. It walks the tables (Translation+Tables), executes actions
// (Translation+Actions), outputs (Translation+Output), switches like a bridge (Translation+Normal), and commits header
// changes before anything sees the packet (Commit). What it touched is remembered in `targets`, so that the statistics of
// later packets of the megaflow can be credited without translating again.

import Dpif
import Flow
import OpenFlow

/// What one packet's translation touched, for statistics of the packets that follow. Every megaflow keeps a list of these, so the cases that
/// hold much are `indirect`: an entry is two words.
enum TranslationTarget {
    case rule(Rule)
    case table(FlowTable, matched: Bool)
    /// A packet passed from a patch port to its peer.
    case patch(out: SwitchPort, in: SwitchPort)
    /// What follows sees the packet larger by so many bytes.
    case header(Int)
    /// A packet went into a tunnel, or came out of one.
    case tunnel(SwitchPort, sent: Bool)
    /// A neighbour of a bridge was heard: it said so itself, or (not `isAnswer`) sent packets through a tunnel.
    indirect case neighbor(OpenFlowSwitch, IPAddress, mac: UInt64, isAnswer: Bool)
    /// It could not go into a tunnel, for want of a neighbour.
    indirect case missingNeighbor(OpenFlowSwitch, IPAddress, source: IPAddress)
    /// NORMAL saw this source.
    indirect case normal(OpenFlowSwitch, bundle: PortBundle, source: UInt64, vlan: UInt16, gratuitousARP: Bool)
    /// fin_timeout of a rule.
    case finTimeout(Rule, idle: UInt16, hard: UInt16)
    case mirror(Mirror)
    /// NetFlow counts it, by the packet as it came in.
    indirect case netFlow(NetFlow, FlowKey, output: UInt16)
    /// A bond sent it by a bucket.
    case bond(Bond, bucket: Int)
    /// A group took it; `bucket` nil: all its buckets did.
    indirect case group(Group, bucket: Int?)
}

/// Why a translation failed; the packet is dropped then.
enum TranslationError: String {
    case recursionTooDeep = "Recursion too deep"
    case tooManyResubmits = "Too many resubmits"
    case stackTooDeep = "Stack too deep"
    case noRecirculationContext = "No recirculation context"
    case recirculationConflict = "Recirculation conflict"
    case tooManyMPLSLabels = "Too many MPLS labels"
    case invalidTunnelMetadata = "Invalid tunnel metadata"
    case unsupportedPacketType = "Unsupported packet type"
    case congestionDrop = "Congestion Drop"
    case forwardingDisabled = "Forwarding is disabled"

    /// What the datapath's drop action says of it.
    var dropCode: UInt32 {
        switch self {
        case .recursionTooDeep: 2
        case .tooManyResubmits: 3
        case .stackTooDeep: 4
        case .noRecirculationContext: 5
        case .recirculationConflict: 6
        case .tooManyMPLSLabels: 7
        case .invalidTunnelMetadata: 8
        case .unsupportedPacketType: 9
        case .congestionDrop: 10
        case .forwardingDisabled: 11
        }
    }
}

/// What was to be done when a translation stopped to be resumed after recirculation or by a controller.
public struct FrozenState: Hashable, Sendable {
    public typealias Step = Continuation.Step
    public var switchID: Int
    public var table: UInt8
    public var inPort: UInt32
    public var metadata: UInt64
    public var registers: [UInt32]
    public var tunnelID: UInt64
    public var stack: [UInt128]
    public var steps: [Step]
    public var actionSet: [OFAction]
    public var conntracked: Bool
    /// An MPLS label had been popped. States that differ in it are told apart, as by the real daemon; nothing follows from it.
    public var wasMPLS = false
    /// A bond, one of whose members takes the packet by its hash.
    public var bond: String?
    /// For packet-ins.
    public var userdata: [UInt8] = []
    /// What a controller resumes with; otherwise whose actions these are is known when a step says so.
    public var cookie = UInt64.max
}

/// Collects what is left to do where a translation freezes, and whose actions these are before the first that has to know.
struct FrozenSteps {
    private(set) var steps: [FrozenState.Step] = []
    private var unrolled: (table: UInt8, cookie: UInt64)?

    private mutating func unroll(table: UInt8, cookie: UInt64) {
        if let unrolled, unrolled == (table, cookie) { return }
        unrolled = (table, cookie)
        steps.append(.unroll(table: table, cookie: cookie))
    }

    /// Takes what the flow with this cookie had still to do, in this table.
    mutating func take(_ rest: some Sequence<FrozenState.Step>, table: UInt8, cookie: UInt64) {
        for step in rest {
            // There is nothing to restore of what does nothing.
            if case .action(.note) = step { continue }
            if step.needsCookie { unroll(table: table, cookie: cookie) }
            steps.append(step)
        }
    }
}

/// A pass of the datapath that follows, when the packet comes back from the connection tracker.
struct FollowUp {
    var id: UInt32
    /// The packet as it will be, but for what the tracker finds out.
    var flow: FlowKey
    var zone: UInt16
    var nat: DpNAT?
}

/// The translation of one packet.
final class Translation {
    static let maxDepth = 64
    static let maxResubmits = 4096

    let capabilities: DpifCapabilities
    /// The switch that is being walked; patch ports change it.
    var owner: OpenFlowSwitch
    /// The switch that the packet came in at.
    let firstOwner: OpenFlowSwitch
    /// The packet as the pipeline has made it so far; `inPort` is an OpenFlow port.
    var flow: FlowKey
    /// The packet as the datapath has it.
    var base: FlowKey
    /// The packet as it came up.
    let original: FlowKey
    /// Bits that the result depends on.
    var wildcards = FlowMask()
    /// The same before the bits that no packet has were taken out; nil: there is no difference worth showing.
    private(set) var consulted: FlowMask?
    var actions: [DpAction] = []
    var slowPath: SlowPathReasons = []
    var error: TranslationError?
    /// The error came up after all but the action set was done.
    private var failedInActionSet = false
    var targets: [TranslationTarget] = []
    /// Reasons not to install a megaflow.
    var avoidCaching = false
    /// Flows that this packet taught.
    var learnedRules: [Rule] = []
    /// Flows that are to be refreshed when the translation is done.
    var pendingLearning: [(target: OpenFlowSwitch, learn: LearnAction, match: Match, actions: [OFAction])] = []

    // Where the walk is.
    var table: UInt8 = 0
    var rule: Rule?
    var ruleCookie: UInt64 = .max
    var depth = 0
    var resubmits = 0
    /// Groups that were looked at because a bucket watches them.
    var followedWatches = 0
    /// How many questions after neighbours of tunnels led to this one, each of the next.
    var questions = 0
    static let maxQuestions = 4
    var exit = false
    /// A TTL ran out, which ends the list of actions that is being executed, and no other.
    var endsList = false
    /// Nothing comes after the action that is executed, so that the datapath's packet may be changed for good.
    var isLastAction = true
    var inPacketOut = false
    var stack: [(value: UInt128, bits: Int)] = []
    var actionSet: [OFAction] = []
    var hasActionSet: Bool { !actionSet.isEmpty }
    var inGroup = false
    var inActionSet = false
    var encapsulation = EncapsulationState()
    var originalQueue: UInt32
    var queue: UInt32 = 0
    /// The connection tracker has seen the packet in this pass.
    var conntracked = false
    /// An MPLS label was popped, and what lies below is not known until the datapath looks.
    var wasMPLS = false
    /// Translation stops here and goes on after recirculation.
    var isFreezing = false
    /// The action that froze is executed again when translation goes on.
    var freezesCurrentAction = false
    var frozenSteps = FrozenSteps()
    var pauseAction: ControllerAction?
    /// A hash to compute before recirculating.
    var recirculationHash: (algorithm: HashAlgorithm, basis: UInt32)?
    /// Conntrack to run before recirculating.
    var recirculationID: UInt32 = 0
    /// Recirculation ids that this translation handed out.
    var recirculationIDs: [UInt32] = []
    /// What the actions within `ct` asked for.
    var conntrackNAT: OFAction?
    /// Passes of the datapath that follow this one, for traces.
    var followUps: [FollowUp] = []
    /// Mirrors that have had their copy.
    var usedMirrors: Set<ObjectIdentifier> = []
    /// Where an IGMP or MLD message came from that is to be learned from.
    var snooped: (owner: OpenFlowSwitch, bundle: PortBundle, vlan: UInt16)?

    /// The output interface of a NetFlow record.
    var netFlowOutput = NetFlowOutput.drop
    /// The first action samples for sFlow, and the ports that it is to be told of: how many, and the last.
    var hasSFlowSample = false
    var sFlowOutput: (count: Int, port: SwitchPort?) = (0, nil)
    /// Ports whose protocols take the packet.
    var consumers: [(port: SwitchPort, reasons: SlowPathReasons)] = []

    /// What a mirror limits the next output to.
    var truncation: UInt32?

    /// When it began, by the switch's clock.
    let now: Int64

    // What it is for.
    /// Learning and packet-ins take place.
    let sideEffects: Bool
    /// Statistics of the packet to credit right away: bytes and TCP flags; nil for none.
    var packet: (bytes: Int, tcpFlags: UInt16)?
    /// The packet's bytes, where controllers may be sent it.
    var packetBytes: [UInt8]?
    /// The packet's size where it is known, credited or not.
    var packetLength: Int?
    var trace: TraceNode?
    /// Notes the way through the tables, until the translation turns out not to be a plain one.
    var record: TranslationRecord?
    /// Packets that go to controllers when the datapath cannot send them up again.
    var isTracing: Bool { trace != nil }

    /// - Parameter inPort: the OpenFlow port that it came in by, where that is not the key's.
    init(
        _ owner: OpenFlowSwitch, flow: borrowing FlowKey, inPort: UInt32? = nil, sideEffects: Bool,
        packet: (bytes: Int, tcpFlags: UInt16)? = nil, trace: TraceNode? = nil, now: Int64? = nil
    ) {
        owner.settle()
        self.owner = owner
        firstOwner = owner
        capabilities = owner.backer.capabilities
        self.flow = copy flow
        if let inPort { self.flow.inPort = inPort }
        self.flow.actsetOutput = OFPort.unset.rawValue
        base = self.flow
        original = self.flow
        originalQueue = flow.skbPriority
        queue = flow.skbPriority
        self.sideEffects = sideEffects
        self.packet = packet
        packetLength = packet?.bytes
        self.trace = trace
        self.now = now ?? owner.time.now
        // Three tables' worth, so that most lists are allocated once.
        targets.reserveCapacity(6)
        initialiseWildcards()
    }

    private func initialiseWildcards() {
        wildcards.setExact(Location.packetType)
        wildcards.setExact(Location.inPort)
        wildcards.setExact(Location.ethType)
        if flow.isIP { wildcards.setExact(Location.nwFrag) }
        if capabilities.recirculation { wildcards.setExact(Location.recircID) }
        if flow.hasTunnel {
            let addresses =
                flow.tunDst != 0
                ? [Location.tunSrc, Location.tunDst] : [Location.tunIPv6Src, Location.tunIPv6Dst]
            for l in addresses + [Location.tunID, Location.tunTOS] { wildcards.setExact(l) }
            wildcards.bits.tunFlags = TunnelFlag.dontFragment | TunnelFlag.checksum | TunnelFlag.key
        }
    }

    /// Takes out of the mask what a megaflow cannot or need not match.
    func finishWildcards() {
        // Registers and other fields that no packet has.
        for i in Location.metadata.word..<Location.skbPriority.word { wildcards.bits.words[i] = 0 }
        wildcards.bits[Location.actsetOutput] = 0
        wildcards.bits[Location.conjID] = 0
        if !original.hasTunnel {
            for i in 0..<Location.metadata.word { wildcards.bits.words[i] = 0 }
        }
        if original.packetType != 0 {
            wildcards.bits.ethSrc = 0
            wildcards.bits.ethDst = 0
        }
        // Judged by what the packet has become; elsewhere, and where the translation failed, the whole words may stay.
        let icmp = flow.ethType == 0x0800 && flow.nwProto == 1 || flow.ethType == 0x86dd && flow.nwProto == 58
        if icmp, consulted == nil {
            wildcards.bits.tpSrc &= 0xff
            wildcards.bits.tpDst &= 0xff
        }
        if wildcards.bits.vlanTCI != 0 { wildcards.bits.vlanTCI |= 0x1000 }
        if wildcards.bits.innerVLANTCI != 0 { wildcards.bits.innerVLANTCI |= 0x1000 }
        if original.nwFrag & IPFragment.later != 0 {
            wildcards.bits.tpSrc = 0
            wildcards.bits.tpDst = 0
        }
        if !isMPLS(original.ethType) {
            for i in 0..<maxMPLSLabels { wildcards.bits.setMPLSLSE(i, 0) }
        }
        if original.vlanTPID == 0 {
            wildcards.bits.vlanTPID = 0
            wildcards.bits.vlanTCI = 0
        }
        if original.innerVLANTPID == 0 {
            wildcards.bits.innerVLANTPID = 0
            wildcards.bits.innerVLANTCI = 0
        }
    }

    private func isMPLS(_ type: UInt16) -> Bool { type == 0x8847 || type == 0x8848 }

    // MARK: Entry points

    /// Translates a packet that came in at `flow.inPort`.
    func run() {
        guard flow.recircID == 0 else {
            resume()
            return
        }
        let port = owner.port(OFPort(flow.inPort))
        if flow.packetType != 0, port?.tunnel?.layer == .legacyL3 {
            // What such a tunnel brings looks like Ethernet from here on.
            flow.ethType = UInt16(truncatingIfNeeded: flow.packetType)
            flow.packetType = 0
            flow.ethSrc = 0
            flow.ethDst = 0
            encapsulation.pending = .pushEthernet
        }
        let netFlow = flow.ethType == 0x0800 ? owner.netFlow : nil
        if netFlow != nil { NetFlow.consult(&wildcards, of: flow) }
        let isConsumed = port.map { self.isConsumed(at: $0) } ?? false
        let found = owner.lookupFirst(self)
        enter(found, table: table)
        if isConsumed {
            finish()
            return
        }
        if let port, let bundle = port.bundle, owner.isMirrorOutput(bundle) {
            report(
                .error, "dropping packet received on port \(port.name), which is reserved exclusively for mirroring")
        } else {
            sampleInput()
            process(found, port)
        }
        if let netFlow {
            targets.append(.netFlow(netFlow, original, output: netFlowOutput))
            if let packet {
                netFlow.credit(
                    original, output: netFlowOutput, packets: 1, bytes: UInt64(packet.bytes), tcpFlags: packet.tcpFlags,
                    used: firstOwner.time.now)
            }
        }
        finish()
    }

    /// What the first table's flow does to a packet that may come in.
    private func process(_ found: Rule, _ port: SwitchPort?) {
        guard takeCongestion(), port == nil || mayReceive(port) else { return }
        let sampling = actions.count
        if let port, port.tunnel != nil, flow.hasTunnel {
            targets.append(.tunnel(port, sent: false))
            if let packet { port.creditReceived(packets: 1, bytes: UInt64(packet.bytes)) }
        }
        if !owner.mirrors.isEmpty, let bundle = port?.bundle { mirror(bundle, \.sourcePorts) }
        execute(found.actions)
        // What NORMAL and learn actions see teaches them; then the packet is dropped.
        if port?.spanningTree.forwards == false { actions.removeSubrange(sampling...) }
        conclude()
    }

    /// Translates an explicit list of actions (packet-out).
    func run(actions list: [OFAction]) {
        guard flow.recircID == 0 else {
            // A trace asks for it; what to do is known already, and not this.
            if let trace { self.trace = trace.add(.thaw, "thaw") }
            fail(.recirculationConflict, "Recirculation conflict (actions)!")
            finish()
            return
        }
        table = 0
        inPacketOut = true
        sampleInput()
        execute(list)
        conclude()
        finish()
    }

    /// What comes behind the actions of a packet's flow, or of a packet-out.
    private func conclude() {
        let hasFailed = error != nil
        if isFreezing { finishFreezing() } else if hasActionSet { executeActionSet() }
        failedInActionSet = !hasFailed && error != nil
        if isFreezing { finishFreezing() }
    }

    private func mayReceive(_ port: SwitchPort?) -> Bool {
        guard let port else { return true }
        guard port.spanningTree.learns else { return false }
        if flow.ethDst == 0x0180_c200_0000 { return !port.config.contains(.noReceiveSTP) }
        return !port.config.contains(.noReceive)
    }

    /// Whether one of the switch's own protocols takes the packet where it comes in.
    func isConsumed(at port: SwitchPort) -> Bool {
        guard let reason = owner.consumer(of: flow, on: port, consulted: &wildcards) else { return false }
        slowPath.insert(reason)
        consumers.append((port, reason))
        return true
    }

    func finish() {
        finishLearning()
        // A translation that failed shows all that it looked at, unless that was in the action set.
        if error != nil, !failedInActionSet { consulted = wildcards }
        if error != nil {
            actions = []
            slowPath = []
        } else if firstOwner.inBand, mustOutputToLocal, !actions.contains(.output(firstOwner.localDatapathPort)) {
            report(.detail, "outputting DHCP packet to local port for in-band control")
            composeOutput(.local)
        }
        completeSFlowSample()
        unwrapLastCopy()
        finishWildcards()
    }

    /// A copy behind which nothing comes need not be one.
    func unwrapLastCopy() {
        guard case .clone(let inner) = actions.last else { return }
        actions.removeLast()
        actions += inner
    }

    /// DHCP replies for the switch's own address must reach it with in-band control.
    private var mustOutputToLocal: Bool {
        guard original.ethType == 0x0800 else { return false }
        wildcards.setExact(Location.nwProto)
        guard original.nwProto == 17 else { return false }
        wildcards.setExact(Location.tpSrc)
        wildcards.setExact(Location.tpDst)
        return original.tpSrc == 67 && original.tpDst == 68
    }

    // MARK: Reports

    @inline(__always)
    func report(_ kind: TraceNode.Kind, _ text: @autoclosure () -> String) {
        if let trace { trace.add(kind, text()) }
    }

    func fail(_ reason: TranslationError, _ text: @autoclosure () -> String) {
        report(.error, text())
        error = reason
    }
}
