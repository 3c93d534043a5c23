// The in-memory copy of the followed tables, and how update notifications change it.

/// Rows by table and identifier, with the types needed to read updates.
struct OVSDBReplica {
    /// The followed columns that the server has.
    var types: [String: [String: OVSDBColumnType]] = [:] {
        didSet { defaults = types.mapValues { $0.mapValues(\.defaultDatum) } }
    }
    /// What rows hold where the server says nothing.
    private var defaults: [String: [String: OVSDBDatum]] = [:]
    var tables: [String: [UUID: OVSDBRow]] = [:]

    /// The wire formats of table updates.
    enum Format {
        /// RFC 7047 section 4.1.6: old and new rows.
        case update
        /// ovsdb-server(7), update2 and update3: initial, insert, modify (a difference), delete.
        case update2
    }

    /// Applies `<table-updates>`. An update that contradicts the replica or the schema throws; the
    /// caller must then resynchronize, as part of it may have been applied.
    mutating func apply(_ updates: JSON, _ format: Format) throws(OVSDBError) -> OVSDBChanges {
        guard let tables = updates.objectValue else { throw .syntax(updates, "<table-updates> is not an object") }
        var changes = OVSDBChanges()
        for (table, rows) in tables {
            guard let columns = types[table] else { throw .syntax(nil, "update to unknown table \(table)") }
            guard let rows = rows.objectValue else { throw .syntax(rows, "<table-update> for table \"\(table)\" is not an object") }
            for (key, update) in rows {
                guard let uuid = UUID(key) else { throw .syntax(nil, "<table-update> for table \"\(table)\" contains bad UUID \"\(key)\"") }
                guard let update = update.objectValue else { throw .syntax(update, "<row-update> is not an object") }
                let change =
                    try format == .update
                    ? replace(table, uuid, update, columns)
                    : modify(table, uuid, update, columns)
                if let change { changes.record(table, uuid, change) }
            }
        }
        return changes
    }

    private mutating func replace(
        _ table: String, _ uuid: UUID, _ update: JSONObject, _ types: [String: OVSDBColumnType]
    ) throws(OVSDBError) -> OVSDBRowChange? {
        guard let new = update["new"] else { return remove(table, uuid) }
        let data = try data(new, types, anySize: false)
        guard tables[table]?[uuid] == nil else { return assign(table, uuid, data) }
        return insert(table, uuid, data)
    }

    private mutating func modify(
        _ table: String, _ uuid: UUID, _ update: JSONObject, _ types: [String: OVSDBColumnType]
    ) throws(OVSDBError) -> OVSDBRowChange? {
        guard let operation = update.keys.first, let content = update[operation] else {
            throw .syntax(.object(update), "<row-update2> is empty")
        }
        switch operation {
        case "initial", "insert":
            // Columns with their default value are left out.
            return insert(table, uuid, try data(content, types, anySize: false))
        case "modify":
            guard let previous = tables[table]?[uuid]?.columns else {
                throw .syntax(nil, "cannot modify missing row \(uuid) in table \(table)")
            }
            var data = try data(content, types, anySize: true)
            // Sets and maps that may hold more than one element arrive as differences.
            for i in data.indices where types[data[i].0].map({ $0.max > 1 }) ?? false {
                data[i].1 = (previous[data[i].0] ?? OVSDBDatum()).applying(difference: data[i].1)
            }
            return assign(table, uuid, data)
        case "delete": return remove(table, uuid)
        default: throw .syntax(.object(update), "<row-update2> has unexpected member \"\(operation)\"")
        }
    }

    private mutating func insert(_ table: String, _ uuid: UUID, _ data: [(String, OVSDBDatum)]) -> OVSDBRowChange? {
        var row = OVSDBRow(table: table, uuid: uuid, columns: defaults[table] ?? [:])
        for (column, datum) in data { row.columns[column] = datum }
        let previous = tables[table, default: [:]].updateValue(row, forKey: uuid)
        return OVSDBReplica.change(previous, row)
    }

    private mutating func remove(_ table: String, _ uuid: UUID) -> OVSDBRowChange? {
        tables[table]?.removeValue(forKey: uuid) == nil ? nil : .deleted
    }

    /// Sets columns of a row, where it is; nil: they were so already.
    private mutating func assign(_ table: String, _ uuid: UUID, _ data: [(String, OVSDBDatum)]) -> OVSDBRowChange? {
        guard let position = tables.index(forKey: table), let row = tables.values[position].index(forKey: uuid) else { return nil }
        var changed: Set<String> = []
        for (column, datum) in data where tables.values[position].values[row].columns[column] != datum {
            tables.values[position].values[row].columns[column] = datum
            changed.insert(column)
        }
        return changed.isEmpty ? nil : .modified(columns: changed)
    }

    private func data(
        _ json: JSON, _ types: [String: OVSDBColumnType],
        anySize: Bool
    ) throws(OVSDBError) -> [(String, OVSDBDatum)] {
        guard let object = json.objectValue else { throw .syntax(json, "<row> is not an object") }
        var data: [(String, OVSDBDatum)] = []
        for (column, value) in object {
            // The server may add _uuid and _version.
            guard let type = types[column] else { continue }
            data.append((column, try OVSDBDatum(json: value, type: type, anySize: anySize)))
        }
        return data
    }

    private static func change(_ previous: OVSDBRow?, _ next: OVSDBRow?) -> OVSDBRowChange? {
        switch (previous, next) {
        case (nil, nil): return nil
        case (nil, _?): return .inserted
        case (_?, nil): return .deleted
        case (let previous?, let next?):
            let columns = next.columns.filter { previous.columns[$0.key] != $0.value }.map(\.key)
            return columns.isEmpty ? nil : .modified(columns: Set(columns))
        }
    }

    /// What changed between two complete copies.
    func changes(since old: OVSDBReplica) -> OVSDBChanges {
        var changes = OVSDBChanges()
        for table in Set(tables.keys).union(old.tables.keys) {
            let new = tables[table] ?? [:]
            let previous = old.tables[table] ?? [:]
            for (uuid, row) in new {
                if let change = OVSDBReplica.change(previous[uuid], row) { changes.record(table, uuid, change) }
            }
            for uuid in previous.keys where new[uuid] == nil { changes.record(table, uuid, .deleted) }
        }
        return changes
    }
}
