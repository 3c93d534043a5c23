// What the `dpif-netdev/pmd-*` commands print of a thread, as the real daemon prints it.

import Dpif
import Glibc

extension ThreadReport {
    private static func ratio(_ a: UInt64, _ b: UInt64) -> String { (b == 0 ? 0 : Double(a) / Double(b)).fixed(2) }

    private var title: String {
        core.map { "pmd thread numa_id \(node) core_id \($0):\n" } ?? "main thread:\n"
    }

    /// dpif-netdev/pmd-stats-show.
    var statisticsText: String {
        let passes = received &+ recirculations
        let rows: [(String, String)] = [
            ("packets received", "\(received)"), ("packet recirculations", "\(recirculations)"),
            ("avg. datapath passes per packet", Self.ratio(passes, received)), ("phwol hits", "0"), ("mfex opt hits", "0"),
            ("simple match hits", "\(simpleHits)"), ("emc hits", "\(cacheHits)"), ("smc hits", "0"),
            ("megaflow hits", "\(megaflowHits)"),
            ("avg. subtable lookups per megaflow hit", Self.ratio(subtableLookups, megaflowHits)),
            ("miss with success upcall", "\(upcalls)"), ("miss with failed upcall", "\(lostUpcalls)"),
            ("avg. packets per output batch", core != nil ? Self.ratio(sent, sentBatches) : received == 0 ? "0.00" : "1.00"),
        ]
        var out = title + rows.map { "  \($0.0): \($0.1)\n" }.joined()
        let cycles = idleCycles &+ busyCycles
        guard core != nil, cycles > 0 else { return out }
        func share(_ part: UInt64) -> String { "\(part) (\((Double(part) / Double(cycles) * 100).fixed(2))%)" }
        out += "  idle cycles: \(share(idleCycles))\n  processing cycles: \(share(busyCycles))\n"
        guard received > 0 else { return out }
        out += "  avg cycles per packet: \(Self.ratio(cycles, received)) (\(cycles)/\(received))\n"
        return out + "  avg processing cycles per packet: \(Self.ratio(busyCycles, received)) (\(busyCycles)/\(received))\n"
    }

    /// dpif-netdev/pmd-rxq-show.
    var queuesText: String {
        var out = title + "  isolated : \(isIsolated)\n"
        func percent(_ usage: Int?) -> String { usage.map { String($0).leftPadded(2) + " %\n" } ?? "NOT AVAIL\n" }
        for queue in queues {
            let name = queue.port + String(repeating: " ", count: max(0, 16 - queue.port.utf8.count))
            out += "  port: \(name)  queue-id: \(String(queue.queue).leftPadded(2)) (enabled)   pmd usage: "
            out += percent(queue.usage)
        }
        return out + "  overhead: " + percent(overhead)
    }

    /// dpif-netdev/pmd-perf-show.
    var performanceText: String {
        let seconds = Double(duration) / 1000
        let hertz = Double(cyclesPerSecond)
        let iterations = idleIterations &+ busyIterations
        let cycles = idleCycles &+ busyCycles
        func percent(_ a: UInt64, _ b: UInt64) -> String { (b == 0 ? 0 : Double(a) / Double(b) * 100).fixed(1).leftPadded(5) }
        /// A label and a number, which ends in column 34.
        func row(_ label: String, _ n: UInt64) -> String { "  \(label):" + String(n).leftPadded(31 - label.count) }
        func perSecond(_ n: UInt64) -> String { String(Int(Double(n) / seconds / 1000)) }
        func microseconds(_ cycles: UInt64, _ n: UInt64) -> String { (n == 0 ? 0 : Double(cycles) / Double(n) / hertz * 1e6).fixed(2) }
        var out = "\nTime: \(Self.clock())\nMeasurement duration: \(seconds.fixed(3)) s\n\n" + title + "\n"
        out += "\(row("Iterations", iterations))  (\(microseconds(cycles, iterations)) us/it)\n"
        out += "\(row("- Used TSC cycles", cycles))  (\(percent(cycles, UInt64(max(1, seconds * hertz)))) % of total cycles)\n"
        out += "\(row("- idle iterations", idleIterations))  (\(percent(idleCycles, cycles)) % of used cycles)\n"
        out += "\(row("- busy iterations", busyIterations))  (\(percent(busyCycles, cycles)) % of used cycles)\n"
        out += "\(row("- sleep iterations", sleeps))  (\(percent(sleeps, iterations)) % of iterations)\n"
        out += "\(row("Sleep time (us)", sleptMicroseconds))  "
        out += "(\(sleeps == 0 ? 0 : sleptMicroseconds / sleeps) us/iteration avg.)\n"
        if received > 0 {
            let passes = received &+ recirculations
            out += "\(row("Rx packets", received))  (\(perSecond(received)) Kpps, \(busyCycles / received) cycles/pkt)\n"
            out += "\(row("Datapath passes", passes))  (\(Self.ratio(passes, received)) passes/pkt)\n"
            let hits: [(String, UInt64)] = [
                ("PHWOL", 0), ("MFEX Opt", 0), ("Simple Match", simpleHits), ("EMC", cacheHits), ("SMC", 0),
            ]
            for (name, n) in hits { out += "\(row("- \(name) hits", n))  (\(percent(n, passes)) %)\n" }
            out += "\(row("- Megaflow hits", megaflowHits))  (\(percent(megaflowHits, passes)) %, "
            out += "\(Self.ratio(subtableLookups, megaflowHits)) subtbl lookups/hit)\n"
            out += "\(row("- Upcalls", upcalls))  (\(percent(upcalls, passes)) %, 0.0 us/upcall)\n"
            out += "\(row("- Lost upcalls", lostUpcalls))  (\(percent(lostUpcalls, passes)) %)\n"
        } else {
            out += "\(row("Rx packets", 0))\n"
        }
        if sent > 0 {
            out += "\(row("Tx packets", sent))  (\(perSecond(sent)) Kpps)\n"
            out += "\(row("Tx batches", sentBatches))  (\(Self.ratio(sent, sentBatches)) pkts/batch)\n"
        } else {
            out += "\(row("Tx packets", 0))\n"
        }
        return out
    }

    /// The time of day, to the millisecond.
    private static func clock() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        localtime_r(&now.tv_sec, &parts)
        func two(_ n: Int32) -> String { (n < 10 ? "0" : "") + String(n) }
        let thousandths = String(now.tv_nsec / 1_000_000 + 1000).dropFirst()
        return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(thousandths)"
    }
}

extension Double {
    /// With so many digits behind the point.
    func fixed(_ digits: Int) -> String {
        guard isFinite, abs(self) < 1e15 else { return "0" }
        let scale = pow(10, Double(digits))
        let scaled = Int((abs(self) * scale).rounded())
        let whole = String(scaled / Int(scale))
        let sign = self < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return sign + whole }
        return "\(sign)\(whole)." + String(scaled % Int(scale)).leftPadded(digits, with: "0")
    }
}

extension String {
    func leftPadded(_ width: Int, with filler: Character = " ") -> String {
        String(repeating: filler, count: max(0, width - count)) + self
    }
}
