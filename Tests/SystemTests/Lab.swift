// A switch on real packets for one test: the daemon in a network namespace of its own, hosts in others, joined by veths.
import class Foundation.FileHandle
import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import class Foundation.ProcessInfo
import struct Foundation.URL
import Glibc

/// What a program printed, and how it ended.
struct Output {
    let status: Int32
    let text: String
}

/// Why tests on real packets cannot run here; nil when they can.
let obstacle: String? = {
    func exists(_ program: String) -> Bool {
        ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"].contains {
            FileManager.default.isExecutableFile(atPath: $0 + program)
        }
    }
    if geteuid() != 0 { return "needs root" }
    if access("/dev/net/tun", R_OK | W_OK) != 0 { return "needs /dev/net/tun" }
    for program in ["ip", "ping", "ovs-vsctl", "ovs-appctl", "ovs-ofctl", "python3"] where !exists(program) {
        return "needs \(program)"
    }
    guard let made = try? execute("ip", ["netns", "add", "vsw-probe-\(getpid())"]), made.status == 0 else {
        return "needs the right to make network namespaces"
    }
    _ = try? execute("ip", ["netns", "del", "vsw-probe-\(getpid())"])
    return nil
}()

/// Where this package's vswitchd was built.
let daemonPath: String = {
    let here = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    let beside = URL(fileURLWithPath: here).deletingLastPathComponent().appendingPathComponent("vswitchd").path
    if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    // The tests run in a helper of the toolchain, which is told the bundle's path.
    let bundle = ProcessInfo.processInfo.arguments.first { $0.hasSuffix(".xctest") } ?? beside
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("vswitchd").path
}()

/// Starts a program without waiting for it.
func start(
    _ program: String, _ arguments: [String], in directory: String = "/tmp", variables: [String: String] = [:],
    output: Any? = nil
) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    var environment = ProcessInfo.processInfo.environment.merging(variables) { $1 }
    environment["PATH"] = (environment["PATH"] ?? "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    environment["SWIFT_BACKTRACE"] = "enable=no"
    process.environment = environment
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardOutput = output ?? FileHandle.nullDevice
    process.standardError = output ?? FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
    return process
}

/// Runs a program to its end, for 30 seconds at most.
func execute(_ program: String, _ arguments: [String], variables: [String: String] = [:], seconds: Int = 30) throws
    -> Output
{
    let pipe = Pipe()
    let process = try start("timeout", ["\(seconds)", program] + arguments, variables: variables, output: pipe)
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Output(status: process.terminationStatus, text: String(decoding: data, as: UTF8.self))
}

struct LabError: Error, CustomStringConvertible { let description: String }

/// The daemon and its hosts. Whatever it made is gone when it is.
final class Lab {
    let directory: String
    let bridge = "br0"
    /// The namespace of the switch.
    let home: String
    private let tag: String
    private var hosts: [String: String] = [:]
    private var daemon: Process?
    private var helpers: [Process] = []

    init(_ arguments: [String] = ["--datapath", "netdev"]) throws {
        tag = String(UInt32.random(in: 0x1000_0000...UInt32.max), radix: 16)
        directory = "/tmp/vswitchd-system-\(tag)"
        home = "vsw-\(tag)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try must("ip", ["netns", "add", home])
        try must("ip", ["-n", home, "link", "set", "lo", "up"])
        daemon = try start(
            "ip",
            ["netns", "exec", home, daemonPath, "--no-chdir", "--pidfile", "--log-file", "-vconsole:off"] + arguments,
            in: directory, variables: variables)
        try wait("the daemon") {
            FileManager.default.fileExists(atPath: "\(self.directory)/ovs-vswitchd.pid")
                && (try? self.run("ovs-appctl", ["version"]))?.status == 0
        }
        try wait("its database") {
            (try? self.run("ovs-vsctl", ["get", "Open_vSwitch", ".", "cur_cfg"]))?.status == 0
        }
        try must("ovs-vsctl", ["add-br", bridge])
    }

    deinit {
        // The daemon replaced `ip netns exec`, so that this is its process.
        for process in helpers + [daemon].compactMap({ $0 }) {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        for namespace in Array(hosts.values) + [home] { _ = try? execute("ip", ["netns", "del", namespace]) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    var pid: Int32 { daemon?.processIdentifier ?? -1 }
    private var variables: [String: String] {
        ["OVS_RUNDIR": directory, "OVS_LOGDIR": directory, "OVS_DBDIR": directory]
    }
    var log: String { (try? String(contentsOfFile: "\(directory)/ovs-vswitchd.log", encoding: .utf8)) ?? "" }

    func run(_ program: String, _ arguments: [String]) throws -> Output {
        try execute(program, arguments, variables: variables)
    }

    /// Runs what has to succeed, and returns what it printed.
    @discardableResult
    func must(_ program: String, _ arguments: [String]) throws -> String {
        let output = try run(program, arguments)
        guard output.status == 0 else {
            throw LabError(description: "\(program) \(arguments.joined(separator: " ")): \(output.text)")
        }
        return output.text
    }

    func vsctl(_ arguments: String...) throws { try must("ovs-vsctl", arguments) }
    func ofctl(_ arguments: String...) throws -> String { try must("ovs-ofctl", arguments) }
    func appctl(_ arguments: String...) throws -> String { try must("ovs-appctl", arguments) }

    /// Starts something that is to end with the test.
    func keepRunning(_ program: String, _ arguments: [String], variables: [String: String] = [:]) throws {
        let path = "\(directory)/helper-\(helpers.count).log"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        helpers.append(
            try start(
                program, arguments, in: directory, variables: variables, output: FileHandle(forWritingAtPath: path)))
    }

    /// Makes a host with an address, whose cable ends at the switch as an interface of the host's name.
    /// - Parameter port: more for `ovs-vsctl add-port`, e.g. `tag=10`.
    func addHost(_ name: String, _ address: String, port: [String] = []) throws {
        let namespace = "vsw-\(tag)-\(name)"
        try must("ip", ["netns", "add", namespace])
        hosts[name] = namespace
        try must(
            "ip", ["-n", home, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", namespace])
        try must("ip", ["-n", home, "link", "set", "dev", name, "up"])
        for device in ["lo", "eth0"] { try must("ip", ["-n", namespace, "link", "set", "dev", device, "up"]) }
        try must("ip", ["-n", namespace, "addr", "add", address, "dev", "eth0"])
        try must("ovs-vsctl", ["add-port", bridge, name] + port)
    }

    func namespace(_ host: String) -> String { hosts[host] ?? home }

    /// Runs `ip` in a host.
    func ip(_ host: String, _ arguments: String...) throws { try must("ip", ["-n", namespace(host)] + arguments) }

    /// How many of `count` pings were answered. The switch itself is the host "".
    func ping(_ host: String, _ address: String, count: Int = 3) throws -> Int {
        let output = try run(
            "ip", ["netns", "exec", namespace(host), "ping", "-n", "-c", "\(count)", "-i", "0.1", "-W", "1", address])
        return output.text.split(separator: "\n").filter { $0.contains("bytes from \(address)") }.count
    }

    /// Asks for an address by ARP in a VLAN-tagged frame, as a host behind a trunk does. Returns the VLAN of the answer's tag.
    func resolveTagged(_ host: String, _ address: String, vlan: Int) throws -> Int? {
        let ask = """
            import socket, struct, sys, time
            address, vlan = socket.inet_aton(sys.argv[1]), int(sys.argv[2])
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind(("eth0", 3))
            s.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel keeps the tag beside the frame
            s.settimeout(0.1)
            mine = b"\\x02\\0\\0\\0\\0\\x09"
            arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mine + socket.inet_aton("198.18.0.99") + bytes(6) + address
            frame = b"\\xff" * 6 + mine + struct.pack("!HHH", 0x8100, vlan, 0x806) + arp + bytes(18)
            for attempt in range(3):
                s.send(frame)
                end = time.time() + 0.4
                while time.time() < end:
                    try: data, extra, _, source = s.recvmsg(2048, 256)
                    except OSError: continue
                    if source[2] != 4 and data[:6] == mine and address in data[20:40]:
                        print(struct.unpack_from("=H", extra[0][2], 16)[0] & 0xfff)
                        sys.exit()
            """
        let output = try must("ip", ["netns", "exec", namespace(host), "python3", "-c", ask, address, "\(vlan)"])
        return Int(output.filter { !$0.isWhitespace })
    }

    func wait(_ what: String, seconds: Int = 20, _ condition: () throws -> Bool) throws {
        for _ in 0..<seconds * 20 {
            if try condition() { return }
            usleep(50_000)
        }
        throw LabError(description: "waited in vain for \(what); the log ends with:\n\(log.suffix(2000))")
    }
}
