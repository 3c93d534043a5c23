// Bundles: whatever they changed is undone when they fail, and of their events nothing is heard.

import Flow
import OpenFlow
import TestSupport
import Testing

@testable import Ofproto

@Suite struct TransactionTests {
    /// What the tables and groups hold, as text.
    private func contents(_ bridge: OpenFlowSwitch) -> [String] {
        var lines: [String] = []
        for table in bridge.tables.used {
            table.forEach { rule in
                lines.append(
                    "\(rule.tableID) \(rule.priority) \(rule.match.hashValue) \(rule.cookie) \(rule.actions) \(rule.packetCount) "
                        + "\(rule.idleTimeout) \(rule.isInstalled)")
            }
        }
        for id in 1...4 as ClosedRange<UInt32> {
            lines.append("group \(id) \(bridge.group(id) != nil) \(bridge.referenceCount(group: id))")
        }
        return lines.sorted()
    }

    /// A change that is legal most of the time.
    private func change(_ random: inout SeededGenerator, _ bridge: OpenFlowSwitch) {
        let group = UInt32.random(in: 1...4, using: &random)
        var mod = FlowMod()
        mod.command = [.add, .add, .add, .modify, .modifyStrict, .delete, .deleteStrict].randomElement(using: &random) ?? .add
        mod.table = UInt8.random(in: 0...1, using: &random)
        mod.priority = UInt16.random(in: 1...2, using: &random)
        mod.newCookie = UInt64.random(in: 1...3, using: &random)
        mod.modifyCookie = Bool.random(using: &random)
        mod.idleTimeout = UInt16.random(in: 0...2, using: &random)
        if Bool.random(using: &random) { mod.match.set(Location.inPort, UInt128.random(in: 1...3, using: &random)) }
        if Bool.random(using: &random) { mod.flags = .resetCounts }
        var learn = LearnAction()
        learn.cookie = 1
        learn.table = 1
        learn.flags = .deleteLearned
        mod.actions =
            [[.group(group)], [.output(OFPort(2), maxLength: 0)], [.learn(learn)], [.clone([.group(group), .group(group)])]]
            .randomElement(using: &random) ?? []
        switch Int.random(in: 0..<10, using: &random) {
        case 0: bridge.setGroup(Group(id: group, kind: .all, buckets: []), id: group)
        case 1:
            bridge.removeFlows(toGroup: group)
            bridge.setGroup(nil, id: group)
        default: try? bridge.modifyFlows(mod)
        }
    }

    @Test func aFailureLeavesEverythingAsItWas() throws {
        var random = SeededGenerator(for: "transactions")
        let bench = try SwitchBench()
        var heard = 0
        for round in 0..<400 {
            for _ in 0..<5 { change(&random, bench.bridge) }
            let before = contents(bench.bridge)
            bench.bridge.eventReceiver = { _ in heard += 1 }
            heard = 0
            #expect(throws: OFError.bfcMsgFailed) {
                try bench.bridge.atomically { () throws(OFError) in
                    for _ in 0..<20 { change(&random, bench.bridge) }
                    throw .bfcMsgFailed
                }
            }
            #expect(heard == 0)
            bench.bridge.eventReceiver = nil
            #expect(contents(bench.bridge) == before, "seed \(random.seed), round \(round)")
        }
    }

    @Test func aSuccessTellsItsEventsAtTheEnd() throws {
        let bench = try SwitchBench()
        var heard = 0
        bench.bridge.eventReceiver = { _ in heard += 1 }
        try bench.bridge.atomically { () throws(OFError) in
            try bench.add([.output(OFPort(2), maxLength: 0)])
            #expect(heard == 0)
        }
        #expect(heard == 1)
    }

    /// Begins to add a flow in steps, of which one is made. Returns whether the rest was.
    private func begin(_ bench: SwitchBench, fails: Bool = false) throws -> () -> Bool {
        var isMade = false
        bench.bridge.changeInSteps { [unowned bridge = bench.bridge] in
            isMade = true
            if fails { bridge.abandonChanges() } else { bridge.completeChanges() }
        }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        return { isMade }
    }

    @Test func whoLooksFirstHasChangesCompleted() throws {
        let bench = try SwitchBench()
        var heard = 0
        bench.bridge.eventReceiver = { _ in heard += 1 }
        let isMade = try begin(bench)
        bench.bridge.run()
        #expect(!isMade() && heard == 0)
        _ = Translation(bench.bridge, flow: FlowKey(), sideEffects: false)
        #expect(isMade() && heard == 1)
        #expect(bench.bridge.tables[0].count == 1)
        bench.bridge.settle()
        #expect(heard == 1)
    }

    @Test func changesInStepsCanFail() throws {
        let bench = try SwitchBench()
        var heard = 0
        bench.bridge.eventReceiver = { _ in heard += 1 }
        let isMade = try begin(bench, fails: true)
        bench.bridge.settle()
        #expect(isMade() && heard == 0)
        #expect(bench.bridge.tables[0].count == 0)
        try bench.add([.output(OFPort(2), maxLength: 0)])
        #expect(heard == 1)
    }
}
