// Keys, masks and actions as the kernel's attributes: what is written can be read back, and nothing that is read can do harm.

import CLinux
import Flow
import Packet
import Testing

@testable import Dpif
@testable import DpifNetlink

struct CodecTests {
    /// Attributes that a body writes.
    private func attributes(_ body: (inout NetlinkMessageWriter) -> Void) throws -> AttributeList {
        var w = NetlinkMessageWriter(type: 1, flags: 0)
        body(&w)
        #expect(!w.isTooLong)
        return try AttributeList(w.bytes.dropFirst(16))
    }

    private static let texts = [
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0x10,ttl=64,frag=no),tcp(src=5,dst=6),tcp_flags(syn|ack)",
        "skb_priority(0x10002),skb_mark(0x7),recirc_id(0x9),dp_hash(0x1234),in_port(3),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::1,dst=ff02::1,label=0x12345,proto=17,tclass=0x8,hlimit=9,frag=first),udp(src=53,dst=54)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8100),vlan(vid=10,pcp=3),encap(eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0))",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x88a8),vlan(vid=10,pcp=3),encap(eth_type(0x8100),vlan(vid=11,pcp=0),encap(eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:01,tha=00:00:00:00:00:00)))",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=later)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::1,dst=ff02::1,label=0,proto=58,tclass=0,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=fe80::2,sll=50:54:00:00:00:01,tll=00:00:00:00:00:00)",
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8847),mpls(label=16,tc=1,ttl=64,bos=0,label=17,tc=0,ttl=63,bos=1)",
        "ct_state(est|trk),ct_zone(0x5),ct_mark(0x1),ct_label(0x1234567890abcdef1234567890abcdef),in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=132,tos=0,ttl=64,frag=no),sctp(src=5,dst=6)",
        "tunnel(tun_id=0x64,src=1.1.1.1,dst=2.2.2.2,tos=0x4,ttl=64,tp_src=1000,tp_dst=4789,flags(csum|key)),in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=2,tos=0,ttl=64,frag=no)",
    ]

    @Test(arguments: texts) func keysAreReadAsTheyWereWritten(_ text: String) throws {
        let key = try ODPFlow(parsing: text).key
        let list = try attributes { KeyCodec().writeKey(key, mask: nil, to: &$0) }
        var read = FlowKey()
        try KeyCodec().readKey(list, into: &read)
        #expect(ODPFormatter().text(key: read, mask: nil) == ODPFormatter().text(key: key, mask: nil))
        #expect(read == key)
    }

    @Test(arguments: texts) func masksAreReadAsTheyWereWritten(_ text: String) throws {
        let key = try ODPFlow(parsing: text).key
        var generator = SystemRandomNumberGenerator()
        for round in 0..<50 {
            // A subset of what an exact match has.
            var full = FlowMask()
            var shape = FlowKey()
            let list = try attributes { w in
                var ones = FlowKey()
                for i in 0..<FlowKey.wordCount { ones.words[i] = .max }
                KeyCodec().writeMask(FlowMask(bits: ones), key: key, to: &w)
            }
            try KeyCodec().readMask(list, into: &full)
            shape = full.bits
            var mask = FlowMask(bits: shape)
            if round > 0 {
                for i in 0..<FlowKey.wordCount { mask.bits.words[i] &= UInt64.random(in: 0 ... .max, using: &generator) }
                mask.bits.nwFrag = mask.bits.nwFrag == 0 ? 0 : 3
                mask.bits.inPort = .max
                mask.bits.recircID = .max
                mask.bits.ethType = .max
                mask.bits.tunFlags = full.bits.tunFlags
                for (tpid, tci) in [(Location.vlanTPID, Location.vlanTCI), (Location.innerVLANTPID, Location.innerVLANTCI)]
                where shape[tpid] != 0 {
                    mask.setExact(tpid)
                    mask.bits[tci] |= 0x1000
                }
            }
            let written = try attributes { KeyCodec().writeMask(mask, key: key, to: &$0) }
            var read = FlowMask()
            try KeyCodec().readMask(written, into: &read)
            #expect(read == mask)
        }
    }

    @Test func actionsAreReadAsTheyWereWritten() throws {
        var ct = DpConntrack()
        ct.commit = true
        ct.force = true
        ct.zone = 7
        ct.mark = .init(5, 0xff)
        ct.label = .init(1 << 100 | 3, .max)
        ct.helper = "ftp"
        ct.eventMask = 6
        ct.timeoutPolicy = "ovs_tp_1_tcp4"
        var nat = DpNAT()
        nat.kind = .source
        nat.addresses = 0x0a00_0001...0x0a00_0009
        nat.ports = 1000...2000
        nat.random = true
        ct.nat = nat
        var six = DpConntrack()
        nat.kind = .destination
        nat.isIPv6 = true
        nat.addresses = 1...1
        nat.ports = 80...80
        six.nat = nat
        var nsh = DpNSH()
        nsh.path = 0x12345
        nsh.context = Array(1...16)
        let controller = UserspaceAction.controller(
            reason: 1, dontSend: false, continuation: true, recircID: 9, ruleCookie: .max, controllerID: 3, maxLength: 128)
        var sample = FlowSample()
        (sample.bridge, sample.probability, sample.collectorSet, sample.domain, sample.point) = (6, 1, 2, 3, 4)
        (sample.output, sample.tunnel, sample.direction) = (5, 5, .egress)
        let actions: [DpAction] = [
            .output(3), .userspace(.slowPath([.cfm, .action])), .userspace(controller),
            .userspace(.sFlow(bridge: 8, vid: 1, pcp: 2, output: 3)),
            .userspace(.flowSample(sample)), .userspace(.ipfix(bridge: 8, output: 9, tunnel: nil)),
            .userspace(.ipfix(bridge: 8, output: 9, tunnel: 9)), .set(DpSet(.eth, [.init(Location.ethSrc, 5, mask: 0xff)])),
            .set(DpSet(.ipv4, [.init(Location.nwSrc, 0x0a00_0001), .init(Location.nwTTL, 3)])),
            .set(DpSet(.tcp, [.init(Location.tpSrc, 80)])), .set(DpSet(.skbMark, [.init(Location.pktMark, 9)])),
            .set(
                DpSet(
                    .tunnel,
                    [
                        .init(Location.tunID, 9), .init(Location.tunDst, 0x0101_0101), .init(Location.tunTTL, 64),
                        .init(Location.tunFlags, 8),
                    ])),
            .pushVLAN(tpid: 0x8100, tci: 0x6005), .popVLAN, .pushMPLS(lse: 0x1014f, ethType: 0x8847), .popMPLS(ethType: 0x0800),
            .recirc(77),
            .hash(algorithm: .l4, basis: 3), .sample(probability: 1000, [.output(1), .clone([.output(2)])]), .ct(ct), .ct(six), .ctClear,
            .truncate(100), .pushEthernet(source: 1, destination: 2), .popEthernet, .clone([.popVLAN, .output(2)]), .meter(4),
            .checkPacketLength(1500, greater: [.output(1)], lessOrEqual: []), .pushNSH(nsh), .popNSH,
        ]
        for action in actions {
            var problem: DpifError?
            let list = try attributes { w in
                do throws(DpifError) { try ActionCodec().write([action], to: &w) } catch { problem = error }
            }
            #expect(problem == nil)
            #expect(try ActionCodec().read(list) == [action])
        }
    }

    @Test func whatTheKernelLacksIsRefused() throws {
        let header = TunnelHeader(tunnelPort: 1, outPort: 2, header: [], type: "vxlan", number: 4)
        for action in [DpAction.tunnelPop(1), .tunnelPush(header), .drop(1), .lbOutput(1), .hash(algorithm: .symmetricL4, basis: 0)] {
            var w = NetlinkMessageWriter(type: 1, flags: 0)
            #expect(throws: DpifError.self) { try ActionCodec().write([.clone([action])], to: &w) }
        }
    }

    @Test func lengthsAreChecked() throws {
        // An attribute that claims more than there is, one shorter than its header, and bytes that are none.
        for bytes: [UInt8] in [[9, 0, 1, 0, 1, 2], [3, 0, 1, 0], [8, 0, 1, 0, 1, 2, 3, 4, 5], [0, 0, 0, 0]] {
            #expect(throws: DpifError.self) { try AttributeList(bytes[...]) }
        }
        for bytes: [UInt8] in [Array(repeating: 0, count: 16), [200, 0, 0, 0] + Array(repeating: 0, count: 12), [1, 2, 3]] {
            #expect(throws: DpifError.self) { try NetlinkMessage.split(bytes[...]) }
        }
        var w = NetlinkMessageWriter(type: 1, flags: 0)
        w.attribute(1, [UInt8](repeating: 0, count: 70_000))
        #expect(throws: DpifError.self) { try w.finish(sequence: 1, port: 0) }
    }

    @Test func damagedMessagesDoNoHarm() throws {
        var generator = SystemRandomNumberGenerator()
        for text in Self.texts {
            let key = try ODPFlow(parsing: text).key
            var w = NetlinkMessageWriter(type: 1, flags: 0)
            KeyCodec().writeKey(key, mask: nil, to: &w)
            for _ in 0..<500 {
                var bytes = Array(w.bytes.dropFirst(16))
                for _ in 0..<3 {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0 ... .max, using: &generator)
                }
                guard let list = try? AttributeList(bytes[...]) else { continue }
                var read = FlowKey()
                try? KeyCodec().readKey(list, into: &read)
                _ = try? ActionCodec().read(list)
                _ = ODPFormatter().text(key: read, mask: nil)
                var message = NetlinkMessageWriter(type: 30, flags: 0)
                message.raw(Array(repeating: 0, count: 8))
                message.nest(1) { $0.raw(bytes) }
                try message.finish(sequence: 1, port: 1)
                MessageReading.readAll(message.bytes)
            }
        }
    }
}
