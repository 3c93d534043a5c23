// The control socket, with Debian's ovs-appctl and with the client of our own; and logging controls.
import Foundation
import NIOCore
import NIOPosix
import Testing
import Unixctl
@testable import Vlog

@Suite(.serialized) final class UnixctlTests {
    let path = "/tmp/unixctl-test-\(UInt32.random(in: 0 ... .max))"
    let loop = MultiThreadedEventLoopGroup.singleton.any()

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func listen() async throws -> NIOLoopBoundBox<UnixctlServer?> {
        let box = NIOLoopBoundBox<UnixctlServer?>.makeEmptyBox(valueType: UnixctlServer.self, eventLoop: loop)
        let (loop, path) = (loop, path)
        try await loop.flatSubmit {
            let server = UnixctlServer(eventLoop: loop, version: "ovs-vswitchd (Open vSwitch) 3.1.0")
            box.value = server
            server.register("sum", "a [b]", 1, 2) { .ok($0.joined(separator: "+")) }
            server.register(
                "later", "", 0, 0,
                deferred: { _, command in
                    loop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { command.reply("done") }
                    return .deferred
                })
            let promise = loop.makePromise(of: Void.self)
            server.listen(path: path) { error in error.map { promise.fail($0) } ?? promise.succeed(()) }
            return promise.futureResult
        }.get()
        return box
    }

    func appctl(_ arguments: String...) throws -> (status: Int32, text: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "10", "ovs-appctl", "-t", path] + arguments
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    func stop(_ server: NIOLoopBoundBox<UnixctlServer?>) async throws { try await loop.submit { server.value?.close() }.get() }

    @Test func ownClient() async throws {
        let server = try await listen()
        let client = try UnixctlClient(path: path)
        #expect(try client.run("sum", ["1", "2"]) == .ok("1+2\n"))
        #expect(try client.run("later") == .ok("done\n"))
        #expect(try client.run("sum") == .error("\"sum\" command requires at least 1 arguments\n"))
        #expect(try client.run("sum", ["1", "2", "3"]) == .error("\"sum\" command takes at most 2 arguments\n"))
        #expect(
            try client.run("nope") == .error("\"nope\" is not a valid command (use \"list-commands\" to see a list of valid commands)\n"))
        try await stop(server)
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/ovs-appctl"), "needs ovs-appctl"))
    func debianAppctl() async throws {
        let server = try await listen()
        #expect(try appctl("version").text == "ovs-vswitchd (Open vSwitch) 3.1.0\n")
        #expect(try appctl("sum", "é", "\n\"").text == "é+\n\"\n")
        #expect(try appctl("later").text == "done\n")
        let list = try appctl("list-commands").text
        #expect(
            list.hasPrefix(
                "The available commands are:\n  later                   \n  list-commands           \n  sum                     a [b]\n"))
        #expect(try appctl("nope").status == 2)
        #expect(try appctl("vlog/set", "foo").text.hasPrefix("no destination, level, or module \"foo\"\n"))
        try await stop(server)
    }

    @Test func vlogSpecs() throws {
        let module = Vlog.module("unixctl_test")
        #expect(Vlog.set("unixctl_test:off") == nil)
        #expect(!module.isEnabled(.emer))
        #expect(Vlog.set("file unixctl_test,DBG") == nil)
        #expect(module.level(.file) == .dbg && module.level(.console) == .off)
        for (spec, error) in [
            ("info:dbg", "cannot specify multiple levels"), ("bridge vlog", "cannot specify multiple modules"),
            ("syslog file", "cannot specify multiple destinations"), ("PATTERN", "missing destination"),
            ("PATTERN:foo:x", "unknown destination \"foo\""), ("FACILITY:foo", "invalid facility"),
            ("any:x", "no destination, level, or module \"x\""),
        ] { #expect(Vlog.set(spec) == error) }
        #expect(Vlog.list().contains("\ndpif_lookup_autovalidator  "))
        #expect(Vlog.list().contains("\nunixctl_test       OFF        OFF        DBG\n"))
        #expect(Vlog.listPatterns().contains("CONSOLE  none                              %D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m\n"))
    }

    @Test func vlogPatterns() {
        let record = VlogRecord(
            module: "m", level: .warn, message: "text", serial: 7, seconds: 0, milliseconds: 42,
            elapsed: 5, program: "prog", facility: 16)
        #expect(
            VlogPattern("%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c|%p|%m|%5p|%-6p|%A|%B|%r|%q|%%").expand(record)
                == "1970-01-01T00:00:00.042Z|00007|m|WARN|text| WARN|WARN  |prog|132|5|q|%")
    }

    @Test func vlogFile() throws {
        let file = path + ".log"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Vlog.setLogFile(file)
        _ = Vlog.set("unixctl_file:file:info")
        let module = Vlog.module("unixctl_file")
        _ = Vlog.set("unixctl_file:console:off")
        _ = Vlog.set("unixctl_file:file:info")
        module.info("hello")
        module.dbg("not this")
        let limit = VlogRateLimit(perMinute: 1, burst: 2)
        for _ in 0..<5 { module.log(.warn, limit, "limited") }
        try FileManager.default.removeItem(atPath: file)
        try Vlog.reopenLogFile()
        module.info("again")
        Vlog.closeLogFile()
        module.info("closed")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(text.contains("|unixctl_file") && text.contains("|INFO|again\n") && !text.contains("closed"))
        #expect(throws: VlogFileError.self) { try Vlog.setLogFile("/nonexistent/x") }
    }
}
