// A packet made to fit a flow key: what `netdev-dummy/receive FLOW`, `ofproto/trace -generate` and packet-outs without
// data need. What is composed is byte for byte what the real daemon composes, its oddities included.

import Packet

extension FlowKey {
    /// Builds a packet whose extraction gives this key back, as far as a packet can.
    ///
    /// - Parameter size: the packet's size in bytes where that is larger than its headers; 0 for the payload that the real
    ///   daemon composes.
    public func composePacket(size: Int = 0) -> Packet {
        guard size > 0 else { return compose(payloadSize: nil) }
        let bare = compose(payloadSize: 0)
        return compose(payloadSize: max(0, size - bare.count))
    }

    private func compose(payloadSize: Int?) -> Packet {
        var bytes: [UInt8] = []
        if packetType == 0 { appendEthernet(&bytes) }
        if EtherType.isMPLS(ethType) {
            for i in 0..<mplsDepth { bytes.append32(mplsLSE(i)) }
        }
        switch ethType {
        case EtherType.ipv4: appendIPv4(&bytes, payloadSize)
        case EtherType.ipv6: appendIPv6(&bytes, payloadSize)
        case EtherType.arp, EtherType.rarp: appendARP(&bytes)
        default:
            if let payloadSize { bytes += [UInt8](repeating: 0, count: payloadSize) }
        }
        return Packet(bytes)
    }

    private func appendEthernet(_ bytes: inout [UInt8]) {
        bytes.append48(ethDst)
        bytes.append48(ethSrc)
        if EtherType.isVLAN(vlanTPID) || vlanTCI & 0x1000 != 0 {
            bytes.append16(EtherType.isVLAN(vlanTPID) ? vlanTPID : EtherType.vlan)
            bytes.append16(vlanTCI & ~0x1000)
            if EtherType.isVLAN(innerVLANTPID) || innerVLANTCI & 0x1000 != 0 {
                bytes.append16(EtherType.isVLAN(innerVLANTPID) ? innerVLANTPID : EtherType.vlan)
                bytes.append16(innerVLANTCI & ~0x1000)
            }
        }
        // Frames without a type carry a length instead.
        bytes.append16(ethType >= EtherType.minimum ? ethType : 0)
    }

    private func appendARP(_ bytes: inout [UInt8]) {
        guard nwProto == 1 || nwProto == 2 else { return }
        bytes.append16(1)
        bytes.append16(EtherType.ipv4)
        bytes += [6, 4]
        bytes.append16(UInt16(nwProto))
        bytes.append48(arpSHA)
        bytes.append32(nwSrc)
        bytes.append48(arpTHA)
        bytes.append32(nwDst)
    }

    private func appendIPv4(_ bytes: inout [UInt8], _ payloadSize: Int?) {
        let header = bytes.count
        bytes += [0x45, nwTOS]
        bytes.append16(0)
        bytes.append16(0)
        // An offset of 100 units stands for any later fragment.
        let more: UInt16 = nwFrag & IPFragment.any != 0 ? 0x2000 : 0
        bytes.append16(nwFrag & IPFragment.later != 0 ? more | 100 : more)
        bytes += [nwTTL, nwProto, 0, 0]
        bytes.append32(nwSrc)
        bytes.append32(nwDst)
        let l4 = bytes.count
        appendTransport(&bytes, payloadSize)
        bytes.put16(header + 2, UInt16(truncatingIfNeeded: bytes.count - header))
        let sum = bytes[header..<l4].withUnsafeBytes { InternetChecksum.checksum($0) }
        bytes.put16(header + 10, sum)
        finishChecksum(&bytes, l4)
    }

    private func appendIPv6(_ bytes: inout [UInt8], _ payloadSize: Int?) {
        let header = bytes.count
        bytes.append32(6 << 28 | UInt32(nwTOS) << 20 | ipv6Label)
        bytes.append16(0)
        // Fragment headers are not composed.
        bytes += [nwProto, nwTTL]
        bytes.append128(ipv6Src)
        bytes.append128(ipv6Dst)
        let l4 = bytes.count
        appendTransport(&bytes, payloadSize)
        bytes.put16(header + 4, UInt16(truncatingIfNeeded: bytes.count - header - HeaderSize.ipv6))
        finishChecksum(&bytes, l4)
    }

    /// The payload behind a transport header when nobody asked for a size.
    private static let defaultPayload = (0..<64).map { UInt8($0) }

    private func appendTransport(_ bytes: inout [UInt8], _ payloadSize: Int?) {
        let isV6 = ethType == EtherType.ipv6
        let later = nwFrag & IPFragment.later != 0
        let zeros = [UInt8](repeating: 0, count: payloadSize ?? 0)
        let payload = payloadSize == nil ? Self.defaultPayload : zeros
        guard !later else {
            bytes += zeros
            return
        }
        switch nwProto {
        case IPProtocol.tcp:
            bytes.append16(tpSrc)
            bytes.append16(tpDst)
            bytes.append32(0)
            bytes.append32(0)
            bytes.append16(tcpFlags | 0x5000)
            bytes.append16(0)
            bytes.append32(0)
            // A segment that opens or closes a connection carries no data unless asked.
            bytes += tcpFlags & 0x007 == 0 ? payload : zeros
        case IPProtocol.udp:
            bytes.append16(tpSrc)
            bytes.append16(tpDst)
            // What was added to reach a size counts twice.
            bytes.append16(UInt16(truncatingIfNeeded: HeaderSize.udp + payload.count + zeros.count))
            bytes.append16(0)
            bytes += payload
        case IPProtocol.sctp:
            bytes.append16(tpSrc)
            bytes.append16(tpDst)
            bytes.append32(0)
            bytes.append32(0)
            bytes += zeros
        case IPProtocol.icmp where !isV6:
            bytes += [UInt8(truncatingIfNeeded: tpSrc), UInt8(truncatingIfNeeded: tpDst), 0, 0, 0, 0, 0, 0]
            bytes += payload
        case IPProtocol.igmp where !isV6:
            bytes += [UInt8(truncatingIfNeeded: tpSrc), UInt8(truncatingIfNeeded: tpDst), 0, 0]
            bytes.append32(igmpGroup)
            bytes += zeros
        case IPProtocol.icmpv6 where isV6:
            bytes += [UInt8(truncatingIfNeeded: tpSrc), UInt8(truncatingIfNeeded: tpDst), 0, 0]
            bytes.append32(igmpGroup)
            let nd =
                tpDst == 0
                && (tpSrc == UInt16(ICMPv6Type.neighborSolicitation)
                    || tpSrc == UInt16(ICMPv6Type.neighborAdvertisement))
            if nd {
                bytes.append128(ndTarget)
                if arpSHA != 0 {
                    bytes += [1, 1]
                    bytes.append48(arpSHA)
                }
                if arpTHA != 0 {
                    bytes += [2, 1]
                    bytes.append48(arpTHA)
                }
            } else {
                bytes += payload
            }
        default:
            bytes += zeros
        }
    }

    /// Fills the transport checksum of the segment from `l4` to the end.
    private func finishChecksum(_ bytes: inout [UInt8], _ l4: Int) {
        guard nwFrag & IPFragment.later == 0 else { return }
        let isV6 = ethType == EtherType.ipv6
        let length = bytes.count - l4
        let place: Int
        var initial: UInt64 = 0
        switch nwProto {
        case IPProtocol.tcp: place = 16
        case IPProtocol.udp: place = 6
        case IPProtocol.icmpv6 where isV6: place = 2
        case IPProtocol.icmp where !isV6, IPProtocol.igmp where !isV6: place = 2
        default: return
        }
        if isV6 || nwProto == IPProtocol.tcp || nwProto == IPProtocol.udp {
            initial = pseudoHeaderSum(length: length)
        }
        var sum = bytes[l4...].withUnsafeBytes { InternetChecksum.finish(InternetChecksum.partial($0, initial)) }
        if nwProto == IPProtocol.udp, sum == 0 { sum = 0xffff }
        bytes.put16(l4 + place, sum)
    }

    /// The partial checksum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    func pseudoHeaderSum(length: Int) -> UInt64 {
        var sum = UInt64(nwProto) + UInt64(length)
        func add(_ value: UInt128) {
            for i in 0..<8 { sum += UInt64(UInt16(truncatingIfNeeded: value >> UInt128(16 * i))) }
        }
        if ethType == EtherType.ipv6 {
            add(ipv6Src)
            add(ipv6Dst)
        } else {
            add(UInt128(nwSrc))
            add(UInt128(nwDst))
        }
        return sum
    }
}

extension [UInt8] {
    mutating func append16(_ value: UInt16) { self += [UInt8(value >> 8), UInt8(value & 0xff)] }
    mutating func append32(_ value: UInt32) { for i in 0..<4 { append(UInt8(value >> UInt32(24 - 8 * i) & 0xff)) } }
    mutating func append48(_ value: UInt64) { for i in 0..<6 { append(UInt8(value >> UInt64(40 - 8 * i) & 0xff)) } }
    mutating func append128(_ value: UInt128) {
        for i in 0..<16 { append(UInt8(truncatingIfNeeded: value >> UInt128(120 - 8 * i))) }
    }
    mutating func put16(_ at: Int, _ value: UInt16) {
        self[at] = UInt8(value >> 8)
        self[at + 1] = UInt8(value & 0xff)
    }
}
