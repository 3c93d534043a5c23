// Multicast snooping: messages, and who gets what.

import Dpif
import Flow
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct MulticastTests {
    private static func bytes(_ hex: String) -> [UInt8] {
        var out: [UInt8] = []
        var rest = hex[...]
        while let byte = UInt8(rest.prefix(2), radix: 16) {
            out.append(byte)
            rest = rest.dropFirst(2)
        }
        return out
    }
    /// IGMPv2 with a router alert: a report for 225.1.2.3, a leave, and a query.
    private static let join = bytes("01005e01020350540000000108004600002000000000010237d30a000001e101020394040000160006fbe1010203")
    private static let leave = bytes("01005e01020350540000000108004600002000000000010237d30a000001e101020394040000170006fbe1010203")
    private static let query = bytes("01005e000001505400000001080046c000200000000001023a160a000001e0000001940400001164ee9b00000000")
    private static let group: UInt128 = 0xffff_e101_0203

    @Test func messagesAreRead() {
        #expect(MembershipMessage.parse(Self.join) == .join([Self.group]))
        #expect(MembershipMessage.parse(Self.leave) == .leave([Self.group]))
        #expect(MembershipMessage.parse(Self.query) == .query)
    }

    @Test func tagsAreSkipped() {
        let tagged = Array(Self.join[..<12]) + [0x81, 0, 0, 5] + Self.join[12...]
        #expect(MembershipMessage.parse(tagged) == .join([Self.group]))
    }

    /// IGMPv3: one group joined, one left.
    @Test func recordsAreRead() {
        var frame = Array(Self.join.prefix(38))
        frame[17] = 24 + 24
        frame += [0x22, 0, 0, 0, 0, 0, 0, 2]
        frame += [4, 0, 0, 0, 225, 1, 2, 3]
        frame += [3, 0, 0, 0, 225, 1, 2, 4]
        #expect(MembershipMessage.parse(frame) == .changes(joined: [Self.group], left: [Self.group + 1]))
    }

    @Test func whatIsCutShortIsNothing() {
        for frame in [Self.join, Self.query] {
            for length in 0..<frame.count { #expect(MembershipMessage.parse(Array(frame.prefix(length))) == nil) }
        }
    }

    private func bench() throws -> SwitchBench {
        let bench = try SwitchBench()
        var settings = SnoopingSettings()
        settings.floodsUnregistered = false
        bench.bridge.setSnooping(settings)
        try bench.add([.output(.normal, maxLength: 0)])
        return bench
    }

    private static let traffic =
        "eth(src=50:54:00:00:00:09,dst=01:00:5e:01:02:03),eth_type(0x0800),ipv4(src=10.0.0.9,dst=225.1.2.3,proto=17,tos=0,ttl=9,frag=no),udp(src=5,dst=6)"

    @Test func groupsGoToThoseWhoAsked() throws {
        let bench = try bench()
        try bench.receive(Self.traffic, port: 3)
        #expect(bench.sent.map(\.count) == [0, 0, 0])
        bench.devices[1].receive(Packet(Self.join))
        bench.backer.revalidate()
        try bench.receive(Self.traffic, port: 3)
        #expect(bench.sent.map(\.count) == [0, 1, 0])
        bench.devices[1].receive(Packet(Self.leave))
        bench.backer.revalidate()
        try bench.receive(Self.traffic, port: 3)
        #expect(bench.sent.map(\.count) == [0, 1, 0])
        #expect(bench.datapath.refused.isEmpty)
    }

    @Test func routersGetReportsAndTraffic() throws {
        let bench = try bench()
        bench.devices[0].receive(Packet(Self.query))
        let before = bench.sent.map(\.count)
        bench.backer.revalidate()
        bench.devices[1].receive(Packet(Self.join))
        #expect(bench.sent[0].count == before[0] + 1 && bench.sent[2].count == before[2])
        bench.backer.revalidate()
        try bench.receive(Self.traffic, port: 3)
        #expect(bench.sent[0].count == before[0] + 2)
    }

    @Test func groupsAge() throws {
        let bench = try bench()
        bench.devices[1].receive(Packet(Self.join))
        let snooping = try #require(bench.bridge.snooping)
        #expect(snooping.groups.count == 1)
        bench.time.warp(299_000)
        bench.bridge.run()
        #expect(snooping.groups.count == 1)
        bench.time.warp(2000)
        bench.bridge.run()
        #expect(snooping.groups.isEmpty)
    }
}
