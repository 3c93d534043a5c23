import Packet
import TestSupport
import Testing

@testable import Flow

@Suite struct ExtractionTests {
    static func extract(_ bytes: [UInt8], vlanLimit: Int = 2) -> FlowKey {
        var packet = Packet(bytes)
        var key = FlowKey()
        key.extract(from: &packet, vlanLimit: vlanLimit)
        return key
    }

    static let flows = [
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.1.2.3,proto=6,tos=16,ttl=64,frag=no),tcp(src=1000,dst=80),tcp_flags(syn)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.1.2.3,proto=17,tos=0,ttl=64,frag=first),udp(src=5,dst=6)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.1.2.3,proto=17,tos=0,ttl=64,frag=later)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.1.2.3,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.1.2.3,proto=132,tos=0,ttl=64,frag=no),sctp(src=8,dst=9)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0x5,proto=6,tclass=0x10,hlimit=64,frag=no),tcp(src=1000,dst=81),tcp_flags(ack)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0,proto=58,tclass=0,hlimit=64,frag=no),icmpv6(type=135,code=0),nd(target=fe80::9,sll=50:54:00:00:00:09,tll=00:00:00:00:00:00)",
        "in_port(2),eth(src=50:54:00:00:00:03,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:03,tha=00:00:00:00:00:00)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8100),vlan(vid=7,pcp=1),encap(eth_type(0x1234))",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x88a8),vlan(vid=7,pcp=1),encap(eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x1234)))",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=1)",
    ]

    @Test(arguments: flows) func composedPacketsGiveTheirKeyBack(_ text: String) throws {
        let flow = try ODPFlow(parsing: text)
        #expect(flow.fit == .perfect)
        var packet = flow.key.composePacket()
        var key = FlowKey()
        key.inPort = flow.key.inPort
        key.extract(from: &packet)
        var wanted = flow.key
        wanted.ndOptionsType = key.ndOptionsType
        #expect(ODPFormatter().text(key: key, mask: nil) == ODPFormatter().text(key: wanted, mask: nil))
    }

    @Test(arguments: flows) func textIsReadBackAsWritten(_ text: String) throws {
        let flow = try ODPFlow(parsing: text)
        let printed = ODPFormatter().text(key: flow.key, mask: flow.mask)
        let again = try ODPFlow(parsing: printed)
        #expect(again.key == flow.key)
        #expect(ODPFormatter().text(key: again.key, mask: again.mask) == printed)
    }

    @Test func hostilePacketsNeverTrap() throws {
        var generator = SeededGenerator(for: "hostile packets")
        for round in 0..<20_000 {
            var bytes = try ODPFlow(parsing: Self.flows.randomElement(using: &generator)!).key.composePacket().array
            for _ in 0..<Int.random(in: 0...6, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if Bool.random(using: &generator) {
                bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
            }
            let key = Self.extract(bytes)
            // What cannot be there is not.
            if bytes.count < 14 { #expect(key == FlowKey(), "seed \(generator.seed), round \(round)") }
        }
    }

    @Test func truncatedHeadersStopTheWalk() {
        let whole = FlowTextPackets.tcp
        for length in 0..<whole.count {
            let key = Self.extract(Array(whole[..<length]))
            if length < 14 { #expect(key.ethType == 0) }
            // The IP header's length says more than there is: nothing of it counts.
            if length < whole.count { #expect(key.nwSrc == 0) }
        }
        #expect(Self.extract(whole).tpDst == 80)
    }

    @Test func llcFramesHaveNoType() {
        let frame = [UInt8](repeating: 1, count: 12) + [0, 20] + [0x42, 0x42, 3] + [UInt8](repeating: 0, count: 20)
        #expect(Self.extract(frame).ethType == EtherType.none)
    }

    @Test func aTagBeyondTheLimitIsAType() {
        let tagged = [UInt8](repeating: 1, count: 12) + [0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x12, 0x34]
        #expect(Self.extract(tagged, vlanLimit: 1).ethType == 0x8100)
        #expect(Self.extract(tagged, vlanLimit: 2).innerVLANTCI == 0x1006)
    }
}

enum FlowTextPackets {
    static let tcp: [UInt8] = {
        var key = FlowKey()
        key.ethType = EtherType.ipv4
        key.nwProto = 6
        key.nwSrc = 0x0a00_0001
        key.nwDst = 0x0a00_0002
        key.tpDst = 80
        return key.composePacket().array
    }()
}
