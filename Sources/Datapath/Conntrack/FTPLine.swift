// The lines of FTP's control connection that name a data connection: PORT and the answer 227 (RFC 959), EPRT and the answer 229
// (RFC 2428). Read from the octets of one segment, which are the client's or the server's to choose.

import Flow

/// What a line announces.
struct FTPLine {
    /// The address that the line gives, and the octets of the line that say it; nil: it gives a port alone.
    var address: (value: UInt128, text: Range<Int>)?
    /// How an address is written: `1,2,3,4`, or as usual.
    var usesCommas = false
    var port: UInt16

    enum Reading {
        /// It names no data connection.
        case other
        /// It would name one, were it well formed.
        case malformed
        case announcement(FTPLine)
    }

    /// Lines of interest are shorter.
    static let limit = 128

    /// Reads the beginning of a segment's data.
    static func read(_ octets: [UInt8], isReply: Bool, isIPv6: Bool) -> Reading {
        let end = octets.firstIndex { $0 == 13 || $0 == 10 } ?? octets.count
        let line = octets[..<end]
        let found: FTPLine?
        switch (String(decoding: line.prefix(4), as: UTF8.self).uppercased(), isReply, isIPv6) {
        case ("PORT", false, false), ("227 ", true, false): found = commas(line)
        case ("EPRT", false, _): found = extended(line, isIPv6: isIPv6)
        case ("229 ", true, _): found = extendedAnswer(line)
        default: return .other
        }
        return found.map { .announcement($0) } ?? .malformed
    }

    /// What stands in the line for another address.
    func text(of address: UInt128, isIPv6: Bool) -> [UInt8] {
        let text = isIPv6 ? AddressText.ipv6(address) : AddressText.ipv4(UInt32(truncatingIfNeeded: address))
        return text.utf8.map { usesCommas && $0 == UInt8(ascii: ".") ? UInt8(ascii: ",") : $0 }
    }

    private static func isDigit(_ octet: UInt8) -> Bool { octet >= 0x30 && octet <= 0x39 }

    /// `h1,h2,h3,h4,p1,p2`, somewhere behind the first space.
    private static func commas(_ line: ArraySlice<UInt8>) -> FTPLine? {
        guard let space = line.firstIndex(of: 0x20), let start = line[space...].firstIndex(where: isDigit) else { return nil }
        let end = line[start...].firstIndex { !isDigit($0) && $0 != UInt8(ascii: ",") } ?? line.endIndex
        let parts = line[start..<end].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard parts.count >= 6 else { return nil }
        let numbers = parts[..<6].compactMap { UInt8(String(decoding: $0, as: UTF8.self)) }
        guard numbers.count == 6 else { return nil }
        let address = numbers[..<4].reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        return FTPLine(
            address: (address, start..<parts[3].endIndex), usesCommas: true, port: UInt16(numbers[4]) << 8 | UInt16(numbers[5]))
    }

    /// `|1|132.235.1.2|6275|` or `|2|1080::8:800:200c:417a|5282|`.
    private static func extended(_ line: ArraySlice<UInt8>, isIPv6: Bool) -> FTPLine? {
        guard let space = line.firstIndex(of: 0x20), let start = line[space...].firstIndex(where: { $0 != 0x20 }) else { return nil }
        let parts = line[start...].split(separator: line[start], omittingEmptySubsequences: false)
        guard parts.count >= 5, let port = number(parts[3]), String(decoding: parts[1], as: UTF8.self) == (isIPv6 ? "2" : "1")
        else { return nil }
        let text = String(decoding: parts[2], as: UTF8.self)
        let address = isIPv6 ? AddressText.parseIPv6(text) : AddressText.parseIPv4(text).map { UInt128($0) }
        return address.map { FTPLine(address: ($0, parts[2].startIndex..<parts[2].endIndex), port: port) }
    }

    /// `(|||6446|)`.
    private static func extendedAnswer(_ line: ArraySlice<UInt8>) -> FTPLine? {
        guard let open = line.firstIndex(of: UInt8(ascii: "(")), open + 1 < line.endIndex else { return nil }
        let parts = line[(open + 1)...].split(separator: line[open + 1], omittingEmptySubsequences: false)
        guard parts.count >= 5, let port = number(parts[3]) else { return nil }
        return FTPLine(port: port)
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> UInt16? {
        guard octets.allSatisfy(isDigit), let port = UInt16(String(decoding: octets, as: UTF8.self)), port != 0 else { return nil }
        return port
    }
}
