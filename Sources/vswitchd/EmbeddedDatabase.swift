// The daemon's own database, for when no DATABASE argument names another: DBDIR/conf.db served at RUNDIR/db.sock and at
// the targets of the Manager table.

import Bridge
import Glibc
import NIOCore
import OVSDB
import Vlog

/// Serves the configuration database. Confined to the main thread.
final class EmbeddedDatabase {
    private static let log = Vlog.module("ovsdb_server")
    /// Where the daemon's own client connects.
    let remote: OVSDBRemote
    private let server: OVSDBServer
    private let socket: OVSDBRemote
    private var managers: Set<OVSDBRemote> = []
    private weak var configurator: BridgeConfigurator?

    /// Opens the database, creating its file when it is missing. Throws with the path in the text.
    init(_ directories: Directories, _ eventLoop: any EventLoop) throws {
        server = try OVSDBServer(eventLoop: eventLoop)
        try server.open(path: "\(directories.database)/conf.db")
        socket = .passiveUnix(path: "\(directories.run)/db.sock")
        remote = .unix(path: "\(directories.run)/db.sock")
    }

    func listen(then start: @escaping () -> Void) {
        server.listen(socket) { [socket] error in
            if let error { die("\(socket): listen failed (\(error))") }
            start()
        }
    }

    /// Keeps the connections that the Manager table asks for.
    func follow(_ configurator: BridgeConfigurator) {
        self.configurator = configurator
        configurator.onConfigured = { [weak self] in self?.update() }
        configurator.managerStatus = { [weak self] target in
            guard let self, let remote = try? OVSDBRemote(target), managers.contains(remote) else { return nil }
            return !remote.isPassive && server.isConnected(remote)
        }
    }

    private func update() {
        guard let configurator else { return }
        var wanted: Set<OVSDBRemote> = []
        for row in configurator.client.rows("Manager").values {
            do { wanted.insert(try OVSDBRemote(row.string("target"))) } catch { Self.log.warn("\(error)") }
        }
        wanted.remove(socket)
        for old in managers.subtracting(wanted) {
            if old.isPassive { server.stopListening(old) } else { server.disconnect(old) }
        }
        for new in wanted.subtracting(managers) {
            if new.isPassive { server.listen(new) } else { server.connect(new) }
        }
        managers = wanted
    }

    func close() { server.close() }
}
