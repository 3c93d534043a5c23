// Which flow a packet with some hash had: buckets of 16 hints, one cache line each, compared at once.
//
// A hint is 11 bits of the hash and the index of a flow, which is verified, so a stale or colliding one costs time and is never wrong. That
// makes growing and shrinking free: the buckets double or halve where they lie, and hints that are in the wrong place then are found again
// in the subtables. The cache is as small as serves, since what fits into the processor's own caches is there at once: a thousand flows
// need 8 kilobytes.

import CDPDK

/// The hints of one polling thread.
struct HintCache {
    private static let perBucket = 16
    static let indexBits: UInt32 = 21
    private static let indexMask: UInt32 = (1 << indexBits) - 1
    private static let fewest = 1 << 6
    private static let most = 1 << 17
    /// Of all the memory that it may use, in bytes.
    static let size = most * perBucket * MemoryLayout<UInt32>.stride

    private let memory: UnsafeMutablePointer<UInt32>
    private(set) var bucketCount = fewest
    /// Hints that others had to make room for in the last second.
    private var evictions = 0
    /// For how many seconds half the buckets would have done, and after how many there are half as many.
    private var quiet = 0
    private var patience = 60
    private static let longestPatience = 3600
    private var hasShrunk = false

    /// - Parameter memory: `size` bytes, zero and aligned to cache lines, which stay the caller's.
    init(_ memory: UnsafeMutablePointer<UInt32>) { self.memory = memory }

    /// The address of a hash's bucket, to be fetched early.
    @inline(__always)
    func bucket(_ hash: UInt64) -> UnsafeMutablePointer<UInt32> {
        memory + Int(truncatingIfNeeded: hash & UInt64(bucketCount &- 1)) &* Self.perBucket
    }

    @inline(__always)
    private static func signature(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) & ~indexMask }

    /// The first flow that the bucket names for this hash, or 0; to be fetched early.
    @inline(__always)
    func candidate(_ hash: UInt64) -> UInt32 {
        let b = bucket(hash)
        let set = cdpdk_match16(b, Self.signature(hash), ~Self.indexMask)
        return set == 0 ? 0 : b[set.trailingZeroBitCount] & Self.indexMask
    }

    /// The first of all flows named for this hash that is the right one, or 0. It is the candidate from now on.
    @inline(__always)
    func first(_ hash: UInt64, where isRight: (UInt32) -> Bool) -> UInt32 {
        let b = bucket(hash)
        var set = cdpdk_match16(b, Self.signature(hash), ~Self.indexMask)
        let first = set.trailingZeroBitCount
        while set != 0 {
            let place = set.trailingZeroBitCount
            let index = b[place] & Self.indexMask
            if index != 0, isRight(index) {
                // What stands before it dates from when flows looked at fewer bits.
                if place != first { swap(&b[place], &b[first]) }
                return index
            }
            set &= set &- 1
        }
        return 0
    }

    /// Remembers a flow for packets of this hash.
    mutating func remember(_ index: UInt32, _ hash: UInt64) {
        let b = bucket(hash)
        let hint = Self.signature(hash) | index
        // An empty place, else one by chance.
        for i in 0..<Self.perBucket where b[i] & Self.indexMask == 0 {
            b[i] = hint
            return
        }
        b[Int(truncatingIfNeeded: hash >> 24 ^ cdpdk_cycles() >> 4) & (Self.perBucket - 1)] = hint
        evictions &+= 1
        if evictions > 4 &* bucketCount { grow() }
    }

    /// Sees to it that there is room for the hints of so many flows.
    mutating func makeRoom(flows: Int) {
        // Half full on average, few buckets are full.
        while flows > bucketCount * Self.perBucket / 2, bucketCount < Self.most { grow() }
    }

    private mutating func grow() {
        evictions = 0
        guard bucketCount < Self.most else { return }
        bucketCount *= 2
        quiet = 0
        // It was not to be halved: traffic has more hashes than there are flows.
        if hasShrunk { patience = min(2 * patience, Self.longestPatience) }
        hasShrunk = false
    }

    /// Once a second: fewer buckets, when so many have not been needed for long.
    mutating func maintain(flows: Int) {
        defer { evictions = 0 }
        guard evictions == 0, bucketCount > Self.fewest, flows <= bucketCount * Self.perBucket / 4 else {
            quiet = 0
            return
        }
        quiet += 1
        guard quiet >= patience else { return }
        bucketCount /= 2
        quiet = 0
        hasShrunk = true
    }
}
