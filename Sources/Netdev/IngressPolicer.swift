// A limit of what enters by a device whose packets this process reads itself: the kernel's policers come behind packet sockets, and see
// nothing of what they take.

import Dpif
import Glibc
import NIOConcurrencyHelpers

/// Two token buckets, one of bytes and one of packets. Safe on any thread.
public final class IngressPolicer: Sendable {
    /// What may enter now, and how fast more may.
    private struct Bucket {
        /// Per second.
        let rate: Double
        let depth: Double
        var tokens: Double

        init?(rate: Double, depth: Double) {
            guard rate > 0 else { return nil }
            self.rate = rate
            self.depth = depth
            tokens = depth
        }

        mutating func fill(_ seconds: Double) { tokens = min(depth, tokens + rate * seconds) }
    }

    private struct State {
        var bytes: Bucket?
        var packets: Bucket?
        var filled: UInt64 = 0
        var dropped: UInt64 = 0
        var settings: PolicingSettings?
    }
    private let state = NIOLockedValueBox(State())
    private let clock: @Sendable () -> UInt64

    /// - Parameter clock: nanoseconds.
    public init(clock: @escaping @Sendable () -> UInt64 = IngressPolicer.monotonic) { self.clock = clock }

    public static let monotonic: @Sendable () -> UInt64 = {
        var t = timespec()
        clock_gettime(CLOCK_MONOTONIC, &t)
        return UInt64(t.tv_sec) * 1_000_000_000 + UInt64(t.tv_nsec)
    }

    /// Sets the limit; nil: none. Buckets are full at first.
    public func set(_ settings: PolicingSettings?) {
        let now = clock()
        state.withLockedValue { s in
            guard settings != s.settings else { return }
            s.settings = settings
            s.filled = now
            s.bytes = settings.flatMap { Bucket(rate: Double($0.rate) * 125, depth: Double($0.effectiveBurst) * 125) }
            s.packets = settings.flatMap { Bucket(rate: Double($0.packetRate) * 1000, depth: Double($0.effectivePacketBurst) * 1000) }
        }
    }

    /// Whether a packet may enter. A packet larger than what is left still may, and later ones wait until that is made up for, so
    /// that segments of any size get through at the rate.
    public func admits(_ size: Int) -> Bool {
        state.withLockedValue { s in
            guard s.bytes != nil || s.packets != nil else { return true }
            let now = clock()
            let seconds = Double(now &- s.filled) / 1e9
            s.filled = now
            s.bytes?.fill(seconds)
            s.packets?.fill(seconds)
            guard s.bytes?.tokens ?? 1 > 0, s.packets?.tokens ?? 1 > 0 else {
                s.dropped += 1
                return false
            }
            s.bytes?.tokens -= Double(size)
            s.packets?.tokens -= 1
            return true
        }
    }

    /// How many packets were beyond the limit.
    public var dropped: UInt64 { state.withLockedValue { $0.dropped } }
}

/// A device that limits what enters by itself.
public protocol PolicedDevice: PortDevice {
    var policer: IngressPolicer { get }
}
