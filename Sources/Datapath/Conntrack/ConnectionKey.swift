// What names a connection: addresses, protocol and ports in one direction, within a zone; and how a packet says it.

import Flow
import Packet

/// One direction of a connection. Hashable with the process's random seed, so that senders cannot aim at one bucket.
struct ConnectionKey: Hashable, Sendable {
    var isIPv6: Bool
    var proto: UInt8
    var zone: UInt16
    var source: UInt128
    var destination: UInt128
    /// Ports of TCP and UDP. Of ICMP: type << 8 | code of a message in this direction, and of its answer.
    var sourcePort: UInt16 = 0
    var destinationPort: UInt16 = 0
    /// The identifier of ICMP queries.
    var icmpID: UInt16 = 0

    /// The other direction.
    var reversed: ConnectionKey {
        var other = self
        swap(&other.source, &other.destination)
        swap(&other.sourcePort, &other.destinationPort)
        return other
    }

    var isICMP: Bool { proto == IPProtocol.icmp || proto == IPProtocol.icmpv6 }
    /// Has ports that address translation may change.
    var hasPorts: Bool { proto == IPProtocol.tcp || proto == IPProtocol.udp }
}

/// What the tracker sees in a packet.
struct TrackedPacket {
    /// In the packet's own direction.
    var key: ConnectionKey
    /// An ICMP error: `key` is of the packet that it is about, turned round so that it points the error's way.
    var isRelated = false
    /// Where the network header within an ICMP error starts, and its transport header.
    var inner: (l3: Int, l4: Int)?
    /// Where the transport header starts, and its length with its payload.
    var l4: Int
    var l4Length: Int

    /// Reads a packet whose layers have been found. Nil: it belongs to no connection (malformed, a wrong checksum, a
    /// fragment, or a message that neither opens a connection nor is about one).
    init?(_ packet: borrowing Packet, _ flow: FlowKey, zone: UInt16) {
        guard flow.isIPv4 || flow.isIPv6, flow.nwFrag & IPFragment.any == 0, let l3 = packet.l3, let l4 = packet.l4,
            l4 <= packet.count
        else { return nil }
        let end = packet.count - packet.l2PadSize
        guard end >= l4 else { return nil }
        self.l4 = l4
        l4Length = end - l4
        if flow.isIPv4 {
            let header = Int(packet.load8(l3) & 0xf) * 4
            guard l3 + header <= end, InternetChecksum.checksum(packet.slice(l3, header)) == 0 else { return nil }
            key = ConnectionKey(
                isIPv6: false, proto: flow.nwProto, zone: zone, source: UInt128(flow.nwSrc),
                destination: UInt128(flow.nwDst))
        } else {
            key = ConnectionKey(
                isIPv6: true, proto: flow.nwProto, zone: zone, source: flow.ipv6Src, destination: flow.ipv6Dst)
        }
        switch flow.nwProto {
        case IPProtocol.tcp:
            guard l4Length >= HeaderSize.tcp else { return nil }
            let header = Int(packet.load8(l4 + 12) >> 4) * 4
            guard header >= HeaderSize.tcp, header <= l4Length, transportChecksumIsRight(packet) else { return nil }
            readPorts(packet, l4)
        case IPProtocol.udp:
            guard l4Length >= HeaderSize.udp else { return nil }
            let length = Int(packet.load16(l4 + 4))
            guard length >= HeaderSize.udp, length == l4Length else { return nil }
            // Over IPv4 a checksum of 0 means that there is none (RFC 768).
            let checksum = packet.load16(l4 + 6)
            guard checksum == 0 && flow.isIPv4 || transportChecksumIsRight(packet) else { return nil }
            readPorts(packet, l4)
        case IPProtocol.icmp where flow.isIPv4:
            guard l4Length >= HeaderSize.icmp, InternetChecksum.checksum(packet.slice(l4, l4Length)) == 0 else { return nil }
            guard readICMP(packet) else { return nil }
        case IPProtocol.icmpv6 where flow.isIPv6:
            guard l4Length >= HeaderSize.icmp, transportChecksumIsRight(packet), readICMPv6(packet) else { return nil }
        default: break
        }
    }

    private mutating func readPorts(_ packet: borrowing Packet, _ at: Int) {
        key.sourcePort = packet.load16(at)
        key.destinationPort = packet.load16(at + 2)
    }

    private func transportChecksumIsRight(_ packet: borrowing Packet) -> Bool {
        func halves(_ value: UInt128) -> UInt64 {
            (0..<8).reduce(0) { $0 + UInt64(truncatingIfNeeded: value >> UInt128(16 * $1)) & 0xffff }
        }
        var sum = UInt64(key.proto) + UInt64(l4Length)
        for address in [key.source, key.destination] {
            sum += (0..<8).reduce(0) { $0 + (UInt64(truncatingIfNeeded: address >> UInt128(16 * $1)) & 0xffff) }
        }
        return InternetChecksum.finish(InternetChecksum.partial(packet.slice(l4, l4Length), sum)) == 0
    }

    /// RFC 792.
    private mutating func readICMP(_ packet: borrowing Packet) -> Bool {
        let type = packet.load8(l4)
        let code = packet.load8(l4 + 1)
        let answers: [UInt8: UInt8] = [8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15]
        if let answer = answers[type] {
            key.icmpID = packet.load16(l4 + 4)
            key.sourcePort = UInt16(type) << 8 | UInt16(code)
            key.destinationPort = UInt16(answer) << 8 | UInt16(code)
            return true
        }
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        guard [3, 4, 5, 11, 12].contains(type) else { return false }
        let l3 = l4 + HeaderSize.icmp
        guard l4Length >= HeaderSize.icmp + HeaderSize.ipv4 + 8, packet.load8(l3) >> 4 == 4 else { return false }
        let header = Int(packet.load8(l3) & 0xf) * 4
        guard header >= HeaderSize.ipv4, HeaderSize.icmp + header + 8 <= l4Length,
            packet.load16(l3 + 6) & 0x1fff == 0
        else { return false }
        var about = key
        about.proto = packet.load8(l3 + 9)
        about.source = UInt128(packet.load32(l3 + 12))
        about.destination = UInt128(packet.load32(l3 + 16))
        // The error goes to who sent what it is about.
        guard about.source == key.destination else { return false }
        return readInner(packet, about, l3, l3 + header)
    }

    /// RFC 4443.
    private mutating func readICMPv6(_ packet: borrowing Packet) -> Bool {
        let type = packet.load8(l4)
        let code = packet.load8(l4 + 1)
        if type == 128 || type == 129 {
            key.icmpID = packet.load16(l4 + 4)
            key.sourcePort = UInt16(type) << 8 | UInt16(code)
            key.destinationPort = UInt16(type ^ 1) << 8 | UInt16(code)
            return true
        }
        guard (1...4).contains(type) else { return false }
        let l3 = l4 + HeaderSize.icmp
        guard l4Length >= HeaderSize.icmp + HeaderSize.ipv6 + 8, packet.load8(l3) >> 4 == 6 else { return false }
        var about = key
        about.proto = packet.load8(l3 + 6)
        about.source = packet.load128(l3 + 8)
        about.destination = packet.load128(l3 + 24)
        guard about.source == key.destination else { return false }
        return readInner(packet, about, l3, l3 + HeaderSize.ipv6)
    }

    private mutating func readInner(_ packet: borrowing Packet, _ about: ConnectionKey, _ l3: Int, _ l4: Int) -> Bool {
        var about = about
        switch about.proto {
        case IPProtocol.tcp, IPProtocol.udp:
            about.sourcePort = packet.load16(l4)
            about.destinationPort = packet.load16(l4 + 2)
        case IPProtocol.icmp where !about.isIPv6:
            let answers: [UInt8: UInt8] = [8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15]
            let type = packet.load8(l4)
            guard let answer = answers[type] else { return false }
            about.icmpID = packet.load16(l4 + 4)
            about.sourcePort = UInt16(type) << 8 | UInt16(packet.load8(l4 + 1))
            about.destinationPort = UInt16(answer) << 8 | UInt16(packet.load8(l4 + 1))
        case IPProtocol.icmpv6 where about.isIPv6:
            let type = packet.load8(l4)
            guard type == 128 || type == 129 else { return false }
            about.icmpID = packet.load16(l4 + 4)
            about.sourcePort = UInt16(type) << 8 | UInt16(packet.load8(l4 + 1))
            about.destinationPort = UInt16(type ^ 1) << 8 | UInt16(packet.load8(l4 + 1))
        default: break
        }
        key = about.reversed
        isRelated = true
        inner = (l3, l4)
        return true
    }

    /// Whether such a packet may open a connection.
    func mayOpen(_ packet: borrowing Packet) -> Bool {
        switch key.proto {
        case IPProtocol.tcp: TCPSegment(packet, at: l4, length: l4Length).mayOpen
        case IPProtocol.icmp where !key.isIPv6: [8, 13, 15].contains(key.sourcePort >> 8)
        case IPProtocol.icmpv6 where key.isIPv6: key.sourcePort >> 8 == 128
        default: true
        }
    }
}

extension FlowKey {
    var isIPv4: Bool { ethType == EtherType.ipv4 }
    var isIPv6: Bool { ethType == EtherType.ipv6 }
}

extension Packet {
    /// Bytes of the packet, clamped to what there is. Valid until the packet changes.
    func slice(_ at: Int, _ size: Int) -> UnsafeRawBufferPointer {
        let start = min(max(at, 0), count)
        return UnsafeRawBufferPointer(rebasing: bytes[start..<min(count, start + max(size, 0))])
    }
}
