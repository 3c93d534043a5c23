// Groups on the wire: modifications, descriptions, statistics and features.

import Flow

/// A bucket of a group as messages carry it.
public struct GroupBucket: Hashable, Sendable {
    public var id: UInt32 = .max
    public var weight: UInt16 = 0
    public var watchPort: OFPort = .none
    /// 0xffffffff: none.
    public var watchGroup: UInt32 = .max
    public var actions: [OFAction] = []
    public init() {}
    public var hasLiveness: Bool { watchPort != .none || watchGroup != .max }
}

/// How a select group chooses (the NTR extension's group property).
public struct GroupSelection: Hashable, Sendable {
    public var method = ""
    public var parameter: UInt64 = 0
    /// OXM entries of the fields to hash, as they came.
    public var fields: [UInt8] = []
    public init() {}
    /// The fields to hash, each with the bits that count. An entry's value is the mask.
    public var hashedFields: [(field: FieldID, mask: UInt128)] {
        var r = WireReader(fields)
        var out: [(field: FieldID, mask: UInt128)] = []
        while r.remaining >= 4 {
            guard let header = try? r.oxmHeader(), case .field(let entry) = header, !entry.hasMask,
                let mask = try? r.uint(size: entry.size)
            else { break }
            out.append((entry.field, mask & entry.field.row.allOnes))
        }
        return out.sorted { $0.field.rawValue < $1.field.rawValue }
    }
    /// Each entry is of a field and as long as that, and its value can be a mask of it.
    func checkFields() throws(OFError) {
        var r = WireReader(fields)
        while !r.isEmpty {
            let header = try r.oxmHeader()
            let (size, field): (Int, FieldID?) =
                switch header {
                case .field(let entry): (entry.size, entry.size == entry.field.row.bytes ? entry.field : nil)
                case .cookie(_, let size), .unknown(_, let size): (size, nil)
                }
            guard r.remaining >= size else { throw .bmcBadLen }
            let mask = try r.uint(size: size)
            guard let field else { throw .bmcBadField }
            guard field.row.maskable || mask & field.row.allOnes == field.row.allOnes else { throw .bmcBadMask }
        }
    }
    public var isDefault: Bool { method.isEmpty && parameter == 0 && fields.isEmpty }
}

/// OFPT_GROUP_MOD.
public struct GroupMod: Hashable, Sendable {
    public enum Command: UInt16, Hashable, Sendable {
        case add = 0, modify = 1, delete = 2, insertBucket = 3, removeBucket = 5
        /// Nicira's extension.
        case addOrModify = 0x8000
    }
    public static let all: UInt32 = 0xffff_fffc
    public static let maxID: UInt32 = 0xffff_ff00
    public static let bucketFirst: UInt32 = 0xffff_fffd
    public static let bucketLast: UInt32 = 0xffff_fffe
    public static let bucketAll: UInt32 = 0xffff_ffff

    public var command = Command.add
    /// OFPGT_*: 0 all, 1 select, 2 indirect, 3 fast failover.
    public var type: UInt8 = 0
    public var id: UInt32 = 0
    public var bucketID: UInt32 = GroupMod.bucketAll
    public var buckets: [GroupBucket] = []
    public var selection = GroupSelection()

    public static func decode(_ message: OFMessage, tunnelOptions: TunnelOptionMap?) throws(OFError) -> GroupMod {
        var r = message.body
        let v = message.version
        var g = GroupMod()
        // Nicira's extension of OpenFlow 1.0 has the form of 1.5.
        let isNew = v >= .v15 || v == .v10
        guard r.remaining >= (isNew ? 16 : 8) else { throw .brcBadLen }
        let command = try r.u16()
        g.type = try r.u8()
        try r.skip(1)
        g.id = try r.u32()
        let known = Command(rawValue: command)
        g.command = known ?? .add
        let context = ActionContext(version: v, tunnelOptions: tunnelOptions)
        if isNew {
            let length = Int(try r.u16())
            try r.skip(2)
            g.bucketID = try r.u32()
            // All buckets is what most commands are about, and none can be inserted behind all.
            let isAll = g.bucketID == bucketAll
            let isOne = known == .insertBucket || known == .removeBucket
            let isNamed = g.bucketID <= maxID || g.bucketID == bucketFirst || g.bucketID == bucketLast
            guard isAll ? known != .insertBucket : isOne && isNamed else { throw .gmfcBadBucket }
            var part = try r.part(length, error: .brcBadLen)
            while !part.isEmpty { g.buckets.append(try bucket15(&part, context)) }
            guard Set(g.buckets.map(\.id)).count == g.buckets.count else { throw .gmfcBadBucket }
            try g.decodeProperties(&r, of: known)
        } else {
            while !r.isEmpty {
                var bucket = try bucket11(&r, context)
                bucket.id = UInt32(truncatingIfNeeded: g.buckets.count)
                g.buckets.append(bucket)
            }
            if v >= .v13, known == .delete, !g.buckets.isEmpty { throw .gmfcInvalidGroup }
        }
        guard g.type <= 3 else { throw .gmfcBadType }
        if g.type == 2, known != .delete, g.buckets.count != 1 { throw .gmfcInvalidGroup }
        guard known != nil else { throw .gmfcBadCommand }
        try g.check()
        return g
    }

    private static func bucket11(_ r: inout WireReader, _ context: ActionContext) throws(OFError) -> GroupBucket {
        guard let length = r.peek16().map(Int.init), length >= 16, length <= r.remaining else { throw .gmfcBadBucket }
        guard length % 8 == 0 else { throw .brcBadLen }
        var p = try r.part(length, error: .gmfcBadBucket)
        var b = GroupBucket()
        try p.skip(2)
        b.weight = try p.u16()
        let port = OFPort(wire32: try p.u32())
        b.watchGroup = try p.u32()
        try p.skip(4)
        b.actions = try ActionCodec.decodeActionList(&p, length: p.remaining, context)
        guard let port else { throw .gmfcBadWatch }
        b.watchPort = port
        return b
    }

    private static func bucket15(_ r: inout WireReader, _ context: ActionContext) throws(OFError) -> GroupBucket {
        guard let length = r.peek16().map(Int.init), length >= 8, length <= r.remaining else {
            throw .gmfcBadBucket
        }
        var p = try r.part(length, error: .gmfcBadBucket)
        var b = GroupBucket()
        try p.skip(2)
        let actionLength = Int(try p.u16())
        b.id = try p.u32()
        guard actionLength <= p.remaining else { throw .gmfcBadBucket }
        b.actions = try ActionCodec.decodeActionList(&p, length: actionLength, context)
        guard b.id <= maxID else { throw .gmfcBadBucket }
        while !p.isEmpty {
            var (type, q) = try p.property()
            switch type {
            case 0: b.weight = try q.u16()
            case 1:
                guard let port = OFPort(wire32: try q.u32()) else { throw .gmfcBadWatch }
                b.watchPort = port
            case 2: b.watchGroup = try q.u32()
            default: throw .unknownProperty(type)
            }
        }
        return b
    }

    private mutating func decodeProperties(_ r: inout WireReader, of known: Command?) throws(OFError) {
        while !r.isEmpty {
            var (type, q) = try r.property()
            guard type == 0xffff else { throw .bpcBadType }
            guard try q.u32() == 0x154d, try q.u32() == 1 else { throw .bpcBadExpType }
            guard self.type <= 3 else { throw .gmfcBadType }
            guard self.type == 1 else { throw .bpcBadValue }
            guard let known else { throw .gmfcBadCommand }
            guard known == .add || known == .modify || known == .addOrModify else { throw .bpcBadValue }
            try q.skip(4)
            selection.method = try q.string(16)
            guard ["", "hash", "dp_hash"].contains(selection.method) else { throw .bpcBadValue }
            selection.parameter = try q.u64()
            selection.fields = q.rest()
            if selection.method == "hash" { try selection.checkFields() }
            if selection.method != "hash", selection.fields.contains(where: { $0 != 0 }) { throw .bpcBadValue }
        }
    }

    private func check() throws(OFError) {
        guard command != .removeBucket || buckets.isEmpty else { throw .gmfcBadBucket }
        for b in buckets {
            if b.weight != 0, type != 1, command != .insertBucket { throw .gmfcInvalidGroup }
            switch type {
            case 0, 2: if b.hasLiveness { throw .gmfcWatchUnsupported }
            case 3: if !b.hasLiveness { throw .gmfcInvalidGroup }
            default: break
            }
        }
        if command == .add || command == .addOrModify, id > GroupMod.maxID { throw .gmfcInvalidGroup }
    }
}

/// A group as descriptions and statistics tell it.
public struct GroupDescription: Sendable {
    public var id: UInt32
    public var type: UInt8
    public var buckets: [GroupBucket]
    public var selection = GroupSelection()

    public init(id: UInt32, type: UInt8, buckets: [GroupBucket]) {
        self.id = id
        self.type = type
        self.buckets = buckets
    }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        w.u8(type)
        w.u8(0)
        w.u32(id)
        let lengthAt = w.count
        let isNew = v >= .v15 || v == .v10
        if isNew {
            w.u16(0)
            w.zeros(6)
        }
        let first = w.count
        for b in buckets { encode(b, v, &w) }
        if isNew {
            w.patch16(w.count - first, at: lengthAt)
            if !selection.isDefault {
                let at = w.count
                w.u16(0xffff)
                w.u16(0)
                w.u32(0x154d)
                w.u32(1)
                w.u32(0)
                w.string(selection.method, size: 16)
                w.u64(selection.parameter)
                w.array(selection.fields)
                w.patch16(w.count - at, at: at + 2)
                w.pad8(from: at)
            }
        }
        w.patch16(w.count - start, at: start)
    }

    private func encode(_ b: GroupBucket, _ v: OFVersion, _ w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        if v >= .v15 || v == .v10 {
            w.u16(0)
            w.u32(b.id)
            let first = w.count
            ActionCodec.encodeActions(b.actions, version: v, to: &w)
            w.patch16(w.count - first, at: start + 2)
            func property(_ type: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void) {
                w.u16(type)
                w.u16(8)
                body(&w)
            }
            if type == 1 {
                property(0, &w) { w in
                    w.u16(b.weight)
                    w.zeros(2)
                }
            }
            if b.watchPort != .none { property(1, &w) { $0.u32(b.watchPort.wire32) } }
            if b.watchGroup != .max { property(2, &w) { $0.u32(b.watchGroup) } }
        } else {
            w.u16(b.weight)
            w.u32(b.watchPort.wire32)
            w.u32(b.watchGroup)
            w.u32(0)
            ActionCodec.encodeActions(b.actions, version: v, to: &w)
        }
        w.patch16(w.count - start, at: start)
    }
}

/// Counters of a group.
public struct GroupStats: Sendable {
    public var id: UInt32
    public var references: UInt32 = 0
    public var packets: UInt64 = 0
    public var bytes: UInt64 = 0
    public var durationSeconds: UInt32 = 0
    public var durationNanoseconds: UInt32 = 0
    public var buckets: [(packets: UInt64, bytes: UInt64)] = []

    public init(id: UInt32) { self.id = id }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        w.zeros(2)
        w.u32(id)
        w.u32(references)
        w.u32(0)
        w.u64(packets)
        w.u64(bytes)
        if v >= .v13 || v == .v10 {
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
        }
        for b in buckets {
            w.u64(b.packets)
            w.u64(b.bytes)
        }
        w.patch16(w.count - start, at: start)
    }
}

extension MultipartReply {
    /// The body of a group features reply: every type, with weights, liveness and chaining.
    public mutating func groupFeatures(_ version: OFVersion) {
        // OFPAT_* bits; those of OpenFlow 1.0 are its actions other than vendors'.
        let actions: UInt32 =
            switch version {
            case .v10: 0xfff
            case .v11: TableStats.actions11
            default: TableStats.actions12
            }
        append { w in
            w.u32(0xf)
            w.u32(7)
            for _ in 0..<4 { w.u32(0xffff_ff00) }
            for _ in 0..<4 { w.u32(actions) }
        }
    }
}
