// Rows of the replica, with typed access to their columns.

/// A row as last seen: plain data, cheap to copy. Columns that the server lacks, or whose value does
/// not have the type asked for, read as absent, so that an older schema is not an error.
public struct OVSDBRow: Sendable, Equatable {
    public let table: String
    public let uuid: UUID
    public internal(set) var columns: [String: OVSDBDatum]

    public init(table: String, uuid: UUID, columns: [String: OVSDBDatum]) {
        self.table = table
        self.uuid = uuid
        self.columns = columns
    }

    public subscript(column: String) -> OVSDBDatum? { columns[column] }

    private func first(_ column: String) -> OVSDBAtom? { columns[column]?.keys.first }
    private func all(_ column: String) -> [OVSDBAtom] { columns[column]?.keys ?? [] }

    /// "" when absent.
    public func string(_ column: String) -> String { optionalString(column) ?? "" }
    public func optionalString(_ column: String) -> String? { if case .string(let value)? = first(column) { value } else { nil } }
    /// 0 when absent.
    public func integer(_ column: String) -> Int64 { optionalInteger(column) ?? 0 }
    public func optionalInteger(_ column: String) -> Int64? { if case .integer(let value)? = first(column) { value } else { nil } }
    /// false when absent.
    public func bool(_ column: String) -> Bool { optionalBool(column) ?? false }
    public func optionalBool(_ column: String) -> Bool? { if case .boolean(let value)? = first(column) { value } else { nil } }
    public func optionalReal(_ column: String) -> Double? { if case .real(let value)? = first(column) { value } else { nil } }
    public func optionalUUID(_ column: String) -> UUID? { if case .uuid(let value)? = first(column) { value } else { nil } }

    /// Sets, in ascending order.
    public func strings(_ column: String) -> [String] { all(column).compactMap { if case .string(let value) = $0 { value } else { nil } } }
    public func integers(_ column: String) -> [Int64] { all(column).compactMap { if case .integer(let value) = $0 { value } else { nil } } }
    public func uuids(_ column: String) -> [UUID] { all(column).compactMap { if case .uuid(let value) = $0 { value } else { nil } } }

    /// A map between strings.
    public func map(_ column: String) -> [String: String] {
        guard let datum = columns[column] else { return [:] }
        var map: [String: String] = [:]
        for case (.string(let key), .string(let value)) in zip(datum.keys, datum.values) { map[key] = value }
        return map
    }

    /// A map from strings to rows, such as Open_vSwitch.datapaths.
    public func namedUUIDs(_ column: String) -> [String: UUID] {
        guard let datum = columns[column] else { return [:] }
        var map: [String: UUID] = [:]
        for case (.string(let key), .uuid(let value)) in zip(datum.keys, datum.values) { map[key] = value }
        return map
    }

    /// A map from integers to rows, such as QoS.queues.
    public func uuidMap(_ column: String) -> [Int64: UUID] {
        guard let datum = columns[column] else { return [:] }
        var map: [Int64: UUID] = [:]
        for case (.integer(let key), .uuid(let value)) in zip(datum.keys, datum.values) { map[key] = value }
        return map
    }

    /// A map from integers to integers, such as AutoAttach.mappings.
    public func numberMap(_ column: String) -> [Int64: Int64] {
        guard let datum = columns[column] else { return [:] }
        var map: [Int64: Int64] = [:]
        for case (.integer(let key), .integer(let value)) in zip(datum.keys, datum.values) { map[key] = value }
        return map
    }

    /// A map from strings to integers, such as Interface.statistics.
    public func integerMap(_ column: String) -> [String: Int64] {
        guard let datum = columns[column] else { return [:] }
        var map: [String: Int64] = [:]
        for case (.string(let key), .integer(let value)) in zip(datum.keys, datum.values) { map[key] = value }
        return map
    }
}

/// What one batch of updates did to a row.
public enum OVSDBRowChange: Sendable, Equatable {
    case inserted, deleted
    case modified(columns: Set<String>)
}

/// What one batch of updates did: per table, the rows it touched.
public struct OVSDBChanges: Sendable {
    public internal(set) var tables: [String: [UUID: OVSDBRowChange]] = [:]
    public var isEmpty: Bool { tables.isEmpty }
    public subscript(table: String) -> [UUID: OVSDBRowChange] { tables[table] ?? [:] }
    /// Whether any row of `table` changed.
    public func touches(_ table: String) -> Bool { tables[table] != nil }

    mutating func record(_ table: String, _ uuid: UUID, _ change: OVSDBRowChange) {
        tables[table, default: [:]][uuid] = change
    }
}

/// The columns of a table that a client follows.
public struct OVSDBTableSelection: Sendable {
    /// nil: every column of the server's schema.
    public var columns: [String]?
    /// Columns whose changes alone are not worth a callback, such as those that the client itself writes.
    public var silent: Set<String>

    public init(_ columns: [String]? = nil, silent: Set<String> = []) {
        self.columns = columns
        self.silent = silent
    }
}
