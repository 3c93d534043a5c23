// Reading, setting and matching a field of a key by its `FieldID`, where a few fields need more than moving bits:
// the VLAN fields keep the present bit right, nw_tos leaves the ECN bits alone, and 32-bit ports map to 16.

extension FieldID {
    /// The field's value in a key. Tunnel options read as 0: use `TunnelOptionMap`.
    @inlinable
    public func value(in key: borrowing FlowKey) -> UInt128 {
        guard let location else { return 0 }
        let v = location.value(in: key)
        switch self {
        case .ipDSCP: return v & 0xfc
        case .inPortOXM, .actsetOutput: return v >= 0xff00 && v <= 0xffff ? v | 0xffff_0000 : v
        case .icmpv4Type, .icmpv4Code, .icmpv6Type, .icmpv6Code: return v & 0xff
        default: return v
        }
    }

    /// Sets the field in a key, as an action does. Bits beyond the field's width are dropped.
    public func set(_ value: UInt128, in key: inout FlowKey) {
        guard let location else { return }
        switch self {
        case .dlVLAN:
            if value == 0xffff {
                key.vlanTCI = 0
            } else {
                key.vlanTCI = key.vlanTCI & 0xe000 | 0x1000 | UInt16(truncatingIfNeeded: value) & 0xfff
            }
        case .dlVLANPCP, .vlanPCP:
            key.vlanTCI = key.vlanTCI & 0x1fff | 0x1000 | UInt16(truncatingIfNeeded: value & 7) << 13
        case .ipDSCP: key.nwTOS = key.nwTOS & 3 | UInt8(truncatingIfNeeded: value) & 0xfc
        case .inPortOXM, .actsetOutput: key[location] = value & 0xffff
        default: key[location] = value
        }
    }

    /// Changes the bits of `mask` of the field in a key.
    @inlinable
    public func set(_ bits: UInt128, mask: UInt128, in key: inout FlowKey) {
        set(value(in: key) & ~mask | bits & mask, in: &key)
    }

    /// The bits of the field that a mask matches.
    @inlinable
    public func value(in mask: borrowing FlowMask) -> UInt128 {
        guard let location else { return 0 }
        let v = location.value(in: mask.bits)
        switch self {
        case .ipDSCP: return v & 0xfc
        case .icmpv4Type, .icmpv4Code, .icmpv6Type, .icmpv6Code: return v & 0xff
        default: return v
        }
    }

    /// Makes a mask match the given bits of the field, beside what it matches already.
    public func match(_ bits: UInt128, in mask: inout FlowMask) {
        guard let location else { return }
        switch self {
        case .dlVLAN: mask.bits.vlanTCI |= 0x1000 | UInt16(truncatingIfNeeded: bits & 0xfff)
        case .dlVLANPCP, .vlanPCP: mask.bits.vlanTCI |= 0x1000 | UInt16(truncatingIfNeeded: bits & 7) << 13
        case .ipDSCP: mask.bits.nwTOS |= UInt8(truncatingIfNeeded: bits) & 0xfc
        default: mask.bits[location] |= bits & location.allOnes
        }
    }

    /// Makes a mask match the whole field.
    public func matchAll(in mask: inout FlowMask) {
        guard let location else { return }
        match(location.allOnes, in: &mask)
    }

    /// Makes a match require `value` in the bits of `mask` of the field, in place of what it required of it.
    public func set(_ value: UInt128, mask: UInt128? = nil, in match: inout Match) {
        guard let location else { return }
        let full = location.allOnes
        let m = (mask ?? full) & full
        switch self {
        case .inPort:
            // NXM's 16 bits are all of a port's number.
            match.set(location, value, mask: m & 0xffff == 0xffff ? full : m)
        case .dlVLAN:
            // 0xffff stands for a packet without tag.
            if value == 0xffff {
                match.set(Location.vlanTCI, 0)
            } else {
                match.set(Location.vlanVIDAndPresent, value & 0xfff | 0x1000)
            }
        case .dlVLANPCP, .vlanPCP:
            match.set(Location.vlanPCP, value)
            match.set(Location.vlanPresent, 1)
        case .vlanVID: match.set(location, value & m, mask: m)
        case .ipDSCP: match.set(Location.nwDSCP, value >> 2)
        case .ipv6Label where m == full:
            match.set(location, value)
            match.mask.bits.words[location.word] |= FlowMask.wholeLabel
        case .inPortOXM, .actsetOutput: match.set(location, value & 0xffff)
        case .icmpv4Type, .icmpv4Code, .icmpv6Type, .icmpv6Code: match.set(location, value & 0xff)
        default: match.set(location, value, mask: m)
        }
    }

    /// True when the key is of a packet that has the field.
    public func prerequisitesHold(_ key: borrowing FlowKey) -> Bool {
        row.prerequisite.holds(key)
    }

    /// True when every packet that agrees with the match has the field.
    public func prerequisitesHold(_ match: borrowing Match) -> Bool {
        let p = row.prerequisite
        if p == .ct { return FieldPrerequisite.connectionKnown(match) }
        if p == .none { return true }
        return p.holds(match.key)
    }

    /// True when a value has no bits beyond the field's width. A VLAN ID may have its present bit.
    public func isValid(_ value: UInt128) -> Bool {
        switch self {
        case .ipDSCP: value & ~0xfc == 0
        case .vlanVID: value & ~0x1fff == 0
        case .arpOp: value & ~0xff == 0
        case .inPortOXM, .actsetOutput: value < 0xff00 || (value >= 0xffff_ff00 && value <= 0xffff_ffff)
        case .tunFlags: value & ~1 == 0
        default: value & ~row.allOnes == 0
        }
    }
}

extension FieldPrerequisite {
    /// True when everything that agrees with the match is part of a connection that is tracked and valid.
    static func connectionKnown(_ match: borrowing Match) -> Bool {
        let state = match.key.ctState
        let known =
            CTState.new | CTState.established | CTState.related | CTState.reply | CTState.sourceNAT
            | CTState.destinationNAT
        if state & known != 0 { return true }
        let looked = match.mask.bits.ctState
        return state & CTState.tracked != 0 && looked & CTState.invalid != 0 && state & CTState.invalid == 0
    }

    /// Whether the prerequisite holds of a packet's key.
    public func holds(_ key: borrowing FlowKey) -> Bool {
        let later = key.nwFrag & IPFragment.later != 0
        let type = key.ethType
        let isIP = type == 0x0800 || type == 0x86dd
        let proto = later ? nil : key.nwProto
        let icmpv6 = type == 0x86dd && proto == 58
        let (kind, code) = (key.tpSrc, key.tpDst)
        switch self {
        case .none: return true
        case .ethernet: return key.packetType == 0
        case .arp: return type == 0x0806 || type == 0x8035
        case .vlanVID: return key.vlanTCI & 0x1000 != 0
        case .ipv4: return type == 0x0800
        case .ipv6: return type == 0x86dd
        case .ip: return isIP
        case .nsh: return type == 0x894f
        case .mpls: return type == 0x8847 || type == 0x8848
        case .tcp: return isIP && proto == 6
        case .udp: return isIP && proto == 17
        case .sctp: return isIP && proto == 132
        case .icmpv4: return type == 0x0800 && proto == 1
        case .icmpv6: return icmpv6
        case .nd: return icmpv6 && code == 0 && (kind == 135 || kind == 136)
        case .ndSolicit: return icmpv6 && code == 0 && kind == 135
        case .ndAdvert: return icmpv6 && code == 0 && kind == 136
        case .ct: return key.ctState & (CTState.new | CTState.established | CTState.reply) != 0
        }
    }
}

/// Bits of ct_state.
public enum CTState {
    public static let new: UInt16 = 0x01
    public static let established: UInt16 = 0x02
    public static let related: UInt16 = 0x04
    public static let reply: UInt16 = 0x08
    public static let invalid: UInt16 = 0x10
    public static let tracked: UInt16 = 0x20
    public static let sourceNAT: UInt16 = 0x40
    public static let destinationNAT: UInt16 = 0x80
    /// The names of the bits in text, the least significant first.
    public static let names = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"]
}

extension FlowMask {
    /// The bits above the flow label in its word. A flow that matches the label whole has them in its mask; one that only
    /// rewrites it has not, and the two print differently. No key has them.
    public static let wholeLabel: UInt64 = 0xfff << 52
    public var matchesWholeLabel: Bool { bits.words[Location.ipv6Label.word] & Self.wholeLabel != 0 }
}
