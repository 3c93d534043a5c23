// Transactions of the replica client: collect operations, then commit them as one.

/// How a commit ended.
public enum OVSDBCommitStatus: Sendable, Equatable {
    /// There was nothing to change, so nothing was sent.
    case unchanged
    case success
    /// A condition failed, or the connection was lost: look at the replica and try again.
    case tryAgain
    /// The lock that this client asked for is not held.
    case notLocked
    case error(OVSDBError)
}

/// A set of changes that happen together or not at all. Confined to the client's event loop.
///
/// Tables and columns that the server does not have are ignored, as are rows that are gone.
public final class OVSDBTransaction {
    private let client: OVSDBClient
    private var operations: [JSON] = []
    private var names: [UUID: String] = [:]
    private var updates: [String: [UUID: [String: OVSDBDatum]]] = [:]
    private var comments: [String] = []
    /// The identifiers that the server gave to inserted rows, once committed, by those ``insert(_:_:)`` returned.
    public private(set) var inserted: [UUID: UUID] = [:]
    /// The server's results, one per operation, once committed.
    public private(set) var results: [JSON] = []
    /// Fails with ``OVSDBCommitStatus/notLocked`` unless the client's lock is held at commit.
    public var assertsLock = true

    init(client: OVSDBClient) { self.client = client }

    /// Sets a column if it then differs from the replica.
    public func set(_ table: String, _ uuid: UUID, _ column: String, _ datum: OVSDBDatum) {
        updates[table, default: [:]][uuid, default: [:]][column] = datum
    }

    /// Sets the columns of a row that then differ from the replica.
    public func set(_ row: OVSDBRow, _ columns: [String: OVSDBDatum]) {
        guard !columns.isEmpty else { return }
        let before = updates[row.table, default: [:]].updateValue(columns, forKey: row.uuid)
        if let before { updates[row.table]?[row.uuid] = before.merging(columns) { _, new in new } }
    }

    /// Inserts a row. The identifier returned stands for the new row within this transaction.
    @discardableResult
    public func insert(_ table: String, _ columns: [String: OVSDBDatum]) -> UUID {
        let uuid = UUID.random()
        let name = "row" + uuid.description.split(separator: "-").joined(separator: "_")
        names[uuid] = name
        operations.append(["op": "insert", "table": .string(table), "uuid-name": .string(name), "row": encode(table, Array(columns))])
        return uuid
    }

    /// Deletes a row.
    public func delete(_ table: String, _ uuid: UUID) {
        operations.append(["op": "delete", "table": .string(table), "where": self.where(uuid)])
    }

    /// Applies a mutator ("+=", "insert", "delete", ...) to a column.
    public func mutate(_ table: String, _ uuid: UUID, _ column: String, _ mutator: String, _ argument: OVSDBDatum) {
        guard let type = client.columnType(table, column) else { return }
        // Deleting from a map may be by keys alone.
        let argumentType =
            type.isMap && argument.values.isEmpty && mutator == "delete"
            ? OVSDBColumnType(key: type.key, min: 0, max: .max) : type
        operations.append([
            "op": "mutate", "table": .string(table), "where": self.where(uuid),
            "mutations": [[.string(column), .string(mutator), argument.json(argumentType)]],
        ])
    }

    /// Adds one to an integer column.
    public func increment(_ table: String, _ uuid: UUID, _ column: String) {
        mutate(table, uuid, column, "+=", .integer(1))
    }

    /// Makes the commit fail with ``OVSDBCommitStatus/tryAgain`` if the column is not as the replica has it.
    public func verify(_ row: OVSDBRow, _ column: String) {
        guard let type = client.columnType(row.table, column), let datum = row[column] else { return }
        operations.append([
            "op": "wait", "table": .string(row.table), "timeout": 0, "where": self.where(row.uuid),
            "columns": [.string(column)], "until": "==", "rows": [[column: datum.json(type)]],
        ])
    }

    /// A comment for the database log.
    public func comment(_ text: String) { comments.append(text) }

    /// Adds a raw operation (RFC 7047 section 5.2).
    public func append(_ operation: JSON) { operations.append(operation) }

    private func `where`(_ uuid: UUID) -> JSON { [["_uuid", "==", ["uuid", .string(uuid.description)]]] }

    private func encode(_ table: String, _ columns: [(key: String, value: OVSDBDatum)]) -> JSON {
        var row = JSONObject()
        guard let known = client.schema?.tables[table]?.columns else { return .object(row) }
        for (column, datum) in columns.sorted(by: { $0.key < $1.key }) {
            guard let type = known[column]?.type else { continue }
            row[column] = datum.json(type)
        }
        return .object(row)
    }

    /// The `update` operations for what differs from the replica.
    private func updateOperations() -> [JSON] {
        var operations: [JSON] = []
        for (table, rows) in updates.sorted(by: { $0.key < $1.key }) {
            guard let known = client.schema?.tables[table]?.columns else { continue }
            for (uuid, columns) in rows.sorted(by: { $0.key < $1.key }) {
                let row = client.row(table, uuid)
                guard row != nil || names[uuid] != nil else { continue }
                let changed = Array(columns.lazy.filter { row?[$0.key] != $0.value && known[$0.key] != nil })
                guard !changed.isEmpty else { continue }
                operations.append(["op": "update", "table": .string(table), "where": self.where(uuid), "row": encode(table, changed)])
            }
        }
        return operations
    }

    /// Refers to rows inserted here by their names.
    private func named(_ json: JSON) -> JSON {
        switch json {
        case .array(let elements):
            if elements.count == 2, elements[0] == "uuid", let uuid = elements[1].stringValue.flatMap(UUID.init),
                let name = names[uuid]
            {
                return ["named-uuid", .string(name)]
            }
            return .array(elements.map(named))
        case .object(let object):
            var result = JSONObject()
            for (key, value) in object { result[key] = named(value) }
            return .object(result)
        default: return json
        }
    }

    /// Sends the transaction. `completion` is called exactly once, later, from the event loop; by then the
    /// replica shows the changes that succeeded. Call once.
    public func commit(_ completion: @escaping (OVSDBCommitStatus) -> Void = { _ in }) {
        var operations = self.operations + updateOperations()
        func later(_ status: OVSDBCommitStatus) { client.eventLoop.assumeIsolated().execute { completion(status) } }
        guard !operations.isEmpty else { return later(.unchanged) }
        guard client.isConnected else { return later(.tryAgain) }
        let lock = assertsLock ? client.lockName : nil
        if let lock {
            guard client.hasLock else { return later(.notLocked) }
            operations.insert(["op": "assert", "lock": .string(lock)], at: 0)
        }
        if !comments.isEmpty { operations.append(["op": "comment", "comment": .string(comments.joined(separator: "\n"))]) }
        if !names.isEmpty { operations = operations.map(named) }
        let sent = operations
        client.request("transact", [.string(client.database)] + sent) { outcome in
            switch outcome {
            case .disconnected: completion(.tryAgain)
            case .error(let error): completion(.error(OVSDBError(json: error) ?? OVSDBError(error.text())))
            case .result(let result): completion(self.finish(result.arrayValue ?? [], sent))
            }
        }
    }

    private func finish(_ results: [JSON], _ operations: [JSON]) -> OVSDBCommitStatus {
        self.results = results
        for result in results {
            guard let error = OVSDBError(json: result) else { continue }
            switch error.error {
            case "timed out", "not leader": return .tryAgain
            case "not owner": return .notLocked
            default: return .error(error)
            }
        }
        let byName = Dictionary(uniqueKeysWithValues: names.map { ($0.value, $0.key) })
        for (operation, result) in zip(operations, results) {
            guard let name = operation["uuid-name"]?.stringValue, let symbol = byName[name] else { continue }
            inserted[symbol] = result["uuid"]?[1]?.stringValue.flatMap(UUID.init)
        }
        return .success
    }
}
