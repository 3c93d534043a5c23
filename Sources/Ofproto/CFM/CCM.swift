// Continuity check messages (IEEE 802.1ag, clause 21.6), with the extensions that ovs-vswitchd.conf.db(5) calls extended mode.

/// A continuity check message.
public struct CCM: Hashable, Sendable {
    static let etherType: UInt16 = 0x8902
    static let group: UInt64 = 0x0180_c200_0030
    /// In extended mode.
    static let extendedGroup: UInt64 = 0x0123_2000_0030
    static let size = 75
    /// The domain and association that all of them are of: both are called "ovs".
    static let association: [UInt8] = [4, 3, 0x6f, 0x76, 0x73, 2, 3, 0x6f, 0x76, 0x73] + [UInt8](repeating: 0, count: 38)
    /// Milliseconds by interval code; 0 is none.
    private static let intervals: [Int64] = [0, 3, 10, 100, 1000, 10_000, 60_000, 600_000]

    public var remoteDefect = false
    /// 1 to 7; in extended mode 0, and `milliseconds` counts.
    public var intervalCode: UInt8 = 4
    public var sequence: UInt32 = 0
    /// 13 bits; 64 in extended mode.
    public var mpid: UInt64 = 0
    public var milliseconds: UInt16 = 0
    public var isDown = false
    public var isExtended = false
    /// Of this association; only looked at on receipt.
    public var isOfAssociation = true

    public init() {}

    /// The code of the longest standard interval that is not longer than so many milliseconds.
    static func code(_ milliseconds: Int64) -> UInt8 {
        UInt8(intervals.lastIndex { $0 != 0 && $0 <= max(3, milliseconds) } ?? 1)
    }
    static func milliseconds(_ code: UInt8) -> Int64 { intervals[Int(code & 7)] }

    /// Reads a message from a frame's payload.
    public init?(_ b: [UInt8], isExtended: Bool) {
        guard b.count >= Self.size - 1, b[1] == 1 else { return nil }
        self.isExtended = isExtended
        remoteDefect = b[2] & 0x80 != 0
        intervalCode = b[2] & 7
        func number(_ range: Range<Int>) -> UInt64 { b[range].reduce(0) { $0 << 8 | UInt64($1) } }
        sequence = UInt32(truncatingIfNeeded: number(4..<8))
        isOfAssociation = Array(b[10..<58]) == Self.association
        milliseconds = UInt16(truncatingIfNeeded: number(58..<60))
        mpid = isExtended ? number(60..<68) : number(8..<10)
        isDown = isExtended && b[68] != 0
    }

    public var bytes: [UInt8] {
        var b: [UInt8] = [0, 1, (remoteDefect ? 0x80 : 0) | intervalCode & 7, 70]
        func put(_ value: UInt64, _ size: Int) {
            for i in (0..<size).reversed() { b.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * i))) }
        }
        put(UInt64(sequence), 4)
        put(mpid & 0xffff, 2)
        b += Self.association
        put(UInt64(milliseconds), 2)
        put(isExtended ? mpid : 0, 8)
        b.append(isExtended && isDown ? 1 : 0)
        // Reserved, and the end of TLVs.
        return b + [UInt8](repeating: 0, count: Self.size - b.count)
    }

    public func frame(from source: UInt64) -> [UInt8] {
        EthernetFrame.bytes(to: isExtended ? Self.extendedGroup : Self.group, from: source, type: Self.etherType, payload: bytes)
    }
}
