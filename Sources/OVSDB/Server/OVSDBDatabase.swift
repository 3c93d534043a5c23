// One database in memory: rows, indexes and references, changed only by whole transactions.
//
// A transaction is a set of new row values laid over the database. `check` completes it (garbage collection, weak
// references) or refuses it; `apply` makes it the new state. Both cost what was touched, not
// what is stored, because reference counts, weak back-references and index keys are kept up to date.

/// A stored row: one datum per column, in the order of ``OVSDBTable/columns``.
struct OVSDBStoredRow: Sendable, Equatable {
    var data: [OVSDBDatum]
    var version: UUID
}

struct OVSDBRowKey: Hashable, Sendable {
    let table: String
    let uuid: UUID
}

/// What a transaction changes: for each row its value before and after, nil where it does not exist.
struct OVSDBDelta {
    var tables: [String: [UUID: (old: OVSDBStoredRow?, new: OVSDBStoredRow?)]] = [:]
    var isEmpty: Bool { tables.isEmpty }
}

/// A table and its indexes.
struct OVSDBTable {
    let schema: OVSDBTableSchema
    let columns: [OVSDBColumnSchema]
    let position: [String: Int]
    let defaults: [OVSDBDatum]
    /// Positions of columns that refer to rows, by kind.
    let strongColumns: [Int]
    let weakColumns: [Int]
    let indexColumns: [[Int]]
    var rows: [UUID: OVSDBStoredRow] = [:]
    /// Per index, the row that has each combination of values.
    var indexes: [[[OVSDBDatum]: UUID]]

    init(_ schema: OVSDBTableSchema) {
        self.schema = schema
        let columns = schema.columnOrder.compactMap { schema.columns[$0] }
        let position = Dictionary(columns.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.columns = columns
        self.position = position
        defaults = columns.map(\.type.defaultDatum)
        func refers(_ column: OVSDBColumnSchema, _ kind: OVSDBReferenceType) -> Bool {
            [column.type.key, column.type.value].contains { $0?.refTable != nil && $0?.refType == kind }
        }
        strongColumns = columns.indices.filter { refers(columns[$0], .strong) }
        weakColumns = columns.indices.filter { refers(columns[$0], .weak) }
        indexColumns = schema.indexes.map { $0.compactMap { position[$0] } }
        indexes = Array(repeating: [:], count: schema.indexes.count)
    }

    /// The rows that `row` refers to, with the column each reference is in.
    func references(_ row: OVSDBStoredRow, _ kind: OVSDBReferenceType) -> [(column: Int, target: OVSDBRowKey)] {
        var found: [(Int, OVSDBRowKey)] = []
        for column in kind == .strong ? strongColumns : weakColumns {
            let type = columns[column].type
            for (base, atoms) in [(type.key, row.data[column].keys), (type.value, row.data[column].values)] {
                guard let base, let table = base.refTable, base.refType == kind else { continue }
                for case .uuid(let uuid) in atoms { found.append((column, OVSDBRowKey(table: table, uuid: uuid))) }
            }
        }
        return found
    }

    func indexKey(_ index: Int, _ row: OVSDBStoredRow) -> [OVSDBDatum] { indexColumns[index].map { row.data[$0] } }
}

/// A database. Confined to its server's event loop.
final class OVSDBDatabase {
    let schema: OVSDBSchema
    private(set) var tables: [String: OVSDBTable] = [:]
    private var strongCounts: [OVSDBRowKey: Int] = [:]
    private var weakSources: [OVSDBRowKey: Set<OVSDBRowKey>] = [:]

    /// New row values by table and identifier; nil deletes.
    typealias Changes = [String: [UUID: OVSDBStoredRow?]]

    init(schema: OVSDBSchema) {
        self.schema = schema
        for (name, table) in schema.tables { tables[name] = OVSDBTable(table) }
    }

    func row(_ key: OVSDBRowKey) -> OVSDBStoredRow? { tables[key.table]?.rows[key.uuid] }

    private func row(_ key: OVSDBRowKey, _ changes: Changes) -> OVSDBStoredRow? {
        if let changed = changes[key.table]?[key.uuid] { return changed }
        return row(key)
    }

    /// Completes and checks a transaction. Rows are garbage-collected and weak references to rows that
    /// are gone removed; then sizes and indexes must hold.
    func check(_ requested: Changes) throws(OVSDBError) -> OVSDBDelta {
        var changes = requested
        try collectGarbage(&changes)
        try dropWeakReferences(&changes)
        var delta = OVSDBDelta()
        for (name, rows) in changes {
            guard let table = tables[name] else { continue }
            for (uuid, new) in rows {
                let old = table.rows[uuid]
                if old?.data == new?.data { continue }
                var new = new
                new?.version = .random()
                delta.tables[name, default: [:]][uuid] = (old, new)
            }
        }
        for (name, rows) in delta.tables {
            guard let table = tables[name] else { continue }
            try checkSize(table, rows)
            try checkIndexes(table, rows)
        }
        return delta
    }

    private func collectGarbage(_ changes: inout Changes) throws(OVSDBError) {
        var counts: [OVSDBRowKey: Int] = [:]
        var candidates: [OVSDBRowKey] = []
        func adjust(_ key: OVSDBRowKey, _ row: OVSDBStoredRow, _ step: Int) {
            for (_, target) in tables[key.table]?.references(row, .strong) ?? [] where target != key {
                counts[target, default: strongCounts[target] ?? 0] += step
            }
        }
        for (name, rows) in changes {
            for (uuid, new) in rows {
                let key = OVSDBRowKey(table: name, uuid: uuid)
                if let old = row(key) { adjust(key, old, -1) }
                if let new { adjust(key, new, 1) }
                candidates.append(key)
            }
        }
        for (name, rows) in changes {
            guard let table = tables[name] else { continue }
            for case (let uuid, let new?) in rows {
                for (column, target) in table.references(new, .strong) where row(target, changes) == nil {
                    throw OVSDBError(
                        "referential integrity violation",
                        "Table \(name) column \(table.columns[column].name) row \(uuid) references "
                            + "nonexistent row \(target.uuid) in table \(target.table).")
                }
            }
        }
        for (name, rows) in changes {
            for case (let uuid, nil) in rows {
                let key = OVSDBRowKey(table: name, uuid: uuid)
                let count = counts[key] ?? strongCounts[key] ?? 0
                if count > 0 {
                    throw OVSDBError(
                        "referential integrity violation",
                        "cannot delete \(name) row \(uuid) because of \(count) remaining reference(s)")
                }
            }
        }
        candidates += counts.keys
        while let key = candidates.popLast() {
            guard tables[key.table]?.schema.isRoot == false, (counts[key] ?? strongCounts[key] ?? 0) == 0,
                let row = row(key, changes)
            else { continue }
            adjust(key, row, -1)
            changes[key.table, default: [:]][key.uuid] = .some(nil)
            candidates += (tables[key.table]?.references(row, .strong) ?? []).map(\.target)
        }
    }

    private func dropWeakReferences(_ changes: inout Changes) throws(OVSDBError) {
        var holders: Set<OVSDBRowKey> = []
        for (name, rows) in changes {
            for (uuid, new) in rows {
                let key = OVSDBRowKey(table: name, uuid: uuid)
                if new == nil { holders.formUnion(weakSources[key] ?? []) } else { holders.insert(key) }
            }
        }
        for key in holders {
            guard let table = tables[key.table], !table.weakColumns.isEmpty, var row = row(key, changes) else { continue }
            var dropped = false
            for column in table.weakColumns {
                let type = table.columns[column].type
                let before = row.data[column]
                func isGone(_ base: OVSDBBaseType?, _ atom: OVSDBAtom?) -> Bool {
                    guard let base, base.refType == .weak, let target = base.refTable, case .uuid(let uuid)? = atom else { return false }
                    return self.row(OVSDBRowKey(table: target, uuid: uuid), changes) == nil
                }
                let after = before.filter { !isGone(type.key, $0) && !isGone(type.value, $1) }
                guard after.count < before.count else { continue }
                guard after.count >= type.min else {
                    throw OVSDBError(
                        "constraint violation",
                        "Deletion of \(before.count - after.count) weak reference(s) to deleted (or "
                            + "never-existing) rows from column \"\(table.columns[column].name)\" in \"\(key.table)\" row \(key.uuid) "
                            + "caused this column to have an invalid number of elements.")
                }
                row.data[column] = after
                dropped = true
            }
            if dropped { changes[key.table, default: [:]][key.uuid] = .some(row) }
        }
    }

    private func checkSize(_ table: OVSDBTable, _ rows: [UUID: (old: OVSDBStoredRow?, new: OVSDBStoredRow?)]) throws(OVSDBError) {
        guard let limit = table.schema.maxRows else { return }
        let count = rows.values.reduce(table.rows.count) { $0 + ($1.new == nil ? 0 : 1) - ($1.old == nil ? 0 : 1) }
        guard count > limit else { return }
        throw OVSDBError(
            "constraint violation",
            "transaction causes \"\(table.schema.name)\" table to contain \(count) rows, "
                + "greater than the schema-defined limit of \(limit) row(s)")
    }

    private func checkIndexes(_ table: OVSDBTable, _ rows: [UUID: (old: OVSDBStoredRow?, new: OVSDBStoredRow?)]) throws(OVSDBError) {
        for index in table.indexes.indices {
            var seen: [[OVSDBDatum]: UUID] = [:]
            for (uuid, change) in rows {
                guard let new = change.new else { continue }
                let key = table.indexKey(index, new)
                var other = seen.updateValue(uuid, forKey: key)
                if other == nil, let stored = table.indexes[index][key], stored != uuid, rows[stored] == nil { other = stored }
                guard let other else { continue }
                let names = table.schema.indexes[index]
                let values = zip(key, table.indexColumns[index]).map { datum, column in
                    datum.json(table.columns[column].type).text()
                }
                func origin(_ uuid: UUID) -> String {
                    guard let change = rows[uuid] else {
                        return "existed in the database before this transaction and was not modified by the transaction"
                    }
                    return change.old == nil
                        ? "was inserted by this transaction"
                        : "existed in the database before this transaction, but modified by the transaction"
                }
                throw OVSDBError(
                    "constraint violation",
                    "Transaction causes multiple rows in \"\(table.schema.name)\" table to have "
                        + "identical values (\(values.joined(separator: ", "))) for index on column"
                        + (names.count == 1 ? "" : "s") + " \(names.map { "\"\($0)\"" }.joined(separator: ", ")).  "
                        + "First row, with UUID \(other), \(origin(other)).  Second row, with UUID \(uuid), \(origin(uuid)).")
            }
        }
    }

    /// Makes a checked transaction the new state.
    func apply(_ delta: OVSDBDelta) {
        for (name, rows) in delta.tables {
            guard tables[name] != nil else { continue }
            for (uuid, change) in rows {
                if let old = change.old { unlink(OVSDBRowKey(table: name, uuid: uuid), old) }
            }
            for (uuid, change) in rows {
                tables[name]?.rows[uuid] = change.new
                if let new = change.new { link(OVSDBRowKey(table: name, uuid: uuid), new) }
            }
        }
    }

    private func link(_ key: OVSDBRowKey, _ row: OVSDBStoredRow) {
        guard let table = tables[key.table] else { return }
        for (_, target) in table.references(row, .strong) where target != key { strongCounts[target, default: 0] += 1 }
        for (_, target) in table.references(row, .weak) { weakSources[target, default: []].insert(key) }
        for index in table.indexes.indices { tables[key.table]?.indexes[index][table.indexKey(index, row)] = key.uuid }
    }

    private func unlink(_ key: OVSDBRowKey, _ row: OVSDBStoredRow) {
        guard let table = tables[key.table] else { return }
        for (_, target) in table.references(row, .strong) where target != key {
            let count = (strongCounts[target] ?? 0) - 1
            strongCounts[target] = count > 0 ? count : nil
        }
        for (_, target) in table.references(row, .weak) {
            weakSources[target]?.remove(key)
            if weakSources[target]?.isEmpty == true { weakSources[target] = nil }
        }
        for index in table.indexes.indices {
            let value = table.indexKey(index, row)
            if table.indexes[index][value] == key.uuid { tables[key.table]?.indexes[index][value] = nil }
        }
    }
}
