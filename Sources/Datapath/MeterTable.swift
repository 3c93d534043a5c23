// Meters: token buckets that drop what exceeds a rate (OpenFlow 1.3 section 5.7), shared by the userspace datapaths.

import Dpif

final class MeterTable: DpifMeters {
    private struct Meter {
        var definition: DpMeter
        var stats: DpMeterStats
        /// Tokens left in each band's bucket, in thousandths of a packet or in bits.
        var tokens: [Int64]
        var filled: Int64
    }

    private var meters: [UInt32: Meter] = [:]
    private let time: TimeSource

    init(time: TimeSource) { self.time = time }

    func setMeter(_ id: UInt32, _ meter: DpMeter) throws(DpifError) {
        var stats = DpMeterStats()
        stats.bands = meter.bands.map { _ in (0, 0) }
        meters[id] = Meter(
            definition: meter, stats: stats, tokens: meter.bands.map { Self.capacity($0) }, filled: time.now)
    }

    func deleteMeter(_ id: UInt32) throws(DpifError) {
        guard meters.removeValue(forKey: id) != nil else { throw DpifError(2, "meter \(id)") }
    }

    func meterStats(_ id: UInt32) -> DpMeterStats? { meters[id]?.stats }

    /// A bucket holds the burst, or one second's worth where none is given; in thousandths.
    private static func capacity(_ band: DpMeter.Band) -> Int64 {
        Int64(band.burst == 0 ? band.rate : band.burst) * 1000
    }

    /// Takes one packet's worth from the buckets. False: the packet is to be dropped. A meter that is not there admits.
    func admits(_ id: UInt32, bytes: Int) -> Bool {
        guard var meter = meters[id] else { return true }
        let now = time.now
        let elapsed = max(0, min(now - meter.filled, 1_000_000))
        meter.filled = now
        meter.stats.packets += 1
        meter.stats.bytes += UInt64(bytes)
        let cost: Int64 = meter.definition.inPackets ? 1000 : Int64(bytes) * 8
        var exceeded: Int?
        for (i, band) in meter.definition.bands.enumerated() {
            // Rates are per second; kilobits a second are bits a millisecond.
            let gain = elapsed * Int64(band.rate)
            meter.tokens[i] = min(meter.tokens[i] + gain, Self.capacity(band))
            if meter.tokens[i] >= cost {
                meter.tokens[i] -= cost
            } else if exceeded == nil || band.rate > meter.definition.bands[exceeded!].rate {
                exceeded = i
            }
        }
        if let exceeded {
            meter.stats.bands[exceeded].packets += 1
            meter.stats.bands[exceeded].bytes += UInt64(bytes)
        }
        meters[id] = meter
        return exceeded == nil
    }
}
