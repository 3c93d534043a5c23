// os-ken's OpenFlow switch tester: hundreds of actions and matches of OpenFlow 1.3, each tried with packets that a second bridge sends
// and gets back over real links.
import struct Foundation.URL
import Glibc
import Testing

private let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
/// Faucet's os-ken: the tester waits in a way that later releases no longer allow it.
private let python = "\(package)/.build/faucet-venv/bin/python"
/// The tests are in the release's source archive only.
private let cases = "\(package)/.build/os-ken/os_ken-3.1.0/os_ken/tests/switch/of13"

/// Why the tester cannot be used here; nil when it can. Gets its tests when they are missing.
private let testerObstacle: String? = faucetObstacle ?? sourceArchiveObstacle(python, release: "3.1.0", holding: cases)

@Suite(.serialized, .enabled(if: testerObstacle == nil, "\(testerObstacle ?? "")"))
struct SwitchTesterTests {
    /// Of each failure some of these is true, with ovs-vswitchd too: what it has not got (PBB, copying TTLs, setting fields that decide what
    /// follows, extension headers), or does otherwise (inner VLANs and MPLS TTLs of pushed headers), or the tester computes or reads wrongly.
    private static let known = [
        "pbb", "itag", "copy_ttl", "->eth_type", "->ip_proto", "->mpls_bos", "exthdr", "svlan(pcp=0,vid=0)", "mpls(label=2)",
        "mpls(ttl=64)",
        "sctp(csum=", "malformed",
    ]

    /// Runs files of tests. Returns how many passed, and those that failed as they should not, with what was wrong.
    private func outcomes(_ files: [String], seconds: Int) throws -> (passed: Int, failed: [String]) {
        let lab = try Lab()
        try lab.must("mkdir", ["\(lab.directory)/cases"])
        for file in files { try lab.must("cp", ["-r", "\(cases)/\(file)", "\(lab.directory)/cases"]) }
        try lab.vsctl("del-br", "br0")
        for bridge in ["target", "tester"] {
            try lab.vsctl(
                "add-br", "br-\(bridge)", "--", "set", "bridge", "br-\(bridge)", "fail_mode=secure", "protocols=OpenFlow13",
                "other-config:datapath-id=000000000000000\(bridge == "target" ? 1 : 2)")
        }
        for i in 1...3 {
            try lab.ip("", "link", "add", "target\(i)", "type", "veth", "peer", "name", "tester\(i)")
            for bridge in ["target", "tester"] {
                try lab.must("ip", ["netns", "exec", lab.home, "sysctl", "-qw", "net.ipv6.conf.\(bridge)\(i).disable_ipv6=1"])
                try lab.ip("", "link", "set", "\(bridge)\(i)", "up")
                try lab.vsctl("add-port", "br-\(bridge)", "\(bridge)\(i)", "--", "set", "interface", "\(bridge)\(i)", "ofport_request=\(i)")
            }
        }
        try lab.keepRunning(
            "ip",
            ["netns", "exec", lab.home, python, "\(package)/Tests/SystemTests/switch_tester.py", "6653", "\(lab.directory)/cases"],
            variables: ["PYTHONUNBUFFERED": "1"])
        for bridge in ["br-target", "br-tester"] {
            try lab.vsctl("set-controller", bridge, "tcp:127.0.0.1:6653", "--", "set", "controller", bridge, "max_backoff=1000")
        }
        func report() -> String { (try? String(contentsOfFile: "\(lab.directory)/helper-0.log", encoding: .utf8)) ?? "" }
        try lab.wait("the last test", seconds: seconds) { report().contains("Test end") }
        let lines = report().prefix(upTo: report().range(of: "Test end")?.lowerBound ?? report().endIndex).split(separator: "\n")
        var failed: [String] = []
        for (i, line) in lines.enumerated() where line.hasSuffix(" ERROR") {
            let failure = "\(line.dropLast(6)): \(i + 1 < lines.count ? lines[i + 1] : "")"
            if !Self.known.contains(where: { failure.contains($0) }) { failed.append(failure) }
        }
        return (lines.filter { $0.hasSuffix(" OK") }.count, failed)
    }

    @Test func actions() throws {
        let (passed, failed) = try outcomes(["action"], seconds: 240)
        #expect(failed == [])
        #expect(passed == 140)
    }

    /// Not all of them, which would take minutes: each waits for a second for packets that must not come.
    @Test func matches() throws {
        let (passed, failed) = try outcomes(
            [
                "00_IN_PORT", "03_ETH_DST_Mask", "06_VLAN_VID", "11_IPV4_SRC_Mask", "14_TCP_DST_IPv6", "22_ARP_SPA", "28_IPV6_FLABEL",
                "29_ICMPV6_TYPE", "31_IPV6_ND_TARGET", "34_MPLS_LABEL", "38_TUNNEL_ID",
            ].map { "match/\($0).json" }, seconds: 240)
        #expect(failed == [])
        #expect(passed == 99)
    }
}
