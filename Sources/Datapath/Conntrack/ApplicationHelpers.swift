// Protocols that announce further connections within one: FTP (RFC 959, RFC 2428) and TFTP (RFC 1350). What they announce
// is expected for a while; its first packet is related to the connection that announced it. Where addresses are translated, those
// that FTP writes into its lines are, too.

import Dpif
import Flow
import Packet

/// A connection that was announced.
struct Expectation: Sendable {
    /// The original direction of the connection that announced it.
    var parent: ConnectionKey
    var mark: UInt32
    var label: UInt128
    var deadline: Int64
    /// What the first packet's address, and its port where that is given, become on the way.
    var translation: Translation?

    struct Translation: Sendable {
        var kind: DpNAT.Kind
        var address: UInt128
        var port: UInt16?

        /// The key of answers to a connection that was expected.
        func replies(to key: ConnectionKey) -> ConnectionKey {
            var reply = key.reversed
            if kind == .source { reply.destination = address } else { reply.source = address }
            if let port { reply.sourcePort = port }
            return reply
        }
    }
}

/// What is expected, by everything but the source port. Confined to the tracker's lock.
struct ExpectationTable: Sendable {
    static let limit = 8192
    /// Milliseconds.
    static let lifetime: Int64 = 30_000
    private var entries: [ConnectionKey: Expectation] = [:]

    private func general(_ key: ConnectionKey) -> ConnectionKey {
        var k = key
        k.sourcePort = 0
        return k
    }

    func find(_ key: ConnectionKey, now: Int64) -> Expectation? {
        guard !entries.isEmpty, key.hasPorts, let found = entries[general(key)], now < found.deadline else { return nil }
        return found
    }

    mutating func add(_ key: ConnectionKey, _ expectation: Expectation) {
        guard entries.count < Self.limit else { return }
        entries[general(key)] = expectation
    }

    mutating func remove(of parent: ConnectionKey) {
        guard !entries.isEmpty else { return }
        for (key, e) in entries where e.parent == parent { entries[key] = nil }
    }

    mutating func expire(now: Int64) {
        guard !entries.isEmpty else { return }
        for (key, e) in entries where now >= e.deadline { entries[key] = nil }
    }
}

extension ConnectionTracker {
    /// Reads what an application's control connection announces.
    ///
    /// - Parameters:
    ///   - translates: the packet's addresses were translated just now, and what it says of them is to agree.
    ///   - mayGrow: the packet's length may change.
    /// - Returns: false: what it says makes no sense here, and the packet belongs to no connection.
    func followApplication(
        _ packet: inout Packet, _ seen: TrackedPacket, _ connection: Connection, isReply: Bool, _ action: DpConntrack,
        translates: Bool, mayGrow: Bool, now: Int64
    ) -> Bool {
        guard let helper = connection.helper ?? action.helper else { return true }
        switch (helper, seen.key.proto) {
        case ("ftp", IPProtocol.tcp):
            return followFTP(&packet, seen, connection, isReply: isReply, translates: translates, mayGrow: mayGrow, now: now)
        case ("tftp", IPProtocol.udp) where !isReply:
            // The server answers from a port of its own to the one that asked.
            expect(connection, fromClient: false, connection.replyKey.destinationPort, insidePort: connection.key.sourcePort, now: now)
        default: break
        }
        return true
    }

    private func followFTP(
        _ packet: inout Packet, _ seen: TrackedPacket, _ connection: Connection, isReply: Bool, translates: Bool, mayGrow: Bool,
        now: Int64
    ) -> Bool {
        let isIPv6 = connection.key.isIPv6
        let data = seen.l4 + Int(packet.load8(seen.l4 + 12) >> 4) * 4
        var length = seen.l4Length
        let octets = [UInt8](packet.slice(data, min(seen.l4 + length - data, FTPLine.limit)))
        switch FTPLine.read(octets, isReply: isReply, isIPv6: isIPv6) {
        case .other: break
        case .malformed: return false
        case .announcement(let line):
            // Whose address it is, as its owner knows it, and as the other side does.
            let (own, known) =
                isReply
                ? (connection.replyKey.source, connection.key.destination)
                : (connection.key.source, connection.replyKey.destination)
            // Nobody has connections sent to a third party.
            if let named = line.address?.value, named != own, named != known { return false }
            expect(connection, fromClient: isReply, line.port, insidePort: nil, now: now)
            if translates, let (named, text) = line.address, named != known {
                let new = line.text(of: known, isIPv6: isIPv6)
                let delta = new.count - text.count
                guard delta == 0 || mayGrow else { return false }
                packet.replace(data + text.lowerBound, text.count, by: new)
                if delta != 0 {
                    packet.lengthen(by: delta, isIPv6: isIPv6)
                    length += delta
                    let start = packet.load32(seen.l4 + 4)
                    connection.state.withLock { $0.shifts[isReply: isReply].record(lineAt: start, longerBy: delta) }
                }
            }
        }
        if translates { packet.renumber(connection.state.withLock { $0.shifts }, isReply: isReply, l4: seen.l4, length: length) }
        return true
    }

    /// Expects a connection to a port of one end of another connection.
    ///
    /// - Parameters:
    ///   - fromClient: it goes the way in which the other connection was opened.
    ///   - insidePort: what the port is to become, if not the same.
    private func expect(_ parent: Connection, fromClient: Bool, _ port: UInt16, insidePort: UInt16?, now: Int64) {
        var key = fromClient ? parent.key : parent.replyKey
        key.sourcePort = 0
        key.destinationPort = port
        // It is translated as the connection that announced it is, in its own direction.
        let (reply, original) = (parent.replyKey, parent.key)
        let translation: Expectation.Translation? = parent.nat.map { kind in
            switch (kind == .destination, fromClient) {
            case (true, true): .init(kind: .destination, address: reply.source, port: insidePort)
            case (true, false): .init(kind: .source, address: original.destination, port: insidePort)
            case (false, true): .init(kind: .source, address: reply.destination, port: insidePort)
            case (false, false): .init(kind: .destination, address: original.source, port: insidePort)
            }
        }
        let (mark, label) = parent.state.withLock { ($0.mark, $0.label) }
        let expectation = Expectation(
            parent: parent.key, mark: mark, label: label, deadline: now + ExpectationTable.lifetime, translation: translation)
        expectations.withLock { $0.add(key, expectation) }
    }
}

extension Packet {
    /// Puts octets in the place of `size` others.
    fileprivate mutating func replace(_ at: Int, _ size: Int, by octets: [UInt8]) {
        if octets.count > size { insert(octets.count - size, at: at) }
        if octets.count < size { remove(size - octets.count, at: at) }
        for (i, octet) in octets.enumerated() { store8(at + i, octet) }
    }

    /// Says in the network header how long the packet is now.
    fileprivate mutating func lengthen(by delta: Int, isIPv6: Bool) {
        guard let l3 else { return }
        let at = l3 + (isIPv6 ? 4 : 2)
        let old = load16(at)
        let new = UInt16(truncatingIfNeeded: Int(old) + delta)
        store16(at, new)
        if !isIPv6 { store16(l3 + 10, InternetChecksum.update(load16(l3 + 10), from: old, to: new)) }
    }
}
