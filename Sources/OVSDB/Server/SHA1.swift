// SHA-1 (FIPS 180-4), which the database file format uses as a checksum. Not for security.

enum SHA1 {
    /// The digest of `bytes` in lower-case hexadecimal.
    static func hexadecimal(_ bytes: [UInt8]) -> String {
        var state: [UInt32] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
        var schedule = [UInt32](repeating: 0, count: 80)
        let whole = bytes.count / 64 * 64
        for start in stride(from: 0, to: whole, by: 64) { block(bytes, start, &state, &schedule) }
        // The rest, a one bit, zeros, and the length in bits.
        var tail = Array(bytes[whole...])
        tail.append(0x80)
        while tail.count % 64 != 56 { tail.append(0) }
        let length = UInt64(bytes.count) << 3
        for shift in stride(from: 56, through: 0, by: -8) { tail.append(UInt8(truncatingIfNeeded: length >> UInt64(shift))) }
        for start in stride(from: 0, to: tail.count, by: 64) { block(tail, start, &state, &schedule) }
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for word in state {
            for shift in stride(from: UInt32(28), through: 0, by: -4) { text.append(digits[Int(word >> shift & 15)]) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 { value << count | value >> (32 - count) }

    private static func block(_ bytes: [UInt8], _ start: Int, _ state: inout [UInt32], _ words: inout [UInt32]) {
        for index in 0..<16 {
            let at = start + index * 4
            words[index] = UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
        }
        for index in 16..<80 {
            words[index] = rotate(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1)
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for index in 0..<80 {
            let function: UInt32
            let constant: UInt32
            switch index {
            case 0..<20: (function, constant) = (b & c | ~b & d, 0x5a82_7999)
            case 20..<40: (function, constant) = (b ^ c ^ d, 0x6ed9_eba1)
            case 40..<60: (function, constant) = (b & c | b & d | c & d, 0x8f1b_bcdc)
            default: (function, constant) = (b ^ c ^ d, 0xca62_c1d6)
            }
            let next = rotate(a, 5) &+ function &+ e &+ constant &+ words[index]
            (a, b, c, d, e) = (next, a, rotate(b, 30), c, d)
        }
        for (index, value) in [a, b, c, d, e].enumerated() { state[index] = state[index] &+ value }
    }
}
