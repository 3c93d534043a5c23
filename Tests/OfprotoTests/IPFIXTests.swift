// IPFIX: when records and templates go out. What they say is compared with the real daemon's (SystemTests.ExportTests).

import Dpif
import Flow
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct IPFIXTests {
    private final class Collector {
        var messages: [[UInt8]] = []
        var result = (sent: 1, failed: 0)
        /// The numbers of the sets in messages since the last time.
        func sets() -> [Int] {
            defer { messages = [] }
            return messages.map { Int($0[16]) << 8 | Int($0[17]) }
        }
    }

    private func bench(_ change: (inout IPFIXSettings) -> Void = { _ in }) throws -> (SwitchBench, Collector) {
        let bench = try SwitchBench()
        let collector = Collector()
        var settings = IPFIXSettings()
        settings.sampling = 1
        settings.samplesOutput = false
        change(&settings)
        bench.bridge.setIPFIX(bridge: settings, sets: [:]) { _ in
            {
                collector.messages.append($0)
                return collector.result
            }
        }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        return (bench, collector)
    }

    @Test func templatesComeAgain() throws {
        let (bench, collector) = try bench()
        func receive() throws -> (templates: Int, options: Int, data: Int) {
            try bench.receive(SwitchBench.udp)
            let sets = collector.sets()
            return (sets.count { $0 == 2 }, sets.count { $0 == 3 }, sets.count { $0 >= 256 })
        }
        let first = try receive()
        #expect(first.templates > 10 && first.options == 1 && first.data == 2)
        bench.time.warp(599_000)
        #expect(try receive() == (0, 0, 1))
        bench.time.warp(1000)
        #expect(try receive() == first)
    }

    @Test func everyTemplateHasANumberOfItsOwn() {
        let all = IPFIXTemplate.all
        #expect(all.count == 88 && Set(all.map(\.number)).count == 88 && all.allSatisfy { $0.number >= 256 })
    }

    @Test func flowsThatWaitAreToldOfWhenTheExporterEnds() throws {
        let (bench, collector) = try bench {
            $0.activeTimeout = 60_000
            $0.maxFlows = 10
        }
        for _ in 0..<5 { try bench.receive(SwitchBench.udp) }
        #expect(collector.messages.isEmpty && bench.bridge.ipfix?.bridgeStatistics?.currentFlows == 1)
        bench.bridge.setIPFIX(bridge: nil, sets: [:]) { _ in { _ in (0, 0) } }
        #expect(bench.bridge.ipfix == nil)
        let record = try #require(collector.messages.last)
        // What follows the reason are ten counts.
        #expect(record[record.count - 81] == IPFIXEnd.forced.rawValue)
    }

    @Test func manyFlowsWaitInOrder() throws {
        let (bench, collector) = try bench {
            $0.activeTimeout = 60_000
            $0.maxFlows = 100
        }
        for port in 0..<1000 { try bench.receive(SwitchBench.udp.replacing("udp(src=5,", with: "udp(src=\(2000 + port),")) }
        #expect(bench.bridge.ipfix?.bridgeStatistics?.currentFlows == 100)
        #expect(collector.sets().count { $0 == 284 } == 900)
        bench.time.warp(60_000)
        bench.bridge.run()
        #expect(collector.sets().count { $0 == 284 } == 100)
    }

    @Test func whatCannotBeSentIsCounted() throws {
        let (bench, collector) = try bench()
        collector.result = (1, 1)
        try bench.receive(SwitchBench.udp)
        let statistics = try #require(bench.bridge.ipfix?.bridgeStatistics)
        #expect(statistics.sendErrors == statistics.sent && statistics.sent == UInt64(collector.messages.count))
    }

    @Test func aSampleOfAnotherSwitchIsNotTaken() throws {
        let (bench, collector) = try bench()
        try bench.receive(SwitchBench.udp)
        _ = collector.sets()
        let key = try ODPFlow(parsing: "in_port(1),\(SwitchBench.udp)").key
        _ = bench.backer.handle(Upcall(kind: .action(.ipfix(bridge: 77, output: .max, tunnel: nil)), key: key), packet: key.composePacket())
        #expect(collector.messages.isEmpty)
    }
}
