// Which polling thread polls which receive queue (ovs-vswitchd.conf.db(5), other_config:pmd-rxq-assign, pmd-rxq-isolate, and
// Interface other_config:pmd-rxq-affinity). A pure function of queues, threads and what was measured, so that it can be tried without
// either, and so that automatic balancing can ask what another assignment would bring.

/// An assignment of receive queues to processors.
struct QueueAssignment: Equatable {
    /// How queues that are pinned to no processor are dealt.
    enum Algorithm: String {
        /// The busiest first, over the threads there and back.
        case cycles
        /// In the order of ports and queues, over the threads and again.
        case roundrobin
        /// The busiest first, each to the thread with the least to do.
        case group
    }

    /// A queue of a port; ordered by the port's number.
    struct ID: Hashable, Comparable {
        let port: UInt32
        let queue: Int
        static func < (a: ID, b: ID) -> Bool { (a.port, a.queue) < (b.port, b.queue) }
    }

    struct Queue {
        let id: ID
        /// The NUMA node of its device.
        let node: Int
        /// Processor cycles that it took in the time that is looked at.
        var load: UInt64 = 0
        /// The processor that pmd-rxq-affinity names.
        var pinned: Int?
    }

    struct Core: Hashable {
        let core: Int
        let node: Int
    }

    /// The processor of each queue.
    private(set) var coreOf: [ID: Int] = [:]
    /// Processors that poll pinned queues only.
    private(set) var isolated: Set<Int> = []
    /// Queues that are pinned to processors without a thread; they are dealt like others.
    private(set) var unpinnable: [ID] = []

    /// - Parameters:
    ///   - cores: the threads, in order; at least one.
    ///   - isolates: threads with pinned queues get no others (pmd-rxq-isolate).
    init(_ queues: [Queue], cores: [Core], algorithm: Algorithm, isolates: Bool) {
        guard !cores.isEmpty else { return }
        var loads: [Int: (cycles: UInt64, queues: Int)] = [:]
        func give(_ queue: Queue, _ core: Int) -> (ID, Int) {
            loads[core, default: (0, 0)].cycles &+= queue.load
            loads[core, default: (0, 0)].queues += 1
            return (queue.id, core)
        }
        var free: [Queue] = []
        for queue in queues.sorted(by: { $0.id < $1.id }) {
            if let pinned = queue.pinned, cores.contains(where: { $0.core == pinned }) {
                let (id, core) = give(queue, pinned)
                coreOf[id] = core
                if isolates { isolated.insert(pinned) }
            } else {
                if queue.pinned != nil { unpinnable.append(queue.id) }
                free.append(queue)
            }
        }
        if algorithm != .roundrobin { free.sort { ($1.load, $0.id) < ($0.load, $1.id) } }
        // When every thread is isolated, queues that nobody polls would be worse.
        let open = cores.filter { !isolated.contains($0.core) }
        let usable = open.isEmpty ? cores : open
        var turns: [Int: Int] = [:]
        for queue in free {
            let local = usable.filter { $0.node == queue.node }
            let candidates = local.isEmpty ? usable : local
            let chosen: Int
            switch algorithm {
            case .group:
                chosen =
                    candidates.min {
                        let (a, b) = (loads[$0.core] ?? (0, 0), loads[$1.core] ?? (0, 0))
                        return (a.cycles, a.queues) < (b.cycles, b.queues)
                    }?.core ?? candidates[0].core
            case .cycles, .roundrobin:
                let group = local.isEmpty ? -1 : queue.node
                let turn = turns[group, default: 0]
                turns[group] = turn + 1
                let n = candidates.count
                let isBack = algorithm == .cycles && turn / n % 2 == 1
                chosen = candidates[isBack ? n - 1 - turn % n : turn % n].core
            }
            let (id, core) = give(queue, chosen)
            coreOf[id] = core
        }
    }

    /// How unevenly the load lies on the threads: the variance of their sums.
    static func variance(_ coreOf: [ID: Int], _ queues: [Queue], cores: [Core]) -> Double {
        guard !cores.isEmpty else { return 0 }
        var sums = Dictionary(uniqueKeysWithValues: cores.map { ($0.core, 0.0) })
        for queue in queues { if let core = coreOf[queue.id] { sums[core, default: 0] += Double(queue.load) } }
        let mean = sums.values.reduce(0, +) / Double(sums.count)
        return sums.values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(sums.count)
    }

    /// The processors of `queue:core,queue:core...` (pmd-rxq-affinity); nil when the text is malformed.
    static func affinity(_ text: String) -> [Int: Int]? {
        var cores: [Int: Int] = [:]
        for item in text.split(separator: ",") {
            let sides = item.split(separator: ":", omittingEmptySubsequences: false).map { Int($0.filter { $0 != " " }) }
            guard sides.count == 2, let queue = sides[0], let core = sides[1], queue >= 0, core >= 0 else { return nil }
            cores[queue] = core
        }
        return cores
    }
}
