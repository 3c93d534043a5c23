// Executes the operations of one "transact" request (RFC 7047 section 5.2) on a database, without changing it.

/// The outcome of executing a transaction.
enum OVSDBOutcome {
    /// Every operation succeeded: results, and the rows to change.
    case done(results: [JSON], changes: OVSDBDatabase.Changes, comments: [String], durable: Bool)
    /// An operation failed: results up to its error, then nulls.
    case failed(results: [JSON])
    /// A "wait" does not hold yet; try again when the database has changed, for so many milliseconds (nil: for ever).
    case waiting(timeout: Int64?)
}

/// One run of a transaction's operations over a database.
struct OVSDBExecution {
    let database: OVSDBDatabase
    /// Whether the client holds the lock of that name.
    let holdsLock: (String) -> Bool
    /// Milliseconds since the transaction was received.
    let elapsed: Int64
    /// Whether changes are refused.
    let isReadOnly: Bool

    private var changes: OVSDBDatabase.Changes = [:]
    private var symbols: [String: UUID] = [:]
    private var inserted: Set<String> = []
    private var comments: [String] = []
    private var durable = false

    private enum Stop: Error { case wait(timeout: Int64?), error(OVSDBError) }

    init(database: OVSDBDatabase, isReadOnly: Bool, elapsed: Int64, holdsLock: @escaping (String) -> Bool) {
        self.database = database
        self.elapsed = elapsed
        self.isReadOnly = isReadOnly
        self.holdsLock = holdsLock
    }

    mutating func run(_ operations: [JSON]) -> OVSDBOutcome {
        var results: [JSON] = []
        for (index, operation) in operations.enumerated() {
            do throws(Stop) {
                results.append(try run(operation, index, operations.count))
            } catch {
                switch error {
                case .wait(let timeout): return .waiting(timeout: timeout)
                case .error(let error):
                    results.append(error.json)
                    results += Array(repeating: .null, count: operations.count - index - 1)
                    return .failed(results: results)
                }
            }
        }
        return .done(results: results, changes: changes, comments: comments, durable: durable)
    }

    // MARK: Members of operations

    /// The members of an operation, checked off as they are read.
    private struct Members {
        let json: JSON
        let prefix: String
        var object: JSONObject
        func fail(_ text: String) -> Stop { .error(.syntax(json, prefix + text)) }

        mutating func optional(_ name: String) -> JSON? {
            defer { object[name] = nil }
            return object[name]
        }
        mutating func required(_ name: String) throws(Stop) -> JSON {
            guard let value = optional(name) else { throw fail("Required '\(name)' member is missing.") }
            return value
        }
        mutating func string(_ name: String) throws(Stop) -> String {
            guard let value = try required(name).stringValue else { throw fail("Type mismatch for member '\(name)'.") }
            return value
        }
        mutating func array(_ name: String) throws(Stop) -> [JSON] {
            guard let value = try required(name).arrayValue else { throw fail("Type mismatch for member '\(name)'.") }
            return value
        }
        mutating func object(_ name: String) throws(Stop) -> JSONObject {
            guard let value = try required(name).objectValue else { throw fail("Type mismatch for member '\(name)'.") }
            return value
        }
        func finish() throws(Stop) {
            if let extra = object.keys.first { throw fail("Member '\(extra)' is present but not allowed here.") }
        }
    }

    private mutating func run(_ json: JSON, _ index: Int, _ count: Int) throws(Stop) -> JSON {
        let prefix = "Parsing ovsdb operation \(index + 1) of \(count) failed: "
        guard let object = json.objectValue else { throw .error(OVSDBError("syntax error", prefix + "Object expected.")) }
        var members = Members(json: json, prefix: prefix, object: object)
        let name = try members.string("op")
        if isReadOnly, ["insert", "update", "mutate", "delete"].contains(name) {
            throw .error(OVSDBError("not allowed", "\(name) operation not allowed on table in reserved database \(database.schema.name)"))
        }
        switch name {
        case "insert": return try insert(&members)
        case "select": return try select(&members)
        case "update": return try update(&members)
        case "mutate": return try mutate(&members)
        case "delete": return try delete(&members)
        case "wait": return try wait(&members)
        case "commit":
            guard let value = try members.required("durable").boolValue else { throw members.fail("Type mismatch for member 'durable'.") }
            try members.finish()
            durable = durable || value
            return [:]
        case "abort":
            try members.finish()
            throw .error(OVSDBError("aborted", "aborted by request"))
        case "comment":
            comments.append(try members.string("comment"))
            try members.finish()
            return [:]
        case "assert":
            let lock = try members.string("lock")
            try members.finish()
            guard holdsLock(lock) else { throw .error(OVSDBError("not owner", "Asserted lock \(lock) not held.")) }
            return [:]
        default: throw members.fail("No operation \"\(name)\"")
        }
    }

    private func table(_ members: inout Members) throws(Stop) -> OVSDBTable {
        let name = try members.string("table")
        guard let table = database.tables[name] else { throw members.fail("No table named \(name).") }
        return table
    }

    /// Maps errors about data.
    private mutating func data<Result>(_ body: (inout OVSDBExecution) throws(OVSDBError) -> Result) throws(Stop) -> Result {
        do throws(OVSDBError) { return try body(&self) } catch { throw .error(error) }
    }

    private mutating func symbol(_ name: String) -> UUID {
        if let known = symbols[name] { return known }
        let uuid = UUID.random()
        symbols[name] = uuid
        return uuid
    }

    private mutating func datum(_ json: JSON, _ type: OVSDBColumnType, anySize: Bool = false) throws(OVSDBError) -> OVSDBDatum {
        var pending = symbols
        defer { symbols = pending }
        return try OVSDBDatum(
            json: json, type: type, anySize: anySize,
            named: { name in
                if let known = pending[name] { return known }
                let uuid = UUID.random()
                pending[name] = uuid
                return uuid
            })
    }

    private mutating func condition(_ members: inout Members, _ table: OVSDBTable) throws(Stop) -> OVSDBCondition {
        let json = JSON.array(try members.array("where"))
        return try data { execution throws(OVSDBError) in
            var pending = execution.symbols
            defer { execution.symbols = pending }
            return try OVSDBCondition(
                json: json, table: table,
                named: { name in
                    if let known = pending[name] { return known }
                    let uuid = UUID.random()
                    pending[name] = uuid
                    return uuid
                })
        }
    }

    private mutating func row(_ object: JSONObject, _ table: OVSDBTable) throws(OVSDBError) -> [(Int, OVSDBDatum)] {
        var columns: [(Int, OVSDBDatum)] = []
        for (name, value) in object {
            if name == "_uuid" || name == "_version" {
                _ = try OVSDBAtom(json: value, type: .uuid)
                continue
            }
            guard let position = table.position[name] else {
                throw OVSDBError("unknown column", "No column \(name) in table \(table.schema.name).", syntax: .object(object))
            }
            columns.append((position, try datum(value, table.columns[position].type)))
        }
        return columns
    }

    /// Rows that match, in a stable order; a condition on `_uuid` looks at one row only.
    private func matching(_ table: OVSDBTable, _ condition: OVSDBCondition) -> [(UUID, OVSDBStoredRow)] {
        let changed = changes[table.schema.name] ?? [:]
        if let uuid = condition.uuid {
            guard let row = changed[uuid] ?? table.rows[uuid], condition.matches(uuid, row) else { return [] }
            return [(uuid, row)]
        }
        var found: [(UUID, OVSDBStoredRow)] = []
        for (uuid, row) in table.rows where changed[uuid] == nil && condition.matches(uuid, row) { found.append((uuid, row)) }
        for case (let uuid, let row?) in changed where condition.matches(uuid, row) { found.append((uuid, row)) }
        return found
    }

    // MARK: Operations

    private mutating func insert(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let object = try members.object("row")
        let name = members.optional("uuid-name")
        let explicit = members.optional("uuid")
        try members.finish()
        let uuid: UUID
        if let name {
            guard let name = name.stringValue, OVSDBAtom.isIdentifier(name) else {
                throw members.fail("Type mismatch for member 'uuid-name'.")
            }
            guard inserted.insert(name).inserted else {
                throw .error(
                    OVSDBError(
                        "duplicate uuid-name", "This \"uuid-name\" appeared on an earlier \"insert\" operation.", syntax: .string(name)))
            }
            uuid = symbol(name)
        } else if let explicit {
            guard let text = explicit.stringValue, let parsed = UUID(text) else { throw members.fail("Type mismatch for member 'uuid'.") }
            guard database.tables[table.schema.name]?.rows[parsed] == nil, changes[table.schema.name]?[parsed] == nil else {
                throw .error(
                    OVSDBError(
                        "duplicate uuid",
                        "This UUID would duplicate a UUID already present within the table or deleted within the same transaction.",
                        syntax: .string(text)))
            }
            uuid = parsed
        } else {
            uuid = .random()
        }
        var row = OVSDBStoredRow(data: table.defaults, version: .random())
        for (position, datum) in try data({ execution throws(OVSDBError) in try execution.row(object, table) }) {
            row.data[position] = datum
        }
        changes[table.schema.name, default: [:]][uuid] = .some(row)
        return ["uuid": ["uuid", .string(uuid.description)]]
    }

    /// The columns of a "columns" member, nil for every one.
    private func columns(_ members: inout Members, _ table: OVSDBTable) throws(Stop) -> [String]? {
        guard let json = members.optional("columns") else { return nil }
        guard let array = json.arrayValue else { throw members.fail("Type mismatch for member 'columns'.") }
        var names: [String] = []
        for element in array {
            guard let name = element.stringValue, name == "_uuid" || name == "_version" || table.position[name] != nil else {
                throw .error(.syntax(json, "\(element.stringValue ?? element.text()) is not a valid column name"))
            }
            guard !names.contains(name) else { throw .error(.syntax(json, "column \(name) mentioned more than once")) }
            names.append(name)
        }
        return names
    }

    private mutating func select(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let condition = try condition(&members, table)
        let names = try columns(&members, table) ?? ["_uuid", "_version"] + table.columns.map(\.name)
        try members.finish()
        var rows: [JSON] = []
        var seen: Set<JSON> = []
        let distinct = !names.contains("_uuid")
        for (uuid, row) in matching(table, condition) {
            let json = table.json(names, uuid, row)
            if distinct, !seen.insert(json).inserted { continue }
            rows.append(json)
        }
        return ["rows": .array(rows)]
    }

    private mutating func update(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let object = try members.object("row")
        let condition = try condition(&members, table)
        try members.finish()
        let columns = try data { execution throws(OVSDBError) in try execution.row(object, table) }
        for (position, _) in columns where !table.columns[position].isMutable {
            throw .error(
                OVSDBError(
                    "constraint violation", "Cannot update immutable column \(table.columns[position].name) in table \(table.schema.name).",
                    syntax: members.json))
        }
        let rows = matching(table, condition)
        for (uuid, row) in rows {
            var row = row
            for (position, datum) in columns { row.data[position] = datum }
            changes[table.schema.name, default: [:]][uuid] = .some(row)
        }
        return ["count": .integer(Int64(rows.count))]
    }

    private mutating func delete(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let condition = try condition(&members, table)
        try members.finish()
        let rows = matching(table, condition)
        for (uuid, _) in rows {
            if table.rows[uuid] == nil {
                changes[table.schema.name]?.removeValue(forKey: uuid)
            } else {
                changes[table.schema.name, default: [:]][uuid] = .some(nil)
            }
        }
        return ["count": .integer(Int64(rows.count))]
    }

    private mutating func mutate(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let list = try members.array("mutations")
        let condition = try condition(&members, table)
        try members.finish()
        var mutations: [OVSDBMutation] = []
        for json in list {
            mutations.append(
                try data { execution throws(OVSDBError) in
                    var pending = execution.symbols
                    defer { execution.symbols = pending }
                    return try OVSDBMutation(
                        json: json, table: table,
                        named: { name in
                            if let known = pending[name] { return known }
                            let uuid = UUID.random()
                            pending[name] = uuid
                            return uuid
                        })
                })
        }
        let rows = matching(table, condition)
        for (uuid, row) in rows {
            var row = row
            for mutation in mutations { try data { _ throws(OVSDBError) in try mutation.apply(to: &row, table) } }
            changes[table.schema.name, default: [:]][uuid] = .some(row)
        }
        return ["count": .integer(Int64(rows.count))]
    }

    private mutating func wait(_ members: inout Members) throws(Stop) -> JSON {
        let table = try table(&members)
        let timeout = members.optional("timeout")?.integerValue
        let condition = try condition(&members, table)
        let names = try columns(&members, table) ?? table.columns.map(\.name)
        let until = try members.string("until")
        let rows = try members.array("rows")
        try members.finish()
        guard until == "==" || until == "!=" else {
            throw .error(.syntax(.string(until), "\"until\" must be \"==\" or \"!=\""))
        }
        // Rows are compared as sets of their named columns' values.
        var expected: Set<JSON> = []
        for json in rows {
            guard let object = json.objectValue else { throw .error(.syntax(json, "row must be JSON object")) }
            var row = OVSDBStoredRow(data: table.defaults, version: .zero)
            for (position, datum) in try data({ execution throws(OVSDBError) in try execution.row(object, table) }) {
                row.data[position] = datum
            }
            expected.insert(table.json(names, object["_uuid"]?[1]?.stringValue.flatMap(UUID.init) ?? .zero, row))
        }
        let actual = Set(matching(table, condition).map { table.json(names, $0.0, $0.1) })
        if (actual == expected) == (until == "==") { return [:] }
        guard let timeout else { throw .wait(timeout: nil) }
        if timeout <= 0 { throw .error(OVSDBError("timed out", "\"where\" clause test failed")) }
        if elapsed >= timeout { throw .error(OVSDBError("timed out", "\"wait\" timed out after \(elapsed) ms")) }
        throw .wait(timeout: timeout)
    }
}

extension OVSDBTable {
    /// The named columns of a row as `<row>`.
    func json(_ names: [String], _ uuid: UUID, _ row: OVSDBStoredRow) -> JSON {
        var object = JSONObject()
        for name in names { object[name] = json(name, uuid, row) }
        return .object(object)
    }

    func json(_ name: String, _ uuid: UUID, _ row: OVSDBStoredRow) -> JSON {
        switch name {
        case "_uuid": ["uuid", .string(uuid.description)]
        case "_version": ["uuid", .string(row.version.description)]
        default: position[name].map { row.data[$0].json(columns[$0].type) } ?? .null
        }
    }
}
