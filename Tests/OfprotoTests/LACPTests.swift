// LACP: frames, and two ends that find each other and lose each other.

import Dpif
import Flow
import Netdev
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct LACPTests {
    @Test func framesSurviveTheWire() {
        var pdu = LACPDU()
        pdu.actor.systemPriority = 100
        pdu.actor.systemID = 0xaaaa_aaaa_aaaa
        pdu.actor.key = 11
        pdu.actor.portPriority = 7
        pdu.actor.portID = 12
        pdu.actor.state = LACPInfo.State(rawValue: 0xbf)
        pdu.partner.state = .timeout
        let bytes = pdu.bytes
        #expect(bytes.count == 110)
        // As the real daemon sends it.
        #expect(
            Array(bytes.prefix(24)) == [
                1, 1, 1, 0x14, 0, 0x64, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0xb, 0, 7, 0, 0xc, 0xbf, 0, 0, 0, 2, 0x14,
            ])
        #expect(LACPDU.parse(bytes) == .pdu(pdu))
    }

    @Test func whatIsNoPDUIsBad() {
        let good = LACPDU().bytes
        for length in 0..<110 { #expect(LACPDU.parse(Array(good.prefix(length))) == .bad) }
        for at in [0, 1, 2, 3, 22, 23] {
            var bytes = good
            bytes[at] = 77
            #expect(LACPDU.parse(bytes) == .bad)
        }
        #expect(LACPDU.parse([2, 1, 1, 20]) == .markerRequest)
    }

    /// A bridge with a bond of its ports 2 and 3.
    private func end(_ system: UInt64, active: Bool = true) throws -> (bench: SwitchBench, lacp: LACP) {
        let bench = try SwitchBench()
        var settings = BundleSettings(name: "bond0")
        var lacp = LACPSettings()
        lacp.isActive = active
        lacp.isFast = true
        lacp.systemID = system
        settings.lacp = lacp
        settings.bond.mode = .balanceTCP
        bench.bridge.setBundle(settings, ports: [2, 3].compactMap { bench.bridge.port(OFPort(UInt32($0))) })
        return (bench, try #require(bench.bridge.bundles["bond0"]?.lacp))
    }

    @Test func twoEndsAgreeAndExpire() throws {
        let a = try end(1)
        let b = try end(2, active: false)
        for (from, to) in [(a.bench, b.bench), (b.bench, a.bench)] {
            for port in 1...2 {
                from.devices[port].onTransmit = { [unowned to] bytes in
                    to.devices[port].receive(Packet(Array(bytes)))
                }
            }
        }
        func run(_ seconds: Int) {
            for _ in 0..<seconds * 2 {
                for bench in [a.bench, b.bench] {
                    bench.time.warp(500)
                    bench.bridge.run()
                }
            }
        }
        run(3)
        for lacp in [a.lacp, b.lacp] {
            #expect(lacp.isNegotiated)
            #expect(lacp.members.allSatisfy { $0.status == .current && $0.isAttached && lacp.allows($0.port) })
        }
        #expect(a.lacp.members.allSatisfy { $0.partner.systemID == 2 && $0.partner.state.contains(.synchronized) })
        #expect(a.bench.bridge.bundles["bond0"]?.bond?.members.allSatisfy(\.isEnabled) == true)
        // One wire is cut.
        a.bench.devices[1].onTransmit = nil
        b.bench.devices[1].onTransmit = nil
        run(4)
        #expect(a.lacp.members.map(\.status) == [.expired, .current])
        run(4)
        #expect(a.lacp.members.map(\.status) == [.defaulted, .current])
        #expect(a.bench.bridge.bundles["bond0"]?.bond?.members.map(\.isEnabled) == [false, true])
        #expect(a.bench.datapath.refused.isEmpty)
    }
}
