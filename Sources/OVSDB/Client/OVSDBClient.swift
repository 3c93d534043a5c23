// The replica client: keeps a copy of chosen tables of a remote database and writes to it.
//
// Life of a connection: connect -> `_Server` (is the database there, and is this server fit to serve
// it?) -> get_schema -> lock -> monitor_cond_since, else monitor_cond, else monitor -> updates.
// Whatever fails closes the connection and starts over after a back-off of 1 to 8 seconds; the replica stays.
import Glibc
import NIOCore
import NIOPosix
import Vlog

/// A client of one database. Confined to its event loop; not thread-safe. It never blocks.
public final class OVSDBClient {
    private static let log = Vlog.module("ovsdb_cs")
    private static let reconnectLog = Vlog.module("reconnect")

    public let remote: OVSDBRemote
    public let database: String
    public let eventLoop: any EventLoop
    private let selections: [String: OVSDBTableSelection]

    /// Called after each batch of updates was applied (also the first), unless only silent columns changed.
    public var onChange: ((OVSDBChanges) -> Void)?
    /// Called when the connection or the lock is gained or lost.
    public var onStateChange: (() -> Void)?

    /// Whether the replica is being kept up to date.
    public private(set) var isConnected = false
    /// Whether the replica was complete at any time; until then its tables are empty.
    public private(set) var hasEverSynced = false
    /// Grows with every batch of updates that was applied.
    public private(set) var sequence: UInt64 = 0
    /// The server's schema, once known.
    public private(set) var schema: OVSDBSchema?
    /// Whether the lock asked for is held.
    public private(set) var hasLock = false
    /// Whether another client holds the lock asked for.
    public private(set) var isLockContended = false
    /// The lock asked for, if any.
    public private(set) var lockName: String?

    /// Probe of an idle connection; nil for the default: none on Unix sockets, 5 seconds otherwise.
    public var inactivityProbe: TimeAmount? { didSet { session?.setInactivityProbe(probeInterval) } }
    /// Only a cluster's leader will do.
    public var requiresLeader = true

    private var replica = OVSDBReplica()
    private var running = false
    private var session: JSONRPCSession?
    private var generation = 0
    private var backoff: Int64 = 0
    private var retry: Scheduled<Void>?
    private var connectedAt: NIODeadline = .now()
    private var lastTransaction = UUID.zero
    private var serverRows = OVSDBReplica()
    private var monitorID: JSON = "monid"
    private static let serverMonitorID: JSON = ["monid", "_Server"]

    /// - Parameters:
    ///   - tables: What to follow; tables and columns that the server does not have are left out.
    ///   - eventLoop: Every callback comes from it, and every call must be made on it.
    public init(
        remote: OVSDBRemote, database: String = "Open_vSwitch", tables: [String: OVSDBTableSelection],
        eventLoop: any EventLoop
    ) {
        self.remote = remote
        self.database = database
        self.eventLoop = eventLoop
        selections = tables
        monitorID = ["monid", .string(database)]
    }

    /// Starts connecting, and reconnecting for as long as it takes.
    public func start() {
        guard !running else { return }
        running = true
        connect()
    }

    /// Closes the connection and stays disconnected. The replica stays readable.
    public func stop() {
        running = false
        retry?.cancel()
        retry = nil
        session?.close(reason: "stopped")
    }

    /// Asks for `name`, or gives the lock up with nil. `hasLock` and `isLockContended` tell the result.
    public func setLock(_ name: String?) {
        guard name != lockName else { return }
        if let old = lockName, isConnected { session?.request("unlock", [.string(old)]) { _ in } }
        (lockName, hasLock, isLockContended) = (name, false, false)
        if isConnected { requestLock() }
    }

    // MARK: Reading

    /// The rows of a table, by identifier.
    public func rows(_ table: String) -> [UUID: OVSDBRow] { replica.tables[table] ?? [:] }
    public func row(_ table: String, _ uuid: UUID) -> OVSDBRow? { replica.tables[table]?[uuid] }
    /// The row of a table that has at most one.
    public func singleton(_ table: String) -> OVSDBRow? { replica.tables[table]?.values.first }
    /// The whole replica.
    public var tables: [String: [UUID: OVSDBRow]] { replica.tables }
    /// The type of a column, when the server has it and it is followed.
    public func columnType(_ table: String, _ column: String) -> OVSDBColumnType? {
        schema?.tables[table]?.columns[column]?.type
    }

    /// A new, empty transaction.
    public func transaction() -> OVSDBTransaction { OVSDBTransaction(client: self) }

    /// Sends a request to the server, for what this class does not offer.
    public func request(_ method: String, _ params: [JSON], completion: @escaping (JSONRPCSession.Outcome) -> Void) {
        guard let session, isConnected else {
            eventLoop.assumeIsolated().execute { completion(.disconnected) }
            return
        }
        session.request(method, params, completion: completion)
    }

    // MARK: Connecting

    private var probeInterval: TimeAmount? {
        if let inactivityProbe { return inactivityProbe }
        if case .unix = remote { return nil }
        return .seconds(5)
    }

    private func connect() {
        retry = nil
        guard running else { return }
        generation += 1
        let generation = generation
        OVSDBClient.reconnectLog.info("\(remote): connecting...")
        let bootstrap = ClientBootstrap(group: eventLoop).connectTimeout(.seconds(max(1, backoff)))
        let channel: EventLoopFuture<any Channel>
        switch remote {
        case .unix(let path), .passiveUnix(let path): channel = bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let port), .passiveTCP(let host, let port): channel = bootstrap.connect(host: host, port: port)
        }
        channel.assumeIsolated().whenComplete { [weak self] result in
            guard let self, self.running, generation == self.generation else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            do {
                let channel = try result.get()
                let session = try JSONRPCSession(channel: channel, name: self.remote.description)
                self.connected(session)
            } catch {
                OVSDBClient.reconnectLog.warn("\(self.remote): connection attempt failed (\(OVSDBClient.text(error)))")
                self.scheduleRetry()
            }
        }
    }

    private static func text(_ error: any Error) -> String {
        (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
    }

    private func scheduleRetry() {
        guard running, retry == nil else { return }
        backoff = backoff == 0 ? 1 : min(8, backoff * 2)
        OVSDBClient.reconnectLog.info("\(remote): waiting \(backoff) seconds before reconnect")
        retry = eventLoop.assumeIsolated().scheduleTask(in: .seconds(backoff)) { [weak self] in self?.connect() }
    }

    private func connected(_ session: JSONRPCSession) {
        OVSDBClient.reconnectLog.info("\(remote): connected")
        connectedAt = .now()
        self.session = session
        session.onMessage = { [weak self] message in self?.received(message) }
        session.onClose = { [weak self] reason in self?.closed(reason) }
        session.setInactivityProbe(probeInterval)
        session.request("set_db_change_aware", [true]) { _ in }
        request("get_schema", ["_Server"]) { [weak self] result in
            guard let self else { return }
            if let result, let schema = try? OVSDBSchema(json: result), schema.tables["Database"] != nil {
                self.monitorServer(schema)
            } else {
                self.requestSchema()
            }
        }
    }

    /// As ``JSONRPCSession/request(_:_:completion:)``, with nil for an error; nothing when disconnected.
    private func request(_ method: String, _ params: [JSON], _ completion: @escaping (JSON?) -> Void) {
        session?.request(method, params) { outcome in
            switch outcome {
            case .result(let result): completion(result)
            case .error: completion(nil)
            case .disconnected: break
            }
        }
    }

    private func closed(_ reason: String) {
        OVSDBClient.reconnectLog.info("\(remote): \(reason)")
        session = nil
        serverRows = OVSDBReplica()
        let changed = isConnected || hasLock
        (isConnected, hasLock, isLockContended) = (false, false, false)
        // A connection that lasted is no reason to wait long for the next one.
        if .now() - connectedAt > .seconds(max(1, backoff)) { backoff = 0 }
        if changed { onStateChange?() }
        scheduleRetry()
    }

    private func fail(_ reason: String) {
        OVSDBClient.log.warn("\(remote): \(reason)")
        lastTransaction = .zero
        session?.close(reason: reason)
    }

    // MARK: The _Server database

    private func monitorServer(_ schema: OVSDBSchema) {
        let columns = ["name", "model", "connected", "leader", "schema"]
        let known = schema.tables["Database"]?.columns ?? [:]
        serverRows.types["Database"] = known.filter { columns.contains($0.key) }.mapValues(\.type)
        let requested = columns.filter { known[$0] != nil }.map { JSON.string($0) }
        let requests: JSON = ["Database": [["columns": .array(requested)]]]
        request("monitor_cond", ["_Server", OVSDBClient.serverMonitorID, requests]) { [weak self] result in
            guard let self else { return }
            guard let result else { return self.requestSchema() }
            do {
                _ = try self.serverRows.apply(result, .update2)
            } catch {
                return self.fail("\(error)")
            }
            if self.checkServer() { self.requestSchema() }
        }
    }

    /// Whether this server can serve the database; if not the connection is closed.
    private func checkServer() -> Bool {
        let row = serverRows.tables["Database"]?.values.first { $0.string("name") == database }
        guard let row else {
            fail("server does not have \(database) database")
            return false
        }
        guard row.string("model") != "standalone" else { return true }
        if !row.bool("connected") {
            fail("clustered database server is disconnected from cluster; trying another server")
            return false
        }
        if requiresLeader, row.string("model") == "clustered", !row.bool("leader") {
            fail("clustered database server is not cluster leader; trying another server")
            return false
        }
        return true
    }

    private func serverUpdated(_ updates: JSON) {
        let before = serverRows.tables["Database"]?.values.first { $0.string("name") == database }
        do {
            _ = try serverRows.apply(updates, .update2)
        } catch {
            return fail("\(error)")
        }
        guard checkServer() else { return }
        let after = serverRows.tables["Database"]?.values.first { $0.string("name") == database }
        if schema != nil, let before, before["schema"] != after?["schema"] { fail("database schema changed") }
    }

    // MARK: Schema, lock and monitor

    private func requestSchema() {
        request("get_schema", [.string(database)]) { [weak self] result in
            guard let self else { return }
            guard let result else { return self.fail("server does not have \(self.database) database") }
            do {
                let schema = try OVSDBSchema(json: result)
                self.schema = schema
                self.requestLock()
                self.requestMonitor(schema)
            } catch {
                self.fail("\(error)")
            }
        }
    }

    private func requestLock() {
        guard let lockName else { return }
        request("lock", [.string(lockName)]) { [weak self] result in
            guard let self, self.lockName == lockName else { return }
            self.setLockState(held: result?["locked"]?.boolValue ?? false)
        }
    }

    private func setLockState(held: Bool) {
        (hasLock, isLockContended) = (held, !held)
        onStateChange?()
    }

    private func requestMonitor(_ schema: OVSDBSchema) {
        var fresh = OVSDBReplica()
        var requests = JSONObject()
        for (table, selection) in selections.sorted(by: { $0.key < $1.key }) {
            guard let known = schema.tables[table] else {
                OVSDBClient.log.warn("\(database) database lacks table \(table)")
                continue
            }
            let columns = (selection.columns ?? known.columnOrder).filter { known.columns[$0] != nil }
            fresh.types[table] = Dictionary(
                columns.compactMap { name in known.columns[name].map { (name, $0.type) } },
                uniquingKeysWith: { first, _ in first })
            requests[table] = [["columns": .array(columns.map { .string($0) })]]
        }
        let monitor: [JSON] = [.string(database), monitorID, .object(requests)]
        request("monitor_cond_since", monitor + [.string(lastTransaction.description)]) { [weak self] result in
            guard let self else { return }
            if let result {
                guard let found = result[0]?.boolValue, let last = result[1]?.stringValue.flatMap(UUID.init),
                    let updates = result[2]
                else { return self.fail("malformed monitor_cond_since reply") }
                self.lastTransaction = last
                var base = fresh
                if found { base.tables = self.replica.tables }
                return self.synchronize(base, updates, .update2)
            }
            self.request("monitor_cond", monitor) { [weak self] result in
                guard let self else { return }
                if let result { return self.synchronize(fresh, result, .update2) }
                self.request("monitor", monitor) { [weak self] result in
                    guard let result else { return self?.fail("server refused to monitor \(requests.keys)") ?? () }
                    self?.synchronize(fresh, result, .update)
                }
            }
        }
    }

    private func synchronize(_ base: OVSDBReplica, _ updates: JSON, _ format: OVSDBReplica.Format) {
        var next = base
        do {
            _ = try next.apply(updates, format)
        } catch {
            return fail("\(error)")
        }
        let changes = next.changes(since: replica)
        replica = next
        let first = !hasEverSynced
        (isConnected, hasEverSynced) = (true, true)
        sequence += 1
        onStateChange?()
        if first || !changes.isEmpty { onChange?(changes) }
    }

    // MARK: Notifications

    private func received(_ message: JSONRPCMessage) {
        switch message {
        case .notification("update", let params) where params.first == monitorID: updated(params, 1, .update)
        case .notification("update2", let params) where params.first == monitorID: updated(params, 1, .update2)
        case .notification("update2", let params) where params.first == OVSDBClient.serverMonitorID:
            serverUpdated(params.dropFirst().first ?? .null)
        case .notification("update3", let params) where params.first == monitorID:
            guard params.count > 2, let last = params[1].stringValue.flatMap(UUID.init) else { return fail("malformed update3") }
            lastTransaction = last
            updated(params, 2, .update2)
        case .notification("locked", let params) where params.first?.stringValue == lockName: setLockState(held: true)
        case .notification("stolen", let params) where params.first?.stringValue == lockName: setLockState(held: false)
        case .notification("monitor_canceled", _): fail("database was converted or removed")
        case .request(_, _, let id): session?.send(.error("unknown method", id: id))
        default: OVSDBClient.log.dbg("\(remote): ignored \(message)")
        }
    }

    private func updated(_ params: [JSON], _ position: Int, _ format: OVSDBReplica.Format) {
        guard isConnected, params.count > position else { return }
        let changes: OVSDBChanges
        do {
            changes = try replica.apply(params[position], format)
        } catch {
            return fail("\(error)")
        }
        guard !changes.isEmpty else { return }
        sequence += 1
        if !isSilent(changes) { onChange?(changes) }
    }

    private func isSilent(_ changes: OVSDBChanges) -> Bool {
        changes.tables.allSatisfy { table, rows in
            guard let silent = selections[table]?.silent else { return false }
            return rows.values.allSatisfy { change in
                if case .modified(let columns) = change { columns.isSubset(of: silent) } else { false }
            }
        }
    }
}
