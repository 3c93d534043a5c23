// Hashes of packets' bytes under masks: products of words with secret numbers in them, so that nobody outside can aim at a bucket.

import CDPDK

/// A keyed hash. Its owner frees the key.
struct FlowHash {
    /// Eight odd random numbers, in memory, since a word that is loaded is there sooner than one that is moved out of a vector.
    private let seeds: UnsafeMutableRawPointer

    init() {
        seeds = .allocate(byteCount: HeaderBytes.byteCount, alignment: HeaderBytes.byteCount)
        var generator = SystemRandomNumberGenerator()
        for i in 0..<8 { seeds.storeBytes(of: generator.next() | 1, toByteOffset: 8 * i, as: UInt64.self) }
    }

    func deallocate() { seeds.deallocate() }

    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (high, low) = a.multipliedFullWidth(by: b)
        return high ^ low
    }

    /// Of the bytes of a packet that a window looks at, and the port.
    @inline(__always)
    func callAsFunction(_ p: UnsafeRawPointer, _ window: UnsafePointer<HeaderWindow>, _ inPort: UInt32) -> UInt64 {
        let mask = UnsafeRawPointer(window)
        let from = p + Int(window.pointee.at)
        @inline(__always) func word(_ i: Int) -> UInt64 {
            from.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self) & mask.load(fromByteOffset: 8 * i, as: UInt64.self)
        }
        @inline(__always) func seed(_ i: Int) -> UInt64 { seeds.load(fromByteOffset: 8 * i, as: UInt64.self) }
        return Self.fold((word(0) ^ seed(0)) &+ UInt64(inPort), word(1) &+ seed(1)) ^ Self.fold(word(2) ^ seed(2), word(3) &+ seed(3))
    }

    /// Of all bytes that a mask looks at, and the port.
    @inline(__always)
    func callAsFunction(_ p: UnsafeRawPointer, _ mask: UnsafePointer<HeaderBytes>, _ inPort: UInt32) -> UInt64 {
        let mask = UnsafeRawPointer(mask)
        @inline(__always) func word(_ i: Int) -> UInt64 {
            p.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self) & mask.load(fromByteOffset: 8 * i, as: UInt64.self)
                ^ seeds.load(fromByteOffset: 8 * i, as: UInt64.self)
        }
        return Self.fold(word(0) &+ UInt64(inPort), word(1)) ^ Self.fold(word(2), word(3)) ^ Self.fold(word(4), word(5))
            ^ Self.fold(word(6), word(7))
    }
}
