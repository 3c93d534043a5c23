// Packets through the connection tracker: conversations between a few ends, with what FTP and TFTP say in them, under all forms of
// translation. Checksums are made right, so that packets are looked into.

import Datapath
import Dpif
import Flow
import Packet

/// Each record of the input is a packet: who sends it, what the `ct` action asks for, numbers, data.
@Sendable func fuzzConntrack(_ input: [UInt8]) {
    var c = Choices(input)
    let tracker = ConnectionTracker()
    let isIPv6 = c.u8() & 1 != 0
    var now: Int64 = 1_000
    while !c.isEmpty {
        let flags = c.u8()
        let proto: UInt8 = flags & 1 != 0 ? IPProtocol.udp : IPProtocol.tcp
        var key = FlowKey()
        key.ethType = isIPv6 ? EtherType.ipv6 : EtherType.ipv4
        key.nwProto = proto
        key.nwTTL = 64
        func address(_ n: UInt8) -> UInt128 { isIPv6 ? 0xfc << 120 | UInt128(n & 3) : UInt128(0x0a01_0100 + UInt32(n & 3)) }
        let ends = c.u8()
        if isIPv6 {
            key.ipv6Src = address(ends)
            key.ipv6Dst = address(ends >> 2)
        } else {
            key.nwSrc = UInt32(address(ends))
            key.nwDst = UInt32(address(ends >> 2))
        }
        let ports: [UInt16] = [21, 3000, 69, 1025]
        key.tpSrc = ports[Int(ends >> 4 & 3)]
        key.tpDst = ports[Int(ends >> 6 & 3)]
        key.tcpFlags = UInt16(c.u8() & 0x3f)
        let data = c.take(Int(c.u8() % 80))
        var packet = segment(key, sequence: c.u32(), acknowledgement: c.u32(), data, isIPv6: isIPv6)
        var action = DpConntrack()
        action.commit = flags & 2 != 0
        action.force = flags & 0x44 == 0x44
        action.zone = UInt16(flags >> 7)
        action.helper = flags & 8 != 0 ? (proto == IPProtocol.tcp ? "ftp" : "tftp") : nil
        if flags & 16 != 0 {
            var nat = DpNAT()
            nat.kind = flags & 32 != 0 ? .source : flags & 64 != 0 ? .destination : .none
            nat.isIPv6 = isIPv6
            let target = isIPv6 ? address(c.u8()) | 0xabcd << 64 : UInt128(0xc0a8_6400 + UInt32(c.u8()))
            nat.addresses = target...target
            action.nat = nat
        }
        var metadata = FlowKey()
        for _ in 0..<1 + flags % 2 {
            var parsed = metadata.metadataOnly
            parsed.extract(from: &packet)
            _ = tracker.track(&packet, key: &metadata, parsed: parsed, action, now: now)
        }
        now += Int64(c.u8()) * 100
        tracker.expire(now: now)
    }
    _ = tracker.connections(zone: nil, now: now)
}

/// A segment or a datagram whose checksum is right.
private func segment(_ key: FlowKey, sequence: UInt32, acknowledgement: UInt32, _ data: [UInt8], isIPv6: Bool) -> Packet {
    let l4 = isIPv6 ? 54 : 34
    let header = key.nwProto == IPProtocol.tcp ? 20 : 8
    var packet = key.composePacket(size: l4 + header + data.count)
    guard packet.count == l4 + header + data.count else { return packet }
    for (i, octet) in data.enumerated() { packet.store8(l4 + header + i, octet) }
    let checksum = l4 + (key.nwProto == IPProtocol.tcp ? 16 : 6)
    if key.nwProto == IPProtocol.tcp {
        packet.store32(l4 + 4, sequence)
        packet.store32(l4 + 8, acknowledgement)
        packet.store16(l4 + 14, 8192)
    }
    packet.store16(checksum, 0)
    var sum = UInt64(Int(key.nwProto) + packet.count - l4)
    sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: packet.bytes[(isIPv6 ? 22 : 26)..<l4]), sum)
    sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: packet.bytes[l4...]), sum)
    packet.store16(checksum, InternetChecksum.finish(sum))
    return packet
}
