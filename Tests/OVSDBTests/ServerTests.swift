// The embedded server, driven by Debian's ovs-vsctl, ovsdb-client and ovsdb-tool.
import class Foundation.FileHandle
import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import struct Foundation.Data
import struct Foundation.URL
import Glibc
import NIOCore
import NIOPosix
import Testing
@testable import OVSDB

/// An embedded server in this process, with a database of its own.
final class EmbeddedServer: Sendable {
    let directory: String
    let server: OnLoop<OVSDBServer>
    var socket: String { directory + "/db.sock" }
    var file: String { directory + "/conf.db" }

    init(_ directory: String, schemaText: String = OVSDBSchema.openVSwitchText) async throws {
        self.directory = directory
        let loop = loopGroup.any()
        let path = directory
        server = try await OnLoop(loop) {
            let server = try OVSDBServer(eventLoop: loop)
            try server.open(path: path + "/conf.db", schemaText: schemaText)
            return server
        }
        let box = server.box
        try await loop.flatSubmit {
            let promise = loop.makePromise(of: Void.self)
            box.value!.listen(.passiveUnix(path: path + "/db.sock")) { error in error.map { promise.fail($0) } ?? promise.succeed(()) }
            return promise.futureResult
        }.get()
    }

    func close() async throws {
        try await server.run { $0.close() }
        try await server.loop.submit { [box = server.box] in box.value = nil }.get()
    }

    func vsctl(_ arguments: String...) throws -> Output {
        try run("ovs-vsctl", ["--db=unix:\(socket)", "--no-wait", "--timeout=10"] + arguments)
    }

    /// The results of a transaction, as text.
    func transact(_ operations: String, database: String = "Open_vSwitch") throws -> String {
        try run("ovsdb-client", ["transact", "unix:\(socket)", "[\"\(database)\",\(operations)]"]).output
    }
}

@Suite(
    .enabled(
        if: isInstalled("ovs-vsctl") && isInstalled("ovsdb-client") && isInstalled("ovsdb-tool"),
        "needs ovs-vsctl, ovsdb-client and ovsdb-tool"), .serialized)
struct ServerTests {
    @Test func schemaIsTheInstalledOne() throws {
        let installed = try String(contentsOfFile: schemaPath, encoding: .utf8)
        #expect(try JSON(parsing: OVSDBSchema.openVSwitchText) == JSON(parsing: installed))
        #expect(try OVSDBSchema(json: JSON(parsing: installed)).version == "8.3.1")
    }

    @Test func sha1() {
        #expect(SHA1.hexadecimal([]) == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(SHA1.hexadecimal(Array("abc".utf8)) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(SHA1.hexadecimal([UInt8](repeating: 0x61, count: 119)) == "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56")
    }

    @Test func vsctlAndTools() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        #expect(try server.vsctl("init").status == 0)
        #expect(try server.vsctl("add-br", "br0").output == "")
        #expect(
            try server.vsctl("add-port", "br0", "p1", "tag=5", "--", "set", "interface", "p1", "type=dummy", "other_config:x=y").status == 0
        )
        #expect(try server.vsctl("add-bond", "br0", "b0", "e1", "e2").status == 0)
        #expect(try server.vsctl("list-ports", "br0").output == "b0\np1\n")
        #expect(try server.vsctl("get", "port", "p1", "tag").output == "5\n")
        #expect(try server.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653").status == 0)
        #expect(try server.vsctl("--", "--id=@m", "create", "mirror", "name=m0", "--", "set", "bridge", "br0", "mirrors=@m").status == 0)
        #expect(try server.vsctl("--", "--id=@p", "get", "port", "p1", "--", "set", "mirror", "m0", "select_dst_port=@p").status == 0)
        let show = try server.vsctl("show").output
        #expect(show.contains("Bridge br0") && show.contains("tag: 5") && show.contains("Controller \"tcp:127.0.0.1:6653\""))
        // Deleting the port collects its interface and drops the mirror's weak reference.
        #expect(try server.vsctl("del-port", "p1").status == 0)
        #expect(try server.vsctl("list", "interface", "p1").status != 0)
        #expect(try server.vsctl("get", "mirror", "m0", "select_dst_port").output == "[]\n")

        #expect(try run("ovsdb-client", ["list-dbs", "unix:\(server.socket)"]).output == "Open_vSwitch\n_Server\n")
        #expect(try run("ovsdb-client", ["get-schema-version", "unix:\(server.socket)"]).output == "8.3.1\n")
        let dump = try run("ovsdb-client", ["dump", "unix:\(server.socket)", "Open_vSwitch", "Bridge", "name"]).output
        #expect(dump == "Bridge table\nname\n----\nbr0\n")
        #expect(try run("ovsdb-client", ["dump", "unix:\(server.socket)"]).status == 0)
        #expect(
            try run("ovsdb-client", ["dump", "unix:\(server.socket)", "_Server", "Database", "name", "model"]).output.contains(
                "standalone Open_vSwitch"))

        let log = try run("ovsdb-tool", ["-mm", "show-log", server.file])
        #expect(log.status == 0 && log.output.contains("ovs-vsctl") && log.output.contains("insert row"))
        let before = dumpAll(server)
        try await server.server.run { try $0.compact("Open_vSwitch") }
        #expect(dumpAll(server) == before)
        #expect(try server.vsctl("add-br", "br1").status == 0)
        try await server.close()
        #expect(try run("ovsdb-tool", ["compact", server.file]).output == "")
        let again = try await EmbeddedServer(scratch.path)
        #expect(try again.vsctl("list-br").output == "br0\nbr1\n")
        try await again.close()
    }

    private func dumpAll(_ server: EmbeddedServer) -> String {
        ((try? run("ovsdb-client", ["dump", "unix:\(server.socket)", "Open_vSwitch", "Port", "name", "interfaces"]))?.output) ?? ""
    }

    /// The same requests to Debian's server and ours get the same answers.
    @Test(.enabled(if: isInstalled("ovsdb-server"), "needs ovsdb-server")) func answersLikeTheRealServer() async throws {
        let scratch = try Scratch()
        let ours = try await EmbeddedServer(scratch.path)
        let real = try await RealServer()
        let requests = [
            #"{"op":"insert","table":"Open_vSwitch","row":{}}"#,
            #"{"op":"insert","table":"Open_vSwitch","row":{}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":"br0"}},{"op":"select","table":"Bridge","where":[],"columns":["name"]}"#,
            #"{"op":"insert","table":"Nope","row":{}}"#,
            #"{"op":"insert","table":"Bridge","row":{"zz":1}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":1}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":"a","fail_mode":"foo"}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":"a","flood_vlans":4096}}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[["foo","==",1]],"row":{}}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[["next_cfg","~",1]],"row":{}}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[["external_ids","<",1]],"row":{}}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[["next_cfg",1]],"row":{}}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[],"row":{},"zz":1}"#,
            #"{"op":"update","table":"Open_vSwitch","where":[]}"#,
            #"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","/=",0]]}"#,
            #"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","insert",0]]}"#,
            #"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",9223372036854775807],["next_cfg","+=",1]]}"#,
            #"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["external_ids","insert",["map",[["a","b"],["c","d"]]]],["external_ids","delete",["set",["a"]]]]},{"op":"select","table":"Open_vSwitch","where":[["external_ids","includes",["map",[["c","d"]]]]],"columns":["external_ids"]}"#,
            #"{"op":"wait","table":"Open_vSwitch","where":[],"columns":["next_cfg"],"until":"==","rows":[{"next_cfg":99}],"timeout":0}"#,
            #"{"op":"abort"},{"op":"comment","comment":"x"}"#,
            #"{"op":"comment","comment":"x"},{"op":"commit","durable":true},{"op":"assert","lock":"foo"}"#,
            #"{"op":"zzz"}"#, #"{"op":1}"#, "1",
            #"{"op":"insert","table":"Queue","row":{"dscp":64}}"#, #"{"op":"insert","table":"Queue","row":{"dscp":["set",[1,2]]}}"#,
            #"{"op":"insert","table":"Manager","row":{"target":"x"}},{"op":"delete","table":"Manager","where":[["target","!=","y"]]}"#,
            #"{"op":"insert","table":"Manager","row":{"target":["set",[]]}}"#,
            #"{"op":"delete","table":"Open_vSwitch","where":[["_uuid","==",1]]},{"op":"comment","comment":"x"}"#,
            #"{"op":"mutate","table":"Bridge","where":[],"mutations":[["name","insert","x"]]}"#,
            #"{"op":"mutate","table":"Bridge","where":[],"mutations":[["flood_vlans","+=","x"]]}"#,
            #"{"op":"mutate","table":"Bridge","where":[],"mutations":[["nope","+=",1]]}"#,
            #"{"op":"mutate","table":"Bridge","where":[],"mutations":[["flood_vlans","**",1]]}"#,
            #"{"op":"mutate","table":"Bridge","where":[],"mutations":[1]}"#,
            #"{"op":"insert","table":"Bridge","row":{"other_config":["map",[["a"]]]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"other_config":["map",[["a","b"],["a","c"]]]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"flood_vlans":["set",[1,1]]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":["map",[]]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"ports":["uuid","x"]}}"#,
            #"{"op":"select","table":"Bridge","where":[],"columns":["zz"]}"#,
            #"{"op":"select","table":"Bridge","where":1}"#,
            #"{"op":"insert","table":"Bridge","row":{"ports":["named-uuid","a b"]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"flood_vlans":["set"]}}"#,
            #"{"op":"insert","table":"Bridge","row":{"other_config":5}}"#,
            #"{"op":"insert","table":"Bridge","uuid-name":"1x","row":{}}"#,
            #"{"op":"insert","table":"Port","row":{"name":"pp","interfaces":["set",[]]}}"#,
            #"{"op":"insert","table":"Queue","row":{"dscp":3}},{"op":"mutate","table":"Queue","where":[],"mutations":[["dscp","insert",4]]}"#,
            #"{"op":"insert","table":"Queue","row":{"dscp":3}},{"op":"mutate","table":"Queue","where":[],"mutations":[["dscp","+=",400]]}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":"x"}},{"op":"update","table":"Bridge","where":[],"row":{"name":"y"}}"#,
            #"{"op":"insert","table":"Bridge","row":{"name":"x"}},{"op":"mutate","table":"Bridge","where":[],"mutations":[["name","+=","x"]]}"#,
            #"{"op":"insert","table":"NetFlow","row":{"targets":"a"}},{"op":"mutate","table":"NetFlow","where":[],"mutations":[["targets","delete","a"]]}"#,
            #"{"op":"wait","table":"Open_vSwitch","where":[],"columns":["next_cfg"],"until":"~","rows":[],"timeout":0}"#,
            #"{"op":"insert","table":"Mirror","row":{"snaplen":13}}"#,
            #"{"op":"insert","table":"Flow_Table","row":{"overflow_policy":"x"}}"#,
            #"{"op":"insert","table":"Bridge","uuid-name":"a","row":{}},{"op":"insert","table":"Bridge","uuid-name":"a","row":{}}"#,
        ]
        func mask(_ text: String) -> String {
            text.replacing(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UUID")
        }
        for request in requests {
            let theirs = try run("ovsdb-client", ["transact", "unix:\(real.socket)", "[\"Open_vSwitch\",\(request)]"]).output
            #expect(mask(try ours.transact(request)) == mask(theirs), "\(request)")
        }
        try await ours.close()
    }

    @Test func integrity() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        _ = try server.vsctl("init")
        let missing = try server.transact(
            #"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","insert",["uuid","00000000-0000-0000-0000-000000000001"]]]}"#
        )
        #expect(
            missing.contains("referential integrity violation")
                && missing.contains("references nonexistent row 00000000-0000-0000-0000-000000000001 in table Bridge."))
        #expect(try server.vsctl("add-br", "br0").status == 0)
        #expect(try server.transact(#"{"op":"delete","table":"Bridge","where":[]}"#).contains("because of 1 remaining reference(s)"))
        let duplicate = try server.transact(
            #"{"op":"insert","table":"Bridge","uuid-name":"b","row":{"name":"br0"}},{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","insert",["named-uuid","b"]]]}"#
        )
        #expect(duplicate.contains("identical values (\\\"br0\\\") for index on column \\\"name\\\""))
        // A non-root row that nothing refers to does not outlive its transaction.
        _ = try server.transact(#"{"op":"insert","table":"Port","row":{"name":"lost"}}"#)
        #expect(try server.vsctl("--columns=name", "list", "port").output == "name                : br0\n")
        #expect(
            try server.transact(#"{"op":"update","table":"Bridge","where":[],"row":{"name":"x"}}"#).contains(
                "Cannot update immutable column name in table Bridge."))
        try await server.close()
    }

    @Test func monitorsLocksAndWaits() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        _ = try server.vsctl("init")
        let output = scratch.file("monitor")
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        let handle = try #require(FileHandle(forWritingAtPath: output))
        let monitor = try start(
            "ovsdb-client",
            ["--format=csv", "--no-headings", "monitor", "unix:\(server.socket)", "Open_vSwitch", "Bridge", "name,fail_mode"],
            standardOutput: handle)
        defer { monitor.end() }
        try await Task.sleep(for: .milliseconds(300))
        _ = try server.vsctl("add-br", "br0")
        _ = try server.vsctl("set-fail-mode", "br0", "secure")
        _ = try server.vsctl("del-br", "br0")
        #expect(try await until { (try? String(contentsOfFile: output, encoding: .utf8))?.contains("delete") ?? false })
        let text = try String(contentsOfFile: output, encoding: .utf8)
        #expect(text.contains(",insert,br0,[]\n") && text.contains(",new,br0,secure\n"))

        // A lock is handed over, and a waiting transaction goes on when its row appears.
        let lockFile = scratch.file("lock")
        _ = FileManager.default.createFile(atPath: lockFile, contents: nil)
        let first = try start(
            "ovsdb-client", ["lock", "unix:\(server.socket)", "a_lock"], standardOutput: FileHandle(forWritingAtPath: lockFile))
        #expect(try await until { (try? String(contentsOfFile: lockFile, encoding: .utf8))?.contains("true") ?? false })
        let secondFile = scratch.file("lock2")
        _ = FileManager.default.createFile(atPath: secondFile, contents: nil)
        let second = try start(
            "ovsdb-client", ["lock", "unix:\(server.socket)", "a_lock"], standardOutput: FileHandle(forWritingAtPath: secondFile))
        defer { second.end() }
        try await Task.sleep(for: .milliseconds(200))
        #expect(try String(contentsOfFile: secondFile, encoding: .utf8) == "{\"locked\":false}\n")
        first.end()
        #expect(try await until { (try? String(contentsOfFile: secondFile, encoding: .utf8))?.contains("[\"a_lock\"]") ?? false })

        let waiter = try start("ovsdb-client", ["wait", "unix:\(server.socket)", "Open_vSwitch", "connected"])
        waiter.waitUntilExit()
        #expect(waiter.terminationStatus == 0)
        let pipe = Pipe()
        let waiting = try start(
            "ovsdb-client",
            [
                "transact", "unix:\(server.socket)",
                #"["Open_vSwitch",{"op":"wait","table":"Open_vSwitch","where":[],"columns":["next_cfg"],"until":"==","rows":[{"next_cfg":77}],"timeout":8000},{"op":"comment","comment":"x"}]"#,
            ],
            standardOutput: pipe)
        try await Task.sleep(for: .milliseconds(200))
        _ = try server.vsctl("set", "open_vswitch", ".", "next_cfg=77")
        #expect(String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) == "[{},{}]\n")
        waiting.waitUntilExit()
        #expect(
            try server.transact(
                #"{"op":"wait","table":"Open_vSwitch","where":[],"columns":["next_cfg"],"until":"==","rows":[{"next_cfg":1}],"timeout":50}"#
            ).contains("timed out"))
        try await server.close()
    }

    @Test func tornRecordsAreDroppedAndFilesLocked() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        _ = try server.vsctl("add-br", "br0")
        await #expect(throws: (any Error).self) { try await EmbeddedServer(scratch.path) }
        try await server.close()
        let whole = try #require(FileManager.default.contents(atPath: server.file))
        for cut in [1, 40] {
            var torn = whole
            torn.append(contentsOf: whole.suffix(100).prefix(100 - cut))
            torn.append(Data("OVSDB JSON 99 0123\n{".utf8))
            _ = FileManager.default.createFile(atPath: server.file, contents: torn)
            let again = try await EmbeddedServer(scratch.path)
            #expect(try again.vsctl("list-br").output == "br0\n")
            try await again.close()
            #expect(FileManager.default.contents(atPath: server.file) == whole)
        }
        // A file by the real server, with differences, reads the same.
        let real = try await RealServer()
        for arguments in [
            ["add-br", "br0"], ["add-port", "br0", "p0"], ["set", "bridge", "br0", "other_config:a=b", "other_config:c=d"],
            ["remove", "bridge", "br0", "other_config", "a"], ["del-port", "p0"], ["add-port", "br0", "p1"],
        ] {
            #expect(try run("ovs-vsctl", ["--db=unix:\(real.socket)", "--no-wait"] + arguments).status == 0)
        }
        real.stop()
        let second = try Scratch()
        try FileManager.default.copyItem(atPath: real.scratch.file("conf.db"), toPath: second.file("conf.db"))
        let reader = try await EmbeddedServer(second.path)
        #expect(try reader.vsctl("list-ports", "br0").output == "p1\n")
        #expect(try reader.vsctl("get", "bridge", "br0", "other_config").output == "{c=d}\n")
        try await reader.close()
    }

    /// What was answered is in the file by then: a copy taken at once, as after kill -9, has it.
    @Test func answeredTransactionsSurvive() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        for number in 0..<5 {
            #expect(try server.vsctl("add-br", "br\(number)").status == 0)
            let copy = try Scratch()
            try FileManager.default.copyItem(atPath: server.file, toPath: copy.file("conf.db"))
            let survivor = try await EmbeddedServer(copy.path)
            #expect(try survivor.vsctl("list-br").output.split(separator: "\n").count == number + 1)
            try await survivor.close()
        }
        try await server.close()
    }

    @Test func hostileBytesOnlyCloseTheirConnection() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        let socket = server.socket
        for text in [
            "x", "[]", "{}", #"{"id":1,"method":"transact","params":[[]]}"#, #"{"id":1,"method":"monitor","params":["Open_vSwitch"]}"#,
            #"{"id":1,"method":"monitor_cond_since","params":["Open_vSwitch",1,2,3]}"#, #"{"id":[],"method":"lock","params":[{}]}"#,
            #"{"id":1,"method":"monitor","params":["Open_vSwitch",null,{"Bridge":[{"columns":[null]}]}]}"#,
            #"{"id":null,"method":"cancel","params":[]}"#, #"{"id":1,"result":1,"error":null}"#, String(repeating: "[", count: 10_000),
            #"{"id":1,"method":"transact","params":["Open_vSwitch",{"op":"wait","table":"Bridge","where":[],"rows":[],"until":"!=","timeout":-9223372036854775808}]}"#,
            #"{"id":1,"method":"transact","params":["Open_vSwitch",{"op":"wait","table":"Bridge","where":[],"rows":[],"until":"!=","timeout":9223372036854775807}]}"#,
        ] {
            let channel = try await ClientBootstrap(group: loopGroup).connect(unixDomainSocketPath: socket).get()
            try await channel.writeAndFlush(ByteBuffer(string: text))
            try await Task.sleep(for: .milliseconds(20))
            try? await channel.close()
        }
        #expect(try server.vsctl("show").status == 0)
        try await server.close()
    }

    /// A manager is connected to, and again after it went away.
    @Test func connectsToManagers() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        let manager = scratch.file("manager.sock")
        try await server.server.run { $0.connect(.unix(path: manager)) }
        for _ in 0..<2 {
            #expect(
                try run("ovsdb-client", ["--timeout=8", "get-schema-version", "punix:\(manager)", "Open_vSwitch"]).output.contains("8.3.1"))
        }
        try await server.close()
    }

    @Test func ownClientFollowsOwnServer() async throws {
        let scratch = try Scratch()
        let server = try await EmbeddedServer(scratch.path)
        let tests = ClientTests()
        let client = try await tests.makeClient(server.socket)
        #expect(try await client.until { $0.isConnected && $0.hasLock })
        #expect(try server.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "other_config:a=b", "other_config:c=d").status == 0)
        #expect(try server.vsctl("remove", "bridge", "br0", "other_config", "a").status == 0)
        #expect(try await client.until { $0.rows("Bridge").values.first?.map("other_config") == ["c": "d"] })
        #expect(
            try await tests.commit(client) { client, transaction in
                transaction.set(try #require(client.rows("Interface").values.first), ["statistics": .map(["rx_packets": 1])])
            } == .success)
        #expect(try await client.run { $0.rows("Interface").values.first?.integerMap("statistics") } == ["rx_packets": 1])
        // Ephemeral columns do not reach the disk.
        let interfaces = try run("ovsdb-tool", ["-mm", "show-log", server.file]).output
        #expect(!interfaces.contains("rx_packets"))
        try await client.run { $0.stop() }
        try await server.close()
    }
}
