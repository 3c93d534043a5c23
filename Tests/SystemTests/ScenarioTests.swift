// Scenarios that Debian's daemon and this one answer alike: Tests/Scenarios, run by the comparison tool where it lies beside the
// repository. They reach what its random cases do not: groups in groups, learn, MPLS under VLAN tags, NSH, stacks, and protocols.

import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.Process
import class Foundation.ProcessInfo
import struct Foundation.URL
import Testing

@Suite struct ScenarioTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    private static let tool = ["../shared/oracle/oracle", "shared/oracle/oracle"].map { root.appendingPathComponent($0).path }
        .first { FileManager.default.isExecutableFile(atPath: $0) }
    private static let hasDaemon = FileManager.default.isExecutableFile(atPath: "/usr/sbin/ovs-vswitchd")

    private static let scenarios =
        ((try? FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Tests/Scenarios").path)) ?? [])
        .filter { $0.hasSuffix(".scn") }.sorted()

    @Test(
        .enabled(if: tool != nil && hasDaemon, "the comparison tool and Debian's ovs-vswitchd are needed"), arguments: scenarios)
    func theRealDaemonAnswersAlike(_ name: String) throws {
        let tool = try #require(Self.tool)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = ["run", Self.root.appendingPathComponent("Tests/Scenarios/\(name)").path]
        process.currentDirectoryURL = Self.root
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_BACKTRACE"] = "enable=no"
        environment["ORACLE_SUBJECT"] =
            "\(daemonPath) unix:{db} --enable-dummy --disable-system --disable-system-route --no-chdir "
            + "--pidfile={rundir}/vswitchd.pid --unixctl={unixctl} --log-file={log} -vconsole:off"
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(output)")
    }
}
