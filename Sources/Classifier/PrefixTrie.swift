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

        /// Adds a rule's prefix to this node, or tells below which it belongs, and how many bits are behind it then.
        func descend(_ value: UInt128, _ wanted: Int) -> (Unmanaged<Node>, Int)? {
            let equal = PrefixTrie.commonBits(prefix, value, limit: min(length, wanted))
            if equal < length {
                // Split the edge.
                let below = Node(PrefixTrie.shifted(prefix, equal), length - equal, rules: rules, zero, one)
                prefix = PrefixTrie.top(prefix, equal)
                length = equal
                rules = 0
                let isOne = PrefixTrie.bit(below.prefix, 0)
                zero = isOne ? nil : below
                one = isOne ? below : nil
            }
            if equal == wanted {
                rules += 1
                return nil
            }
            let rest = PrefixTrie.shifted(value, equal)
            let isOne = PrefixTrie.bit(rest, 0)
            if let child = isOne ? PrefixTrie.own(&one) : PrefixTrie.own(&zero) { return (child, equal) }
            let leaf = Node(rest, wanted - equal, rules: 1)
            if isOne { one = leaf } else { zero = leaf }
            return nil
        }

        func copy() -> Node { Node(prefix, length, rules: rules, zero, one) }
    }

    private var root: Node?

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
        var isLeaf = true
        // The trie holds its nodes, so that the way down counts no references.
        var node = root.map { Unmanaged.passUnretained($0) }
        while let n = node {
            let (prefix, length, rules) = n._withUnsafeGuaranteedRef { ($0.prefix, $0.length, $0.rules) }
            let equal = Self.commonBits(prefix, rest, limit: length)
            matched += equal
            if equal < length {
                result.bitsUsed = matched + 1
                return result
            }
            if rules > 0, matched > 0 { result.lengths |= 1 << UInt128(matched - 1) }
            if matched >= width {
                result.bitsUsed = width
                return result
            }
            rest = Self.shifted(rest, length)
            isLeaf = n._withUnsafeGuaranteedRef { $0.isLeaf }
            let isOne = Self.bit(rest, 0)
            node = n._withUnsafeGuaranteedRef { (isOne ? $0.one : $0.zero).map { Unmanaged.passUnretained($0) } }
        }
        result.bitsUsed = isLeaf ? matched : matched + 1
        return result
    }

    /// Adds a rule's prefix; `value` is left-aligned, and `length` is at least 1.
    mutating func insert(_ value: UInt128, length: Int) {
        var (rest, length) = (Self.top(value, length), length)
        guard var node = Self.own(&root) else {
            root = Node(rest, length, rules: 1)
            return
        }
        while let (next, taken) = node._withUnsafeGuaranteedRef({ $0.descend(rest, length) }) {
            (rest, length) = (Self.shifted(rest, taken), length - taken)
            node = next
        }
    }

    /// The node in a slot, made safe to change. The trie holds it, so that the way down counts no references.
    private static func own(_ slot: inout Node?) -> Unmanaged<Node>? {
        if slot != nil, !isKnownUniquelyReferenced(&slot) { slot = slot?.copy() }
        return slot.map { Unmanaged.passUnretained($0) }
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
