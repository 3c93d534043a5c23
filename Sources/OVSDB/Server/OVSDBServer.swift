// The embedded database server: sessions, methods (RFC 7047 section 4, ovsdb-server(7)), locks, and
// transactions that wait for the database to change.
import Glibc
import NIOCore
import NIOPosix
import Vlog

/// Serves databases over JSON-RPC. Confined to its event loop; not thread-safe. Commits are written to disk
/// before they are answered, and so may block the loop for as long as the file system takes.
public final class OVSDBServer {
    static let log = Vlog.module("ovsdb_server")

    /// One connection.
    final class Session {
        let rpc: JSONRPCSession
        var monitors: [JSON: OVSDBMonitor] = [:]
        /// Locks held or waited for.
        var locks: Set<String> = []
        init(_ rpc: JSONRPCSession) { self.rpc = rpc }
    }

    /// A transaction whose "wait" does not hold yet.
    private final class Pending {
        let session: Session
        let id: JSON
        let name: String
        let operations: [JSON]
        let received = NIODeadline.now()
        var timer: Scheduled<Void>?
        init(session: Session, id: JSON, name: String, operations: [JSON]) {
            (self.session, self.id, self.name, self.operations) = (session, id, name, operations)
        }
    }

    /// A remote that this server keeps connecting to.
    private final class Manager {
        var session: Session?
        var retry: Scheduled<Void>?
        var backoff: Int64 = 1
    }

    let eventLoop: any EventLoop
    private var databases: [String: OVSDBServedDatabase] = [:]
    private var sessions: [ObjectIdentifier: Session] = [:]
    private var listeners: [OVSDBRemote: any Channel] = [:]
    /// Managers that this server connects to, each with its connection or its next attempt.
    private var managers: [OVSDBRemote: Manager] = [:]
    private var pending: [Pending] = []
    /// Per lock its owner and then those who wait, in order.
    private var lockQueues: [String: [Session]] = [:]
    private let serverID = UUID.random()
    private var accepted = 0
    private var isRetrying = false

    /// A server of nothing but its `_Server` database.
    public init(eventLoop: any EventLoop) throws {
        self.eventLoop = eventLoop
        databases["_Server"] = OVSDBServedDatabase(schema: try OVSDBSchema(json: JSON(parsing: OVSDBSchema.serverText)), isReadOnly: true)
        try describe("_Server")
    }

    /// Serves the database in the file at `path`, which is created with `schemaText` when absent.
    /// - Returns: the database's name.
    @discardableResult
    public func open(path: String, schemaText: String = OVSDBSchema.openVSwitchText) throws -> String {
        let served = try OVSDBServedDatabase(path: path, schema: OVSDBSchema(json: JSON(parsing: schemaText)))
        let name = served.database.schema.name
        databases[name] = served
        try describe(name)
        return name
    }

    /// Adds a database's row to `_Server`.
    private func describe(_ name: String) throws {
        guard let schema = databases[name]?.database.schema, let server = databases["_Server"]?.database,
            let table = server.tables["Database"]
        else { return }
        var row = OVSDBStoredRow(data: table.defaults, version: .random())
        let columns: [String: OVSDBDatum] = [
            "name": .string(name), "model": .string("standalone"), "connected": .bool(true), "leader": .bool(true),
            "schema": .string(schema.json.text(sorted: true)),
        ]
        for (column, datum) in columns { if let position = table.position[column] { row.data[position] = datum } }
        let delta = try server.check(["Database": [UUID.random(): row]])
        server.apply(delta)
        notify(server, delta)
    }

    /// Listens on `punix:` or `ptcp:`. `completion` gets nil, or the error.
    public func listen(_ remote: OVSDBRemote, completion: @escaping ((any Error)?) -> Void = { _ in }) {
        let server = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(ChannelOptions.backlog, value: 64)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try server.value.accept(channel) }
            }
        let bound: EventLoopFuture<any Channel>
        let previous = umask(0o007)
        switch remote {
        case .passiveUnix(let path), .unix(let path): bound = bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
        case .passiveTCP(let host, let port), .tcp(let host, let port):
            bound = bootstrap.bind(host: host.isEmpty ? "0.0.0.0" : host, port: port)
        }
        bound.assumeIsolated().whenComplete { result in
            umask(previous)
            switch result {
            case .success(let channel):
                self.listeners[remote] = channel
                completion(nil)
            case .failure(let error):
                OVSDBServer.log.err("\(remote): listen failed: \(error)")
                completion(error)
            }
        }
    }

    /// Stops listening on `remote`. Connections made through it stay.
    public func stopListening(_ remote: OVSDBRemote) {
        guard let channel = listeners.removeValue(forKey: remote) else { return }
        channel.close(promise: nil)
        if case .passiveUnix(let path) = remote { unlink(path) }
    }

    /// The remotes listened on.
    public var remotes: [OVSDBRemote] { Array(listeners.keys) }
    /// The local addresses listened on, for TCP ports that the system chose.
    public var localAddresses: [SocketAddress] { listeners.values.compactMap(\.localAddress) }

    /// Rewrites a database's file without its history.
    public func compact(_ name: String) throws { try databases[name]?.compact() }

    /// Stops listening, closes every connection and releases the files.
    public func close() {
        for remote in Array(listeners.keys) { stopListening(remote) }
        for remote in Array(managers.keys) { disconnect(remote) }
        for session in sessions.values { session.rpc.close(reason: "server is closing") }
        for waiting in pending { waiting.timer?.cancel() }
        pending = []
        databases = [:]
    }

    private func accept(_ channel: any Channel) throws {
        _ = try adopt(channel)
    }

    private func adopt(_ channel: any Channel) throws -> Session {
        accepted += 1
        let isUnix = channel.localAddress?.protocol == .unix
        let rpc = try JSONRPCSession(channel: channel, name: "\(isUnix ? "unix" : "tcp")#\(accepted)")
        let session = Session(rpc)
        sessions[ObjectIdentifier(session)] = session
        rpc.onMessage = { [weak self, unowned session] message in self?.received(message, session) }
        rpc.onClose = { [weak self] _ in self?.closed(session) }
        if !isUnix { rpc.setInactivityProbe(.seconds(5)) }
        return session
    }

    /// Connects to a manager at `unix:` or `tcp:`, and again, 1 to 8 seconds later, whenever that fails or ends.
    public func connect(_ remote: OVSDBRemote) {
        guard managers[remote] == nil else { return }
        managers[remote] = Manager()
        attempt(remote)
    }

    /// Ends the connection to a manager.
    public func disconnect(_ remote: OVSDBRemote) {
        guard let manager = managers.removeValue(forKey: remote) else { return }
        manager.retry?.cancel()
        manager.session?.rpc.close(reason: "manager removed")
    }

    /// Whether there is a connection to the manager at `remote`.
    public func isConnected(_ remote: OVSDBRemote) -> Bool { managers[remote]?.session != nil }

    private func attempt(_ remote: OVSDBRemote) {
        guard let manager = managers[remote] else { return }
        manager.retry = nil
        let bootstrap = ClientBootstrap(group: eventLoop).connectTimeout(.seconds(manager.backoff))
        let channel: EventLoopFuture<any Channel>
        switch remote {
        case .unix(let path), .passiveUnix(let path): channel = bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let port), .passiveTCP(let host, let port): channel = bootstrap.connect(host: host, port: port)
        }
        channel.assumeIsolated().whenComplete { [weak self] result in
            guard let self, self.managers[remote] === manager else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            guard let channel = try? result.get(), let session = try? self.adopt(channel) else { return self.retry(remote, manager) }
            OVSDBServer.log.info("\(remote): connected")
            manager.session = session
            manager.backoff = 1
            session.rpc.onClose = { [weak self] reason in
                OVSDBServer.log.info("\(remote): \(reason)")
                manager.session = nil
                self?.closed(session)
                self?.retry(remote, manager)
            }
        }
    }

    private func retry(_ remote: OVSDBRemote, _ manager: Manager) {
        guard managers[remote] === manager else { return }
        manager.retry = eventLoop.assumeIsolated().scheduleTask(in: .seconds(manager.backoff)) { [weak self] in self?.attempt(remote) }
        manager.backoff = min(8, manager.backoff * 2)
    }

    private func closed(_ session: Session) {
        sessions[ObjectIdentifier(session)] = nil
        for waiting in pending where waiting.session === session { waiting.timer?.cancel() }
        pending.removeAll { $0.session === session }
        for lock in session.locks { release(lock, session) }
        session.rpc.onMessage = nil
    }

    // MARK: Methods

    private func received(_ message: JSONRPCMessage, _ session: Session) {
        switch message {
        case .request(let method, let params, let id):
            do throws(OVSDBError) {
                guard let result = try run(method, params, id, session) else { return }
                session.rpc.send(.reply(result: result, id: id))
            } catch {
                let plain = error.details == nil && error.syntax == nil
                session.rpc.send(.error(plain ? .string(error.error) : error.json, id: id))
            }
        case .notification("cancel", let params): cancel(params.first ?? .null, session)
        case .notification(let method, _): OVSDBServer.log.warn("\(session.rpc.name): received unexpected notification \(method)")
        case .reply, .error:
            OVSDBServer.log.warn("\(session.rpc.name): received unexpected reply")
            session.rpc.close(reason: "Protocol error")
        }
    }

    /// The result of a request; nil when the reply was or will be sent otherwise.
    private func run(_ method: String, _ params: [JSON], _ id: JSON, _ session: Session) throws(OVSDBError) -> JSON? {
        switch method {
        case "list_dbs": return .array(databases.keys.sorted().map { .string($0) })
        case "get_server_id": return .string(serverID.description)
        case "get_schema": return try database(method, params).database.schema.json
        case "set_db_change_aware":
            guard params.count == 1, params[0].boolValue != nil else {
                throw .syntax(.array(params), "\"set_db_change_aware\" requires a Boolean parameter")
            }
            return [:]
        case "transact":
            let served = try database(method, params)
            let transaction = Pending(session: session, id: id, name: served.database.schema.name, operations: Array(params.dropFirst()))
            if execute(transaction) { retryPending() } else { pending.append(transaction) }
            return nil
        case "monitor": return try monitor(method, params, .update, session)
        case "monitor_cond": return try monitor(method, params, .update2, session)
        case "monitor_cond_since": return try monitor(method, params, .update3, session)
        case "monitor_cond_change": return try changeMonitor(params, session)
        case "monitor_cancel":
            guard params.count == 1 else { throw .syntax(.array(params), "invalid parameters") }
            guard session.monitors.removeValue(forKey: params[0]) != nil else { throw OVSDBError("unknown monitor") }
            return [:]
        case "lock", "steal": return try lock(method, params, session)
        case "unlock":
            let name = try lockName(method, params)
            guard session.locks.contains(name) else { throw .syntax(.array(params), "unlock: \"unlock\" without \"lock\" or \"steal\"") }
            release(name, session)
            return [:]
        default: throw OVSDBError("unknown method")
        }
    }

    private func database(_ method: String, _ params: [JSON]) throws(OVSDBError) -> OVSDBServedDatabase {
        guard let name = params.first?.stringValue else {
            throw .syntax(.array(params), "\(method) request params must begin with <db-name>")
        }
        guard let served = databases[name] else {
            throw OVSDBError("unknown database", "\(method) request specifies unknown database \(name)", syntax: .array(params))
        }
        return served
    }

    // MARK: Transactions

    /// Runs a transaction; false when it has to wait.
    private func execute(_ transaction: Pending) -> Bool {
        let session = transaction.session
        guard let served = databases[transaction.name] else { return true }
        let elapsed = (NIODeadline.now() - transaction.received).nanoseconds / 1_000_000
        var execution = OVSDBExecution(database: served.database, isReadOnly: served.isReadOnly, elapsed: elapsed) { [weak self] name in
            self?.lockQueues[name]?.first === session
        }
        switch execution.run(transaction.operations) {
        case .waiting(let timeout):
            if let timeout, transaction.timer == nil {
                transaction.timer = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(min(timeout - elapsed, 1 << 40))) {
                    [weak self] in
                    transaction.timer = nil
                    self?.retryPending()
                }
            }
            return false
        case .failed(let results): session.rpc.send(.reply(result: .array(results), id: transaction.id))
        case .done(let results, let changes, let comments, let durable):
            do throws(OVSDBError) {
                let delta = try served.database.check(changes)
                if !delta.isEmpty {
                    try served.commit(delta, comments: comments, durable: durable)
                    notify(served.database, delta)
                }
                session.rpc.send(.reply(result: .array(results), id: transaction.id))
            } catch {
                session.rpc.send(.reply(result: .array(results + [error.json]), id: transaction.id))
            }
        }
        transaction.timer?.cancel()
        return true
    }

    /// Gives every waiting transaction another chance, until none can go on.
    private func retryPending() {
        guard !isRetrying else { return }
        isRetrying = true
        defer { isRetrying = false }
        var progressed = true
        while progressed, !pending.isEmpty {
            let count = pending.count
            pending = pending.filter { !execute($0) }
            progressed = pending.count < count
        }
    }

    private func cancel(_ id: JSON, _ session: Session) {
        guard let position = pending.firstIndex(where: { $0.session === session && $0.id == id }) else { return }
        pending.remove(at: position).timer?.cancel()
        session.rpc.send(.error("canceled", id: id))
    }

    // MARK: Monitors

    private func monitor(_ method: String, _ params: [JSON], _ version: OVSDBMonitor.Version, _ session: Session) throws(OVSDBError) -> JSON
    {
        let served = try database(method, params)
        guard params.count >= 3, params.count == (version == .update3 ? 4 : 3) else { throw .syntax(.array(params), "invalid parameters") }
        guard session.monitors[params[1]] == nil else { throw .syntax(params[1], "duplicate monitor ID") }
        let monitor = try OVSDBMonitor(database: served.database, version: version, id: params[1], requests: params[2])
        session.monitors[params[1]] = monitor
        // Transactions of a standalone database have no identifiers: there is never a history to go on from.
        return version == .update3 ? [false, .string(UUID.zero.description), monitor.initial()] : monitor.initial()
    }

    private func changeMonitor(_ params: [JSON], _ session: Session) throws(OVSDBError) -> JSON {
        guard params.count == 3 else { throw .syntax(.array(params), "invalid parameters") }
        guard var monitor = session.monitors[params[0]] else { throw OVSDBError("unknown monitor") }
        guard params[1] == params[0] || session.monitors[params[1]] == nil else { throw .syntax(params[1], "duplicate monitor ID") }
        let updates = try monitor.changeConditions(params[2])
        monitor.id = params[1]
        session.monitors[params[0]] = nil
        session.monitors[params[1]] = monitor
        if let updates { send(updates, monitor, session) }
        return [:]
    }

    private func notify(_ database: OVSDBDatabase, _ delta: OVSDBDelta) {
        for session in sessions.values {
            for monitor in session.monitors.values where monitor.database === database {
                if let updates = monitor.updates(delta) { send(updates, monitor, session) }
            }
        }
    }

    private func send(_ updates: JSON, _ monitor: OVSDBMonitor, _ session: Session) {
        switch monitor.version {
        case .update: session.rpc.send(.notification(method: "update", params: [monitor.id, updates]))
        case .update2: session.rpc.send(.notification(method: "update2", params: [monitor.id, updates]))
        case .update3:
            session.rpc.send(.notification(method: "update3", params: [monitor.id, .string(UUID.zero.description), updates]))
        }
    }

    // MARK: Locks

    private func lockName(_ method: String, _ params: [JSON]) throws(OVSDBError) -> String {
        guard params.count == 1, let name = params[0].stringValue, OVSDBAtom.isIdentifier(name) else {
            throw .syntax(.array(params), "\(method) request params must be <id>")
        }
        return name
    }

    private func lock(_ method: String, _ params: [JSON], _ session: Session) throws(OVSDBError) -> JSON {
        let name = try lockName(method, params)
        guard session.locks.insert(name).inserted else {
            throw .syntax(.array(params), "must issue \"unlock\" before new \"\(method)\"")
        }
        var queue = lockQueues[name] ?? []
        if method == "steal" {
            if let victim = queue.first { victim.rpc.send(.notification(method: "stolen", params: [.string(name)])) }
            queue.insert(session, at: 0)
        } else {
            queue.append(session)
        }
        lockQueues[name] = queue
        return ["locked": .bool(queue[0] === session)]
    }

    private func release(_ name: String, _ session: Session) {
        session.locks.remove(name)
        guard var queue = lockQueues[name], let position = queue.firstIndex(where: { $0 === session }) else { return }
        queue.remove(at: position)
        lockQueues[name] = queue.isEmpty ? nil : queue
        if position == 0, let next = queue.first { next.rpc.send(.notification(method: "locked", params: [.string(name)])) }
    }
}

extension OVSDBSchema {
    /// The schema of the `_Server` database (ovsdb-server(5)).
    static let serverText = #"""
        {"name":"_Server","version":"1.2.0","cksum":"3009684573 744","tables":{"Database":{"columns":{
        "name":{"type":"string"},
        "model":{"type":{"key":{"type":"string","enum":["set",["clustered","relay","standalone"]]}}},
        "connected":{"type":"boolean"},"leader":{"type":"boolean"},
        "schema":{"type":{"key":"string","min":0}},"cid":{"type":{"key":"uuid","min":0}},
        "sid":{"type":{"key":"uuid","min":0}},"index":{"type":{"key":"integer","min":0}}}}}}
        """#
}
