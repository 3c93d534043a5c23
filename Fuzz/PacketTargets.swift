// Packets and datapath text: header parsing, every edit of a packet, flow and action text.

import Datapath
import Dpif
import Flow
import OpenFlow
import Packet

/// Every action that changes a packet, with bits set everywhere.
private let edits: [DpAction] = {
    let texts = [
        "set(eth(src=00:01:02:03:04:05,dst=06:07:08:09:0a:0b))", "push_vlan(vid=7,pcp=3)", "pop_vlan",
        "push_mpls(label=5,tc=1,ttl=9,bos=0,eth_type=0x8847)", "set(mpls(label=3,tc=2,ttl=7,bos=0))",
        "pop_mpls(eth_type=0x800)", "set(ipv4(src=1.2.3.4,dst=5.6.7.8,tos=0x10/0xfc,ttl=9))",
        "set(ipv6(src=fe80::1,dst=fe80::2,label=0x12345,tclass=0x10,hlimit=7))", "set(tcp(src=1,dst=2))",
        "set(udp(src=1,dst=2))", "set(sctp(src=1,dst=2))", "set(icmp(type=3,code=4))", "set(icmpv6(type=3,code=4))",
        "set(arp(sip=1.2.3.4,tip=5.6.7.8,op=2,sha=00:01:02:03:04:05,tha=06:07:08:09:0a:0b))",
        "set(nd(target=fe80::3,sll=00:01:02:03:04:05,tll=06:07:08:09:0a:0b))", "set(nsh(flags=1,ttl=3,spi=0x123,si=4))",
        "pop_nsh", "pop_eth", "push_eth(src=00:01:02:03:04:05,dst=06:07:08:09:0a:0b)",
        "hash(l4(0))", "hash(sym_l4(1))", "trunc(20)", "1", "check_pkt_len(size=64,gt(pop_vlan),le(pop_eth))", "recirc(1)",
    ]
    var nsh = DpNSH()
    nsh.mdType = 1
    nsh.nextProtocol = 3
    nsh.context = [UInt8](repeating: 7, count: 16)
    return [.pushNSH(nsh)]
        + texts.flatMap { text in
            guard let actions = try? DpAction.parse(text) else { fatalError("\(text) does not parse") }
            return actions
        }
}()

/// A line of datapath actions, then the packet. The packet is parsed, goes through each edit alone, through the actions
/// given, and through all the edits in a row.
@Sendable func fuzzPacket(_ bytes: [UInt8]) {
    let line = bytes.prefix { $0 != 10 }
    let frame = Array(bytes.dropFirst(line.count + 1))
    let given = (try? DpAction.parse(String(decoding: line, as: UTF8.self))) ?? []
    let datapath = UserspaceDatapath(
        type: "dummy", name: "fuzz", capabilities: DpifCapabilities(), time: TimeSource())
    for limit in 0...2 {
        var packet = Packet(frame)
        var key = FlowKey()
        key.extract(from: &packet, vlanLimit: limit)
        _ = ODPFormatter().text(key: key, mask: nil)
        _ = MatchFormatter().format(key)
        let composed = key.composePacket()
        precondition(composed.count < 1 << 17)
    }
    for type: UInt32 in [0, 1 << 16 | 0x0800, 1 << 16 | 0x86dd, 1 << 16 | 0x894f, 1 << 16 | 0x8847] {
        var metadata = FlowKey()
        metadata.packetType = type
        for edit in edits { try? datapath.execute(Packet(frame), metadata: metadata, actions: [edit]) }
        try? datapath.execute(Packet(frame), metadata: metadata, actions: given)
        try? datapath.execute(Packet(frame), metadata: metadata, actions: edits + given)
    }
}

/// Datapath flows and actions in text. What was parsed is printed, and what is printed parses again.
@Sendable func fuzzODP(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let flow = try? ODPFlow(parsing: text, port: { UInt32($0.count) }) {
        for verbose in [false, true] {
            let printed = ODPFormatter(verbose: verbose).text(key: flow.key, mask: flow.mask)
            _ = try? ODPFlow(parsing: printed)
        }
        _ = ODPFormatter().text(key: flow.key, mask: nil)
        _ = MatchFormatter().format(Match(key: flow.key, mask: flow.mask))
        precondition(flow.key.composePacket(size: 64).count < 1 << 17)
    }
    if let actions = try? DpAction.parse(text, port: { UInt32($0.count) }) {
        _ = try? DpAction.parse(DpAction.text(actions))
        _ = CapabilityCheck(DpifCapabilities()).problem(key: FlowKey(), mask: FlowMask(), actions: actions)
    }
    _ = try? FlowKey(parsing: text, port: { _ in nil })
    _ = try? OFAction.parse(text, ports: { _ in nil })
}
