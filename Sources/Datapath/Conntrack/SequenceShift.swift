// What it takes to change the length of a line within a TCP connection: from then on the octets of that direction have other
// numbers on either side, so that each later segment, and each acknowledgement of the other side, has to be renumbered.

import Packet

/// How far the octets of one direction have moved. Numbers are the sender's but where it says otherwise.
struct SequenceShift: Sendable {
    /// Up to and including the octet where the last line of another length began, and behind it; modulo 2^32.
    private var before: UInt32 = 0
    private var after: UInt32 = 0
    private var position: UInt32 = 0

    private static func isBehind(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: a &- b) > 0 }

    /// A line that begins at `start` became longer by so many octets. Lines that are sent again count once.
    mutating func record(lineAt start: UInt32, longerBy delta: Int) {
        let delta = UInt32(truncatingIfNeeded: delta)
        if before != after, start == position {
            after = before &+ delta
        } else if before == after || Self.isBehind(start, position) {
            before = after
            after = after &+ delta
            position = start
        }
    }

    /// What an octet's number becomes on the other side.
    func translated(_ sequence: UInt32) -> UInt32 { sequence &+ (Self.isBehind(sequence, position) ? after : before) }

    /// The number, as the sender knows it, of an octet that the other side knows by another.
    func original(_ acknowledgement: UInt32) -> UInt32 {
        acknowledgement &- (Self.isBehind(acknowledgement &- before, position) ? after : before)
    }
}

/// Both directions of a connection.
struct SequenceShifts: Sendable {
    var forward = SequenceShift()
    var backward = SequenceShift()

    /// What octets of a direction have moved by.
    subscript(isReply isReply: Bool) -> SequenceShift {
        get { isReply ? backward : forward }
        set { if isReply { backward = newValue } else { forward = newValue } }
    }
}

extension Packet {
    /// Gives a segment the numbers that its receiver knows, and a checksum that is right for all that changed in it.
    ///
    /// - Parameters:
    ///   - l4: where the header begins, which the caller has checked.
    ///   - length: of the header and the data.
    mutating func renumber(_ shifts: SequenceShifts, isReply: Bool, l4: Int, length: Int) {
        guard let l3 else { return }
        store32(l4 + 4, shifts[isReply: isReply].translated(load32(l4 + 4)))
        let other = shifts[isReply: !isReply]
        if load16(l4 + 12) & TCPSegment.ack != 0 { store32(l4 + 8, other.original(load32(l4 + 8))) }
        renumberSelective(other, l4)
        store16(l4 + 16, 0)
        let isIPv6 = load8(l3) >> 4 == 6
        var sum = UInt64(IPProtocol.tcp) + UInt64(length)
        sum = InternetChecksum.partial(isIPv6 ? slice(l3 + 8, 32) : slice(l3 + 12, 8), sum)
        store16(l4 + 16, InternetChecksum.finish(InternetChecksum.partial(slice(l4, length), sum)))
    }

    /// Selective acknowledgements (RFC 2018) are pairs of numbers in option 5.
    private mutating func renumberSelective(_ shift: SequenceShift, _ l4: Int) {
        let end = min(count, l4 + Int(load8(l4 + 12) >> 4) * 4)
        var at = l4 + HeaderSize.tcp
        while at + 1 < end, load8(at) != 0 {
            if load8(at) == 1 {
                at += 1
                continue
            }
            let size = Int(load8(at + 1))
            guard size >= 2, at + size <= end else { return }
            if load8(at) == 5 {
                for edge in stride(from: at + 2, through: at + size - 4, by: 4) { store32(edge, shift.original(load32(edge))) }
            }
            at += size
        }
    }
}
