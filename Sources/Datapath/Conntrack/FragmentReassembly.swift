// Fragments before the connection tracker (RFC 791 section 3.2, RFC 8200 section 4.5): held until all are there, then
// tracked as the one packet that they are, and sent on as the fragments that came.

import Dpif
import Flow
import Packet

/// Fragments that wait. Confined to the tracker's lock; bounded by `status.maximum`.
struct FragmentReassembly: Sendable {
    /// A fragment.
    struct Piece: Sendable {
        var bytes: [UInt8]
        var isIPv6: Bool
        var l3: Int
        /// Where its payload starts, and how long it is.
        var payloadAt: Int
        var length: Int
        /// Where the payload belongs.
        var offset: Int
        var hasMore: Bool
        /// Where the payload starts in the whole packet.
        var wholePayloadAt = 0

        /// The fragment with what was changed in the whole packet.
        func rewritten(from whole: borrowing Packet) -> [UInt8] {
            var packet = Packet(bytes)
            guard let wholeL3 = whole.l3 else { return bytes }
            let at = l3 + (isIPv6 ? 8 : 12)
            let wholeAt = wholeL3 + (isIPv6 ? 8 : 12)
            for i in 0..<(isIPv6 ? 32 : 8) where wholeAt + i < whole.count { packet.store8(at + i, whole.load8(wholeAt + i)) }
            if !isIPv6 {
                packet.store16(l3 + 10, 0)
                let header = Int(packet.load8(l3) & 0xf) * 4
                packet.store16(l3 + 10, InternetChecksum.checksum(packet.slice(l3, header)))
            }
            for i in 0..<length where wholePayloadAt + offset + i < whole.count {
                packet.store8(payloadAt + i, whole.load8(wholePayloadAt + offset + i))
            }
            return packet.array
        }
    }

    enum Verdict {
        /// Not a fragment that waits; it is tracked as it is, and found invalid.
        case notTaken
        case held
        case complete([UInt8], [Piece])
    }

    private struct Key: Hashable, Sendable {
        var isIPv6: Bool
        var proto: UInt8
        var zone: UInt16
        var recirculation: UInt32
        var source: UInt128
        var destination: UInt128
        var id: UInt32
    }
    private struct Waiting: Sendable {
        var pieces: [Piece]
        var deadline: Int64
    }

    private(set) var status = FragmentStatus()
    private var waiting: [Key: Waiting] = [:]
    private static let lifetime: Int64 = 15_000

    mutating func add(_ packet: borrowing Packet, _ flow: FlowKey, zone: UInt16, now: Int64) -> Verdict {
        guard let l3 = packet.l3, packet.count >= l3 + HeaderSize.ipv4 else { return .notTaken }
        let isIPv6 = flow.isIPv6
        let family = isIPv6 ? \FragmentStatus.ipv6 : \FragmentStatus.ipv4
        guard status[keyPath: family].isEnabled,
            let (piece, id, proto) = isIPv6 ? Self.ipv6Piece(packet, l3) : Self.ipv4Piece(packet, l3)
        else { return .notTaken }
        if piece.hasMore, packet.count < status[keyPath: family].minimumSize {
            status[keyPath: family].tooSmall += 1
            return .notTaken
        }
        guard status.count < status.maximum else { return .notTaken }
        let key = Key(
            isIPv6: isIPv6, proto: proto, zone: zone, recirculation: flow.recircID,
            source: isIPv6 ? flow.ipv6Src : UInt128(flow.nwSrc), destination: isIPv6 ? flow.ipv6Dst : UInt128(flow.nwDst), id: id)
        var entry = waiting[key] ?? Waiting(pieces: [], deadline: now + Self.lifetime)
        for other in entry.pieces
        where piece.offset < other.offset + other.length && other.offset < piece.offset + piece.length {
            status[keyPath: family].overlapped += 1
            return .notTaken
        }
        entry.pieces.append(piece)
        status[keyPath: family].accepted += 1
        status.count += 1
        guard let whole = Self.assemble(&entry.pieces) else {
            waiting[key] = entry
            return .held
        }
        waiting[key] = nil
        status.count -= entry.pieces.count
        status[keyPath: family].completed += UInt64(entry.pieces.count)
        return .complete(whole, entry.pieces)
    }

    mutating func expire(now: Int64) {
        guard !waiting.isEmpty else { return }
        for (key, entry) in waiting where now >= entry.deadline {
            waiting[key] = nil
            status.count -= entry.pieces.count
            let family = key.isIPv6 ? \FragmentStatus.ipv6 : \FragmentStatus.ipv4
            status[keyPath: family].expired += UInt64(entry.pieces.count)
        }
    }

    mutating func setEnabled(ipv6: Bool, _ enabled: Bool) {
        if ipv6 { status.ipv6.isEnabled = enabled } else { status.ipv4.isEnabled = enabled }
    }
    mutating func setMinimum(ipv6: Bool, _ size: Int) {
        if ipv6 { status.ipv6.minimumSize = size } else { status.ipv4.minimumSize = size }
    }
    mutating func setMaximum(_ count: Int) { status.maximum = count }

    private static func ipv4Piece(_ packet: borrowing Packet, _ l3: Int) -> (Piece, UInt32, UInt8)? {
        let header = Int(packet.load8(l3) & 0xf) * 4
        let total = Int(packet.load16(l3 + 2))
        guard header >= HeaderSize.ipv4, total > header, l3 + total <= packet.count,
            InternetChecksum.checksum(packet.slice(l3, header)) == 0
        else { return nil }
        let field = packet.load16(l3 + 6)
        let piece = Piece(
            bytes: packet.array, isIPv6: false, l3: l3, payloadAt: l3 + header, length: total - header,
            offset: Int(field & 0x1fff) * 8, hasMore: field & 0x2000 != 0)
        guard piece.offset + piece.length <= 0xffff, !piece.hasMore || piece.length % 8 == 0 else { return nil }
        return (piece, UInt32(packet.load16(l3 + 4)), packet.load8(l3 + 9))
    }

    private static func ipv6Piece(_ packet: borrowing Packet, _ l3: Int) -> (Piece, UInt32, UInt8)? {
        guard l3 + HeaderSize.ipv6 <= packet.count else { return nil }
        let end = l3 + HeaderSize.ipv6 + Int(packet.load16(l3 + 4))
        guard end <= packet.count else { return nil }
        var at = l3 + HeaderSize.ipv6
        var next = packet.load8(l3 + 6)
        while next != IPProtocol.fragment {
            guard [IPProtocol.hopByHop, IPProtocol.routing, IPProtocol.destinationOptions].contains(next), at + 8 <= end
            else { return nil }
            next = packet.load8(at)
            at += (Int(packet.load8(at + 1)) + 1) * 8
        }
        guard at + 8 < end else { return nil }
        let field = packet.load16(at + 2)
        let piece = Piece(
            bytes: packet.array, isIPv6: true, l3: l3, payloadAt: at + 8, length: end - at - 8, offset: Int(field & 0xfff8),
            hasMore: field & 1 != 0)
        guard piece.offset + piece.length <= 0xffff, !piece.hasMore || piece.length % 8 == 0 else { return nil }
        return (piece, packet.load32(at + 4), packet.load8(at))
    }

    /// The whole packet, when nothing is missing. IPv6 keeps its fragment header, which then says that there is no other.
    private static func assemble(_ pieces: inout [Piece]) -> [UInt8]? {
        let sorted = pieces.sorted { $0.offset < $1.offset }
        guard let first = sorted.first, first.offset == 0, let last = sorted.last, !last.hasMore else { return nil }
        var expected = 0
        for piece in sorted {
            guard piece.offset == expected else { return nil }
            expected += piece.length
        }
        var whole = Array(first.bytes[..<first.payloadAt])
        for piece in sorted { whole += piece.bytes[piece.payloadAt..<(piece.payloadAt + piece.length)] }
        guard whole.count - first.l3 <= 0xffff else { return nil }
        var packet = Packet(whole)
        if first.isIPv6 {
            packet.store16(first.l3 + 4, UInt16(whole.count - first.l3 - HeaderSize.ipv6))
            packet.store16(first.payloadAt - 6, 0)
        } else {
            packet.store16(first.l3 + 2, UInt16(whole.count - first.l3))
            packet.store16(first.l3 + 6, 0)
            packet.store16(first.l3 + 10, 0)
            packet.store16(
                first.l3 + 10, InternetChecksum.checksum(packet.slice(first.l3, first.payloadAt - first.l3)))
        }
        // They go on in the order of their places.
        pieces = sorted
        for i in pieces.indices { pieces[i].wholePayloadAt = first.payloadAt }
        return packet.array
    }
}
