// Encoding matches, in the form of each version.

import Flow

extension MatchCodec {
    /// What a match is written as: a field under a mask, or a tunnel option, which the TLV map describes.
    enum Item {
        /// `hasMask`: the mask is written too.
        case field(FieldID, mask: UInt128, hasMask: Bool)
        case option(TunnelOptionMap.Entry, FieldID)
    }

    /// Appends the TLVs of a match. `version` is the wire's; 1.0 gets NXM.
    static func encodeTLVs(
        _ match: Match, version: OFVersion, to w: inout WireWriter, tunnelOptions map: TunnelOptionMap?
    ) {
        let v = version.rawValue
        forEachItem(match, version: version, tunnelOptions: map) { item in
            switch item {
            case .field(let field, let mask, let hasMask):
                w.oxmHeader(field, version: v, hasMask: hasMask)
                let size = field.row.bytes
                w.uint(field.value(in: match.key), size: size)
                if hasMask { w.uint(mask, size: size) }
            case .option(let slot, let field):
                guard let map else { return }
                let bits = map.bytes(slot, in: match.mask.bits)
                w.oxmWide(
                    field, map.bytes(slot, in: match.key), mask: bits.allSatisfy { $0 == 0xff } ? nil : bits, version: v)
            }
        }
    }

    /// Tells, in the order of the wire, what a match is written as. Which items there are depends on the mask and, of the key, on
    /// `deciding` alone.
    static func forEachItem(
        _ match: Match, version: OFVersion, tunnelOptions map: TunnelOptionMap?, _ body: (Item) -> Void
    ) {
        let isOXM = version >= .v11
        func put(_ field: FieldID) {
            let m = field.value(in: match.mask)
            guard m != 0 else { return }
            let row = field.row
            body(.field(field, mask: m, hasMask: row.maskable && m & row.allOnes != row.allOnes))
        }
        func words(_ r: Range<Int>) -> Bool {
            let bits = match.mask.bits.words.span
            for i in r where bits[i] != 0 { return true }
            return false
        }
        if !match.hasDefaultPacketType { put(.packetType) }
        put(.dpHash)
        put(.recircID)
        put(.conjID)
        put(isOXM ? .inPortOXM : .inPort)
        put(.actsetOutput)
        put(.ethDst)
        put(.ethSrc)
        put(.ethType)
        if isOXM {
            let vidMask = FieldID.vlanVID.value(in: match.mask)
            if vidMask != 0 {
                // All 13 bits are the whole of the field.
                body(.field(.vlanVID, mask: vidMask, hasMask: vidMask != 0x1fff))
                if FieldID.vlanVID.value(in: match.key) & 0x1000 != 0, match.mask.bits.vlanTCI & 0xe000 != 0 {
                    body(.field(.vlanPCP, mask: 7, hasMask: false))
                }
            }
        } else {
            put(.vlanTCI)
        }
        let type = match.key.ethType
        if words(61..<84) {
            switch type {
            case 0x8847, 0x8848:
                put(.mplsTC)
                put(.mplsBOS)
                put(.mplsTTL)
                put(.mplsLabel)
            case 0x0800, 0x86dd: ip(match, isOXM: isOXM, put)
            case 0x0806, 0x8035:
                put(.arpOp)
                put(.arpSPA)
                put(.arpTPA)
                put(.arpSHA)
                put(.arpTHA)
            case 0x894f:
                for f: FieldID in [
                    .nshFlags, .nshTTL, .nshMDType, .nshNP, .nshSPI, .nshSI, .nshC1, .nshC2, .nshC3, .nshC4,
                ] { put(f) }
            default: break
            }
        }
        if words(0..<42) {
            for f: FieldID in [
                .tunID, .tunSrc, .tunDst, .tunIPv6Src, .tunIPv6Dst, .tunGBPID, .tunGBPFlags, .tunFlags, .tunERSPANVer,
                .tunERSPANIdx, .tunERSPANDir, .tunERSPANHwid, .tunGTPUFlags, .tunGTPUMsgType,
            ] { put(f) }
            for slot in (map?.entries.values.sorted { $0.index < $1.index }) ?? [] {
                guard let map, map.isPresent(slot, in: match.mask.bits), let field = FieldID.tunMetadata(slot.index) else {
                    continue
                }
                body(.option(slot, field))
            }
        }
        if words(43..<51) {
            if version < .v15 {
                for n in 0..<16 { FieldID.reg(n).map(put) }
            } else {
                for n in 0..<8 { FieldID.xreg(n).map(put) }
            }
        }
        put(.pktMark)
        if words(53..<57) || words(65..<66) || words(70..<74) || words(82..<83) {
            for f: FieldID in [
                .ctState, .ctZone, .ctMark, .ctLabel, .ctNwSrc, .ctNwDst, .ctIPv6Src, .ctIPv6Dst, .ctNwProto, .ctTpSrc,
                .ctTpDst,
            ] { put(f) }
        }
        put(.metadata)
    }

    /// The bits of a key that decide which fields the others are.
    static let deciding: FlowMask = {
        var mask = FlowMask()
        mask.bits[Location.ethType] = .max
        mask.bits[Location.nwProto] = .max
        mask.bits[Location.tpSrc] = .max
        mask.bits[Location.packetType] = .max
        mask.bits.vlanTCI |= 0x1000
        return mask
    }()

    private static func ip(_ match: Match, isOXM: Bool, _ put: (FieldID) -> Void) {
        let isIPv4 = match.key.ethType == 0x0800
        put(isIPv4 ? .ipv4Src : .ipv6Src)
        put(isIPv4 ? .ipv4Dst : .ipv6Dst)
        put(.ipFrag)
        put(isOXM ? .ipDSCPShifted : .ipDSCP)
        put(.ipECN)
        put(.ipTTL)
        put(.ipProto)
        switch match.key.nwProto {
        case 6:
            put(.tcpSrc)
            put(.tcpDst)
            put(.tcpFlags)
        case 17:
            put(.udpSrc)
            put(.udpDst)
        case 132:
            put(.sctpSrc)
            put(.sctpDst)
        case 1 where isIPv4:
            put(.icmpv4Type)
            put(.icmpv4Code)
        case 58 where !isIPv4:
            put(.icmpv6Type)
            put(.icmpv6Code)
            if match.key.tpSrc == 135 || match.key.tpSrc == 136 {
                put(.ndTarget)
                put(match.key.tpSrc == 135 ? .ndSLL : .ndTLL)
                put(.ndReserved)
                put(.ndOptionsType)
            }
        default: break
        }
        if !isIPv4 { put(.ipv6Label) }
    }

    /// Appends the match of an OpenFlow 1.1 or later message, padded. In 1.1 too it is made of OXM TLVs, because the fixed
    /// form could not say all.
    public static func encode11(
        _ match: some EncodableMatch, version: OFVersion, to w: inout WireWriter, tunnelOptions: TunnelOptionMap? = nil
    ) {
        let start = w.count
        w.u16(1)
        w.u16(0)
        match.writeTLVs(version: version, tunnelOptions: tunnelOptions, to: &w)
        w.patch16(w.count - start, at: start + 2)
        w.pad8(from: start)
    }

    /// Appends NXM entries, padded, and returns their length without the padding.
    public static func encodeNXM(_ match: some EncodableMatch, to w: inout WireWriter, tunnelOptions: TunnelOptionMap? = nil) -> Int {
        let start = w.count
        match.writeTLVs(version: .v10, tunnelOptions: tunnelOptions, to: &w)
        let length = w.count - start
        w.pad8(from: start)
        return length
    }

    /// Appends the fixed match of OpenFlow 1.0. What it cannot say is wildcarded.
    public static func encode10(_ match: Match, to w: inout WireWriter) {
        let key = match.key
        let mask = match.mask
        var wild: UInt32 = 0
        func bit(_ n: UInt32, _ location: FieldLocation) { if mask.isWild(location) { wild |= 1 << n } }
        bit(0, Location.inPort)
        bit(2, Location.ethSrc)
        bit(3, Location.ethDst)
        bit(4, Location.ethType)
        bit(5, Location.nwProto)
        bit(21, Location.nwDSCP)
        bit(6, Location.tpSrc)
        bit(7, Location.tpDst)
        func prefix(_ location: FieldLocation) -> UInt32 {
            UInt32((~UInt32(truncatingIfNeeded: mask.bits[location])).nonzeroBitCount)
        }
        wild |= prefix(Location.nwSrc) << 8 | prefix(Location.nwDst) << 14
        var vlan: UInt16 = 0
        var pcp: UInt8 = 0
        let tciMask = mask.bits.vlanTCI
        if tciMask == 0 {
            wild |= 1 << 1 | 1 << 20
        } else if tciMask & 0x1000 != 0, key.vlanTCI & 0x1000 == 0 {
            vlan = 0xffff
        } else {
            vlan = key.vlanTCI & 0xfff
            pcp = UInt8(key.vlanTCI >> 13)
            if tciMask & 0xfff == 0 { wild |= 1 << 1 }
            if tciMask & 0xe000 == 0 { wild |= 1 << 20 }
        }
        w.u32(wild)
        w.u16(UInt16(truncatingIfNeeded: key.inPort))
        w.mac(key.ethSrc)
        w.mac(key.ethDst)
        w.u16(vlan)
        w.u8(pcp)
        w.u8(0)
        w.u16(key.ethType)
        w.u8(key.nwTOS & 0xfc)
        w.u8(key.nwProto)
        w.u16(0)
        w.u32(key.nwSrc)
        w.u32(key.nwDst)
        w.u16(key.tpSrc)
        w.u16(key.tpDst)
    }
}
