// How long connections live without packets, and the clock that ends them.

import Dpif

/// The states that have a timeout of their own. Raw values are the names in CT_Timeout_Policy rows.
enum ConntrackTimeout: String, Sendable, CaseIterable {
    case tcpSynSent = "tcp_syn_sent"
    case tcpSynReceived = "tcp_syn_recv"
    case tcpEstablished = "tcp_established"
    case tcpClosing = "tcp_fin_wait"
    case tcpFinWait = "tcp_time_wait"
    case tcpTimeWait = "tcp_close"
    case udpFirst = "udp_first"
    case udpSingle = "udp_single"
    case udpMultiple = "udp_multiple"
    case icmpFirst = "icmp_first"
    case icmpReply = "icmp_reply"

    /// Seconds, without a policy.
    var standard: UInt32 {
        switch self {
        case .tcpSynSent, .tcpSynReceived, .tcpTimeWait: 30
        case .tcpEstablished: 24 * 60 * 60
        case .tcpClosing: 15 * 60
        case .tcpFinWait: 45
        case .udpFirst, .udpSingle, .icmpFirst: 60
        case .udpMultiple, .icmpReply: 30
        }
    }
}

/// Connections by when to look whether they have ended. A connection stands in the slot that its state names; when that
/// second comes, it is removed, or moved to the slot of its present end, so that packets that prolong it need not touch the
/// wheel. One whose end comes nearer is entered again; what is left in the old slot means nothing.
/// Confined to its shard's lock.
struct ExpiryWheel {
    private var slots: [Int64: [Connection]] = [:]
    /// Seconds up to which slots have been emptied.
    private var done: Int64?

    mutating func add(_ connection: Connection, at deadline: Int64, now: Int64) {
        let second = max(deadline / 1000 + 1, (done ?? now / 1000) + 1)
        slots[second, default: []].append(connection)
    }

    /// The connections whose slots have come, at most about `limit`.
    mutating func due(now: Int64, limit: Int) -> [Connection] {
        let last = now / 1000
        var out: [Connection] = []
        guard !slots.isEmpty else {
            done = last
            return out
        }
        var second = (done ?? last - 1) + 1
        // After a leap in time the slots themselves are fewer than the seconds.
        if last - second > Int64(slots.count) {
            for key in slots.keys.sorted() where key <= last {
                out += slots.removeValue(forKey: key) ?? []
                if out.count >= limit {
                    done = key
                    return out
                }
            }
            done = last
            return out
        }
        while second <= last, out.count < limit {
            out += slots.removeValue(forKey: second) ?? []
            done = second
            second += 1
        }
        return out
    }

    mutating func removeAll() { slots = [:] }
}
