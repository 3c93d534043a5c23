// Reading and writing big-endian wire formats. A reader checks every access against its end and throws; it never traps.

/// A cursor over part of a message.
public struct WireReader {
    public let bytes: [UInt8]
    public private(set) var position: Int
    public private(set) var end: Int
    /// What is thrown when the bytes run out.
    public var shortError: OFError = .brcBadLen

    @inlinable
    public init(_ bytes: [UInt8]) { self.init(bytes, 0..<bytes.count) }

    /// The part of the bytes in `range`, clamped to what there is.
    @usableFromInline
    init(_ bytes: [UInt8], _ range: Range<Int>, _ error: OFError = .brcBadLen) {
        self.bytes = bytes
        end = min(max(range.upperBound, 0), bytes.count)
        position = min(max(range.lowerBound, 0), end)
        shortError = error
    }

    public var remaining: Int { end - position }
    public var isEmpty: Bool { position >= end }

    @inline(__always)
    private mutating func integer<T: FixedWidthInteger>(_: T.Type) throws(OFError) -> T {
        let size = MemoryLayout<T>.size
        guard end - position >= size else { throw shortError }
        let at = position
        position = at + size
        return bytes.withUnsafeBytes { T(bigEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self)) }
    }

    public mutating func u8() throws(OFError) -> UInt8 { try integer(UInt8.self) }
    public mutating func u16() throws(OFError) -> UInt16 { try integer(UInt16.self) }
    public mutating func u32() throws(OFError) -> UInt32 { try integer(UInt32.self) }
    public mutating func u64() throws(OFError) -> UInt64 { try integer(UInt64.self) }

    public mutating func mac() throws(OFError) -> UInt64 { try UInt64(u16()) << 32 | UInt64(u32()) }

    public mutating func u128() throws(OFError) -> UInt128 { try UInt128(u64()) << 64 | UInt128(u64()) }

    /// The next `size` bytes, up to 16, as one number.
    public mutating func uint(size: Int) throws(OFError) -> UInt128 {
        switch size {
        case 1: return try UInt128(u8())
        case 2: return try UInt128(u16())
        case 4: return try UInt128(u32())
        case 6: return try UInt128(mac())
        case 8: return try UInt128(u64())
        case 16: return try u128()
        default:
            guard size >= 0, size <= 16 else { throw shortError }
            var v: UInt128 = 0
            for _ in 0..<size { v = try v << 8 | UInt128(u8()) }
            return v
        }
    }

    /// The 16 bits `offset` bytes from here, without moving.
    public func peek16(_ offset: Int = 0) -> UInt16? {
        guard offset >= 0, end - position >= offset + 2 else { return nil }
        return UInt16(bytes[position + offset]) << 8 | UInt16(bytes[position + offset + 1])
    }

    public func peek32(_ offset: Int = 0) -> UInt32? {
        guard let high = peek16(offset), let low = peek16(offset + 2) else { return nil }
        return UInt32(high) << 16 | UInt32(low)
    }

    public mutating func skip(_ count: Int) throws(OFError) {
        guard count >= 0, end - position >= count else { throw shortError }
        position += count
    }

    /// The next `count` bytes, as a reader of their own.
    public mutating func part(_ count: Int, error: OFError? = nil) throws(OFError) -> WireReader {
        guard count >= 0, end - position >= count else { throw error ?? shortError }
        let r = WireReader(bytes, position..<position + count, error ?? shortError)
        position += count
        return r
    }

    /// The next `count` bytes, copied.
    public mutating func array(_ count: Int) throws(OFError) -> [UInt8] {
        guard count >= 0, end - position >= count else { throw shortError }
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    /// All that is left, copied.
    public mutating func rest() -> [UInt8] {
        defer { position = end }
        return Array(bytes[position..<end])
    }

    /// True when the next `count` bytes, or all that are left when nil, are zero.
    public func isZero(_ count: Int? = nil) -> Bool {
        let to = count.map { min(position + max($0, 0), end) } ?? end
        return !bytes[position..<to].contains { $0 != 0 }
    }

    /// A text of `size` bytes that ends at the first zero.
    public mutating func string(_ size: Int) throws(OFError) -> String {
        String(decoding: try array(size).prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// A buffer that messages are appended to.
public struct WireWriter {
    public var bytes: [UInt8]

    public init(capacity: Int = 64) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    public var count: Int { bytes.count }

    @inline(__always)
    private mutating func integer<T: FixedWidthInteger>(_ v: T) {
        withUnsafeBytes(of: v.bigEndian) { bytes.append(contentsOf: $0) }
    }

    public mutating func u8(_ v: UInt8) { bytes.append(v) }
    public mutating func u16(_ v: UInt16) { integer(v) }
    public mutating func u32(_ v: UInt32) { integer(v) }
    public mutating func u64(_ v: UInt64) { integer(v) }
    public mutating func u128(_ v: UInt128) { integer(v) }
    public mutating func mac(_ v: UInt64) {
        u16(UInt16(truncatingIfNeeded: v >> 32))
        u32(UInt32(truncatingIfNeeded: v))
    }
    /// The low `size` bytes of a number, 0 to 16.
    public mutating func uint(_ v: UInt128, size: Int) {
        var i = size - 1
        while i >= 0 {
            u8(UInt8(truncatingIfNeeded: v >> UInt128(8 * i)))
            i -= 1
        }
    }
    public mutating func array(_ v: [UInt8]) { bytes.append(contentsOf: v) }
    public mutating func zeros(_ count: Int) {
        var left = count
        // Eight at a time: appending a repeated element takes them one by one.
        while left > 0 {
            withUnsafeBytes(of: 0 as UInt64) { bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0.prefix(left))) }
            left -= 8
        }
    }
    /// Zeros up to a multiple of 8 bytes from `start`.
    public mutating func pad8(from start: Int) { zeros((8 - (count - start) % 8) % 8) }
    /// A text in `size` bytes, cut to leave a zero at its end.
    public mutating func string(_ s: String, size: Int) {
        let utf8 = s.utf8.prefix(size - 1)
        bytes.append(contentsOf: utf8)
        zeros(size - utf8.count)
    }

    public mutating func patch16(_ v: Int, at offset: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: v >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: v)
    }
}
