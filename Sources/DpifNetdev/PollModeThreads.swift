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
import Packet
import Vlog

/// Confined to the main thread.
final class PollModeThreads: FlowAccelerator {
    private static let log = Vlog.module("dpif_netdev")
    private unowned let datapath: UserspaceDatapath
    private let wake: @Sendable () -> Void

    /// A thread and what it was given.
    final class Worker {
        let thread: PollModeThread
        var freeIndices: [UInt32] = []
        /// Index 0 is no flow.
        var nextIndex: UInt32 = 1
        init(_ thread: PollModeThread) { self.thread = thread }

        func takeIndex() -> UInt32? {
            if let index = freeIndices.popLast() { return index }
            guard Int(nextIndex) < FlowStore.capacity else { return nil }
            nextIndex += 1
            return nextIndex - 1
        }
    }

    /// A flow that a thread has.
    private struct Copy {
        let worker: Worker
        let index: UInt32
        let shape: HeaderShape
        let isPrefixOnly: Bool
        /// What has been added to the flow's statistics.
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        /// The thread does not have it any more; its counters are final.
        var isRemoved = false
    }

    private struct Port {
        let device: DPDKDevice
        let number: UInt32
        let index: UInt32
    }

    private(set) var workers: [Worker] = []
    private var ports: [UInt32: Port] = [:]
    private var portOfDevice: [UInt16: UInt32] = [:]
    private var copies: [UFID: [Copy]] = [:]
    private var freeTransmitIndices: [UInt32] = Array((0..<256).reversed())
    private var turn = 0
    /// By threads that have ended.
    private var countedBefore: (hits: UInt64, lost: UInt64, dropped: UInt64) = (0, 0, 0)
    /// The processors to poll on.
    private var cores: [Int] = [0]
    private var vlanLimit = 1
    private let cyclesPerMillisecond = max(1, rte_get_tsc_hz() / 1000)

    init(_ datapath: UserspaceDatapath, wake: @escaping @Sendable () -> Void) {
        self.datapath = datapath
        self.wake = wake
    }

    // MARK: Threads

    /// Polls on these processors (other_config:pmd-cpu-mask). Threads that run are replaced.
    func setCores(_ wanted: [Int]) {
        let list = wanted.isEmpty ? [0] : wanted
        guard list != cores else { return }
        cores = list
        guard !workers.isEmpty else { return }
        restart()
    }

    private func restart() {
        let open = ports.values.sorted { $0.number < $1.number }
        stopAll()
        for port in open { port.device.stop() }
        ports = [:]
        portOfDevice = [:]
        for port in open {
            do throws(DpifError) { try add(port.number, port.device) } catch { Self.log.err("port \(port.device.name): \(error.detail)") }
        }
    }

    private func startThreads() {
        for core in cores {
            guard let thread = PollModeThread(core: core, wake: wake) else {
                Self.log.err("no polling thread on core \(core): out of memory or threads")
                continue
            }
            thread.acceptTags(vlanLimit > 0)
            workers.append(Worker(thread))
            Self.log.info("PMD thread on numa_id: \(Self.node(of: core)), core id: \(core) created.")
        }
    }

    /// The NUMA node of a processor.
    static func node(of core: Int) -> Int { numa_available() < 0 ? 0 : max(0, Int(numa_node_of_cpu(Int32(core)))) }

    func stopAll() {
        flushed()
        remember()
        for worker in workers { worker.thread.stop() }
        workers = []
        turn = 0
    }

    // MARK: Ports

    func add(_ number: UInt32, _ device: DPDKDevice) throws(DpifError) {
        if workers.isEmpty { startThreads() }
        guard !workers.isEmpty else { throw DpifError(12, "polling threads for port \(device.name)") }
        // The main thread's queue, and one for each polling thread.
        try device.start(transmitQueues: workers.count + 1)
        guard let id = device.number, let index = freeTransmitIndices.popLast() else { throw DpifError(28, "port \(device.name)") }
        ports[number] = Port(device: device, number: number, index: index)
        portOfDevice[id] = number
        for (i, worker) in workers.enumerated() {
            let queue = (i + 1) % device.transmitQueues
            _ = worker.thread.setTransmitQueue(index, device: id, queue: UInt16(queue), lock: device.transmitLock(queue))
        }
        for queue in 0..<device.receiveQueues {
            let worker = nextWorker(near: device)
            _ = worker.thread.addReceiveQueue(device: id, queue: UInt16(queue), port: number)
            Self.log.info(
                "Core \(worker.thread.core) on numa node \(Self.node(of: worker.thread.core)) assigned port '\(device.name)' rx queue \(queue)."
            )
        }
    }

    /// The next thread in turn, of those on the device's own node where there are some.
    private func nextWorker(near device: DPDKDevice) -> Worker {
        let local = workers.filter { Self.node(of: $0.thread.core) == device.node }
        let candidates = local.isEmpty ? workers : local
        defer { turn += 1 }
        return candidates[turn % candidates.count]
    }

    func remove(_ number: UInt32) {
        guard let port = ports.removeValue(forKey: number) else { return }
        if let id = port.device.number {
            for worker in workers { _ = worker.thread.removeDevice(id) }
            for worker in workers { worker.thread.settle() }
            portOfDevice[id] = nil
        }
        freeTransmitIndices.append(port.index)
        port.device.stop()
        if ports.isEmpty { stopAll() }
    }

    func isPolled(_ number: UInt32) -> Bool { ports[number] != nil }

    // MARK: Packets that threads hand over

    /// Processes what waits, some of it at a time.
    func run() {
        if datapath.vlanLimit != vlanLimit {
            vlanLimit = datapath.vlanLimit
            flushed()
            for worker in workers { worker.thread.acceptTags(vlanLimit > 0) }
        }
        for worker in workers {
            let mayHaveMore = worker.thread.takeUpcalls { device, bytes in
                guard let port = portOfDevice[device] else { return }
                process(bytes, port, worker)
            }
            if mayHaveMore { wake() }
        }
    }

    private func process(_ bytes: UnsafeRawBufferPointer, _ port: UInt32, _ worker: Worker) {
        guard let start = bytes.baseAddress,
            let flow = datapath.receive(Packet(bytes), on: port)
        else { return }
        let shape = HeaderShape.of(start, readable: bytes.count, length: bytes.count, acceptsTag: vlanLimit > 0)
        guard shape != .slow else { return }
        let known = copies[flow.ufid] ?? []
        if let copy = known.first(where: { $0.worker === worker && ($0.shape == shape || $0.isPrefixOnly) }) {
            // Only the limit on subtables keeps a thread from finding what it has; otherwise the packet came before the flow.
            guard bytes.count >= 64, worker.thread.counter(.subtables) > UInt64(FlowStore.subtableLimit) else { return }
            worker.thread.hint(copy.index, start.loadUnaligned(as: HeaderBytes.self))
            return
        }
        var packet = Packet(bytes)
        var key = FlowKey()
        key.inPort = port
        key.extract(from: &packet, vlanLimit: vlanLimit)
        guard let match = HeaderMatch(key: key, mask: flow.mask, shape: shape), let index = worker.takeIndex() else { return }
        let actions = compile(flow.actions, shape)
        guard worker.thread.insert(match, inPort: port, actions: actions, at: index) else {
            worker.freeIndices.append(index)
            return
        }
        var isPrefixOnly = match.isPrefixOnly
        if case .program = actions { isPrefixOnly = false }
        copies[flow.ufid, default: []].append(Copy(worker: worker, index: index, shape: shape, isPrefixOnly: isPrefixOnly))
    }

    private func compile(_ actions: [DpAction], _ shape: HeaderShape) -> FlowProgram.Compiled {
        FlowProgram.compile(actions, shape: shape) { ports[$0]?.index }
    }

    // MARK: Flows

    var hits: UInt64 { countedBefore.hits &+ workers.reduce(0) { $0 &+ $1.thread.counter(.hits) } }
    var lost: UInt64 { countedBefore.lost &+ workers.reduce(0) { $0 &+ $1.thread.counter(.lost) } }
    var dropped: UInt64 { countedBefore.dropped &+ workers.reduce(0) { $0 &+ $1.thread.counter(.drops) } }

    private func remember() {
        countedBefore = (hits, lost, dropped)
    }

    func update(_ flow: Megaflow) {
        guard var list = copies[flow.ufid] else { return }
        let now = cdpdk_cycles()
        for i in list.indices {
            let c = list[i].worker.thread.counters(of: list[i].index)
            guard c.packets > list[i].packets else { continue }
            flow.stats.packets &+= c.packets &- list[i].packets
            flow.stats.bytes &+= c.bytes &- list[i].bytes
            flow.stats.tcpFlags |= c.tcpFlags
            let age = Int64((now > c.used ? now - c.used : 0) / cyclesPerMillisecond)
            flow.stats.used = max(flow.stats.used ?? 0, datapath.time.now - age)
            list[i].packets = c.packets
            list[i].bytes = c.bytes
        }
        copies[flow.ufid] = list
    }

    func changed(_ flow: Megaflow) {
        // New actions come with new copies.
        removed(flow)
    }

    func removed(_ flow: Megaflow) {
        willRemove([flow])
        guard let list = copies.removeValue(forKey: flow.ufid) else { return }
        for copy in list { copy.worker.freeIndices.append(copy.index) }
    }

    func willRemove(_ flows: [Megaflow]) {
        var isWaiting = false
        for flow in flows {
            for (i, copy) in (copies[flow.ufid] ?? []).enumerated() where !copy.isRemoved {
                while !copy.worker.thread.remove(copy.index) { copy.worker.thread.settle() }
                copies[flow.ufid]?[i].isRemoved = true
                isWaiting = true
            }
        }
        guard isWaiting else { return }
        for worker in workers { worker.thread.settle() }
        for flow in flows { update(flow) }
    }

    func flushed() {
        for list in copies.values {
            for copy in list where !copy.isRemoved {
                while !copy.worker.thread.remove(copy.index) { copy.worker.thread.settle() }
                copy.worker.freeIndices.append(copy.index)
            }
        }
        for worker in workers { worker.thread.settle() }
        copies = [:]
    }
}
