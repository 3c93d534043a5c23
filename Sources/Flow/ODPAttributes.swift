// The datapath's key attributes: one row for each that is a plain list of fields. Text in and out (ODPText) and the
// checks of what a flow must hold derive from these rows. Names are those of the OVS_KEY_ATTR_* attributes' text form.

/// How a datapath field is written.
enum ODPFormat {
    case decimal, hex, mac, ipv4, ipv6, fragment, tcpFlags, ctState
    /// A mask of eight bits makes the value hexadecimal; one of 32 has all its digits, and zero is 0x0, too.
    case byte, word
    /// MPLS prints its masks with a fixed prefix.
    case mplsLabel, mplsTC, mplsTTL, mplsBOS
}

struct ODPField {
    let name: String
    let location: FieldLocation
    let format: ODPFormat
}

struct ODPAttribute {
    let name: String
    let fields: [ODPField]
    /// `name(value)` instead of `name(field=value,...)`.
    let isScalar: Bool

    init(_ name: String, _ fields: [ODPField]) {
        self.name = name
        self.fields = fields
        isScalar = false
    }
    init(_ name: String, scalar location: FieldLocation, _ format: ODPFormat) {
        self.name = name
        fields = [ODPField(name: "", location: location, format: format)]
        isScalar = true
    }

    func maskIsEmpty(_ mask: FlowMask) -> Bool { fields.allSatisfy { mask.isWild($0.location) } }

    // Metadata, in the order of the text.
    static let skbPriority = ODPAttribute("skb_priority", scalar: Location.skbPriority, .hex)
    static let skbMark = ODPAttribute("skb_mark", scalar: Location.pktMark, .hex)
    static let ctState = ODPAttribute("ct_state", scalar: Location.ctState, .ctState)
    static let ctZone = ODPAttribute("ct_zone", scalar: Location.ctZone, .hex)
    static let ctMark = ODPAttribute("ct_mark", scalar: Location.ctMark, .hex)
    static let ctLabel = ODPAttribute("ct_label", scalar: Location.ctLabel, .hex)
    static let ctTuple4 = ODPAttribute(
        "ct_tuple4",
        [
            .init(name: "src", location: Location.ctNwSrc, format: .ipv4),
            .init(name: "dst", location: Location.ctNwDst, format: .ipv4),
            .init(name: "proto", location: Location.ctNwProto, format: .decimal),
            .init(name: "tp_src", location: Location.ctTpSrc, format: .decimal),
            .init(name: "tp_dst", location: Location.ctTpDst, format: .decimal),
        ])
    static let ctTuple6 = ODPAttribute(
        "ct_tuple6",
        [
            .init(name: "src", location: Location.ctIPv6Src, format: .ipv6),
            .init(name: "dst", location: Location.ctIPv6Dst, format: .ipv6),
            .init(name: "proto", location: Location.ctNwProto, format: .decimal),
            .init(name: "src_port", location: Location.ctTpSrc, format: .decimal),
            .init(name: "dst_port", location: Location.ctTpDst, format: .decimal),
        ])
    static let recircID = ODPAttribute("recirc_id", scalar: Location.recircID, .hex)
    static let dpHash = ODPAttribute("dp_hash", scalar: Location.dpHash, .hex)
    static let packetType = ODPAttribute(
        "packet_type",
        [
            .init(name: "ns", location: FieldLocation(58, 48, 16), format: .decimal),
            .init(name: "id", location: FieldLocation(58, 32, 16), format: .hex),
        ])

    // Headers.
    static let eth = ODPAttribute(
        "eth",
        [
            .init(name: "src", location: Location.ethSrc, format: .mac),
            .init(name: "dst", location: Location.ethDst, format: .mac),
        ])
    static let ipv4 = ODPAttribute(
        "ipv4",
        [
            .init(name: "src", location: Location.nwSrc, format: .ipv4),
            .init(name: "dst", location: Location.nwDst, format: .ipv4),
            .init(name: "proto", location: Location.nwProto, format: .decimal),
            .init(name: "tos", location: Location.nwTOS, format: .hex),
            .init(name: "ttl", location: Location.nwTTL, format: .decimal),
            .init(name: "frag", location: Location.nwFrag, format: .fragment),
        ])
    static let ipv6 = ODPAttribute(
        "ipv6",
        [
            .init(name: "src", location: Location.ipv6Src, format: .ipv6),
            .init(name: "dst", location: Location.ipv6Dst, format: .ipv6),
            .init(name: "label", location: Location.ipv6Label, format: .hex),
            .init(name: "proto", location: Location.nwProto, format: .decimal),
            .init(name: "tclass", location: Location.nwTOS, format: .hex),
            .init(name: "hlimit", location: Location.nwTTL, format: .decimal),
            .init(name: "frag", location: Location.nwFrag, format: .fragment),
        ])
    private static func ports(_ name: String) -> ODPAttribute {
        ODPAttribute(
            name,
            [
                .init(name: "src", location: Location.tpSrc, format: .decimal),
                .init(name: "dst", location: Location.tpDst, format: .decimal),
            ])
    }
    static let tcp = ports("tcp")
    static let udp = ports("udp")
    static let sctp = ports("sctp")
    static let tcpFlags = ODPAttribute("tcp_flags", scalar: Location.tcpFlags, .tcpFlags)
    private static func typeAndCode(_ name: String) -> ODPAttribute {
        ODPAttribute(
            name,
            [
                .init(name: "type", location: FieldLocation(82, 48, 8), format: .decimal),
                .init(name: "code", location: FieldLocation(82, 32, 8), format: .decimal),
            ])
    }
    static let icmp = typeAndCode("icmp")
    static let icmpv6 = typeAndCode("icmpv6")
    static let nd = ODPAttribute(
        "nd",
        [
            .init(name: "target", location: Location.ndTarget, format: .ipv6),
            .init(name: "sll", location: Location.arpSHA, format: .mac),
            .init(name: "tll", location: Location.arpTHA, format: .mac),
        ])
    static let ndExtensions = ODPAttribute(
        "nd_ext",
        [
            .init(name: "nd_reserved", location: Location.igmpGroup, format: .hex),
            .init(name: "nd_options_type", location: Location.ndOptionsType, format: .decimal),
        ])
    static let arp = ODPAttribute(
        "arp",
        [
            .init(name: "sip", location: Location.nwSrc, format: .ipv4),
            .init(name: "tip", location: Location.nwDst, format: .ipv4),
            .init(name: "op", location: Location.nwProto, format: .decimal),
            .init(name: "sha", location: Location.arpSHA, format: .mac),
            .init(name: "tha", location: Location.arpTHA, format: .mac),
        ])
    static let nsh = ODPAttribute(
        "nsh",
        [
            .init(name: "flags", location: Location.nshFlags, format: .byte),
            .init(name: "ttl", location: Location.nshTTL, format: .byte),
            .init(name: "mdtype", location: Location.nshMDType, format: .byte),
            .init(name: "np", location: Location.nshNP, format: .byte),
            .init(name: "spi", location: Location.nshSPI, format: .word),
            .init(name: "si", location: Location.nshSI, format: .byte),
            .init(name: "c1", location: Location.nshC(0), format: .word),
            .init(name: "c2", location: Location.nshC(1), format: .word),
            .init(name: "c3", location: Location.nshC(2), format: .word),
            .init(name: "c4", location: Location.nshC(3), format: .word),
        ])
    static let mpls = ODPAttribute(
        "mpls",
        [
            .init(name: "label", location: Location.mplsLabel, format: .mplsLabel),
            .init(name: "tc", location: Location.mplsTC, format: .mplsTC),
            .init(name: "ttl", location: Location.mplsTTL, format: .mplsTTL),
            .init(name: "bos", location: Location.mplsBOS, format: .mplsBOS),
        ])

    /// The attributes that stand for one row of fields, by name, as the parser takes them.
    static let byName: [String: ODPAttribute] = {
        let all = [
            skbPriority, skbMark, ctState, ctZone, ctMark, ctLabel, ctTuple4, ctTuple6, recircID, dpHash, packetType, eth,
            ipv4, ipv6, tcp, udp, sctp, tcpFlags, icmp, icmpv6, nd, ndExtensions, arp, nsh,
        ]
        return Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
    }()

    /// The attributes above layer 2 that a key with these values holds.
    static func upperLayers(of key: FlowKey) -> [ODPAttribute] {
        switch key.ethType {
        case 0x0800, 0x86dd:
            let isV6 = key.ethType == 0x86dd
            var found = [isV6 ? ipv6 : ipv4]
            guard key.nwFrag & IPFragment.later == 0 else { return found }
            switch (key.nwProto, isV6) {
            case (6, _): found += [tcp, tcpFlags]
            case (17, _): found.append(udp)
            case (132, _): found.append(sctp)
            case (1, false): found.append(icmp)
            case (58, true):
                found.append(icmpv6)
                if key.tpDst == 0, key.tpSrc == 135 || key.tpSrc == 136 { found.append(nd) }
            default: break
            }
            return found
        case 0x0806, 0x8035: return [arp]
        case 0x894f: return [nsh]
        default: return []
        }
    }
}

/// Names of flag bits, lowest bit first in each table.
public enum FlagNames {
    public static let tcp: [(name: String, bit: UInt16)] = [
        ("fin", 0x001), ("syn", 0x002), ("rst", 0x004), ("psh", 0x008), ("ack", 0x010), ("urg", 0x020),
        ("ece", 0x040), ("cwr", 0x080), ("ns", 0x100), ("[200]", 0x200), ("[400]", 0x400), ("[800]", 0x800),
    ]
    /// In the order that conntrack state prints.
    public static let ctState: [(name: String, bit: UInt16)] = [
        ("new", 0x01), ("est", 0x02), ("rel", 0x04), ("rpl", 0x08), ("inv", 0x10), ("trk", 0x20),
        ("snat", 0x40), ("dnat", 0x80),
    ]
    public static let tunnel: [(name: String, bit: UInt16)] = [
        ("df", TunnelFlag.dontFragment), ("csum", TunnelFlag.checksum), ("key", TunnelFlag.key), ("oam", TunnelFlag.oam),
    ]

    /// `a|b`; bits without a name follow in hexadecimal.
    public static func text(_ value: UInt16, _ names: [(name: String, bit: UInt16)]) -> String {
        var parts: [String] = []
        var left = value
        for (name, bit) in names where value & bit != 0 {
            parts.append(name)
            left &= ~bit
        }
        if left != 0 { parts.append(AddressText.hex(left)) }
        return parts.isEmpty ? "0" : parts.joined(separator: "|")
    }

    /// `+a-b` for the bits of the mask.
    public static func maskedText(_ value: UInt16, _ mask: UInt16, _ names: [(name: String, bit: UInt16)]) -> String {
        names.filter { mask & $0.bit != 0 }.map { (value & $0.bit != 0 ? "+" : "-") + $0.name }.joined()
    }

    /// Parses `a|b`, `+a-b` or `value/mask`; nil when it is none of them.
    public static func parse(_ text: String, _ names: [(name: String, bit: UInt16)], all: UInt16)
        -> (value: UInt16, mask: UInt16)?
    {
        func bit(_ name: Substring) -> UInt16? { names.first { $0.name == name }?.bit }
        if let first = text.first, first == "+" || first == "-" {
            var value: UInt16 = 0
            var mask: UInt16 = 0
            var rest = text[...]
            while let sign = rest.first {
                guard sign == "+" || sign == "-" else { return nil }
                rest = rest.dropFirst()
                let name = rest.prefix { $0 != "+" && $0 != "-" }
                guard let b = bit(name), mask & b == 0 else { return nil }
                mask |= b
                if sign == "+" { value |= b }
                rest = rest.dropFirst(name.count)
            }
            return (value, mask)
        }
        if let first = text.first, first.isNumber {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, let v = AddressText.parseInteger(parts[0]), v <= 0xffff else { return nil }
            guard parts.count == 2 else { return (UInt16(v), all) }
            guard let m = AddressText.parseInteger(parts[1]), m <= 0xffff else { return nil }
            return (UInt16(v), UInt16(m))
        }
        var value: UInt16 = 0
        for name in text.split(separator: "|", omittingEmptySubsequences: false) {
            guard let b = bit(name) else { return nil }
            value |= b
        }
        return (value, all)
    }
}
