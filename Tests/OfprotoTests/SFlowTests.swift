// sFlow: what its datagrams say where no other daemon can be asked, and when they go out.

import Dpif
import Flow
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct SFlowTests {
    private final class Collector {
        var datagrams: [[UInt8]] = []
        func number(_ datagram: Int, _ at: Int) -> UInt32 { datagrams[datagram][at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
    }

    private func bench(_ change: (inout SFlowSettings) -> Void = { _ in }) throws -> (SwitchBench, Collector) {
        let bench = try SwitchBench()
        for (i, device) in bench.devices.enumerated() { try device.configure(["ifindex": "\(101 + i)"]) }
        let collector = Collector()
        var settings = SFlowSettings(agent: IPAddress(0x0a00_0009))
        settings.sampling = 1
        settings.polling = 0
        change(&settings)
        bench.bridge.setSFlow(settings) { collector.datagrams.append($0) }
        return (bench, collector)
    }

    private func run(_ bench: SwitchBench, seconds: Int) {
        for _ in 0..<seconds * 2 {
            bench.time.warp(500)
            bench.bridge.run()
        }
    }

    @Test func samplesWaitForEachOtherForASecond() throws {
        let (bench, collector) = try bench()
        try bench.add([.output(OFPort(2), maxLength: 0)])
        for _ in 0..<3 { try bench.receive(SwitchBench.udp) }
        #expect(collector.datagrams.isEmpty)
        run(bench, seconds: 1)
        #expect(collector.datagrams.count == 1)
        // Version, an IPv4 address, the agent, and the number of samples.
        #expect((0..<3).map { collector.number(0, $0 * 4) } == [5, 1, 0x0a00_0009] && collector.number(0, 24) == 3)
        #expect(bench.datapath.refused.isEmpty)
    }

    @Test func aFullDatagramGoesAtOnce() throws {
        let (bench, collector) = try bench { $0.headerSize = 1024 }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        for _ in 0..<4 { try bench.receive(SwitchBench.udp, size: 600) }
        // There is room for one in each; the fourth still waits.
        #expect(collector.datagrams.count == 3)
        #expect(collector.datagrams.allSatisfy { $0.count <= 1400 })
    }

    @Test func anIPv6AgentIsTold() throws {
        let (bench, collector) = try bench { $0.agent = IPAddress(ipv6: 0xfe80 << 112 | 1) }
        try bench.add([])
        try bench.receive(SwitchBench.udp)
        run(bench, seconds: 1)
        #expect(collector.number(0, 4) == 2 && collector.number(0, 8) == 0xfe80_0000 && collector.number(0, 20) == 1)
    }

    @Test func countersComeOncePerInterval() throws {
        let (bench, collector) = try bench { $0.polling = 4 }
        run(bench, seconds: 40)
        // The datapath's, and those of three ports.
        let count = collector.datagrams.indices.reduce(0) { $0 + collector.number($1, 24) }
        #expect(count == 40)
    }

    @Test func aKernelTunnelIsReadFromItsSet() throws {
        let fields = [
            DpSet.Field(Location.tunDst, 0x0a00_0002), DpSet.Field(Location.tunSrc, 0x0a00_0001), DpSet.Field(Location.tunID, 7),
            DpSet.Field(Location.tunTpDst, 4789),
        ]
        let tunnel = try #require(SentForm([.set(DpSet(.tunnel, fields)), .output(3)], FlowKey()).tunnel)
        #expect(tunnel.destination == 0x0a00_0002 && tunnel.source == 0x0a00_0001 && tunnel.id == 7)
        #expect(tunnel.ipProtocol == 17 && tunnel.destinationPort == 4789)
        // Two tunnels: neither is told of.
        let twice = DpAction.set(DpSet(.tunnel, fields))
        #expect(SentForm([twice, .output(3), twice, .output(3)], FlowKey()).tunnel == nil)
    }

    @Test func labelsThatCannotBeKnownAreNotTold() {
        #expect(SentForm([.popMPLS(ethType: 0x0800)], FlowKey()).labels == nil)
        #expect(SentForm([.output(1)], FlowKey()).labels == [])
        #expect(SentForm([.pushMPLS(lse: 1 << 12, ethType: 0x8847)], FlowKey()).labels == [1 << 12])
    }

    @Test func outputsAreNumberedAsTheStandardSays() {
        #expect(SFlowOutput.value(count: 0, index: 0) == 0x4000_0100 && SFlowOutput.value(count: 1, index: 9) == 9)
        #expect(SFlowOutput.value(count: 1, index: 0) == 0x8000_0001 && SFlowOutput.value(count: 3, index: 9) == 0x8000_0003)
        #expect([9, 0x8000_0003, 0x4000_0100].map(SFlowOutput.count) == [1, 3, 0])
    }
}
