// Windows of masks: where they begin, and that comparing there says what comparing all bytes says.

import TestSupport
import Testing

@testable import FastPath

@Suite struct HeaderWindowTests {
    @Test func wherePlacesAre() {
        func mask(_ bytes: [Int]) -> HeaderBytes {
            var b = [UInt8](repeating: 0, count: 64)
            for i in bytes { b[i] = 0xff }
            return HeaderBytes(b)
        }
        for (bytes, at, isAll) in [
            ([], 0, true), ([0], 0, true), ([63], 32, true), ([32, 63], 32, true), ([12, 37], 12, true), ([12, 43], 12, true),
            ([12, 44], 12, false), ([0, 31], 0, true), ([0, 32], 0, false), ([40, 63], 32, true), ([31, 63], 31, false),
        ] {
            let window = HeaderWindow(mask(bytes))
            #expect(window.at == at && window.isAll == isAll, "\(bytes)")
        }
    }

    @Test func agreesAsAllBytesDo() {
        var g = SeededGenerator(for: "windows")
        for _ in 0..<20_000 {
            var mask = [UInt8](repeating: 0, count: 64)
            let first = Int.random(in: 0..<64, using: &g)
            for _ in 0..<g.pick([1, 3, 20]) {
                mask[min(63, first + Int.random(in: 0..<g.pick([4, 32, 64]), using: &g))] = UInt8.random(in: 1...255, using: &g)
            }
            let packet = (0..<64).map { _ in UInt8.random(in: 0...255, using: &g) }
            var other = packet
            for _ in 0..<g.pick([0, 1, 2]) { other[Int.random(in: 0..<64, using: &g)] ^= 1 << UInt8.random(in: 0..<8, using: &g) }
            let (m, bytes) = (HeaderBytes(mask), HeaderBytes(packet))
            let window = HeaderWindow(m)
            let masked = bytes & m
            withUnsafePointer(to: HeaderBytes(other)) { p in
                let whole = masked.agrees(UnsafeRawPointer(p), under: m)
                #expect(whole == ((HeaderBytes(other) & m) == masked), "seed \(g.seed)")
                let inWindow = window.agrees(UnsafeRawPointer(p), window.bytes(of: masked))
                #expect(window.isAll ? inWindow == whole : inWindow || !whole, "seed \(g.seed): \(mask) \(packet) \(other)")
            }
        }
    }
}
