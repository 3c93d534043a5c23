// A mask without its empty words, and a key reduced to the words of such a mask. Tables keep these instead of whole keys:
// a rule on five fields costs five words and not eighty-four.

/// The words of a mask that are not empty, in order. Immutable, shared by all that use the same mask.
public final class MiniMask: Hashable, Sendable {
    public typealias Word = (index: Int, bits: UInt64)
    /// Which word of the key, and which bits of it.
    public let words: [Word]
    /// The same words for lookups, to which counting references is most of the work.
    public let plain: Words
    /// A hash of the words. It begins with a random number, so that nobody outside can aim at equal ones.
    private let digest: UInt64
    private static let seed = UInt64.random(in: 1 ... .max)

    public init(_ mask: borrowing FlowMask) {
        let bits = mask.bits.words.span
        var count = 0
        for i in bits.indices where bits[i] != 0 { count += 1 }
        var words: [Word] = []
        words.reserveCapacity(count)
        var digest = Self.seed
        for i in bits.indices where bits[i] != 0 {
            words.append((i, bits[i]))
            digest = Self.mix(Self.mix(digest, UInt64(i)), bits[i])
        }
        self.words = words
        self.digest = digest
        plain = Words(words)
    }

    deinit { plain.deallocate() }

    public static func == (a: MiniMask, b: MiniMask) -> Bool {
        a === b || a.digest == b.digest && a.words.elementsEqual(b.words) { $0.index == $1.index && $0.bits == $1.bits }
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(digest) }

    /// Whether this is that mask.
    public func isSame(as mask: borrowing FlowMask) -> Bool {
        let bits = mask.bits.words.span
        var next = 0
        for i in bits.indices where bits[i] != 0 {
            guard next < words.count, words[next].index == i, words[next].bits == bits[i] else { return false }
            next += 1
        }
        return next == words.count
    }

    public var mask: FlowMask {
        var m = FlowMask()
        for w in words { m.bits.words[w.index] = w.bits }
        return m
    }

    /// The masked words of a key.
    public func reduce(_ key: borrowing FlowKey) -> [UInt64] {
        let key = key.words.span
        var values: [UInt64] = []
        values.reserveCapacity(words.count)
        for word in words { values.append(key[word.index] & word.bits) }
        return values
    }

    /// The key that `reduce` made `values` of, its other bits zero.
    public func expand(_ values: [UInt64]) -> FlowKey {
        var key = FlowKey()
        expand(values, into: &key)
        return key
    }

    /// Writes the words that `reduce` made into a key, whose other words stay.
    public func expand(_ values: [UInt64], into key: inout FlowKey) {
        for i in 0..<min(words.count, values.count) { key.words[words[i].index] = values[i] }
    }

    /// True when the key's masked words are `values`.
    @inline(__always)
    public func matches(_ key: borrowing FlowKey, _ values: [UInt64]) -> Bool { plain.matches(key, values) }

    @inlinable public static var hashBasis: UInt64 { 0x9e37_79b9_7f4a_7c15 }

    @inlinable @inline(__always)
    public static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let h = (hash ^ word) &* 0xff51_afd7_ed55_8ccd
        return h ^ h &>> 32
    }

    /// The hash of words that were reduced, continuing from `basis`; `Words.hash` is the same of a key's.
    @inline(__always)
    public static func hash(of values: [UInt64], words range: Range<Int>, basis: UInt64 = hashBasis) -> UInt64 {
        var h = basis
        for i in range { h = mix(h, values[i]) }
        return h
    }

    @inline(__always)
    private static func fold(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let (high, low) = (hash ^ word).multipliedFullWidth(by: 0xff51_afd7_ed55_8ccd)
        return high ^ low
    }

    /// A hash of a key's masked words and the mask, which nobody outside can foresee.
    public func secretHash(of key: borrowing FlowKey) -> UInt64 {
        let key = key.words.span
        var h = digest
        for word in words { h = Self.fold(h, key[word.index] & word.bits) }
        return h
    }

    /// The same hash, of reduced words.
    public func secretHash(of values: [UInt64]) -> UInt64 { values.reduce(digest, Self.fold) }

    /// Adds the bits of words `range` to a mask.
    public func fold(into mask: inout FlowMask, words range: Range<Int>) { plain.fold(into: &mask, words: range) }
}

extension MiniMask {
    /// The words of a mask as plain data, good for as long as the mask is there. All indices are a key's.
    public struct Words: @unchecked Sendable {
        // Invariant for Sendable: what lies there is written before anybody else has the value, and never again.
        @usableFromInline let start: UnsafeMutablePointer<Word>

        fileprivate init(_ words: [Word]) {
            start = .allocate(capacity: max(1, words.count))
            for (i, word) in words.enumerated() { (start + i).initialize(to: word) }
        }

        fileprivate func deallocate() { start.deallocate() }

        /// True when the key's masked words are `values`.
        @inlinable @inline(__always)
        public func matches(_ key: borrowing FlowKey, _ values: [UInt64]) -> Bool {
            let key = key.words.span
            for i in values.indices where key[start[i].index] & start[i].bits != values[i] { return false }
            return true
        }

        /// The same for the words of a key.
        @inlinable @inline(__always)
        public func matches(_ key: UnsafePointer<UInt64>, _ values: [UInt64]) -> Bool {
            for i in values.indices where key[start[i].index] & start[i].bits != values[i] { return false }
            return true
        }

        /// The hash of the masked words `range` of a key, given as its words, continuing from `basis`.
        @inlinable @inline(__always)
        public func hash(of key: UnsafePointer<UInt64>, words range: Range<Int>, basis: UInt64 = MiniMask.hashBasis) -> UInt64 {
            var h = basis
            for i in range { h = MiniMask.mix(h, key[start[i].index] & start[i].bits) }
            return h
        }

        /// Adds the bits of words `range` to a mask.
        public func fold(into mask: inout FlowMask, words range: Range<Int>) {
            for i in range { mask.bits.words[start[i].index] |= start[i].bits }
        }

        /// The same for a mask that is given as its words.
        @inlinable @inline(__always)
        public func fold(into mask: UnsafeMutablePointer<UInt64>, words range: Range<Int>) {
            for i in range { mask[start[i].index] |= start[i].bits }
        }
    }
}

/// A key without its empty words: what is kept of a key that is rarely looked at whole.
public struct MiniKey: Hashable, Sendable {
    /// Bit n is set when word n is not 0.
    private let map: UInt128
    private let words: [UInt64]

    public init(_ key: borrowing FlowKey) {
        let key = key.words.span
        // Without branches, which nobody could foresee.
        var map = (low: UInt64(0), high: UInt64(0))
        for i in 0..<64 { map.low |= (key[i] == 0 ? 0 : 1) &<< UInt64(i) }
        for i in 64..<FlowKey.wordCount { map.high |= (key[i] == 0 ? 0 : 1) &<< UInt64(i &- 64) }
        self.map = UInt128(map.high) << 64 | UInt128(map.low)
        var words: [UInt64] = []
        words.reserveCapacity(map.low.nonzeroBitCount + map.high.nonzeroBitCount)
        while map.low != 0 {
            words.append(key[map.low.trailingZeroBitCount])
            map.low &= map.low &- 1
        }
        while map.high != 0 {
            words.append(key[64 + map.high.trailingZeroBitCount])
            map.high &= map.high &- 1
        }
        self.words = words
    }

    /// The key.
    public var key: FlowKey {
        var key = FlowKey()
        var left = map
        for word in words {
            key.words[left.trailingZeroBitCount] = word
            left &= left &- 1
        }
        return key
    }
}
