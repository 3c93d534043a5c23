// The Internet checksum (RFC 1071), its incremental update (RFC 1624), and SCTP's CRC-32C (RFC 9260 appendix A).

public enum InternetChecksum {
    /// The ones' complement sum of the bytes as big-endian 16-bit words, not yet folded; an odd last byte counts as the
    /// high half of a word.
    public static func partial(_ bytes: UnsafeRawBufferPointer, _ initial: UInt64 = 0) -> UInt64 {
        var sum = initial
        var i = 0
        while i + 1 < bytes.count {
            sum &+= UInt64(bytes[i]) << 8 | UInt64(bytes[i + 1])
            i += 2
        }
        if i < bytes.count { sum &+= UInt64(bytes[i]) << 8 }
        return sum
    }

    /// Folds a partial sum to the checksum, in host order.
    public static func finish(_ partial: UInt64) -> UInt16 {
        var sum = partial
        while sum >> 16 != 0 { sum = (sum & 0xffff) &+ (sum >> 16) }
        return ~UInt16(truncatingIfNeeded: sum)
    }

    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt16 { finish(partial(bytes)) }

    /// The checksum after a 16-bit word that it covers changed (RFC 1624, equation 3).
    @inlinable
    public static func update(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        var sum = UInt32(~checksum) &+ UInt32(~old) &+ UInt32(new)
        sum = (sum & 0xffff) &+ (sum >> 16)
        sum = (sum & 0xffff) &+ (sum >> 16)
        return ~UInt16(truncatingIfNeeded: sum)
    }

    @inlinable
    public static func update(_ checksum: UInt16, from old: UInt32, to new: UInt32) -> UInt16 {
        let first = update(
            checksum, from: UInt16(truncatingIfNeeded: old >> 16), to: UInt16(truncatingIfNeeded: new >> 16))
        return update(first, from: UInt16(truncatingIfNeeded: old), to: UInt16(truncatingIfNeeded: new))
    }

    public static func update(_ checksum: UInt16, from old: UInt128, to new: UInt128) -> UInt16 {
        var result = checksum
        for shift in stride(from: 96, through: 0, by: -32) {
            result = update(
                result, from: UInt32(truncatingIfNeeded: old >> UInt128(shift)),
                to: UInt32(truncatingIfNeeded: new >> UInt128(shift)))
        }
        return result
    }
}

public enum CRC32C {
    static let table: [UInt32] = (0..<256).map { i in
        var crc = UInt32(i)
        for _ in 0..<8 { crc = crc & 1 != 0 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
        return crc
    }

    /// The CRC of the bytes, as the little-endian integer that SCTP stores.
    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc: UInt32 = .max
        for byte in bytes { crc = crc >> 8 ^ table[Int((crc ^ UInt32(byte)) & 0xff)] }
        return ~crc
    }
}
