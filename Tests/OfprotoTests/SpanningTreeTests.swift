// STP and RSTP: messages on the wire, and two bridges with two links of which one must rest.

import Dpif
import Flow
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct SpanningTreeTests {
    // Captured from Open vSwitch 3.1, behind the LLC header.
    private static let configuration: [UInt8] = [
        0, 0, 0, 0, 1, 0x80, 0, 0xaa, 0x55, 0xaa, 0x55, 0, 0, 0, 0, 0, 0, 0x80, 0, 0xaa, 0x55, 0xaa, 0x55, 0, 0, 0x80, 0x02, 0, 0, 0x14, 0,
        1, 0, 0x0f, 0,
    ]
    private static let rapid: [UInt8] = [
        0, 0, 2, 2, 0x79, 0x10, 0, 0x50, 0x54, 0, 0, 0xaa, 0, 0, 0, 7, 0xd7, 0x80, 0, 0xaa, 0x55, 0xaa, 0x55, 0, 0, 0x80, 0x01, 1, 0, 0x14,
        0, 2, 0, 0x0f, 0, 0,
    ]

    @Test func messagesSurviveTheWire() throws {
        let c = try BPDU(Self.configuration)
        #expect(c.kind == .configuration && c.flags == .topologyChange && c.root == 0x8000_aa55_aa55_0000 && c.port == 0x8002)
        #expect(c.maxAge == 20 * 256 && c.helloTime == 256 && c.bytes == Self.configuration)
        let r = try BPDU(Self.rapid)
        #expect(r.kind == .rapid && r.flags.role == 2 && r.flags.contains([.agreement, .topologyChange]) && r.rootPathCost == 2007)
        #expect(r.bytes == Self.rapid)
        #expect(try BPDU([0, 0, 0, 0x80]).bytes == [0, 0, 0, 0x80])
        let frame = r.frame(from: 0x5054_0000_0001)
        #expect(BPDU.payload(of: frame).map(Array.init) == Self.rapid)
    }

    @Test func whatIsNoMessageIsRefused() {
        for good in [Self.configuration, Self.rapid] {
            for length in 0..<good.count { #expect(throws: BPDU.Problem.malformed) { try BPDU(good.prefix(length)) } }
        }
        var old = Self.configuration
        old[27] = 0x14
        #expect(throws: BPDU.Problem.malformed) { try BPDU(old) }
        #expect(BPDU.payload(of: [UInt8](repeating: 0, count: 60)) == nil)
    }

    /// Two bridges, ports 2 and 3 of which are joined.
    private final class Pair {
        let benches: [SwitchBench]

        init(_ start: (SwitchBench, Int) -> Void) throws {
            benches = [try SwitchBench(), try SwitchBench()]
            for (i, bench) in benches.enumerated() {
                for port in 1...2 {
                    bench.devices[port].onTransmit = { [unowned self] bytes in
                        self.benches[1 - i].devices[port].receive(Packet(Array(bytes)))
                    }
                }
                start(bench, i)
            }
        }

        func run(_ seconds: Int) {
            for _ in 0..<seconds * 2 {
                for bench in benches {
                    bench.time.warp(500)
                    bench.backer.run()
                    bench.bridge.run()
                }
            }
        }
        func port(_ bridge: Int, _ number: UInt32) throws -> SwitchPort { try #require(benches[bridge].bridge.port(OFPort(number))) }
        func cut(_ port: Int) throws { for bench in benches { try bench.devices[port - 1].setAdminUp(false) } }
    }

    private static func members(_ bench: SwitchBench) -> [SwitchPort] { [2, 3].compactMap { bench.bridge.port(OFPort($0)) } }

    @Test func stpBlocksOneOfTwoLinks() throws {
        let pair = try Pair { bench, i in
            var settings = STPSettings(systemID: UInt64(i + 1))
            settings.priority = i == 0 ? 4096 : 32768
            bench.bridge.setSTP(
                settings, ports: Self.members(bench).map { ($0, STPPortSettings(number: UInt8($0.number.rawValue), pathCost: 4)) })
        }
        #expect(try pair.port(0, 2).spanningTree.learns == false)
        pair.run(35)
        let root = try #require(pair.benches[0].bridge.stp)
        let other = try #require(pair.benches[1].bridge.stp)
        #expect(root.isRoot && !other.isRoot && other.rootPathCost == 4)
        #expect(root.ports.map { root.role($0) } == [.designated, .designated])
        #expect(other.ports.map { other.role($0) } == [.root, .alternate])
        #expect(other.ports.map(\.state) == [.forwarding, .blocking])
        #expect(try pair.port(1, 3).spanningTree.forwards == false)
        // A packet that comes in where nothing is forwarded goes nowhere.
        try pair.benches[1].add([.output(.all, maxLength: 0)])
        try pair.benches[1].receive(SwitchBench.udp, port: 3)
        #expect(pair.benches[1].sent[0].isEmpty)
        // The forwarding link breaks; the other takes over, after it has listened and learned.
        try pair.cut(2)
        pair.run(60)
        #expect(other.ports.map(\.state) == [.disabled, .forwarding])
        #expect(other.rootPort?.port.number == OFPort(3))
        // And without any link each bridge is a root.
        try pair.cut(3)
        pair.run(2)
        #expect(root.isRoot && other.isRoot)
    }

    @Test func rstpConvergesAtOnce() throws {
        let pair = try Pair { bench, i in
            var settings = RSTPSettings(address: UInt64(i + 1))
            settings.priority = i == 0 ? 4096 : 32768
            bench.bridge.setRSTP(
                settings, ports: Self.members(bench).map { ($0, RSTPPortSettings(number: UInt16($0.number.rawValue), pathCost: 2000)) })
        }
        // No more than a hello time, where STP takes thirty seconds.
        pair.run(3)
        let other = try #require(pair.benches[1].bridge.rstp)
        #expect(pair.benches[0].bridge.rstp?.isRoot == true)
        #expect(other.ports.map(\.role) == [.root, .alternate])
        #expect(other.ports.map(\.stateName) == ["Forwarding", "Discarding"])
        #expect(pair.benches[0].bridge.rstp?.ports.map(\.stateName) == ["Forwarding", "Forwarding"])
        try pair.cut(2)
        pair.run(1)
        #expect(other.ports.map(\.role) == [.disabled, .root])
        #expect(other.ports.map(\.stateName) == ["Discarding", "Forwarding"])
    }

    @Test func rstpFallsBackToSTP() throws {
        let pair = try Pair { bench, i in
            let ports = Self.members(bench)
            if i == 0 {
                var settings = STPSettings(systemID: 1)
                settings.priority = 4096
                bench.bridge.setSTP(settings, ports: ports.map { ($0, STPPortSettings(number: UInt8($0.number.rawValue), pathCost: 4)) })
            } else {
                bench.bridge.setRSTP(
                    RSTPSettings(address: 2), ports: ports.map { ($0, RSTPPortSettings(number: UInt16($0.number.rawValue), pathCost: 4)) })
            }
        }
        pair.run(60)
        let other = try #require(pair.benches[1].bridge.rstp)
        #expect(other.rootPriority.root == 0x1000_0000_0000_0001)
        #expect(other.ports.map(\.role) == [.root, .alternate])
        #expect(other.ports.map(\.stateName) == ["Forwarding", "Discarding"])
    }

    @Test func messagesDoNotReachTheTables() throws {
        let bench = try SwitchBench()
        bench.bridge.setRSTP(RSTPSettings(address: 9), ports: Self.members(bench).map { ($0, RSTPPortSettings(number: 2, pathCost: 1)) })
        try bench.add([.output(.all, maxLength: 0)])
        let before = bench.sent[0].count
        var message = BPDU(.rapid)
        message.maxAge = 5120
        bench.devices[1].receive(Packet(message.frame(from: 1)))
        #expect(bench.sent[0].count == before)
        #expect(bench.bridge.rstp?.ports.first?.received == 1)
        bench.bridge.setRSTP(nil, ports: [])
        bench.devices[1].receive(Packet(message.frame(from: 1)))
        #expect(bench.sent[0].count == before + 1)
        #expect(bench.datapath.refused.isEmpty)
    }
}
