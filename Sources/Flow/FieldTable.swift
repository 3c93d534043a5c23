// The one field table: what a field is. Every text and wire codec derives from it; the rows are in FieldRows.swift.
//
// A field is a `FieldID`; what is known of it is its `FieldRow`, a trivial value, so that reading it costs no allocation and no
// reference counting. Wire identities are `FieldHeader`s: class, experimenter and number, and the version that first has them.

/// A field that a flow can match on or an action can touch, as in ovs-fields(7).
///
/// The order is that in which fields are listed on the wire (table features) and in text.
public enum FieldID: UInt8, CaseIterable, Sendable {
    case dpHash, recircID, packetType, conjID, tunID, tunSrc, tunDst, tunIPv6Src, tunIPv6Dst, tunFlags, tunTTL
    case tunTOS, tunGBPID, tunGBPFlags, tunERSPANIdx, tunERSPANVer, tunERSPANDir, tunERSPANHwid, tunGTPUFlags
    case tunGTPUMsgType, tunMetadata0, tunMetadata1, tunMetadata2, tunMetadata3, tunMetadata4, tunMetadata5
    case tunMetadata6, tunMetadata7, tunMetadata8, tunMetadata9, tunMetadata10, tunMetadata11, tunMetadata12
    case tunMetadata13, tunMetadata14, tunMetadata15, tunMetadata16, tunMetadata17, tunMetadata18, tunMetadata19
    case tunMetadata20, tunMetadata21, tunMetadata22, tunMetadata23, tunMetadata24, tunMetadata25, tunMetadata26
    case tunMetadata27, tunMetadata28, tunMetadata29, tunMetadata30, tunMetadata31, tunMetadata32, tunMetadata33
    case tunMetadata34, tunMetadata35, tunMetadata36, tunMetadata37, tunMetadata38, tunMetadata39, tunMetadata40
    case tunMetadata41, tunMetadata42, tunMetadata43, tunMetadata44, tunMetadata45, tunMetadata46, tunMetadata47
    case tunMetadata48, tunMetadata49, tunMetadata50, tunMetadata51, tunMetadata52, tunMetadata53, tunMetadata54
    case tunMetadata55, tunMetadata56, tunMetadata57, tunMetadata58, tunMetadata59, tunMetadata60, tunMetadata61
    case tunMetadata62, tunMetadata63, metadata, inPort, inPortOXM, actsetOutput, skbPriority, pktMark, ctState
    case ctZone, ctMark, ctLabel, ctNwProto, ctNwSrc, ctNwDst, ctIPv6Src, ctIPv6Dst, ctTpSrc, ctTpDst, reg0
    case reg1, reg2, reg3, reg4, reg5, reg6, reg7, reg8, reg9, reg10, reg11, reg12, reg13, reg14, reg15, xreg0
    case xreg1, xreg2, xreg3, xreg4, xreg5, xreg6, xreg7, xxreg0, xxreg1, xxreg2, xxreg3, ethSrc, ethDst
    case ethType, vlanTCI, dlVLAN, vlanVID, dlVLANPCP, vlanPCP, mplsLabel, mplsTC, mplsBOS, mplsTTL, ipv4Src
    case ipv4Dst, ipv6Src, ipv6Dst, ipv6Label, ipProto, ipDSCP, ipDSCPShifted, ipECN, ipTTL, ipFrag, arpOp
    case arpSPA, arpTPA, arpSHA, arpTHA, tcpSrc, tcpDst, tcpFlags, udpSrc, udpDst, sctpSrc, sctpDst, icmpv4Type
    case icmpv4Code, icmpv6Type, icmpv6Code, ndTarget, ndSLL, ndTLL, ndReserved, ndOptionsType, nshFlags, nshTTL
    case nshMDType, nshNP, nshSPI, nshSI, nshC1, nshC2, nshC3, nshC4

    /// What is known of the field.
    @inlinable
    public var row: FieldRow { FieldRow.table[Int(rawValue)] }

    /// The name that Open vSwitch prints.
    public var name: String { row.name.description }

    /// The field's place in the key: nil for tunnel options, which the TLV map places.
    @inlinable
    public var location: FieldLocation? { row.location }

    /// True for tun_metadata0 to tun_metadata63.
    @inlinable
    public var isTunnelOption: Bool { rawValue >= Self.tunMetadata0.rawValue && rawValue <= Self.tunMetadata63.rawValue }

    /// The number of a tunnel option field, 0 to 63.
    @inlinable
    public var tunnelOptionIndex: Int? { isTunnelOption ? Int(rawValue - Self.tunMetadata0.rawValue) : nil }

    /// True for reg0 to reg15, xreg0 to xreg7 and xxreg0 to xxreg3.
    @inlinable
    public var isRegister: Bool { rawValue >= Self.reg0.rawValue && rawValue <= Self.xxreg3.rawValue }

    /// The field called `name`: its name or extra name, or the name of one of its headers (NXM_OF_ETH_SRC).
    public init?(named name: some StringProtocol) {
        guard let id = FieldRow.byName[String(name)] else { return nil }
        self = id
    }

    public static func reg(_ n: Int) -> FieldID? { Self.nth(.reg0, n, 16) }
    public static func xreg(_ n: Int) -> FieldID? { Self.nth(.xreg0, n, 8) }
    public static func xxreg(_ n: Int) -> FieldID? { Self.nth(.xxreg0, n, 4) }
    public static func tunMetadata(_ n: Int) -> FieldID? { Self.nth(.tunMetadata0, n, 64) }

    private static func nth(_ first: FieldID, _ n: Int, _ count: Int) -> FieldID? {
        n >= 0 && n < count ? FieldID(rawValue: first.rawValue + UInt8(n)) : nil
    }
}

/// How a field's value is written in text.
public enum FieldFormat: Sendable {
    case decimal, hexadecimal, ethernet, ipv4, ipv6, port10, port11, frag, tunFlags, tcpFlags, ctState, packetType
}

/// What the rest of the key must be for a field to mean something.
public enum FieldPrerequisite: Sendable {
    case none, ethernet, arp, vlanVID, ipv4, ipv6, ip, nsh, ct, mpls, tcp, udp, sctp, icmpv4, icmpv6, nd, ndSolicit, ndAdvert
}

/// One of the identities of a field on the wire.
public struct FieldHeader: Hashable, Sendable {
    /// The OpenFlow versions, by their number in a message's header.
    public enum Since: UInt8, Sendable {
        case v10 = 1, v12 = 3, v13 = 4, v15 = 6
    }

    /// oxm_class.
    public let oxmClass: UInt16
    /// 0 unless the class is that of experimenters, 0xffff.
    public let experimenter: UInt32
    /// oxm_field, 7 bits.
    public let number: UInt8
    /// The first version that has this identity; 1.0 for all of NXM.
    public let since: Since
    /// NXM_OF_ETH_SRC and the like.
    public let nameText: StaticString

    public var name: String { nameText.description }
    /// Bytes that the header takes on the wire, 4 or 8.
    @inlinable
    public var size: Int { oxmClass == 0xffff ? 8 : 4 }

    /// The first word of the header. `length` is that of the payload, in bytes, mask included.
    @inlinable
    public func word(hasMask: Bool, length: Int) -> UInt32 {
        UInt32(oxmClass) << 16 | UInt32(number) << 9 | (hasMask ? 0x100 : 0)
            | UInt32(truncatingIfNeeded: length + size - 4) & 0xff
    }

    static func of(_ c: UInt16, _ e: UInt32, _ n: UInt8, _ name: StaticString, _ since: Since) -> FieldHeader {
        FieldHeader(oxmClass: c, experimenter: e, number: n, since: since, nameText: name)
    }
    static func nxmOF(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0x0000, 0, n, name, .v10) }
    static func nxmNX(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0x0001, 0, n, name, .v10) }
    static func ericsson(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0x1000, 0, n, name, .v10) }
    static func oxmBasic(_ n: UInt8, _ name: StaticString, _ since: Since = .v12) -> FieldHeader {
        of(0x8000, 0, n, name, since)
    }
    static func oxmPacketRegs(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0x8001, 0, n, name, .v13) }
    static func onf(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0xffff, 0x4f4e_4600, n, name, .v13) }
    static func nsh(_ n: UInt8, _ name: StaticString) -> FieldHeader { of(0xffff, 0x005a_d650, n, name, .v10) }
    static func nxET(_ n: UInt8, _ name: StaticString, _ since: Since = .v10) -> FieldHeader { of(0xffff, 0x0000_2320, n, name, since) }

    @inlinable
    public static func == (a: FieldHeader, b: FieldHeader) -> Bool {
        a.oxmClass == b.oxmClass && a.experimenter == b.experimenter && a.number == b.number
    }

    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(oxmClass)
        hasher.combine(experimenter)
        hasher.combine(number)
    }
}

/// What is known of a field.
public struct FieldRow: Sendable {
    public let id: FieldID
    public let name: StaticString
    public let alias: StaticString?
    /// Size of the value on the wire, in bytes; the largest, for tunnel options.
    public let bytes: Int
    /// How many of the bits, the least significant, may be nonzero.
    public let bits: Int
    /// Whether a match may have any mask, or must be exact.
    public let maskable: Bool
    public let format: FieldFormat
    public let prerequisite: FieldPrerequisite
    public let writable: Bool
    public let location: FieldLocation?
    /// The identities on the wire, in the order of their versions. None: text only.
    public let header1: FieldHeader?
    public let header2: FieldHeader?
    public let header3: FieldHeader?

    init(
        _ id: FieldID, _ name: StaticString, alias: StaticString? = nil, bytes: Int, bits: Int, maskable: Bool = false,
        _ format: FieldFormat, _ prerequisite: FieldPrerequisite = .none, writable: Bool = false,
        at location: FieldLocation? = nil, _ header1: FieldHeader? = nil, _ header2: FieldHeader? = nil,
        _ header3: FieldHeader? = nil
    ) {
        self.id = id
        self.name = name
        self.alias = alias
        self.bytes = bytes
        self.bits = bits
        self.maskable = maskable
        self.format = format
        self.prerequisite = prerequisite
        self.writable = writable
        self.location = location
        self.header1 = header1
        self.header2 = header2
        self.header3 = header3
    }

    /// The value with every bit set that may be; all ones for tunnel options.
    @inlinable
    public var allOnes: UInt128 { bits >= 128 ? .max : (1 << UInt128(bits)) - 1 }

    @inlinable
    public static var table: [FieldRow] { all }

    public var headers: [FieldHeader] { [header1, header2, header3].compactMap { $0 } }

    /// The identity to use in a message of OpenFlow `version` (the number in the message's header; 0 for text): the one of the
    /// latest version that is not later than it, or else the first.
    @inlinable
    public func header(version: UInt8) -> FieldHeader? {
        guard var best = header1 else { return nil }
        if let h = header2, h.since.rawValue <= version { best = h }
        if let h = header3, h.since.rawValue <= version { best = h }
        return best
    }

    /// The field and identity that stand on the wire as class, experimenter and number.
    public static func find(oxmClass: UInt16, experimenter: UInt32, number: UInt8) -> FieldID? {
        let n = Int(number & 0x7f)
        switch oxmClass {
        case 0x0000: return index.nxmOF[n]
        case 0x0001: return index.nxmNX[n]
        case 0x8000: return index.oxm[n]
        default: return index.rest[UInt64(oxmClass) << 48 | UInt64(experimenter) << 8 | UInt64(n)]
        }
    }

    static let byName: [String: FieldID] = {
        var names: [String: FieldID] = [:]
        for row in all {
            names[row.name.description] = row.id
            if let alias = row.alias { names[alias.description] = row.id }
            for h in row.headers { names[h.name] = row.id }
        }
        return names
    }()

    private struct Index: Sendable {
        var nxmOF = [FieldID?](repeating: nil, count: 128)
        var nxmNX = [FieldID?](repeating: nil, count: 128)
        var oxm = [FieldID?](repeating: nil, count: 128)
        var rest: [UInt64: FieldID] = [:]
    }

    private static let index: Index = {
        var index = Index()
        for row in all {
            for h in row.headers {
                let n = Int(h.number)
                switch h.oxmClass {
                case 0x0000: index.nxmOF[n] = row.id
                case 0x0001: index.nxmNX[n] = row.id
                case 0x8000: index.oxm[n] = row.id
                default: index.rest[UInt64(h.oxmClass) << 48 | UInt64(h.experimenter) << 8 | UInt64(n)] = row.id
                }
            }
        }
        return index
    }()
}
