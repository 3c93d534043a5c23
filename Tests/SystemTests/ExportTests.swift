// sFlow and IPFIX: Debian's daemon and this one send collectors the same of the same packets. Export/cases.py says of which; export.py gives
// them to a daemon and prints the decoded datagrams.

import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import class Foundation.ProcessInfo
import struct Foundation.URL
import Testing

private let realDaemon = "/usr/sbin/ovs-vswitchd"

@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: realDaemon), "Debian's ovs-vswitchd is needed"))
struct ExportTests {
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Export/export.py").path

    /// A daemon that is given the packets of a case.
    private struct Run {
        let process = Process()
        private let pipe = Pipe()

        init(_ name: String, _ daemon: String) throws {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments =
                ["python3", "-B", script, name, daemon, "unix:{db}", "--enable-dummy", "--disable-system", "--disable-system-route"]
                + ["--no-chdir", "--pidfile={dir}/pid", "--unixctl={dir}/ctl", "--log-file={dir}/log", "-vconsole:off"]
            var environment = ProcessInfo.processInfo.environment
            environment["SWIFT_BACKTRACE"] = "enable=no"
            process.environment = environment
            process.standardOutput = pipe
            process.standardError = pipe
            try process.run()
        }

        /// The lines that came out, once it has ended.
        func lines() -> [Substring] {
            let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(output)")
            return output.split(separator: "\n")
        }
    }

    private func compare(_ name: String) throws {
        let runs = try [realDaemon, daemonPath].map { try Run(name, $0) }
        let (real, ours) = (runs[0].lines(), runs[1].lines())
        let difference = ours.difference(from: real)
        #expect(
            !real.isEmpty && difference.isEmpty,
            "\(name): inserted is ours, removed the real daemon's: \(difference.map { "\($0)" }.joined(separator: "\n"))")
    }

    private static let sFlowCases = ["flows", "tunnels", "patch", "rates", "counters", "agents"]
    private static let ipfixCases = ["bridge", "drops", "cache", "settings", "tunnels", "patch", "flow"]

    @Test(arguments: sFlowCases)
    func sFlowIsTheRealDaemons(_ name: String) throws { try compare("sflow_\(name)") }

    @Test(arguments: ipfixCases)
    func ipfixIsTheRealDaemons(_ name: String) throws { try compare("ipfix_\(name)") }
}
