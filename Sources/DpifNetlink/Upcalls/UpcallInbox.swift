// What the reading thread found out, for the main thread: packets, and news of ports.

import NIOConcurrencyHelpers
import Netdev

/// Bounded queues between the two. Safe on any thread.
final class UpcallInbox: Sendable {
    let packets = PortQueue<KernelUpcall>(limit: 2048)
    private struct State {
        var portNews: [[UInt8]] = []
        var isPortNewsLost = false
        var overflows: UInt64 = 0
        var malformed: UInt64 = 0
    }
    private let state = NIOLockedValueBox(State())
    private static let newsLimit = 4096

    /// Returns true when somebody has to be woken.
    func append(portNews bytes: [UInt8]) -> Bool {
        state.withLockedValue { s in
            guard s.portNews.count < Self.newsLimit else {
                s.isPortNewsLost = true
                return false
            }
            s.portNews.append(bytes)
            return s.portNews.count == 1
        }
    }

    func notePortNewsLost() { state.withLockedValue { $0.isPortNewsLost = true } }
    func noteOverflow() { state.withLockedValue { $0.overflows += 1 } }
    func noteMalformed() { state.withLockedValue { $0.malformed += 1 } }

    /// Takes the news of ports; `isLost`: there was more, and all ports have to be looked at.
    func takePortNews() -> (news: [[UInt8]], isLost: Bool) {
        state.withLockedValue { s in
            defer {
                s.portNews = []
                s.isPortNewsLost = false
            }
            return (s.portNews, s.isPortNewsLost)
        }
    }

    /// How often a socket overflowed.
    var overflows: UInt64 { state.withLockedValue { $0.overflows } }
    var malformed: UInt64 { state.withLockedValue { $0.malformed } }
}
