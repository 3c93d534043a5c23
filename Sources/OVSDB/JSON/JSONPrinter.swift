// Prints JSON in the compact form that Open vSwitch prints: no white space, members in order.
import Glibc

extension JSON: CustomStringConvertible {
    /// Compact text.
    public var description: String { text() }

    /// Compact text; `sorted` prints the members of objects in order of their names.
    public func text(sorted: Bool = false) -> String { String(decoding: bytes(sorted: sorted), as: UTF8.self) }

    /// Compact text as UTF-8.
    public func bytes(sorted: Bool = false) -> [UInt8] {
        var output: [UInt8] = []
        write(to: &output, sorted: sorted)
        return output
    }

    /// Appends the compact text, as UTF-8.
    public func write(to output: inout [UInt8], sorted: Bool = false) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .integer(let value): output += String(value).utf8
        case .real(let value): output += JSON.text(of: value).utf8
        case .string(let value): JSON.write(string: value, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (position, element) in elements.enumerated() {
                if position > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output, sorted: sorted)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let object):
            output.append(UInt8(ascii: "{"))
            let positions =
                sorted
                ? object.keys.indices.sorted { object.keys[$0] < object.keys[$1] }
                : Array(object.keys.indices)
            for (count, position) in positions.enumerated() {
                if count > 0 { output.append(UInt8(ascii: ",")) }
                JSON.write(string: object.keys[position], to: &output)
                output.append(UInt8(ascii: ":"))
                object.values[position].write(to: &output, sorted: sorted)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    private static func write(string: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""): output += "\\\"".utf8
            case UInt8(ascii: "\\"): output += "\\\\".utf8
            case 0x08: output += "\\b".utf8
            case 0x0c: output += "\\f".utf8
            case 0x0a: output += "\\n".utf8
            case 0x0d: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                output += "\\u00".utf8
                output.append(digits[Int(byte >> 4)])
                output.append(digits[Int(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// The shortest of 15 and 17 significant digits that reads back as the same number.
    static func text(of real: Double) -> String {
        guard real.isFinite else { return "null" }
        for digits in [15, 17] as [Int32] {
            var buffer = [CChar](repeating: 0, count: 40)
            let length = withVaList([digits, real]) { vsnprintf(&buffer, buffer.count, "%.*g", $0) }
            let text = String(decoding: buffer.prefix(Int(max(0, length))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if digits == 17 || Double(text) == real { return text }
        }
        return "0"
    }
}
