// What Open_vSwitch.other_config says of polling threads (ovs-vswitchd.conf.db(5)).

import Dpif
import Glibc

/// How polling threads work. A value.
struct ThreadSettings: Equatable {
    /// The processors to poll on (pmd-cpu-mask); never empty.
    var cores: [Int] = [0]
    /// pmd-rxq-assign.
    var algorithm = QueueAssignment.Algorithm.cycles
    /// pmd-rxq-isolate.
    var isolates = true
    /// Microseconds (pmd-maxsleep).
    var maxSleep = 0
    /// For how many microseconds packets may wait for others that leave by the same queue (tx-flush-interval).
    var flushInterval = 0
    /// One of so many flows is remembered in the cache that is looked at first, 0: none (emc-insert-inv-prob); nil: all.
    var cacheInsertion: UInt32?
    var balancing = Balancing()

    /// Automatic balancing of load (pmd-auto-lb and its relatives).
    struct Balancing: Equatable {
        var isOn = false
        /// Milliseconds between looks.
        var interval: Int64 = 60_000
        /// Percent of a processor that a thread must be busy.
        var loadThreshold = 95
        /// Percent of variance that another assignment must save.
        var improvementThreshold = 25
    }

    init() {}

    /// Throws EINVAL for a mask that is none; other values that make no sense count as not given, as in the real daemon.
    init(_ config: [String: String]) throws(DpifError) {
        let mask = try Self.cores(config["pmd-cpu-mask"] ?? "")
        if !mask.isEmpty { cores = mask }
        algorithm = config["pmd-rxq-assign"].flatMap { QueueAssignment.Algorithm(rawValue: $0) } ?? .cycles
        // Only "group" can share a thread between pinned queues and others.
        isolates = config["pmd-rxq-isolate"] != "false" || algorithm != .group
        func number(_ key: String, _ range: ClosedRange<Int>) -> Int? {
            config[key].flatMap { Int($0) }.flatMap { range.contains($0) ? $0 : nil }
        }
        maxSleep = number("pmd-maxsleep", 0...10_000) ?? 0
        flushInterval = number("tx-flush-interval", 0...1_000_000) ?? 0
        cacheInsertion = number("emc-insert-inv-prob", 0...Int(UInt32.max)).map { UInt32($0) }
        balancing.isOn = config["pmd-auto-lb"] == "true"
        balancing.interval = Int64(number("pmd-auto-lb-rebal-interval", 0...20_000).map { max(1, $0) } ?? 1) * 60_000
        balancing.loadThreshold = number("pmd-auto-lb-load-threshold", 0...100) ?? 95
        balancing.improvementThreshold = number("pmd-auto-lb-improvement-threshold", 0...100) ?? 25
    }

    /// The processors of a mask in hexadecimal, with or without "0x", that this machine has.
    static func cores(_ mask: String) throws(DpifError) -> [Int] {
        let digits = mask.hasPrefix("0x") || mask.hasPrefix("0X") ? String(mask.dropFirst(2)) : mask
        var list: [Int] = []
        let online = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        for (i, digit) in digits.reversed().enumerated() {
            guard let value = digit.hexDigitValue else { throw DpifError(EINVAL, "pmd-cpu-mask \(mask)") }
            for bit in 0..<4 where value >> bit & 1 != 0 && 4 * i + bit < online { list.append(4 * i + bit) }
        }
        return list
    }
}
