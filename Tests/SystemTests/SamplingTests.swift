// sFlow and IPFIX of the userspace datapath on real packets, told to a collector in the switch's namespace. What they say of which packets is
// compared with the real daemon in ExportTests.

import struct Foundation.URL
import Testing

@Suite(.serialized, .enabled(if: obstacle == nil, "\(obstacle ?? "")"))
struct SamplingTests {
    private static let collector = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Export/collect.py")
        .path

    /// A switch with two hosts, and a collector whose lines go to a file.
    private func lab() throws -> (lab: Lab, collected: String) {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2") == 3)
        let file = "\(lab.directory)/collected"
        try lab.keepRunning(
            "ip", ["netns", "exec", lab.home, "sh", "-c", "exec python3 -B \(Self.collector) 9000 > \(file) 2>&1"])
        try lab.wait("the collector") { try lab.run("ip", ["netns", "exec", lab.home, "grep", ":2328 ", "/proc/net/udp"]).status == 0 }
        return (lab, file)
    }

    private func index(_ lab: Lab, _ interface: String) throws -> Int {
        let text = try lab.must("ip", ["netns", "exec", lab.home, "cat", "/sys/class/net/\(interface)/ifindex"])
        return try #require(Int(text.filter(\.isNumber)))
    }

    /// Waits until so many lines have a pattern of grep -E.
    private func wait(_ lab: Lab, _ file: String, _ pattern: String, count: Int) throws {
        try lab.wait("\(count) lines with \(pattern)") {
            Int(try lab.run("grep", ["-cE", pattern, file]).text.filter(\.isNumber)) ?? 0 >= count
        }
    }

    @Test func sFlow() throws {
        let (lab, file) = try lab()
        try lab.vsctl(
            "--", "--id=@s", "create", "sflow", "targets=\"127.0.0.1:9000\"", "sampling=1", "polling=1", "agent=lo", "--", "set", "bridge",
            "br0", "sflow=@s")
        #expect(try lab.ping("a", "198.18.0.2", count: 5) == 5)
        let (a, b) = (try index(lab, "a"), try index(lab, "b"))
        let (from, to) = (String(a, radix: 16), String(b, radix: 16))
        try wait(lab, file, "^flow .*agent=127.0.0.1 .* in=0x\(from) out=0x\(to) .*header protocol=1 length=102 ", count: 5)
        try wait(lab, file, "^flow .* in=0x\(to) out=0x\(from) ", count: 5)
        try wait(lab, file, "^counters .* name a +interface index=\(a) type=6 ", count: 1)
        try wait(lab, file, "^counters .*datapath hit=", count: 1)
    }

    @Test func ipfix() throws {
        let (lab, file) = try lab()
        try lab.vsctl(
            "--", "--id=@i", "create", "ipfix", "targets=\"127.0.0.1:9000\"", "sampling=1", "obs_domain_id=5", "--", "set", "bridge", "br0",
            "ipfix=@i")
        #expect(try lab.ping("a", "198.18.0.2", count: 5) == 5)
        let (a, b) = (try index(lab, "a"), try index(lab, "b"))
        func hex(_ n: Int) -> String { String(String(n + 0x1_0000_0000, radix: 16).dropFirst()) }
        try wait(lab, file, "^data domain=5 template=292 .* 61=00 .* 10=\(hex(a)) .* 82=61 .* 8=c6120001 12=c6120002 ", count: 5)
        try wait(lab, file, "^data domain=5 template=293 .* 61=01 .* 14=\(hex(b)) .* 82=62 .* 8=c6120001 12=c6120002 ", count: 5)
        #expect(try lab.ofctl("dump-ipfix-bridge", "br0").contains("ipv4 ok="))
    }
}
