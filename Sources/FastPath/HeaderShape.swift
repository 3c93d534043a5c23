// How a packet's headers lie, when they lie as nearly always.
//
// The fast path does not take packets apart. It looks at where the headers are: a packet whose addresses, ports and so on are at the
// places of one of these shapes can be compared with a flow as it is, bytes under a mask. All others (options, fragments, tags in tags,
// MPLS, ARP, headers that lie about their length) are `slow`: the main thread extracts their keys with `FlowKey.extract`, which this
// file must agree with.

import Packet

/// A layout of headers. The raw value is an index of small tables.
public struct HeaderShape: Equatable, Sendable {
    public let rawValue: UInt8
    @inlinable init(_ rawValue: UInt8) { self.rawValue = rawValue }

    /// Neither IP nor anything else that has fields behind the EtherType.
    public static let other = HeaderShape(0)
    /// IPv4 without options, whole, of a protocol without ports.
    public static let ipv4 = HeaderShape(1)
    /// The same with a whole TCP, UDP, SCTP or ICMP header behind it.
    public static let ipv4Transport = HeaderShape(2)
    /// IPv6 without extension headers, of a protocol without ports.
    public static let ipv6 = HeaderShape(3)
    /// The same with a whole TCP, UDP, SCTP or ICMPv6 header (not neighbour discovery) behind it.
    public static let ipv6Transport = HeaderShape(4)
    /// Anything else.
    public static let slow = HeaderShape(255)
    /// Added for shapes behind one VLAN tag, of a customer (0x8100) or of a service (0x88a8).
    @usableFromInline static let tagged: UInt8 = 8
    @usableFromInline static let serviceTagged: UInt8 = 16
    /// How many raw values there are, `slow` aside.
    public static let count = 21

    @inlinable public var isTagged: Bool { rawValue & (Self.tagged | Self.serviceTagged) != 0 }
    /// The shape without regard to a tag.
    @inlinable public var untagged: HeaderShape { HeaderShape(rawValue & 7) }
    @inlinable public var isIP: Bool { self != .slow && rawValue & 7 != 0 }
    /// Where the network header starts.
    @inlinable public var networkOffset: Int { isTagged ? 18 : 14 }
    @inlinable public var isIPv6: Bool { untagged.rawValue >= 3 }
    /// Where an IP packet has its protocol.
    @inlinable var protocolOffset: Int { networkOffset + (isIPv6 ? 6 : 9) }
    /// The same behind a tag.
    @inlinable public func tagged(_ tpid: UInt16) -> HeaderShape {
        HeaderShape(rawValue | (tpid == 0x88a8 ? Self.serviceTagged : Self.tagged))
    }

    @inlinable @inline(__always)
    static func be16(_ p: UnsafeRawPointer, _ at: Int) -> UInt16 {
        UInt16(bigEndian: p.loadUnaligned(fromByteOffset: at, as: UInt16.self))
    }

    /// The shape of a packet.
    ///
    /// - Parameters:
    ///   - p: its first byte; `readable` bytes may be read.
    ///   - length: bytes of the whole packet, of which the first `readable` lie there.
    ///   - acceptsTag: whether a VLAN tag is looked behind (other_config:vlan-limit is not 0).
    @inlinable @inline(__always)
    public static func of(_ p: UnsafeRawPointer, readable: Int, length: Int, acceptsTag: Bool) -> HeaderShape {
        guard readable >= 14 else { return .slow }
        var type = be16(p, 12)
        var at = 14
        var tag: UInt8 = 0
        if type == 0x8100 || type == 0x88a8 {
            guard acceptsTag, readable >= 18 else { return .slow }
            tag = type == 0x8100 ? tagged : serviceTagged
            type = be16(p, 16)
            at = 18
        }
        let left = readable - at
        if type == 0x0800 {
            guard left >= 20, p.load(fromByteOffset: at, as: UInt8.self) & 0xf == 5 else { return .slow }
            let total = Int(be16(p, at + 2))
            guard total >= 20, total <= length - at, be16(p, at + 6) & 0x3fff == 0 else { return .slow }
            return transport(p.load(fromByteOffset: at + 9, as: UInt8.self), min(total, left) - 20, tag, false, p, at + 20)
        }
        if type == 0x86dd {
            guard left >= 40 else { return .slow }
            let payload = Int(be16(p, at + 4))
            guard payload <= length - at - 40 else { return .slow }
            return transport(p.load(fromByteOffset: at + 6, as: UInt8.self), min(payload, left - 40), tag, true, p, at + 40)
        }
        switch type {
        case 0..<0x0600, 0x0806, 0x8035, 0x8100, 0x88a8, 0x8847, 0x8848, 0x894f: return .slow
        default: return HeaderShape(tag)
        }
    }

    /// 17 or 6 for a packet that is UDP or TCP over IPv4, untagged and whole, whose shape is `ipv4Transport` therefore; 0 for others.
    /// Takes few instructions for what nearly all traffic is.
    ///
    /// - Parameters: as those of `of`.
    @inlinable @inline(__always)
    static func plainProtocol(_ p: UnsafeRawPointer, readable: Int, length: Int) -> UInt8 {
        guard readable >= 42 else { return 0 }
        // Type, version and size of the header.
        guard UInt32(bigEndian: p.loadUnaligned(fromByteOffset: 12, as: UInt32.self)) & 0xffff_ff00 == 0x0800_4500 else { return 0 }
        // Fragment bits, time to live, protocol.
        let word = UInt32(bigEndian: p.loadUnaligned(fromByteOffset: 20, as: UInt32.self)) & 0x3fff_00ff
        guard word == 17 || word == 6 else { return 0 }
        let total = Int(be16(p, 16))
        let header = word == 17 ? 28 : 40
        guard total >= header, total <= length - 14, readable >= header + 14 else { return 0 }
        return UInt8(truncatingIfNeeded: word)
    }

    @inlinable @inline(__always)
    static func transport(_ proto: UInt8, _ left: Int, _ tag: UInt8, _ is6: Bool, _ p: UnsafeRawPointer, _ at: Int) -> HeaderShape {
        let base: UInt8 = (is6 ? 3 : 1) | tag
        switch proto {
        case 17: return left >= 8 ? HeaderShape(base + 1) : .slow
        case 6: return left >= 20 ? HeaderShape(base + 1) : .slow
        case 132: return left >= 12 ? HeaderShape(base + 1) : .slow
        case 1: return is6 ? HeaderShape(base) : left >= 8 ? HeaderShape(base + 1) : .slow
        case 58:
            guard is6 else { return HeaderShape(base) }
            guard left >= 8 else { return .slow }
            // Neighbour discovery has fields of its own.
            let type = p.load(fromByteOffset: at, as: UInt8.self)
            return type == 135 || type == 136 ? .slow : HeaderShape(base + 1)
        case 2: return is6 ? HeaderShape(base) : .slow
        case 0, 43, 44, 51, 60: return is6 ? .slow : HeaderShape(base)
        default: return HeaderShape(base)
        }
    }
}
