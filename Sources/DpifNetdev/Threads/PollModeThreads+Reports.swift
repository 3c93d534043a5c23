// What is told of the polling threads, and what follows from it: automatic balancing.

import CDPDK
import Dpif
import FastPath

extension PollModeThreads: DpifThreads {
    /// Takes a sample of how busy everything is, when it is time, and balances when that is asked for.
    func measure() {
        let now = time.now
        guard usage.isDue(now) else { return }
        var cycles: [QueueAssignment.ID: UInt64] = [:]
        for (id, worker) in polledBy {
            guard let device = ports[id.port]?.device.number else { continue }
            cycles[id] = worker.thread.queueCounters(device: device, queue: UInt16(id.queue)).cycles
        }
        usage.sample(
            now: now, queues: cycles,
            threads: workers.map {
                let busy = $0.thread.counter(.busyCycles)
                return ($0.thread.core, busy, busy &+ $0.thread.counter(.idleCycles))
            })
        balance(now)
    }

    private func balance(_ now: Int64) {
        let wanted = settings.balancing
        guard wanted.isOn, workers.count > 1 else {
            lastBalance = now
            return
        }
        guard now - lastBalance >= wanted.interval else { return }
        lastBalance = now
        guard workers.contains(where: { (usage.load(of: $0.thread.core, seconds: 60) ?? 0) >= wanted.loadThreshold }) else { return }
        let (queues, cores) = (queues, Self.cores(of: workers))
        let next = QueueAssignment(queues, cores: cores, algorithm: settings.algorithm, isolates: settings.isolates)
        func variance(_ coreOf: [QueueAssignment.ID: Int]) -> Double { QueueAssignment.variance(coreOf, queues, cores: cores) }
        let current = variance(polledBy.mapValues(\.thread.core))
        guard current > 0, (current - variance(next.coreOf)) * 100 / current >= Double(wanted.improvementThreshold) else { return }
        Self.log.info("PMD auto load balance detected cpu overload: rebalancing")
        rebalance()
    }

    func clearStatistics(core: Int?) {
        for worker in workers where core == nil || worker.thread.core == core {
            worker.cleared = counted(worker)
            worker.clearedAt = time.now
        }
        if core == nil { mainCleared = mainCounted }
    }

    func reports(seconds: Int) -> [ThreadReport] {
        var reports: [ThreadReport] = []
        for worker in workers.sorted(by: { $0.thread.core < $1.thread.core }) {
            var report = counted(worker)
            report.subtract(worker.cleared)
            let core = worker.thread.core
            report.core = core
            report.node = Self.node(of: core)
            report.isIsolated = isolated.contains(core)
            report.duration = max(1, time.now - worker.clearedAt)
            report.cyclesPerSecond = max(1, rte_get_tsc_hz())
            var used: Int? = 0
            for (id, _) in polledBy.filter({ $0.value === worker }).sorted(by: { $0.key < $1.key }) {
                guard let port = ports[id.port] else { continue }
                let percent = usage.percent(of: id, on: core, seconds: seconds)
                used = used.flatMap { sum in percent.map { sum + $0 } }
                report.queues.append(.init(port: port.device.name, queue: id.queue, usage: percent))
            }
            report.overhead = usage.load(of: core, seconds: seconds).flatMap { load in used.map { max(0, load - $0) } }
            reports.append(report)
        }
        var main = mainCounted
        main.subtract(mainCleared)
        return reports + [main]
    }

    /// The counters of a thread since it began.
    private func counted(_ worker: Worker) -> ThreadReport {
        let t = worker.thread
        var r = ThreadReport(core: t.core)
        let misses = t.counter(.cacheMisses)
        r.upcalls = t.counter(.handedOver)
        r.lostUpcalls = t.counter(.lost)
        r.simpleHits = t.counter(.runHits)
        let hits = t.counter(.hits)
        r.recirculations = t.counter(.recirculations)
        // What the cache did not name and was not handed over, subtables found.
        r.megaflowHits = misses > r.upcalls &+ r.lostUpcalls ? misses &- r.upcalls &- r.lostUpcalls : 0
        let found = hits &+ r.recirculations
        r.cacheHits = found > r.simpleHits &+ r.megaflowHits ? found &- r.simpleHits &- r.megaflowHits : 0
        r.subtableLookups = r.megaflowHits
        r.received = hits &+ r.upcalls &+ r.lostUpcalls
        r.sent = t.counter(.sent)
        r.sentBatches = t.counter(.sentBatches)
        r.busyCycles = t.counter(.busyCycles)
        r.idleCycles = t.counter(.idleCycles)
        r.busyIterations = t.counter(.batches)
        let all = t.counter(.iterations)
        r.idleIterations = all > r.busyIterations ? all &- r.busyIterations : 0
        r.sleeps = t.counter(.sleeps)
        r.sleptMicroseconds = t.counter(.sleptMicroseconds)
        return r
    }

    /// What the engine did on the main thread.
    var mainCounted: ThreadReport {
        var r = ThreadReport(core: nil)
        let stats = datapath.engineStats
        r.megaflowHits = stats.hit
        r.subtableLookups = stats.hit
        r.upcalls = stats.missed
        r.lostUpcalls = stats.lost
        r.received = stats.hit &+ stats.missed &+ stats.lost
        return r
    }
}

extension ThreadReport {
    /// Takes off what was counted before.
    mutating func subtract(_ old: ThreadReport) {
        for path: WritableKeyPath<ThreadReport, UInt64> in [
            \.received, \.recirculations, \.simpleHits, \.cacheHits, \.megaflowHits, \.subtableLookups, \.upcalls, \.lostUpcalls, \.sent,
            \.sentBatches, \.idleCycles, \.busyCycles, \.idleIterations, \.busyIterations, \.sleeps, \.sleptMicroseconds,
        ] {
            self[keyPath: path] = self[keyPath: path] >= old[keyPath: path] ? self[keyPath: path] - old[keyPath: path] : 0
        }
    }
}
