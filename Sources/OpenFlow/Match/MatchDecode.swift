// Decoding matches: the fixed forms of OpenFlow 1.0 and 1.1, and the TLVs of 1.2 and later and of NXM.

import Flow

/// The cookie that NXM can carry beside a match.
public struct MatchCookie: Sendable {
    public var value: UInt64 = 0
    public var mask: UInt64 = 0
}

/// Decoding and encoding of matches. `tunnelOptions` is the bridge's TLV table. A match is 1.3 kB: it is decoded where it is to stay.
public enum MatchCodec {
    /// Decodes OXM or NXM entries to the end of the reader. `loose`: fields that are unknown are passed over, and what
    /// others need is not asked for, as in a reply that nobody can refuse.
    @discardableResult
    static func decodeTLVs(
        _ reader: inout WireReader, into match: inout Match, allowCookie: Bool = false, loose: Bool = false,
        ofPipeline: Bool = false, tunnelOptions map: TunnelOptionMap?
    ) throws(OFError) -> MatchCookie {
        var cookie = MatchCookie()
        while !reader.isEmpty {
            var entry: OXMEntry
            switch try reader.oxmHeader() {
            case .field(let e) where loose && e.isStrange(map):
                try reader.checkPayload(e.size, hasMask: e.hasMask)
                guard reader.remaining >= e.payload else { throw .bmcBadLen }
                try reader.skip(e.payload)
                continue
            case .field(let e):
                try reader.checkPayload(e.size, hasMask: e.hasMask)
                entry = e
            case .cookie(let hasMask, _):
                guard allowCookie else { throw .bmcBadField }
                let value = try reader.u64()
                let mask = hasMask ? try reader.u64() : .max
                guard value & ~mask == 0 else { throw .bmcBadWildcards }
                guard cookie.mask == 0 else { throw .bmcDupField }
                cookie = MatchCookie(value: value, mask: mask)
                continue
            case .unknown(let hasMask, let size):
                try reader.checkPayload(hasMask ? size / 2 : size, hasMask: hasMask)
                guard loose else { throw .bmcBadField }
                guard reader.remaining >= size else { throw .bmcBadLen }
                try reader.skip(size)
                continue
            }
            if let index = entry.field.tunnelOptionIndex {
                guard let slot = map?.entries[index] else { throw .nxfmfcInvalidTlvField }
                try reader.oxmPayload(&entry)
                try set(entry, slot, map, in: &match)
                continue
            }
            try reader.oxmPayload(&entry)
            try add(entry, to: &match, loose: loose)
            guard !ofPipeline || isOfPipeline(match.mask) else { throw .brcPipelineFieldsOnly }
        }
        return cookie
    }

    /// Whether a match is of what a packet's way through the tables begins with, and of nothing that the packet says itself or only the switch.
    private static func isOfPipeline(_ mask: FlowMask) -> Bool {
        let others = [
            Location.skbPriority, Location.pktMark, Location.dpHash, Location.recircID, Location.conjID, Location.actsetOutput,
            Location.ctState, Location.ctZone, Location.ctMark, Location.ctLabel, Location.ctNwProto,
        ]
        return others.allSatisfy { mask.isWild($0) }
            && (FlowStage.l2.words.lowerBound..<FlowKey.wordCount).allSatisfy { mask.bits.words[$0] == 0 }
    }

    private static func set(
        _ entry: OXMEntry, _ slot: TunnelOptionMap.Entry, _ map: TunnelOptionMap?, in match: inout Match
    ) throws(OFError) {
        guard let map else { throw .nxfmfcInvalidTlvField }
        guard !map.isPresent(slot, in: match.mask.bits) else { throw .bmcDupField }
        let excess = max(0, entry.wideValue.count - slot.length)
        guard !entry.wideValue.prefix(excess).contains(where: { $0 != 0 }) else { throw .bmcBadValue }
        map.set(entry.wideValue, slot, in: &match.key)
        map.set(entry.wideMask, slot, in: &match.mask.bits)
        map.setPresent(true, slot, in: &match.key)
        map.setPresent(true, slot, in: &match.mask.bits)
    }

    /// Adds one field to a match, with every check.
    static func add(_ entry: OXMEntry, to match: inout Match, loose: Bool = false) throws(OFError) {
        let field = entry.field
        let row = field.row
        let full: UInt128 = entry.size == 16 ? .max : (1 << UInt128(entry.size * 8)) - 1
        if !row.maskable, entry.mask != full {
            // A mask of a field that has none must be all ones, or, wildcarding it, all zeros.
            guard entry.mask == 0 else { throw .bmcBadMask }
        }
        guard field.isValid(entry.value) else { throw .bmcBadValue }
        guard loose || field.prerequisitesHold(match) else { throw .bmcBadPrereq }
        guard field.value(in: match.mask) == 0 else { throw .bmcDupField }
        if entry.mask != 0 { field.set(entry.value, mask: entry.mask, in: &match) }
        if row.prerequisite != .none { match.setDefaultPacketType() }
    }

    /// Decodes the match of an OpenFlow 1.1 or later message, with its padding.
    ///
    /// - Parameter ofPipeline: it is a packet-out's: OXM, loose, and of what a packet's way through the tables begins with.
    public static func decode11(
        _ reader: inout WireReader, into match: inout Match, tunnelOptions: TunnelOptionMap?, ofPipeline: Bool = false
    ) throws(OFError) {
        guard let type = reader.peek16(), let length = reader.peek16(2), length >= 4 || !ofPipeline else { throw .bmcBadLen }
        switch type {
        case 0 where !ofPipeline:
            guard length == 88, reader.remaining >= 88 else { throw .bmcBadLen }
            var r = try reader.part(88)
            match = try standard11(&r)
        case 1:
            let padded = (Int(length) + 7) / 8 * 8
            guard length >= 4, reader.remaining >= padded else { throw .bmcBadLen }
            var r = try reader.part(padded)
            try r.skip(4)
            var tlvs = try r.part(Int(length) - 4, error: .bmcBadLen)
            try decodeTLVs(&tlvs, into: &match, loose: ofPipeline, ofPipeline: ofPipeline, tunnelOptions: tunnelOptions)
        default: throw .bmcBadType
        }
    }

    /// Decodes `length` bytes of NXM entries and the padding after them.
    public static func decodeNXM(
        _ reader: inout WireReader, into match: inout Match, length: Int, allowCookie: Bool, loose: Bool = false,
        tunnelOptions: TunnelOptionMap?
    ) throws(OFError) -> MatchCookie {
        var part = try reader.part((length + 7) / 8 * 8, error: .bmcBadLen)
        var tlvs = try part.part(length, error: .bmcBadLen)
        return try decodeTLVs(&tlvs, into: &match, allowCookie: allowCookie, loose: loose, tunnelOptions: tunnelOptions)
    }

    /// Decodes the fixed match of OpenFlow 1.0, 40 bytes, whose wildcards make any combination legal.
    public static func decode10(_ reader: inout WireReader) throws(OFError) -> Match {
        let w = try reader.u32()
        let inPort = try reader.u16()
        let src = try reader.mac()
        let dst = try reader.mac()
        let vlan = try reader.u16()
        let pcp = try reader.u8()
        try reader.skip(1)
        let type = try reader.u16()
        let tos = try reader.u8()
        let proto = try reader.u8()
        try reader.skip(2)
        let nwSrc = try reader.u32()
        let nwDst = try reader.u32()
        let tpSrc = try reader.u16()
        let tpDst = try reader.u16()
        var m = Match()
        func exact(_ bit: UInt32) -> Bool { w & (1 << bit) == 0 }
        if exact(0) { m.set(Location.inPort, UInt128(inPort)) }
        // A match that looks at a header is of Ethernet packets.
        let looksAtAddresses = (w >> 8) & 0x3f < 32 || (w >> 14) & 0x3f < 32
        if [1, 2, 3, 4, 5, 6, 7, 20, 21].contains(where: { exact($0) }) || looksAtAddresses { m.setDefaultPacketType() }
        if exact(2) { m.set(Location.ethSrc, UInt128(src)) }
        if exact(3) { m.set(Location.ethDst, UInt128(dst)) }
        let hasType = exact(4)
        if hasType { m.set(Location.ethType, UInt128(type < 0x600 ? 0x05ff : type)) }
        // VLAN: 0xffff is no tag at all, and then the priority does not count.
        if exact(1), vlan == 0xffff {
            m.set(Location.vlanTCI, 0)
        } else {
            if exact(1) { m.set(Location.vlanVIDAndPresent, UInt128(vlan & 0xfff | 0x1000)) }
            if exact(20) { FieldID.dlVLANPCP.set(UInt128(pcp & 7), in: &m) }
        }
        if exact(21) { m.set(Location.nwDSCP, UInt128(tos >> 2)) }
        if exact(5) { m.set(Location.nwProto, UInt128(proto)) }
        func prefix(_ shift: UInt32) -> UInt128 {
            let wild = min((w >> shift) & 0x3f, 32)
            return UInt128(UInt32.max) & ~((1 << UInt128(wild)) - 1)
        }
        m.set(Location.nwSrc, UInt128(nwSrc), mask: prefix(8))
        m.set(Location.nwDst, UInt128(nwDst), mask: prefix(14))
        if exact(6) { m.set(Location.tpSrc, UInt128(tpSrc)) }
        if exact(7) { m.set(Location.tpDst, UInt128(tpDst)) }
        m.normalize()
        return m
    }

    /// Decodes the fixed match of OpenFlow 1.1, 88 bytes from its type on.
    private static func standard11(_ reader: inout WireReader) throws(OFError) -> Match {
        try reader.skip(4)
        let inPort = try reader.u32()
        let w = try reader.u32()
        let src = try reader.mac()
        let srcMask = try reader.mac()
        let dst = try reader.mac()
        let dstMask = try reader.mac()
        let vlan = try reader.u16()
        let pcp = try reader.u8()
        try reader.skip(1)
        let type = try reader.u16()
        let tos = try reader.u8()
        let proto = try reader.u8()
        let nwSrc = try reader.u32()
        let nwSrcMask = try reader.u32()
        let nwDst = try reader.u32()
        let nwDstMask = try reader.u32()
        let tpSrc = try reader.u16()
        let tpDst = try reader.u16()
        let label = try reader.u32()
        let tc = try reader.u8()
        try reader.skip(3)
        let metadata = try reader.u64()
        let metadataMask = try reader.u64()
        var m = Match()
        func exact(_ bit: UInt32) -> Bool { w & (1 << bit) == 0 }
        if exact(0) {
            guard let port = OFPort(wire32: inPort) else { throw .bmcBadValue }
            m.set(Location.inPort, UInt128(port.rawValue))
        }
        // Masks of 1.1 are inverted: 1 is wildcarded.
        let mac: UInt64 = 0xffff_ffff_ffff
        // A match that looks at an Ethernet header is of Ethernet packets.
        if exact(1) || exact(2) || exact(3) || srcMask & mac != mac || dstMask & mac != mac { m.setDefaultPacketType() }
        m.set(Location.ethSrc, UInt128(src), mask: UInt128(~srcMask & mac))
        m.set(Location.ethDst, UInt128(dst), mask: UInt128(~dstMask & mac))
        var ignoresPCP = false
        if exact(1) {
            if vlan == 0xffff {
                m.set(Location.vlanTCI, 0)
                ignoresPCP = true
            } else if vlan == 0xfffe {
                m.set(Location.vlanPresent, 1)
            } else {
                guard vlan < 4096 else { throw .bmcBadValue }
                m.set(Location.vlanVIDAndPresent, UInt128(vlan | 0x1000))
            }
        }
        if exact(2), !ignoresPCP {
            guard pcp <= 7 else { throw .bmcBadValue }
            FieldID.dlVLANPCP.set(UInt128(pcp), in: &m)
        }
        let hasType = exact(3)
        if hasType { m.set(Location.ethType, UInt128(type < 0x600 ? 0x05ff : type)) }
        let isIPv4 = hasType && type == 0x0800
        let isARP = hasType && (type == 0x0806 || type == 0x8035)
        let isIP = hasType && (type == 0x0800 || type == 0x86dd)
        if isIP, exact(4) {
            guard tos & ~0x3f == 0 else { throw .bmcBadValue }
            m.set(Location.nwDSCP, UInt128(tos))
        }
        if isIP || isARP {
            if exact(5) { m.set(Location.nwProto, UInt128(proto)) }
        }
        if isIPv4 || isARP {
            m.set(Location.nwSrc, UInt128(nwSrc), mask: UInt128(~nwSrcMask))
            m.set(Location.nwDst, UInt128(nwDst), mask: UInt128(~nwDstMask))
        }
        if isIP, exact(5) {
            switch proto {
            case 1, 58:
                guard (proto == 1) == isIPv4 else { break }
                guard !exact(6) || tpSrc < 0x100, !exact(7) || tpDst < 0x100 else { throw .bmcBadField }
                fallthrough
            case 6, 17, 132:
                if exact(6) { m.set(Location.tpSrc, UInt128(tpSrc)) }
                if exact(7) { m.set(Location.tpDst, UInt128(tpDst)) }
            default:
                // Ports of a protocol that has none.
                if exact(6) || exact(7) { throw .bmcBadField }
            }
        }
        if hasType, type == 0x8847 || type == 0x8848 {
            if exact(8) { m.set(Location.mplsLabel, UInt128(label & 0xfffff)) }
            if exact(9) { m.set(Location.mplsTC, UInt128(tc & 7)) }
        }
        m.set(Location.metadata, UInt128(metadata), mask: UInt128(~metadataMask))
        return m
    }
}

extension Match {
    /// Matches Ethernet packets alone, unless the match says what packet type it wants.
    public mutating func setDefaultPacketType() {
        if mask.isWild(Location.packetType) { set(Location.packetType, 0) }
    }

    /// True when the match is of Ethernet packets, as all are that do not say otherwise.
    public var hasDefaultPacketType: Bool {
        key.packetType == 0 && mask.isExact(Location.packetType)
    }

    /// Drops what cannot matter because the packets that are matched have no such field: OpenFlow 1.0 lets a match say
    /// nw_src without dl_type.
    public mutating func normalize() {
        func clear(_ l: FieldLocation, _ m: inout Match) {
            m.key[l] = 0
            m.mask.bits[l] = 0
        }
        let type = key.ethType
        let isIP = type == 0x0800 || type == 0x86dd
        let isARP = type == 0x0806 || type == 0x8035
        let proto = key.nwProto
        let hasPorts =
            isIP && (proto == 6 || proto == 17 || proto == 132)
            || type == 0x0800 && (proto == 1 || proto == 2) || type == 0x86dd && proto == 58
        if !hasPorts {
            clear(Location.tpSrc, &self)
            clear(Location.tpDst, &self)
        }
        if !isIP {
            clear(Location.nwTOS, &self)
            clear(Location.nwTTL, &self)
            clear(Location.nwFrag, &self)
        }
        if !(isIP && proto == 6) { clear(Location.tcpFlags, &self) }
        if !isIP && !isARP { clear(Location.nwProto, &self) }
        if type != 0x0800 && !isARP {
            clear(Location.nwSrc, &self)
            clear(Location.nwDst, &self)
        }
        let isND = type == 0x86dd && proto == 58 && key.tpDst == 0 && (key.tpSrc == 135 || key.tpSrc == 136)
        if !isARP && !(isND && key.tpSrc == 135) { clear(Location.arpSHA, &self) }
        if !isARP && !(isND && key.tpSrc == 136) { clear(Location.arpTHA, &self) }
        if type != 0x86dd {
            clear(Location.ipv6Src, &self)
            clear(Location.ipv6Dst, &self)
            clear(Location.ipv6Label, &self)
        }
        if !isND { clear(Location.ndTarget, &self) }
        if type != 0x8847 && type != 0x8848 {
            for n in 0..<3 { clear(Location.mplsLSE(n), &self) }
        }
    }
}
