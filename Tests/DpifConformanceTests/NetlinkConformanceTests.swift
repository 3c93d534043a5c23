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

    private init(_ name: String) throws {
        let status = Self.run(
            "ip link add name \(name) type veth peer name \(name)x; for end in \(name) \(name)x; do "
                + "echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6; ip link set dev $end up || exit 1; done")
        try #require(status == 0, "a veth \(name)")
        port = try InterfaceDevice(name: name, type: "system", mustExist: true)
        outside = try SystemDevice(name: name + "x")
    }

    deinit { buffer.deallocate() }

    /// Made once for all checks, which run one after the other; the kernel that they run in is thrown away.
    private nonisolated(unsafe) static var made: [String: VethPort] = [:]

    static func named(_ name: String) throws -> VethPort {
        let port = try made[name] ?? VethPort(name)
        made[name] = port
        _ = port.taken()
        return port
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
        var patience = 3
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
    func makePort(_ name: String) throws -> any ConformancePort { try VethPort.named(name) }
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
