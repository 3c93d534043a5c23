// Following a TCP connection from between its ends: which segments can belong to it, by the sequence numbers, windows and
// flags that both ends have shown (Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", 2001, as BSD's pf
// uses it). Each end has the last octet it sent, the last it may send, and the largest window it offered.

import Packet

/// What of a TCP segment matters here.
struct TCPSegment {
    static let fin: UInt16 = 1
    static let syn: UInt16 = 2
    static let rst: UInt16 = 4
    static let psh: UInt16 = 8
    static let ack: UInt16 = 16
    static let urg: UInt16 = 32

    var sequence: UInt32
    var acknowledgement: UInt32
    var flags: UInt16
    var window: UInt32
    /// Octets of data.
    var length: UInt32
    /// The shift of the window scale option (RFC 7323), in a SYN that has it.
    var windowScale: UInt8?

    /// The caller has checked that the header is there.
    init(_ packet: borrowing Packet, at l4: Int, length total: Int) {
        sequence = packet.load32(l4 + 4)
        acknowledgement = packet.load32(l4 + 8)
        let header = Int(packet.load8(l4 + 12) >> 4) * 4
        flags = packet.load16(l4 + 12) & 0x0fff
        window = UInt32(packet.load16(l4 + 14))
        length = UInt32(max(0, total - header))
        var at = HeaderSize.tcp
        while flags & Self.syn != 0, at < header, at < total {
            let kind = packet.load8(l4 + at)
            if kind == 0 { break }
            if kind == 1 {
                at += 1
                continue
            }
            guard at + 2 <= min(header, total) else { break }
            let size = Int(packet.load8(l4 + at + 1))
            guard size >= 2, at + size <= min(header, total) else { break }
            if kind == 3, size == 3 { windowScale = min(packet.load8(l4 + at + 2), 14) }
            at += size
        }
    }

    func has(_ flag: UInt16) -> Bool { flags & flag != 0 }

    /// Combinations that no TCP sends.
    var isInvalid: Bool {
        if has(Self.syn) { return has(Self.rst) || has(Self.fin) || !has(Self.ack) && (has(Self.psh) || has(Self.urg)) }
        guard has(Self.ack) else { return !has(Self.rst) || has(Self.fin) || has(Self.psh) || has(Self.urg) }
        return false
    }

    /// A first SYN, or a segment of a connection that was there before; half of a handshake opens none.
    var mayOpen: Bool { !isInvalid && !(has(Self.syn) && has(Self.ack)) }
}

/// The states of one end.
enum TCPState: UInt8, Sendable, Comparable {
    case closed = 0, listen, synSent, synReceived, established, closeWait, finWait1, closing, lastAck, finWait2, timeWait

    static func < (a: TCPState, b: TCPState) -> Bool { a.rawValue < b.rawValue }

    var name: String {
        switch self {
        case .closed: "CLOSED"
        case .listen: "LISTEN"
        case .synSent: "SYN_SENT"
        case .synReceived: "SYN_RECV"
        case .established: "ESTABLISHED"
        case .closeWait: "CLOSE_WAIT"
        case .finWait1: "FIN_WAIT_1"
        case .closing: "CLOSING"
        case .lastAck: "LAST_ACK"
        case .finWait2: "FIN_WAIT_2"
        case .timeWait: "TIME_WAIT"
        }
    }
}

/// How the ends of a connection scale their windows.
enum WindowScale: Hashable, Sendable {
    /// The end's SYN was not seen.
    case unknown
    /// The SYN had no option, or none was seen yet.
    case none
    case shift(UInt8)
}

/// A connection's two ends.
struct TCPTracking: Sendable {
    struct End: Sendable {
        var state = TCPState.closed
        /// The octet after the last that was sent.
        var sent: UInt32 = 0
        /// The octet after the last that the other end's window allows.
        var limit: UInt32 = 1
        var maxWindow: UInt32 = 1
        var scale = WindowScale.none
    }

    enum Verdict {
        case valid
        /// It belongs to the connection, which nobody has answered yet.
        case validNew
        case invalid
        /// The connection had ended, and this begins another.
        case reopened
    }

    /// Who sent the first segment, and the other.
    var origin = End()
    var peer = End()

    /// Octets by which acknowledgements may be off.
    private static let slack: UInt32 = 0xffff + 1500

    init(first s: TCPSegment) {
        origin.sent = s.sequence
        var end = s.sequence &+ s.length &+ 1
        origin.maxWindow = max(s.window, 1)
        if s.has(TCPSegment.syn) {
            end &+= 1
            if let shift = s.windowScale {
                origin.scale = .shift(shift)
                origin.maxWindow = Self.unscaled(origin.maxWindow, shift)
            }
        } else {
            origin.scale = .unknown
            peer.scale = .unknown
        }
        if s.has(TCPSegment.fin) { end &+= 1 }
        origin.limit = end
        origin.state = .synSent
    }

    /// A SYN's window is not scaled, so it is brought to the scale of the others.
    private static func unscaled(_ window: UInt32, _ shift: UInt8) -> UInt32 {
        (window + (1 << UInt32(shift)) - 1) >> UInt32(shift)
    }

    /// True when `a` is at or behind `b` in sequence space.
    private static func atLeast(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: a &- b) >= 0 }

    /// Follows a segment. `checksSequence` false lets segments outside the windows pass.
    mutating func update(_ s: TCPSegment, reply: Bool, checksSequence: Bool) -> Verdict {
        guard !s.isInvalid else { return .invalid }
        var source = reply ? peer : origin
        var other = reply ? origin : peer
        defer {
            if reply {
                peer = source
                origin = other
            } else {
                origin = source
                peer = other
            }
        }
        if s.has(TCPSegment.syn), !s.has(TCPSegment.ack) {
            if other.state >= .finWait2, source.state >= .finWait2 {
                source.state = .closed
                other.state = .closed
                return .reopened
            }
            if source.state <= .synSent {
                source.state = .synSent
                return .validNew
            }
        }

        var sourceShift: UInt32 = 0
        var otherShift: UInt32 = 0
        if !s.has(TCPSegment.syn) {
            if case .shift(let a) = source.scale, case .shift(let b) = other.scale {
                sourceShift = UInt32(a)
                otherShift = UInt32(b)
            } else if source.scale == .unknown, other.scale == .unknown {
                sourceShift = 14
                otherShift = 14
            }
        }
        var window = s.window
        var sequence = s.sequence
        let start = s.sequence
        var end = sequence &+ s.length
        if s.has(TCPSegment.syn) { end &+= 1 }
        if s.has(TCPSegment.fin) { end &+= 1 }
        if source.state < .synSent {
            // The first that this end says.
            if s.has(TCPSegment.syn), case .shift(let theirs) = other.scale {
                if let shift = s.windowScale {
                    source.scale = .shift(shift)
                    window = Self.unscaled(window, shift)
                    otherShift = UInt32(theirs)
                } else {
                    // It does not scale, so neither does the other.
                    other.maxWindow = other.maxWindow << UInt32(theirs)
                    other.scale = .none
                }
            }
            source.sent = sequence
            source.state = .synSent
            let allowed = end &+ max(1, other.maxWindow << otherShift)
            if source.limit == 1 || Self.atLeast(allowed, source.limit) { source.limit = allowed }
            source.maxWindow = max(source.maxWindow, window)
        }
        var acknowledged = s.acknowledgement
        if !s.has(TCPSegment.ack) || acknowledged == 0 && s.has(TCPSegment.rst) { acknowledged = other.sent }
        if sequence == end {
            // Segments without data say little by their number.
            sequence = source.sent
            end = sequence
        }
        let skew = Int32(bitPattern: other.sent &- acknowledged)
        let resetFits =
            !s.has(TCPSegment.rst) || start == source.sent || start == source.sent &+ 1 || start &+ 1 == source.sent
        let fits =
            Self.atLeast(source.limit, end) && Self.atLeast(sequence, source.sent &- (other.maxWindow << otherShift))
            && Int64(skew) >= -Int64(Self.slack) && Int64(skew) <= Int64(Self.slack) << Int64(sourceShift) && resetFits
        let isLoose =
            (other.state < .synSent || other.state >= .finWait2 || source.state >= .finWait2)
            && Self.atLeast(source.limit &+ Self.slack, end) && Self.atLeast(sequence, source.sent &- Self.slack)
        guard fits || !checksSequence || isLoose else { return .invalid }

        source.maxWindow = max(source.maxWindow, window)
        if Int32(bitPattern: end &- source.sent) > 0 { source.sent = end }
        let offered = acknowledged &+ (window << sourceShift)
        if Self.atLeast(offered, other.limit) { other.limit = acknowledged &+ max(window << sourceShift, 1) }
        if s.has(TCPSegment.fin), source.state < .closing { source.state = .closing }
        if fits || !checksSequence {
            if s.has(TCPSegment.syn), source.state < .synSent { source.state = .synSent }
            if s.has(TCPSegment.ack) {
                if other.state == .synSent { other.state = .established } else if other.state == .closing { other.state = .finWait2 }
            }
        }
        if s.has(TCPSegment.rst) {
            source.state = .timeWait
            other.state = .timeWait
        }
        return .valid
    }

    /// The timeout that applies now.
    var timeout: ConntrackTimeout {
        let low = min(origin.state, peer.state)
        let high = max(origin.state, peer.state)
        if low >= .finWait2 { return .tcpTimeWait }
        if low >= .closing { return .tcpFinWait }
        if low < .established { return .tcpSynReceived }
        return high >= .closing ? .tcpClosing : .tcpEstablished
    }
}
