// Roles, and who gets what goes out on its own.

import OpenFlow
import Testing

@testable import OpenFlowService
@testable import Ofproto

@Suite struct AsynchronousMessageTests {
    /// OFPT_ROLE_REQUEST: 1 equal, 2 primary, 3 secondary.
    private func request(_ role: UInt32, generation: UInt64, _ peer: Peer) throws {
        try peer.send(24) { w in
            w.u32(role)
            w.u32(0)
            w.u64(generation)
        }
    }

    @Test func anotherPrimaryMakesTheFirstSecondary() throws {
        let bench = try ServiceBench()
        let first = try bench.connect(.v13)
        let second = try bench.connect(.v13)
        try request(2, generation: 1, first)
        #expect(first.connection.role == .primary)
        _ = try first.received()
        try request(2, generation: 2, second)
        #expect(first.connection.role == .secondary)
        #expect(second.connection.role == .primary)
        // The Open Networking Foundation's role status: secondary now, for another's request.
        let status = try #require(try first.received().first { $0[1] == 4 })
        #expect(WireReader(status).peek32(12) == 1911 && WireReader(status).peek32(16) == 3 && status[20] == 0)
    }

    @Test func anOldGenerationIsStale() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        try request(2, generation: 5, peer)
        _ = try peer.received()
        try request(3, generation: 4, peer)
        let errors = try peer.errors()
        #expect(errors.map(\.type) == [11] && errors.map(\.code) == [0])
        #expect(peer.connection.role == .primary)
    }

    @Test func aSecondaryMayNotChangeFlows() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        try request(3, generation: 1, peer)
        _ = try peer.received()
        try peer.addFlow(priority: 1)
        let errors = try peer.errors()
        #expect(errors.map(\.type) == [1] && errors.map(\.code) == [10])
        #expect(bench.bridge.flowCount == 4)
    }

    /// Only controllers hear of flows that were removed, and only when the flow asks for it.
    @Test func removedFlowsAreTold() throws {
        let bench = try ServiceBench()
        let controller = try bench.connect(.v13)
        let tool = try bench.connect(.v13, purpose: .service)
        try tool.addFlow(priority: 1, flags: 1)
        try tool.addFlow(priority: 2)
        try tool.addFlow(priority: 0, command: 3)
        #expect(try controller.received().filter { $0[1] == 11 }.count == 1)
        #expect(try tool.received().filter { $0[1] == 11 }.isEmpty)
    }

    @Test func aConnectionChoosesWhatItHears() throws {
        let bench = try ServiceBench()
        let controller = try bench.connect(.v13)
        // OFPT_SET_ASYNC: no port status for primaries.
        try controller.send(28) { w in
            w.u32(7)
            w.u32(7)
            w.u32(0)
            w.u32(0)
            w.u32(15)
            w.u32(0)
        }
        try bench.device.setAdminUp(false)
        bench.warp(100)
        #expect(try controller.received().filter { $0[1] == 12 }.isEmpty)
        let other = try bench.connect(.v13)
        try bench.device.setAdminUp(true)
        bench.warp(100)
        #expect(try other.received().filter { $0[1] == 12 }.count == 1)
    }
}
