// Rates as the kernel's packet schedulers take them (linux/pkt_sched.h): bytes per second, and times in ticks of their clock.

import CLinux
import Glibc

/// Writes rates and times.
struct SchedulerClock {
    /// Ticks in a second, as /proc/net/psched says.
    let ticksPerSecond: Double

    static let shared = SchedulerClock()

    private init() {
        var numbers: [Double] = []
        if let f = fopen("/proc/net/psched", "r") {
            var buffer = [CChar](repeating: 0, count: 64)
            if fgets(&buffer, 64, f) != nil {
                let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                numbers = text.split(whereSeparator: { $0 == " " || $0 == "\n" }).compactMap { UInt32($0, radix: 16).map(Double.init) }
            }
            fclose(f)
        }
        // Nanoseconds in ticks of 64, as all kernels since 2.6.31 have them.
        guard numbers.count >= 3, numbers[1] > 0 else {
            ticksPerSecond = 1e9 / 64
            return
        }
        ticksPerSecond = numbers[0] / numbers[1] * numbers[2]
    }

    /// How long bytes take at a rate in bytes per second.
    func ticks(_ bytes: UInt64, at rate: UInt64) -> UInt32 {
        UInt32(clamping: Int64(min(Double(bytes) / Double(max(rate, 1)) * ticksPerSecond, Double(UInt32.max))))
    }

    func ticks(microseconds: UInt32) -> UInt32 {
        UInt32(clamping: Int64(min(Double(microseconds) * ticksPerSecond / 1e6, Double(UInt32.max))))
    }

    /// log2 of the bytes that an entry of a rate table stands for.
    private static let cellLog: UInt8 = 3

    /// struct tc_ratespec
    func writeRate(_ rate: UInt64, to w: inout NetlinkMessageWriter) {
        w.raw([Self.cellLog, 1])
        w.host(UInt16(0))
        w.host(Int16(-1))
        w.host(UInt16(0))
        w.host(UInt32(clamping: rate))
    }

    /// How long packets of each size take, for kernels that do not work it out.
    func writeTable(_ rate: UInt64, to w: inout NetlinkMessageWriter) {
        for i in 0..<256 { w.host(ticks(UInt64(i + 1) << UInt64(Self.cellLog), at: rate)) }
    }
}
