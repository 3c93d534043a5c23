// Datapath flow text into a key and a mask: what `dpctl/add-flow`, `netdev-dummy/receive` and `ofproto/trace` are given.

import Packet

/// A datapath flow as it was written: which attributes, and their values.
public struct ODPFlow {
    public var key = FlowKey()
    /// Bits that the text matches. Attributes that are not there are wildcarded.
    public var mask = FlowMask()
    /// Names of the attributes in the order written.
    public var attributes: [String] = []
    /// What the attributes say of the flow as a whole (the real daemon's "fitness").
    public var fit: Fit = .perfect

    public enum Fit: Sendable { case perfect, tooMuch, tooLittle, error }

    /// The flow to compose a packet from: as `key`, with what the attributes imply.
    public init(parsing text: String, port: @escaping (String) -> UInt32? = { _ in nil }) throws(ODPSyntaxError) {
        key.inPort = .max
        var parser = ODPParser(text: Array(text.utf8), flow: self, port: port)
        try parser.parse()
        self = parser.flow
        fit = assess()
    }

    /// Compares the attributes with those that a key of these values has.
    private func assess() -> Fit {
        var expected: Set<String> = []
        if EtherType.isMPLS(key.ethType) { expected.insert("mpls") }
        for attribute in ODPAttribute.upperLayers(of: key) { expected.insert(attribute.name) }
        if mask.isWild(Location.nwProto) || key.nwFrag & IPFragment.later != 0 {
            expected.subtract(["tcp", "udp", "sctp", "icmp", "icmpv6", "tcp_flags", "nd"])
        }
        let layered: Set<String> = [
            "mpls", "ipv4", "ipv6", "tcp", "udp", "sctp", "icmp", "icmpv6", "tcp_flags", "nd", "arp", "nsh",
        ]
        let present = Set(attributes).intersection(layered)
        if !present.isSubset(of: expected) { return .tooMuch }
        return present.isSuperset(of: expected) ? .perfect : .tooLittle
    }
}

/// Where datapath flow text could not be understood.
public struct ODPSyntaxError: Error, CustomStringConvertible {
    /// The text from the point of failure on.
    public let rest: String
    public var description: String { "syntax error at \(rest)" }
}

private struct ODPParser {
    let text: [UInt8]
    var flow: ODPFlow
    let port: (String) -> UInt32?
    var at = 0
    /// How many `encap(` are open.
    var depth = 0

    init(text: [UInt8], flow: ODPFlow, port: @escaping (String) -> UInt32?) {
        self.text = text
        self.flow = flow
        self.port = port
    }

    func fail(_ position: Int) -> ODPSyntaxError {
        ODPSyntaxError(rest: String(decoding: text[min(position, text.count)...], as: UTF8.self))
    }

    mutating func parse() throws(ODPSyntaxError) {
        while true {
            while at < text.count, text[at] == UInt8(ascii: ",") || text[at] == 32 || text[at] == 9 || text[at] == 10 {
                at += 1
            }
            if at >= text.count { break }
            if depth > 0, text[at] == UInt8(ascii: ")") {
                depth -= 1
                at += 1
                continue
            }
            try parseAttribute()
        }
        if depth > 0 { throw fail(text.count) }
    }

    mutating func parseAttribute() throws(ODPSyntaxError) {
        let start = at
        var end = at
        while end < text.count, text[end] != UInt8(ascii: "("), text[end] != UInt8(ascii: ","),
            text[end] != UInt8(ascii: ")"), text[end] != UInt8(ascii: ":")
        { end += 1 }
        let name = String(decoding: text[at..<end], as: UTF8.self)
        if name == "ufid" {
            // ufid:UUID names the flow; it is no part of the key.
            while at < text.count, text[at] != UInt8(ascii: ","), text[at] != 32 { at += 1 }
            return
        }
        guard end < text.count, text[end] == UInt8(ascii: "(") else { throw fail(start) }
        if name == "encap" {
            depth += 1
            guard depth <= maxVLANHeaders else { throw fail(start) }
            at = end + 1
            return
        }
        guard let close = matchingParenthesis(end) else { throw fail(start) }
        let body = String(decoding: text[(end + 1)..<close], as: UTF8.self)
        guard !flow.attributes.contains(name) || name == "eth_type" || name == "vlan" else { throw fail(start) }
        guard apply(name, body) else { throw fail(start) }
        flow.attributes.append(name)
        at = close + 1
    }

    func matchingParenthesis(_ open: Int) -> Int? {
        var level = 0
        for i in open..<text.count {
            if text[i] == UInt8(ascii: "(") { level += 1 }
            if text[i] == UInt8(ascii: ")") {
                level -= 1
                if level == 0 { return i }
            }
        }
        return nil
    }

    /// Returns false when the body makes no sense for this attribute.
    mutating func apply(_ name: String, _ body: String) -> Bool {
        switch name {
        case "in_port": return applyInPort(body)
        case "eth_type": return applyEthType(body)
        case "vlan": return applyVLAN(body)
        case "mpls": return applyMPLS(body)
        case "tunnel": return applyTunnel(body)
        case "nd_ext" where body.isEmpty: return true
        default: break
        }
        guard let attribute = ODPAttribute.byName[name] else { return false }
        if attribute.isScalar { return set(attribute.fields[0], body) }
        return applyFields(body, attribute.fields)
    }

    mutating func applyFields(_ body: String, _ fields: [ODPField]) -> Bool {
        guard let pairs = Self.pairs(body) else { return false }
        for (name, value) in pairs {
            guard let field = fields.first(where: { $0.name == name }) else { return false }
            guard set(field, value) else { return false }
        }
        return true
    }

    /// `a=1,b=2` split; an empty body is an empty list.
    static func pairs(_ body: String) -> [(String, String)]? {
        if body.isEmpty { return [] }
        var out: [(String, String)] = []
        // By bytes: commas, equal signs and spaces are no part of any other character.
        for part in body.utf8.split(separator: UInt8(ascii: ",")) {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            out.append((String(Substring(part[..<equals].trimmingSpaces)), String(Substring(part[part.index(after: equals)...]))))
        }
        return out
    }

    mutating func set(_ field: ODPField, _ text: String) -> Bool {
        guard let (value, mask) = Self.value(text, field.format, field.location.allOnes) else { return false }
        guard value <= field.location.allOnes, mask <= field.location.allOnes else { return false }
        flow.key[field.location] = value
        flow.mask.bits[field.location] = mask
        return true
    }

    static func value(_ text: String, _ format: ODPFormat, _ ones: UInt128) -> (UInt128, UInt128)? {
        switch format {
        case .fragment:
            switch text {
            case "no": return (0, ones)
            case "first": return (1, ones)
            case "later": return (3, ones)
            default: return nil
            }
        case .tcpFlags:
            guard let r = FlagNames.parse(text, FlagNames.tcp, all: 0xfff) else { return text.isEmpty ? (0, ones) : nil }
            return (UInt128(r.value), r.mask == 0xfff ? ones : UInt128(r.mask))
        case .ctState:
            guard let r = FlagNames.parse(text, FlagNames.ctState, all: 0xffff) else {
                return text.isEmpty ? (0, ones) : nil
            }
            return (UInt128(r.value), UInt128(r.mask))
        default:
            break
        }
        guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")) else { return scalar(text[...], format).map { ($0, ones) } }
        // What has another slash is no number.
        guard let value = scalar(text[..<slash], format), let mask = scalar(text[text.utf8.index(after: slash)...], format) else {
            return nil
        }
        return (value, mask)
    }

    static func scalar(_ text: Substring, _ format: ODPFormat) -> UInt128? {
        switch format {
        case .mac: AddressText.parseMAC(text).map { UInt128($0) }
        case .ipv4: AddressText.parseIPv4(text).map { UInt128($0) }
        case .ipv6: AddressText.parseIPv6(text)
        case .mplsLabel, .mplsTC, .mplsTTL, .mplsBOS, .decimal, .hex, .byte, .word, .fragment, .tcpFlags, .ctState:
            AddressText.parseInteger(text)
        }
    }

    mutating func applyInPort(_ body: String) -> Bool {
        let parts = body.split(separator: "/", omittingEmptySubsequences: false)
        if let n = AddressText.parseInteger(parts.first ?? ""), n <= 0xffff_ffff {
            flow.key.inPort = UInt32(n)
            if parts.count == 2 {
                guard let m = AddressText.parseInteger(parts[1]), m <= 0xffff_ffff else { return false }
                flow.mask.bits.inPort = UInt32(m)
            } else {
                flow.mask.bits.inPort = .max
            }
            return parts.count <= 2
        }
        guard let n = port(body) else { return false }
        flow.key.inPort = n
        flow.mask.bits.inPort = .max
        return true
    }

    mutating func applyEthType(_ body: String) -> Bool {
        guard let (value, mask) = Self.value(body, .hex, 0xffff), value <= 0xffff, mask <= 0xffff else { return false }
        let type = UInt16(value)
        if EtherType.isVLAN(type), depth < maxVLANHeaders {
            // The type before a tag; a tag or encapsulation follows.
            if depth == 0 {
                flow.key.vlanTPID = type
                flow.mask.bits.vlanTPID = 0xffff
            } else {
                flow.key.innerVLANTPID = type
                flow.mask.bits.innerVLANTPID = 0xffff
            }
            flow.key.ethType = type
            flow.mask.bits.ethType = UInt16(mask)
            return true
        }
        flow.key.ethType = type
        flow.mask.bits.ethType = UInt16(mask)
        return true
    }

    mutating func applyVLAN(_ body: String) -> Bool {
        guard let pairs = Self.pairs(body) else { return false }
        var tci: UInt16 = 0x1000
        var mask: UInt16 = 0x1000
        for (name, text) in pairs {
            guard let (v, m) = Self.value(text, .hex, .max) else { return false }
            switch name {
            case "vid":
                guard v <= 0xfff else { return false }
                tci |= UInt16(v)
                mask |= UInt16(truncatingIfNeeded: m) & 0xfff
            case "pcp":
                guard v <= 7 else { return false }
                tci |= UInt16(v) << 13
                mask |= (UInt16(truncatingIfNeeded: m) & 7) << 13
            case "cfi":
                guard v <= 1 else { return false }
                if v == 0 { tci &= ~0x1000 }
            default: return false
            }
        }
        if depth == 0 {
            flow.key.vlanTCI = tci
            flow.mask.bits.vlanTCI = mask
        } else {
            flow.key.innerVLANTCI = tci
            flow.mask.bits.innerVLANTCI = mask
        }
        return true
    }

    mutating func applyMPLS(_ body: String) -> Bool {
        if body.hasPrefix("lse") {
            guard let pairs = Self.pairs(body), pairs.count <= maxMPLSLabels else { return false }
            for (i, pair) in pairs.enumerated() {
                guard pair.0 == "lse\(i)", let (v, m) = Self.value(pair.1, .hex, 0xffff_ffff), v <= 0xffff_ffff,
                    m <= 0xffff_ffff
                else { return false }
                flow.key.setMPLSLSE(i, UInt32(v))
                flow.mask.bits.setMPLSLSE(i, UInt32(m))
            }
            return true
        }
        return applyFields(body, ODPAttribute.mpls.fields)
    }

    mutating func applyTunnel(_ body: String) -> Bool {
        let rows: [ODPField] = [
            .init(name: "tun_id", location: Location.tunID, format: .hex),
            .init(name: "src", location: Location.tunSrc, format: .ipv4),
            .init(name: "dst", location: Location.tunDst, format: .ipv4),
            .init(name: "ipv6_src", location: Location.tunIPv6Src, format: .ipv6),
            .init(name: "ipv6_dst", location: Location.tunIPv6Dst, format: .ipv6),
            .init(name: "tos", location: Location.tunTOS, format: .hex),
            .init(name: "ttl", location: Location.tunTTL, format: .decimal),
            .init(name: "tp_src", location: Location.tunTpSrc, format: .decimal),
            .init(name: "tp_dst", location: Location.tunTpDst, format: .decimal),
        ]
        var rest = body
        if let range = rest.firstRange(of: "flags(") {
            guard let close = rest[range.upperBound...].firstIndex(of: ")") else { return false }
            let flags = String(rest[range.upperBound..<close])
            if !flags.isEmpty {
                guard let r = FlagNames.parse(flags, FlagNames.tunnel, all: 0xf) else { return false }
                flow.key.tunFlags = r.value
                flow.mask.bits.tunFlags = r.mask
            } else {
                flow.mask.bits.tunFlags = 0xf
            }
            rest.removeSubrange(range.lowerBound...close)
        }
        return applyFields(rest, rows)
    }
}

extension Substring.UTF8View {
    /// Without the spaces at both ends.
    fileprivate var trimmingSpaces: Substring.UTF8View {
        var rest = drop { $0 == UInt8(ascii: " ") }
        while rest.last == UInt8(ascii: " ") { rest.removeLast() }
        return rest
    }
}
