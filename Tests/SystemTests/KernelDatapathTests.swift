// The kernel's datapath on real packets, in a kernel with the openvswitch module: Debian's user-mode-linux is started twice (scripts/kernel.sh),
// the two share the checks of the folder Kernel beside this file, and each of them is a test here.

import class Foundation.FileManager
import class Foundation.Pipe
import class Foundation.ProcessInfo
import struct Foundation.URL
import Glibc
import Testing

/// Why the kernel cannot be started here; nil when it can.
private let kernelObstacle: String? = {
    if geteuid() != 0 { return "needs root" }
    for program in ["/usr/bin/linux.uml", "/usr/bin/ovs-dpctl", "/usr/sbin/conntrack"] {
        guard FileManager.default.isExecutableFile(atPath: program) else { return "needs \(program)" }
    }
    // The program is an ordinary process that traces others, and a sanitizer's runtime is not made for that.
    if ProcessInfo.processInfo.environment["KERNEL_TESTS"] == "no" { return "KERNEL_TESTS=no" }
    return nil
}()

/// What the checks said, by their names.
private struct KernelRun {
    /// A check's exit status and what it printed.
    let results: [String: Output]
    /// What the kernels' runs printed as a whole.
    let text: String
    /// How many kernels share the checks.
    private static let lanes = 2

    /// The one run; whoever asks first waits for it.
    static let shared = Result { try KernelRun() }

    private init() throws {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folder = "/tmp/vswitchd-kernel-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let runs = try (1...Self.lanes).map { lane in
            let pipe = Pipe()
            let process = try start(
                "timeout",
                [
                    "1210", package.appendingPathComponent("scripts/kernel.sh").path, "bash",
                    package.appendingPathComponent("Tests/SystemTests/Kernel/run.sh").path, daemonPath,
                ], in: package.path,
                variables: ["RESULTS": folder, "KERNEL_TIMEOUT": "1200", "KERNEL_LANE": "\(lane)/\(Self.lanes)"], output: pipe)
            return (process: process, output: pipe.fileHandleForReading)
        }
        text = runs.map { run in
            let said = run.output.readDataToEndOfFile()
            run.process.waitUntilExit()
            return String(decoding: said, as: UTF8.self)
        }.joined()
        var results: [String: Output] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let lines = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            guard let status = lines.first.flatMap({ Int32($0) }) else { continue }
            results[name] = Output(status: status, text: lines.dropFirst().joined(separator: "\n"))
        }
        self.results = results
    }
}

@Suite(.serialized, .enabled(if: kernelObstacle == nil, "\(kernelObstacle ?? "")"))
struct KernelDatapathTests {
    /// Expects that a check ran and passed.
    private func passed(_ name: String = #function) throws {
        let run = try KernelRun.shared.get()
        let check = String(name.prefix { $0 != "(" })
        let result = try #require(run.results[check], "no result of \(check); the kernel said:\n\(run.text)")
        #expect(result.status == 0, "\(check):\n\(result.text)")
    }

    // Forwarding.
    @Test func pings() throws { try passed() }
    @Test func localPort() throws { try passed() }
    @Test func vlans() throws { try passed() }
    @Test func tcpAndUDP() throws { try passed() }
    @Test func fragments() throws { try passed() }
    @Test func openFlowPipeline() throws { try passed() }
    @Test func setActions() throws { try passed() }
    @Test func sctpFlows() throws { try passed() }
    @Test func mpls() throws { try passed() }
    @Test func recirculation() throws { try passed() }
    @Test func tcpFlagsMatch() throws { try passed() }
    @Test func packetOutAndIn() throws { try passed() }
    @Test func checkPacketLength() throws { try passed() }
    @Test func mirrors() throws { try passed() }
    @Test func bonds() throws { try passed() }

    // Sampling.
    @Test func sFlow() throws { try passed() }
    @Test func ipfix() throws { try passed() }
    @Test func ipfixTunnels() throws { try passed() }

    // Tunnels.
    @Test func vxlan() throws { try passed() }
    @Test func vxlanOverIPv6() throws { try passed() }
    @Test func geneve() throws { try passed() }
    @Test func geneveOverIPv6() throws { try passed() }
    @Test func gre() throws { try passed() }
    @Test func greOverIPv6() throws { try passed() }
    @Test func erspan() throws { try passed() }
    @Test func erspanOverIPv6() throws { try passed() }
    @Test func tunnelsBetweenSwitches() throws { try passed() }
    @Test func tunnelPortsOfTheModule() throws { try passed() }
    @Test func flowBasedTunnel() throws { try passed() }
    @Test func vxlanGroupPolicy() throws { try passed() }
    @Test func vxlanGenericProtocol() throws { try passed() }
    @Test func multipleVTEPs() throws { try passed() }

    // Connections.
    @Test func connections() throws { try passed() }
    @Test func connectionsOverIPv6() throws { try passed() }
    @Test func helpersPersist() throws { try passed() }
    @Test func fragmentsAreReassembled() throws { try passed() }
    @Test func fragmentsOfIPv6AreReassembled() throws { try passed() }
    @Test func timeoutPolicies() throws { try passed() }
    @Test func sourceNAT() throws { try passed() }
    @Test func destinationNAT() throws { try passed() }
    @Test func addressesOfIPv6AreTranslated() throws { try passed() }
    @Test func zonesAreLimited() throws { try passed() }
    @Test func metersDrop() throws { try passed() }

    // Traffic control.
    @Test func shaping() throws { try passed() }
    @Test func policing() throws { try passed() }

    // The datapath itself.
    @Test func capabilitiesAreProbed() throws { try passed() }
    @Test func flowsOfTheKernelsTools() throws { try passed() }
    @Test func restartLosesNothing() throws { try passed() }
    @Test func dispatchPerPort() throws { try passed() }
    @Test func portsComeAndGo() throws { try passed() }
    @Test func cleanUp() throws { try passed() }
    @Test func manyPorts() throws { try passed() }
    @Test func masksCache() throws { try passed() }
    @Test func noModule() throws { try passed() }
    @Test func conformance() throws { try passed() }

    /// A check without a test would fail unseen.
    @Test func everyCheckHasItsTest() throws {
        let source = try String(contentsOfFile: #filePath, encoding: .utf8)
        for name in try KernelRun.shared.get().results.keys {
            #expect(source.contains("@Test func \(name)() throws"), "check_\(name) has no test")
        }
    }
}
