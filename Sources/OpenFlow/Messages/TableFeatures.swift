// OFPMP_TABLE_FEATURES: what the flows of a table may match and do.

import Flow

/// The features of one table. All tables have the same, except that each can only go to later ones.
public struct TableFeatures: Sendable {
    public var table: UInt8
    public var name: String
    public var maxEntries: UInt32

    public init(table: UInt8, name: String, maxEntries: UInt32) {
        self.table = table
        self.name = name
        self.maxEntries = maxEntries
    }

    private static let lastTable: UInt8 = 253
    /// OFPAT_* that OpenFlow 1.3 and later have and the switch carries out, but for output, group and set_field.
    private static let actions: [UInt16] = [0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let fields = Self.fields[v] ?? FieldHeaders(v)
        let start = w.count
        w.u16(0)
        w.u8(table)
        w.zeros(5)
        w.string(name, size: 32)
        w.u64(.max)
        w.u64(.max)
        w.u32(0)
        w.u32(maxEntries)
        for miss in [UInt16(0), 1] {
            property(miss, &w) { w in
                // A meter is an action since OpenFlow 1.5.
                for type in [UInt16(1), 2, 3, 4, 5, 6] where (type != 1 || table < Self.lastTable) && (type != 6 || v < .v15) {
                    w.u16(type)
                    w.u16(4)
                }
            }
            property(2 + miss, &w) { w in
                if table < Self.lastTable { for next in (table + 1)...Self.lastTable { w.u8(next) } }
            }
            for kind in [UInt16(4), 6] {
                property(kind + miss, &w) { w in
                    for type in Self.actions {
                        w.u16(type)
                        w.u16(4)
                    }
                }
                property(kind + 8 + miss, &w) { $0.array(fields.writable) }
            }
        }
        property(8, &w) { $0.array(fields.masked) }
        property(10, &w) { $0.array(fields.all) }
        w.patch16(w.count - start, at: start)
    }

    private func property(_ type: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void) {
        let start = w.count
        w.u16(type)
        w.u16(0)
        body(&w)
        w.patch16(w.count - start, at: start + 2)
        w.pad8(from: start)
    }

    /// Tools ask for the features of all tables before they do anything else, and all tables have the same fields.
    private static let fields: [OFVersion: FieldHeaders] = [.v13: FieldHeaders(.v13), .v14: FieldHeaders(.v14), .v15: FieldHeaders(.v15)]
}

/// The headers of fields, as one version has them.
private struct FieldHeaders: Sendable {
    var writable: [UInt8] = []
    var all: [UInt8] = []
    /// All, with the mask bit where the field can have one.
    var masked: [UInt8] = []

    init(_ v: OFVersion) {
        func headers(masks: Bool = false, _ select: (FieldRow) -> Bool) -> [UInt8] {
            var w = WireWriter(capacity: 1024)
            for field in FieldID.allCases where select(field.row) {
                w.oxmHeader(field, version: v.rawValue, hasMask: masks && field.row.maskable)
            }
            return w.bytes
        }
        writable = headers { $0.writable }
        all = headers { _ in true }
        masked = headers(masks: true) { _ in true }
    }
}

/// What a request wants of one table.
public struct TableFeaturesRequest: Sendable {
    /// OFPTFC_*.
    public enum Command: UInt8, Sendable { case replace = 0, modify, enable, disable }

    public var table: UInt8
    /// Before OpenFlow 1.5 always `replace`.
    public var command: Command
    public var name: String
    /// OFPTC_*.
    public var capabilities: UInt32
    public var maxEntries: UInt32

    /// The properties that a request with any has to have.
    private static let required: Set<UInt16> = [0, 2, 4, 6, 8, 10, 12, 14]

    /// Decodes one ofp_table_features with its properties.
    public static func decode(_ reader: inout WireReader, version: OFVersion) throws(OFError) -> TableFeaturesRequest {
        guard let length = reader.peek16().map(Int.init), length >= 64, length <= reader.remaining else { throw .bpcBadLen }
        var r = try reader.part(length, error: .bpcBadLen)
        try r.skip(2)
        let table = try r.u8()
        let number = try r.u8()
        try r.skip(4)
        guard let command = version >= .v15 ? Command(rawValue: number) : .replace else { throw .tffcBadCommand }
        let name = try r.array(32).prefix { $0 != 0 }
        try r.skip(16)
        let request = TableFeaturesRequest(
            table: table, command: command, name: String(decoding: name, as: UTF8.self), capabilities: try r.u32(),
            maxEntries: try r.u32())
        var seen: Set<UInt16> = []
        while !r.isEmpty {
            let type = try r.property().type
            guard type <= 15, type != 9, type != 11 else { throw .unknownProperty(type) }
            seen.insert(type)
        }
        let mayBeLeftOut = version >= .v15 && seen.isEmpty
        guard mayBeLeftOut || seen.isSuperset(of: required) else { throw .tffcBadFeatures }
        return request
    }
}
