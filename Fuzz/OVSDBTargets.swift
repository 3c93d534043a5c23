// JSON, JSON-RPC framing, schemas, and transactions and monitors against a database in memory.

@testable import OVSDB

/// A stream of messages, in two pieces. What a value prints as parses and prints the
/// same (not always the same value: reals have 15 digits).
@Sendable func fuzzJSON(_ bytes: [UInt8]) {
    var framer = JSONFramer(limit: 1 << 16)
    let cut = bytes.first.map { Int($0) % max(bytes.count, 1) } ?? 0
    for piece in [bytes[..<cut], bytes[cut...]] {
        framer.append(piece)
        while let text = try? framer.next() {
            guard let json = try? JSON(parsing: text) else { continue }
            if let message = try? JSONRPCMessage(json: json) {
                var out: [UInt8] = []
                message.write(to: &out)
            }
        }
    }
    guard let json = try? JSON(parsing: bytes) else { return }
    guard let again = try? JSON(parsing: json.text()), again.text() == json.text() else {
        fatalError("\(json.text()) does not read back")
    }
    if let schema = try? OVSDBSchema(json: json) { _ = OVSDBDatabase(schema: schema) }
    for type in [OVSDBAtomicType.integer, .real, .boolean, .string, .uuid] {
        let pairs = OVSDBColumnType(key: OVSDBBaseType(type), value: OVSDBBaseType(type), min: 0, max: .max)
        let set = OVSDBColumnType(key: OVSDBBaseType(type), min: 0, max: .max)
        for column in [pairs, set] { _ = try? OVSDBDatum(json: json, type: column) }
    }
}

private func makeDatabase() -> OVSDBDatabase {
    guard let json = try? JSON(parsing: OVSDBSchema.openVSwitchText), let schema = try? OVSDBSchema(json: json) else {
        fatalError("the schema does not parse")
    }
    return OVSDBDatabase(schema: schema)
}

/// An array: operations of a transaction, as after the database's name. An object: monitor requests. Lines are tried in turn
/// against one database.
@Sendable func fuzzOVSDB(_ bytes: [UInt8]) {
    let database = makeDatabase()
    for line in bytes.split(separator: 10).prefix(16) {
        guard let json = try? JSON(parsing: Array(line)) else { continue }
        if let operations = json.arrayValue {
            var execution = OVSDBExecution(database: database, isReadOnly: false, elapsed: 0, holdsLock: { _ in true })
            guard case .done(_, let changes, _, _) = execution.run(operations),
                let delta = try? database.check(changes)
            else { continue }
            for version in [OVSDBMonitor.Version.update, .update2, .update3] {
                var requests = JSONObject()
                for table in ["Open_vSwitch", "Bridge", "Port", "Interface", "Manager"] { requests[table] = [:] }
                let monitor = try? OVSDBMonitor(database: database, version: version, id: 1, requests: .object(requests))
                _ = monitor?.updates(delta)
            }
            database.apply(delta)
        } else {
            for version in [OVSDBMonitor.Version.update, .update2, .update3] {
                guard var monitor = try? OVSDBMonitor(database: database, version: version, id: 1, requests: json) else {
                    continue
                }
                _ = monitor.initial()
                _ = try? monitor.changeConditions(json)
            }
        }
    }
}
