// How busy threads and queues were over the last minute: samples of their cycle counters, every five seconds. What
// `dpif-netdev/pmd-rxq-show` prints, and what queues are dealt by.

/// Counters of cycles, sampled. A value; the main thread's.
struct ThreadUsage {
    /// Milliseconds between samples, and how many are kept.
    static let interval: Int64 = 5000
    static let kept = 12

    private struct Series {
        var last: UInt64
        /// Cycles of each interval, the latest last.
        var deltas: [UInt64] = []

        mutating func add(_ value: UInt64) {
            deltas.append(value >= last ? value - last : 0)
            if deltas.count > ThreadUsage.kept { deltas.removeFirst() }
            last = value
        }
        func sum(_ count: Int) -> UInt64 { deltas.suffix(count).reduce(0, &+) }
    }

    private var queues: [QueueAssignment.ID: Series] = [:]
    /// Busy and all cycles of each thread, by processor.
    private var busy: [Int: Series] = [:]
    private var total: [Int: Series] = [:]
    private(set) var sampledAt: Int64?

    /// Whether it is time for a sample.
    func isDue(_ now: Int64) -> Bool { sampledAt.map { now - $0 >= Self.interval || now < $0 } ?? true }

    mutating func sample(
        now: Int64, queues current: [QueueAssignment.ID: UInt64], threads: [(core: Int, busy: UInt64, total: UInt64)]
    ) {
        sampledAt = now
        for (id, cycles) in current {
            if queues[id] == nil { queues[id] = Series(last: cycles) } else { queues[id]?.add(cycles) }
        }
        queues = queues.filter { current[$0.key] != nil }
        let cores = Set(threads.map(\.core))
        for thread in threads {
            if busy[thread.core] == nil {
                busy[thread.core] = Series(last: thread.busy)
                total[thread.core] = Series(last: thread.total)
            } else {
                busy[thread.core]?.add(thread.busy)
                total[thread.core]?.add(thread.total)
            }
        }
        busy = busy.filter { cores.contains($0.key) }
        total = total.filter { cores.contains($0.key) }
    }

    /// The queue is polled by another thread, which counts from zero.
    mutating func forget(_ id: QueueAssignment.ID) { queues[id] = nil }

    /// Cycles of a queue in all of the time that is remembered.
    func cycles(of id: QueueAssignment.ID) -> UInt64 { queues[id]?.sum(Self.kept) ?? 0 }

    private static func intervals(_ seconds: Int) -> Int { max(1, min(kept, (seconds + 4) / 5)) }

    /// Percent of its thread that a queue took; nil before there is a sample.
    func percent(of id: QueueAssignment.ID, on core: Int, seconds: Int) -> Int? {
        let n = Self.intervals(seconds)
        guard let series = queues[id], !series.deltas.isEmpty, let all = total[core]?.sum(n), all > 0 else { return nil }
        return Int(min(100, series.sum(n) &* 100 / all))
    }

    /// Percent of a thread that was busy.
    func load(of core: Int, seconds: Int) -> Int? {
        let n = Self.intervals(seconds)
        guard let busy = busy[core], !busy.deltas.isEmpty, let all = total[core]?.sum(n), all > 0 else { return nil }
        return Int(min(100, busy.sum(n) &* 100 / all))
    }
}
