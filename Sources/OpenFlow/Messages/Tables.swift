// Messages about tables: statistics, descriptions and modifications.

/// OFPTC_TABLE_MISS_* of OpenFlow 1.1 and 1.2.
public enum TableMissConfig: UInt32, Hashable, Sendable { case controller = 0, `continue` = 1, drop = 2 }

/// One table in a reply to a table statistics request.
public struct TableStats: Sendable {
    public var table: UInt8
    public var name = ""
    public var maxEntries: UInt32 = 1_000_000
    public var activeCount: UInt32 = 0
    public var lookupCount: UInt64 = 0
    public var matchedCount: UInt64 = 0
    /// What a miss does in 1.1 and 1.2; nil: the version's default.
    public var miss: TableMissConfig?

    public init(table: UInt8) { self.table = table }

    /// The fields of OpenFlow 1.2 that a flow may match: bits by OXM field number.
    private static let match12: UInt64 = 0x101f_ffff_fffd
    /// Those that set_field may set.
    private static let set12: UInt64 = 0xf_ffff_fbdd
    /// OFPAT_* of OpenFlow 1.1 and of 1.2 that are supported.
    public static let actions11: UInt32 = 0x01ff_e7ff
    public static let actions12: UInt32 = 0x03ff_8001

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        w.u8(table)
        // goto_table, write_metadata, write_actions, apply_actions, clear_actions; the last table has none to go to.
        let instructions: UInt32 = table == 253 ? 0x3c : 0x3e
        switch v {
        case .v10:
            w.zeros(3)
            w.string(name, size: 32)
            w.u32(0x3f_ffff)
            w.u32(maxEntries)
            w.u32(activeCount)
        case .v11:
            w.zeros(7)
            w.string(name, size: 32)
            w.u32(0xfbff)
            w.u32(0xfbff)
            w.u32(instructions)
            w.u32(Self.actions11)
            w.u32(Self.actions11)
            // The real daemon's numbers, which are not those that a table_mod has.
            switch miss {
            case nil: w.u32(0)
            case .controller: w.u32(1)
            case .continue: w.u32(2)
            case .drop: w.u32(3)
            }
            w.u32(maxEntries)
            w.u32(activeCount)
        case .v12:
            w.zeros(7)
            w.string(name, size: 32)
            w.u64(Self.match12)
            w.u64(Self.match12)
            w.u32(Self.actions12)
            w.u32(Self.actions12)
            w.u64(Self.set12)
            w.u64(Self.set12)
            w.u64(.max)
            w.u64(.max)
            w.u32(instructions)
            w.u32(miss?.rawValue ?? 0)
            w.u32(maxEntries)
            w.u32(activeCount)
        default:
            w.zeros(3)
            w.u32(activeCount)
        }
        w.u64(lookupCount)
        w.u64(matchedCount)
    }
}

/// OFPT_TABLE_MOD and a table's description.
public struct TableConfig: Hashable, Sendable {
    public var table: UInt8
    /// Only in 1.1 and 1.2.
    public var miss: TableMissConfig?
    /// 1.4 and later; nil: left alone.
    public var evicts: Bool?
    /// OFPTMPEF14_*: 1 other, 2 importance, 4 lifetime.
    public var evictionFlags: UInt32?
    /// 1.4 and later. `vacancy` non-nil: on, with these limits in percent.
    public var vacancyOn: Bool?
    public var vacancyDown: UInt8 = 0
    public var vacancyUp: UInt8 = 0
    public var vacancyNow: UInt8 = 0

    public init(table: UInt8) { self.table = table }

    public static func decode(_ message: OFMessage) throws(OFError) -> TableConfig {
        var r = message.body
        guard r.remaining >= 8 else { throw .brcBadLen }
        var c = TableConfig(table: try r.u8())
        try r.skip(3)
        let config = try r.u32()
        let v = message.version
        switch v {
        case .v10: break
        case .v11, .v12:
            guard r.isEmpty else { throw .brcBadLen }
            c.miss = TableMissConfig(rawValue: config & 3) ?? .controller
        case .v13:
            guard r.isEmpty else { throw .brcBadLen }
        case .v14, .v15:
            c.evicts = config & 4 != 0
            c.vacancyOn = config & 8 != 0
            while !r.isEmpty {
                var (type, p) = try r.property()
                switch type {
                case 2:
                    guard p.remaining == 4 else { throw .bpcBadLen }
                    // Which flows go first is the switch's choice.
                    _ = try p.u32()
                case 3:
                    guard p.remaining == 4 else { throw .bpcBadLen }
                    c.vacancyDown = try p.u8()
                    c.vacancyUp = try p.u8()
                    guard c.vacancyDown <= c.vacancyUp else { throw .bpcBadValue }
                    guard c.vacancyUp <= 100 else { throw .bpcBadValue }
                    guard try p.u8() == 0 else { throw .bpcBadValue }
                // The real daemon's, other than for properties of other messages.
                default: throw .brcBadType
                }
            }
        }
        return c
    }

    /// One item of a table description reply, or of a table status message.
    public func encodeDescription(version v: OFVersion, to w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        w.u8(table)
        w.u8(0)
        w.u32((evicts == true ? 4 : 0) | (vacancyOn == true ? 8 : 0))
        w.u16(2)
        w.u16(8)
        w.u32(evictionFlags ?? 7)
        if vacancyOn == true {
            w.u16(3)
            w.u16(8)
            w.u8(vacancyDown)
            w.u8(vacancyUp)
            w.u8(vacancyNow)
            w.u8(0)
        }
        w.patch16(w.count - start, at: start)
    }

    /// OFPT_TABLE_STATUS; reason 3 vacancy down, 4 vacancy up.
    public func status(version v: OFVersion, reason: UInt8) -> [UInt8] {
        var w = WireWriter.message(v, 31, xid: 0)
        w.u8(reason)
        w.zeros(7)
        encodeDescription(version: v, to: &w)
        return w.finish()
    }
}
