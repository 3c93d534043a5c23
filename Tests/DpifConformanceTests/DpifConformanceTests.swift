// The conformance suite on the datapaths of this machine: the dummy with every profile, and the userspace datapath.

import Dpif
import DpifConformance
import DpifDummy
import DpifNetdev
import Netdev
import Packet
import Testing

/// A dummy device, which both userspace datapaths take.
private final class DummyPort: ConformancePort {
    private let dummy: DummyDevice
    private var frames: [[UInt8]] = []
    var device: any PortDevice { dummy }

    init(_ name: String) throws {
        dummy = DummyDevice(name: name, type: "dummy")
        try dummy.setAdminUp(true)
        dummy.onTransmit = { [unowned self] bytes in self.frames.append(Array(bytes)) }
    }

    func inject(_ frame: [UInt8]) { dummy.receive(Packet(frame)) }

    func taken() -> [[UInt8]] {
        defer { frames = [] }
        return frames
    }
}

private struct DummySubject: ConformanceSubject {
    let profile: String?
    var name: String { "dummy \(profile ?? "full")" }
    var isStrict: Bool { true }

    func open() throws -> any Dpif {
        let time = TimeSource()
        time.stop()
        return try DummyProvider(time: time, profile: profile).open(name: "conformance")
    }

    func makePort(_ name: String) throws -> any ConformancePort { try DummyPort(name) }
}

private struct NetdevSubject: ConformanceSubject {
    var name: String { "netdev" }
    var isStrict: Bool { false }

    func open() throws -> any Dpif {
        let time = TimeSource()
        time.stop()
        return try NetdevProvider(time: time, runDirectory: "/tmp", wake: {}).open(name: "conformance")
    }

    func makePort(_ name: String) throws -> any ConformancePort { try DummyPort(name) }
}

@Suite struct DpifConformanceTests {
    private static let profiles: [String?] = [
        nil, "linux-upstream", "linux-upstream:3.10", "linux-upstream:4.4", "linux-upstream:5.10", "linux-ovs-tree", "userspace",
        "hyper-v",
    ]

    @Test(arguments: ConformanceCheck.all) func dummy(_ check: ConformanceCheck) {
        for profile in Self.profiles { expect(check, on: DummySubject(profile: profile)) }
    }

    @Test(arguments: ConformanceCheck.all) func netdev(_ check: ConformanceCheck) { expect(check, on: NetdevSubject()) }

    private func expect(_ check: ConformanceCheck, on subject: any ConformanceSubject) {
        switch check.run(on: subject) {
        case .passed: break
        case .skipped(let capability): print("\(subject.name): \(check.name): skipped, lacks \(capability)")
        case .failed(let text): Issue.record("\(subject.name): \(check.name): \(text)")
        }
    }

    /// With everything advertised nothing is skipped.
    @Test func theFullDummySkipsNothing() {
        for check in ConformanceCheck.all {
            if case .skipped(let capability) = check.run(on: DummySubject(profile: nil)) {
                Issue.record("\(check.name) was skipped for \(capability)")
            }
        }
    }
}
