// A database being served: its state, its file, and the translation between the two.
import Glibc
import Vlog

/// A database and where it is kept. Confined to its server's event loop.
final class OVSDBServedDatabase {
    private static let log = Vlog.module("ovsdb_server")
    let database: OVSDBDatabase
    private let file: OVSDBFile?
    /// Clients may not change it (the `_Server` database).
    let isReadOnly: Bool

    /// A database in memory only.
    init(schema: OVSDBSchema, isReadOnly: Bool) {
        database = OVSDBDatabase(schema: schema)
        file = nil
        self.isReadOnly = isReadOnly
    }

    /// Opens the file at `path`, or creates it with `schema`. An existing file's own schema counts.
    init(path: String, schema: OVSDBSchema) throws {
        var loaded: OVSDBDatabase?
        let file = try OVSDBFile(path: path) { number, record in
            if number == 0 {
                loaded = OVSDBDatabase(schema: try OVSDBSchema(json: record))
            } else {
                try loaded.map { try OVSDBServedDatabase.replay(record, $0) }
            }
        }
        if let loaded {
            if loaded.schema.version != schema.version {
                OVSDBServedDatabase.log.warn("\(path): schema version \(loaded.schema.version) is not \(schema.version)")
            }
            database = loaded
        } else {
            try file.append(schema.json, durable: true)
            database = OVSDBDatabase(schema: schema)
        }
        self.file = file
        isReadOnly = false
    }

    /// Applies a record of the file. Values are whole, or differences where `_is_diff` says so.
    private static func replay(_ record: JSON, _ database: OVSDBDatabase) throws {
        guard let object = record.objectValue else { throw OVSDBError.syntax(record, "transaction is not an object") }
        let isDifference = object["_is_diff"]?.boolValue ?? false
        var delta = OVSDBDelta()
        for (name, rows) in object where !name.hasPrefix("_") {
            guard let table = database.tables[name] else { throw OVSDBError("unknown table", "No table named \(name).") }
            guard let rows = rows.objectValue else { throw OVSDBError.syntax(rows, "object expected") }
            for (key, content) in rows {
                guard let uuid = UUID(key) else { throw OVSDBError.syntax(.string(key), "not a valid UUID") }
                let old = table.rows[uuid]
                guard let columns = content.objectValue else {
                    delta.tables[name, default: [:]][uuid] = (old, nil)
                    continue
                }
                var row = old ?? OVSDBStoredRow(data: table.defaults, version: .random())
                for (column, value) in columns where !column.hasPrefix("_") {
                    guard let position = table.position[column] else {
                        throw OVSDBError("unknown column", "No column \(column) in table \(name).")
                    }
                    let type = table.columns[position].type
                    let difference = isDifference && old != nil && type.max > 1
                    let datum = try OVSDBDatum(json: value, type: type, anySize: difference)
                    row.data[position] = difference ? row.data[position].applying(difference: datum) : datum
                }
                row.version = .random()
                delta.tables[name, default: [:]][uuid] = (old, row)
            }
        }
        database.apply(delta)
    }

    /// Writes a checked transaction to the file, and makes it the new state. On failure neither happened.
    func commit(_ delta: OVSDBDelta, comments: [String], durable: Bool) throws(OVSDBError) {
        if let file, var record = record(delta) {
            record["_date"] = .integer(OVSDBServedDatabase.now())
            if !comments.isEmpty { record["_comment"] = .string(comments.joined(separator: "\n")) }
            do throws(OVSDBFileError) {
                try file.append(.object(record), durable: durable)
            } catch {
                throw OVSDBError("I/O error", error.description)
            }
        }
        database.apply(delta)
        if let file, file.wantsCompaction {
            do { try compact() } catch { OVSDBServedDatabase.log.warn("\(file.path): compacting failed: \(error)") }
        }
    }

    private static func now() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// What of a transaction goes to disk; nil when it touched nothing but ephemeral columns.
    private func record(_ delta: OVSDBDelta) -> JSONObject? {
        var record = JSONObject()
        for (name, changes) in delta.tables {
            guard let table = database.tables[name] else { continue }
            var rows = JSONObject()
            for (uuid, change) in changes {
                guard let new = change.new else {
                    rows[uuid.description] = .null
                    continue
                }
                var columns = JSONObject()
                for (position, column) in table.columns.enumerated() where !column.isEphemeral {
                    let before = change.old?.data[position] ?? table.defaults[position]
                    if new.data[position] != before { columns[column.name] = new.data[position].json(column.type) }
                }
                if change.old == nil || !columns.isEmpty { rows[uuid.description] = .object(columns) }
            }
            if !rows.isEmpty { record[name] = .object(rows) }
        }
        return record.isEmpty ? nil : record
    }

    /// Rewrites the file without its history.
    func compact() throws {
        guard let file else { return }
        var delta = OVSDBDelta()
        for (name, table) in database.tables where !table.rows.isEmpty {
            delta.tables[name] = table.rows.mapValues { (nil, $0) }
        }
        var record = record(delta) ?? JSONObject()
        record["_date"] = .integer(OVSDBServedDatabase.now())
        record["_comment"] = "compacting database online"
        try file.replace([database.schema.json, .object(record)])
    }
}
