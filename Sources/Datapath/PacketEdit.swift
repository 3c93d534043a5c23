// Header rewrites in place, with checksums kept right: what the set, push and pop actions do to a packet. Every function
// works from the layer offsets that parsing left and does nothing when the header is not there.

import Dpif
import Flow
import Packet

extension Packet {
    /// Rewrites the fields of one attribute. `key` is the packet's current key, whose metadata is rewritten where the
    /// attribute is metadata.
    /// - Parameter parsed: the key of the packet's headers, for what lies behind IPv6 extension headers.
    public mutating func apply(_ set: DpSet, key: inout FlowKey, parsed: FlowKey) {
        switch set.kind {
        case .skbPriority, .skbMark, .tunnel:
            for f in set.fields { key[f.location] = key[f.location] & ~f.mask | f.value }
        case .eth:
            guard count >= HeaderSize.ethernet else { return }
            for f in set.fields {
                let at = f.location == Location.ethDst ? 0 : 6
                store48(at, load48(at) & ~UInt64(f.mask) | UInt64(f.value))
            }
        case .ipv4: setIPv4(set.fields, key)
        case .ipv6: setIPv6(set.fields, parsed)
        case .tcp, .udp, .sctp: setPorts(set.kind, set.fields)
        case .icmp, .icmpv6: setICMP(set.fields)
        case .arp: setARP(set.fields)
        case .nd: setNeighborDiscovery(set.fields)
        case .mpls:
            // Behind more tags than are looked at there is no label to be seen, as in the real daemon.
            guard let l2_5, l2_5 + 4 <= count, l2_5 < 2 || EtherType.isMPLS(load16(l2_5 - 2)) else { return }
            var value = FlowKey()
            value.setMPLSLSE(0, load32(l2_5))
            for f in set.fields { value[f.location] = value[f.location] & ~f.mask | f.value }
            store32(l2_5, value.mplsLSE(0))
        case .nsh: setNSH(set.fields)
        }
    }

    private mutating func setIPv4(_ fields: [DpSet.Field], _ key: FlowKey) {
        guard let l3, l3 + HeaderSize.ipv4 <= count else { return }
        for f in fields {
            switch f.location {
            case Location.nwSrc, Location.nwDst:
                let at = l3 + (f.location == Location.nwSrc ? 12 : 16)
                let old = load32(at)
                let new = old & ~UInt32(f.mask) | UInt32(f.value)
                store32(at, new)
                store16(l3 + 10, InternetChecksum.update(load16(l3 + 10), from: old, to: new))
                updateTransportChecksum(proto: load8(l3 + 9), fragment: load16(l3 + 6) & 0x1fff != 0) {
                    InternetChecksum.update($0, from: old, to: new)
                }
            case Location.nwTOS:
                let old = load16(l3)
                let tos = UInt8(truncatingIfNeeded: old) & ~UInt8(f.mask) | UInt8(f.value)
                let new = old & 0xff00 | UInt16(tos)
                store16(l3, new)
                store16(l3 + 10, InternetChecksum.update(load16(l3 + 10), from: old, to: new))
            case Location.nwTTL:
                let old = load16(l3 + 8)
                let ttl = UInt8(old >> 8) & ~UInt8(f.mask) | UInt8(f.value)
                let new = old & 0xff | UInt16(ttl) << 8
                store16(l3 + 8, new)
                store16(l3 + 10, InternetChecksum.update(load16(l3 + 10), from: old, to: new))
            default: break
            }
        }
    }

    private mutating func setIPv6(_ fields: [DpSet.Field], _ key: FlowKey) {
        guard let l3, l3 + HeaderSize.ipv6 <= count else { return }
        for f in fields {
            switch f.location {
            case Location.ipv6Src, Location.ipv6Dst:
                let at = l3 + (f.location == Location.ipv6Src ? 8 : 24)
                let old = load128(at)
                let new = old & ~f.mask | f.value
                store128(at, new)
                updateTransportChecksum(proto: key.nwProto, fragment: key.nwFrag & IPFragment.later != 0) {
                    InternetChecksum.update($0, from: old, to: new)
                }
            case Location.nwTOS:
                let old = load32(l3)
                let tos = UInt8(truncatingIfNeeded: old >> 20) & ~UInt8(f.mask) | UInt8(f.value)
                store32(l3, old & 0xf00f_ffff | UInt32(tos) << 20)
            case Location.ipv6Label:
                store32(l3, load32(l3) & ~UInt32(f.mask) | UInt32(f.value))
            case Location.nwTTL:
                store8(l3 + 7, load8(l3 + 7) & ~UInt8(f.mask) | UInt8(f.value))
            default: break
            }
        }
    }

    /// Applies `change` to the checksum of the transport header, where there is one that covers addresses.
    private mutating func updateTransportChecksum(proto: UInt8, fragment: Bool, _ change: (UInt16) -> UInt16) {
        guard let l4, !fragment else { return }
        switch proto {
        case IPProtocol.tcp where l4 + HeaderSize.tcp <= count: store16(l4 + 16, change(load16(l4 + 16)))
        case IPProtocol.udp where l4 + HeaderSize.udp <= count:
            let old = load16(l4 + 6)
            guard old != 0 else { return }
            let new = change(old)
            store16(l4 + 6, new == 0 ? 0xffff : new)
        // Over IPv6 only: no other ICMP covers addresses.
        case IPProtocol.icmpv6 where l4 + HeaderSize.icmp <= count && load8(l3 ?? 0) >> 4 == 6: store16(l4 + 2, change(load16(l4 + 2)))
        default: break
        }
    }

    private mutating func setPorts(_ kind: DpSetKind, _ fields: [DpSet.Field]) {
        guard let l4 else { return }
        let size = kind == .tcp ? HeaderSize.tcp : kind == .udp ? HeaderSize.udp : HeaderSize.sctp
        guard l4 + size <= count else { return }
        for f in fields {
            let at = l4 + (f.location == Location.tpSrc ? 0 : 2)
            let old = load16(at)
            let new = old & ~UInt16(f.mask) | UInt16(f.value)
            guard old != new else { continue }
            switch kind {
            case .sctp:
                // The CRC is kept as wrong as it was: fold in the difference between the old and the new correct one.
                let before = sctpChecksum(l4)
                store16(at, new)
                let after = sctpChecksum(l4)
                store32(l4 + 8, load32(l4 + 8) ^ before ^ after)
            case .udp:
                store16(at, new)
                let sum = load16(l4 + 6)
                guard sum != 0 else { continue }
                let updated = InternetChecksum.update(sum, from: old, to: new)
                store16(l4 + 6, updated == 0 ? 0xffff : updated)
            default:
                store16(at, new)
                store16(l4 + 16, InternetChecksum.update(load16(l4 + 16), from: old, to: new))
            }
        }
    }

    /// The right CRC of the SCTP packet at `l4`, as it stands in the header.
    private mutating func sctpChecksum(_ l4: Int) -> UInt32 {
        let stored = load32(l4 + 8)
        store32(l4 + 8, 0)
        let crc = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[l4..<(count - l2PadSize)]))
        store32(l4 + 8, stored)
        return crc.byteSwapped
    }

    private mutating func setICMP(_ fields: [DpSet.Field]) {
        guard let l4, l4 + HeaderSize.icmp <= count else { return }
        for f in fields {
            let old = load16(l4)
            let isType = f.location.shift == 48
            let mask = UInt16(f.mask) << (isType ? 8 : 0)
            let new = old & ~mask | UInt16(f.value) << (isType ? 8 : 0)
            store16(l4, new)
            store16(l4 + 2, InternetChecksum.update(load16(l4 + 2), from: old, to: new))
        }
    }

    private mutating func setARP(_ fields: [DpSet.Field]) {
        guard let l3, l3 + HeaderSize.arp <= count else { return }
        for f in fields {
            switch f.location {
            case Location.nwSrc: store32(l3 + 14, load32(l3 + 14) & ~UInt32(f.mask) | UInt32(f.value))
            case Location.nwDst: store32(l3 + 24, load32(l3 + 24) & ~UInt32(f.mask) | UInt32(f.value))
            case Location.nwProto: store16(l3 + 6, load16(l3 + 6) & ~UInt16(f.mask) | UInt16(f.value))
            case Location.arpSHA: store48(l3 + 8, load48(l3 + 8) & ~UInt64(f.mask) | UInt64(f.value))
            case Location.arpTHA: store48(l3 + 18, load48(l3 + 18) & ~UInt64(f.mask) | UInt64(f.value))
            default: break
            }
        }
    }

    private mutating func setNeighborDiscovery(_ fields: [DpSet.Field]) {
        guard let l4, l4 + 24 <= count else { return }
        let end = count - l2PadSize
        for f in fields {
            if f.location == Location.ndTarget {
                let old = load128(l4 + 8)
                let new = old & ~f.mask | f.value
                store128(l4 + 8, new)
                store16(l4 + 2, InternetChecksum.update(load16(l4 + 2), from: old, to: new))
                continue
            }
            let wanted: UInt8 = f.location == Location.arpSHA ? 1 : 2
            var at = l4 + 24
            while at + 8 <= end {
                let size = Int(load8(at + 1)) * 8
                guard size > 0, at + size <= end else { break }
                if load8(at) == wanted, size == 8 {
                    let old = load48(at + 2)
                    let new = old & ~UInt64(f.mask) | UInt64(f.value)
                    store48(at + 2, new)
                    store16(
                        l4 + 2, InternetChecksum.update(load16(l4 + 2), from: UInt128(old), to: UInt128(new)))
                    break
                }
                at += size
            }
        }
    }

    private mutating func setNSH(_ fields: [DpSet.Field]) {
        guard let l3, l3 + HeaderSize.nshBase <= count else { return }
        for f in fields {
            switch f.location {
            case Location.nshTTL:
                let first = load16(l3)
                let ttl = first >> 6 & 0x3f & ~UInt16(f.mask) | UInt16(f.value) & 0x3f
                store16(l3, first & ~(0x3f << 6) | ttl << 6)
            case Location.nshFlags:
                store16(l3, load16(l3) & ~0x3000 | UInt16(f.value) & 3 << 12)
            case Location.nshSPI:
                store32(l3 + 4, load32(l3 + 4) & ~(UInt32(f.mask) << 8) | UInt32(f.value) << 8)
            case Location.nshSI:
                store32(l3 + 4, load32(l3 + 4) & ~UInt32(f.mask) | UInt32(f.value))
            default:
                for i in 0..<4 where f.location == Location.nshC(i) && l3 + HeaderSize.nshMD1 <= count {
                    let at = l3 + 8 + 4 * i
                    store32(at, load32(at) & ~UInt32(f.mask) | UInt32(f.value))
                }
            }
        }
    }

    /// Adds a tag before whatever follows the addresses.
    public mutating func pushVLAN(tpid: UInt16, tci: UInt16) {
        guard count >= HeaderSize.ethernet else { return }
        let (l3, l4) = (l3, l4)
        insert(HeaderSize.vlan, at: 12)
        (self.l3, self.l4) = (l3.map { $0 + HeaderSize.vlan }, l4.map { $0 + HeaderSize.vlan })
        store16(12, tpid)
        store16(14, tci & ~0x1000)
    }

    public mutating func popVLAN() {
        guard count >= HeaderSize.ethernet + HeaderSize.vlan, EtherType.isVLAN(load16(12)) else { return }
        let (l3, l4) = (l3, l4)
        remove(HeaderSize.vlan, at: 12)
        // Behind tags beyond the limit layers were found too early: they come back to where they were when a tag is pushed again.
        (self.l3, self.l4) = (l3.map { max(0, $0 - HeaderSize.vlan) }, l4.map { max(0, $0 - HeaderSize.vlan) })
    }

    public mutating func pushMPLS(lse: UInt32, ethType: UInt16) {
        guard let at = l2_5, at >= 2 else { return }
        insert(HeaderSize.mpls, at: at)
        l2_5 = at
        store16(at - 2, ethType)
        store32(at, lse)
    }

    public mutating func popMPLS(ethType: UInt16) {
        guard let at = l2_5, at >= 2, at + HeaderSize.mpls <= count, EtherType.isMPLS(load16(at - 2)) else { return }
        remove(HeaderSize.mpls, at: at)
        l2_5 = at
        store16(at - 2, ethType)
    }

    // MARK: Headers before all others

    /// Runs an action that puts a header before all others or takes the first one away, which changes the type of the packet; `key` has that.
    /// Layers have to be looked for again afterwards.
    /// - Returns: false: the packet has no such header, or the action is another one.
    public mutating func changeOutermost(_ action: DpAction, key: inout FlowKey, vlanLimit: Int) -> Bool {
        // As a packet type has it: name space 1, ONF's of Ethernet types.
        func layer3(_ type: UInt16) -> UInt32 { 1 << 16 | UInt32(type) }
        switch action {
        case .addMPLS(let lse, let type):
            insert(HeaderSize.mpls, at: 0)
            store32(0, lse)
            key.packetType = layer3(type)
        case .popMPLS(let type):
            guard EtherType.isMPLS(UInt16(truncatingIfNeeded: key.packetType)), HeaderSize.mpls <= count else { return true }
            remove(HeaderSize.mpls, at: 0)
            key.packetType = type == EtherType.transparentEthernet ? 0 : layer3(type)
        case .pushEthernet(let source, let destination):
            insert(HeaderSize.ethernet, at: 0)
            store48(0, destination)
            store48(6, source)
            store16(12, UInt16(truncatingIfNeeded: key.packetType))
            key.packetType = 0
        case .popEthernet:
            var current = key
            current.extract(from: &self, vlanLimit: vlanLimit)
            if let l3 = l2_5, l3 <= count { remove(l3, at: 0) }
            key.packetType = layer3(current.ethType)
        case .pushNSH(let nsh):
            pushNSH(nsh)
            key.packetType = layer3(EtherType.nsh)
        case .popNSH:
            // RFC 8300 section 2.2.
            switch popNSH() {
            case 1: key.packetType = layer3(EtherType.ipv4)
            case 2: key.packetType = layer3(EtherType.ipv6)
            case 3: key.packetType = 0
            case 4: key.packetType = layer3(EtherType.nsh)
            default: return false
            }
        default: return false
        }
        return true
    }

    private mutating func pushNSH(_ nsh: DpNSH) {
        let length = HeaderSize.nshBase + nsh.context.count
        insert(length, at: 0)
        store16(0, UInt16(nsh.flags & 3) << 12 | UInt16(nsh.ttl & 0x3f) << 6 | UInt16(length / 4))
        store8(2, nsh.mdType & 0xf)
        store8(3, nsh.nextProtocol)
        store32(4, nsh.path)
        for (i, byte) in nsh.context.enumerated() { store8(8 + i, byte) }
    }

    /// - Returns: the next protocol.
    private mutating func popNSH() -> UInt8? {
        guard count >= HeaderSize.nshBase else { return nil }
        let length = Int(load16(0) & 0x3f) * 4
        guard length >= HeaderSize.nshBase, length <= count else { return nil }
        let next = load8(3)
        remove(length, at: 0)
        return next
    }
}
