// Groups: how weights spread, which buckets are live, and what is counted. Learning with its limit.

import Flow
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct GroupTests {
    private func bucket(_ id: UInt32, weight: UInt16 = 1, to port: UInt32) -> Group.Bucket {
        Group.Bucket(id: id, weight: weight, actions: [.output(OFPort(port), maxLength: 0)])
    }

    @Test func spreadFollowsTheWeights() throws {
        let buckets = [bucket(0, weight: 5, to: 1), bucket(1, weight: 10, to: 2), bucket(2, weight: 0, to: 3)]
        let table = try #require(Group.spread(buckets, limit: 64))
        #expect(table.count == 16)
        #expect((0..<3).map { i in table.count { $0 == i } } == [5, 11, 0])
        #expect(Group.spread([bucket(0, weight: 1, to: 1), bucket(1, weight: 5000, to: 2)], limit: 256) == nil)
        #expect(Group.spread([], limit: 64) == nil)
    }

    @Test func selectSendsAPacketToOneBucketByTheDatapathsHash() throws {
        let bench = try SwitchBench()
        let group = Group(id: 1, kind: .select, buckets: [bucket(0, to: 2), bucket(1, to: 3)], method: "dp_hash")
        bench.bridge.setGroup(group, id: 1)
        try bench.add([.group(1)])
        for _ in 0..<3 { try bench.receive(SwitchBench.udp) }
        #expect(bench.sent[1].count + bench.sent[2].count == 3)
        #expect(bench.sent[1].isEmpty || bench.sent[2].isEmpty)
        bench.backer.synchronise()
        #expect(group.total.packets == 3)
        #expect(group.bucketCounters.map(\.packets).max() == 3)
    }

    /// Each look at a group asks after both, and each of those after both again: 2^128 looks where nothing limits them.
    @Test func groupsThatWatchEachOtherComeToAnEnd() throws {
        let bench = try SwitchBench()
        for id in [1, 2] as [UInt32] {
            let buckets = (1...3).map { Group.Bucket(id: $0, watchGroup: 3 - id, actions: [.output(OFPort(2), maxLength: 0)]) }
            bench.bridge.setGroup(Group(id: id, kind: .fastFailover, buckets: buckets), id: id)
        }
        try bench.add([.group(1)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.allSatisfy { $0.isEmpty })
    }

    @Test func allCopiesToEveryBucketAndLeavesThePacketAlone() throws {
        let bench = try SwitchBench()
        var first = bucket(0, to: 2)
        first.actions.insert(.setEthDst(9), at: 0)
        bench.bridge.setGroup(Group(id: 1, kind: .all, buckets: [first, bucket(1, to: 3)]), id: 1)
        try bench.add([.group(1), .output(OFPort(3), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.map(\.count) == [0, 1, 2])
        #expect(bench.sent[1][0][5] == 9)
        #expect(bench.sent[2][0] == bench.sent[2][1])
    }

    @Test func groupsThatWatchEachOtherAreDead() throws {
        let bench = try SwitchBench()
        for id in [UInt32(1), 2] {
            let b = Group.Bucket(id: 0, watchGroup: 3 - id, actions: [.output(OFPort(2), maxLength: 0)])
            bench.bridge.setGroup(Group(id: id, kind: .fastFailover, buckets: [b]), id: id)
        }
        try bench.add([.group(1), .output(OFPort(3), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.map(\.count) == [0, 0, 1])
    }

    @Test func learningStopsAtItsLimitAndGoesWithTheLearner() throws {
        let bench = try SwitchBench()
        var learn = LearnAction()
        learn.limit = 1
        learn.cookie = 7
        learn.flags = .deleteLearned
        learn.specs = [.init(bits: 48, source: .field(Subfield(.ethSrc)), destination: .match(Subfield(.ethSrc)))]
        try bench.add([.learn(learn)])
        try bench.receive(TranslationTests.frame(1, 2), port: 1)
        try bench.receive(TranslationTests.frame(3, 2), port: 1)
        #expect(bench.bridge.tables[1].count == 1)
        var delete = FlowMod()
        delete.command = .delete
        delete.table = 0
        try bench.bridge.modifyFlows(delete)
        #expect(bench.bridge.tables[1].count == 0)
    }
}
