// Protocols that announce further connections within one: FTP (RFC 959, RFC 2428) and TFTP (RFC 1350). What they announce
// is expected for a while; its first packet is related to the connection that announced it.

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
}

/// What is expected, by everything but the source port. Confined to the tracker's lock.
struct ExpectationTable: Sendable {
    static let limit = 8192
    private static let lifetime: Int64 = 30_000
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

    mutating func add(_ key: ConnectionKey, parent: ConnectionKey, mark: UInt32, label: UInt128, now: Int64) {
        guard entries.count < Self.limit else { return }
        entries[general(key)] = Expectation(parent: parent, mark: mark, label: label, deadline: now + Self.lifetime)
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
    func followApplication(
        _ packet: borrowing Packet, _ seen: TrackedPacket, _ connection: Connection, isReply: Bool, _ action: DpConntrack,
        now: Int64
    ) {
        guard let helper = connection.helper ?? action.helper else { return }
        switch (helper, seen.key.proto) {
        case ("ftp", IPProtocol.tcp):
            let header = Int(packet.load8(seen.l4 + 12) >> 4) * 4
            let line = packet.slice(seen.l4 + header, min(seen.l4Length - header, 512))
            guard let data = FTPCommand.announced(line, connection: connection.key, isReply: isReply) else { return }
            expect(data, connection, now: now)
        case ("tftp", IPProtocol.udp) where !isReply:
            // The server answers from a port of its own to the one that asked.
            var data = connection.key.reversed
            data.sourcePort = 0
            expect(data, connection, now: now)
        default: break
        }
    }

    private func expect(_ key: ConnectionKey, _ connection: Connection, now: Int64) {
        let (mark, label) = connection.state.withLock { ($0.mark, $0.label) }
        expectations.withLock { $0.add(key, parent: connection.key, mark: mark, label: label, now: now) }
    }
}

/// The commands and answers of FTP that name a data connection.
enum FTPCommand {
    /// The data connection's first direction, with source port 0; nil when the line names none.
    static func announced(_ line: UnsafeRawBufferPointer, connection: ConnectionKey, isReply: Bool) -> ConnectionKey? {
        let text = String(decoding: line.prefix { $0 != 13 && $0 != 10 }, as: UTF8.self)
        var key = connection
        key.sourcePort = 0
        if !isReply {
            // Active: the server connects to the client.
            let upper = text.uppercased()
            if upper.hasPrefix("PORT "), !key.isIPv6, let (_, port) = numbers(text.dropFirst(5)) {
                return toClient(key, port)
            }
            if upper.hasPrefix("EPRT "), let port = extended(text.dropFirst(5)) { return toClient(key, port) }
            return nil
        }
        if text.hasPrefix("227 "), !key.isIPv6, let open = text.firstIndex(of: "("),
            let (_, port) = numbers(text[text.index(after: open)...])
        {
            key.destinationPort = port
            return key
        }
        if text.hasPrefix("229 "), let open = text.firstIndex(of: "("), let port = extended(text[text.index(after: open)...]) {
            key.destinationPort = port
            return key
        }
        return nil
    }

    private static func toClient(_ key: ConnectionKey, _ port: UInt16) -> ConnectionKey {
        var k = key.reversed
        k.sourcePort = 0
        k.destinationPort = port
        return k
    }

    /// `h1,h2,h3,h4,p1,p2`.
    private static func numbers(_ text: Substring) -> (address: UInt32, port: UInt16)? {
        let end = text.firstIndex { !$0.isNumber && $0 != "," } ?? text.endIndex
        let parts = text[..<end].split(separator: ",").compactMap { UInt8($0) }
        guard parts.count == 6 else { return nil }
        let address = parts[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return (address, UInt16(parts[4]) << 8 | UInt16(parts[5]))
    }

    /// `|1|132.235.1.2|6275|` or `|||6446|`: the port is the third part.
    private static func extended(_ text: Substring) -> UInt16? {
        guard let separator = text.first else { return nil }
        let parts = text.split(separator: separator, omittingEmptySubsequences: false)
        guard parts.count >= 5, let port = UInt16(parts[3]), port != 0 else { return nil }
        return port
    }
}
