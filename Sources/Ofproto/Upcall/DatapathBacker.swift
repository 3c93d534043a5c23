// A datapath and the bridges that share it: takes its upcalls, installs megaflows, and keeps them true.
//
// The way of a miss: `handle` finds the bridge of the input port, translates, and answers with the actions and the flow
// to install. What was installed is kept in `flows`, with what its translation touched; `revalidate` takes the
// datapath's statistics, credits them there, and removes flows that are idle or no longer what translation gives.

import Dpif
import Flow
import OpenFlow
import Packet
import Vlog

/// Settings of flow caching (Open_vSwitch.other_config).
public struct CacheSettings: Hashable, Sendable {
    /// The most flows in the datapath.
    public var flowLimit = 200_000
    /// Milliseconds without a packet until a flow goes.
    public var maxIdle: Int64 = 10_000
    /// Milliseconds between revalidations.
    public var maxRevalidator: Int64 = 500
    public init() {}
}

/// A datapath shared by bridges. Confined to the main thread.
public final class DatapathBacker: UpcallHandler {
    public let dpif: any Dpif
    public let time: TimeSource
    public var capabilities: DpifCapabilities { didSet { fit = CapabilityCheck(capabilities) } }
    private var fit: CapabilityCheck
    public var settings = CacheSettings()
    /// How many VLAN tags are looked at (other_config:vlan-limit).
    public var vlanLimit: Int {
        get { dpif.vlanLimit }
        set {
            dpif.vlanLimit = newValue
            capabilities.maxVLANHeaders = min(newValue, dpif.capabilities.maxVLANHeaders)
            changed()
        }
    }
    public private(set) var switches: [OpenFlowSwitch] = []
    private var portsByNumber: [UInt32: SwitchPort] = [:]
    let recirculation = RecirculationTable()
    var timeoutPolicies = TimeoutPolicies()
    /// Where tunnelled packets go.
    public let routing: TunnelRouting
    var tunnelBackings: [UInt32: TunnelBacking] = [:]
    /// Nil: to be made anew.
    var tunnelListeners: (table: FlowTable, list: [TunnelListener])?
    private var patchPorts: [String: SwitchPort] = [:]

    private var flows = InstalledFlows()
    /// The datapath goes on with what an earlier daemon told it, until `adopt`.
    public private(set) var isHolding: Bool
    /// Rises with every change that may change a translation.
    private(set) var generation: UInt64 = 1
    private var revalidatedGeneration: UInt64 = 1
    private var lastRevalidation: Int64 = 0
    public var megaflowsEnabled = true
    public var ufidEnabled = true
    public private(set) var maxFlowCount = 0
    public private(set) var averageFlowCount = 0
    public private(set) var dumpDuration: Int64 = 1
    private static let log = Vlog.module("ofproto_dpif_upcall")

    /// - Parameter routing: what this datapath's tunnels share with others'.
    public init(_ dpif: any Dpif, time: TimeSource, routing: TunnelRouting = TunnelRouting()) {
        self.dpif = dpif
        self.routing = routing
        self.time = time
        capabilities = dpif.capabilities
        fit = CapabilityCheck(dpif.capabilities)
        isHolding = dpif.isAdopted
        dpif.upcallHandler = self
    }

    deinit {
        dpif.upcallHandler = nil
        for waiter in waiting { waiter.done() }
    }

    public var flowCount: Int { flows.count }

    // MARK: Bridges and ports

    func add(_ newSwitch: OpenFlowSwitch) {
        switches.append(newSwitch)
        changed()
    }

    func remove(_ old: OpenFlowSwitch) {
        switches.removeAll { $0 === old }
        changed()
    }

    func openFlowSwitch(id: Int) -> OpenFlowSwitch? { switches.first { $0.id == id } }

    func register(_ port: SwitchPort) {
        if port.tunnel != nil { registerTunnel(port) } else if let n = port.datapathPort { portsByNumber[n] = port }
        if port.number == .local { tunnelListeners = nil }
        if port.isPatch { patchPorts[port.name] = port }
        changed()
    }

    func unregister(_ port: SwitchPort) {
        if port.tunnel != nil { unregisterTunnel(port) }
        if port.number == .local { tunnelListeners = nil }
        if let n = port.datapathPort, portsByNumber[n] === port { portsByNumber[n] = nil }
        if patchPorts[port.name] === port { patchPorts[port.name] = nil }
        changed()
    }

    /// Gives a datapath port another number.
    public func renumber(_ old: UInt32, to new: UInt32) throws(DpifError) {
        guard let device = dpif.device(old) else { throw DpifError(19, "port \(old)") }
        try dpif.deletePort(old)
        let number = try dpif.addPort(device, requested: new)
        guard let port = portsByNumber.removeValue(forKey: old) else { return }
        port.datapathPort = number
        portsByNumber[number] = port
        changed()
    }

    func patchPeer(of port: SwitchPort) -> SwitchPort? {
        guard let name = port.peerName, let peer = patchPorts[name], peer.peerName == port.name, peer !== port else {
            return nil
        }
        return peer
    }

    /// The switch's port of a datapath port.
    public func port(datapath number: UInt32) -> SwitchPort? { portsByNumber[number] }

    /// The switch's port that a packet came in by.
    public func port(of key: borrowing FlowKey) -> SwitchPort? {
        if let port = portsByNumber[key.inPort] { return port }
        return tunnelPort(key.inPort, copy key)
    }

    /// Something changed that translations depend on.
    public func changed() {
        generation &+= 1
        onChange?()
    }
    /// Told of such changes, so that work that follows from them is done soon.
    public var onChange: (() -> Void)?

    // MARK: Upcalls

    public func handle(_ upcall: Upcall, packet: borrowing Packet) -> UpcallVerdict {
        switch upcall.kind {
        case .miss: return handleMiss(upcall.key, packet: packet)
        case .action(let action): return handleAction(action, upcall, packet)
        }
    }

    public func handleMiss(_ key: borrowing FlowKey, packet: borrowing Packet) -> UpcallVerdict {
        guard let port = port(of: key) else {
            let number = key.inPort
            Self.log.info("received packet on unassociated datapath port \(number)")
            return UpcallVerdict(failed: ())
        }
        // What the packet teaches is news to its own flow, too.
        let before = generation
        let translation = translate(key, on: port, packetBytes: packet.count, sideEffects: true)
        consume(packet, translation)
        let runtime = translation.actions
        guard !translation.avoidCaching, flows.count < settings.flowLimit, translation.error != .noRecirculationContext
        else { return UpcallVerdict(actions: runtime) }
        let (mask, wanted) = megaflow(translation, key)
        let ufid = UFID(key: key, mask: mask)
        // The datapath may have the flow and not have found it; then its counts go on.
        var credited = DpFlowStats()
        if let old = flows[ufid] {
            if dpif.flowStats(ufid) != nil { credited = old.credited }
            forget(ufid)
        }
        let entry = install(ufid, key, mask, wanted, translation, generation: before)
        entry.credited = credited
        let installed = entry.actions
        // What the datapath drops with a reason it counts so for this packet, too.
        var now = runtime
        if case .drop? = installed.first { now = installed }
        return UpcallVerdict(
            actions: now,
            install: FlowInstallation(ufid, key: entry.miniKey, mask: entry.miniMask, actions: installed, record: entry))
    }

    /// What a translation comes to as a flow of the datapath, within what that advertises. Packets that it cannot tell apart as the
    /// translation did, or to which it cannot do what is to be done, take the slow path.
    func megaflow(_ translation: Translation, _ key: borrowing FlowKey) -> (mask: FlowMask, actions: [DpAction]) {
        var slow = translation.slowPath
        var mask = translation.wildcards
        if fit.trim(&mask, key: key) { slow.insert(.match) }
        if slow.isEmpty, fit.problem(actions: translation.actions) != nil { slow.insert(.action) }
        if !megaflowsEnabled || !capabilities.megaflows {
            mask = Self.exactMask(key)
            _ = fit.trim(&mask, key: key)
        }
        // A datapath's key cannot leave open whether there is a tag.
        if mask.bits.vlanTCI == 0, capabilities.maxVLANHeaders > 0 { mask.bits.vlanTCI = 0x1fff }
        if !slow.isEmpty { return (mask, [.userspace(.slowPath(slow))]) }
        if translation.actions.isEmpty, capabilities.explicitDrop {
            return (mask, [.drop(translation.error?.dropCode ?? DropCode.pipeline)])
        }
        return (mask, translation.actions)
    }

    /// The mask that matches a packet exactly: every field that it can have.
    static func exactMask(_ key: borrowing FlowKey) -> FlowMask {
        var mask = FlowMask()
        for l in [
            Location.packetType, Location.inPort, Location.recircID, Location.dpHash, Location.skbPriority, Location.pktMark,
            Location.ethSrc, Location.ethDst, Location.ethType, Location.ctState, Location.ctZone, Location.ctMark,
            Location.ctLabel,
        ] { mask.setExact(l) }
        if key.vlanTPID != 0 {
            mask.setExact(Location.vlanTPID)
            mask.setExact(Location.vlanTCI)
        }
        if key.innerVLANTPID != 0 {
            mask.setExact(Location.innerVLANTPID)
            mask.setExact(Location.innerVLANTCI)
        }
        switch key.ethType {
        case EtherType.ipv4:
            for l in [Location.nwSrc, Location.nwDst] { mask.setExact(l) }
        case EtherType.ipv6:
            for l in [Location.ipv6Src, Location.ipv6Dst, Location.ipv6Label] { mask.setExact(l) }
        case EtherType.arp, EtherType.rarp:
            for l in [Location.nwSrc, Location.nwDst, Location.nwProto, Location.arpSHA, Location.arpTHA] { mask.setExact(l) }
        case EtherType.mpls, EtherType.mplsMulticast:
            for i in 0..<maxMPLSLabels { mask.setExact(Location.mplsLSE(i)) }
        default: break
        }
        if key.isIP {
            let proto = key.nwProto
            for l in [Location.nwProto, Location.nwTOS, Location.nwTTL, Location.nwFrag] { mask.setExact(l) }
            if key.nwFrag & IPFragment.later == 0 {
                if proto == IPProtocol.icmp || proto == IPProtocol.icmpv6 {
                    mask.bits.tpSrc = 0xff
                    mask.bits.tpDst = 0xff
                } else if [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp].contains(proto) {
                    mask.setExact(Location.tpSrc)
                    mask.setExact(Location.tpDst)
                }
                if proto == IPProtocol.tcp { mask.setExact(Location.tcpFlags) }
            }
        }
        return mask
    }

    /// Translates a packet's key with datapath ports.
    func translate(
        _ key: borrowing FlowKey, on port: SwitchPort, packetBytes: Int? = nil, packetLength: Int? = nil, sideEffects: Bool,
        trace: TraceNode? = nil, now: Int64? = nil
    ) -> Translation {
        let flags = key.tcpFlags
        let translation = Translation(
            port.owner, flow: key, inPort: port.number.rawValue, sideEffects: sideEffects,
            packet: packetBytes.map { ($0, flags) }, trace: trace, now: now)
        translation.packetLength = packetBytes ?? packetLength
        translation.run()
        return translation
    }

    /// Hands a packet of the slow path to the protocols that want to see it.
    func consume(_ packet: borrowing Packet, _ translation: Translation) {
        if let snooped = translation.snooped {
            snooped.owner.snoop(packet.array, from: snooped.bundle, vlan: snooped.vlan)
        }
        for (port, reasons) in translation.consumers { port.owner.consume(packet.array, for: reasons, on: port) }
    }

    private func handleAction(_ action: UserspaceAction, _ upcall: Upcall, _ packet: borrowing Packet) -> UpcallVerdict {
        let key = upcall.key
        switch action {
        case .slowPath:
            guard let port = port(of: key) else { return UpcallVerdict(actions: []) }
            // The datapath counts these packets, so they are credited with its flow.
            let translation = translate(key, on: port, packetLength: packet.count, sideEffects: true)
            consume(packet, translation)
            return UpcallVerdict(actions: translation.actions)
        case .controller(let reason, let dontSend, let isPaused, let recircID, let cookie, let controllerID, let maxLength):
            guard !dontSend, let state = recirculation.state(recircID),
                let target = openFlowSwitch(id: state.switchID)
            else { return UpcallVerdict(actions: []) }
            var flow = key
            flow.inPort = state.inPort
            flow.metadata = state.metadata
            for (i, value) in state.registers.enumerated() { flow[Location.reg(i)] = UInt128(value) }
            target.packetInReceiver?(
                PacketInEvent(
                    packet: packet.array, flow: flow, reason: PacketInReason(rawValue: reason) ?? .action,
                    table: state.table, cookie: cookie, controllerID: controllerID, maxLength: Int(maxLength),
                    userdata: state.userdata, continuation: isPaused ? continuation(of: state, key.inPort) : nil))
            return UpcallVerdict(actions: [])
        case .sFlow, .flowSample, .ipfix:
            export(action, upcall, packet)
            return UpcallVerdict(actions: [])
        }
    }

    /// What a controller is given to send back.
    private func continuation(of state: FrozenState, _ datapathPort: UInt32) -> Continuation {
        var rest = Continuation()
        rest.bridge = openFlowSwitch(id: state.switchID)?.identity ?? []
        rest.stack = state.stack
        rest.conntracked = state.conntracked
        rest.steps = state.steps
        rest.actionSet = state.actionSet
        rest.datapathPort = datapathPort
        return rest
    }

    func forget(_ ufid: UFID) {
        guard let old = flows.remove(ufid) else { return }
        for case .netFlow(let netFlow, let flow, _) in old.targets { netFlow.end(flow) }
        recirculation.release(old.recirculationIDs)
    }

    // MARK: Revalidation

    /// Does what is due: the datapath's own work, statistics and revalidation.
    public func run() {
        let start = ContinuousClock.now
        dpif.run()
        guard !isHolding else { return }
        let now = time.now
        if pass == nil {
            let due = now - lastRevalidation >= settings.maxRevalidator
            let dirty = generation != revalidatedGeneration && now - lastRevalidation >= 20
            if due || dirty || !waiting.isEmpty { beginPass() }
        }
        // Where packets wait they come first, but for a pass that is late: statistics are not to grow old.
        let begin = ContinuousClock.now
        let isLate = pass.map { now - $0.started > settings.maxRevalidator } ?? false
        let length = isLate ? Self.slice : max(Self.leastSlice, min(Self.slice, (Self.busySlice - (begin - start)) / 2))
        let end = begin + length
        repeat { continuePass(limit: Self.batch) } while pass != nil && ContinuousClock.now < end
        // The rest soon, after others had their turn.
        if pass != nil || !waiting.isEmpty { onChange?() }
    }

    /// When `run` wants to be called again, in milliseconds of the clock.
    public var nextRun: Int64 {
        lastRevalidation + (generation != revalidatedGeneration ? 20 : settings.maxRevalidator)
    }

    /// A revalidation under way: so many flows at a time, that the main thread is never kept for long. `flows` knows which are left.
    private struct Pass {
        let started: Int64
        let idleLimit: Int64
        /// Gives statistics as long as it has some; the flows that it did not tell of are asked for then.
        var walk: (any FlowStatsWalk)?
    }
    private var pass: Pass?
    private var passesBegun: UInt64 = 0
    /// Who wants to be told when that many passes were begun and completed.
    private var waiting: [(passes: UInt64, done: () -> Void)] = []
    /// For how long flows are looked at before others have their turn, and how many between looks at the clock.
    private static let slice = Duration.milliseconds(1)
    private static let leastSlice = Duration.microseconds(100)
    /// With packets that take so long there is no time for more than the least.
    private static let busySlice = Duration.milliseconds(2)
    private static let batch = 100
    /// From how many flows on a walk is worth its beginning.
    private static let walkMinimum = 32
    /// Up to how many flows statistics are brought up to date for each request.
    var synchronousLimit = 10_000

    private func beginPass() {
        let now = time.now
        lastRevalidation = now
        revalidatedGeneration = generation
        flows.beginPass()
        passesBegun &+= 1
        pass = Pass(
            started: now, idleLimit: flows.count > settings.flowLimit ? 100 : settings.maxIdle,
            walk: flows.count < Self.walkMinimum ? nil : dpif.walkFlowStats())
    }

    /// Completes the pass under way.
    private func completePass() { while pass != nil { continuePass(limit: .max) } }

    /// The next flows of a pass, and their statistics, nil for flows that the datapath does not have.
    private func nextFlows(_ current: inout Pass, limit: Int) -> ([InstalledFlow], [DpFlowStats?]) {
        if let walk = current.walk {
            if let found = walk.next(about: limit) {
                var result: ([InstalledFlow], [DpFlowStats?]) = ([], [])
                for told in found {
                    guard let entry = flows.visit(told.ufid) else { continue }
                    result.0.append(entry)
                    result.1.append(told.stats)
                }
                return result
            }
            current.walk = nil
        }
        let entries = flows.visit(atMost: limit)
        return (entries, dpif.flowStats(of: entries))
    }

    private func continuePass(limit: Int) {
        guard var current = pass else { return }
        pass = nil
        var idle: [InstalledFlow] = []
        // One look at the clock for all of them.
        let now = time.now
        let (entries, statistics) = nextFlows(&current, limit: limit)
        for (i, entry) in entries.enumerated() {
            guard entry.isThere else { continue }
            guard let stats = statistics[i] else {
                forget(entry.ufid)
                continue
            }
            credit(stats, to: entry)
            if current.started - (stats.used ?? entry.created) > current.idleLimit {
                idle.append(entry)
            } else if entry.generation != generation {
                check(entry, now: now)
            }
        }
        delete(idle)
        guard !flows.isPassComplete else {
            averageFlowCount = (averageFlowCount + flows.count) / 2
            dumpDuration = max(1, time.now - current.started)
            passCompleted()
            return
        }
        pass = current
    }

    private func passCompleted() {
        guard !waiting.isEmpty else { return }
        let done = waiting.filter { $0.passes <= passesBegun }
        waiting.removeAll { $0.passes <= passesBegun }
        for waiter in done { waiter.done() }
    }

    /// Credits statistics, and removes or updates what no longer holds: all of it, now.
    public func revalidate() {
        completePass()
        beginPass()
        completePass()
    }

    /// Translates an installed flow again, and keeps it only when the datapath would do the same.
    private func check(_ entry: InstalledFlow, now: Int64) {
        guard let port = port(of: entry.key) else {
            delete(entry)
            return
        }
        let translation = translate(entry.key, on: port, sideEffects: false, now: now)
        let (mask, wanted) = megaflow(translation, entry.key)
        var matched = entry.mask
        if EtherType.isMPLS(entry.key.ethType) {
            // A datapath's key has the labels that the packet has: what looked further down goes, as in the real daemon.
            for n in entry.key.mplsDepth..<maxMPLSLabels { matched.bits.setMPLSLSE(n, 0) }
        }
        if entry.key.isIP, entry.key.nwProto == (entry.key.ethType == EtherType.ipv4 ? IPProtocol.icmp : IPProtocol.icmpv6) {
            // Type and code have 8 bits in the datapath: what looked at more of their places goes, as in the real daemon.
            matched.bits.tpSrc &= 0xff
            matched.bits.tpDst &= 0xff
        }
        guard translation.error != .noRecirculationContext, matched.isSuperset(of: translation.consulted ?? mask)
        else {
            delete(entry)
            return
        }
        entry.take(translation, in: recirculation, generation: generation)
        guard wanted != entry.actions else { return }
        entry.actions = wanted
        let flow = DpFlow(ufid: entry.ufid, key: entry.key, mask: entry.mask, actions: wanted)
        do throws(DpifError) {
            try dpif.putFlow(DpFlowPut(.modify, flow))
        } catch {
            delete(entry)
        }
    }

    private func delete(_ entry: InstalledFlow) { delete([entry]) }

    private func delete(_ entries: [InstalledFlow]) {
        guard !entries.isEmpty else { return }
        let results = dpif.operate(entries.map { .delete($0.ufid, $0.key, $0.mask) })
        for (entry, result) in zip(entries, results) {
            if case .stats(let last) = result { credit(last, to: entry) }
            forget(entry.ufid)
        }
    }

    /// Credits what the datapath counted since the last time.
    private func credit(_ stats: DpFlowStats, to entry: InstalledFlow) {
        guard stats.packets > entry.credited.packets else { return }
        let packets = stats.packets &- entry.credited.packets
        var bytes = stats.bytes &- entry.credited.bytes
        let flags = stats.tcpFlags
        entry.credited = stats
        let used = stats.used ?? time.now
        for target in entry.targets {
            switch target {
            case .rule(let rule): rule.credit(packets: packets, bytes: bytes, used: used)
            case .table(let table, let matched): table.count(matched: matched, packets: packets)
            case .header(let size): bytes = bytes &+ packets &* UInt64(bitPattern: Int64(size))
            case .tunnel(let port, let sent):
                if sent { port.creditSent(packets: packets, bytes: bytes) } else { port.creditReceived(packets: packets, bytes: bytes) }
            case .neighbor(let bridge, let ip, let mac, let isAnswer): heard(ip, mac, on: bridge, isAnswer: isAnswer)
            case .missingNeighbor(let bridge, let ip, let source): ask(for: ip, on: bridge, from: source)
            case .patch(let out, let input):
                out.creditSent(packets: packets, bytes: bytes)
                input.creditReceived(packets: packets, bytes: bytes)
            case .normal(let owner, let bundle, let source, let vlan, let gratuitous):
                if owner.macs.learn(source, vlan: vlan, on: bundle, gratuitousARP: gratuitous) { owner.macTableChanged() }
            case .group(let group, let bucket): group.credit(bucket: bucket, packets: packets, bytes: bytes)
            case .netFlow(let netFlow, let flow, let output):
                netFlow.credit(flow, output: output, packets: packets, bytes: bytes, tcpFlags: flags, used: used)
            case .mirror(let mirror): mirror.credit(packets: packets, bytes: bytes)
            case .bond(let bond, let bucket): bond.credit(bucket: bucket, bytes: bytes)
            case .finTimeout(let rule, let idle, let hard):
                if flags & 5 != 0, rule.isInstalled { rule.reduce(idle: idle, hard: hard) }
            }
        }
    }

    /// Takes statistics and brings all flows up to date, now.
    public func synchronise() {
        // With very many flows the last pass must do: it is no older than `maxRevalidator`.
        guard flows.count <= synchronousLimit else { return }
        revalidate()
        if generation != revalidatedGeneration { revalidate() }
    }

    /// As `synchronise`, but takes its time where flows are very many. Calls `done` then, at once or later.
    public func synchronise(_ done: @escaping () -> Void) {
        guard flows.count > synchronousLimit else {
            synchronise()
            return done()
        }
        // The pass under way may have seen flows whose statistics are news by now.
        waiting.append((passesBegun &+ 1, done))
        onChange?()
    }

    /// Makes installed flows heed what changed, at once unless they are very many.
    public func catchUp() {
        guard flows.count <= synchronousLimit, generation != revalidatedGeneration else { return }
        revalidate()
    }

    /// Takes over a flow that the datapath had before; its counts until now were an earlier daemon's.
    func take(_ flow: DpFlow, _ translation: Translation) {
        install(flow.ufid, flow.key, flow.mask, flow.actions, translation, generation: generation).credited = flow.stats
    }

    private func install(
        _ ufid: UFID, _ key: borrowing FlowKey, _ mask: borrowing FlowMask, _ actions: [DpAction], _ translation: Translation,
        generation: UInt64
    ) -> InstalledFlow {
        let entry = flows.insert(ufid, key, mask, actions, translation, now: translation.now, generation: generation)
        recirculation.retain(entry.recirculationIDs)
        maxFlowCount = max(maxFlowCount, flows.count)
        return entry
    }

    func endHolding() { isHolding = false }

    /// Removes all flows from the datapath, after crediting them.
    public func purge() {
        for entry in flows.all { delete(entry) }
    }

    /// Forgets flows that somebody else removed from the datapath.
    public func flowsFlushed() {
        for ufid in flows.ids { forget(ufid) }
    }
}

extension Rule {
    /// fin_timeout: lowers the timeouts to at most these.
    func reduce(idle: UInt16, hard: UInt16) {
        if idle != 0, idleTimeout == 0 || idleTimeout > idle { idleTimeout = idle }
        if hard != 0, hardTimeout == 0 || hardTimeout > hard { hardTimeout = hard }
    }
}

/// A packet for the controllers.
public struct PacketInEvent: Sendable {
    public var packet: [UInt8]
    /// The packet's fields with OpenFlow ports and metadata.
    public var flow: FlowKey
    public var reason: PacketInReason
    public var table: UInt8
    public var cookie: UInt64
    public var controllerID: UInt16
    public var maxLength: Int
    public var userdata: [UInt8]
    /// What is left to be done when the controller sends the packet back; nil: it is not waited for.
    public var continuation: Continuation?
}
