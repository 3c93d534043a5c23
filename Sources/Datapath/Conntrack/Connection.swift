// A connection that was committed.

import Dpif
import Packet
import Synchronization

/// A committed connection. The keys never change; the rest is behind the connection's own lock, which is taken last:
/// whoever holds it takes no other.
final class Connection: Sendable {
    enum Progress: Sendable {
        case tcp(TCPTracking)
        /// UDP, ICMP and protocols without a state of their own.
        case first, multiple, bidirectional
    }

    struct State: Sendable {
        var progress: Progress
        /// When it ends, in milliseconds of the datapath's clock.
        var deadline: Int64
        var mark: UInt32 = 0
        var label: UInt128 = 0
        /// Where it stands in the expiry wheel, in milliseconds like `deadline`.
        var slot: Int64 = .max
        var isRemoved = false
        /// How far translation of addresses within FTP's control connection has shifted what follows, by direction.
        var shifts = SequenceShifts()
    }

    /// As the first packet had it.
    let key: ConnectionKey
    /// As answers have it, before translation back.
    let replyKey: ConnectionKey
    /// How addresses are translated, or nil.
    let nat: DpNAT.Kind?
    /// The connection that announced this one, for an application's data.
    let parent: ConnectionKey?
    let helper: String?
    /// Seconds by state, of the policy that the connection was committed with.
    let timeouts: [String: UInt32]
    let state: Mutex<State>

    init(
        key: ConnectionKey, replyKey: ConnectionKey, nat: DpNAT.Kind?, parent: ConnectionKey?, helper: String?,
        timeouts: [String: UInt32], progress: Progress, now: Int64
    ) {
        self.key = key
        self.replyKey = replyKey
        self.nat = nat
        self.parent = parent
        self.helper = helper
        self.timeouts = timeouts
        state = Mutex(State(progress: progress, deadline: now))
    }

    func isExpired(_ now: Int64) -> Bool { state.withLock { $0.isRemoved || now >= $0.deadline } }

    /// Sets the end by the progress made.
    func prolong(_ s: inout State, now: Int64) {
        let timeout: ConntrackTimeout
        switch s.progress {
        case .tcp(let tcp): timeout = tcp.timeout
        case .first: timeout = key.isICMP ? .icmpFirst : .udpFirst
        case .multiple: timeout = key.isICMP ? .icmpFirst : .udpSingle
        case .bidirectional: timeout = key.isICMP ? .icmpReply : .udpMultiple
        }
        s.deadline = now + Int64(timeouts[timeout.rawValue] ?? timeout.standard) * 1000
    }

    /// How a connection opens.
    static func opening(_ seen: TrackedPacket, _ packet: borrowing Packet) -> Progress {
        seen.key.proto == IPProtocol.tcp ? .tcp(TCPTracking(first: TCPSegment(packet, at: seen.l4, length: seen.l4Length))) : .first
    }

    /// Follows a packet.
    ///
    /// - Parameter translated: what it acknowledges has the numbers that translation gave it.
    func update(
        _ seen: TrackedPacket, _ packet: borrowing Packet, reply: Bool, translated: Bool, checksSequence: Bool, now: Int64
    ) -> TCPTracking.Verdict {
        let segment =
            seen.key.proto == IPProtocol.tcp ? TCPSegment(packet, at: seen.l4, length: seen.l4Length) : nil
        return state.withLock { s in
            switch s.progress {
            case .tcp(var tcp):
                guard var segment else { return .invalid }
                if translated { segment.acknowledgement = s.shifts[isReply: !reply].original(segment.acknowledgement) }
                let verdict = tcp.update(segment, reply: reply, checksSequence: checksSequence)
                s.progress = .tcp(tcp)
                if verdict == .valid || verdict == .validNew { prolong(&s, now: now) }
                return verdict
            case .first, .multiple, .bidirectional:
                if reply {
                    s.progress = .bidirectional
                } else if case .first = s.progress, !key.isICMP {
                    s.progress = .multiple
                }
                prolong(&s, now: now)
                if case .bidirectional = s.progress { return .valid }
                return .validNew
            }
        }
    }
}
