// Flows that keep connections to controllers alive, and what happens while no controller answers.

import Flow
import OpenFlow
import Testing

@testable import OpenFlowService
@testable import Ofproto

@Suite struct InBandTests {
    @Test func eachRemoteHasItsFlows() {
        let one = InBandControl.flows(local: 0xaa55_aa55_0000, remotes: [.init(address: 0x0a00_0001, port: 6653)], queue: nil)
        #expect(one.map(\.priority) == [180000, 180001, 180002, 180005, 180006, 180007, 180008])
        #expect(one.allSatisfy { $0.actions == [.output(.normal, maxLength: 0)] })
        let two = InBandControl.flows(
            local: 1, remotes: [.init(address: 1, port: 1), .init(address: 1, port: 2), .init(address: 2, port: 1)], queue: 7)
        // Two addresses, three connections.
        #expect(two.count == 3 + 2 * 2 + 3 * 2)
        #expect(two.allSatisfy { $0.actions.first == .setQueue(7) })
        #expect(InBandControl.flows(local: 1, remotes: [], queue: nil).isEmpty)
    }

    @Test func theyComeBackAfterAFlushAndGoWithTheController() throws {
        let bench = try ServiceBench()
        let before = bench.bridge.flowCount
        let inBand = InBandControl.flows(local: 0, remotes: [.init(address: 0x0a00_0001, port: 6653)], queue: nil)
        bench.service.inBand.update(bench.bridge, inBand)
        #expect(bench.bridge.flowCount == before + 7 && bench.bridge.inBand)
        bench.bridge.flushFlows()
        bench.service.inBand.update(bench.bridge, inBand)
        #expect(bench.bridge.flowCount == before + 7)
        bench.service.inBand.update(bench.bridge, [])
        #expect(bench.bridge.flowCount == before && !bench.bridge.inBand)
    }
}
