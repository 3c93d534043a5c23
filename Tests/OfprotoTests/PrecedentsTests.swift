// A packet that goes the way of an earlier one gets what translation would give it: the same actions, the same mask, the same counts.

import Dpif
import Flow
import OpenFlow
import Packet
import TestSupport
import Testing

@testable import Ofproto

@Suite struct PrecedentsTests {
    /// Few values, so that flows match and packets meet each other's ways.
    private static func address(_ g: inout SeededGenerator) -> UInt32 {
        0x0a00_0000 | UInt32.random(in: 0...3, using: &g) << 16 | UInt32.random(in: 0...3, using: &g) << 8
            | UInt32.random(in: 0...63, using: &g)
    }

    private static func key(_ g: inout SeededGenerator) -> FlowKey {
        var key = FlowKey()
        key.inPort = UInt32.random(in: 1...3, using: &g)
        key.ethSrc = 0x5054_0000_0000 | UInt64.random(in: 0...7, using: &g)
        key.ethDst = 0x5054_0000_0100 | UInt64.random(in: 0...7, using: &g)
        key.nwTOS = Bool.random(using: &g) ? 0 : 4
        key.nwTTL = UInt8.random(in: 1...3, using: &g)
        if Int.random(in: 0..<8, using: &g) == 0 {
            key.vlanTPID = 0x8100
            key.vlanTCI = 0x1000 | UInt16.random(in: 1...2, using: &g)
        }
        if Int.random(in: 0..<6, using: &g) == 0 {
            key.ethType = 0x86dd
            key[Location.ipv6Src] = UInt128(0x2001) << 112 | UInt128(UInt8.random(in: 0...9, using: &g))
            key[Location.ipv6Dst] = UInt128(0x2001) << 112 | UInt128(UInt8.random(in: 0...9, using: &g)) << 64
        } else {
            key.ethType = 0x0800
            key.nwSrc = address(&g)
            key.nwDst = address(&g)
            if Int.random(in: 0..<20, using: &g) == 0 { key.nwFrag = 1 }
        }
        key.nwProto = [6, 17, 17, 1][Int.random(in: 0..<4, using: &g)]
        key.tpSrc = UInt16.random(in: 1...6, using: &g)
        key.tpDst = UInt16.random(in: 1...6, using: &g)
        return key
    }

    private static func match(_ match: inout Match, _ g: inout SeededGenerator) {
        func sometimes(_ body: () -> Void) { if Int.random(in: 0..<4, using: &g) == 0 { body() } }
        let isIPv6 = Int.random(in: 0..<6, using: &g) == 0
        let isIP = Int.random(in: 0..<4, using: &g) != 0
        let ports = UInt64.random(in: 0...255, using: &g)
        if ports & 3 == 0 { match.set(Location.inPort, UInt128(1 + ports >> 2 % 3)) }
        let bits = UInt64.random(in: 0 ... .max, using: &g)
        if bits & 7 == 0 { match.set(Location.ethDst, UInt128(0x5054_0000_0100 | bits >> 8 & 7)) }
        if bits & 0x70 == 0 { match.set(Location.reg(Int(bits >> 12 & 1)), UInt128(bits >> 16 & 3), mask: 3) }
        if bits & 0x700_0000 == 0 { match.set(Location.metadata, UInt128(bits >> 28 & 3), mask: 3) }
        guard isIP else { return }
        match.set(Location.ethType, isIPv6 ? 0x86dd : 0x0800)
        if isIPv6 {
            if bits & 1 << 32 != 0 { match.set(Location.ipv6Dst, UInt128(0x2001) << 112 | UInt128(bits >> 33 & 7) << 64) }
            return
        }
        func prefix(_ location: FieldLocation) {
            let mask = UInt32.max << UInt32.random(in: 0...24, using: &g)
            match.set(location, UInt128(address(&g) & mask), mask: UInt128(mask))
        }
        if bits & 3 << 40 == 0 { prefix(Location.nwSrc) }
        if bits & 3 << 42 == 0 { prefix(Location.nwDst) }
        if bits & 3 << 44 == 0 {
            match.set(Location.nwProto, [6, 17][Int(bits >> 46 & 1)])
            if bits & 1 << 47 != 0 { match.set(Location.tpDst, UInt128(1 + bits >> 48 % 6)) }
            if bits & 1 << 52 != 0 { match.set(Location.tpSrc, UInt128(bits >> 53 & 6), mask: 6) }
        }
    }

    private static func actions(table: UInt8, _ g: inout SeededGenerator) -> [OFAction] {
        let address = Subfield([.ipv4Src, .ipv4Dst][Int.random(in: 0...1, using: &g)], low: 0, count: Int.random(in: 1...32, using: &g))
        let register = FieldID.reg0.rawValue + FieldID.RawValue(UInt8.random(in: 0...1, using: &g))
        let reg = FieldID(rawValue: register) ?? .reg0
        return (0..<Int.random(in: 0...4, using: &g)).compactMap { _ -> OFAction? in
            switch Int.random(in: 0..<22, using: &g) {
            case 0...4: return .output(OFPort(UInt32.random(in: 1...4, using: &g)), maxLength: 0)
            case 5...9 where table < 3:
                var next = ResubmitAction()
                next.table = UInt8.random(in: (table + 1)...3, using: &g)
                return .resubmit(next)
            case 10: return .setField(SetFieldAction(reg, UInt128(UInt8.random(in: 0...3, using: &g))))
            case 11: return .setField(SetFieldAction(reg, UInt128(UInt8.random(in: 0...3, using: &g)), mask: 3))
            case 12, 13: return .regMove(from: address, to: Subfield(reg, low: 0, count: address.count))
            case 14: return .regMove(from: Subfield(.tcpDst), to: Subfield(reg, low: 8, count: 16))
            case 15: return .regMove(from: Subfield(reg, low: 0, count: 8), to: Subfield(.reg2, low: 0, count: 8))
            case 16: return .writeMetadata(value: UInt64.random(in: 0...3, using: &g), mask: 3)
            case 17: return .writeActions([.output(OFPort(2), maxLength: 0)])
            case 18: return .output(.flood, maxLength: 0)
            // What is more than a plain translation.
            case 19: return .setIPv4Dst(Self.address(&g))
            case 20: return .output(.normal, maxLength: 0)
            case 21: return .regMove(from: Subfield(.reg0), to: Subfield(.ipv4Dst))
            default: return nil
            }
        }
    }

    @Test(arguments: 0..<40) func theWayOfOthersLeadsToTheSame(_ number: Int) throws {
        var g = SeededGenerator(for: "precedents \(number)")
        let bench = try SwitchBench()
        let backer = bench.backer
        backer.settings.flowLimit = 1_000_000
        for _ in 0..<3 {
            for table in UInt8(0)...3 {
                for _ in 0..<Int.random(in: 1...8, using: &g) {
                    var match = Match()
                    Self.match(&match, &g)
                    let priority = UInt16.random(in: 1...5, using: &g)
                    try bench.add({ $0 = match }, table: table, priority: priority, Self.actions(table: table, &g))
                }
            }
            // A flow that takes another's place goes on with its counts.
            var expected: [ObjectIdentifier: UInt64] = [:]
            for table in 0...3 { bench.bridge.tables[table].forEach { expected[ObjectIdentifier($0)] = $0.packetCount } }
            for _ in 0..<300 {
                var packet = Self.key(&g).composePacket(size: 64)
                var key = FlowKey()
                key.inPort = UInt32.random(in: 1...3, using: &g)
                key.extract(from: &packet, vlanLimit: 1)
                let port = try #require(backer.port(datapath: key.inPort))
                let translation = backer.translate(key, on: port, sideEffects: false)
                let (mask, actions) = backer.megaflow(translation, key)
                for case .rule(let rule) in translation.targets { expected[ObjectIdentifier(rule), default: 0] += 1 }
                var verdict = backer.handleMiss(key, packet: packet)
                guard let install = verdict.install.take() else {
                    Issue.record("no flow")
                    continue
                }
                let wanted = (ufid: UFID(key: key, mask: mask), mask: MiniMask(mask), key: key, actions: actions)
                let given = (ufid: install.ufid, mask: install.mask, key: install.key.key, actions: install.actions)
                #expect(given == wanted)
                var now = translation.actions
                if case .drop? = actions.first { now = actions }
                let done = verdict.actions
                #expect(done == now)
                #expect(backer.flows[given.ufid]?.targets.count == translation.targets.count)
            }
            for table in 0...3 {
                bench.bridge.tables[table].forEach { #expect($0.packetCount == expected[ObjectIdentifier($0), default: 0]) }
            }
        }
    }

    @Test func aChangeIsHeeded() throws {
        let bench = try SwitchBench()
        var resubmit = ResubmitAction()
        resubmit.table = 1
        // Each source is a flow of its own.
        try bench.add([.regMove(from: Subfield(.ipv4Src), to: Subfield(.reg1)), .resubmit(resubmit)])
        func forward(to port: UInt32) throws {
            try bench.add(
                {
                    $0.set(Location.ethType, 0x0800)
                    $0.set(Location.nwDst, 0x0a00_0002)
                }, table: 1, [.output(OFPort(port), maxLength: 0)])
        }
        func send(_ source: Int) throws { try bench.receive(SwitchBench.udp.replacing("10.0.0.1", with: "10.0.0.\(source)")) }
        try forward(to: 2)
        // The first is translated, the others follow it.
        for source in 10..<14 { try send(source) }
        #expect(bench.sent.map(\.count) == [0, 4, 0])
        #expect(bench.installed.count == 4)
        #expect(bench.backer.precedents.hits == 3)
        try forward(to: 3)
        for source in 20..<24 { try send(source) }
        #expect(bench.sent.map(\.count) == [0, 4, 4])
        #expect(bench.backer.precedents.hits == 3)
        // Those that followed are checked like others.
        bench.backer.revalidate()
        for source in 10..<14 { try send(source) }
        #expect(bench.sent.map(\.count) == [0, 4, 8])
    }

    /// Half of what changes together is nobody's business, even where a packet follows another.
    @Test func aChangeInStepsIsSeenWhole() throws {
        let bench = try SwitchBench()
        var resubmit = ResubmitAction()
        resubmit.table = 1
        try bench.add([.regMove(from: Subfield(.ipv4Src), to: Subfield(.reg1)), .resubmit(resubmit)])
        func forward(to ports: [UInt32]) throws {
            try bench.add({ $0.set(Location.ethType, 0x0800) }, table: 1, ports.map { .output(OFPort($0), maxLength: 0) })
        }
        func send(_ source: Int) throws { try bench.receive(SwitchBench.udp.replacing("10.0.0.1", with: "10.0.0.\(source)")) }
        try forward(to: [2])
        for source in 10..<12 { try send(source) }
        #expect(bench.backer.precedents.hits == 1 && bench.sent.map(\.count) == [0, 2, 0])
        bench.bridge.changeInSteps {
            do { try forward(to: [2, 3]) } catch { Issue.record("\(error)") }
            bench.bridge.completeChanges()
        }
        try forward(to: [3])
        try send(20)
        #expect(bench.sent.map(\.count) == [0, 3, 1])
    }
}
