// A run of bits of a field, as actions name them: `NXM_NX_REG0[4..15]`, `reg0[3]`, `eth_src[]`, `metadata`.

/// The bits `low..<low + count` of a field, counted from its least significant.
public struct Subfield: Hashable, Sendable {
    public var field: FieldID
    public var low: Int
    public var count: Int

    public init(_ field: FieldID, low: Int, count: Int) {
        self.field = field
        self.low = low
        self.count = count
    }

    /// The whole field.
    public init(_ field: FieldID) { self.init(field, low: 0, count: field.row.bits) }

    /// A count of ones in the least significant places; all that 128 bits hold.
    @inlinable
    public var ones: UInt128 { count >= 128 ? .max : (1 << UInt128(max(count, 0))) - 1 }

    /// The bits of the field that the subfield covers.
    @inlinable
    public var fieldMask: UInt128 { low >= 128 ? 0 : ones << UInt128(low) }

    @inlinable
    public var isWholeField: Bool { low == 0 && count == field.row.bits }

    public func value(in key: borrowing FlowKey) -> UInt128 {
        low >= 128 ? 0 : (field.value(in: key) >> UInt128(low)) & ones
    }

    public func set(_ value: UInt128, in key: inout FlowKey) {
        guard low < 128 else { return }
        field.set((value & ones) << UInt128(low), mask: fieldMask, in: &key)
    }

    /// Makes a mask match the subfield's bits.
    public func match(in mask: inout FlowMask) { field.match(fieldMask, in: &mask) }

    /// Requires the value in the subfield's bits, leaving the field's other bits as they were matched.
    public func set(_ value: UInt128, in match: inout Match) {
        guard low < 128 else { return }
        let old = field.value(in: match.key) & ~fieldMask
        field.set(
            old | (value & ones) << UInt128(low), mask: field.value(in: match.mask) | fieldMask, in: &match)
    }
}

/// Why a text is no subfield. The description is what ovs-ofctl says.
public struct SubfieldError: Error, CustomStringConvertible {
    public let description: String
}

extension Subfield: CustomStringConvertible {
    public var description: String {
        var text = ""
        write(to: &text)
        return text
    }

    public func write(to text: inout String) {
        let row = field.row
        text += row.header(version: 0)?.name ?? field.name
        if isWholeField {
            text += "[]"
        } else if count == 1 {
            text += "[\(low)]"
        } else {
            text += "[\(low)..\(low + count - 1)]"
        }
    }

    /// Parses a subfield at the start of `text` and removes it from there.
    public init(parsing text: inout Substring) throws(SubfieldError) {
        let whole = text
        let end = text.firstIndex { !($0.isLetter || $0.isNumber || $0 == "_") } ?? text.endIndex
        let name = text[..<end]
        guard let field = FieldID(named: name) else {
            throw SubfieldError(description: "\(whole): unknown field `\(name)'")
        }
        text = text[end...]
        let width = field.row.bits
        guard text.first == "[" else {
            self.init(field)
            return
        }
        guard let close = text.firstIndex(of: "]") else {
            throw SubfieldError(description: "\(whole): missing [] around bit range")
        }
        let range = text[text.index(after: text.startIndex)..<close]
        text = text[text.index(after: close)...]
        if range.isEmpty {
            self.init(field)
            return
        }
        let bounds = range.split(separator: ".", omittingEmptySubsequences: true)
        guard let first = bounds.first.flatMap({ Int($0) }), first >= 0,
            let last = bounds.count == 1 ? first : bounds.count == 2 ? Int(bounds[1]) : nil, last >= 0,
            bounds.count == 1 ? !range.contains(".") : range.contains("..")
        else {
            throw SubfieldError(description: "\(whole): syntax error expecting [] or [<bit>] or [<start>..<end>]")
        }
        guard first <= last else {
            throw SubfieldError(description: "\(whole): starting bit \(first) is after ending bit \(last)")
        }
        guard first < width else {
            throw SubfieldError(
                description: "\(whole): starting bit \(first) is not valid because field is only \(width) bits wide")
        }
        guard last < width else {
            throw SubfieldError(
                description: "\(whole): ending bit \(last) is not valid because field is only \(width) bits wide")
        }
        self.init(field, low: first, count: last - first + 1)
    }

    /// Parses a text that is one subfield and nothing else.
    public init(parsing text: some StringProtocol) throws(SubfieldError) {
        var rest = Substring(text)
        try self.init(parsing: &rest)
        guard rest.isEmpty else {
            throw SubfieldError(description: "\(text): trailing garbage following field or subfield")
        }
    }
}
