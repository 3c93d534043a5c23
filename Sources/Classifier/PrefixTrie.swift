// A trie of prefixes that tells, for a value, which prefix lengths can match and how many of its bits that took to know.
// With it a lookup skips subtables whose prefixes cannot match, and pins down only the bits that showed it.
//
// Nodes compress runs of bits. A copy shares its nodes: changing a shared node copies it.

struct PrefixTrie {
    private final class Node {
        /// Left-aligned; bits behind `length` are zero.
        var prefix: UInt128
        var length: Int
        /// Rules whose prefix ends here.
        var rules: Int
        var zero: Node?
        var one: Node?

        init(_ prefix: UInt128, _ length: Int, rules: Int, _ zero: Node? = nil, _ one: Node? = nil) {
            self.prefix = prefix
            self.length = length
            self.rules = rules
            self.zero = zero
            self.one = one
        }
        var isLeaf: Bool { zero == nil && one == nil }
        func copy() -> Node { Node(prefix, length, rules: rules, zero, one) }
    }

    private var root: Node?

    var isEmpty: Bool { root == nil }

    private static func top(_ value: UInt128, _ length: Int) -> UInt128 {
        length == 0 ? 0 : length >= 128 ? value : value & ~(UInt128.max >> UInt128(length))
    }
    private static func bit(_ value: UInt128, _ at: Int) -> Bool { value >> UInt128(127 - at) & 1 != 0 }
    private static func shifted(_ value: UInt128, _ by: Int) -> UInt128 { by >= 128 ? 0 : value << UInt128(by) }
    private static func commonBits(_ a: UInt128, _ b: UInt128, limit: Int) -> Int {
        min((a ^ b).leadingZeroBitCount, limit)
    }

    /// What a lookup found.
    struct Result {
        /// Bit n-1 is set when rules have a prefix of length n that the value matches.
        var lengths: UInt128 = 0
        /// How many leading bits of the value decide this.
        var bitsUsed = 0

        func has(length: Int) -> Bool { length > 0 && lengths >> UInt128(length - 1) & 1 != 0 }
        static let everything = Result(lengths: .max, bitsUsed: 0)
    }

    /// - Parameter value: left-aligned, `width` bits wide.
    func lookup(_ value: UInt128, width: Int) -> Result {
        var result = Result()
        var rest = value
        var matched = 0
        var previous: Node?
        var node = root
        while let n = node {
            let equal = Self.commonBits(n.prefix, rest, limit: n.length)
            matched += equal
            if equal < n.length {
                result.bitsUsed = matched + 1
                return result
            }
            if n.rules > 0, matched > 0 { result.lengths |= 1 << UInt128(matched - 1) }
            if matched >= width {
                result.bitsUsed = width
                return result
            }
            rest = Self.shifted(rest, n.length)
            previous = n
            node = Self.bit(rest, 0) ? n.one : n.zero
        }
        result.bitsUsed = previous.map { $0.isLeaf } ?? true ? matched : matched + 1
        return result
    }

    /// Adds a rule's prefix; `value` is left-aligned, and `length` is at least 1.
    mutating func insert(_ value: UInt128, length: Int) {
        Self.insert(&root, Self.top(value, length), length)
    }

    private static func insert(_ slot: inout Node?, _ value: UInt128, _ length: Int) {
        guard slot != nil else {
            slot = Node(value, length, rules: 1)
            return
        }
        if !isKnownUniquelyReferenced(&slot) { slot = slot?.copy() }
        guard let node = slot else { return }
        let equal = commonBits(node.prefix, value, limit: min(node.length, length))
        if equal < node.length {
            // Split the edge.
            let below = Node(shifted(node.prefix, equal), node.length - equal, rules: node.rules, node.zero, node.one)
            node.prefix = top(node.prefix, equal)
            node.length = equal
            node.rules = 0
            node.zero = bit(below.prefix, 0) ? nil : below
            node.one = bit(below.prefix, 0) ? below : nil
        }
        if equal == length {
            node.rules += 1
            return
        }
        let rest = shifted(value, equal)
        if bit(rest, 0) {
            insert(&node.one, rest, length - equal)
        } else {
            insert(&node.zero, rest, length - equal)
        }
    }

    /// Removes a rule's prefix that was inserted before.
    mutating func remove(_ value: UInt128, length: Int) {
        Self.remove(&root, Self.top(value, length), length)
    }

    private static func remove(_ slot: inout Node?, _ value: UInt128, _ length: Int) {
        guard slot != nil else { return }
        if !isKnownUniquelyReferenced(&slot) { slot = slot?.copy() }
        guard let node = slot, length >= node.length, commonBits(node.prefix, value, limit: node.length) == node.length
        else { return }
        if length == node.length {
            node.rules -= 1
        } else {
            let rest = shifted(value, node.length)
            if bit(rest, 0) {
                remove(&node.one, rest, length - node.length)
            } else {
                remove(&node.zero, rest, length - node.length)
            }
        }
        guard node.rules <= 0 else { return }
        if node.isLeaf {
            slot = nil
        } else if node.zero == nil || node.one == nil, let child = node.zero ?? node.one {
            // Join with the only child.
            slot = Node(
                node.prefix | (node.length >= 128 ? 0 : child.prefix >> UInt128(node.length)),
                node.length + child.length, rules: child.rules, child.zero, child.one)
        }
    }
}
