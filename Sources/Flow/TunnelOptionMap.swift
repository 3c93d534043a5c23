// Which tunnel option each of tun_metadata0 to tun_metadata63 stands for, and where its bytes lie in a flow key: a bridge's
// TLV table (NXT_TLV_TABLE_MOD). A value type; readers keep the one that they started with.

public struct TunnelOptionMap: Hashable, Sendable {
    /// One row of the table.
    public struct Entry: Hashable, Sendable {
        public let optionClass: UInt16
        public let optionType: UInt8
        /// Bytes of the option's body, a multiple of 4 up to 124.
        public let length: Int
        /// The field's number, 0 to 63.
        public let index: Int
        /// Bytes from the start of the key's tunnel options.
        public let offset: Int
    }

    /// The rows, by field number.
    public private(set) var entries: [Int: Entry] = [:]

    public init() {}

    /// All the bytes that a key has for options.
    public static let capacity = Location.tunOptionWords * 8

    public var used: Int { entries.values.reduce(0) { $0 + $1.length } }

    /// Maps a field. False when there is no room, or the field is mapped.
    public mutating func add(index: Int, optionClass: UInt16, optionType: UInt8, length: Int) -> Bool {
        guard (0..<64).contains(index), entries[index] == nil, (0...124).contains(length), length % 4 == 0 else {
            return false
        }
        var offset = 0
        for e in entries.values.sorted(by: { $0.offset < $1.offset }) {
            if e.offset - offset >= length { break }
            offset = e.offset + e.length
        }
        guard offset + length <= Self.capacity else { return false }
        entries[index] = Entry(
            optionClass: optionClass, optionType: optionType, length: length, index: index, offset: offset)
        return true
    }

    public mutating func remove(index: Int) { entries[index] = nil }
    public mutating func removeAll() { entries = [:] }

    /// The field that an option is mapped to.
    public func entry(optionClass: UInt16, optionType: UInt8) -> Entry? {
        entries.values.first { $0.optionClass == optionClass && $0.optionType == optionType }
    }

    /// The bytes of an option in a key (or a mask's bits).
    public func bytes(_ entry: Entry, in key: FlowKey) -> [UInt8] {
        (entry.offset..<entry.offset + entry.length).map { i in
            UInt8(truncatingIfNeeded: key.words[Location.tunOptionsFirstWord + i / 8] >> UInt64(56 - 8 * (i % 8)))
        }
    }

    /// Stores the bytes of an option in a key (or a mask's bits). Shorter values are the option's last bytes.
    public func set(_ value: [UInt8], _ entry: Entry, in key: inout FlowKey) {
        for i in 0..<entry.length {
            let from = value.count - entry.length + i
            let byte = from >= 0 && from < value.count ? value[from] : 0
            let at = entry.offset + i
            let word = Location.tunOptionsFirstWord + at / 8
            let shift = UInt64(56 - 8 * (at % 8))
            key.words[word] = key.words[word] & ~(0xff << shift) | UInt64(byte) << shift
        }
    }

    /// Marks an option as there or not there.
    public func setPresent(_ present: Bool, _ entry: Entry, in key: inout FlowKey) {
        let bit = UInt64(1) << UInt64(entry.index)
        let word = Location.tunOptionsPresent.word
        key.words[word] = present ? key.words[word] | bit : key.words[word] & ~bit
    }

    public func isPresent(_ entry: Entry, in key: FlowKey) -> Bool {
        key.words[Location.tunOptionsPresent.word] >> UInt64(entry.index) & 1 != 0
    }
}
