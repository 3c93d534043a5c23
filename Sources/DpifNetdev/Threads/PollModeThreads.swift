// The polling threads of a datapath, as its main thread sees them: which thread polls which queue, which flows each thread has, and the
// packets that they hand over.
//
// A thread gets a flow when one of its packets came here and the flow turned out to cover it; so each has what its own traffic needs.
// Where a thread cannot do what a flow says, its packets keep coming here.

import CDPDK
import CNuma
import Datapath
import Dpif
import FastPath
import Flow
import Glibc
import Packet
import Vlog

/// Confined to the main thread.
final class PollModeThreads: FlowAccelerator {
    static let log = Vlog.module("dpif_netdev")
    unowned let datapath: UserspaceDatapath
    private let wake: @Sendable () -> Void

    /// A thread and what it was given.
    final class Worker {
        let thread: PollModeThread
        /// Indices of flows that are gone, and how many commands the thread must have done for that.
        private var freeIndices: [(index: UInt32, after: UInt64)] = []
        /// Index 0 is no flow.
        var nextIndex: UInt32 = 1
        /// What its counters were when statistics were cleared.
        var cleared = ThreadReport(core: nil)
        var clearedAt: Int64 = 0
        init(_ thread: PollModeThread) { self.thread = thread }

        func takeIndex() -> UInt32? {
            if let last = freeIndices.last, thread.hasDone(last.after) {
                freeIndices.removeLast()
                return last.index
            }
            guard Int(nextIndex) < FlowStore.capacity else { return nil }
            nextIndex += 1
            return nextIndex - 1
        }

        /// An index may be used again once the thread has done so many commands.
        func free(_ index: UInt32, after number: UInt64) { freeIndices.append((index, number)) }
    }

    /// A flow that a thread has. The megaflow keeps it, as `Megaflow.accelerated`, and with it those of other threads and shapes.
    private final class Copy {
        let worker: Worker
        let index: UInt32
        let counters: FlowCounters
        let shape: HeaderShape
        let isPrefixOnly: Bool
        let role: RecirculationTable.Role
        /// The thread does not have it any more, and its counters are final, once it has done so many commands.
        var removal: UInt64?
        /// What has been added to the flow's statistics.
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        var next: Copy?

        init(_ worker: Worker, _ index: UInt32, _ shape: HeaderShape, isPrefixOnly: Bool, _ role: RecirculationTable.Role, next: Copy?) {
            self.worker = worker
            self.role = role
            self.index = index
            counters = worker.thread.counters(of: index)
            self.shape = shape
            self.isPrefixOnly = isPrefixOnly
            self.next = next
        }
    }

    /// The first of a flow's copies.
    private func copies(of flow: Megaflow) -> Copy? {
        // Nothing else is ever kept there.
        flow.accelerated.map { unsafeDowncast($0, to: Copy.self) }
    }

    struct Port {
        let device: DPDKDevice
        let number: UInt32
        let index: UInt32
    }

    private(set) var workers: [Worker] = []
    private(set) var settings = ThreadSettings()
    /// The thread of each receive queue.
    private(set) var polledBy: [QueueAssignment.ID: Worker] = [:]
    /// Processors that poll pinned queues only.
    private(set) var isolated: Set<Int> = []
    /// How busy queues and threads were.
    var usage = ThreadUsage()
    private(set) var ports: [UInt32: Port] = [:]
    /// What threads that have ended could not send, by transmit index.
    private var dropsBefore: [UInt32: UInt64] = [:]
    private var portOfDevice: [UInt16: UInt32] = [:]
    private var freeTransmitIndices: [UInt32] = Array((0..<256).reversed())
    /// By threads that have ended.
    private var countedBefore: (hits: UInt64, lost: UInt64, dropped: UInt64) = (0, 0, 0)
    private var vlanLimit = 1
    private var recirculations = RecirculationTable()
    /// The match of the last flow that a thread was given: flows of one mask come in runs.
    private var recentMatch: (mask: MiniMask, nwProto: UInt8, match: HeaderMatch)?
    /// Whose packet the engine is processing.
    private var current: Worker?
    let time: TimeSource
    var lastBalance: Int64 = 0
    /// What the main thread's counters were when statistics were cleared.
    var mainCleared = ThreadReport(core: nil)
    /// For how many milliseconds packets are taken before others have their turn.
    private static let slice: UInt64 = 2
    private let cyclesPerMillisecond = max(1, rte_get_tsc_hz() / 1000)

    init(_ datapath: UserspaceDatapath, wake: @escaping @Sendable () -> Void) {
        self.datapath = datapath
        time = datapath.time
        self.wake = wake
    }

    // MARK: Threads

    /// Polls as these settings say. Threads that stay go on; queues move between threads without a packet lost.
    func apply(_ wanted: ThreadSettings) {
        guard wanted != settings else { return }
        let old = settings
        settings = wanted
        for worker in workers { set(wanted, of: worker.thread) }
        if old.cacheInsertion != wanted.cacheInsertion { Self.log.info(Self.describe(cacheInsertion: wanted.cacheInsertion)) }
        if old.flushInterval != wanted.flushInterval {
            Self.log.info("Flushing interval for tx queues set to \(wanted.flushInterval) us")
        }
        guard !workers.isEmpty, old.cores != wanted.cores || old.algorithm != wanted.algorithm || old.isolates != wanted.isolates else {
            return
        }
        let kept = Set(wanted.cores)
        startThreads()
        assign(using: workers.filter { kept.contains($0.thread.core) })
        for worker in workers where !kept.contains(worker.thread.core) { stop(worker) }
    }

    private func set(_ settings: ThreadSettings, of thread: PollModeThread) {
        thread.setMaxSleep(settings.maxSleep)
        thread.setFlushInterval(microseconds: settings.flushInterval)
        thread.setCacheInsertion(oneOf: settings.cacheInsertion ?? 1)
    }

    private static func describe(cacheInsertion: UInt32?) -> String {
        guard cacheInsertion != 0 else { return "EMC insertion probability changed to zero" }
        let n = UInt64(cacheInsertion ?? 1)
        let hundredths = (10_000 + n / 2) / n
        return "EMC insertion probability changed to 1/\(n) (~\(hundredths / 100).\(hundredths / 10 % 10)\(hundredths % 10)%)"
    }

    /// Starts the threads that are missing.
    private func startThreads() {
        let running = Set(workers.map(\.thread.core))
        for core in settings.cores where !running.contains(core) {
            guard let thread = PollModeThread(core: core, wake: wake) else {
                Self.log.err("no polling thread on core \(core): out of memory or threads")
                continue
            }
            thread.acceptTags(vlanLimit > 0)
            set(settings, of: thread)
            let worker = Worker(thread)
            worker.clearedAt = time.now
            workers.append(worker)
            for port in ports.values { open(port, for: worker) }
            Self.log.info("PMD thread on numa_id: \(Self.node(of: core)), core id: \(core) created.")
        }
    }

    /// The NUMA node of a processor.
    static func node(of core: Int) -> Int { numa_available() < 0 ? 0 : max(0, Int(numa_node_of_cpu(Int32(core)))) }

    /// Ends a thread that polls nothing any more; its flows go back to the engine.
    private func stop(_ worker: Worker) {
        for flow in datapath.megaflows where flow.accelerated != nil {
            update(flow)
            var kept: Copy?
            var copy = copies(of: flow)
            while let current = copy {
                copy = current.next
                guard current.worker !== worker else {
                    recirculations.left(current.role)
                    continue
                }
                current.next = kept
                kept = current
            }
            flow.accelerated = kept
        }
        remember(worker)
        workers.removeAll { $0 === worker }
        recirculations.forget(worker.thread.core)
        // Its queues have another thread now, which will ask for the flows of these packets itself.
        worker.thread.stop { device, bytes in
            if let port = portOfDevice[device] { datapath.receive(Packet(bytes), on: port) }
        }
        Self.log.info("PMD thread on core id: \(worker.thread.core) destroyed.")
    }

    func stopAll() {
        if !workers.isEmpty { flushed() }
        endThreads()
    }

    /// Ends all threads of a datapath whose flows nobody will ask after.
    func endThreads() {
        for worker in workers {
            remember(worker)
            worker.thread.stop()
        }
        workers = []
        recirculations = RecirculationTable()
        polledBy = [:]
    }

    // MARK: Ports

    func add(_ number: UInt32, _ device: DPDKDevice) throws(DpifError) {
        if workers.isEmpty { startThreads() }
        guard !workers.isEmpty else { throw DpifError(12, "polling threads for port \(device.name)") }
        // A queue for each thread that there may be, and the main thread's, so that threads can come and go while the device runs.
        do throws(DpifError) {
            try device.start(transmitQueues: Self.processors + 1)
        } catch {
            Self.log.err("port \(device.name): \(error.detail): \(error.reason)")
            throw error
        }
        guard let id = device.number, let index = freeTransmitIndices.popLast() else { throw DpifError(28, "port \(device.name)") }
        let port = Port(device: device, number: number, index: index)
        ports[number] = port
        portOfDevice[id] = number
        for worker in workers { open(port, for: worker) }
        // The index may have been another port's.
        let before = transmitDrops(of: index)
        device.threadDrops = { [unowned self] in transmitDrops(of: index) &- before }
        device.onReconfigure = { [unowned self] in reopen(number) }
        device.onRepin = { [unowned self] in rebalance() }
        device.onRelease = { [unowned self] in if let port = ports[number] { close(port) } }
        assign(using: workers)
    }

    private static let processors = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_CONF))))

    /// Gives a thread its transmit queue of a port.
    private func open(_ port: Port, for worker: Worker) {
        guard let id = port.device.number, port.device.transmitQueues > 0 else { return }
        let queue = (worker.thread.core + 1) % port.device.transmitQueues
        _ = worker.thread.setTransmitQueue(port.index, device: id, queue: UInt16(queue), lock: port.device.transmitLock(queue))
    }

    func remove(_ number: UInt32) {
        guard let port = ports[number] else { return }
        close(port)
        ports[number] = nil
        freeTransmitIndices.append(port.index)
        port.device.onReconfigure = nil
        port.device.onRelease = nil
        port.device.onRepin = nil
        port.device.threadDrops = nil
        port.device.stop()
        if ports.isEmpty { stopAll() } else { assign(using: workers) }
    }

    /// No thread touches the port's device any more, when this returns.
    private func close(_ port: Port) {
        guard let id = port.device.number else { return }
        for worker in workers { while !worker.thread.removeDevice(id) { worker.thread.settle() } }
        for worker in workers { worker.thread.settle() }
        polledBy = polledBy.filter { $0.key.port != port.number }
        portOfDevice[id] = nil
    }

    /// Starts a port's device anew with what has been changed about it. Other ports go on.
    private func reopen(_ number: UInt32) {
        guard let port = ports[number] else { return }
        close(port)
        port.device.stop()
        do throws(DpifError) {
            try port.device.start(transmitQueues: Self.processors + 1)
        } catch {
            Self.log.err("port \(port.device.name): \(error.detail): \(error.reason)")
            return
        }
        guard let id = port.device.number else { return }
        portOfDevice[id] = number
        for worker in workers { open(port, for: worker) }
        assign(using: workers)
    }

    // MARK: Which thread polls which queue

    /// The queues as assignment sees them, with their load over the time that is remembered.
    var queues: [QueueAssignment.Queue] {
        ports.values.sorted { $0.number < $1.number }.flatMap { port in
            (0..<port.device.receiveQueues).map { queue in
                let id = QueueAssignment.ID(port: port.number, queue: queue)
                return QueueAssignment.Queue(
                    id: id, node: port.device.node, load: usage.cycles(of: id), pinned: port.device.affinity[queue])
            }
        }
    }

    static func cores(of workers: [Worker]) -> [QueueAssignment.Core] {
        workers.map { QueueAssignment.Core(core: $0.thread.core, node: node(of: $0.thread.core)) }.sorted { $0.core < $1.core }
    }

    /// Deals the queues to these threads, and moves those that change hands.
    private func assign(using chosen: [Worker]) {
        guard !chosen.isEmpty else { return }
        let assignment = QueueAssignment(
            queues, cores: Self.cores(of: chosen), algorithm: settings.algorithm, isolates: settings.isolates)
        isolated = assignment.isolated
        for id in assignment.unpinnable {
            Self.log.warn("queue \(id.queue) of port \(ports[id.port]?.device.name ?? ""): its core has no PMD thread")
        }
        for (id, core) in assignment.coreOf.sorted(by: { $0.key < $1.key }) {
            guard let worker = chosen.first(where: { $0.thread.core == core }), let port = ports[id.port], let device = port.device.number
            else { continue }
            let current = polledBy[id]
            guard current !== worker else { continue }
            if let current {
                // One thread at a time polls a queue.
                while !current.thread.removeReceiveQueue(device: device, queue: UInt16(id.queue)) { current.thread.settle() }
                current.thread.settle()
            }
            usage.forget(id)
            guard worker.thread.addReceiveQueue(device: device, queue: UInt16(id.queue), port: id.port) else {
                polledBy[id] = nil
                Self.log.err("core \(core) cannot poll queue \(id.queue) of port \(port.device.name): it polls as many as it can")
                continue
            }
            polledBy[id] = worker
            Self.log.info(
                "Core \(core) on numa node \(Self.node(of: core)) assigned port '\(port.device.name)' rx queue \(id.queue).")
        }
    }

    func rebalance() { assign(using: workers) }

    func isPolled(_ number: UInt32) -> Bool { ports[number] != nil }

    // MARK: Packets that threads hand over

    /// Processes what waits, some of it at a time.
    func run() {
        if datapath.vlanLimit != vlanLimit {
            vlanLimit = datapath.vlanLimit
            flushed()
            for worker in workers { worker.thread.acceptTags(vlanLimit > 0) }
        }
        measure()
        // The threads in turn, until the time is up: connections and commands have their part of it, too.
        let end = cdpdk_cycles() &+ Self.slice &* cyclesPerMillisecond
        var waiting = workers
        while !waiting.isEmpty {
            waiting = waiting.filter { worker in
                worker.thread.takeUpcalls { device, bytes in
                    guard let port = portOfDevice[device] else { return }
                    process(bytes, port, worker)
                }
            }
            if !waiting.isEmpty, cdpdk_cycles() > end {
                wake()
                return
            }
        }
    }

    private func process(_ bytes: UnsafeRawBufferPointer, _ port: UInt32, _ worker: Worker) {
        var key = FlowKey()
        current = worker
        defer { current = nil }
        guard let flow = datapath.receive(Packet(bytes), on: port, key: &key) else { return }
        give(flow, bytes, key, inPort: port, of: nil, to: worker)
    }

    func recirculated(_ packet: borrowing Packet, _ key: borrowing FlowKey, to flow: Megaflow) {
        guard let worker = current else { return }
        let place = recirculations.place(of: key, flow.mask) { core, number, mask, hash in
            for worker in workers where worker.thread.core == core {
                while !worker.thread.setRecirculation(number, mask: mask, hash) { worker.thread.settle() }
            }
        }
        guard let place else { return }
        give(flow, packet.bytes, key, inPort: place.port, of: place.entry, to: worker)
        recirculations.settle(place.entry)
    }

    /// Gives a thread a flow, one of whose packets it handed over, unless it has it or cannot have it.
    /// - Parameter entry: the recirculation that the packet came back from.
    private func give(
        _ flow: Megaflow, _ bytes: UnsafeRawBufferPointer, _ key: borrowing FlowKey, inPort: UInt32, of entry: RecirculationTable.Entry?,
        to worker: Worker
    ) {
        guard let start = bytes.baseAddress else { return }
        let shape = HeaderShape.of(start, readable: bytes.count, length: bytes.count, acceptsTag: vlanLimit > 0)
        guard shape != .slow else { return }
        var known = copies(of: flow)
        while let copy = known {
            if copy.worker === worker, copy.shape == shape || copy.isPrefixOnly {
                // Only the limit on subtables keeps a thread from finding what it has; otherwise the packet came before the flow.
                guard worker.thread.counter(.subtables) > UInt64(FlowStore.subtableLimit) else { return }
                worker.thread.hint(copy.index, bytes, shape)
                return
            }
            known = copy.next
        }
        guard let match = match(flow, bytes, key, shape) else { return }
        var role = entry.map { RecirculationTable.Role.flow($0) } ?? .none
        var isEarly = false
        let actions = FlowProgram.compile(flow.actions, shape: shape) {
            ports[$0]?.index
        } recirculation: { id, hash in
            // Once is enough for what groups and bonds need.
            guard entry == nil else { return nil }
            let there = recirculations.number(id, of: inPort, hash, core: worker.thread.core) {
                worker.thread.setRecirculation($0, mask: $1, $2)
            }
            guard let there else {
                isEarly = true
                return nil
            }
            role = .sender(there)
            return there.number
        }
        // The flow can be had once one of those is here that its packets come to.
        guard !isEarly, let index = worker.takeIndex() else { return }
        guard worker.thread.insert(match, inPort: inPort, actions: actions, at: index) else {
            worker.free(index, after: 0)
            return
        }
        var isPrefixOnly = match.isPrefixOnly
        if case .program = actions { isPrefixOnly = false }
        recirculations.joined(role)
        flow.accelerated = Copy(worker, index, shape, isPrefixOnly: isPrefixOnly, role, next: copies(of: flow))
    }

    /// A flow as bytes of one of its packets.
    private func match(
        _ flow: Megaflow, _ bytes: UnsafeRawBufferPointer, _ key: borrowing FlowKey, _ shape: HeaderShape
    ) -> HeaderMatch? {
        if let recentMatch, recentMatch.mask === flow.miniMask, recentMatch.match.shape == shape, recentMatch.nwProto == key.nwProto {
            return recentMatch.match.with(bytes)
        }
        guard let match = HeaderMatch(key: key, mask: flow.mask, shape: shape) else { return nil }
        recentMatch = (flow.miniMask, key.nwProto, match)
        return match
    }

    // MARK: Flows

    var hits: UInt64 { countedBefore.hits &+ workers.reduce(0) { $0 &+ $1.thread.counter(.hits) } }
    var lost: UInt64 { countedBefore.lost &+ workers.reduce(0) { $0 &+ $1.thread.counter(.lost) } }
    var dropped: UInt64 { countedBefore.dropped &+ workers.reduce(0) { $0 &+ $1.thread.counter(.drops) } }

    private func remember(_ worker: Worker) {
        countedBefore.hits &+= worker.thread.counter(.hits)
        countedBefore.lost &+= worker.thread.counter(.lost)
        countedBefore.dropped &+= worker.thread.counter(.drops)
        for port in ports.values { dropsBefore[port.index, default: 0] &+= worker.thread.transmitDrops(of: port.index) }
    }

    /// Packets that threads, past ones too, could not send by a transmit queue.
    private func transmitDrops(of index: UInt32) -> UInt64 {
        workers.reduce(dropsBefore[index] ?? 0) { $0 &+ $1.thread.transmitDrops(of: index) }
    }

    func update(_ flow: Megaflow) {
        var copy = copies(of: flow)
        while let current = copy {
            copy = current.next
            let packets = current.counters.packets
            guard packets > current.packets else { continue }
            let bytes = current.counters.bytes
            flow.stats.packets &+= packets &- current.packets
            flow.stats.bytes &+= bytes &- current.bytes
            flow.stats.tcpFlags |= current.counters.tcpFlags
            let age = Int64(current.counters.age(now: cdpdk_cycles()) / cyclesPerMillisecond)
            flow.stats.used = max(flow.stats.used ?? 0, time.now - age)
            current.packets = packets
            current.bytes = bytes
        }
    }

    func changed(_ flow: Megaflow) {
        // New actions come with new copies.
        removed(flow)
    }

    func removed(_ flow: Megaflow) {
        willRemove([flow])
        free(flow)
    }

    /// The indices of a flow's copies, which no thread has any more, may be used again.
    private func free(_ flow: Megaflow) {
        var copy = copies(of: flow)
        while let current = copy {
            current.worker.free(current.index, after: current.removal ?? current.worker.thread.given)
            recirculations.left(current.role)
            copy = current.next
        }
        flow.accelerated = nil
    }

    func willRemove(_ flows: [Megaflow]) {
        var isWaiting = false
        for flow in flows where takeOut(flow) { isWaiting = true }
        guard isWaiting else { return }
        for worker in workers { worker.thread.settle() }
        for flow in flows { update(flow) }
    }

    /// Tells the threads that have a flow to let go of it. True when there is one; it has, once it settles.
    private func takeOut(_ flow: Megaflow) -> Bool {
        var isWaiting = false
        var copy = copies(of: flow)
        while let current = copy {
            copy = current.next
            guard current.removal == nil else { continue }
            while !current.worker.thread.remove(current.index) { current.worker.thread.settle() }
            current.removal = current.worker.thread.given
            isWaiting = true
        }
        return isWaiting
    }

    func flushed() {
        let flows = datapath.megaflows.filter { $0.accelerated != nil }
        willRemove(flows)
        for flow in flows { free(flow) }
    }
}
