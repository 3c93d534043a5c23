// The userspace engine: ports, megaflows and the packet's path through them. DpifDummy and DpifNetdev both drive it.
//
// The path of a packet, one function a step:
//
//     receive ─▶ extract ─▶ lookup ─┬─ hit ──▶ execute ─▶ transmit
//                                   └─ miss ─▶ upcall ─▶ (install) ─▶ execute ─▶ transmit
//
// Everything here runs on the main thread.

import Dpif
import Flow
import Packet

/// Names why the engine dropped a packet.
public enum DropReason: String, CaseIterable, Sendable {
    case upcallFailed = "datapath_drop_upcall_error"
    case noUpcallHandler = "datapath_drop_lock_error"
    case recirculationLimit = "datapath_drop_recirc_error"
    case invalidPort = "datapath_drop_invalid_port"
    case meter = "datapath_drop_meter"
    case tunnelPush = "datapath_drop_tunnel_push_error"
    case tunnelPop = "datapath_drop_tunnel_pop_error"
    case nsh = "datapath_drop_nsh_decap_error"
}

/// Something that forwards packets on its own, with copies of flows that the engine gives it. Called on the main thread.
public protocol FlowAccelerator: AnyObject {
    /// Packets that it forwarded.
    var hits: UInt64 { get }
    /// Packets that it had to drop because the main thread was behind.
    var lost: UInt64 { get }
    /// Packets that flows told it to drop.
    var dropped: UInt64 { get }
    /// A packet that came back from recirculation met this flow; what else it brings is done before the engine does anything more.
    func recirculated(_ packet: borrowing Packet, _ key: borrowing FlowKey, to flow: Megaflow)
    /// Adds what it counted of a flow since the last time to the flow's statistics.
    func update(_ flow: Megaflow)
    /// The flow's actions changed.
    func changed(_ flow: Megaflow)
    /// These flows are about to go: a chance to do for many what takes time for each.
    func willRemove(_ flows: [Megaflow])
    /// The flow goes; its last counts are added to its statistics.
    func removed(_ flow: Megaflow)
    /// All flows go.
    func flushed()
}

/// A datapath in userspace. Subclasses declare capabilities and how packets reach it.
open class UserspaceDatapath: Dpif {
    public let type: String
    public let name: String
    public let time: TimeSource
    public var capabilities: DpifCapabilities
    public var vlanLimit = 1 { didSet { capabilities.maxVLANHeaders = vlanLimit } }
    public var tunnelOptions: TunnelOptionMap?
    // Not weak: what weak references point to takes several times as long to retain, wherever that is.
    public unowned var upcallHandler: (any UpcallHandler)?
    /// It must not keep the datapath.
    public var accelerator: (any FlowAccelerator)? { didSet { table.lookupLimit = accelerator == nil ? .max : 64 } }

    private final class Port {
        let info: DpPort
        let device: any PortDevice
        /// The device, when packets can be sent to it.
        let packetDevice: (any PacketDevice)?

        init(_ info: DpPort, _ device: any PortDevice) {
            self.info = info
            self.device = device
            packetDevice = device as? any PacketDevice
        }
    }
    private var portTable: [UInt32: Port] = [:]
    private var portsByName: [String: UInt32] = [:]
    public private(set) var portChangeCount: UInt64 = 1

    private var table = MegaflowTable()
    private var counters = DpStats()
    private var dropped: [DropReason: UInt64] = [:]
    /// By `drop` actions, by their code.
    private var droppedByAction = [UInt64](repeating: 0, count: DropCode.names.count)
    private let meterTable: MeterTable
    private let tracker = ConnectionTracker()
    private var bonds = BondTable()
    /// The next sequence number of each tunnel port that numbers its packets.
    private var tunnelSequences: [UInt32: UInt32] = [:]
    private let conntrackControl: ConntrackControl
    private var random: any RandomNumberGenerator
    /// The actions that are being run, all of them.
    private var running: [DpAction] = []

    /// How often a packet may be looked up again.
    private static let maxRecirculations = 6

    public init(
        type: String, name: String, capabilities: DpifCapabilities, time: TimeSource,
        random: any RandomNumberGenerator = SystemRandomNumberGenerator()
    ) {
        self.type = type
        self.name = name
        self.capabilities = capabilities
        self.time = time
        self.random = random
        meterTable = MeterTable(time: time)
        conntrackControl = ConntrackControl(tracker, time: time)
    }

    public var meters: (any DpifMeters)? { capabilities.meters ? meterTable : nil }
    public var conntrack: (any DpifConntrack)? { capabilities.ctState ? conntrackControl : nil }

    public var stats: DpStats {
        var s = counters
        s.flows = UInt64(table.count)
        if let accelerator {
            s.hit += accelerator.hits
            s.lost += accelerator.lost
        }
        return s
    }

    /// Does what is due: connections end.
    open func run() { tracker.expire(now: time.now) }

    public func destroy() {
        for number in Array(portTable.keys) { try? deletePort(number) }
        table.removeAll()
        upcallHandler = nil
    }

    // MARK: Ports

    public func addPort(_ device: any PortDevice, requested: UInt32?) throws(DpifError) -> UInt32 {
        guard portsByName[device.name] == nil else { throw DpifError(17, "port \(device.name)") }
        let number: UInt32
        if let requested {
            guard portTable[requested] == nil else { throw DpifError(16, "port number \(requested)") }
            number = requested
        } else {
            number = choosePortNumber(device)
        }
        let port = Port(DpPort(number: number, name: device.name, type: device.type), device)
        portTable[number] = port
        portsByName[device.name] = number
        portChangeCount += 1
        port.packetDevice?.receiver = { [unowned self] packet in self.receive(packet, on: number) }
        do throws(DpifError) {
            try portAdded(number, device)
        } catch {
            try? deletePort(number)
            throw error
        }
        return number
    }

    /// Dummy ports named like `p12` get number 12 where it is free, as in the real daemon; others the lowest free one.
    private func choosePortNumber(_ device: any PortDevice) -> UInt32 {
        if type == "dummy" {
            // Local ports of bridges start at 100 there.
            let start: UInt32 = device.name.hasPrefix("br") ? 100 : 0
            let digits = device.name.drop { !$0.isASCII || !$0.isNumber }.prefix { $0.isASCII && $0.isNumber }
            if let n = UInt32(digits), start &+ n > 0, portTable[start &+ n] == nil { return start &+ n }
        }
        var n: UInt32 = 1
        while portTable[n] != nil { n += 1 }
        return n
    }

    public func deletePort(_ number: UInt32) throws(DpifError) {
        guard let port = portTable.removeValue(forKey: number) else { throw DpifError(19, "port number \(number)") }
        portsByName[port.info.name] = nil
        portRemoved(number)
        port.packetDevice?.receiver = nil
        portChangeCount += 1
    }

    /// For subclasses that read devices themselves.
    open func portAdded(_ number: UInt32, _ device: any PortDevice) throws(DpifError) {}
    open func portRemoved(_ number: UInt32) {}

    public func port(_ number: UInt32) -> DpPort? { portTable[number]?.info }
    public func port(named name: String) -> DpPort? { portsByName[name].flatMap { portTable[$0]?.info } }
    public var ports: [DpPort] { portTable.values.map(\.info).sorted { $0.number < $1.number } }
    public func device(_ number: UInt32) -> (any PortDevice)? { portTable[number]?.device }

    // MARK: Flows

    public func putFlow(_ put: DpFlowPut) throws(DpifError) {
        let flow = put.flow
        let installation = FlowInstallation(flow.ufid, key: MiniKey(flow.key), mask: MiniMask(flow.mask), actions: flow.actions)
        let entry = try self.put(installation, key: flow.key, put.mode, stats: flow.stats)
        if put.zeroStats { entry.stats = DpFlowStats() }
    }

    /// - Parameter key: the installation's.
    /// - Parameter stats: what a flow begins with that was not there.
    /// - Parameter isCovered: false: no flow is there that covers the key, as was seen just now.
    private func put(
        _ flow: borrowing FlowInstallation, key: borrowing FlowKey, _ mode: DpFlowPut.Mode, stats: DpFlowStats? = nil,
        isCovered: Bool = true
    ) throws(DpifError) -> Megaflow {
        try check(key, flow.mask, flow.actions)
        if isCovered, let existing = known(flow, key) {
            guard mode != .create else { throw DpifError(17, "flow \(flow.ufid)") }
            if existing.actions != flow.actions {
                existing.actions = flow.actions
                accelerator?.changed(existing)
            }
            return existing
        }
        guard mode != .modify else { throw DpifError(2, "flow \(flow.ufid)") }
        let entry = table.insert(flow.ufid, key: key, miniKey: flow.key, mask: flow.mask, actions: flow.actions)
        if let stats { entry.stats = stats }
        return entry
    }

    /// An id is made of the key and the mask, mostly; dpctl's users choose their own.
    private func known(_ flow: borrowing FlowInstallation, _ key: borrowing FlowKey) -> Megaflow? {
        if let known = table.flow(flow.ufid) { return known }
        return table.flow(key: key, mask: flow.mask)
    }

    /// Throws EINVAL for what the datapath did not advertise. Subclasses that pretend to be less check more.
    open func check(_ key: borrowing FlowKey, _ mask: MiniMask, _ actions: [DpAction]) throws(DpifError) {}

    @discardableResult
    public func deleteFlow(_ ufid: UFID) throws(DpifError) -> DpFlowStats {
        guard let flow = table.remove(ufid) else { throw DpifError(2, "flow \(ufid)") }
        accelerator?.removed(flow)
        return flow.stats
    }

    /// The flow itself, with the statistics of the engine alone.
    public func megaflow(_ ufid: UFID) -> Megaflow? { table.flow(ufid) }
    /// All flows, which may change meanwhile, with the statistics of the engine alone.
    public var megaflows: [Megaflow] { table.all }
    /// What the engine itself did with packets.
    public var engineStats: DpStats { counters }
    open var threads: (any DpifThreads)? { nil }

    public func flow(_ ufid: UFID) -> DpFlow? { table.flow(ufid).map(current) }
    public func flow(key: FlowKey, mask: FlowMask) -> DpFlow? { table.flow(key: key, mask: MiniMask(mask)).map(current) }
    public func flushFlows() {
        accelerator?.flushed()
        table.removeAll()
    }

    public func dumpFlows(_ body: (DpFlow) -> Bool) {
        for flow in table.all where !body(current(flow)) { return }
    }

    public func flowStats(_ ufid: UFID) -> DpFlowStats? {
        guard let flow = table.flow(ufid) else { return nil }
        accelerator?.update(flow)
        return flow.stats
    }

    public func flowStats(of records: [DpFlowRecord]) -> [DpFlowStats?] {
        let accelerator = accelerator
        return records.map { record in
            let flow: Megaflow
            // Nothing but megaflows of this datapath is ever kept there.
            if let kept = record.inDatapath.map({ unsafeDowncast($0, to: Megaflow.self) }), kept.isInstalled {
                flow = kept
            } else {
                record.inDatapath = nil
                guard let found = table.flow(record.ufid) else { return nil }
                record.inDatapath = found
                flow = found
            }
            accelerator?.update(flow)
            return flow.stats
        }
    }

    public func operate(_ operations: [DpifOperation]) -> [DpifResult] {
        if let accelerator {
            accelerator.willRemove(
                operations.compactMap { if case .delete(let ufid, _, _) = $0 { table.flow(ufid) } else { nil } })
        }
        return operations.map(perform)
    }

    /// A flow with all that was counted of it.
    private func current(_ flow: Megaflow) -> DpFlow {
        accelerator?.update(flow)
        return flow.dpFlow
    }

    // MARK: The packet's path

    /// A packet came in at a port. Returns the flow that covers it and others like it, if there is one now.
    @discardableResult
    public func receive(_ packet: consuming Packet, on port: UInt32) -> Megaflow? {
        var key = FlowKey()
        return receive(packet, on: port, key: &key)
    }

    /// The same for those who want to know the packet's key, which `key` becomes; it must be zero.
    public func receive(_ packet: consuming Packet, on port: UInt32, key: inout FlowKey) -> Megaflow? {
        key.inPort = port
        return process(packet, key: &key, depth: 0)
    }

    /// Looks a packet up and runs what is found.
    ///
    /// - Parameter key: the packet's metadata; what is read from the packet is added.
    @discardableResult
    private func process(_ packet: consuming Packet, key: inout FlowKey, depth: Int) -> Megaflow? {
        var packet = packet
        var metadata = key
        key.extract(from: &packet, vlanLimit: vlanLimit)
        if let flow = table.lookup(key) {
            counters.hit += 1
            flow.stats.packets += 1
            flow.stats.bytes += UInt64(packet.count)
            flow.stats.used = time.now
            if key.nwProto != IPProtocol.icmpv6 {
                flow.stats.tcpFlags |= key.tcpFlags
            } else if !table.isFoundAtAGlance(flow) {
                // The real daemon keeps the type of neighbour discovery options in the same place.
                flow.stats.tcpFlags |= UInt16(truncatingIfNeeded: key[Location.ndOptionsType])
            }
            if depth > 0, let accelerator { accelerator.recirculated(packet, key, to: flow) }
            run(flow.actions, packet, key: &metadata, parsed: key, depth: depth)
            return flow
        }
        counters.missed += 1
        let additions = table.additions
        guard let handler = upcallHandler else {
            counters.lost += 1
            drop(.noUpcallHandler)
            return nil
        }
        var verdict = handler.handleMiss(key, packet: packet)
        guard !verdict.isFailed else {
            counters.missed -= 1
            counters.lost += 1
            drop(.upcallFailed)
            return nil
        }
        run(verdict.actions, packet, key: &metadata, parsed: key, depth: depth)
        guard let install = verdict.install.take() else { return nil }
        // After the packet, which would else meet the flow when it comes back from recirculation.
        let isCovered = table.additions != additions || table.maskCount > table.lookupLimit
        let flow = try? put(install, key: key, .createOrModify, isCovered: isCovered)
        install.record?.inDatapath = flow
        return flow
    }

    public func execute(_ packet: consuming Packet, metadata: FlowKey, actions: [DpAction]) throws(DpifError) {
        var packet = packet
        var key = metadata
        key.extract(from: &packet, vlanLimit: vlanLimit)
        var metadata = metadata
        run(actions, packet, key: &metadata, parsed: key, depth: 0)
    }

    private func drop(_ reason: DropReason) { dropped[reason, default: 0] += 1 }

    private func drop(code: UInt32) {
        let i = Int(code)
        if droppedByAction.indices.contains(i) { droppedByAction[i] += 1 }
    }

    public var drops: [(name: String, count: UInt64)] {
        var byAction = droppedByAction
        byAction[Int(DropCode.pipeline)] += accelerator?.dropped ?? 0
        return DropReason.allCases.map { ($0.rawValue, dropped[$0] ?? 0) } + zip(DropCode.names, byAction).map { ($0, $1) }
    }

    /// Runs actions on a packet that nobody needs afterwards.
    ///
    /// - Parameter key: the packet's metadata; rewritten by actions.
    /// - Parameter parsed: the packet's key as it was looked up.
    private func run(
        _ actions: [DpAction], _ packet: consuming Packet, key: inout FlowKey, parsed: FlowKey, depth: Int
    ) {
        if actions.count == 1, case .output(let port) = actions[0] {
            // Nearly all are so, and need no copy.
            packet.priority = key.skbPriority
            transmit(packet, to: port)
            return
        }
        var packet = packet
        if packet.receiveHash == nil { packet.receiveHash = parsed.fiveTupleHash(basis: 0) }
        let outer = running
        running = actions
        runAll(actions[...], &packet, key: &key, parsed: parsed, depth: depth)
        running = outer
    }

    /// The packet's hash, of what it is now where it has none.
    private func receiveHash(_ packet: inout Packet, _ key: borrowing FlowKey) -> UInt32 {
        if let hash = packet.receiveHash { return hash }
        var current = key.metadataOnly
        current.extract(from: &packet, vlanLimit: vlanLimit)
        let hash = current.fiveTupleHash(basis: 0)
        packet.receiveHash = hash
        return hash
    }

    /// Runs actions on a packet in place. Returns false when the packet is gone.
    @discardableResult
    private func runAll(
        _ actions: ArraySlice<DpAction>, _ packet: inout Packet, key: inout FlowKey, parsed: FlowKey, depth: Int
    ) -> Bool {
        // How many bytes the next output does without.
        var cut = 0
        for (i, action) in zip(actions.indices, actions) {
            switch action {
            case .output(let port):
                var copy = packet.clone()
                if cut > 0 {
                    copy.truncate(to: copy.count - cut)
                    cut = 0
                }
                copy.priority = key.skbPriority
                transmit(copy, to: port)
            case .userspace(let action):
                if cut > 0 {
                    var copy = packet.clone()
                    copy.truncate(to: copy.count - cut)
                    cut = 0
                    upcall(action, copy, key: &key, depth: depth)
                } else {
                    // What follows works on the layers that are found now: as in the real daemon, not behind tags beyond the limit.
                    reparse(&packet, key)
                    upcall(action, packet.clone(), key: &key, depth: depth)
                }
            case .set(let set): packet.apply(set, key: &key, parsed: parsed)
            case .pushVLAN(let tpid, let tci): packet.pushVLAN(tpid: tpid, tci: tci)
            case .popVLAN: packet.popVLAN()
            case .pushMPLS(let lse, let type): packet.pushMPLS(lse: lse, ethType: type)
            case .popMPLS(let type) where key.packetType == 0:
                packet.popMPLS(ethType: type)
                packet.receiveHash = nil
            case .addMPLS, .popMPLS, .pushEthernet, .popEthernet, .pushNSH, .popNSH:
                guard packet.changeOutermost(action, key: &key, vlanLimit: vlanLimit) else {
                    drop(.nsh)
                    return false
                }
                reparse(&packet, key)
            case .recirc(let id):
                guard depth < Self.maxRecirculations else {
                    drop(.recirculationLimit)
                    return false
                }
                var next = key
                next.recircID = id
                process(packet.clone(), key: &next, depth: depth + 1)
            case .hash(let algorithm, let basis):
                let hash: UInt32
                if algorithm == .l4, let known = packet.receiveHash {
                    hash = MurmurHash.pair(known, basis)
                } else {
                    var current = key.metadataOnly
                    current.extract(from: &packet, vlanLimit: vlanLimit)
                    hash = algorithm == .l4 ? current.fiveTupleHash(basis: basis) : current.symmetricHash(basis: basis, udpPorts: false)
                }
                // No hash is 0: that says that there is none.
                key.dpHash = max(hash, 1)
            case .sample(let probability, let nested):
                let chosen = probability == .max || UInt32.random(in: 0 ... .max, using: &random) < probability
                guard chosen else { continue }
                var copy = packet.clone()
                var copyKey = key
                runAll(nested[...], &copy, key: &copyKey, parsed: parsed, depth: depth)
            case .clone(let nested):
                var copy = packet.clone()
                var copyKey = key
                runAll(nested[...], &copy, key: &copyKey, parsed: parsed, depth: depth)
            case .checkPacketLength(let size, let greater, let less):
                let list = packet.count > Int(size) ? greater : less
                var copy = packet.clone()
                var copyKey = key
                runAll(list[...], &copy, key: &copyKey, parsed: parsed, depth: depth)
            case .truncate(let limit): cut = max(0, packet.count - Int(limit))
            case .meter(let id):
                guard meterTable.admits(id, bytes: packet.count) else {
                    drop(.meter)
                    return false
                }
            case .ct(let ct):
                var current = key.metadataOnly
                current.extract(from: &packet, vlanLimit: vlanLimit)
                switch tracker.track(&packet, key: &key, parsed: current, ct, now: time.now) {
                case .tracked: break
                case .held: return false
                case .released(let fragments):
                    // Each goes the rest of the way by itself.
                    for (bytes, metadata) in fragments {
                        var fragment = Packet(bytes)
                        var fragmentKey = metadata
                        var fragmentParsed = metadata.metadataOnly
                        fragmentParsed.extract(from: &fragment, vlanLimit: vlanLimit)
                        runAll(actions[(i + 1)...], &fragment, key: &fragmentKey, parsed: fragmentParsed, depth: depth)
                    }
                    return false
                }
            case .ctClear:
                key.clearConnection()
                packet.connectionZone = nil
            case .drop(let code):
                drop(code: code)
                return false
            case .tunnelPush(let header):
                packet.push(header, hash: receiveHash(&packet, key), now: time.now) {
                    let next = tunnelSequences[header.tunnelPort, default: 0]
                    tunnelSequences[header.tunnelPort] = next &+ 1
                    return next
                }
                for i in 0..<Location.metadata.word { key.words[i] = 0 }
                key.packetType = 0
                reparse(&packet, key)
            case .tunnelPop(let port):
                guard let device = portTable[port]?.device, depth < Self.maxRecirculations else {
                    drop(.tunnelPop)
                    return false
                }
                var outer = key.metadataOnly
                outer.extract(from: &packet, vlanLimit: vlanLimit)
                var copy = packet.clone()
                copy.receiveHash = nil
                var next = FlowKey()
                next.inPort = port
                guard copy.popTunnel(device.type, options: tunnelOptions, key: &next) else {
                    drop(.tunnelPop)
                    continue
                }
                process(copy, key: &next, depth: depth + 1)
            case .lbOutput(let id):
                if let port = bonds.port(of: id, hash: receiveHash(&packet, key), bytes: packet.count) {
                    transmit(packet.clone(), to: port)
                } else {
                    drop(.invalidPort)
                }
            }
        }
        return true
    }

    public func setBond(_ id: UInt32, buckets: [UInt32?]?) { bonds.set(id, buckets) }
    public func takeBondBytes(_ id: UInt32) -> [UInt64] { bonds.takeBytes(id) }

    private func reparse(_ packet: inout Packet, _ key: FlowKey) {
        var scratch = key.metadataOnly
        scratch.packetType = key.packetType
        scratch.extract(from: &packet, vlanLimit: vlanLimit)
    }

    private func upcall(_ action: UserspaceAction, _ packet: consuming Packet, key: inout FlowKey, depth: Int) {
        guard let handler = upcallHandler else {
            drop(.noUpcallHandler)
            return
        }
        var packet = packet
        var current = key.metadataOnly
        current.extract(from: &packet, vlanLimit: vlanLimit)
        var request = Upcall(kind: .action(action), key: current)
        if action.wantsActions { request.actions = running }
        let verdict = handler.handle(request, packet: packet)
        guard !verdict.actions.isEmpty else { return }
        var metadata = key
        run(verdict.actions, packet, key: &metadata, parsed: current, depth: depth + 1)
    }

    private func transmit(_ packet: consuming Packet, to port: UInt32) {
        guard let device = portTable[port]?.packetDevice else {
            drop(.invalidPort)
            return
        }
        device.transmit(packet)
    }
}
