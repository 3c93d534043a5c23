// A thread that owns receive queues of DPDK devices and forwards what comes in.
//
// It is told what to do through one ring (flows, queues), hands packets that it has no flow for over through another, and counts in
// memory that others read. It never waits for anybody, and nobody takes a lock that it takes: there is none.

import CDPDK
import Glibc
import Synchronization

/// What the main thread tells a polling thread. One allocation each, which the polling thread frees.
struct Command {
    enum Kind {
        case insert, remove, hint
        case addReceiveQueue, removeDevice, setTransmitQueue
        case acceptTags
    }
    var kind: Kind
    var index: UInt32 = 0
    var flow = FlowEntry()
    var device: UInt16 = 0
    var queue: UInt16 = 0
    var port: UInt32 = 0
    var isOn = false
    var lock: UnsafeMutablePointer<UInt32>?
}

/// A polling thread, as the main thread sees it.
///
/// `@unchecked Sendable`: `pipeline` is touched by the polling thread alone once it runs; the rings are for one producer and one
/// consumer each; counters and `done` are read with atomic loads; the rest is immutable.
public final class PollModeThread: @unchecked Sendable {
    /// The processor that it runs on.
    public let core: Int
    private let commands: OpaquePointer
    private let upcalls: OpaquePointer
    private let pipeline: UnsafeMutablePointer<Pipeline>
    private let counterMemory: UnsafeMutablePointer<UInt64>
    /// The flows' memory, of which the main thread reads counters.
    private let entries: UnsafeMutablePointer<FlowEntry>
    private let countersOffset = MemoryLayout<FlowEntry>.offset(of: \.counters) ?? 0
    /// How many commands were given, and how many are carried out.
    private var given: UInt64 = 0
    private let done: UnsafeMutablePointer<UInt64>
    private let stopFlag = Atomic<Bool>(false)
    private let wake: @Sendable () -> Void
    private var thread = pthread_t()
    private static let commandCapacity: UInt32 = 1 << 16
    private static let upcallCapacity: UInt32 = 1 << 11
    private static let pollsBetweenCommands = 16
    private static let serial = Atomic<Int>(0)

    /// - Parameter wake: called on the thread when packets wait for the main thread; cheap when it was called just before.
    /// - Returns: nil when memory for it is missing, or the thread cannot be made.
    public init?(core: Int, wake: @escaping @Sendable () -> Void) {
        let number = Self.serial.wrappingAdd(1, ordering: .relaxed).newValue
        guard let commands = rte_ring_create("commands\(number)", Self.commandCapacity, -1, cdpdk_ring_flags()) else { return nil }
        guard let upcalls = rte_ring_create("upcalls\(number)", Self.upcallCapacity, -1, cdpdk_ring_flags()) else {
            rte_ring_free(commands)
            return nil
        }
        self.core = core
        self.commands = commands
        self.upcalls = upcalls
        self.wake = wake
        counterMemory = .allocate(capacity: ThreadCounter.allCases.count)
        counterMemory.initialize(repeating: 0, count: ThreadCounter.allCases.count)
        done = .allocate(capacity: 1)
        done.initialize(to: 0)
        pipeline = .allocate(capacity: 1)
        pipeline.initialize(to: Pipeline(upcalls: upcalls, counters: counterMemory))
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

    /// Ends the thread; packets that wait are dropped. Nothing may be called afterwards.
    public func stop() {
        stopFlag.store(true, ordering: .releasing)
        pthread_join(thread, nil)
        while takeUpcalls({ _, _ in }) {}
        runCommands()
        pipeline.deinitialize(count: 1)
        pipeline.deallocate()
        rte_ring_free(commands)
        rte_ring_free(upcalls)
        counterMemory.deallocate()
        done.deallocate()
        Unmanaged.passUnretained(self).release()
    }

    // MARK: The main thread's side

    /// Gives a command. Returns false when the thread is too far behind; nothing happens then.
    private func give(_ command: Command) -> Bool {
        let memory = UnsafeMutablePointer<Command>.allocate(capacity: 1)
        memory.initialize(to: command)
        var object: UnsafeMutableRawPointer? = UnsafeMutableRawPointer(memory)
        guard cdpdk_ring_put(commands, &object, 1) == 1 else {
            memory.deallocate()
            return false
        }
        given += 1
        return true
    }

    /// Waits until the thread has done all that it was told, which takes it microseconds. Gives up after a tenth of a second.
    public func settle() {
        for _ in 0..<2_000_000 {
            if cdpdk_observe(done) >= given { return }
            cdpdk_pause()
        }
    }

    /// Puts a flow at an index that is not in use. The compiled actions become the thread's.
    public func insert(_ match: HeaderMatch, inPort: UInt32, actions: FlowProgram.Compiled, at index: UInt32) -> Bool {
        var entry = FlowEntry(match, inPort: inPort)
        switch actions {
        case .drop: entry.kind = .drop
        case .output(let queue):
            entry.kind = .output
            entry.output = queue
        case .program(let program):
            entry.kind = .program
            // What is rewritten must be there.
            entry.isPrefixOnly = false
            let memory = UnsafeMutablePointer<FlowProgram>.allocate(capacity: 1)
            memory.initialize(to: program)
            entry.program = memory
        case .unable: entry.kind = .punt
        }
        var command = Command(kind: .insert, index: index)
        command.flow = entry
        guard give(command) else {
            entry.program?.deallocate()
            return false
        }
        return true
    }

    /// Takes a flow out; its counters are final after `settle`, and its index is free then.
    public func remove(_ index: UInt32) -> Bool { give(Command(kind: .remove, index: index)) }

    /// A packet with these first bytes came by the main thread, though its flow is there.
    public func hint(_ index: UInt32, _ bytes: HeaderBytes) {
        var command = Command(kind: .hint, index: index)
        command.flow.bytes = bytes
        _ = give(command)
    }

    public func addReceiveQueue(device: UInt16, queue: UInt16, port: UInt32) -> Bool {
        give(Command(kind: .addReceiveQueue, device: device, queue: queue, port: port))
    }

    /// Stops polling a device and sending to it. After `settle` the thread does not touch it any more.
    public func removeDevice(_ device: UInt16) -> Bool { give(Command(kind: .removeDevice, device: device)) }

    /// Says which queue of which device transmit queue `index` stands for.
    /// - Parameter lock: held while sending, when others send on that queue, too; it must outlive the device's use here.
    public func setTransmitQueue(_ index: UInt32, device: UInt16, queue: UInt16, lock: UnsafeMutablePointer<UInt32>?) -> Bool {
        give(Command(kind: .setTransmitQueue, index: index, device: device, queue: queue, isOn: true, lock: lock))
    }

    /// Whether VLAN tags are looked behind.
    public func acceptTags(_ on: Bool) { _ = give(Command(kind: .acceptTags, isOn: on)) }

    /// A flow's counters: packets, bytes, cycles when last used, TCP flags.
    public func counters(of index: UInt32) -> (packets: UInt64, bytes: UInt64, used: UInt64, tcpFlags: UInt16) {
        let numbers = counterOf(entries + Int(index))
        return (
            cdpdk_load(numbers + FlowCounter.packets), cdpdk_load(numbers + FlowCounter.bytes), cdpdk_load(numbers + FlowCounter.used),
            UInt16(truncatingIfNeeded: cdpdk_load(numbers + FlowCounter.tcpFlags))
        )
    }

    private func counterOf(_ e: UnsafeMutablePointer<FlowEntry>) -> UnsafeMutablePointer<UInt64> {
        (UnsafeMutableRawPointer(e) + countersOffset).assumingMemoryBound(to: UInt64.self)
    }

    public func counter(_ c: ThreadCounter) -> UInt64 { cdpdk_load(counterMemory + c.rawValue) }

    /// Takes the packets that wait, at most 256. `body` gets the device and the bytes, which stay this function's.
    /// Returns true when more may wait.
    public func takeUpcalls(_ body: (_ device: UInt16, _ bytes: UnsafeRawBufferPointer) -> Void) -> Bool {
        var objects = [UnsafeMutableRawPointer?](repeating: nil, count: 64)
        var scratch = [UInt8](repeating: 0, count: 65_536)
        for _ in 0..<4 {
            let n = Int(cdpdk_ring_take(upcalls, &objects, 64))
            for i in 0..<n {
                guard let object = objects[i] else { continue }
                let m = OpaquePointer(object)
                let length = Int(cdpdk_length(m))
                scratch.withUnsafeMutableBufferPointer { space in
                    // In place when the packet is in one piece.
                    guard length <= space.count, let p = cdpdk_read(m, UInt32(length), space.baseAddress) else { return }
                    body(cdpdk_port(m), UnsafeRawBufferPointer(start: p, count: length))
                }
                cdpdk_free(m)
            }
            if n < 64 { return false }
        }
        return true
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
        while !stopFlag.load(ordering: .acquiring) {
            runCommands()
            // Commands are looked for now and then only.
            let start = cdpdk_cycles()
            var total = 0
            for _ in 0..<Self.pollsBetweenCommands {
                var n = 0
                for i in 0..<pipeline.pointee.receiveQueueCount { n += pipeline.pointee.poll(pipeline.pointee.receiveQueues + i) }
                if n == 0 { cdpdk_pause() } else { cdpdk_add(counterMemory + ThreadCounter.batches.rawValue, 1) }
                total += n
                if pipeline.pointee.mustWake { break }
            }
            let end = cdpdk_cycles()
            if total > 0 {
                cdpdk_add(counterMemory + ThreadCounter.busyCycles.rawValue, end &- start)
            } else {
                cdpdk_add(counterMemory + ThreadCounter.idleCycles.rawValue, end &- start)
            }
            cdpdk_add(counterMemory + ThreadCounter.iterations.rawValue, UInt64(Self.pollsBetweenCommands))
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

    private func runCommands() {
        var object: UnsafeMutableRawPointer?
        var count: UInt64 = 0
        while count < 256, cdpdk_ring_take(commands, &object, 1) == 1, let memory = object?.assumingMemoryBound(to: Command.self) {
            run(memory.pointee)
            memory.deallocate()
            count += 1
        }
        guard count > 0 else { return }
        cdpdk_store(counterMemory + ThreadCounter.subtables.rawValue, UInt64(pipeline.pointee.store.subtableCount))
        cdpdk_publish(done, cdpdk_load(done) + count)
    }

    private func run(_ c: Command) {
        switch c.kind {
        case .insert: pipeline.pointee.store.insert(c.flow, at: c.index)
        case .remove: pipeline.pointee.store.remove(c.index)?.deallocate()
        case .hint: pipeline.pointee.store.hint(c.index, c.flow.bytes)
        case .addReceiveQueue:
            guard pipeline.pointee.receiveQueueCount < Pipeline.receiveQueueLimit else { return }
            (pipeline.pointee.receiveQueues + pipeline.pointee.receiveQueueCount).initialize(
                to: ReceiveQueue(device: c.device, queue: c.queue, port: c.port))
            pipeline.pointee.receiveQueueCount += 1
        case .removeDevice:
            var i = 0
            while i < pipeline.pointee.receiveQueueCount {
                if pipeline.pointee.receiveQueues[i].device == c.device {
                    pipeline.pointee.receiveQueueCount -= 1
                    pipeline.pointee.receiveQueues[i] = pipeline.pointee.receiveQueues[pipeline.pointee.receiveQueueCount]
                } else {
                    i += 1
                }
            }
            for t in 0..<Pipeline.transmitQueueLimit where pipeline.pointee.transmitQueues[t].device == c.device {
                pipeline.pointee.transmitQueues[t].isOpen = false
            }
        case .setTransmitQueue:
            guard Int(c.index) < Pipeline.transmitQueueLimit else { return }
            pipeline.pointee.transmitQueues[Int(c.index)].device = c.device
            pipeline.pointee.transmitQueues[Int(c.index)].queue = c.queue
            pipeline.pointee.transmitQueues[Int(c.index)].lock = c.lock
            pipeline.pointee.transmitQueues[Int(c.index)].isOpen = c.isOn
        case .acceptTags: pipeline.pointee.acceptsTag = c.isOn
        }
    }
}
