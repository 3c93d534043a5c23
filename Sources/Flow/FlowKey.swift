// The flow key: everything that a packet can be matched on, as one flat value.
//
// A key is 84 words of 64 bits, in host order. Each field is a run of bits in one word, or a run of whole words with the
// most significant first (`FieldLocation`). That regularity is the point: masking, hashing, comparing and wildcarding are
// loops over words, and every text and wire codec moves a field as one unsigned integer.
//
// The words are ordered in the four stages of staged lookup: what is known without reading the packet (tunnel, metadata,
// registers, ports, conntrack), then layer 2, layer 3 and layer 4. `FlowStage` gives the borders.
//
//     0 ┌────────────────────────────┐
//       │ tunnel, tunnel options     │
//    42 │ metadata, regs, port, ct   │  stage .metadata
//    59 ├────────────────────────────┤
//       │ eth, vlan ×2, mpls ×3      │  stage .l2
//    64 ├────────────────────────────┤
//       │ ip, ipv6, ct addresses     │  stage .l3
//    75 ├────────────────────────────┤
//       │ nd, arp, nsh, tcp/udp/...  │  stage .l4
//    84 └────────────────────────────┘

/// Where a field lies in a `FlowKey`.
///
/// A field of at most 64 bits lies within word `word`, `shift` bits above its least significant bit. A wider field is a
/// run of whole words from `word`, most significant first, `shift` being 0.
public struct FieldLocation: Hashable, Sendable {
    public let word: Int
    public let shift: Int
    /// Width in bits, 1 to 128.
    public let width: Int

    @inlinable
    public init(_ word: Int, _ shift: Int, _ width: Int) {
        self.word = word
        self.shift = shift
        self.width = width
    }

    /// The value with every bit of the field set.
    @inlinable
    public var allOnes: UInt128 { width >= 128 ? .max : (1 << UInt128(width)) - 1 }

    /// The field's value in a key, which is not copied.
    @inlinable @inline(__always)
    public func value(in key: borrowing FlowKey) -> UInt128 {
        let words = key.words.span
        if width <= 64 {
            let v = words[word] &>> UInt64(shift)
            return UInt128(width == 64 ? v : v & ((1 &<< UInt64(width)) &- 1))
        }
        return UInt128(words[word]) << 64 | UInt128(words[word + 1])
    }

    /// The bits `low..<low+count` of this field, counted from its least significant bit, as a location of their own.
    /// Returns nil when they lie outside the field or straddle words of a field wider than 64 bits.
    public func bits(_ low: Int, _ count: Int) -> FieldLocation? {
        guard low >= 0, count > 0, low + count <= width else { return nil }
        if width <= 64 { return FieldLocation(word, shift + low, count) }
        let last = word + (width + 63) / 64 - 1
        guard low / 64 == (low + count - 1) / 64 else { return low == 0 && count == width ? self : nil }
        return FieldLocation(last - low / 64, low % 64, count)
    }
}

/// The stages of staged lookup, as ranges of words.
public enum FlowStage: Int, CaseIterable, Sendable {
    case metadata, l2, l3, l4

    @inlinable
    public var words: Range<Int> {
        switch self {
        case .metadata: 0..<59
        case .l2: 59..<64
        case .l3: 64..<75
        case .l4: 75..<84
        }
    }
}

/// A flow key. See the head of this file for its layout.
///
/// Loops go over the words' span: the compiler copies a key that is not in a variable as a whole for each word that is read of it.
public struct FlowKey: Sendable {
    public static let wordCount = 84
    public var words: InlineArray<84, UInt64>

    /// A key with every field zero.
    @inlinable
    public init() { words = InlineArray(repeating: 0) }

    @inlinable
    public subscript(location: FieldLocation) -> UInt128 {
        @inline(__always) get { location.value(in: self) }
        set {
            if location.width <= 64 {
                let ones: UInt64 = location.width == 64 ? .max : (1 &<< UInt64(location.width)) &- 1
                let v = UInt64(truncatingIfNeeded: newValue) & ones
                words[location.word] =
                    words[location.word] & ~(ones &<< UInt64(location.shift)) | v &<< UInt64(location.shift)
            } else {
                words[location.word] = UInt64(truncatingIfNeeded: newValue >> 64)
                words[location.word + 1] = UInt64(truncatingIfNeeded: newValue)
            }
        }
    }

    @inlinable
    func bits<T: FixedWidthInteger & UnsignedInteger>(_ word: Int, _ shift: Int, as: T.Type) -> T {
        T(truncatingIfNeeded: words[word] &>> UInt64(shift))
    }

    @inlinable
    mutating func setBits<T: FixedWidthInteger & UnsignedInteger>(_ word: Int, _ shift: Int, _ value: T) {
        words[word] =
            words[word] & ~(UInt64(T.max) &<< UInt64(shift)) | UInt64(truncatingIfNeeded: value) &<< UInt64(shift)
    }
}

extension FlowKey: Hashable {
    @inlinable
    public static func == (a: FlowKey, b: FlowKey) -> Bool {
        let (a, b) = (a.words.span, b.words.span)
        var difference: UInt64 = 0
        for i in a.indices { difference |= a[i] ^ b[i] }
        return difference == 0
    }

    @inlinable
    public func hash(into hasher: inout Hasher) {
        let words = words.span
        for i in words.indices where words[i] != 0 {
            hasher.combine(i)
            hasher.combine(words[i])
        }
    }
}

/// Which bits of a key matter: 1 is matched, 0 is wildcarded.
public struct FlowMask: Hashable, Sendable {
    public var bits: FlowKey

    /// A mask that matches nothing exactly: everything is wildcarded.
    @inlinable
    public init() { bits = FlowKey() }

    @inlinable
    public init(bits: FlowKey) { self.bits = bits }

    @inlinable
    public var isEmpty: Bool { bits == FlowKey() }

    /// Marks all bits of a field as matched.
    @inlinable
    public mutating func setExact(_ location: FieldLocation) { bits[location] = location.allOnes }

    @inlinable
    public func isExact(_ location: FieldLocation) -> Bool { bits[location] == location.allOnes }

    @inlinable
    public func isWild(_ location: FieldLocation) -> Bool { bits[location] == 0 }

    @inlinable
    public mutating func formUnion(_ other: FlowMask) {
        let other = other.bits.words.span
        for i in other.indices { bits.words[i] |= other[i] }
    }

    /// Takes out the bits that `other` has. True when there were any.
    public mutating func subtract(_ other: MiniMask) -> Bool {
        var common: UInt64 = 0
        for word in other.words {
            common |= bits.words[word.index] & word.bits
            bits.words[word.index] &= ~word.bits
        }
        return common != 0
    }

    /// True when some bit is matched here and there.
    public func intersects(_ other: borrowing FlowMask) -> Bool {
        let (own, other) = (bits.words.span, other.bits.words.span)
        for i in own.indices where own[i] & other[i] != 0 { return true }
        return false
    }

    /// True when every bit that `other` matches is matched here too.
    @inlinable
    public func isSuperset(of other: FlowMask) -> Bool {
        let (own, other) = (bits.words.span, other.bits.words.span)
        for i in own.indices where other[i] & ~own[i] != 0 { return false }
        return true
    }
}

extension FlowKey {
    /// The key with its header fields zero.
    public var metadataOnly: FlowKey {
        var out = self
        for i in FlowStage.l2.words.lowerBound..<Self.wordCount { out.words[i] = 0 }
        return out
    }

    /// The key with all bits outside the mask zero.
    @inlinable
    public func masked(by mask: FlowMask) -> FlowKey {
        var result = self
        let mask = mask.bits.words.span
        for i in mask.indices { result.words[i] &= mask[i] }
        return result
    }

    /// True when the two keys agree in every bit of the mask.
    @inlinable
    public func equals(_ other: FlowKey, in mask: FlowMask) -> Bool {
        let (own, other, mask) = (words.span, other.words.span, mask.bits.words.span)
        for i in own.indices where (own[i] ^ other[i]) & mask[i] != 0 { return false }
        return true
    }
}

/// A key and the bits of it that matter. Invariant: bits outside the mask are zero in the key.
public struct Match: Hashable, Sendable {
    public var key: FlowKey
    public var mask: FlowMask

    /// Matches everything.
    public init() {
        key = FlowKey()
        mask = FlowMask()
    }

    public init(key: FlowKey, mask: FlowMask) {
        self.key = key.masked(by: mask)
        self.mask = mask
    }

    /// Matches the bits of `fieldMask` of a field against `value`.
    public mutating func set(_ location: FieldLocation, _ value: UInt128, mask fieldMask: UInt128? = nil) {
        let m = fieldMask ?? location.allOnes
        key[location] = value & m
        mask.bits[location] = m
    }

    /// True when the packet's key agrees with this match.
    public func matches(_ packet: FlowKey) -> Bool { key.equals(packet, in: mask) }
}
