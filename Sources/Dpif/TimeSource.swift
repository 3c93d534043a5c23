// The one clock that every timer reads. Tests stop and warp it (`time/stop`, `time/warp`).

import Glibc

/// Monotonic time in milliseconds. Confined to the main thread.
public final class TimeSource {
    private var stoppedAt: Int64?
    private var warped: Int64 = 0
    /// Called after each warp, so that timers that are due fire.
    public var onWarp: (() -> Void)?

    public init() {}

    private var monotonic: Int64 {
        var t = timespec()
        clock_gettime(CLOCK_MONOTONIC, &t)
        return Int64(t.tv_sec) * 1000 + Int64(t.tv_nsec) / 1_000_000
    }

    /// Now, in milliseconds since an arbitrary point.
    public var now: Int64 { (stoppedAt ?? monotonic) + warped }

    public var isStopped: Bool { stoppedAt != nil }

    /// Seconds since 1970 of the wall clock, moved by warps.
    public var wall: Double {
        var t = timespec()
        clock_gettime(CLOCK_REALTIME, &t)
        return Double(t.tv_sec) + Double(t.tv_nsec) / 1e9
    }

    public func stop() {
        if stoppedAt == nil { stoppedAt = monotonic }
    }

    public func warp(_ milliseconds: Int64) {
        warped += milliseconds
        onWarp?()
    }
}
