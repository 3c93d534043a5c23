// Flows that keep connections to controllers alive, and what happens while no controller answers.

import Dpif
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

    /// A host that knows one way, and the neighbour on it.
    private final class OneGateway: HostRoutes {
        var mac: UInt64?
        var questions = 0
        let routes: [HostRoute] = []
        let devices: Set<String> = []
        func lookup(_ destination: IPAddress, mark: UInt32) -> HostRoute? {
            HostRoute(
                network: IPAddress(0), length: 0, mark: 0, device: "br0", gateway: IPAddress(0x0a00_00fe), source: IPAddress(0x0a00_0001),
                origin: .kernel)
        }
        func neighbor(_ address: IPAddress, on device: String) -> UInt64? {
            questions += 1
            return address == IPAddress(0x0a00_00fe) && device == "br0" ? mac : nil
        }
    }

    @Test func nextHopsHaveTheirFlows() {
        let flows = InBandControl.flows(local: 1, remotes: [.init(address: 9, port: 1)], nextHops: [7, 8], queue: nil)
        #expect(flows.map(\.priority).filter { $0 == 180_003 || $0 == 180_004 } == [180_003, 180_004, 180_003, 180_004])
        let host = OneGateway()
        let routing = TunnelRouting(host: host)
        var control = InBandControl()
        let remotes = [InBandControl.Remote(address: 9, port: 1), InBandControl.Remote(address: 9, port: 2)]
        #expect(control.hops(to: remotes, routing: routing, now: 0).isEmpty)
        host.mac = 7
        #expect(control.hops(to: remotes, routing: routing, now: 999).isEmpty, "asked again before its time")
        #expect(control.hops(to: remotes, routing: routing, now: 1000) == [7])
        host.mac = 8
        #expect(control.hops(to: remotes, routing: routing, now: 10_999) == [7])
        #expect(control.hops(to: remotes, routing: routing, now: 11_000) == [8])
        #expect(host.questions == 3)
        #expect(control.hops(to: [], routing: routing, now: 11_001).isEmpty)
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
