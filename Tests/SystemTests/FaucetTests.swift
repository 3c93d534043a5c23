// A bridge driven by Faucet, a controller that operators use: learning, an access list, and routing between VLANs, all by flows of
// OpenFlow 1.3 in ten tables.
import class Foundation.FileManager
import struct Foundation.URL
import Glibc
import Testing

private let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
private let environment = "\(package)/.build/faucet-venv"

/// Why Faucet cannot be used here; nil when it can. Installs it when it is missing.
let faucetObstacle: String? = {
    if let obstacle { return obstacle }
    func works() -> Bool { (try? execute("\(environment)/bin/python", ["-c", "import faucet.faucet"]))?.status == 0 }
    if works() { return nil }
    guard let made = try? execute("python3", ["-m", "venv", environment], seconds: 60), made.status == 0 else {
        return "needs python3-venv"
    }
    let installed = try? execute("\(environment)/bin/python", ["-m", "pip", "install", "--quiet", "faucet==1.10.12"], seconds: 180)
    return works() ? nil : "pip cannot install faucet: \((installed?.text ?? "").suffix(200))"
}()

@Suite(.serialized, .enabled(if: faucetObstacle == nil, "\(faucetObstacle ?? "")"))
struct FaucetTests {
    private static let configuration = """
        acls:
          block:
            - rule: {dl_type: 0x800, ip_proto: 1, ipv4_dst: 10.1.0.2, actions: {allow: 0}}
            - rule: {actions: {allow: 1}}
        vlans:
          a: {vid: 100, faucet_vips: ["10.1.0.254/24"], faucet_mac: "0e:00:00:00:10:01"}
          b: {vid: 200, faucet_vips: ["10.2.0.254/24"], faucet_mac: "0e:00:00:00:20:01"}
        routers:
          r: {vlans: [a, b]}
        dps:
          sw1:
            dp_id: 0x1
            hardware: "Open vSwitch"
            interfaces:
              1: {native_vlan: a}
              2: {native_vlan: a}
              3: {native_vlan: b}
              4: {native_vlan: a, acls_in: [block]}
        """

    @Test func faucetLearnsRoutesAndBlocks() throws {
        let lab = try Lab()
        let path = "\(lab.directory)/faucet.yaml"
        try Self.configuration.write(toFile: path, atomically: true, encoding: .utf8)
        try lab.keepRunning(
            "ip", ["netns", "exec", lab.home, "\(environment)/bin/faucet"],
            variables: [
                "PATH": "\(environment)/bin:/usr/local/bin:/usr/bin:/bin", "FAUCET_CONFIG": path,
                "FAUCET_LOG": "\(lab.directory)/faucet.log", "FAUCET_EXCEPTION_LOG": "\(lab.directory)/faucet-exceptions.log",
            ])
        try lab.vsctl("set", "bridge", "br0", "fail_mode=secure", "other-config:datapath-id=0000000000000001")
        for (number, host) in [("a1", "10.1.0.1/24"), ("a2", "10.1.0.2/24"), ("b3", "10.2.0.3/24"), ("a4", "10.1.0.4/24")].enumerated() {
            try lab.addHost(host.0, host.1, port: ["--", "set", "interface", host.0, "ofport_request=\(number + 1)"])
            try lab.ip(host.0, "route", "add", "default", "via", host.0 == "b3" ? "10.2.0.254" : "10.1.0.254")
        }
        try lab.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653", "--", "set", "controller", "br0", "max_backoff=1000")
        try lab.wait("Faucet's flows", seconds: 60) {
            try lab.ofctl("-O", "OpenFlow13", "dump-flows", "br0").split(separator: "\n").count > 40
        }
        // Faucet answers the first packets itself, to find out who is where.
        func reaches(_ host: String, _ address: String) throws {
            try lab.wait("\(host) to reach \(address)", seconds: 30) { try lab.ping(host, address, count: 2) == 2 }
        }
        try reaches("a1", "10.1.0.2")
        try reaches("a1", "10.1.0.254")
        try reaches("a1", "10.2.0.3")
        try reaches("b3", "10.1.0.2")
        try reaches("a4", "10.1.0.1")
        #expect(try lab.ping("a4", "10.1.0.2") == 0, "the access list is in the way")
        #expect(try lab.ping("a1", "10.2.0.9", count: 1) == 0, "nobody is there")
        #expect(try lab.must("ovs-vsctl", ["get", "controller", "br0", "is_connected"]) == "true\n")
    }
}
