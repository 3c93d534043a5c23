// OpenFlow port numbers. Inside the switch they are those of OpenFlow 1.0, 16 bits wide with the reserved ports from 0xff00;
// OpenFlow 1.1 and later move the reserved ports up to 0xffffff00 on the wire.

/// An OpenFlow port in Open vSwitch's internal numbering, 0 to 0xffff.
public struct OFPort: RawRepresentable, Hashable, Comparable, Sendable {
    public var rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    @inlinable
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// The first number that no port of a bridge can have.
    public static let max = OFPort(0xff00)
    /// Only in the action set's output: nothing set yet.
    public static let unset = OFPort(0xfff7)
    public static let inPort = OFPort(0xfff8)
    public static let table = OFPort(0xfff9)
    public static let normal = OFPort(0xfffa)
    public static let flood = OFPort(0xfffb)
    public static let all = OFPort(0xfffc)
    public static let controller = OFPort(0xfffd)
    public static let local = OFPort(0xfffe)
    /// OFPP_NONE of OpenFlow 1.0; OFPP_ANY of later versions.
    public static let none = OFPort(0xffff)

    @inlinable
    public static func < (a: OFPort, b: OFPort) -> Bool { a.rawValue < b.rawValue }

    /// True for the reserved ports that have a name.
    public var isReserved: Bool { rawValue >= Self.unset.rawValue }

    /// The number on the wire of OpenFlow 1.1 and later.
    @inlinable
    public var wire32: UInt32 { rawValue >= 0xff00 && rawValue <= 0xffff ? rawValue | 0xffff_0000 : rawValue }

    /// The number on the wire of OpenFlow 1.0.
    @inlinable
    public var wire16: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

    /// The port that an OpenFlow 1.1 or later message means. Nil: no port can have the number (OFPBAC_BAD_OUT_PORT in actions).
    @inlinable
    public init?(wire32 n: UInt32) {
        if n < 0xff00 {
            self.init(n)
        } else if n >= 0xffff_ff00 {
            self.init(n & 0xffff)
        } else {
            return nil
        }
    }

    private static let names: [(OFPort, String)] = [
        (.inPort, "IN_PORT"), (.table, "TABLE"), (.normal, "NORMAL"), (.flood, "FLOOD"), (.all, "ALL"),
        (.controller, "CONTROLLER"), (.local, "LOCAL"), (.none, "ANY"), (.unset, "UNSET"),
    ]

    /// The name of a reserved port, as ovs-ofctl prints it.
    public var reservedName: String? { isReserved ? Self.names.first { $0.0 == self }?.1 : nil }

    /// Parses a reserved name, in either case, or a number of 16 or 32 bits. Port names are the caller's.
    public init?(text: some StringProtocol) {
        if let n = parseUnsigned(text), n <= 0xffff_ffff {
            guard n <= 0xffff || n >= 0xffff_ff00 else { return nil }
            self.init(UInt32(n) & 0xffff)
            return
        }
        let upper = text.uppercased()
        if upper == "NONE" {
            self = .none
            return
        }
        guard let named = Self.names.first(where: { $0.1 == upper }) else { return nil }
        self = named.0
    }
}

extension OFPort: CustomStringConvertible {
    public var description: String { reservedName ?? String(rawValue) }
}

/// A number in decimal, hexadecimal (0x) or octal (0), as strtoul(3) with base 0 reads it.
func parseUnsigned(_ text: some StringProtocol) -> UInt64? {
    if text.hasPrefix("0x") || text.hasPrefix("0X") { return UInt64(text.dropFirst(2), radix: 16) }
    if text.hasPrefix("0"), text.count > 1 { return UInt64(text.dropFirst(), radix: 8) }
    guard let c = text.utf8.first, c >= 0x30, c <= 0x39 else { return nil }
    return UInt64(text)
}
