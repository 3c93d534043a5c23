// A bridge driven by os-ken: its simple learning switch over OpenFlow 1.3, from the Python package index.
import class Foundation.FileManager
import struct Foundation.URL
import Glibc
import Testing

private let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
private let python = "\(package)/.build/venv/bin/python"
private let applications = "\(package)/.build/os-ken/os-ken-0.3.1/os_ken/app"

/// Why os-ken cannot be used here; nil when it can. Installs it when it is missing, and its applications.
private let controllerObstacle: String? = {
    if let obstacle { return obstacle }
    func works() -> Bool { (try? execute(python, ["-c", "import os_ken.controller.ofp_handler"]))?.status == 0 }
    if !works() {
        guard let made = try? execute("python3", ["-m", "venv", "\(package)/.build/venv"], seconds: 60), made.status == 0
        else {
            return "needs python3-venv"
        }
        let installed = try? execute(python, ["-m", "pip", "install", "--quiet", "os-ken==4.2.2"], seconds: 120)
        guard works() else { return "pip cannot install os-ken: \((installed?.text ?? "").suffix(200))" }
    }
    return sourceArchiveObstacle(python, release: "0.3.1", holding: "\(applications)/simple_switch_13.py")
}()

/// Unpacks a source archive of os-ken into .build/os-ken. Returns why a file of it cannot be had, or nil.
func sourceArchiveObstacle(_ python: String, release: String, holding path: String) -> String? {
    let folder = "\(package)/.build/os-ken"
    if FileManager.default.fileExists(atPath: path) { return nil }
    let got = try? execute(
        python, ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", folder, "os-ken==\(release)"], seconds: 180)
    let unpacked = try? execute("sh", ["-c", "tar -xzf \(folder)/os?ken-\(release).tar.gz -C \(folder)"])
    if got?.status == 0, unpacked?.status == 0, FileManager.default.fileExists(atPath: path) { return nil }
    return "pip cannot download os-ken \(release): \((got?.text ?? "").suffix(200))"
}

@Suite(.serialized, .enabled(if: controllerObstacle == nil, "\(controllerObstacle ?? "")"))
struct ControllerTests {
    @Test func learningSwitchOfOsKenDrivesTheBridge() throws {
        let lab = try Lab()
        try lab.keepRunning(
            "ip", ["netns", "exec", lab.home, python, "\(package)/Tests/SystemTests/learning_switch.py", "6653", applications],
            variables: ["PYTHONUNBUFFERED": "1"])
        try lab.vsctl("set", "bridge", "br0", "protocols=OpenFlow13", "fail_mode=secure")
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2", count: 1) == 0, "without a controller a secure bridge forwards nothing")
        try lab.vsctl(
            "set-controller", "br0", "tcp:127.0.0.1:6653", "--", "set", "controller", "br0", "max_backoff=1000")
        try lab.wait("the controller's first rule") {
            try lab.ofctl("-O", "OpenFlow13", "dump-flows", "br0").contains("actions=CONTROLLER")
        }
        #expect(try lab.must("ovs-vsctl", ["get", "controller", "br0", "is_connected"]) == "true\n")
        #expect(try lab.ping("a", "198.18.0.2", count: 10) >= 9)
        let flows = try lab.ofctl("-O", "OpenFlow13", "dump-flows", "br0").split(separator: "\n")
        #expect(flows.filter { $0.contains("dl_src=") && $0.contains("priority=1") }.count >= 2)
        #expect(try lab.ping("b", "198.18.0.1") == 3, "by the flows that were learned")
    }
}
