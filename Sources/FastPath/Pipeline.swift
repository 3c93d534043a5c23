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
//     4. act on runs of packets of one flow, and send on runs that leave by one queue
//
// The first three are in Pipeline+Match.swift.
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
    static let batch = 64
    /// How far `ReceiveQueue.runs` goes up, and above what the guess is tried.
    static var surelyRuns: Int { 16 }
    static var maybeRuns: Int { 4 }
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
    /// By packet: its flow, or 0.
    let flows: UnsafeMutablePointer<UInt32>
    /// A bit for each packet that may have TCP flags.
    var mayBeTCP: UInt64 = 0
    /// The lookups of the batch.
    let lookups: UnsafeMutablePointer<Lookup>
    /// Packets of the batch that the main thread gets.
    private let over: UnsafeMutablePointer<Mbuf?>
    private var overCount = 0
    /// Those that flows drop.
    private let dropped: UnsafeMutablePointer<Mbuf?>
    private var dropCount = 0
    /// By the number that flows have.
    let recirculations: UnsafeMutablePointer<Recirculation>
    /// Where the packets lie in a transmit queue.
    private let packetsOffset: Int
    /// By `ThreadCounter`; behind them the packets that each transmit queue did not take.
    let counters: UnsafeMutablePointer<UInt64>
    private var drops: UnsafeMutablePointer<UInt64> { counters + ThreadCounter.count }
    static var counterCount: Int { ThreadCounter.count + transmitQueueLimit }
    /// Packets for the main thread, and the pool of these.
    let upcalls: OpaquePointer
    private let upcallPool: OpaquePointer
    var acceptsTag = true
    /// Set when the main thread has to be woken.
    var mustWake = false

    /// Nil when there is no memory for flows.
    init?(upcalls: OpaquePointer, upcallPool: OpaquePointer, counters: UnsafeMutablePointer<UInt64>) {
        guard let store = FlowStore() else { return nil }
        self.store = store
        self.upcalls = upcalls
        self.upcallPool = upcallPool
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
        dropped = .allocate(capacity: Self.batch)
        dropped.initialize(repeating: nil, count: Self.batch)
        recirculations = .allocate(capacity: Recirculation.limit)
        recirculations.initialize(repeating: Recirculation(), count: Recirculation.limit)
        flows = .allocate(capacity: Self.batch)
        lookups = .allocate(capacity: Self.batch)
    }

    deinit {
        receiveQueues.deallocate()
        transmitQueues.deallocate()
        dirty.deallocate()
        packets.deallocate()
        over.deallocate()
        dropped.deallocate()
        recirculations.deallocate()
        flows.deallocate()
        lookups.deallocate()
    }

    /// Receives and forwards one batch. Returns how many packets there were.
    @inline(never)
    mutating func poll(_ queue: UnsafeMutablePointer<ReceiveQueue>) -> Int {
        let n = Int(cdpdk_rx_burst(queue.pointee.device, queue.pointee.queue, packets, UInt16(Self.batch)))
        guard n > 0 else { return 0 }
        let waited = dirtyCount > 0
        if !passAsOne(n, queue) {
            match(n, queue)
            act(n)
        }
        if dirtyCount > 0 {
            if flushInterval == 0 { flush() } else if !waited { flushAt = cdpdk_cycles() &+ flushInterval }
        }
        cdpdk_add(queue.pointee.counters, UInt64(n))
        return n
    }

    @inline(__always)
    func tally(_ counter: ThreadCounter, _ n: UInt64) { cdpdk_add(counters + counter.rawValue, n) }

    // MARK: Act

    /// Gathers the TCP flags of those of a flow's packets that are TCP over IP.
    @inline(never)
    private static func countFlags(
        _ e: UnsafeMutablePointer<FlowEntry>, _ shape: HeaderShape, _ packets: UnsafeMutablePointer<Mbuf?>, _ count: Int
    ) {
        let (protocolAt, headerAt) = (shape.protocolOffset, shape.networkOffset)
        let at = headerAt + (shape.isIPv6 ? 40 : 20)
        for k in 0..<count {
            let m = packets[k].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            // A flow that looks at little has packets with options, too.
            guard p[protocolAt] == 6, shape.isIPv6 || p[headerAt] == 0x45, Int(cdpdk_first_length(m)) >= at + 20 else { continue }
            FlowEntry.add(e, tcpFlags: UInt16(p[at + 12] & 0xf) << 8 | UInt16(p[at + 13]))
        }
    }

    /// The shape of a flow's packets.
    @inline(__always)
    private func shape(of e: UnsafeMutablePointer<FlowEntry>) -> HeaderShape { HeaderShape(store.patterns[e.pointee.subtable].shape) }

    /// Passes a batch whose packets all have the flow of the last one, when the first bytes tell that and the flow sends or drops:
    /// one look at each packet then, and nothing is written but the flow's counts. False: nothing was done.
    @inline(__always)
    private mutating func passAsOne(_ n: Int, _ queue: UnsafeMutablePointer<ReceiveQueue>) -> Bool {
        let index = queue.pointee.last
        guard queue.pointee.runs > Self.maybeRuns, index != 0 else { return false }
        let e = store.entries + Int(index)
        let kind = e.pointee.kind
        let pattern = store.patterns[e.pointee.subtable]
        guard pattern.window.isAll, kind == .output || kind == .drop, e.pointee.inPort == queue.pointee.port else { return false }
        let key = e.pointee.key
        let shape = HeaderShape(pattern.shape)
        let packets = self.packets
        var size = 0
        var isTCP = false
        if pattern.isPrefixOnly {
            let protocolAt = shape.protocolOffset
            let minimum = Int(pattern.minimumLength)
            for i in 0..<n {
                let m = packets[i].unsafelyUnwrapped
                let p = cdpdk_data(m).unsafelyUnwrapped
                guard pattern.window.agrees(p, key), Int(cdpdk_first_length(m)) >= minimum else { return false }
                size &+= Int(cdpdk_length(m))
                isTCP = p[protocolAt] == 6 || isTCP
            }
        } else if shape == .ipv4Transport {
            for i in 0..<n {
                let m = packets[i].unsafelyUnwrapped
                let p = cdpdk_data(m).unsafelyUnwrapped
                let length = Int(cdpdk_length(m))
                let plain = HeaderShape.plainProtocol(p, readable: Int(cdpdk_first_length(m)), length: length)
                guard plain != 0, pattern.window.agrees(p, key) else { return false }
                size &+= length
                isTCP = plain == 6 || isTCP
            }
        } else {
            return false
        }
        if isTCP, e.pointee.countsFlags { Self.countFlags(e, shape, packets, n) }
        tally(.runHits, UInt64(n))
        tally(.hits, UInt64(n))
        let ticks = UInt32(truncatingIfNeeded: cdpdk_cycles() >> FlowEntry.tickBits)
        FlowEntry.count(e, n, size, ticks: ticks)
        if kind == .output {
            transmit(packets, n, Int(e.pointee.output))
        } else {
            tally(.drops, UInt64(n))
            cdpdk_free_all(packets, UInt32(n))
        }
        queue.pointee.runs = min(Self.surelyRuns, queue.pointee.runs &+ 1)
        return true
    }

    /// Does with the packets of the batch what their flows say.
    @inline(never)
    private mutating func act(_ n: Int) {
        let ticks = UInt32(truncatingIfNeeded: cdpdk_cycles() >> FlowEntry.tickBits)
        let (packets, flows, entries, mayBeTCP) = (self.packets, self.flows, store.entries, self.mayBeTCP)
        // Packets in a row that leave by one queue, whatever flows they have, are those from `first` on that are done.
        var (first, queue) = (0, 0)
        var hits = 0
        var i = 0
        while i < n {
            let index = flows[i]
            let e = entries + Int(index)
            var size = Int(cdpdk_length(packets[i].unsafelyUnwrapped))
            var j = i &+ 1
            while j < n, flows[j] == index {
                size &+= Int(cdpdk_length(packets[j].unsafelyUnwrapped))
                j &+= 1
            }
            // The bits of these packets.
            if mayBeTCP & ((2 &<< UInt64(j &- 1)) &- (1 &<< UInt64(i))) != 0, e.pointee.countsFlags {
                Self.countFlags(e, shape(of: e), packets + i, j &- i)
            }
            if e.pointee.kind == .output {
                let output = Int(e.pointee.output)
                if output != queue {
                    if first < i { transmit(packets + first, i &- first, queue) }
                    (first, queue) = (i, output)
                }
                hits &+= j &- i
                FlowEntry.count(e, j &- i, size, ticks: ticks)
            } else {
                // In the order of arrival.
                if first < i { transmit(packets + first, i &- first, queue) }
                first = j
                hits &+= actOnOthers(i, j, size, index, ticks)
            }
            i = j
        }
        if first < n { transmit(packets + first, n &- first, queue) }
        tally(.hits, UInt64(hits))
        if dropCount > 0 {
            tally(.drops, UInt64(dropCount))
            cdpdk_free_all(dropped, UInt32(dropCount))
            dropCount = 0
        }
        if overCount > 0 { handOver() }
    }

    /// Packets of one flow that does not just send. Returns how many of them are hits that are yet to be counted.
    @inline(never)
    private mutating func actOnOthers(_ first: Int, _ end: Int, _ size: Int, _ index: UInt32, _ ticks: UInt32) -> Int {
        let e = store.entries + Int(index)
        switch e.pointee.kind {
        case .output: transmit(packets + first, end &- first, Int(e.pointee.output))
        case .drop:
            for k in first..<end {
                dropped[dropCount] = packets[k]
                dropCount &+= 1
            }
        case .program:
            let program = store.program(index)
            for k in first..<end { execute(program, packets[k].unsafelyUnwrapped) }
        case .recirculate:
            recirculate(first, end, e, ticks)
            return 0
        case .punt, .free:
            // The main thread counts these.
            keep(first, end)
            return 0
        }
        FlowEntry.count(e, end &- first, size, ticks: ticks)
        return end &- first
    }

    /// Leaves packets of the batch to the main thread.
    @inline(__always)
    private mutating func keep(_ first: Int, _ end: Int) {
        for k in first..<end {
            over[overCount] = packets[k]
            overCount &+= 1
        }
    }

    /// Has packets of the batch, whose flow says so, looked up again by their hash, and does what is found.
    @inline(never)
    private mutating func recirculate(_ first: Int, _ end: Int, _ e: UnsafeMutablePointer<FlowEntry>, _ ticks: UInt32) {
        lookUpAgain(first, end, Int(e.pointee.output))
        var done = 0
        // Each packet for itself: the next has another hash.
        for k in first..<end {
            let length = Int(cdpdk_length(packets[k].unsafelyUnwrapped))
            guard flows[k] != 0, actAgain(k, length, ticks) else {
                keep(k, k &+ 1)
                continue
            }
            done &+= 1
            FlowEntry.count(e, 1, length, ticks: ticks)
        }
        tally(.hits, UInt64(done))
        tally(.recirculations, UInt64(done))
    }

    /// Does what the flow of recirculated packet `k` says. False: the main thread must, and the packet is as it was.
    @inline(__always)
    private mutating func actAgain(_ k: Int, _ length: Int, _ ticks: UInt32) -> Bool {
        let (index, m) = (flows[k], packets[k].unsafelyUnwrapped)
        let e = store.entries + Int(index)
        if e.pointee.countsFlags { Self.countFlags(e, shape(of: e), packets + k, 1) }
        switch e.pointee.kind {
        case .output:
            var own: Mbuf? = m
            transmit(&own, 1, Int(e.pointee.output))
        case .drop:
            tally(.drops, 1)
            cdpdk_free(m)
        case .program:
            execute(store.program(index), m)
        case .recirculate, .punt, .free: return false
        }
        FlowEntry.count(e, 1, length, ticks: ticks)
        return true
    }

    /// Gives copies of packets to the main thread, as far as it has room.
    ///
    /// The few packets that a thread receives into and sends from again and again lie side by side in its caches. Were they given away,
    /// those that come instead from afar would take their places one by one, and all traffic would be slower, long after.
    @inline(never)
    private mutating func handOver() {
        let count = overCount
        overCount = 0
        var copies = 0
        let room = min(count, Int(cdpdk_ring_room(upcalls)))
        withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: Self.batch) { copied in
            while copies < room, let copy = cdpdk_copy_to(over[copies].unsafelyUnwrapped, upcallPool) {
                copied[copies] = UnsafeMutableRawPointer(copy)
                copies &+= 1
            }
            // There is room, for nobody else puts anything there.
            _ = cdpdk_ring_put(upcalls, copied.baseAddress, UInt32(copies))
        }
        cdpdk_free_all(over, UInt32(count))
        tally(.handedOver, UInt64(copies))
        tally(.lost, UInt64(count &- copies))
        mustWake = true
    }

    /// Runs a program on a packet, which ends with it.
    @inline(never)
    private mutating func execute(_ program: UnsafeMutableBufferPointer<FlowStep>, _ packet: Mbuf) {
        var i = 0
        var p = UnsafeMutableRawPointer(cdpdk_data(packet).unsafelyUnwrapped)
        while i < program.count {
            let step = program[i]
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
    @inline(never)
    private mutating func transmit(_ run: UnsafeMutablePointer<Mbuf?>, _ count: Int, _ index: Int) {
        let q = transmitQueues + index
        guard q.pointee.isOpen else {
            drop(run, count, at: q)
            return
        }
        // Many go as they lie.
        if count >= Self.batch / 2, q.pointee.count == 0 {
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
