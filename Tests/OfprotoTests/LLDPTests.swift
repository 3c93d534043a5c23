// LLDP: frames, neighbours, and what Auto Attach asks of them.

import Dpif
import Flow
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct LLDPTests {
    private func agent(_ settings: AutoAttachSettings = .init()) throws -> (SwitchBench, LLDP) {
        let bench = try SwitchBench()
        let port = try #require(bench.bridge.port(OFPort(2)))
        bench.bridge.setLLDP(true, settings, on: port)
        return (bench, try #require(port.lldp))
    }

    private func neighbor(_ port: UInt8, timeToLive: UInt16 = 120, _ assignments: [LLDPDU.Assignment] = []) -> LLDPDU {
        var m = LLDPDU()
        m.chassisID = [4, 0x50, 0x54, 0, 0, 0, 1]
        m.portID = [7, port]
        m.timeToLive = timeToLive
        m.systemName = "sw1"
        m.assignments = assignments
        return m
    }

    @Test func framesAreTheRealDaemons() throws {
        var settings = AutoAttachSettings()
        settings.mappings = [.init(vlan: 10, service: 100)]
        let (bench, _) = try agent(settings)
        try bench.devices[1].setMAC(0xaa55_aa55_0002)
        bench.time.warp(5000)
        bench.bridge.run()
        let frame = try #require(bench.sent[1].last)
        // Captured from Open vSwitch 3.1 on a port p1.
        let captured =
            "0180c200000eaa55aa55000288cc020704aa55aa5500020403057032060200780c116f70656e7673776974636820332e312e300e0400040004fe3200040d0b"
            + String(repeating: "0", count: 64) + "38000000aa55aa55000200000000fe2900040d0c" + String(repeating: "0", count: 64)
            + "000a0000640000"
        #expect(frame.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == captured)
        let read = try LLDPDU(frame.dropFirst(14))
        #expect(read.assignments == settings.mappings && read.element?.type == 14 && read.timeToLive == 120)
    }

    @Test func whatIsNoFrameIsRefused() throws {
        let good = neighbor(1, [.init(vlan: 1, service: 2)]).bytes
        #expect(try LLDPDU(good).bytes == good)
        for length in 0..<good.count { #expect(throws: LLDPDU.Problem.malformed) { try LLDPDU(good.prefix(length)) } }
        // The port before the chassis.
        #expect(throws: LLDPDU.Problem.malformed) { try LLDPDU([4, 2, 5, 65, 2, 2, 7, 65, 6, 2, 0, 1, 0, 0]) }
    }

    @Test func neighborsComeAndGo() throws {
        var settings = AutoAttachSettings()
        settings.mappings = [.init(vlan: 10, service: 100)]
        let (bench, lldp) = try agent(settings)
        try bench.add([.output(.all, maxLength: 0)])
        func receive(_ m: LLDPDU) { bench.devices[1].receive(Packet(m.frame(from: 5))) }
        receive(neighbor(1))
        receive(neighbor(1))
        var accepted = LLDPDU.Assignment(vlan: 10, service: 100)
        accepted.status = 2
        receive(neighbor(2, timeToLive: 10, [accepted]))
        #expect(lldp.neighbors.count == 2 && lldp.inserted == 2 && lldp.received == 3)
        #expect(lldp.statuses == [100: 2])
        // The frames went no further.
        #expect(bench.sent[0].isEmpty)
        bench.time.warp(11_000)
        bench.bridge.run()
        #expect(lldp.neighbors.count == 1 && lldp.agedOut == 1)
        receive(neighbor(1, timeToLive: 0))
        #expect(lldp.neighbors.isEmpty)
    }
}
