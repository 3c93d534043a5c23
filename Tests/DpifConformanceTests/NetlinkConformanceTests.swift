// The conformance suite on the kernel's datapath, where the running kernel has it: SystemTests starts one that does.

import Dpif
import DpifConformance
import DpifNetlink
import Glibc
import Netdev
import Packet
import Testing

/// A veth: the end that is a port, and the end that the test holds.
private final class VethPort: ConformancePort {
    private let port: InterfaceDevice
    private let outside: SystemDevice
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: maxPacketSize, alignment: 64)
    var device: any PortDevice { port }

    init(_ name: String) throws {
        _ = Self.run("ip link del \(name) 2>/dev/null")
        let status = Self.run(
            "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link add name \(name) type veth peer name \(name)x && ip link set dev \(name) up && ip link set dev \(name)x up"
        )
        try #require(status == 0, "a veth \(name)")
        port = try InterfaceDevice(name: name, type: "system", mustExist: true)
        outside = try SystemDevice(name: name + "x")
    }

    deinit {
        _ = Self.run("ip link del \(port.name)")
        buffer.deallocate()
    }

    private static func run(_ command: String) -> Int32 {
        var pid = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = (["sh", "-c", command] as [String]).map { strdup($0) } + [nil]
        defer { for a in arguments { free(a) } }
        guard posix_spawn(&pid, "/bin/sh", nil, nil, &arguments, environ) == 0 else { return -1 }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        return status
    }

    func inject(_ frame: [UInt8]) {
        outside.transmit(Packet(frame))
        // The kernel works on it before the call ends; what it sends up takes another thread.
        usleep(20_000)
    }

    func taken() -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var patience = 5
        while true {
            guard let size = outside.source.read(buffer) else {
                patience -= 1
                if patience == 0 { return frames }
                usleep(2000)
                continue
            }
            if size > 0 { frames.append([UInt8](buffer[0..<size])) }
        }
    }
}

private struct NetlinkSubject: ConformanceSubject {
    var name: String { "netlink" }
    var isStrict: Bool { true }
    func open() throws -> any Dpif { try NetlinkProvider(time: TimeSource(), wake: {}).open(name: "conformance") }
    func makePort(_ name: String) throws -> any ConformancePort { try VethPort(name) }
}

private let moduleObstacle: String? = {
    if geteuid() != 0 { return "needs root" }
    return access("/sys/module/openvswitch", F_OK) == 0 ? nil : "needs the module openvswitch in the running kernel"
}()

@Suite(.serialized, .enabled(if: moduleObstacle == nil, "\(moduleObstacle ?? "")"))
struct NetlinkConformanceTests {
    @Test(arguments: ConformanceCheck.all) func netlink(_ check: ConformanceCheck) {
        switch check.run(on: NetlinkSubject()) {
        case .passed: break
        case .skipped(let capability): print("netlink: \(check.name): skipped, lacks \(capability)")
        case .failed(let text): Issue.record("netlink: \(check.name): \(text)")
        }
    }
}
