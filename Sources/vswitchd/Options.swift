// The command line, as ovs-vswitchd(8) has it, with what this daemon adds.

import ArgumentParser
import Bridge
import DpifNetlink
import Glibc

/// Directories, by the environment variables that Open vSwitch's programs read.
struct Directories {
    let run: String
    let log: String
    let database: String

    init() {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 } }
        run = variable("OVS_RUNDIR") ?? "/var/run/openvswitch"
        log = variable("OVS_LOGDIR") ?? "/var/log/openvswitch"
        database = variable("OVS_DBDIR") ?? variable("OVS_SYSCONFDIR").map { "\($0)/openvswitch" } ?? "/etc/openvswitch"
    }

    /// Makes those that an own database needs.
    func create() {
        for directory in [run, database] {
            var parent = ""
            for part in directory.split(separator: "/") {
                parent += (parent.isEmpty && !directory.hasPrefix("/") ? "" : "/") + part
                mkdir(parent, 0o755)
            }
        }
    }

    /// A path, which when relative is meant to be in `directory`.
    static func absolute(_ path: String, in directory: String) -> String { path.hasPrefix("/") ? path : "\(directory)/\(path)" }
}

/// What the daemon is asked to do.
struct Options: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vswitchd", abstract: "Open vSwitch daemon: switches as a configuration database says.")

    @Argument(help: "Socket of the ovsdb-server to follow, e.g. unix:/var/run/openvswitch/db.sock. Default: serve an own database.")
    var database: String?

    // Daemon.
    @Flag(help: "Run in the background.") var detach = false
    @Flag(help: "Watch the daemon from a process of its own and restart it when it crashes.") var monitor = false
    @Option(help: "Change to this user, as USER or USER:GROUP, once started.") var user: String?
    @Flag(help: "Stay in the current directory.") var noChdir = false
    @Option(help: "Create a pid file [=FILE].") var pidfile: String?
    @Flag(help: "Start even if the pid file says that the daemon is running.") var overwritePidfile = false
    @Flag(help: "Lock all memory.") var mlockall = false

    // Logging.
    @Option(name: [.customLong("verbose")], help: "Set logging levels [=SPEC], also -vSPEC.") var verbose: [String] = []
    @Option(help: "Log to a file [=FILE].") var logFile: String?
    @Option(help: "Accepted for compatibility.") var syslogMethod: String?
    @Option(help: "Accepted for compatibility.") var syslogTarget: String?

    @Option(help: .hidden) var kernelWithout: [KernelFeature] = []

    // Connections.
    @Option(help: "The control socket's path; none for no socket.") var unixctl: String?
    @Option(name: [.customShort("p"), .long], help: "The private key for TLS, a PEM file.") var privateKey: String?
    @Option(name: [.customShort("c"), .long], help: "The certificate for TLS, a PEM file.") var certificate: String?
    @Option(name: [.customShort("C"), .long], help: "Who signed for controllers, a PEM file or none.") var caCert: String?
    @Option(help: "The same; taken from the first controller when the file is not there.") var bootstrapCaCert: String?
    @Option(help: "Accepted for compatibility.") var peerCaCert: String?
    @Option(help: "Accepted for compatibility.") var sslProtocols: String?
    @Option(help: "Accepted for compatibility.") var sslCiphers: String?

    // Datapaths.
    @Option(help: "The datapath of bridges without a datapath_type: netlink, netdev or dummy.") var datapath: String?
    @Option(help: "What the dummy datapath can do: a column of the feature matrix, e.g. linux-upstream:5.4.") var dummyProfile: String?
    @Option(help: .hidden) var enableDummy: String?
    @Flag(help: .hidden) var disableSystem = false
    @Flag(help: .hidden) var disableSystemRoute = false
    @Flag(help: .hidden) var dpdk = false

    @Flag(name: [.customShort("V"), .long], help: "Print the version.") var version = false

    /// Stands for a value that was left out; no argument can hold it.
    private static let absent = "\u{1}"

    /// An option's value when it is given; "" when its value was left out.
    static func value(_ text: String?) -> String? { text == absent ? "" : text }

    /// Arguments in the form that the parser knows: options whose value may be left out get a stand-in.
    static func normalise(_ arguments: [String]) -> [String] {
        var out: [String] = []
        var isLiteral = false
        for argument in arguments {
            if isLiteral {
                out.append(argument)
                continue
            }
            switch argument {
            case "--": isLiteral = true; out.append(argument)
            case "-v", "--verbose": out.append("--verbose=" + absent)
            case "--pidfile", "--log-file", "--enable-dummy": out.append(argument + "=" + absent)
            case _ where argument.hasPrefix("-v"): out.append("--verbose=" + argument.dropFirst(2))
            default: out.append(argument)
            }
        }
        return out
    }
}

extension KernelFeature: ExpressibleByArgument {}
