// Keeps megaflows true: credits what the datapath counted to what a flow's translation touched, and removes flows that are idle or that
// translation would not give any more.

import Dpif
import Flow
import OpenFlow
import Packet

/// Where revalidation stands.
struct Revalidation {
    /// A pass under way: so many flows at a time, that the main thread is never kept for long. `flows` knows which are left.
    struct Pass {
        let started: Int64
        let idleLimit: Int64
        /// Gives statistics as long as it has some; the flows that it did not tell of are asked for then.
        var walk: (any FlowStatsWalk)?
    }
    var pass: Pass?
    /// When the last pass began, and the state of the bridges then.
    var lastBegun: Int64 = 0
    var generation: UInt64 = 1
    var passesBegun: UInt64 = 0
    /// Who wants to be told when that many passes were begun and completed.
    var waiting: [(passes: UInt64, done: () -> Void)] = []
    var averageFlowCount = 0
    /// How long the last pass took, in milliseconds.
    var duration: Int64 = 1

    /// For how long flows are looked at before others have their turn, and how many between looks at the clock.
    static let slice = Duration.milliseconds(1)
    static let leastSlice = Duration.microseconds(100)
    /// With packets that take so long there is no time for more than the least.
    static let busySlice = Duration.milliseconds(2)
    static let batch = 100
    /// From how many flows on a walk is worth its beginning.
    static let walkMinimum = 32
}

extension DatapathBacker {
    public var averageFlowCount: Int { revalidation.averageFlowCount }
    public var dumpDuration: Int64 { revalidation.duration }

    /// Does what is due: the datapath's own work, statistics and revalidation.
    public func run() {
        let start = ContinuousClock.now
        dpif.run()
        guard !isHolding else { return }
        let now = time.now
        if revalidation.pass == nil {
            let due = now - revalidation.lastBegun >= settings.maxRevalidator
            let dirty = generation != revalidation.generation && now - revalidation.lastBegun >= 20
            if due || dirty || !revalidation.waiting.isEmpty { beginPass() }
        }
        // Where packets wait they come first, but for a pass that is late: statistics are not to grow old.
        let begin = ContinuousClock.now
        let isLate = revalidation.pass.map { now - $0.started > settings.maxRevalidator } ?? false
        let length =
            isLate
            ? Revalidation.slice : max(Revalidation.leastSlice, min(Revalidation.slice, (Revalidation.busySlice - (begin - start)) / 2))
        let end = begin + length
        repeat { continuePass(limit: Revalidation.batch) } while revalidation.pass != nil && ContinuousClock.now < end
        // The rest soon, after others had their turn.
        if revalidation.pass != nil || !revalidation.waiting.isEmpty { onChange?() }
    }

    /// When `run` wants to be called again, in milliseconds of the clock.
    public var nextRun: Int64 {
        revalidation.lastBegun + (generation != revalidation.generation ? 20 : settings.maxRevalidator)
    }

    private func beginPass() {
        let now = time.now
        revalidation.lastBegun = now
        revalidation.generation = generation
        flows.beginPass()
        revalidation.passesBegun &+= 1
        revalidation.pass = Revalidation.Pass(
            started: now, idleLimit: flows.count > settings.flowLimit ? 100 : settings.maxIdle,
            walk: flows.count < Revalidation.walkMinimum ? nil : dpif.walkFlowStats())
    }

    /// Completes the pass under way.
    private func completePass() { while revalidation.pass != nil { continuePass(limit: .max) } }

    /// The next flows of a pass, and their statistics, nil for flows that the datapath does not have.
    private func nextFlows(_ current: inout Revalidation.Pass, limit: Int) -> (records: [DpFlowRecord], [DpFlowStats?]) {
        if let walk = current.walk {
            if let found = walk.next(about: limit) {
                var result: ([DpFlowRecord], [DpFlowStats?]) = ([], [])
                for told in found {
                    guard let entry = flows.visit(told.ufid) else { continue }
                    result.0.append(entry)
                    result.1.append(told.stats)
                }
                return result
            }
            current.walk = nil
        }
        let records = flows.visit(atMost: limit)
        return (records, dpif.flowStats(of: records))
    }

    private func continuePass(limit: Int) {
        guard var current = revalidation.pass else { return }
        revalidation.pass = nil
        var idle: [InstalledFlow] = []
        // One look at the clock for all of them.
        let now = time.now
        let (records, statistics) = nextFlows(&current, limit: limit)
        for i in records.indices {
            // They came from `flows`.
            let entry = unsafeDowncast(records[i], to: InstalledFlow.self)
            guard entry.isThere else { continue }
            guard let stats = statistics[i] else {
                forget(entry.ufid)
                continue
            }
            credit(stats, to: entry)
            if current.started - (stats.used ?? entry.created) > current.idleLimit {
                idle.append(entry)
            } else if entry.generation != generation {
                check(entry, now: now)
            }
        }
        delete(idle)
        guard !flows.isPassComplete else {
            revalidation.averageFlowCount = (revalidation.averageFlowCount + flows.count) / 2
            revalidation.duration = max(1, time.now - current.started)
            passCompleted()
            return
        }
        revalidation.pass = current
    }

    private func passCompleted() {
        guard !revalidation.waiting.isEmpty else { return }
        let begun = revalidation.passesBegun
        let done = revalidation.waiting.filter { $0.passes <= begun }
        revalidation.waiting.removeAll { $0.passes <= begun }
        for waiter in done { waiter.done() }
    }

    /// Credits statistics, and removes or updates what no longer holds: all of it, now.
    public func revalidate() {
        completePass()
        beginPass()
        completePass()
    }

    /// Translates an installed flow again, and keeps it only when the datapath would do the same.
    private func check(_ entry: InstalledFlow, now: Int64) {
        guard let port = port(of: entry.key) else {
            delete(entry)
            return
        }
        let translation = translate(entry.key, on: port, sideEffects: false, now: now)
        let (mask, wanted) = megaflow(translation, entry.key)
        var matched = entry.mask
        if EtherType.isMPLS(entry.key.ethType) {
            // A datapath's key has the labels that the packet has: what looked further down goes, as in the real daemon.
            for n in entry.key.mplsDepth..<maxMPLSLabels { matched.bits.setMPLSLSE(n, 0) }
        }
        if entry.key.isIP, entry.key.nwProto == (entry.key.ethType == EtherType.ipv4 ? IPProtocol.icmp : IPProtocol.icmpv6) {
            // Type and code have 8 bits in the datapath: what looked at more of their places goes, as in the real daemon.
            matched.bits.tpSrc &= 0xff
            matched.bits.tpDst &= 0xff
        }
        if entry.key.ethType != EtherType.nsh {
            // What was looked at of a service header that the packet has not goes, as in the real daemon.
            for word in Location.nshFlags.word...Location.nshC(3).word { matched.bits.words[word] = 0 }
        }
        guard translation.error != .noRecirculationContext, matched.isSuperset(of: translation.consulted ?? mask)
        else {
            delete(entry)
            return
        }
        entry.take(translation, in: recirculation, generation: generation)
        guard wanted != entry.actions else { return }
        entry.actions = wanted
        let flow = DpFlow(ufid: entry.ufid, key: entry.key, mask: entry.mask, actions: wanted)
        do throws(DpifError) {
            try dpif.putFlow(DpFlowPut(.modify, flow))
        } catch {
            delete(entry)
        }
    }

    func delete(_ entry: InstalledFlow) { delete([entry]) }

    private func delete(_ entries: [InstalledFlow]) {
        guard !entries.isEmpty else { return }
        let results = dpif.operate(entries.map { .delete($0.ufid, $0.key, $0.mask) })
        for (entry, result) in zip(entries, results) {
            if case .stats(let last) = result { credit(last, to: entry) }
            forget(entry.ufid)
        }
    }

    /// Credits what the datapath counted since the last time.
    private func credit(_ stats: DpFlowStats, to entry: InstalledFlow) {
        guard stats.packets > entry.credited.packets else { return }
        let packets = stats.packets &- entry.credited.packets
        var bytes = stats.bytes &- entry.credited.bytes
        let flags = stats.tcpFlags
        entry.credited = stats
        let used = stats.used ?? time.now
        for target in entry.targets {
            switch target {
            case .rule(let rule): rule.credit(packets: packets, bytes: bytes, used: used)
            case .table(let table, let matched): table.count(matched: matched, packets: packets)
            case .header(let size): bytes = bytes &+ packets &* UInt64(bitPattern: Int64(size))
            case .tunnel(let port, let sent):
                if sent { port.creditSent(packets: packets, bytes: bytes) } else { port.creditReceived(packets: packets, bytes: bytes) }
            case .neighbor(let bridge, let ip, let mac, let isAnswer): heard(ip, mac, on: bridge, isAnswer: isAnswer)
            case .missingNeighbor(let bridge, let ip, let source): ask(for: ip, on: bridge, from: source)
            case .patch(let out, let input):
                out.creditSent(packets: packets, bytes: bytes)
                input.creditReceived(packets: packets, bytes: bytes)
            case .normal(let owner, let bundle, let source, let vlan, let gratuitous):
                if owner.macs.learn(source, vlan: vlan, on: bundle, gratuitousARP: gratuitous) { owner.macTableChanged() }
            case .group(let group, let bucket): group.credit(bucket: bucket, packets: packets, bytes: bytes)
            case .netFlow(let netFlow, let flow, let output):
                netFlow.credit(flow, output: output, packets: packets, bytes: bytes, tcpFlags: flags, used: used)
            case .mirror(let mirror): mirror.credit(packets: packets, bytes: bytes)
            case .bond(let bond, let bucket): bond.credit(bucket: bucket, bytes: bytes)
            case .finTimeout(let rule, let idle, let hard):
                if flags & 5 != 0, rule.isInstalled { rule.reduce(idle: idle, hard: hard) }
            }
        }
    }

    /// Takes statistics and brings all flows up to date, now.
    public func synchronise() {
        // With very many flows the last pass must do: it is no older than `maxRevalidator`.
        guard flows.count <= synchronousLimit else { return }
        revalidate()
        if generation != revalidation.generation { revalidate() }
    }

    /// As `synchronise`, but takes its time where flows are very many. Calls `done` then, at once or later.
    public func synchronise(_ done: @escaping () -> Void) {
        guard flows.count > synchronousLimit else {
            synchronise()
            return done()
        }
        // The pass under way may have seen flows whose statistics are news by now.
        revalidation.waiting.append((revalidation.passesBegun &+ 1, done))
        onChange?()
    }

    /// Makes installed flows heed what changed, at once unless they are very many.
    public func catchUp() {
        guard flows.count <= synchronousLimit, generation != revalidation.generation else { return }
        revalidate()
    }
}

extension Rule {
    /// fin_timeout: lowers the timeouts to at most these.
    func reduce(idle: UInt16, hard: UInt16) {
        if idle != 0, idleTimeout == 0 || idleTimeout > idle { idleTimeout = idle }
        if hard != 0, hardTimeout == 0 || hardTimeout > hard { hardTimeout = hard }
    }
}
