// A thread that owns receive queues of DPDK devices and forwards what comes in.
//
// It is told what to do through one ring (flows, queues: `Command`), hands packets that it has no flow for over through another, and counts
// in memory that others read. It never waits for anybody, and nobody takes a lock that it takes: there is none.

import CDPDK
import Glibc
import Synchronization

/// What the main thread tells a polling thread: a place in a ring that the main thread fills and the polling thread reads. Nothing is
/// allocated for it, since what one thread allocates and another frees costs both a lock.
struct Command {
    enum Kind {
        case insert, remove, hint
        case addReceiveQueue, removeReceiveQueue, removeDevice, setTransmitQueue
        case setRecirculation
        case acceptTags
    }
    var kind: Kind
    var index: UInt32 = 0
    var flow: NewFlow?
    var bytes = HeaderBytes()
    var shape = HeaderShape.slow
    var device: UInt16 = 0
    var queue: UInt16 = 0
    var port: UInt32 = 0
    var isOn = false
    var lock: UnsafeMutablePointer<UInt32>?
    var recirculation = Recirculation()
}

/// A polling thread, as the main thread sees it.
///
/// `@unchecked Sendable`: `pipeline` is touched by the polling thread alone once it runs; the rings are for one producer and one
/// consumer each; counters and `done` are read with atomic loads; the rest is immutable.
public final class PollModeThread: @unchecked Sendable {
    /// The processor that it runs on.
    public let core: Int
    private let commands: UnsafeMutablePointer<Command>
    private let upcalls: OpaquePointer
    private let upcallPool: OpaquePointer
    private let pipeline: UnsafeMutablePointer<Pipeline>
    private let counterMemory: UnsafeMutablePointer<UInt64>
    /// Packets and cycles of each receive queue, by its slot.
    private let queueCounters: UnsafeMutablePointer<UInt64>
    private var freeSlots: [Int] = Array((0..<Pipeline.receiveQueueLimit).reversed())
    private var slots: [QueueID: Int] = [:]
    private struct QueueID: Hashable {
        let device: UInt16
        let queue: UInt16
    }
    /// How long the thread may sleep when nothing comes, in microseconds; 0: never.
    private let maxSleep = Atomic<Int>(0)
    /// Cycles that packets may wait in transmit queues, and which part of flows is put into the cache.
    private let flushInterval = Atomic<UInt64>(0)
    private let cacheInsertion = Atomic<UInt32>(.max)
    /// The flows' memory, of which the main thread reads counters.
    private let entries: UnsafeMutablePointer<FlowEntry>
    /// How many commands were given, as the main thread and as others see it, and how many are carried out. Invariant: a command's place is
    /// its number in the ring; the polling thread reads those from `done` to `published`, and the main thread writes no others.
    public private(set) var given: UInt64 = 0
    private let published: UnsafeMutablePointer<UInt64>
    private let done: UnsafeMutablePointer<UInt64>
    /// The main thread's: packets that it has taken, and room to put one together that is in pieces.
    private let taken: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    private let pieces: UnsafeMutablePointer<UInt8>
    private let stopFlag = Atomic<Bool>(false)
    private let wake: @Sendable () -> Void
    private var thread = pthread_t()
    /// A power of two.
    private static let commandCapacity = 1 << 11
    private static let upcallCapacity: UInt32 = 1 << 11
    private static let upcallBatch = 64
    private static let longestPacket = 65_536
    private static let pollsBetweenCommands = 16
    private static let serial = Atomic<Int>(0)

    /// - Parameter wake: called on the thread when packets wait for the main thread; cheap when it was called just before.
    /// - Returns: nil when memory for it is missing, or the thread cannot be made.
    public init?(core: Int, wake: @escaping @Sendable () -> Void) {
        let number = Self.serial.wrappingAdd(1, ordering: .relaxed).newValue
        guard let upcalls = rte_ring_create("upcalls\(number)", Self.upcallCapacity, -1, cdpdk_ring_flags()) else { return nil }
        guard let upcallPool = rte_pktmbuf_pool_create("upcalls\(number)", 2 * Self.upcallCapacity - 1, 64, 0, 2176, -1) else {
            rte_ring_free(upcalls)
            return nil
        }
        self.core = core
        commands = .allocate(capacity: Self.commandCapacity)
        self.upcalls = upcalls
        self.upcallPool = upcallPool
        self.wake = wake
        counterMemory = .allocate(capacity: Pipeline.counterCount)
        counterMemory.initialize(repeating: 0, count: Pipeline.counterCount)
        published = .allocate(capacity: 1)
        published.initialize(to: 0)
        done = .allocate(capacity: 1)
        done.initialize(to: 0)
        queueCounters = .allocate(capacity: 2 * Pipeline.receiveQueueLimit)
        queueCounters.initialize(repeating: 0, count: 2 * Pipeline.receiveQueueLimit)
        taken = .allocate(capacity: Self.upcallBatch)
        taken.initialize(repeating: nil, count: Self.upcallBatch)
        pieces = .allocate(capacity: Self.longestPacket)
        pipeline = .allocate(capacity: 1)
        guard let made = Pipeline(upcalls: upcalls, upcallPool: upcallPool, counters: counterMemory) else {
            pipeline.deallocate()
            counterMemory.deallocate()
            queueCounters.deallocate()
            published.deallocate()
            done.deallocate()
            taken.deallocate()
            pieces.deallocate()
            commands.deallocate()
            rte_ring_free(upcalls)
            rte_mempool_free(upcallPool)
            return nil
        }
        pipeline.initialize(to: made)
        entries = pipeline.pointee.store.entries
        let context = Unmanaged.passRetained(self).toOpaque()
        let failed = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                // Held by `stop` until the thread has ended.
                Unmanaged<PollModeThread>.fromOpaque(context).takeUnretainedValue().run()
                return nil
            }, context)
        guard failed == 0 else {
            Unmanaged<PollModeThread>.fromOpaque(context).release()
            return nil
        }
    }

    /// Ends the thread. Nothing may be called afterwards.
    ///
    /// - Parameter last: gets the packets that still wait for the main thread.
    public func stop(_ last: (_ device: UInt16, _ bytes: UnsafeRawBufferPointer) -> Void = { _, _ in }) {
        stopFlag.store(true, ordering: .releasing)
        pthread_join(thread, nil)
        while takeUpcalls(last) {}
        pipeline.pointee.flush()
        while !hasDone(given) { runCommands() }
        pipeline.deinitialize(count: 1)
        pipeline.deallocate()
        commands.deallocate()
        rte_ring_free(upcalls)
        rte_mempool_free(upcallPool)
        counterMemory.deallocate()
        queueCounters.deallocate()
        published.deallocate()
        done.deallocate()
        taken.deallocate()
        pieces.deallocate()
        Unmanaged.passUnretained(self).release()
    }

    // MARK: The main thread's side

    /// Gives a command. Returns false when the thread is too far behind; nothing happens then.
    private func give(_ command: Command) -> Bool {
        guard given &- cdpdk_observe(done) < UInt64(Self.commandCapacity) else { return false }
        // Commands are plain data.
        (commands + Self.place(given)).initialize(to: command)
        given += 1
        cdpdk_publish(published, given)
        return true
    }

    private static func place(_ number: UInt64) -> Int { Int(truncatingIfNeeded: number) & (commandCapacity - 1) }

    /// Waits until the thread has done all that it was told, which takes it microseconds. Gives up after a tenth of a second.
    public func settle() {
        for _ in 0..<2_000_000 {
            if hasDone(given) { return }
            cdpdk_pause()
        }
    }

    /// Whether the thread has done its first `number` commands.
    public func hasDone(_ number: UInt64) -> Bool { cdpdk_observe(done) >= number }

    /// Puts a flow at an index that is not in use. The compiled actions become the thread's.
    public func insert(_ match: HeaderMatch, inPort: UInt32, actions: FlowProgram.Compiled, at index: UInt32) -> Bool {
        var flow = NewFlow(match, inPort: inPort, kind: .punt)
        switch actions {
        case .drop: flow.kind = .drop
        case .output(let queue):
            flow.kind = .output
            flow.output = UInt16(truncatingIfNeeded: queue)
        case .recirculate(let number):
            flow.kind = .recirculate
            flow.output = UInt16(truncatingIfNeeded: number)
        case .program(let program):
            flow.kind = .program
            // What is rewritten must be there.
            flow.isPrefixOnly = false
            flow.steps = program.makeSteps()
            flow.stepCount = UInt8(program.count)
        case .unable: break
        }
        // The thread begins with nothing, too, but until it has the command the place holds what was there before.
        counters(of: index).clear()
        guard give(Command(kind: .insert, index: index, flow: flow)) else {
            flow.steps?.deallocate()
            return false
        }
        return true
    }

    /// Takes a flow out; once that is done, its counters are final and its index is free.
    public func remove(_ index: UInt32) -> Bool { give(Command(kind: .remove, index: index)) }

    /// A packet of this shape came by the main thread, though its flow is there.
    public func hint(_ index: UInt32, _ packet: UnsafeRawBufferPointer, _ shape: HeaderShape) {
        _ = give(Command(kind: .hint, index: index, bytes: HeaderBytes(packet), shape: shape))
    }

    /// Starts polling a queue. False when the thread is too far behind, or polls as many as it can.
    public func addReceiveQueue(device: UInt16, queue: UInt16, port: UInt32) -> Bool {
        let id = QueueID(device: device, queue: queue)
        guard slots[id] == nil, let slot = freeSlots.popLast() else { return false }
        guard give(Command(kind: .addReceiveQueue, index: UInt32(slot), device: device, queue: queue, port: port)) else {
            freeSlots.append(slot)
            return false
        }
        slots[id] = slot
        return true
    }

    /// Stops polling a queue. After `settle` another thread may poll it.
    public func removeReceiveQueue(device: UInt16, queue: UInt16) -> Bool {
        guard give(Command(kind: .removeReceiveQueue, device: device, queue: queue)) else { return false }
        if let slot = slots.removeValue(forKey: QueueID(device: device, queue: queue)) { freeSlots.append(slot) }
        return true
    }

    /// Packets and cycles of a queue that the thread polls, since ever; zeros for one that it does not poll.
    public func queueCounters(device: UInt16, queue: UInt16) -> (packets: UInt64, cycles: UInt64) {
        guard let slot = slots[QueueID(device: device, queue: queue)] else { return (0, 0) }
        return (cdpdk_load(queueCounters + 2 * slot), cdpdk_load(queueCounters + 2 * slot + 1))
    }

    /// Lets the thread sleep up to so many microseconds while nothing comes (pmd-maxsleep).
    public func setMaxSleep(_ microseconds: Int) { maxSleep.store(microseconds, ordering: .relaxed) }

    /// Lets packets wait so long for others that leave by the same queue (tx-flush-interval).
    public func setFlushInterval(microseconds: Int) {
        flushInterval.store(UInt64(max(0, microseconds)) * (rte_get_tsc_hz() / 1_000_000), ordering: .relaxed)
    }

    /// Has one of so many flows remembered in the cache when a packet found it elsewhere; 0: none.
    public func setCacheInsertion(oneOf number: UInt32) {
        cacheInsertion.store(number == 0 ? 0 : UInt32.max / number, ordering: .relaxed)
    }

    /// Stops polling a device and sending to it. After `settle` the thread does not touch it any more.
    public func removeDevice(_ device: UInt16) -> Bool {
        guard give(Command(kind: .removeDevice, device: device)) else { return false }
        for (id, slot) in slots where id.device == device {
            slots[id] = nil
            freeSlots.append(slot)
        }
        return true
    }

    /// Says which queue of which device transmit queue `index` stands for.
    /// - Parameter lock: held while sending, when others send on that queue, too; it must outlive the device's use here.
    public func setTransmitQueue(_ index: UInt32, device: UInt16, queue: UInt16, lock: UnsafeMutablePointer<UInt32>?) -> Bool {
        give(Command(kind: .setTransmitQueue, index: index, device: device, queue: queue, isOn: true, lock: lock))
    }

    /// Says what recirculation `number`, below `Recirculation.limit`, is: its flows look at the bits `mask` of a hash.
    public func setRecirculation(_ number: UInt32, mask: UInt32, _ hash: Recirculation.Hash) -> Bool {
        give(Command(kind: .setRecirculation, index: number, recirculation: Recirculation(hash: hash, mask: mask)))
    }

    /// Whether VLAN tags are looked behind.
    public func acceptTags(_ on: Bool) { _ = give(Command(kind: .acceptTags, isOn: on)) }

    /// Where a flow is counted; to be read until `stop`.
    public func counters(of index: UInt32) -> FlowCounters {
        FlowCounters(entries + Int(index))
    }

    public func counter(_ c: ThreadCounter) -> UInt64 { cdpdk_load(counterMemory + c.rawValue) }

    /// Packets that a transmit queue did not take, or that could not be copied for it.
    public func transmitDrops(of index: UInt32) -> UInt64 { cdpdk_load(counterMemory + ThreadCounter.count + Int(index)) }

    /// Takes packets that wait, at most 64. `body` gets the device and the bytes, which stay this function's.
    /// Returns true when more may wait.
    public func takeUpcalls(_ body: (_ device: UInt16, _ bytes: UnsafeRawBufferPointer) -> Void) -> Bool {
        let n = Int(cdpdk_ring_take(upcalls, taken, UInt32(Self.upcallBatch)))
        for i in 0..<n {
            guard let object = taken[i] else { continue }
            let m = OpaquePointer(object)
            let length = Int(cdpdk_length(m))
            // In place when the packet is in one piece.
            if length <= Self.longestPacket, let p = cdpdk_read(m, UInt32(length), pieces) {
                body(cdpdk_port(m), UnsafeRawBufferPointer(start: p, count: length))
            }
            cdpdk_free(m)
        }
        return n == Self.upcallBatch
    }

    // MARK: The thread

    private func run() {
        // For the pools' caches.
        rte_thread_register()
        cdpdk_pin(UInt32(core))
        rte_thread_setname(pthread_self(), "pmd-c\(core)")
        defer { rte_thread_unregister() }
        var lastMaintenance = cdpdk_cycles()
        let second = rte_get_tsc_hz()
        var sleep = 0
        while !stopFlag.load(ordering: .acquiring) {
            runCommands()
            pipeline.pointee.flushInterval = flushInterval.load(ordering: .relaxed)
            pipeline.pointee.store.cacheInsertion = cacheInsertion.load(ordering: .relaxed)
            // Commands are looked for now and then only.
            let start = cdpdk_cycles()
            var from = start
            var busy: UInt64 = 0
            var busyPolls: UInt64 = 0
            for _ in 0..<Self.pollsBetweenCommands {
                var n = 0
                for i in 0..<pipeline.pointee.receiveQueueCount {
                    let queue = pipeline.pointee.receiveQueues + i
                    let got = pipeline.pointee.poll(queue)
                    guard got > 0 else { continue }
                    // The clock is read once a batch: what is found empty between counts with the next that is not.
                    let to = cdpdk_cycles()
                    cdpdk_add(queue.pointee.counters + 1, to &- from)
                    busy &+= to &- from
                    from = to
                    n += got
                }
                if n == 0 {
                    cdpdk_pause()
                    from = cdpdk_cycles()
                } else {
                    busyPolls &+= 1
                }
                pipeline.pointee.flushIfDue()
                if pipeline.pointee.mustWake { break }
            }
            let end = cdpdk_cycles()
            cdpdk_add(counterMemory + ThreadCounter.busyCycles.rawValue, busy)
            cdpdk_add(counterMemory + ThreadCounter.idleCycles.rawValue, end &- start &- busy)
            cdpdk_add(counterMemory + ThreadCounter.batches.rawValue, busyPolls)
            cdpdk_add(counterMemory + ThreadCounter.iterations.rawValue, UInt64(Self.pollsBetweenCommands))
            if busyPolls > 0 { sleep = 0 } else { rest(&sleep) }
            if pipeline.pointee.mustWake {
                pipeline.pointee.mustWake = false
                wake()
            }
            if end &- lastMaintenance > second {
                lastMaintenance = end
                pipeline.pointee.store.maintain()
            }
        }
    }

    /// Sleeps a microsecond longer than the last time, as far as that is allowed.
    private func rest(_ sleep: inout Int) {
        let most = maxSleep.load(ordering: .relaxed)
        guard most > 0 else { return }
        pipeline.pointee.flush()
        sleep = min(sleep + 1, most)
        var time = timespec(tv_sec: 0, tv_nsec: sleep * 1000)
        nanosleep(&time, nil)
        cdpdk_add(counterMemory + ThreadCounter.sleeps.rawValue, 1)
        cdpdk_add(counterMemory + ThreadCounter.sleptMicroseconds.rawValue, UInt64(sleep))
    }

    private func runCommands() {
        let first = cdpdk_load(done)
        let count = min(256, cdpdk_observe(published) &- first)
        guard count > 0 else { return }
        // Queues may go.
        pipeline.pointee.flush()
        for i in 0..<count { run(commands[Self.place(first &+ i)]) }
        cdpdk_store(counterMemory + ThreadCounter.subtables.rawValue, UInt64(pipeline.pointee.store.subtableCount))
        cdpdk_publish(done, first &+ count)
    }

    private func removeQueues(_ condition: (ReceiveQueue) -> Bool) {
        var i = 0
        while i < pipeline.pointee.receiveQueueCount {
            if condition(pipeline.pointee.receiveQueues[i]) {
                pipeline.pointee.receiveQueueCount -= 1
                pipeline.pointee.receiveQueues[i] = pipeline.pointee.receiveQueues[pipeline.pointee.receiveQueueCount]
            } else {
                i += 1
            }
        }
    }

    private func run(_ c: Command) {
        switch c.kind {
        case .insert: if let flow = c.flow { pipeline.pointee.store.insert(flow, at: c.index) }
        case .remove: pipeline.pointee.store.remove(c.index)?.deallocate()
        case .hint: pipeline.pointee.store.hint(c.index, c.bytes, c.shape)
        case .addReceiveQueue:
            guard pipeline.pointee.receiveQueueCount < Pipeline.receiveQueueLimit else { return }
            let counters = queueCounters + 2 * Int(c.index)
            cdpdk_store(counters, 0)
            cdpdk_store(counters + 1, 0)
            (pipeline.pointee.receiveQueues + pipeline.pointee.receiveQueueCount).initialize(
                to: ReceiveQueue(device: c.device, queue: c.queue, port: c.port, counters: counters))
            pipeline.pointee.receiveQueueCount += 1
        case .removeReceiveQueue: removeQueues { $0.device == c.device && $0.queue == c.queue }
        case .removeDevice:
            removeQueues { $0.device == c.device }
            for t in 0..<Pipeline.transmitQueueLimit where pipeline.pointee.transmitQueues[t].device == c.device {
                pipeline.pointee.transmitQueues[t].isOpen = false
            }
        case .setTransmitQueue:
            guard Int(c.index) < Pipeline.transmitQueueLimit else { return }
            pipeline.pointee.transmitQueues[Int(c.index)].device = c.device
            pipeline.pointee.transmitQueues[Int(c.index)].queue = c.queue
            pipeline.pointee.transmitQueues[Int(c.index)].lock = c.lock
            pipeline.pointee.transmitQueues[Int(c.index)].isOpen = c.isOn
        case .setRecirculation:
            guard Int(c.index) < Recirculation.limit else { return }
            pipeline.pointee.recirculations[Int(c.index)] = c.recirculation
        case .acceptTags: pipeline.pointee.acceptsTag = c.isOn
        }
    }
}
