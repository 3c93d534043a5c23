// Meters on the wire (OpenFlow 1.3 and later).

/// A meter's configuration.
public struct MeterConfig: Hashable, Sendable {
    public struct Band: Hashable, Sendable {
        public var rate: UInt32
        public var burst: UInt32
    }
    public var id: UInt32
    /// OFPMF_*: 1 kbit/s, 2 packets/s, 4 burst, 8 statistics.
    public var flags: UInt16
    public var bands: [Band]

    public func encode(to w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        w.u16(flags)
        w.u32(id)
        for band in bands {
            w.u16(1)
            w.u16(16)
            w.u32(band.rate)
            w.u32(band.burst)
            w.u32(0)
        }
        w.patch16(w.count - start, at: start)
    }
}

/// OFPT_METER_MOD.
public struct MeterMod: Hashable, Sendable {
    public enum Command: UInt16, Hashable, Sendable { case add = 0, modify, delete }
    public static let all: UInt32 = 0xffff_ffff
    public static let controller: UInt32 = 0xffff_fffe
    public static let slowPath: UInt32 = 0xffff_fffd

    public var command: Command
    public var meter: MeterConfig
    /// What is wrong with its flags or bands, where something is: told when nothing else is wrong.
    public var problem: OFError?

    public static func decode(_ message: OFMessage) throws(OFError) -> MeterMod {
        var r = message.body
        guard let command = Command(rawValue: try r.u16()) else { throw .mmfcBadCommand }
        let flags = try r.u16()
        let id = try r.u32()
        var mod = MeterMod(command: command, meter: MeterConfig(id: id, flags: flags, bands: []))
        guard command != .delete else { return mod }
        guard flags & 3 != 3 else { throw .mmfcBadFlags }
        if flags & 3 == 0 || flags & ~15 != 0 { mod.problem = .mmfcBadFlags }
        while !r.isEmpty {
            guard let type = r.peek16(), let length = r.peek16(2).map(Int.init), length >= 12, length <= r.remaining
            else { throw .brcBadLen }
            var p = try r.part(length)
            guard type == 1 || type == 2 else { throw .mmfcBadBand }
            guard length == 16 else { throw .brcBadLen }
            try p.skip(4)
            let rate = try p.u32()
            guard rate != 0 else { throw .mmfcBadRate }
            // Remarking is known, and nowhere done.
            guard type == 1 else {
                mod.problem = mod.problem ?? .mmfcBadBand
                continue
            }
            let burst = try p.u32()
            mod.meter.bands.append(MeterConfig.Band(rate: rate, burst: flags & 4 != 0 ? burst : 0))
        }
        return mod
    }

    /// The meter that a statistics or configuration request asks about.
    public static func decodeRequest(_ message: OFMessage) throws(OFError) -> UInt32 {
        var r = message.body
        return try r.u32()
    }
}

/// Counters of a meter.
public struct MeterStats: Sendable {
    public var id: UInt32
    public var flows: UInt32 = 0
    public var packets: UInt64 = 0
    public var bytes: UInt64 = 0
    public var durationSeconds: UInt32 = 0
    public var durationNanoseconds: UInt32 = 0
    public var bands: [(packets: UInt64, bytes: UInt64)] = []

    public init(id: UInt32) { self.id = id }

    public func encode(to w: inout WireWriter) {
        let start = w.count
        w.u32(id)
        w.u16(0)
        w.zeros(6)
        w.u32(flows)
        w.u64(packets)
        w.u64(bytes)
        w.u32(durationSeconds)
        w.u32(durationNanoseconds)
        for b in bands {
            w.u64(b.packets)
            w.u64(b.bytes)
        }
        w.patch16(w.count - start, at: start + 4)
    }
}

extension MultipartReply {
    /// The body of a meter features reply.
    public mutating func meterFeatures(maxMeters: UInt32, maxBands: UInt8) {
        append { w in
            w.u32(maxMeters)
            w.u32(maxMeters == 0 ? 0 : 2)
            w.u32(maxMeters == 0 ? 0 : 15)
            w.u8(maxBands)
            w.u8(0)
            w.u16(0)
        }
    }
}
