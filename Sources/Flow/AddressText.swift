// Text of addresses and numbers, as the tools of this field print and read them.

public enum AddressText {
    public static func mac(_ address: UInt64) -> String {
        var out = ""
        out.reserveCapacity(17)
        for i in 0..<6 {
            if i > 0 { out.append(":") }
            let byte = Int(address >> UInt64(40 - 8 * i) & 0xff)
            out.append(hexDigits[byte >> 4])
            out.append(hexDigits[byte & 15])
        }
        return out
    }

    private static let hexDigits = Array("0123456789abcdef")

    public static func ipv4(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 0xff).\(address >> 8 & 0xff).\(address & 0xff)"
    }

    /// RFC 5952, and as glibc's inet_ntop prints: IPv4-compatible and IPv4-mapped addresses end in dotted decimal.
    public static func ipv6(_ address: UInt128) -> String {
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: address >> UInt128(112 - 16 * $0)) }
        var best = (start: -1, length: 1)
        var i = 0
        while i < 8 {
            var j = i
            while j < 8, groups[j] == 0 { j += 1 }
            if j - i > best.length { best = (i, j - i) }
            i = max(j, i + 1)
        }
        var out = ""
        i = 0
        while i < 8 {
            if i == best.start {
                out += "::"
                i += best.length
                continue
            }
            if !out.isEmpty, !out.hasSuffix("::") { out += ":" }
            if i == 6, best.start == 0, best.length == 6 || best.length == 5 && groups[5] == 0xffff {
                return out + ipv4(UInt32(truncatingIfNeeded: address))
            }
            out += String(groups[i], radix: 16)
            i += 1
        }
        return out.isEmpty ? "::" : out
    }

    /// C's `%#x`: no prefix for 0.
    public static func hex<T: BinaryInteger>(_ value: T) -> String {
        value == 0 ? "0" : "0x" + String(value, radix: 16)
    }

    public static func parseMAC<S: StringProtocol>(_ text: S) -> UInt64? {
        groups(text, separator: UInt8(ascii: ":"), count: 6, digits: 2, radix: 16)
    }

    public static func parseIPv4<S: StringProtocol>(_ text: S) -> UInt32? {
        groups(text, separator: UInt8(ascii: "."), count: 4, digits: 3, radix: 10).map { UInt32(truncatingIfNeeded: $0) }
    }

    /// So many bytes, each of some digits, as one number.
    private static func groups<S: StringProtocol>(_ text: S, separator: UInt8, count: Int, digits most: Int, radix: UInt64) -> UInt64? {
        var number: UInt64 = 0
        var group: UInt64 = 0
        var digits = 0
        var complete = 0
        for byte in text.utf8 {
            if byte == separator {
                guard digits > 0 else { return nil }
                number = number << 8 | group
                (group, digits, complete) = (0, 0, complete + 1)
                guard complete < count else { return nil }
                continue
            }
            guard let digit = digit(byte), digit < radix, digits < most else { return nil }
            group = group * radix + digit
            digits += 1
            guard group <= 0xff else { return nil }
        }
        guard digits > 0, complete == count - 1 else { return nil }
        return number << 8 | group
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    public static func parseIPv6<S: StringProtocol>(_ text: S) -> UInt128? {
        let text = String(text)
        func groups(_ s: Substring) -> [UInt16]? {
            if s.isEmpty { return [] }
            var out: [UInt16] = []
            let parts = s.split(separator: ":", omittingEmptySubsequences: false)
            for (i, part) in parts.enumerated() {
                if i == parts.count - 1, part.contains(".") {
                    guard let v4 = parseIPv4(part) else { return nil }
                    out += [UInt16(v4 >> 16), UInt16(v4 & 0xffff)]
                } else {
                    guard (1...4).contains(part.utf8.count), let g = UInt16(part, radix: 16) else { return nil }
                    out.append(g)
                }
            }
            return out
        }
        var all: [UInt16]
        if let range = text.firstRange(of: "::") {
            guard let head = groups(text[..<range.lowerBound]), let tail = groups(text[range.upperBound...]),
                head.count + tail.count < 8
            else { return nil }
            all = head + [UInt16](repeating: 0, count: 8 - head.count - tail.count) + tail
        } else {
            guard let g = groups(text[...]), g.count == 8 else { return nil }
            all = g
        }
        return all.reduce(0) { $0 << 16 | UInt128($1) }
    }

    /// A C integer literal: decimal, 0x hexadecimal, or 0 octal.
    public static func parseInteger<S: StringProtocol>(_ text: S) -> UInt128? {
        let lower = text.lowercased()
        if lower.hasPrefix("0x") { return lower.count > 2 ? UInt128(lower.dropFirst(2), radix: 16) : nil }
        if lower.hasPrefix("0"), lower.count > 1 { return UInt128(lower.dropFirst(), radix: 8) }
        guard let first = lower.utf8.first, first >= 48, first <= 57 else { return nil }
        return UInt128(lower)
    }

    /// The number of leading ones when `mask` is a prefix of `width` bits, else nil.
    public static func prefixLength(_ mask: UInt128, width: Int) -> Int? {
        let ones: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        let inverted = ~mask & ones
        guard inverted & (inverted &+ 1) == 0 else { return nil }
        return width - (128 - inverted.leadingZeroBitCount)
    }

    /// The mask of `length` leading ones in `width` bits.
    public static func prefixMask(_ length: Int, width: Int) -> UInt128 {
        let ones: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        if length <= 0 { return 0 }
        if length >= width { return ones }
        return ones & ~((1 << UInt128(width - length)) - 1)
    }
}
