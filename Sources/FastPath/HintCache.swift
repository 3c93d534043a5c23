// Which flow a packet with some hash had: buckets of 16 hints, one cache line each, compared at once.
//
// A hint is 11 bits of the hash and the index of a flow, which is verified, so a stale or colliding one costs time and is never wrong. The
// cache is as small as serves, since what fits into the processor's own caches is there at once: a thousand flows need 8 kilobytes.
// Growing and shrinking moves nothing: a hint that lies where another size put it is looked for there, and moved when it is found. So
// nothing is lost, and no packet waits while thousands of hints find their places.

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
    /// How many there ever were.
    private var largest = fewest
    /// Hints that others had to make room for in the last second.
    private var evictions = 0
    /// For how many seconds half the buckets would have done, and after how many there are half as many.
    private var quiet = 0
    private var patience = shortestPatience
    private static let shortestPatience = 60
    private static let longestPatience = 3600
    private var hasShrunk = false

    /// - Parameter memory: `size` bytes, zero and aligned to cache lines, which stay the caller's.
    init(_ memory: UnsafeMutablePointer<UInt32>) { self.memory = memory }

    /// The address of a hash's bucket, to be fetched early.
    @inline(__always)
    func bucket(_ hash: UInt64) -> UnsafeMutablePointer<UInt32> { bucket(hash, of: bucketCount) }

    @inline(__always)
    private func bucket(_ hash: UInt64, of count: Int) -> UnsafeMutablePointer<UInt32> {
        memory + Int(truncatingIfNeeded: hash & UInt64(count &- 1)) &* Self.perBucket
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
    mutating func first(_ hash: UInt64, where isRight: (UInt32) -> Bool) -> UInt32 {
        let b = bucket(hash)
        let signature = Self.signature(hash)
        let set = cdpdk_match16(b, signature, ~Self.indexMask)
        if let place = Self.place(b, set, isRight) {
            // What stands before it dates from when flows looked at fewer bits.
            let first = set.trailingZeroBitCount
            if place != first { swap(&b[place], &b[first]) }
            return b[first] & Self.indexMask
        }
        // Where it lay when there were fewer buckets, or more.
        var size = Self.fewest
        while size <= largest {
            let other = bucket(hash, of: size)
            if other != b, let place = Self.place(other, cdpdk_match16(other, signature, ~Self.indexMask), isRight) {
                let index = other[place] & Self.indexMask
                other[place] = 0
                remember(index, hash)
                return index
            }
            size &*= 2
        }
        return 0
    }

    /// Which of these places of a bucket names the right flow.
    @inline(__always)
    private static func place(_ b: UnsafeMutablePointer<UInt32>, _ places: UInt32, _ isRight: (UInt32) -> Bool) -> Int? {
        var set = places
        while set != 0 {
            let place = set.trailingZeroBitCount
            let index = b[place] & indexMask
            if index != 0, isRight(index) { return place }
            set &= set &- 1
        }
        return nil
    }

    /// Remembers a flow for packets of this hash.
    mutating func remember(_ index: UInt32, _ hash: UInt64) {
        let b = bucket(hash)
        let hint = Self.signature(hash) | index
        // Packets that came before the first hint bring the same.
        guard cdpdk_match16(b, hint, .max) == 0 else { return }
        // An empty place, else one by chance.
        for i in 0..<Self.perBucket where b[i] & Self.indexMask == 0 {
            b[i] = hint
            return
        }
        b[Int(truncatingIfNeeded: hash >> 24 ^ cdpdk_cycles() >> 4) & (Self.perBucket - 1)] = hint
        evictions &+= 1
        guard evictions > 4 &* bucketCount else { return }
        evictions = 0
        // It should not have been halved: traffic has more hashes than there are flows.
        if hasShrunk { patience = min(2 * patience, Self.longestPatience) }
        grow()
    }

    /// Sees to it that there is room for the hints of so many flows.
    mutating func makeRoom(flows: Int) {
        // Half full on average, few buckets are full.
        while flows > bucketCount * Self.perBucket / 2, bucketCount < Self.most { grow() }
    }

    private mutating func grow() {
        guard bucketCount < Self.most else { return }
        bucketCount *= 2
        largest = max(largest, bucketCount)
        quiet = 0
        hasShrunk = false
    }

    /// Once a second: fewer buckets, when so many have not been needed for long.
    mutating func maintain(flows: Int) {
        defer { evictions = 0 }
        // Dead hints are found out when others need their places, so a few make way at any time.
        guard evictions <= bucketCount / 16, bucketCount > Self.fewest, flows <= bucketCount * Self.perBucket / 4 else {
            quiet = 0
            return
        }
        quiet += 1
        guard quiet >= patience else { return }
        bucketCount /= 2
        quiet = 0
        hasShrunk = true
        if bucketCount == Self.fewest { patience = Self.shortestPatience }
    }
}
