// JSON values (RFC 8259) as OVSDB uses them: integers and reals are distinct, objects keep their order.

/// A JSON value.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case real(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

/// The members of a JSON object, in order of appearance, with lookup by name in constant time.
/// Two objects are equal when they have equal members, in whatever order.
public struct JSONObject: Sendable, ExpressibleByDictionaryLiteral {
    public private(set) var keys: [String] = []
    public private(set) var values: [JSON] = []
    /// Positions by name; kept only for objects too big to scan.
    private var index: [String: Int] = [:]
    private static let scanned = 8

    public init() {}

    public init(dictionaryLiteral elements: (String, JSON)...) {
        for (key, value) in elements { self[key] = value }
    }

    public var count: Int { keys.count }
    public var isEmpty: Bool { keys.isEmpty }

    private func position(_ key: String) -> Int? {
        keys.count <= JSONObject.scanned ? keys.firstIndex(of: key) : index[key]
    }

    /// The member of that name. Setting an absent one appends it; setting nil removes it.
    public subscript(key: String) -> JSON? {
        get { position(key).map { values[$0] } }
        set {
            if let position = position(key) {
                if let newValue {
                    values[position] = newValue
                } else {
                    keys.remove(at: position)
                    values.remove(at: position)
                    rebuildIndex()
                }
            } else if let newValue {
                keys.append(key)
                values.append(newValue)
                if keys.count > JSONObject.scanned {
                    if index.isEmpty { rebuildIndex() } else { index[key] = keys.count - 1 }
                }
            }
        }
    }

    private mutating func rebuildIndex() {
        index.removeAll()
        guard keys.count > JSONObject.scanned else { return }
        for (position, key) in keys.enumerated() { index[key] = position }
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> Zip2Sequence<[String], [JSON]>.Iterator { zip(keys, values).makeIterator() }
}

extension JSONObject: Hashable {
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        return left.allSatisfy { key, value in right[key] == value }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(Set(keys))
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(nilLiteral: ()) { self = .null }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}

extension JSON {
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    public var integerValue: Int64? { if case .integer(let value) = self { value } else { nil } }
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var arrayValue: [JSON]? { if case .array(let value) = self { value } else { nil } }
    public var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }
    public var isNull: Bool { if case .null = self { true } else { false } }
    /// The value of an integer or a real.
    public var realValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .real(let value): value
        default: nil
        }
    }

    /// The member of that name, when this is an object that has it.
    public subscript(key: String) -> JSON? { objectValue?[key] }
    /// The element at that position, when this is an array that has it.
    public subscript(position: Int) -> JSON? {
        guard let array = arrayValue, array.indices.contains(position) else { return nil }
        return array[position]
    }
}
