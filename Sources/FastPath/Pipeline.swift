// The packet's path on a polling thread, one batch at a time:
//
//     receive ─▶ match ─┬─ flow ─▶ act ─▶ transmit
//                       └─ none ─▶ hand over to the main thread
//
// Everything a packet needs is in memory that the thread owns; nothing here allocates, counts references or locks, which
// `scripts/check-fastpath.sh` checks in the compiled code. A batch goes through in passes, so that what one packet waits for is
// fetched while others are worked on:
//
//     1. compare with the flow that the last packet had (traffic comes in runs); else shape, hash, fetch the cache bucket
//     2. what the bucket names: fetch the flow
//     3. compare with the flow; else the other ways to find one
//     4. act on runs of packets of one flow
//
// A packet is an mbuf. Passing it on or freeing it ends its life here.

import CDPDK
import Glibc

typealias Mbuf = OpaquePointer

/// A receive queue that a thread polls.
struct ReceiveQueue {
    var device: UInt16
    var queue: UInt16
    /// The datapath's port number.
    var port: UInt32
    /// The flow of the last packet.
    var last: UInt32 = 0
    /// How well the guess that the next packet is of the same flow went, 0 to 16.
    var runs: Int = 8
    /// Packets and cycles, which the main thread reads.
    var counters: UnsafeMutablePointer<UInt64>
}

/// A transmit queue of a device, with packets that wait for the end of the batch.
struct TransmitQueue {
    static let capacity = 64
    var device: UInt16 = 0
    var queue: UInt16 = 0
    var isOpen = false
    /// It is among those that wait for the end of the batch.
    var isDirty = false
    /// Held while sending, where the device has fewer queues than threads send to it.
    var lock: UnsafeMutablePointer<UInt32>?
    var count = 0
    var packets: InlineArray<64, Mbuf?> = InlineArray(repeating: nil)
}

/// What a thread counts: numbers that it alone writes, with atomic stores, and the main thread reads.
public enum ThreadCounter: Int, CaseIterable, Sendable {
    case hits, handedOver
    /// Packets that the main thread had no room for.
    case lost
    case transmitDrops, drops, noCopy, cacheMisses, busyCycles, idleCycles, batches, iterations, subtables
    /// Packets of the flow of the packet before.
    case runHits
    /// Packets that were looked up again by their hash, and what was found done.
    case recirculations
    case sent, sentBatches, sleeps, sleptMicroseconds

    static let count = sleptMicroseconds.rawValue + 1
}

/// All that a polling thread works on. It owns this memory.
struct Pipeline: ~Copyable {
    static let batch = 32
    static let receiveQueueLimit = 64
    static let transmitQueueLimit = 256

    var store: FlowStore
    let receiveQueues: UnsafeMutablePointer<ReceiveQueue>
    var receiveQueueCount = 0
    let transmitQueues: UnsafeMutablePointer<TransmitQueue>
    /// Transmit queues with packets, by index.
    let dirty: UnsafeMutablePointer<UInt32>
    var dirtyCount = 0
    /// For how many cycles packets may wait in transmit queues; and until when those may that are there.
    var flushInterval: UInt64 = 0
    private var flushAt: UInt64 = 0
    let packets: UnsafeMutablePointer<Mbuf?>
    private let flows: UnsafeMutablePointer<UInt32>
    private let hashes: UnsafeMutablePointer<UInt64>
    private let shapes: UnsafeMutablePointer<UInt8>
    private let pending: UnsafeMutablePointer<UInt8>
    private let ports: UnsafeMutablePointer<UInt32>
    private let over: UnsafeMutablePointer<Mbuf?>
    /// By the number that flows have.
    let recirculations: UnsafeMutablePointer<Recirculation>
    /// Where the packets lie in a transmit queue.
    private let packetsOffset: Int
    /// By `ThreadCounter`; behind them the packets that each transmit queue did not take.
    let counters: UnsafeMutablePointer<UInt64>
    private var drops: UnsafeMutablePointer<UInt64> { counters + ThreadCounter.count }
    static var counterCount: Int { ThreadCounter.count + transmitQueueLimit }
    /// Packets for the main thread.
    let upcalls: OpaquePointer
    var acceptsTag = true
    /// Set when the main thread has to be woken.
    var mustWake = false

    /// Nil when there is no memory for flows.
    init?(upcalls: OpaquePointer, counters: UnsafeMutablePointer<UInt64>) {
        guard let store = FlowStore() else { return nil }
        self.store = store
        self.upcalls = upcalls
        self.counters = counters
        packetsOffset = MemoryLayout<TransmitQueue>.offset(of: \.packets) ?? 0
        receiveQueues = .allocate(capacity: Self.receiveQueueLimit)
        transmitQueues = .allocate(capacity: Self.transmitQueueLimit)
        transmitQueues.initialize(repeating: TransmitQueue(), count: Self.transmitQueueLimit)
        dirty = .allocate(capacity: Self.transmitQueueLimit)
        packets = .allocate(capacity: Self.batch)
        packets.initialize(repeating: nil, count: Self.batch)
        over = .allocate(capacity: Self.batch)
        over.initialize(repeating: nil, count: Self.batch)
        recirculations = .allocate(capacity: Recirculation.limit)
        recirculations.initialize(repeating: Recirculation(), count: Recirculation.limit)
        flows = .allocate(capacity: Self.batch)
        hashes = .allocate(capacity: Self.batch)
        shapes = .allocate(capacity: Self.batch)
        pending = .allocate(capacity: Self.batch)
        ports = .allocate(capacity: Self.batch)
    }

    deinit {
        receiveQueues.deallocate()
        transmitQueues.deallocate()
        dirty.deallocate()
        packets.deallocate()
        over.deallocate()
        recirculations.deallocate()
        flows.deallocate()
        hashes.deallocate()
        shapes.deallocate()
        pending.deallocate()
        ports.deallocate()
    }

    /// Receives and forwards one batch. Returns how many packets there were.
    @inline(never)
    mutating func poll(_ queue: UnsafeMutablePointer<ReceiveQueue>) -> Int {
        let n = Int(cdpdk_rx_burst(queue.pointee.device, queue.pointee.queue, packets, UInt16(Self.batch)))
        guard n > 0 else { return 0 }
        match(n, queue)
        let waited = dirtyCount > 0
        act(n)
        if dirtyCount > 0 {
            if flushInterval == 0 { flush() } else if !waited { flushAt = cdpdk_cycles() &+ flushInterval }
        }
        cdpdk_add(queue.pointee.counters, UInt64(n))
        return n
    }

    @inline(__always)
    private func tally(_ counter: ThreadCounter, _ n: UInt64) { cdpdk_add(counters + counter.rawValue, n) }

    // MARK: Match

    @inline(__always)
    private func firstBytes(_ p: UnsafeMutablePointer<UInt8>) -> HeaderBytes {
        // A packet's memory reaches further than 64 bytes, whatever its length; what is not the packet's is under no mask.
        UnsafeRawPointer(p).loadUnaligned(as: HeaderBytes.self)
    }

    @inline(__always)
    private mutating func match(_ n: Int, _ queue: UnsafeMutablePointer<ReceiveQueue>) {
        let inPort = queue.pointee.port
        // Copies, so that they stay in registers while memory is written.
        let (packets, flows, hashes, shapes, pending) = (self.packets, self.flows, self.hashes, self.shapes, self.pending)
        let entries = store.entries
        let relevant = UnsafePointer(store.relevant)
        let acceptsTag = self.acceptsTag
        var last = queue.pointee.last
        var runs = queue.pointee.runs
        let triesLast = runs > 4 && last != 0
        let lastMask = store.masks[Int(entries[Int(last)].subtable)]
        let lastIsPrefix = entries[Int(last)].isPrefixOnly
        let lastMinimum = Int(entries[Int(last)].minimumLength)
        let lastShape = entries[Int(last)].shape
        var pendingCount = 0
        var same = 0
        var i = 0
        while i < n {
            let m = packets[i].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            let readable = Int(cdpdk_first_length(m))
            let length = Int(cdpdk_length(m))
            let mayBeLast = triesLast && FlowStore.agrees(entries + Int(last), under: lastMask, firstBytes(p), inPort)
            if mayBeLast, lastIsPrefix, readable >= lastMinimum {
                flows[i] = last
                same &+= 1
                i &+= 1
                continue
            }
            let shape = HeaderShape.of(p, readable: readable, length: length, acceptsTag: acceptsTag)
            if mayBeLast, shape.rawValue == lastShape {
                flows[i] = last
                same &+= 1
                i &+= 1
                continue
            }
            flows[i] = 0
            if shape != .slow {
                let hash = store.hash(p, relevant + Int(shape.rawValue), inPort)
                hashes[i] = hash
                shapes[i] = shape.rawValue
                cdpdk_prefetch(store.bucket(hash))
                pending[pendingCount] = UInt8(truncatingIfNeeded: i)
                pendingCount &+= 1
            }
            i &+= 1
        }
        runs += triesLast ? (same &* 2 >= n ? 1 : -1) : 0
        if same > 0 { tally(.runHits, UInt64(same)) }
        if pendingCount > 0 {
            var k = 0
            while k < pendingCount {
                let i = Int(pending[k])
                let index = store.candidate(hashes[i])
                flows[i] = index
                let e = UnsafeRawPointer(entries + Int(index))
                cdpdk_prefetch(e)
                cdpdk_prefetch(e + 64)
                k &+= 1
            }
            k = 0
            var previous: UInt32 = 0
            var repeats = 0
            var misses = 0
            while k < pendingCount {
                let i = Int(pending[k])
                let m = packets[i].unsafelyUnwrapped
                let bytes = firstBytes(cdpdk_data(m).unsafelyUnwrapped)
                let readable = Int(cdpdk_first_length(m))
                let shape = HeaderShape(shapes[i])
                let index = flows[i]
                if index == 0 || !store.covers(index, bytes, inPort, readable, shape) {
                    misses &+= 1
                    flows[i] = store.find(bytes, hashes[i], inPort, readable, shape)
                }
                if flows[i] == previous { repeats &+= 1 }
                previous = flows[i]
                if previous != 0 { last = previous }
                k &+= 1
            }
            if misses > 0 { tally(.cacheMisses, UInt64(misses)) }
            if !triesLast, repeats &* 2 >= pendingCount || last == 0 { runs += 1 }
        }
        queue.pointee.last = last
        queue.pointee.runs = max(0, min(16, runs))
    }

    // MARK: Act

    /// Gathers the TCP flags of packets that are TCP over IP.
    @inline(__always)
    private func countFlags(_ e: UnsafeMutablePointer<FlowEntry>, _ m: Mbuf) {
        let p = cdpdk_data(m).unsafelyUnwrapped
        let shape = HeaderShape(e.pointee.shape)
        let n = shape.networkOffset
        let is6 = shape.untagged.rawValue >= 3
        guard p[n + (is6 ? 6 : 9)] == 6 else { return }
        let at = n + (is6 ? 40 : 20)
        guard Int(cdpdk_first_length(m)) >= at + 20 else { return }
        let flags = store.counters(e) + FlowCounter.tcpFlags
        cdpdk_store(flags, flags.pointee | UInt64(p[at + 12] & 0xf) << 8 | UInt64(p[at + 13]))
    }

    @inline(__always)
    private mutating func act(_ n: Int) {
        let now = cdpdk_cycles()
        var hits = 0
        var recirculations = 0
        let (packets, flows) = (self.packets, self.flows)
        let entries = store.entries
        var overCount = 0
        var i = 0
        while i < n {
            let index = flows[i]
            if index == 0 {
                over[overCount] = packets[i]
                overCount &+= 1
                i &+= 1
                continue
            }
            let e = entries + Int(index)
            let counts = e.pointee.countsFlags
            var j = i
            var size = 0
            while j < n, flows[j] == index {
                let m = packets[j].unsafelyUnwrapped
                size &+= Int(cdpdk_length(m))
                if counts { countFlags(e, m) }
                j &+= 1
            }
            let run = j &- i
            switch e.pointee.kind {
            case .output: transmit(packets + i, run, Int(e.pointee.output))
            case .drop:
                tally(.drops, UInt64(run))
                cdpdk_free_all(packets + i, UInt32(run))
            case .program:
                if let steps = e.pointee.steps {
                    for k in i..<j { execute(steps, Int(e.pointee.stepCount), packets[k].unsafelyUnwrapped) }
                }
            case .recirculate:
                lookUpAgain(i, j, Int(e.pointee.output))
                // Each packet for itself: the next has another hash.
                for k in i..<j {
                    let m = packets[k].unsafelyUnwrapped
                    let length = Int(cdpdk_length(m))
                    guard flows[k] != 0, actAgain(entries + Int(flows[k]), m, length, now) else {
                        over[overCount] = m
                        overCount &+= 1
                        continue
                    }
                    recirculations &+= 1
                    count(e, 1, length, now)
                }
                i = j
                continue
            case .punt, .free:
                for k in i..<j {
                    over[overCount] = packets[k]
                    overCount &+= 1
                }
                // The main thread counts these.
                i = j
                continue
            }
            hits &+= run
            count(e, run, size, now)
            i = j
        }
        tally(.hits, UInt64(hits &+ recirculations))
        if recirculations > 0 { tally(.recirculations, UInt64(recirculations)) }
        if overCount > 0 { handOver(overCount) }
    }

    @inline(__always)
    private func count(_ e: UnsafeMutablePointer<FlowEntry>, _ packets: Int, _ bytes: Int, _ now: UInt64) {
        let numbers = store.counters(e)
        cdpdk_add(numbers + FlowCounter.packets, UInt64(packets))
        cdpdk_add(numbers + FlowCounter.bytes, UInt64(bytes))
        cdpdk_store(numbers + FlowCounter.used, now)
    }

    /// Finds the flows of packets `from` to `to` of the batch, which come back with a recirculation of this number; 0: none is here.
    @inline(__always)
    private mutating func lookUpAgain(_ from: Int, _ to: Int, _ number: Int) {
        let (packets, flows, hashes, shapes, ports) = (self.packets, self.flows, self.hashes, self.shapes, self.ports)
        let recirculation = recirculations[number]
        var k = from
        while k < to {
            let m = packets[k].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            let shape = HeaderShape.of(p, readable: Int(cdpdk_first_length(m)), length: Int(cdpdk_length(m)), acceptsTag: acceptsTag)
            shapes[k] = shape.rawValue
            flows[k] = 0
            if shape != .slow {
                let dpHash = PacketHash.dpHash(p, shape, recirculation.hash)
                let port = Recirculation.port(UInt32(truncatingIfNeeded: number), maskedHash: dpHash & recirculation.mask)
                ports[k] = port
                hashes[k] = store.hash(p, UnsafePointer(store.relevant) + Int(shape.rawValue), port)
                cdpdk_prefetch(store.bucket(hashes[k]))
            }
            k &+= 1
        }
        k = from
        while k < to {
            if shapes[k] != HeaderShape.slow.rawValue {
                let index = store.candidate(hashes[k])
                flows[k] = index
                let e = UnsafeRawPointer(store.entries + Int(index))
                cdpdk_prefetch(e)
                cdpdk_prefetch(e + 64)
            }
            k &+= 1
        }
        k = from
        while k < to {
            if shapes[k] != HeaderShape.slow.rawValue {
                let m = packets[k].unsafelyUnwrapped
                let bytes = firstBytes(cdpdk_data(m).unsafelyUnwrapped)
                let readable = Int(cdpdk_first_length(m))
                let shape = HeaderShape(shapes[k])
                let index = flows[k]
                if index == 0 || !store.covers(index, bytes, ports[k], readable, shape) {
                    flows[k] = store.find(bytes, hashes[k], ports[k], readable, shape)
                }
            }
            k &+= 1
        }
    }

    /// Does what a recirculated packet's flow says. False: the main thread must, and the packet is as it was.
    @inline(__always)
    private mutating func actAgain(_ e: UnsafeMutablePointer<FlowEntry>, _ m: Mbuf, _ length: Int, _ now: UInt64) -> Bool {
        if e.pointee.countsFlags { countFlags(e, m) }
        switch e.pointee.kind {
        case .output:
            var own: Mbuf? = m
            transmit(&own, 1, Int(e.pointee.output))
        case .drop:
            tally(.drops, 1)
            cdpdk_free(m)
        case .program:
            guard let steps = e.pointee.steps else { return false }
            execute(steps, Int(e.pointee.stepCount), m)
        case .recirculate, .punt, .free: return false
        }
        count(e, 1, length, now)
        return true
    }

    /// Gives packets to the main thread, as far as it has room.
    private mutating func handOver(_ count: Int) {
        let put = over.withMemoryRebound(to: UnsafeMutableRawPointer?.self, capacity: Self.batch) {
            Int(cdpdk_ring_put(upcalls, $0, UInt32(count)))
        }
        tally(.handedOver, UInt64(put))
        mustWake = true
        guard put < count else { return }
        tally(.lost, UInt64(count &- put))
        cdpdk_free_all(over + put, UInt32(count &- put))
    }

    /// Runs a program on a packet, which ends with it.
    private mutating func execute(_ steps: UnsafeMutablePointer<FlowStep>, _ count: Int, _ packet: Mbuf) {
        var i = 0
        var p = UnsafeMutableRawPointer(cdpdk_data(packet).unsafelyUnwrapped)
        while i < count {
            let step = steps[i]
            switch step.kind {
            case .write, .writeIPv4, .writeTransport, .writeAddress: step.rewrite(p)
            case .copyTo:
                var copy: Mbuf? = cdpdk_copy(packet)
                if copy == nil {
                    tally(.noCopy, 1)
                    cdpdk_add(drops + Int(step.port), 1)
                } else {
                    transmit(&copy, 1, Int(step.port))
                }
            case .sendTo:
                var own: Mbuf? = packet
                transmit(&own, 1, Int(step.port))
                return
            case .pushVLAN:
                guard let start = cdpdk_prepend(packet, 4) else {
                    tally(.noCopy, 1)
                    cdpdk_free(packet)
                    return
                }
                p = UnsafeMutableRawPointer(start)
                memmove(p, p + 4, 12)
                p.storeBytes(of: step.port, toByteOffset: 12, as: UInt32.self)
            case .popVLAN:
                memmove(p + 4, p, 12)
                cdpdk_remove(packet, 4)
                p += 4
            }
            i &+= 1
        }
        cdpdk_free(packet)
    }

    // MARK: Transmit

    /// Queues packets for the end of the batch.
    @inline(__always)
    private mutating func transmit(_ run: UnsafeMutablePointer<Mbuf?>, _ count: Int, _ index: Int) {
        let q = transmitQueues + index
        guard q.pointee.isOpen else {
            drop(run, count, at: q)
            return
        }
        if count == Self.batch, q.pointee.count == 0 {
            send(q, run, count)
            return
        }
        if q.pointee.count &+ count > TransmitQueue.capacity { flush(q) }
        if !q.pointee.isDirty {
            q.pointee.isDirty = true
            dirty[dirtyCount] = UInt32(index)
            dirtyCount &+= 1
        }
        for k in 0..<count { q.pointee.packets[q.pointee.count &+ k] = run[k] }
        q.pointee.count &+= count
    }

    @inline(__always)
    private func send(_ q: UnsafeMutablePointer<TransmitQueue>, _ run: UnsafeMutablePointer<Mbuf?>, _ count: Int) {
        let lock = q.pointee.lock
        if let lock { cdpdk_lock(lock) }
        let sent = Int(cdpdk_tx_burst(q.pointee.device, q.pointee.queue, run, UInt16(count)))
        if let lock { cdpdk_unlock(lock) }
        tally(.sent, UInt64(sent))
        tally(.sentBatches, 1)
        guard sent < count else { return }
        drop(run + sent, count &- sent, at: q)
    }

    private func drop(_ run: UnsafeMutablePointer<Mbuf?>, _ count: Int, at q: UnsafeMutablePointer<TransmitQueue>) {
        tally(.transmitDrops, UInt64(count))
        cdpdk_add(drops + (q - transmitQueues), UInt64(count))
        cdpdk_free_all(run, UInt32(count))
    }

    private func flush(_ q: UnsafeMutablePointer<TransmitQueue>) {
        let count = q.pointee.count
        q.pointee.count = 0
        let first = UnsafeMutableRawPointer(q).advanced(by: packetsOffset).assumingMemoryBound(to: Mbuf?.self)
        send(q, first, count)
    }

    /// Sends what has waited long enough.
    @inline(__always)
    mutating func flushIfDue() { if dirtyCount > 0, cdpdk_cycles() >= flushAt { flush() } }

    /// Sends all that waits.
    mutating func flush() {
        for i in 0..<dirtyCount {
            let q = transmitQueues + Int(dirty[i])
            q.pointee.isDirty = false
            if q.pointee.count > 0 { flush(q) }
        }
        dirtyCount = 0
    }
}
