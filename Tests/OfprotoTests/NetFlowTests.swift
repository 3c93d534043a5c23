// NetFlow: which records go out, and when.

import Dpif
import Flow
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct NetFlowTests {
    private final class Collector {
        var datagrams: [[UInt8]] = []
        func number(_ datagram: Int, _ at: Int, _ count: Int) -> UInt64 {
            datagrams[datagram][at..<at + count].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    private func bench(_ change: (inout NetFlowSettings) -> Void = { _ in }) throws -> (SwitchBench, Collector) {
        let bench = try SwitchBench()
        let collector = Collector()
        var settings = NetFlowSettings()
        settings.engineID = 3
        settings.engineType = 7
        settings.activeTimeout = 10_000
        change(&settings)
        bench.bridge.setNetFlow(settings) { collector.datagrams.append($0) }
        return (bench, collector)
    }

    private func run(_ bench: SwitchBench, seconds: Int) {
        for _ in 0..<seconds * 2 {
            bench.time.warp(500)
            bench.backer.run()
            bench.bridge.run()
        }
    }

    @Test func aFlowIsToldOfWhenItEnds() throws {
        let (bench, collector) = try bench { $0.activeTimeout = 0 }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        bench.time.warp(100)
        for _ in 0..<3 { try bench.receive(SwitchBench.udp, size: 100) }
        // Each of its fields is looked at.
        let mask = try #require(bench.installed.first?.mask)
        for field in [Location.nwSrc, Location.nwDst, Location.nwProto, Location.tpSrc, Location.tpDst] { #expect(!mask.isWild(field)) }
        run(bench, seconds: 5)
        #expect(collector.datagrams.isEmpty)
        run(bench, seconds: 10)
        #expect(collector.datagrams.count == 1 && collector.datagrams.first?.count == 72)
        // Version, count, engine.
        #expect(collector.number(0, 0, 4) == 0x0005_0001 && collector.number(0, 20, 2) == 0x0703)
        // Addresses; ports of the switch; packets and bytes; times; ports; flags, protocol and type of service.
        #expect(collector.number(0, 24, 8) == 0x0a00_0001_0a00_0002)
        #expect(collector.number(0, 36, 4) == 0x0001_0002)
        #expect(collector.number(0, 40, 8) == 3 << 32 | 300)
        #expect(collector.number(0, 48, 8) == 100 << 32 | 100)
        #expect(collector.number(0, 56, 4) == 0x0005_0006)
        #expect(collector.number(0, 60, 4) == 0x0000_1100)
        #expect(bench.datapath.refused.isEmpty)
    }

    @Test func aFlowThatGoesOnIsToldOfNowAndThen() throws {
        let (bench, collector) = try bench { $0.addsIDToInterface = true }
        try bench.add([.output(.flood, maxLength: 0)])
        for _ in 0..<25 {
            try bench.receive(SwitchBench.udp)
            run(bench, seconds: 1)
        }
        #expect(collector.datagrams.count == 2)
        // Flooded, and told with the engine's id.
        #expect(collector.number(0, 36, 4) == UInt64(3 << 9 | 1) << 16 | UInt64(3 << 9 | 0x1ff))
        let packets = (0..<2).reduce(0) { $0 + collector.number($1, 40, 4) }
        #expect((18...25).contains(packets))
        #expect(collector.number(1, 16, 4) == 1)
    }

    @Test func otherThanIPv4IsNotLookedAt() throws {
        let (bench, collector) = try bench()
        try bench.add([.output(OFPort(2), maxLength: 0)])
        try bench.receive("eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x1234)", size: 60)
        #expect(bench.installed.first?.mask.isWild(Location.nwSrc) == true)
        run(bench, seconds: 15)
        #expect(collector.datagrams.isEmpty)
    }
}
