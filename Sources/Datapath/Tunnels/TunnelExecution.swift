// tnl_push and tnl_pop: completes the header that Ofproto built for a packet, and takes one apart.

import Dpif
import Flow
import Packet

extension Packet {
    /// Puts a tunnel's header before the packet and fills in lengths, checksums and numbers.
    ///
    /// - Parameters:
    ///   - hash: of the packet's own addresses; it becomes the UDP source port (RFC 7348 section 5).
    ///   - now: milliseconds, for ERSPAN's time stamps.
    ///   - sequence: the next number of the tunnel port, for GRE headers that have one.
    mutating func push(_ tunnel: TunnelHeader, hash: UInt32, now: Int64, sequence: () -> UInt32) {
        let header = tunnel.header
        guard header.count >= 34 else { return }
        insert(header.count, at: 0)
        for (i, byte) in header.enumerated() { store8(i, byte) }
        let isIPv6 = load16(12) == EtherType.ipv6
        let l4 = isIPv6 ? 54 : 34
        guard header.count >= l4 + 4 else { return }
        let length = count - l4
        if isIPv6 {
            store16(18, UInt16(truncatingIfNeeded: length))
        } else {
            store16(16, UInt16(truncatingIfNeeded: count - 14))
            store16(24, 0)
            store16(24, InternetChecksum.checksum(slice(14, 20)))
        }
        if load8(isIPv6 ? 20 : 23) == IPProtocol.udp {
            store16(l4, TunnelSourcePorts.port(for: hash))
            store16(l4 + 4, UInt16(truncatingIfNeeded: length))
            if tunnel.type == "gtpu" { store16(l4 + 10, UInt16(truncatingIfNeeded: length - 16)) }
            // GTP-U always has one.
            if load16(l4 + 6) != 0 || tunnel.type == "gtpu" {
                store16(l4 + 6, 0)
                var sum = UInt64(IPProtocol.udp) + UInt64(length)
                sum = InternetChecksum.partial(slice(isIPv6 ? 22 : 26, isIPv6 ? 32 : 8), sum)
                let checksum = InternetChecksum.finish(InternetChecksum.partial(slice(l4, length), sum))
                store16(l4 + 6, checksum == 0 ? 0xffff : checksum)
            }
            return
        }
        let flags = load16(l4)
        var at = l4 + 4
        if tunnel.type == "erspan", header.count >= l4 + 20, load16(l4 + 8) >> 12 == 2 {
            // In units of 100 microseconds.
            store32(l4 + 12, UInt32(truncatingIfNeeded: now &* 10))
        }
        if flags & 0x8000 != 0 { at += 4 }
        if flags & 0x2000 != 0 { at += 4 }
        if flags & 0x1000 != 0, at + 4 <= header.count { store32(at, sequence()) }
        if flags & 0x8000 != 0 {
            store16(l4 + 4, 0)
            store16(l4 + 4, InternetChecksum.checksum(slice(l4, length)))
        }
    }

    /// Takes the outer headers off. Sets the tunnel's fields and the packet's type in `key`.
    ///
    /// - Parameters:
    ///   - kind: the tunnel's type, as its device has it.
    ///   - options: which Geneve options go into the key.
    /// - Returns: false when the packet is not what it should be.
    mutating func popTunnel(_ kind: String, options: TunnelOptionMap?, key: inout FlowKey) -> Bool {
        guard let l3, let l4, l4 + 4 <= count else { return false }
        let version = load8(l3) >> 4
        guard version == 4 && l3 + 20 <= count || version == 6 && l3 + 40 <= count else { return false }
        var tunnel = FlowKey()
        if version == 4 {
            tunnel.tunSrc = load32(l3 + 12)
            tunnel.tunDst = load32(l3 + 16)
            tunnel.tunTOS = load8(l3 + 1)
            tunnel.tunTTL = load8(l3 + 8)
        } else {
            tunnel[Location.tunIPv6Src] = load128(l3 + 8)
            tunnel[Location.tunIPv6Dst] = load128(l3 + 24)
            tunnel.tunTOS = UInt8(truncatingIfNeeded: load32(l3) >> 20)
            tunnel.tunTTL = load8(l3 + 7)
        }
        let taken: (size: Int, type: UInt32)?
        switch kind {
        case "vxlan", "geneve", "gtpu":
            guard l4 + 16 <= count else { return false }
            if load16(l4 + 6) != 0 {
                let length = count - l2PadSize - l4
                var sum = UInt64(IPProtocol.udp) + UInt64(length)
                sum = InternetChecksum.partial(slice(version == 4 ? l3 + 12 : l3 + 8, version == 4 ? 8 : 32), sum)
                guard InternetChecksum.finish(InternetChecksum.partial(slice(l4, length), sum)) == 0 else { return false }
                tunnel.tunFlags |= TunnelFlag.checksum
            }
            tunnel[Location.tunTpSrc] = UInt128(load16(l4))
            tunnel[Location.tunTpDst] = UInt128(load16(l4 + 2))
            taken =
                kind == "vxlan"
                ? popVXLAN(l4 + 8, &tunnel) : kind == "geneve" ? popGeneve(l4 + 8, options, &tunnel) : popGTPU(l4 + 8, &tunnel)
        case "gre", "erspan": taken = popGRE(l4, &tunnel)
        default: taken = nil
        }
        guard let taken, taken.size <= count else { return false }
        // Padding of the outer frame is not part of what it carries.
        truncate(to: count - l2PadSize)
        guard taken.size <= count else { return false }
        remove(taken.size, at: 0)
        for i in 0..<Location.metadata.word { key.words[i] = tunnel.words[i] }
        key.packetType = taken.type
        return true
    }

    /// RFC 7348, draft-ietf-nvo3-vxlan-gpe.
    private func popVXLAN(_ at: Int, _ tunnel: inout FlowKey) -> (Int, UInt32)? {
        let flags = load32(at)
        guard flags & 0x0800_0000 != 0, load8(at + 7) == 0 else { return nil }
        var type: UInt32 = 0
        if flags & 0x0400_0000 != 0 {
            switch flags & 0xff {
            case 1: type = 1 << 16 | UInt32(EtherType.ipv4)
            case 2: type = 1 << 16 | UInt32(EtherType.ipv6)
            case 3: type = 0
            case 4: type = 1 << 16 | UInt32(EtherType.nsh)
            default: return nil
            }
        } else if flags != 0x0800_0000 {
            // Group policies are not for the userspace datapath.
            return nil
        }
        tunnel.tunID = UInt64(load32(at + 4) >> 8)
        tunnel.tunFlags |= TunnelFlag.key
        return (at + 8, type)
    }

    /// RFC 8926. Options without a place in the key are passed over.
    private func popGeneve(_ at: Int, _ map: TunnelOptionMap?, _ tunnel: inout FlowKey) -> (Int, UInt32)? {
        guard load8(at) >> 6 == 0 else { return nil }
        let options = Int(load8(at) & 0x3f) * 4
        guard at + 8 + options <= count else { return nil }
        let proto = load16(at + 2)
        var option = at + 8
        while option < at + 8 + options {
            guard option + 4 <= at + 8 + options else { return nil }
            let size = Int(load8(option + 3) & 0x1f) * 4
            guard option + 4 + size <= at + 8 + options else { return nil }
            let type = load8(option + 2)
            if let map, let entry = map.entry(optionClass: load16(option), optionType: type), entry.length == size {
                map.set([UInt8](slice(option + 4, size)), entry, in: &tunnel)
                map.setPresent(true, entry, in: &tunnel)
            }
            option += 4 + size
        }
        if load8(at + 1) & 0x80 != 0 { tunnel.tunFlags |= TunnelFlag.oam }
        tunnel.tunID = UInt64(load32(at + 4) >> 8)
        tunnel.tunFlags |= TunnelFlag.key
        return (at + 8 + options, proto == EtherType.transparentEthernet ? 0 : 1 << 16 | UInt32(proto))
    }

    /// 3GPP TS 29.281.
    private func popGTPU(_ at: Int, _ tunnel: inout FlowKey) -> (Int, UInt32)? {
        let flags = load8(at)
        guard flags >> 5 == 1, flags & 0x10 != 0 else { return nil }
        tunnel[Location.tunGTPUFlags] = UInt128(flags)
        tunnel[Location.tunGTPUMsgType] = UInt128(load8(at + 1))
        tunnel.tunID = UInt64(load32(at + 4))
        tunnel.tunFlags |= TunnelFlag.key
        let size = at + 8 + (flags & 7 != 0 ? 4 : 0)
        guard load8(at + 1) == 255, size < count else { return nil }
        switch load8(size) >> 4 {
        case 4: return (size, 1 << 16 | UInt32(EtherType.ipv4))
        case 6: return (size, 1 << 16 | UInt32(EtherType.ipv6))
        default: return nil
        }
    }

    /// RFC 2784, RFC 2890; ERSPAN by its protocol.
    private func popGRE(_ at: Int, _ tunnel: inout FlowKey) -> (Int, UInt32)? {
        let flags = load16(at)
        guard flags & ~0xb000 == 0 else { return nil }
        let proto = load16(at + 2)
        var next = at + 4
        if flags & 0x8000 != 0 {
            guard next + 4 <= count, InternetChecksum.checksum(slice(at, count - l2PadSize - at)) == 0 else { return nil }
            tunnel.tunFlags |= TunnelFlag.checksum
            next += 4
        }
        if flags & 0x2000 != 0 {
            guard next + 4 <= count else { return nil }
            tunnel.tunID = UInt64(load32(next))
            tunnel.tunFlags |= TunnelFlag.key
            next += 4
        }
        if flags & 0x1000 != 0 { next += 4 }
        guard proto == 0x88be || proto == 0x22eb else {
            return (next, proto == EtherType.transparentEthernet ? 0 : 1 << 16 | UInt32(proto))
        }
        guard next + 8 <= count else { return nil }
        tunnel.tunID = UInt64(load16(next + 2) & 0x3ff)
        tunnel.tunFlags |= TunnelFlag.key
        let version = UInt8(load16(next) >> 12)
        tunnel[Location.tunERSPANVer] = UInt128(version)
        if version == 1 {
            tunnel[Location.tunERSPANIdx] = UInt128(load32(next + 4) & 0xfffff)
            return (next + 8, 0)
        }
        guard version == 2, next + 12 <= count else { return nil }
        let last = load16(next + 10)
        tunnel[Location.tunERSPANDir] = UInt128(last >> 3 & 1)
        tunnel[Location.tunERSPANHwid] = UInt128(last >> 4 & 0x3f)
        return (next + 12 + (last & 1 != 0 ? 8 : 0), 0)
    }
}
