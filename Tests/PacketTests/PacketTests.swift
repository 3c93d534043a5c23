import Packet
import Testing

@Suite struct PacketTests {
    @Test func insertAndRemoveKeepTheRest() {
        var packet = Packet(Array(0..<20))
        packet.l3 = 14
        packet.insert(4, at: 12)
        #expect(packet.count == 24)
        #expect(packet.l3 == 18)
        #expect(packet.array[..<12] == Array(0..<12)[...])
        #expect(Array(packet.array[16...]) == Array(12..<20))
        packet.remove(4, at: 12)
        #expect(packet.array == Array(0..<20))
        #expect(packet.l3 == 14)
    }

    @Test func insertBeyondHeadroomReallocates() {
        var packet = Packet([1, 2, 3])
        for _ in 0..<100 { packet.insert(4, at: 0) }
        #expect(packet.count == 403)
        #expect(Array(packet.array.suffix(3)) == [1, 2, 3])
    }

    @Test func checksumOfRFC1071() {
        let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
        #expect(bytes.withUnsafeBytes { InternetChecksum.checksum($0) } == ~0xddf2)
    }

    @Test func incrementalChecksumAgreesWithAFullOne() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            var bytes = (0..<20).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let before = bytes.withUnsafeBytes { InternetChecksum.checksum($0) }
            let old = UInt32(bytes[4]) << 24 | UInt32(bytes[5]) << 16 | UInt32(bytes[6]) << 8 | UInt32(bytes[7])
            let new = UInt32.random(in: 0 ... .max, using: &generator)
            for i in 0..<4 { bytes[4 + i] = UInt8(new >> UInt32(24 - 8 * i) & 0xff) }
            let after = bytes.withUnsafeBytes { InternetChecksum.checksum($0) }
            let updated = InternetChecksum.update(before, from: old, to: new)
            // 0 and 0xffff are the same number in ones' complement.
            #expect(updated == after || (updated == 0xffff && after == 0) || (updated == 0 && after == 0xffff))
        }
    }

    @Test func crc32cOfTheStandardVector() {
        let text = Array("123456789".utf8)
        #expect(text.withUnsafeBytes { CRC32C.checksum($0) } == 0xe306_9283)
    }
}
