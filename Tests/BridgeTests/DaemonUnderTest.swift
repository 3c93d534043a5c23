// A daemon for one test, with Debian's tools around it, in a directory of its own.
import class Foundation.FileHandle
import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import class Foundation.ProcessInfo
import struct Foundation.Data
import struct Foundation.URL
import Glibc

/// What a program printed, and how it ended.
struct Output {
    let status: Int32
    let output: String
}

func isInstalled(_ program: String) -> Bool {
    ["/usr/bin/", "/usr/sbin/"].contains { FileManager.default.isExecutableFile(atPath: $0 + program) }
}

/// Where this package's vswitchd was built.
var daemonPath: String {
    let here = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let beside = URL(fileURLWithPath: here).deletingLastPathComponent().appendingPathComponent("vswitchd").path
    if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    // The tests run in a helper of the toolchain, which is told the bundle's path.
    let bundle = ProcessInfo.processInfo.arguments.first { $0.hasSuffix(".xctest") } ?? beside
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("vswitchd").path
}

/// The daemon, its database and their directory. Whatever still runs at the end is killed.
final class DaemonUnderTest {
    let directory: String
    let usesOwnDatabase: Bool
    private(set) var daemon: Process?
    private(set) var database: Process?
    /// Each with the pipe that keeps its input open.
    private var others: [(process: Process, input: Pipe)] = []

    init(ownDatabase: Bool) throws {
        directory = "/tmp/vswitchd-test-\(UInt32.random(in: 0...UInt32.max))"
        usesOwnDatabase = ownDatabase
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        if !ownDatabase {
            _ = try run("ovsdb-tool", ["create", "\(directory)/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"])
            try startDatabase()
            _ = try run("ovs-vsctl", ["--no-wait", "init"])
        }
    }

    deinit {
        for process in [daemon, database].compactMap({ $0 }) + others.map(\.process) { end(process) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    var environment: [String: String] {
        var environment = ProcessInfo.processInfo.environment
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] { environment[name] = directory }
        environment["PATH"] = (environment["PATH"] ?? "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
        environment["SWIFT_BACKTRACE"] = "enable=no"
        return environment
    }

    private func start(_ program: String, _ arguments: [String], input: Any? = nil, output: Any? = nil) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = environment
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.standardOutput = output ?? FileHandle.nullDevice
        process.standardError = output ?? FileHandle.nullDevice
        process.standardInput = input ?? FileHandle.nullDevice
        try process.run()
        return process
    }

    func startDatabase() throws {
        database = try start(
            "ovsdb-server", ["\(directory)/conf.db", "--remote=punix:\(directory)/db.sock", "--unixctl=none", "-vconsole:off"])
        try wait("a database socket") { (try? self.run("ovs-vsctl", ["--no-wait", "show"]))?.status == 0 }
    }

    /// Starts the daemon and waits until it has configured itself.
    func startDaemon(_ extra: [String] = []) throws {
        var arguments = usesOwnDatabase ? [] : ["unix:\(directory)/db.sock"]
        arguments += ["--datapath", "dummy", "--no-chdir", "--pidfile", "--log-file", "-vconsole:off"] + extra
        try? FileManager.default.removeItem(atPath: "\(directory)/ovs-vswitchd.pid")
        daemon = try start(daemonPath, arguments)
        try wait("the daemon") { self.isAnswering }
        if usesOwnDatabase { try wait("its database") { (try? self.run("ovs-vsctl", ["show"]))?.status == 0 } }
    }

    var isAnswering: Bool {
        FileManager.default.fileExists(atPath: "\(directory)/ovs-vswitchd.pid")
            && (try? run("ovs-appctl", ["version"]))?.status == 0
    }

    var pid: pid_t? {
        (try? String(contentsOfFile: "\(directory)/ovs-vswitchd.pid", encoding: .utf8)).flatMap {
            pid_t($0.filter(\.isNumber))
        }
    }

    /// A virtual machine for vhost-user ports: testpmd with virtio-user devices, which forwards between them for ever, beginning with
    /// packets of its own.
    final class Machine {
        fileprivate let process: Process
        fileprivate let input: Pipe
        fileprivate let socket: String
        fileprivate init(_ process: Process, _ input: Pipe, socket: String) {
            self.process = process
            self.input = input
            self.socket = socket
        }
        /// Switches it off, and takes away the socket that it leaves.
        func end() {
            guard process.isRunning else { return }
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            try? FileManager.default.removeItem(atPath: socket)
        }
    }

    /// - Parameters:
    ///   - client: where the machine listens for the switch.
    ///   - server: where the switch listens for the machine; nil: the machine has one device.
    func startMachine(client: String, server: String?) throws -> Machine {
        let input = Pipe()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            [
                "dpdk-testpmd", "-l", "0,1", "--no-huge", "-m", "256", "--file-prefix=m\(UInt32.random(in: 0...UInt32.max))", "--no-pci",
                "--no-telemetry", "--vdev=net_virtio_user0,path=\(client),server=1",
            ] + (server.map { ["--vdev=net_virtio_user1,path=\($0)"] } ?? []) + ["--", "-i", "--total-num-mbufs=8192"]
        process.environment = environment
        process.standardInput = input
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        input.fileHandleForWriting.write(Data("start tx_first\n".utf8))
        return Machine(process, input, socket: client)
    }

    /// Starts a program that runs until the end of the test, and writes what it prints into a file.
    func background(_ program: String, _ arguments: [String], output: String) throws {
        let path = "\(directory)/\(output)"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        let input = Pipe()
        others.append((try start(program, arguments, input: input, output: FileHandle(forWritingAtPath: path)), input))
    }

    private func end(_ process: Process) {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func killDaemon() {
        if let daemon { end(daemon) }
        daemon = nil
    }

    func killDatabase() {
        if let database { end(database) }
        database = nil
    }

    /// Waits for the daemon to end by itself and returns how it did.
    func waitForEnd() throws -> Int32 {
        guard let process = daemon else { return -1 }
        try wait("the daemon's end") { !process.isRunning }
        daemon = nil
        return process.terminationStatus
    }

    /// Runs one of Debian's tools to its end.
    func run(_ program: String, _ arguments: [String]) throws -> Output {
        let pipe = Pipe()
        let process = try start("timeout", ["20", program] + arguments, output: pipe)
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Output(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
    }

    /// Output of ovs-vsctl without the last line's end.
    func vsctl(_ arguments: String...) throws -> String { try trimmed("ovs-vsctl", arguments) }
    func appctl(_ arguments: String...) throws -> String { try trimmed("ovs-appctl", arguments) }

    private func trimmed(_ program: String, _ arguments: [String]) throws -> String {
        var text = try run(program, arguments).output
        while text.hasSuffix("\n") { text.removeLast() }
        return text
    }

    struct Timeout: Error { let what: String }

    func wait(_ what: String, seconds: Int = 20, _ condition: () -> Bool) throws {
        for _ in 0..<seconds * 50 {
            if condition() { return }
            usleep(20_000)
        }
        throw Timeout(what: what)
    }

    func file(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(directory)/\(name)") }
}
