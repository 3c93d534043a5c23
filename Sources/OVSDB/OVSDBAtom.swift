// Atoms: the scalar values of the database (RFC 7047 section 5.1, <atom>).

/// The type of an atom.
public enum OVSDBAtomicType: String, Sendable, Hashable {
    case integer, real, boolean, string, uuid

    /// The value that a column of this type has by default.
    public var defaultAtom: OVSDBAtom {
        switch self {
        case .integer: .integer(0)
        case .real: .real(0)
        case .boolean: .boolean(false)
        case .string: .string("")
        case .uuid: .uuid(.zero)
        }
    }
}

/// A scalar value. Ordered within a type.
public enum OVSDBAtom: Sendable, Hashable, Comparable {
    case integer(Int64)
    case real(Double)
    case boolean(Bool)
    case string(String)
    case uuid(UUID)

    public static func < (left: OVSDBAtom, right: OVSDBAtom) -> Bool {
        switch (left, right) {
        case (.integer(let left), .integer(let right)): left < right
        case (.real(let left), .real(let right)): left < right
        case (.boolean(let left), .boolean(let right)): !left && right
        case (.string(let left), .string(let right)): left < right
        case (.uuid(let left), .uuid(let right)): left < right
        default: left.rank < right.rank
        }
    }

    private var rank: Int {
        switch self {
        case .integer: 0
        case .real: 1
        case .boolean: 2
        case .string: 3
        case .uuid: 4
        }
    }

    /// Reads an atom of `type`. `named` resolves `["named-uuid", NAME]` within a transaction.
    public init(json: JSON, type: OVSDBAtomicType, named: ((String) -> UUID?)? = nil) throws(OVSDBError) {
        switch (type, json) {
        case (.integer, .integer(let value)): self = .integer(value)
        case (.real, .integer(let value)): self = .real(Double(value))
        case (.real, .real(let value)): self = .real(value)
        case (.boolean, .bool(let value)): self = .boolean(value)
        case (.string, .string(let value)): self = .string(value)
        case (.uuid, .array(let pair)) where pair.count == 2:
            guard let tag = pair[0].stringValue, let text = pair[1].stringValue else {
                throw .syntax(json, "expected [\"uuid\", <string>]")
            }
            if tag == "uuid", let uuid = UUID(text) {
                self = .uuid(uuid)
            } else if tag == "named-uuid", named != nil, !OVSDBAtom.isIdentifier(text) {
                throw .syntax(json, "named-uuid string is not a valid <id>")
            } else if tag == "named-uuid", let named, let uuid = named(text) {
                self = .uuid(uuid)
            } else if tag == "uuid" {
                throw .syntax(json, "\"\(text)\" is not a valid UUID")
            } else {
                throw .syntax(json, "expected [\"uuid\", <string>]")
            }
        case (.uuid, _): throw .syntax(json, "expected [\"uuid\", <string>]")
        default: throw .syntax(json, "expected \(type.rawValue)")
        }
    }

    /// Whether `text` is an `<id>`: a letter or underscore, then those and digits.
    static func isIdentifier(_ text: String) -> Bool {
        func isLetter(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "_") || byte < 0x80 && Character(Unicode.Scalar(byte)).isLetter }
        guard let first = text.utf8.first, isLetter(first) else { return false }
        return text.utf8.allSatisfy { isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    public var json: JSON {
        switch self {
        case .integer(let value): .integer(value)
        case .real(let value): .real(value)
        case .boolean(let value): .bool(value)
        case .string(let value): .string(value)
        case .uuid(let value): .array([.string("uuid"), .string(value.description)])
        }
    }

    public var type: OVSDBAtomicType {
        switch self {
        case .integer: .integer
        case .real: .real
        case .boolean: .boolean
        case .string: .string
        case .uuid: .uuid
        }
    }
}

extension OVSDBAtom: CustomStringConvertible {
    /// As error messages print it.
    public var description: String {
        switch self {
        case .integer(let value): String(value)
        case .real(let value): JSON.text(of: value)
        case .boolean(let value): String(value)
        case .string(let value): value
        case .uuid(let value): value.description
        }
    }
}
