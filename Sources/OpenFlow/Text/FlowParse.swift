// Text into an exact flow key: what `ofproto/trace BRIDGE FLOW` is given.

import Flow
import Packet

/// Flow text that makes no sense; the text is the real daemon's.
public struct FlowSyntaxError: Error, CustomStringConvertible {
    public let description: String
}

/// Words that stand for protocols, with the values that they set.
enum ProtocolWords {
    static let all: [String: (ethType: UInt16, proto: UInt8)] = [
        "ip": (0x0800, 0), "ipv4": (0x0800, 0), "ip4": (0x0800, 0), "icmp": (0x0800, 1), "tcp": (0x0800, 6),
        "udp": (0x0800, 17), "sctp": (0x0800, 132), "ipv6": (0x86dd, 0), "ip6": (0x86dd, 0), "icmp6": (0x86dd, 58),
        "tcp6": (0x86dd, 6), "udp6": (0x86dd, 17), "sctp6": (0x86dd, 132), "rarp": (0x8035, 0), "arp": (0x0806, 0),
        "mpls": (0x8847, 0), "mplsm": (0x8848, 0),
    ]
}

extension FlowKey {
    /// Parses `key=value,...` into a key; fields that are not named are zero, and each needs its prerequisites before it.
    /// - Parameter port: finds a port by name.
    public init(parsing text: String, port: (String) -> OFPort?) throws(FlowSyntaxError) {
        var named = FlowMask()
        try self.init(parsing: text, named: &named, port: port)
    }

    /// The same, and the fields that are named.
    public init(parsing text: String, named: inout FlowMask, port: (String) -> OFPort?) throws(FlowSyntaxError) {
        self.init()
        inPort = OFPort.none.rawValue
        var depth = 0
        let words = text.split { character in
            // `packet_type=(1,0x800)` is one word.
            if character == "(" { depth += 1 } else if character == ")" { depth -= 1 }
            return depth <= 0 && (character == "," || character == " " || character == "\t" || character == "\n")
        }
        for word in words {
            let sides = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = sides[0]
            let value = sides.count == 2 ? sides[1] : ""
            if sides.count == 1, let words = ProtocolWords.all[name] {
                ethType = words.ethType
                named.setExact(Location.ethType)
                if words.proto != 0 {
                    nwProto = words.proto
                    named.setExact(Location.nwProto)
                }
                continue
            }
            if name == "eth" { continue }
            guard let field = FieldID(named: name) else { throw FlowSyntaxError(description: "unknown field \(name)") }
            guard field.prerequisitesHold(self) else {
                throw FlowSyntaxError(description: "prerequisites not met for setting \(name)")
            }
            let parsed: UInt128
            do throws(FlowSyntaxError) {
                parsed = try FieldText.parseExact(field, value, port: port)
            } catch {
                throw FlowSyntaxError(description: "bad value for \(name) (\(error))")
            }
            field.set(parsed, in: &self)
            field.matchAll(in: &named)
            if vlanTCI != 0, vlanTPID == 0 { vlanTPID = EtherType.vlan }
        }
    }
}

extension FieldText {
    /// A value without a mask.
    static func parseExact(_ field: FieldID, _ text: String, port: (String) -> OFPort?) throws(FlowSyntaxError) -> UInt128 {
        func fail(_ what: String) -> FlowSyntaxError { FlowSyntaxError(description: "\(text): \(what)") }
        let row = field.row
        if text.contains("/"), row.format != .port10, row.format != .port11 {
            throw fail("wildcards not allowed here")
        }
        switch row.format {
        case .ethernet:
            guard let address = AddressText.parseMAC(text) else { throw fail("invalid Ethernet address") }
            return UInt128(address)
        case .ipv4:
            guard let address = AddressText.parseIPv4(text) else { throw fail("invalid IP address") }
            return UInt128(address)
        case .ipv6:
            guard let address = AddressText.parseIPv6(text) else { throw fail("invalid IPv6 address") }
            return address
        case .port10, .port11:
            guard let found = OFPort(text: text) ?? port(text) else {
                throw fail("invalid or unknown port for \(field.name)")
            }
            return UInt128(found.rawValue)
        case .frag:
            switch text {
            case "no": return 0
            case "first": return 1
            case "later": return 3
            case "yes", "not_later": throw fail("wildcards not allowed here")
            default: throw fail("unknown fragment type (valid types are \"no\", \"yes\", \"first\", \"later\", \"not_later\"")
            }
        case .tcpFlags, .ctState, .tunFlags:
            let names = row.format == .tcpFlags ? FlagNames.tcp : row.format == .ctState ? FlagNames.ctState : FlagNames.tunnel
            if text.hasPrefix("+") || text.hasPrefix("-") { throw fail("wildcards not allowed here") }
            guard let flags = FlagNames.parse(text, names, all: 0xffff) else {
                throw fail("unknown flag(s)")
            }
            return UInt128(flags.value)
        case .packetType:
            let parts = text.filter { $0 != "(" && $0 != ")" }.split(separator: ",")
            guard parts.count == 2, let ns = AddressText.parseInteger(parts[0]), let type = AddressText.parseInteger(parts[1]),
                ns <= 0xffff, type <= 0xffff
            else { throw fail("not a valid packet type") }
            return ns << 16 | type
        case .decimal, .hexadecimal:
            guard let value = AddressText.parseInteger(text) else { throw fail("bad syntax for \(field.name)") }
            guard value <= (row.bytes >= 16 ? .max : (1 << UInt128(row.bytes * 8)) - 1) else {
                throw fail("value too large for \(row.bytes)-byte field \(field.name)")
            }
            guard field.isValid(value) else { throw fail("not a valid value for field \(field.name)") }
            return value
        }
    }
}
