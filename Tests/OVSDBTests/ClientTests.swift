// The replica client against Debian's own ovsdb-server.
import class Foundation.Process
import Glibc
import NIOCore
import Testing
@testable import OVSDB

/// A real ovsdb-server with an empty Open_vSwitch database.
final class RealServer {
    let scratch: Scratch
    private var process: Process?
    var socket: String { scratch.file("db.sock") }

    init() async throws {
        scratch = try Scratch()
        _ = try run("ovsdb-tool", ["create", scratch.file("conf.db"), schemaPath])
        try await restart()
    }

    func restart() async throws {
        stop()
        process = try start(
            "ovsdb-server",
            [
                "--remote=punix:\(socket)", "--unixctl=\(scratch.file("ctl"))", "-vsyslog:off", scratch.file("conf.db"),
            ])
        let socket = socket
        _ = try await until { exists(socket) }
    }

    func stop() {
        process?.end()
        process = nil
        unlink(socket)
    }

    deinit { process?.end() }
}

@Suite(.enabled(if: isInstalled("ovsdb-server") && isInstalled("ovs-vsctl"), "needs ovsdb-server and ovs-vsctl"), .serialized)
struct ClientTests {
    static let tables: [String: OVSDBTableSelection] = [
        "Open_vSwitch": OVSDBTableSelection(silent: ["cur_cfg"]), "Bridge": OVSDBTableSelection(),
        "Port": OVSDBTableSelection(), "Interface": OVSDBTableSelection(["name", "type", "options", "ofport", "statistics"]),
        "NoSuchTable": OVSDBTableSelection(),
    ]

    func makeClient(_ socket: String) async throws -> OnLoop<OVSDBClient> {
        let loop = loopGroup.any()
        let client = try await OnLoop(loop) {
            OVSDBClient(remote: .unix(path: socket), tables: ClientTests.tables, eventLoop: loop)
        }
        try await client.run {
            $0.setLock("ovs_vswitchd"); $0.start()
        }
        return client
    }

    @Test func followsWritesLocksAndReconnects() async throws {
        let server = try await RealServer()
        let client = try await makeClient(server.socket)
        #expect(try await client.until { $0.isConnected && $0.hasLock })
        let vsctl = { (arguments: [String]) in try run("ovs-vsctl", ["--db=unix:\(server.socket)", "--no-wait"] + arguments) }
        #expect(try vsctl(["init"]).status == 0)
        #expect(try vsctl(["add-br", "br0", "--", "set", "bridge", "br0", "other_config:a=b", "other_config:c=d"]).status == 0)
        #expect(
            try await client.until { client in
                client.rows("Bridge").values.first?.map("other_config") == ["a": "b", "c": "d"]
            })
        #expect(try vsctl(["remove", "bridge", "br0", "other_config", "a", "--", "set", "bridge", "br0", "other_config:c=e"]).status == 0)
        #expect(try await client.until { $0.rows("Bridge").values.first?.map("other_config") == ["c": "e"] })
        try await client.run { client in
            let bridge = try #require(client.rows("Bridge").values.first)
            #expect(bridge.string("name") == "br0")
            let portID = try #require(bridge.uuids("ports").first)
            let port = try #require(client.row("Port", portID))
            let interfaceID = try #require(port.uuids("interfaces").first)
            let interface = try #require(client.row("Interface", interfaceID))
            #expect(interface.string("type") == "internal")
            #expect(interface.optionalInteger("ofport") == nil)
            #expect(client.singleton("Open_vSwitch")?.uuids("bridges") == [bridge.uuid])
            #expect(client.rows("NoSuchTable").isEmpty)
        }

        // Status is written back as differences.
        let status = try await commit(client) { client, transaction in
            let interface = try #require(client.rows("Interface").values.first)
            transaction.set(interface, ["ofport": .integer(65534), "statistics": .map(["rx_packets": 7])])
            let root = try #require(client.singleton("Open_vSwitch"))
            transaction.increment("Open_vSwitch", root.uuid, "cur_cfg")
            transaction.verify(root, "next_cfg")
        }
        #expect(status == .success)
        #expect(try await client.run { $0.rows("Interface").values.first?.integer("ofport") } == 65534)
        #expect(try await client.run { $0.rows("Interface").values.first?.integerMap("statistics") } == ["rx_packets": 7])
        let again = try await commit(client) { client, transaction in
            transaction.set(try #require(client.rows("Interface").values.first), ["ofport": .integer(65534)])
        }
        #expect(again == .unchanged)

        // Rows inserted together may refer to each other.
        let inserted = try await commit(client) { client, transaction in
            let interface = transaction.insert("Interface", ["name": .string("p1")])
            let port = transaction.insert("Port", ["name": .string("p1"), "interfaces": .uuid(interface)])
            let bridge = try #require(client.rows("Bridge").values.first)
            transaction.set(bridge, ["ports": .uuids(bridge.uuids("ports") + [port])])
        }
        #expect(inserted == .success)
        #expect(try vsctl(["list-ports", "br0"]).output == "p1\n")

        // A second client waits for the lock.
        let second = try await makeClient(server.socket)
        #expect(try await second.until { $0.isConnected && $0.isLockContended })
        #expect(
            try await commit(second) { client, transaction in
                transaction.set(try #require(client.singleton("Open_vSwitch")), ["ovs_version": .string("x")])
            } == .notLocked)
        try await client.run { $0.stop() }
        #expect(try await second.until { $0.hasLock })

        // Constraint violations come back as errors.
        let refused = try await commit(second) { client, transaction in
            transaction.set(try #require(client.rows("Bridge").values.first), ["fail_mode": .string("no")])
        }
        guard case .error(let error) = refused else { return #expect(Bool(false), "\(refused)") }
        #expect(error.error == "constraint violation")

        // The server goes away and comes back.
        server.stop()
        #expect(try await second.until { !$0.isConnected })
        #expect(try await second.run { $0.rows("Bridge").count } == 1)
        try await server.restart()
        #expect(try vsctl(["add-br", "br1"]).status == 0)
        #expect(try await second.until(15) { $0.isConnected && $0.rows("Bridge").count == 2 })
        try await second.run { $0.stop() }
    }

    func commit(
        _ client: OnLoop<OVSDBClient>,
        _ fill: @escaping @Sendable (OVSDBClient, OVSDBTransaction) throws -> Void
    ) async throws -> OVSDBCommitStatus {
        let loop = client.loop
        let box = client.box
        return try await loop.flatSubmit {
            let promise = loop.makePromise(of: OVSDBCommitStatus.self)
            do {
                let transaction = box.value!.transaction()
                try fill(box.value!, transaction)
                transaction.commit { promise.succeed($0) }
            } catch { promise.fail(error) }
            return promise.futureResult
        }.get()
    }
}
