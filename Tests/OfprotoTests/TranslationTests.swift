// Packets through a bridge: learning, megaflows, revalidation, timeouts.

import Dpif
import Flow
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct TranslationTests {
    static func frame(_ source: Int, _ destination: Int) -> String {
        "eth(src=50:54:00:00:00:0\(source),dst=50:54:00:00:00:0\(destination)),eth_type(0x1234)"
    }

    @Test func normalLearnsAndForwards() throws {
        let bench = try SwitchBench()
        try bench.add([.output(.normal, maxLength: 0)])
        try bench.receive(Self.frame(1, 2), port: 1)
        #expect(bench.sent.map(\.count) == [0, 1, 1])
        try bench.receive(Self.frame(2, 1), port: 2)
        #expect(bench.sent.map(\.count) == [1, 1, 1])
        bench.backer.synchronise()
        try bench.receive(Self.frame(1, 2), port: 1)
        #expect(bench.sent.map(\.count) == [1, 2, 1])
        #expect(bench.bridge.macs.count == 2)
    }

    /// The last packets of a port that is gone, which are counted when its flows go, teach nothing.
    @Test func nothingIsLearnedOfAPortThatIsGone() throws {
        let bench = try SwitchBench()
        try bench.add([.output(.normal, maxLength: 0)])
        try bench.receive(Self.frame(2, 1), port: 2)
        try bench.receive(Self.frame(2, 1), port: 2)
        bench.bridge.removePort(try #require(bench.bridge.port(OFPort(2))))
        bench.backer.revalidate()
        #expect(bench.bridge.macs.count == 0)
        try bench.receive(Self.frame(1, 2), port: 1)
        #expect(bench.sent.map(\.count) == [2, 0, 3], "flooded, not sent to the port that is gone")
    }

    @Test func secondPacketStaysInTheDatapath() throws {
        let bench = try SwitchBench()
        try bench.add({ $0.set(Location.inPort, 1) }, [.output(OFPort(2), maxLength: 0)])
        for _ in 0..<5 { try bench.receive(SwitchBench.udp) }
        #expect(bench.datapath.stats.missed == 1)
        #expect(bench.datapath.stats.hit == 4)
        bench.backer.revalidate()
        var flows = try bench.bridge.select(table: 0, FlowCriteria())
        var budget = Int.max
        let first = flows.next(&budget)
        let rule = try #require(first)
        #expect(rule.packetCount == 5)
    }

    @Test func aChangedFlowChangesWhatTheDatapathDoes() throws {
        let bench = try SwitchBench()
        try bench.add([.output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        try bench.add([.output(OFPort(3), maxLength: 0)])
        bench.backer.synchronise()
        #expect(bench.installed.first?.actions == [.output(3)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.map(\.count) == [0, 1, 1])
    }

    @Test func idleFlowsLeaveTheDatapathAndTheTable() throws {
        let bench = try SwitchBench()
        var mod = FlowMod()
        mod.table = 0
        mod.newCookie = 0
        mod.idleTimeout = 20
        mod.actions = [.output(OFPort(2), maxLength: 0)]
        try bench.bridge.modifyFlows(mod)
        try bench.receive(SwitchBench.udp)
        bench.time.warp(9_000)
        bench.backer.run()
        #expect(bench.installed.count == 1)
        bench.time.warp(2_000)
        bench.backer.run()
        #expect(bench.installed.isEmpty)
        var removed: [FlowRemovedCause] = []
        bench.bridge.eventReceiver = { if case .flowRemoved(_, let cause) = $0 { removed.append(cause) } }
        bench.time.warp(10_000)
        bench.bridge.run()
        #expect(removed == [.idleTimeout])
    }

    @Test func resubmitLimitsHold() throws {
        let bench = try SwitchBench()
        try bench.add([.resubmit(ResubmitAction(table: 0)), .output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent[1].isEmpty)
    }

    @Test func accessPortsTagAndUntag() throws {
        let bench = try SwitchBench()
        try bench.add([.output(.normal, maxLength: 0)])
        var access = BundleSettings(name: "p2")
        access.vlanMode = .access
        access.vlan = 5
        bench.bridge.setBundle(access, ports: [try #require(bench.bridge.port(named: "p2"))])
        try bench.receive(Self.frame(1, 9), port: 2)
        #expect(bench.sent[0].first.map { Array($0[12..<16]) } == [0x81, 0, 0, 5])
        // An untagged frame of the trunk is in VLAN 0.
        try bench.receive(Self.frame(3, 9), port: 3)
        #expect(bench.sent[1].isEmpty)
    }
}
