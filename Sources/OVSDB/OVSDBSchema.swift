// Database schemas (RFC 7047 section 3.2): tables, columns, types and constraints.

/// How a uuid column refers to rows of another table.
public enum OVSDBReferenceType: String, Sendable { case strong, weak }

/// The type of the keys or values of a column, with the constraints on them.
public struct OVSDBBaseType: Sendable, Hashable {
    public var type: OVSDBAtomicType
    /// The only values allowed, when not nil.
    public var allowed: OVSDBDatum?
    public var minInteger: Int64?
    public var maxInteger: Int64?
    public var minReal: Double?
    public var maxReal: Double?
    public var minLength: Int64?
    public var maxLength: Int64?
    public var refTable: String?
    public var refType: OVSDBReferenceType = .strong

    public init(_ type: OVSDBAtomicType) { self.type = type }

    init(json: JSON) throws(OVSDBError) {
        if let name = json.stringValue {
            guard let type = OVSDBAtomicType(rawValue: name) else { throw .syntax(json, "\"\(name)\" is not an atomic-type") }
            self.init(type)
            return
        }
        guard let object = json.objectValue, let type = object["type"]?.stringValue.flatMap(OVSDBAtomicType.init) else {
            throw .syntax(json, "Parsing ovsdb type failed: Required 'type' member is missing.")
        }
        self.init(type)
        if let allowed = object["enum"] {
            self.allowed = try OVSDBDatum(json: allowed, type: OVSDBColumnType(key: OVSDBBaseType(type), min: 1, max: .max))
        }
        minInteger = type == .integer ? object["minInteger"]?.integerValue : nil
        maxInteger = type == .integer ? object["maxInteger"]?.integerValue : nil
        minReal = type == .real ? object["minReal"]?.realValue : nil
        maxReal = type == .real ? object["maxReal"]?.realValue : nil
        minLength = type == .string ? object["minLength"]?.integerValue : nil
        maxLength = type == .string ? object["maxLength"]?.integerValue : nil
        if type == .uuid, let table = object["refTable"]?.stringValue {
            refTable = table
            if let kind = object["refType"]?.stringValue {
                guard let kind = OVSDBReferenceType(rawValue: kind) else {
                    throw .syntax(json, "refType must be \"strong\" or \"weak\" (not \"\(kind)\")")
                }
                refType = kind
            }
        }
    }

    /// Reads an atom and checks it.
    func atom(_ json: JSON, _ named: ((String) -> UUID?)?) throws(OVSDBError) -> OVSDBAtom {
        let atom = try OVSDBAtom(json: json, type: type, named: named)
        if let violation = violation(of: atom) { throw OVSDBError("constraint violation", violation) }
        return atom
    }

    /// Why the constraints do not allow `atom`, or nil.
    public func violation(of atom: OVSDBAtom) -> String? {
        if let allowed {
            guard !allowed.contains(atom) else { return nil }
            return "\(atom) is not one of the allowed values ([\(allowed.keys.map(\.description).joined(separator: ", "))])"
        }
        switch atom {
        case .integer(let value):
            return OVSDBBaseType.outside(value, minInteger, maxInteger, "\(value)", { String($0) })
        case .real(let value):
            return OVSDBBaseType.outside(value, minReal, maxReal, JSON.text(of: value), { JSON.text(of: $0) })
        case .string(let value):
            guard minLength != nil || maxLength != nil else { return nil }
            let length = Int64(value.unicodeScalars.count)
            if let minLength, length < minLength {
                return "\"\(value)\" length \(length) is less than minimum allowed length \(minLength)"
            }
            if let maxLength, length > maxLength {
                return "\"\(value)\" length \(length) is greater than maximum allowed length \(maxLength)"
            }
            return nil
        case .boolean, .uuid: return nil
        }
    }

    private static func outside<Number: Comparable>(
        _ value: Number, _ low: Number?, _ high: Number?, _ text: String,
        _ print: (Number) -> String
    ) -> String? {
        switch (low, high) {
        case (let low?, let high?) where value < low || value > high:
            "\(text) is not in the valid range \(print(low)) to \(print(high)) (inclusive)"
        case (let low?, nil) where value < low: "\(text) is less than minimum allowed value \(print(low))"
        case (nil, let high?) where value > high: "\(text) is greater than maximum allowed value \(print(high))"
        default: nil
        }
    }
}

/// The type of a column: a set of `min` to `max` keys, or a map when `value` is not nil.
public struct OVSDBColumnType: Sendable, Hashable {
    public var key: OVSDBBaseType
    public var value: OVSDBBaseType?
    public var min: Int
    /// `Int.max` means unlimited.
    public var max: Int

    public init(key: OVSDBBaseType, value: OVSDBBaseType? = nil, min: Int = 1, max: Int = 1) {
        self.key = key
        self.value = value
        self.min = min
        self.max = max
    }

    public var isMap: Bool { value != nil }
    public var isScalar: Bool { min == 1 && max == 1 && value == nil }
    public var isOptionalScalar: Bool { min == 0 && max == 1 && value == nil }

    init(json: JSON) throws(OVSDBError) {
        guard let object = json.objectValue else {
            self.init(key: try OVSDBBaseType(json: json))
            return
        }
        guard let key = object["key"] else {
            throw .syntax(json, "Parsing ovsdb type failed: Required 'key' member is missing.")
        }
        self.init(key: try OVSDBBaseType(json: key))
        if let value = object["value"] { self.value = try OVSDBBaseType(json: value) }
        if let low = object["min"] {
            guard let low = low.integerValue, low == 0 || low == 1 else { throw .syntax(json, "\"min\" must be 0 or 1") }
            min = Int(low)
        }
        if let high = object["max"] {
            if high.stringValue == "unlimited" {
                max = .max
            } else if let high = high.integerValue, high >= 1, high <= Int64(UInt32.max) {
                max = Int(high)
            } else {
                throw .syntax(json, "\"max\" must be a positive integer or \"unlimited\"")
            }
        }
        guard min <= max else { throw .syntax(json, "ovsdb type fails constraint checks") }
    }

    /// What a column of this type holds when nothing else was said.
    public var defaultDatum: OVSDBDatum {
        guard min > 0 else { return OVSDBDatum() }
        let key = key.allowed?.keys.first ?? key.type.defaultAtom
        guard let value else { return OVSDBDatum([key]) }
        return OVSDBDatum(pairs: [(key, value.allowed?.keys.first ?? value.type.defaultAtom)])
    }

    /// As error messages name it, e.g. "map of (string, string) pairs".
    public var name: String {
        if isScalar { return key.type.rawValue }
        let count = max == .max ? (min > 0 ? "\(min) or more " : "") : min > 0 ? "\(min) to \(max) " : "up to \(max) "
        guard let value else { return "set of \(count)\(key.type.rawValue)s" }
        return "map of \(count)(\(key.type.rawValue), \(value.type.rawValue)) pairs"
    }
}

/// A column of a table.
public struct OVSDBColumnSchema: Sendable {
    public let name: String
    public let type: OVSDBColumnType
    /// Not written to disk.
    public let isEphemeral: Bool
    /// May be set only by insert when false.
    public let isMutable: Bool
}

/// A table of a database.
public struct OVSDBTableSchema: Sendable {
    public let name: String
    public let columns: [String: OVSDBColumnSchema]
    /// Names in the schema's order.
    public let columnOrder: [String]
    public let maxRows: Int?
    /// Rows stay without being referred to.
    public let isRoot: Bool
    /// Sets of columns whose combined values no two rows share.
    public let indexes: [[String]]
}

/// A database schema.
public struct OVSDBSchema: Sendable {
    public let name: String
    public let version: String
    public let tables: [String: OVSDBTableSchema]
    /// Names in the schema's order.
    public let tableOrder: [String]
    /// The schema as it was given.
    public let json: JSON

    public init(json: JSON) throws(OVSDBError) {
        guard let object = json.objectValue else { throw .syntax(json, "Parsing database schema failed: Object expected.") }
        guard let name = object["name"]?.stringValue else {
            throw .syntax(json, "Parsing database schema failed: Required 'name' member is missing.")
        }
        guard let tables = object["tables"]?.objectValue else {
            throw .syntax(json, "Parsing database schema failed: Required 'tables' member is missing.")
        }
        var parsed: [String: OVSDBTableSchema] = [:]
        // Without any isRoot in the schema every table is a root (RFC 7047 section 3.2).
        let hasRoots = tables.values.contains { $0["isRoot"] != nil }
        for (name, table) in tables {
            parsed[name] = try OVSDBSchema.table(name, table, hasRoots: hasRoots)
        }
        for table in parsed.values {
            for column in table.columns.values {
                for base in [column.type.key, column.type.value] {
                    if let target = base?.refTable, parsed[target] == nil {
                        throw .syntax(nil, "Column \(column.name) in table \(table.name) refers to undefined table \(target)")
                    }
                }
            }
        }
        self.name = name
        version = object["version"]?.stringValue ?? ""
        self.tables = parsed
        tableOrder = tables.keys
        self.json = json
    }

    private static func table(_ name: String, _ json: JSON, hasRoots: Bool) throws(OVSDBError) -> OVSDBTableSchema {
        guard let columns = json["columns"]?.objectValue else {
            throw .syntax(json, "Parsing table schema for table \(name) failed: Required 'columns' member is missing.")
        }
        var parsed: [String: OVSDBColumnSchema] = [:]
        for (column, json) in columns {
            guard !column.hasPrefix("_") else { throw .syntax(json, "names beginning with \"_\" are reserved") }
            guard let type = json["type"] else {
                throw .syntax(json, "Parsing schema for column \(column) failed: Required 'type' member is missing.")
            }
            parsed[column] = OVSDBColumnSchema(
                name: column, type: try OVSDBColumnType(json: type),
                isEphemeral: json["ephemeral"]?.boolValue ?? false,
                isMutable: json["mutable"]?.boolValue ?? true)
        }
        var indexes: [[String]] = []
        for index in json["indexes"]?.arrayValue ?? [] {
            let names = (index.arrayValue ?? []).compactMap(\.stringValue)
            guard !names.isEmpty, names.allSatisfy({ parsed[$0] != nil }) else {
                throw .syntax(index, "index of table \(name) names an unknown column")
            }
            indexes.append(names)
        }
        return OVSDBTableSchema(
            name: name, columns: parsed, columnOrder: columns.keys,
            maxRows: json["maxRows"]?.integerValue.map { Int(clamping: $0) },
            isRoot: hasRoots ? json["isRoot"]?.boolValue ?? false : true, indexes: indexes)
    }
}
