// The in-memory copy of the followed tables, and how update notifications change it.

/// Rows by table and identifier, with the types needed to read updates.
struct OVSDBReplica {
    /// The followed columns that the server has.
    var types: [String: [String: OVSDBColumnType]] = [:]
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
                let previous = self.tables[table]?[uuid]
                let next =
                    try format == .update
                    ? replaced(table, uuid, previous, update, columns)
                    : modified(table, uuid, previous, update, columns)
                self.tables[table, default: [:]][uuid] = next
                if let change = OVSDBReplica.change(previous, next) { changes.record(table, uuid, change) }
            }
        }
        return changes
    }

    private func replaced(
        _ table: String, _ uuid: UUID, _ previous: OVSDBRow?, _ update: JSONObject,
        _ types: [String: OVSDBColumnType]
    ) throws(OVSDBError) -> OVSDBRow? {
        guard let new = update["new"] else { return nil }
        var row = previous ?? OVSDBRow(table: table, uuid: uuid, columns: types.mapValues(\.defaultDatum))
        for (column, datum) in try data(new, types, anySize: false) { row.columns[column] = datum }
        return row
    }

    private func modified(
        _ table: String, _ uuid: UUID, _ previous: OVSDBRow?, _ update: JSONObject,
        _ types: [String: OVSDBColumnType]
    ) throws(OVSDBError) -> OVSDBRow? {
        guard let operation = update.keys.first, let content = update[operation] else {
            throw .syntax(.object(update), "<row-update2> is empty")
        }
        switch operation {
        case "initial", "insert":
            // Columns with their default value are left out.
            var row = OVSDBRow(table: table, uuid: uuid, columns: types.mapValues(\.defaultDatum))
            for (column, datum) in try data(content, types, anySize: false) { row.columns[column] = datum }
            return row
        case "modify":
            guard var row = previous else { throw .syntax(nil, "cannot modify missing row \(uuid) in table \(table)") }
            for (column, datum) in try data(content, types, anySize: true) {
                guard let type = types[column] else { continue }
                // Sets and maps that may hold more than one element arrive as differences.
                row.columns[column] = type.max > 1 ? (row.columns[column] ?? OVSDBDatum()).applying(difference: datum) : datum
            }
            return row
        case "delete": return nil
        default: throw .syntax(.object(update), "<row-update2> has unexpected member \"\(operation)\"")
        }
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
