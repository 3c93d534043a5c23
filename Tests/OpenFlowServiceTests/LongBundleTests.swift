// Bundles that are carried out in steps: nobody sees a part of one, and what comes behind it waits.

import Flow
import NIOCore
import OpenFlow
import Testing

@testable import OpenFlowService
@testable import Ofproto

@Suite struct LongBundleTests {
    private static let flows = 3000

    /// A bridge, a controller that has asked for a bundle of flows to be carried out, and another controller.
    private func bench(lastTable: UInt8 = 0) throws -> (ServiceBench, Peer, Peer) {
        let bench = try ServiceBench()
        let (peer, other) = (try bench.connect(.v14), try bench.connect(.v14))
        try control(peer, 0)
        for i in 1...Self.flows { try add(peer, priority: UInt16(i), table: i == Self.flows ? lastTable : 0) }
        #expect(bench.bridge.tables[0].count == 0)
        _ = try peer.received()
        try control(peer, 4)
        try peer.send(20)
        return (bench, peer, other)
    }

    /// Opens (0) or commits (4) a bundle.
    private func control(_ peer: Peer, _ type: UInt16) throws {
        try peer.send(33) { w in
            w.u32(1)
            w.u16(type)
            w.u16(3)
        }
    }

    private func add(_ peer: Peer, priority: UInt16, table: UInt8) throws {
        let xid = UInt32(priority)
        var inner = WireWriter.message(.v14, 14, xid: xid)
        inner.u64(0)
        inner.u64(0)
        inner.u8(table)
        inner.u8(0)
        inner.u16(0)
        inner.u16(0)
        inner.u16(priority)
        inner.u32(.max)
        inner.u32(.max)
        inner.u32(.max)
        inner.u32(0)
        inner.u16(1)
        inner.u16(4)
        inner.u32(0)
        var outer = WireWriter.message(.v14, 34, xid: xid)
        outer.u32(1)
        outer.u16(0)
        outer.u16(3)
        outer.array(inner.finish())
        try peer.send(outer.finish())
    }

    private func carryOn(_ bench: ServiceBench) { for _ in 0..<30 { bench.loop.advanceTime(by: .milliseconds(1)) } }

    @Test func whatFollowsWaits() throws {
        let (bench, peer, _) = try bench()
        #expect(try peer.received().isEmpty)
        carryOn(bench)
        #expect(try peer.received().map { $0[1] } == [33, 21])
        #expect(bench.bridge.tables[0].count == Self.flows)
    }

    @Test func anotherControllerSeesAllOfIt() throws {
        let (bench, peer, other) = try bench()
        try other.send(2)
        #expect(try other.received().map { $0[1] } == [3])
        #expect(try peer.received().isEmpty)
        try other.addFlow(priority: 60000)
        #expect(bench.bridge.tables[0].count == Self.flows + 1)
        #expect(try peer.received().map { $0[1] } == [33])
        carryOn(bench)
        #expect(try peer.received().map { $0[1] } == [21])
    }

    @Test func allOrNothing() throws {
        let (bench, peer, _) = try bench(lastTable: 254)
        carryOn(bench)
        let answers = try peer.received()
        #expect(answers.map { $0[1] } == [1, 1, 21])
        #expect(answers.first.map { WireReader($0).peek32(4) } == UInt32(Self.flows))
        #expect(bench.bridge.tables[0].count == 0)
        try peer.addFlow(priority: 1)
        #expect(bench.bridge.tables[0].count == 1)
    }

    @Test func itIsCompletedThoughTheConnectionEnds() throws {
        let (bench, peer, _) = try bench()
        _ = try? peer.channel.finish(acceptAlreadyClosed: true)
        bench.loop.run()
        #expect(bench.bridge.tables[0].count == Self.flows)
    }
}
