// Requests that are answered in steps, and tables that are emptied at once.

import Flow
import NIOCore
import OpenFlow
import Testing

@testable import OpenFlowService
@testable import Ofproto

struct LongRequestTests {
    private static let flows = 5000

    private func bench() throws -> (ServiceBench, Peer) {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        for i in 1...Self.flows { try peer.addFlow(priority: UInt16(i)) }
        _ = try peer.received()
        return (bench, peer)
    }

    private func askForFlows(_ peer: Peer) throws {
        try peer.send(18) { w in
            w.u16(1)
            w.zeros(6)
            w.u8(255)
            w.zeros(3)
            w.u32(.max)
            w.u32(.max)
            w.zeros(4)
            w.u64(0)
            w.u64(0)
            w.u16(1)
            w.u16(4)
            w.u32(0)
        }
    }

    private func carryOn(_ bench: ServiceBench) { for _ in 0..<10 { bench.loop.advanceTime(by: .milliseconds(1)) } }

    /// The priorities of the flows in the parts of an answer.
    private func priorities(_ parts: [[UInt8]]) -> [UInt16] {
        parts.flatMap { part in
            let r = WireReader(part)
            var found: [UInt16] = []
            var at = 16
            while let length = r.peek16(at), length > 0 {
                found.append(r.peek16(at + 12) ?? 0)
                at += Int(length)
            }
            return found
        }
    }

    @Test func whatFollowsWaitsForALongAnswer() throws {
        let (bench, peer) = try bench()
        try askForFlows(peer)
        try peer.send(20)
        var messages = try peer.received()
        #expect(!messages.contains { $0[1] == 21 })
        carryOn(bench)
        messages += try peer.received()
        #expect(messages.last?[1] == 21)
        let parts = messages.dropLast()
        #expect(parts.allSatisfy { $0[1] == 19 })
        #expect(parts.dropLast().allSatisfy { $0[11] == 1 })
        #expect(parts.last?[11] == 0)
        #expect(Set(priorities(Array(parts))).count == Self.flows)
    }

    /// The answer is of the flows that were there when the request came.
    @Test func flowsMayGoMeanwhile() throws {
        let (bench, peer) = try bench()
        let other = try bench.connect(.v13)
        try askForFlows(peer)
        try other.addFlow(priority: 0, command: 3)
        #expect(bench.bridge.tables[0].count == 0)
        carryOn(bench)
        #expect(Set(priorities(try peer.received())).count == Self.flows)
    }

    @Test func aConnectionMayEndMeanwhile() throws {
        let (bench, peer) = try bench()
        try askForFlows(peer)
        peer.connection.close("test")
        carryOn(bench)
        #expect(!peer.connection.isOpen)
    }

    /// No more is written than a peer reads, but for a bounded amount.
    @Test func longAnswersWaitForASlowReader() throws {
        let (bench, peer) = try bench()
        peer.valve.isShut = true
        for _ in 0..<20 { try askForFlows(peer) }
        for _ in 0..<100 { carryOn(bench) }
        #expect(peer.connection.backlog <= 2 << 20)
        peer.valve.isShut = false
        for _ in 0..<100 { carryOn(bench) }
        #expect(priorities(try peer.received()).count == 20 * Self.flows)
    }

    @Test func emptyingATableEndsItsFlows() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        try peer.addFlow(priority: 1)
        var rules: [Rule] = []
        bench.bridge.tables[0].forEach { rules.append($0) }
        #expect(rules.map(\.isInstalled) == [true])
        try peer.addFlow(priority: 0, command: 3)
        #expect(rules.map(\.isInstalled) == [false])
        try peer.addFlow(priority: 1)
        #expect(rules.map(\.isInstalled) == [false])
        #expect(bench.bridge.tables[0].count == 1)
    }

    /// Flows that ask for it are told of one by one, also where all of a table go.
    @Test func thoseWhoAskHearOfEachFlow() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        for i in 1...3 { try peer.addFlow(priority: UInt16(i), flags: i == 2 ? 1 : 0) }
        _ = try peer.received()
        try peer.addFlow(priority: 0, command: 3)
        #expect(try peer.received().filter { $0[1] == 11 }.count == 1)
        #expect(bench.bridge.tables[0].count == 0)
    }

    @Test func hiddenFlowsStay() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13)
        bench.bridge.addHiddenFlow(Match(), priority: 70_000, actions: [])
        try peer.addFlow(priority: 1)
        try peer.addFlow(priority: 0, command: 3)
        #expect(bench.bridge.tables[0].count == 1)
    }
}
