// What threads that read packets hand to the main thread: a queue, bounded for each port so that a flood on one cannot starve the others.

import NIOConcurrencyHelpers

/// Things of ports that wait. Safe on any thread.
public final class PortQueue<Item: Sendable>: Sendable {
    private struct State {
        var items: [(port: UInt32, item: Item)] = []
        var waiting: [UInt32: Int] = [:]
        var dropped: UInt64 = 0
    }
    private let state = NIOLockedValueBox(State())
    /// The most of one port that wait.
    private let limit: Int

    public init(limit: Int = 1024) { self.limit = limit }

    /// Returns true when the queue was empty: somebody has to be woken. Drops, and counts, what is beyond a port's share.
    public func append(_ port: UInt32, _ item: Item) -> Bool {
        state.withLockedValue { s in
            guard s.waiting[port, default: 0] < limit else {
                s.dropped += 1
                return false
            }
            s.waiting[port, default: 0] += 1
            s.items.append((port, item))
            return s.items.count == 1
        }
    }

    /// Takes all that waits.
    public func drain() -> [(port: UInt32, item: Item)] {
        state.withLockedValue { s in
            guard !s.items.isEmpty else { return [] }
            let items = s.items
            s.items = []
            s.waiting = [:]
            return items
        }
    }

    /// How many did not fit.
    public var dropped: UInt64 { state.withLockedValue { $0.dropped } }
}
