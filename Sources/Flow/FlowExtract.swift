// Headers become a flow key. Truncated, lying and hostile headers stop the walk where they lie: what was read up to there
// is in the key, the rest stays zero, and nothing traps.

import Packet

/// How many VLAN tags a key may hold.
public let maxVLANHeaders = 2
/// How many MPLS labels a key may hold.
public let maxMPLSLabels = 3

/// Reads forward through packet bytes; every read checks what is left.
@usableFromInline
struct HeaderCursor {
    @usableFromInline let base: UnsafeRawPointer
    @usableFromInline var at: Int
    /// One past the last readable byte.
    @usableFromInline var end: Int

    @usableFromInline init(_ bytes: UnsafeRawBufferPointer, base: UnsafeRawPointer) {
        self.base = base
        at = 0
        end = bytes.count
    }

    @inlinable var left: Int { end - at }
    /// Bytes relative to the cursor. The caller has checked `left`.
    @inlinable func u8(_ i: Int) -> UInt8 { base.load(fromByteOffset: at + i, as: UInt8.self) }
    @inlinable func u16(_ i: Int) -> UInt16 {
        UInt16(bigEndian: base.loadUnaligned(fromByteOffset: at + i, as: UInt16.self))
    }
    @inlinable func u32(_ i: Int) -> UInt32 {
        UInt32(bigEndian: base.loadUnaligned(fromByteOffset: at + i, as: UInt32.self))
    }
    @inlinable func u48(_ i: Int) -> UInt64 { UInt64(u16(i)) << 32 | UInt64(u32(i + 2)) }
    @inlinable func u64(_ i: Int) -> UInt64 { UInt64(u32(i)) << 32 | UInt64(u32(i + 4)) }
    @inlinable func u128(_ i: Int) -> UInt128 { UInt128(u64(i)) << 64 | UInt128(u64(i + 8)) }
}

extension FlowKey {
    /// Fills the header fields from a packet and sets the packet's layer offsets. Metadata fields (tunnel, ports,
    /// conntrack, recirculation, `packetType`) are kept; the header fields must be zero before.
    ///
    /// - Parameter vlanLimit: how many tags are parsed, 0 to `maxVLANHeaders`; the rest stays in `ethType`.
    public mutating func extract(from packet: inout Packet, vlanLimit: Int = maxVLANHeaders) {
        packet.l2_5 = nil
        packet.l3 = nil
        packet.l4 = nil
        packet.l2PadSize = 0
        let bytes = packet.bytes
        guard let base = bytes.baseAddress else { return }
        var c = HeaderCursor(bytes, base: base)

        if packetType == 0 {
            guard c.left >= HeaderSize.ethernet else { return }
            ethDst = c.u48(0)
            ethSrc = c.u48(6)
            c.at = 12
            extractVLANs(&c, limit: vlanLimit)
            ethType = Self.parseEtherType(&c)
        } else {
            // (1, EtherType): the packet starts with that protocol's header.
            ethType = UInt16(truncatingIfNeeded: packetType)
        }

        packet.l2_5 = c.at
        if EtherType.isMPLS(ethType) { extractMPLS(&c) }
        packet.l3 = c.at

        switch ethType {
        case EtherType.ipv4:
            guard extractIPv4(&c) else { return }
        case EtherType.ipv6:
            guard extractIPv6(&c) else { return }
        case EtherType.arp, EtherType.rarp:
            extractARP(c)
            return
        case EtherType.nsh:
            extractNSH(c)
            return
        default:
            return
        }
        packet.l2PadSize = bytes.count - c.end
        packet.l4 = c.at
        if nwFrag & IPFragment.later == 0 { extractTransport(c) }
    }

    private mutating func extractVLANs(_ c: inout HeaderCursor, limit: Int) {
        var n = 0
        while n < min(limit, maxVLANHeaders), c.left >= 2, EtherType.isVLAN(c.u16(0)) {
            // A tag counts only when a type follows it.
            guard c.left >= HeaderSize.vlan + 2 else { return }
            let tpid = c.u16(0)
            let tci = c.u16(2) | 0x1000
            if n == 0 {
                vlanTPID = tpid
                vlanTCI = tci
            } else {
                innerVLANTPID = tpid
                innerVLANTCI = tci
            }
            c.at += HeaderSize.vlan
            n += 1
        }
    }

    /// The EtherType at the cursor, past an 802.2 LLC and SNAP header if there is one (IEEE 802.3, RFC 1042).
    private static func parseEtherType(_ c: inout HeaderCursor) -> UInt16 {
        guard c.left >= 2 else { return 0 }
        let type = c.u16(0)
        c.at += 2
        if type >= EtherType.minimum { return type }
        guard c.left >= HeaderSize.llcSNAP else { return EtherType.none }
        guard c.u16(0) == 0xaaaa, c.u8(2) == 3, c.u16(3) == 0, c.u8(5) == 0 else { return EtherType.none }
        let snap = c.u16(6)
        c.at += HeaderSize.llcSNAP
        return snap >= EtherType.minimum ? snap : EtherType.none
    }

    private mutating func extractMPLS(_ c: inout HeaderCursor) {
        var n = 0
        while c.left >= HeaderSize.mpls {
            let lse = c.u32(0)
            if n < maxMPLSLabels { setMPLSLSE(n, lse) }
            n += 1
            c.at += HeaderSize.mpls
            if lse & 0x100 != 0 { break }
        }
    }

    /// RFC 791. Returns false when the header cannot be trusted.
    private mutating func extractIPv4(_ c: inout HeaderCursor) -> Bool {
        guard c.left >= HeaderSize.ipv4 else { return false }
        let headerLength = Int(c.u8(0) & 0xf) * 4
        let total = Int(c.u16(2))
        guard headerLength >= HeaderSize.ipv4, headerLength <= c.left, total <= c.left, headerLength <= total,
            c.left - total <= Int(UInt16.max)
        else { return false }
        c.end = c.at + total
        nwSrc = c.u32(12)
        nwDst = c.u32(16)
        nwTOS = c.u8(1)
        nwTTL = c.u8(8)
        nwProto = c.u8(9)
        let fragment = c.u16(6)
        if fragment & 0x3fff != 0 {
            nwFrag = fragment & 0x1fff != 0 ? IPFragment.any | IPFragment.later : IPFragment.any
        }
        c.at += headerLength
        return true
    }

    /// RFC 8200. Returns false when a header cannot be trusted; the addresses are kept then.
    private mutating func extractIPv6(_ c: inout HeaderCursor) -> Bool {
        guard c.left >= HeaderSize.ipv6 else { return false }
        let payload = Int(c.u16(4))
        guard payload <= c.left - HeaderSize.ipv6, c.left - HeaderSize.ipv6 - payload <= Int(UInt16.max) else {
            return false
        }
        let versionClassLabel = c.u32(0)
        let hopLimit = c.u8(7)
        var proto = c.u8(6)
        ipv6Src = c.u128(8)
        ipv6Dst = c.u128(24)
        c.at += HeaderSize.ipv6
        c.end = c.at + payload
        guard let fragment = Self.skipExtensionHeaders(&c, &proto) else { return false }
        ipv6Label = versionClassLabel & 0xfffff
        nwTOS = UInt8(truncatingIfNeeded: versionClassLabel >> 20)
        nwTTL = hopLimit
        nwFrag = fragment
        nwProto = proto
        return true
    }

    /// Moves past extension headers; returns the fragment bits, or nil when a header is cut short.
    private static func skipExtensionHeaders(_ c: inout HeaderCursor, _ proto: inout UInt8) -> UInt8? {
        var fragment: UInt8 = 0
        while true {
            switch proto {
            case IPProtocol.hopByHop, IPProtocol.routing, IPProtocol.destinationOptions, IPProtocol.authentication:
                guard c.left >= 8 else { return nil }
                let units = Int(c.u8(1))
                let length = proto == IPProtocol.authentication ? (units + 2) * 4 : (units + 1) * 8
                proto = c.u8(0)
                guard c.left >= length else { return nil }
                c.at += length
            case IPProtocol.fragment:
                guard c.left >= 8 else { return nil }
                let offsetAndMore = c.u16(2)
                let next = c.u8(0)
                c.at += 8
                // An atomic fragment (RFC 6946) is no fragment.
                if offsetAndMore != 0 {
                    fragment = IPFragment.any
                    if offsetAndMore & 0xfff8 != 0 {
                        fragment |= IPFragment.later
                        proto = IPProtocol.fragment
                        return fragment
                    }
                }
                proto = next
            default:
                return fragment
            }
        }
    }

    /// RFC 826, for IPv4 over Ethernet.
    private mutating func extractARP(_ c: HeaderCursor) {
        guard c.left >= HeaderSize.arp, c.u16(0) == 1, c.u16(2) == EtherType.ipv4, c.u8(4) == 6, c.u8(5) == 4 else {
            return
        }
        nwSrc = c.u32(14)
        nwDst = c.u32(24)
        let operation = c.u16(6)
        if operation <= 0xff { nwProto = UInt8(operation) }
        arpSHA = c.u48(8)
        arpTHA = c.u48(18)
    }

    /// RFC 8300.
    private mutating func extractNSH(_ c: HeaderCursor) {
        guard c.left >= HeaderSize.nshBase else { return }
        let versionFlagsTTLLength = c.u16(0)
        let version = versionFlagsTTLLength >> 14
        let length = Int(versionFlagsTTLLength & 0x3f) * 4
        guard version == 0, length >= HeaderSize.nshBase, length <= c.left else { return }
        let mdType = c.u8(2) & 0xf
        guard mdType != 1 || length == HeaderSize.nshMD1 else { return }
        self[Location.nshFlags] = UInt128(versionFlagsTTLLength >> 12 & 3)
        self[Location.nshTTL] = UInt128(versionFlagsTTLLength >> 6 & 0x3f)
        self[Location.nshMDType] = UInt128(mdType)
        self[Location.nshNP] = UInt128(c.u8(3))
        self[Location.nshSPI] = UInt128(c.u32(4) >> 8)
        self[Location.nshSI] = UInt128(c.u32(4) & 0xff)
        if mdType == 1 {
            for i in 0..<4 { self[Location.nshC(i)] = UInt128(c.u32(8 + 4 * i)) }
        }
    }

    private mutating func extractTransport(_ c: HeaderCursor) {
        switch nwProto {
        case IPProtocol.tcp:
            guard c.left >= HeaderSize.tcp else { return }
            tcpFlags = c.u16(12) & 0x0fff
            tpSrc = c.u16(0)
            tpDst = c.u16(2)
        case IPProtocol.udp:
            guard c.left >= HeaderSize.udp else { return }
            tpSrc = c.u16(0)
            tpDst = c.u16(2)
        case IPProtocol.sctp:
            guard c.left >= HeaderSize.sctp else { return }
            tpSrc = c.u16(0)
            tpDst = c.u16(2)
        case IPProtocol.icmp where ethType == EtherType.ipv4:
            guard c.left >= HeaderSize.icmp else { return }
            tpSrc = UInt16(c.u8(0))
            tpDst = UInt16(c.u8(1))
        case IPProtocol.igmp where ethType == EtherType.ipv4:
            guard c.left >= HeaderSize.igmp else { return }
            tpSrc = UInt16(c.u8(0))
            tpDst = UInt16(c.u8(1))
            igmpGroup = c.u32(4)
        case IPProtocol.icmpv6 where ethType == EtherType.ipv6:
            guard c.left >= HeaderSize.icmp else { return }
            tpSrc = UInt16(c.u8(0))
            tpDst = UInt16(c.u8(1))
            extractNeighborDiscovery(c)
        default:
            return
        }
    }

    /// RFC 4861. Options that make no sense leave the discovery fields zero.
    private mutating func extractNeighborDiscovery(_ start: HeaderCursor) {
        var c = start
        let type = c.u8(0)
        guard c.u8(1) == 0, type == ICMPv6Type.neighborSolicitation || type == ICMPv6Type.neighborAdvertisement else {
            return
        }
        igmpGroup = c.u32(4)
        c.at += 8
        guard c.left >= 16 else { return }
        let target = c.u128(0)
        c.at += 16
        var source: UInt64 = 0
        var destination: UInt64 = 0
        var optionType: UInt8 = 0
        while c.left >= 8 {
            let length = Int(c.u8(1)) * 8
            guard length != 0, length <= c.left else { return }
            if c.u8(0) == 1, length == 8 {
                guard source == 0 else { return }
                source = c.u48(2)
                optionType = 1
            } else if c.u8(0) == 2, length == 8 {
                guard destination == 0 else { return }
                destination = c.u48(2)
                optionType = 2
            }
            c.at += length
        }
        ndTarget = target
        arpSHA = source
        arpTHA = destination
        ndOptionsType = optionType
    }
}
