// A strict parser of JSON text (RFC 8259) over bytes. Input is hostile: depth is limited, every
// string must be valid UTF-8, and nothing here can trap.

/// Where and why a text is not JSON.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Offset into the text, in bytes.
    public let offset: Int
    public let reason: String
    public var description: String { "byte \(offset): \(reason)" }
}

extension JSON {
    /// Deepest nesting of arrays and objects that is accepted.
    public static let maximumDepth = 256

    /// Parses a text that holds exactly one value.
    public init(parsing bytes: [UInt8]) throws(JSONError) {
        var parser = JSONParser(bytes: bytes)
        self = try parser.document()
    }

    /// Parses a text that holds exactly one value.
    public init(parsing text: String) throws(JSONError) { try self.init(parsing: Array(text.utf8)) }
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSON {
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw error("trailing garbage") }
        return value
    }

    private func error(_ reason: String) -> JSONError { JSONError(offset: position, reason: reason) }
    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func consume(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .array(try array(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try keyword("true", .bool(true))
        case UInt8(ascii: "f"): return try keyword("false", .bool(false))
        case UInt8(ascii: "n"): return try keyword("null", .null)
        case nil: throw error("unexpected end of input")
        case let byte? where byte == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte):
            return try number()
        default: throw error("syntax error at beginning of value")
        }
    }

    private mutating func keyword(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        for offset in 0..<text.utf8CodeUnitCount {
            let expected = text.withUTF8Buffer { $0[offset] }
            guard consume(expected) else { throw error("invalid keyword") }
        }
        return value
    }

    private mutating func array(depth: Int) throws(JSONError) -> [JSON] {
        guard depth < JSON.maximumDepth else { throw error("input exceeds maximum nesting depth \(JSON.maximumDepth)") }
        position += 1
        skipSpace()
        if consume(UInt8(ascii: "]")) { return [] }
        var elements: [JSON] = []
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if consume(UInt8(ascii: ",")) { continue }
            guard consume(UInt8(ascii: "]")) else { throw error("syntax error expecting ']' or ','") }
            return elements
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONObject {
        guard depth < JSON.maximumDepth else { throw error("input exceeds maximum nesting depth \(JSON.maximumDepth)") }
        position += 1
        var object = JSONObject()
        skipSpace()
        if consume(UInt8(ascii: "}")) { return object }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw error("syntax error parsing object expecting string") }
            let key = try string()
            skipSpace()
            guard consume(UInt8(ascii: ":")) else { throw error("syntax error parsing object expecting ':'") }
            object[key] = try value(depth: depth + 1)
            skipSpace()
            if consume(UInt8(ascii: ",")) { continue }
            guard consume(UInt8(ascii: "}")) else { throw error("syntax error expecting '}' or ','") }
            return object
        }
    }

    private mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        var all: UInt8 = 0
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
            all |= byte
            position += 1
        }
        guard next == UInt8(ascii: "\"") else { return try escapedString(Array(bytes[start..<position])) }
        let content = bytes[start..<position]
        // Nothing of ASCII alone can be invalid, and a check costs more than the rest.
        guard let text = all < 0x80 ? String(decoding: content, as: UTF8.self) : String(validating: content, as: UTF8.self) else {
            throw error("invalid UTF-8 sequence in string")
        }
        position += 1
        return text
    }

    private mutating func escapedString(_ prefix: [UInt8]) throws(JSONError) -> String {
        var content = prefix
        while true {
            guard let byte = next else { throw error("unexpected end of input in quoted string") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw error("invalid UTF-8 sequence in string")
                }
                return text
            case UInt8(ascii: "\\"): try escape(&content)
            case 0..<0x20: throw error("control characters must be escaped in quoted string")
            default: content.append(byte)
            }
        }
    }

    private mutating func escape(_ content: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw error("unexpected end of input in quoted string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0c)
        case UInt8(ascii: "n"): content.append(0x0a)
        case UInt8(ascii: "r"): content.append(0x0d)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xd800...0xdbff).contains(code), consume(UInt8(ascii: "\\")), consume(UInt8(ascii: "u")) {
                let low = try hexadecimal()
                guard (0xdc00...0xdfff).contains(low) else {
                    throw error("second half of escaped surrogate pair is not trailing surrogate")
                }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard code != 0 else { throw error("null bytes not supported in quoted strings") }
            guard let scalar = Unicode.Scalar(code) else { throw error("\\u escape is an unpaired surrogate") }
            content += UTF8.encode(scalar).map(Array.init) ?? []
        default: throw error("bad escape character in string")
        }
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw error("malformed \\u escape")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = position
        _ = consume(UInt8(ascii: "-"))
        let leadingZero = next == UInt8(ascii: "0")
        let count = digits()
        guard count > 0 else { throw error("'-' must be followed by digit") }
        guard !leadingZero || count == 1 else { throw error("leading zeros not allowed") }
        var isInteger = true
        if consume(UInt8(ascii: ".")) {
            isInteger = false
            guard digits() > 0 else { throw error("decimal point must be followed by digit") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw error("exponent must contain at least one digit") }
        }
        if isInteger, position - start <= 18 {
            // So few digits fit.
            let magnitude = bytes[start..<position].reduce(0) { $1 == UInt8(ascii: "-") ? $0 : $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
            return .integer(bytes[start] == UInt8(ascii: "-") ? -magnitude : magnitude)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .integer(integer) }
        guard let real = Double(text), real.isFinite else { throw error("number outside valid range") }
        // A real with an integral value is an integer, as in the original: 1.0 and 1e2 fit integer columns.
        if let integer = Int64(exactly: real), abs(real) < 0x1p53 { return .integer(integer) }
        return .real(real)
    }
}
