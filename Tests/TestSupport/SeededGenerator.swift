// Chance for tests that try random cases, which can be repeated: the seed is printed, and VSWITCH_SEED sets it.

import class Foundation.ProcessInfo

/// A reproducible random number generator (SplitMix64).
public struct SeededGenerator: RandomNumberGenerator {
    /// What the sequence began with.
    public let seed: UInt64
    private var state: UInt64

    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// Begins anywhere, or where VSWITCH_SEED says, and prints where.
    public init(for test: String) {
        let wanted = ProcessInfo.processInfo.environment["VSWITCH_SEED"].flatMap { UInt64($0) }
        self.init(seed: wanted ?? UInt64.random(in: 0 ... .max))
        print("seed of \(test): \(seed)")
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
