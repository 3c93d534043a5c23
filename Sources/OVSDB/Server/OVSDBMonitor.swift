// Monitors: what a client asked to be told about (RFC 7047 section 4.1.5; ovsdb-server(7), monitor_cond,
// monitor_cond_since). Updates are made from a transaction's delta alone.

/// One monitor of one client.
struct OVSDBMonitor {
    enum Version { case update, update2, update3 }

    private struct Selection {
        var initial = true
        var insert = true
        var delete = true
        var modify = true
    }

    private struct Followed {
        /// Columns with what is wanted of each, in the order asked for.
        var columns: [(name: String, select: Selection)] = []
        var condition = OVSDBCondition.always
        var wants: Selection
    }

    let database: OVSDBDatabase
    let version: Version
    var id: JSON
    private var tables: [String: Followed] = [:]

    init(database: OVSDBDatabase, version: Version, id: JSON, requests: JSON) throws(OVSDBError) {
        self.database = database
        self.version = version
        self.id = id
        guard let requests = requests.objectValue else { throw .syntax(requests, "monitor requests must be an object") }
        for (name, request) in requests {
            guard let table = database.tables[name] else { throw OVSDBError("syntax error", "no table named \(name)") }
            var followed = Followed(wants: Selection(initial: false, insert: false, delete: false, modify: false))
            var conditions: [JSON] = []
            for request in request.arrayValue ?? [request] {
                try OVSDBMonitor.read(request, table, version, &followed, &conditions)
            }
            followed.condition = try OVSDBCondition(json: .array(conditions), table: table)
            tables[name] = followed
        }
    }

    private static func read(
        _ request: JSON, _ table: OVSDBTable, _ version: Version, _ followed: inout Followed,
        _ conditions: inout [JSON]
    ) throws(OVSDBError) {
        let prefix = "Parsing table \(table.schema.name) failed: "
        guard let object = request.objectValue else { throw OVSDBError("syntax error", prefix + "Object expected.", syntax: request) }
        let allowed = version == .update ? ["columns", "select"] : ["columns", "select", "where"]
        for key in object.keys where !allowed.contains(key) {
            throw .syntax(request, prefix + "Member '\(key)' is present but not allowed here.")
        }
        var select = Selection()
        if let json = object["select"] {
            guard let members = json.objectValue else { throw .syntax(request, prefix + "Type mismatch for member 'select'.") }
            select.initial = members["initial"]?.boolValue ?? true
            select.insert = members["insert"]?.boolValue ?? true
            select.delete = members["delete"]?.boolValue ?? true
            select.modify = members["modify"]?.boolValue ?? true
        }
        followed.wants.initial = followed.wants.initial || select.initial
        followed.wants.insert = followed.wants.insert || select.insert
        followed.wants.delete = followed.wants.delete || select.delete
        followed.wants.modify = followed.wants.modify || select.modify
        if let columns = object["columns"] {
            guard let names = columns.arrayValue else { throw .syntax(columns, "array of column names expected") }
            for element in names {
                guard let name = element.stringValue, name == "_uuid" || name == "_version" || table.position[name] != nil else {
                    throw .syntax(columns, "\(element.stringValue ?? element.text()) is not a valid column name")
                }
                guard !followed.columns.contains(where: { $0.name == name }) else {
                    throw .syntax(columns, "column \(name) mentioned more than once")
                }
                followed.columns.append((name, select))
            }
        } else {
            for name in table.columns.map(\.name) + ["_version"] where !followed.columns.contains(where: { $0.name == name }) {
                followed.columns.append((name, select))
            }
        }
        if let condition = object["where"] {
            guard let clauses = condition.arrayValue else { throw .syntax(condition, "array expected") }
            conditions += clauses
        }
    }

    // MARK: Updates

    /// `<table-updates>` with every row that matches now.
    func initial() -> JSON {
        var updates = JSONObject()
        for name in tables.keys.sorted() {
            guard let followed = tables[name], followed.wants.initial, let table = database.tables[name] else { continue }
            var rows = JSONObject()
            for (uuid, row) in table.rows where followed.condition.matchesAny(uuid, row) {
                rows[uuid.description] = whole(table, followed, uuid, row, initial: true)
            }
            if !rows.isEmpty { updates[name] = .object(rows) }
        }
        return .object(updates)
    }

    /// `<table-updates>` for a transaction; nil when it concerns nothing that this monitor follows.
    func updates(_ delta: OVSDBDelta) -> JSON? {
        var updates = JSONObject()
        for name in delta.tables.keys.sorted() {
            guard let followed = tables[name], let table = database.tables[name], let changes = delta.tables[name] else { continue }
            var rows = JSONObject()
            for (uuid, change) in changes {
                let old = change.old.flatMap { followed.condition.matchesAny(uuid, $0) ? $0 : nil }
                let new = change.new.flatMap { followed.condition.matchesAny(uuid, $0) ? $0 : nil }
                if let update = update(table, followed, uuid, old, new) { rows[uuid.description] = update }
            }
            if !rows.isEmpty { updates[name] = .object(rows) }
        }
        return updates.isEmpty ? nil : .object(updates)
    }

    /// Changes conditions (monitor_cond_change); the updates that this makes, or nil when none.
    mutating func changeConditions(_ requests: JSON) throws(OVSDBError) -> JSON? {
        guard let requests = requests.objectValue else { throw .syntax(requests, "monitor requests must be an object") }
        var updates = JSONObject()
        for (name, request) in requests {
            guard var followed = tables[name], let table = database.tables[name] else {
                throw OVSDBError("syntax error", "no table named \(name)")
            }
            var clauses: [JSON] = []
            for request in request.arrayValue ?? [request] { clauses += request["where"]?.arrayValue ?? [] }
            let previous = followed.condition
            followed.condition = try OVSDBCondition(json: .array(clauses), table: table)
            tables[name] = followed
            var rows = JSONObject()
            for (uuid, row) in table.rows {
                let before = previous.matchesAny(uuid, row) ? row : nil
                let after = followed.condition.matchesAny(uuid, row) ? row : nil
                guard (before == nil) != (after == nil), let update = update(table, followed, uuid, before, after) else { continue }
                rows[uuid.description] = update
            }
            if !rows.isEmpty { updates[name] = .object(rows) }
        }
        return updates.isEmpty ? nil : .object(updates)
    }

    private func whole(_ table: OVSDBTable, _ followed: Followed, _ uuid: UUID, _ row: OVSDBStoredRow, initial: Bool) -> JSON {
        var object = JSONObject()
        for (name, select) in followed.columns where initial ? select.initial : select.insert {
            // The newer formats leave out what a row has by default.
            if version != .update, let position = table.position[name], row.data[position] == table.defaults[position] { continue }
            object[name] = table.json(name, uuid, row)
        }
        return version == .update ? ["new": .object(object)] : [initial ? "initial" : "insert": .object(object)]
    }

    private func update(_ table: OVSDBTable, _ followed: Followed, _ uuid: UUID, _ old: OVSDBStoredRow?, _ new: OVSDBStoredRow?) -> JSON? {
        switch (old, new) {
        case (nil, nil): return nil
        case (nil, let new?): return followed.wants.insert ? whole(table, followed, uuid, new, initial: false) : nil
        case (let old?, nil):
            guard followed.wants.delete else { return nil }
            guard version == .update else { return ["delete": .null] }
            var object = JSONObject()
            for (name, select) in followed.columns where select.delete { object[name] = table.json(name, uuid, old) }
            return ["old": .object(object)]
        case (let old?, let new?):
            guard followed.wants.modify else { return nil }
            var before = JSONObject()
            var after = JSONObject()
            var isChanged = false
            for (name, select) in followed.columns where select.modify {
                if version == .update { after[name] = table.json(name, uuid, new) }
                guard let position = table.position[name] else {
                    // _version changes with every change, and is not worth an update of its own.
                    if name == "_version" {
                        if version == .update {
                            before[name] = table.json(name, uuid, old)
                        } else {
                            after[name] = table.json(name, uuid, new)
                        }
                    }
                    continue
                }
                let (from, to) = (old.data[position], new.data[position])
                guard from != to else { continue }
                isChanged = true
                let type = table.columns[position].type
                if version == .update {
                    before[name] = from.json(type)
                } else {
                    after[name] = type.max > 1 ? from.difference(to: to).json(type) : to.json(type)
                }
            }
            guard isChanged else { return nil }
            return version == .update ? ["old": .object(before), "new": .object(after)] : ["modify": .object(after)]
        }
    }
}
