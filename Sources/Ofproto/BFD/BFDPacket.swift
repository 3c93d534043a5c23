// BFD control packets (RFC 5880, section 4.1) in IPv4 and UDP (RFC 5881), as the switch exchanges them with its neighbours.

import Packet

/// A BFD control packet.
public struct BFDPacket: Hashable, Sendable {
    /// RFC 5880, section 4.1 "Sta".
    public enum State: UInt8, Sendable {
        case adminDown = 0, down, initialising, up
        public var text: String {
            switch self {
            case .adminDown: "admin_down"
            case .down: "down"
            case .initialising: "init"
            case .up: "up"
            }
        }
    }

    static let destination: UInt64 = 0x0023_2000_0001
    static let port: UInt16 = 3784
    private static let diagnostics = [
        "No Diagnostic", "Control Detection Time Expired", "Echo Function Failed", "Neighbor Signaled Session Down",
        "Forwarding Plane Reset", "Path Down", "Concatenated Path Down", "Administratively Down", "Reverse Concatenated Path Down",
    ]

    /// A diagnostic code in words.
    public static func text(diagnostic: UInt8) -> String {
        Int(diagnostic) < diagnostics.count ? diagnostics[Int(diagnostic)] : "Unknown Diagnostic"
    }

    public var diagnostic: UInt8 = 0
    public var state = State.down
    public var poll = false
    public var final = false
    public var multiplier: UInt8 = 3
    public var mine: UInt32 = 0
    public var yours: UInt32 = 0
    /// Microseconds.
    public var minTX: UInt32 = 0
    public var minRX: UInt32 = 0

    public init() {}

    /// Reads a packet from a UDP payload; nil when RFC 5880, section 6.8.6 has it discarded unseen.
    public init?(_ b: [UInt8]) {
        // Neither authenticated, nor with demand or multipoint, which nobody asked for.
        guard b.count >= 24, b[0] >> 5 == 1, b[3] >= 24, Int(b[3]) <= b.count, b[1] & 0x05 == 0,
            let state = State(rawValue: b[1] >> 6), b[2] != 0
        else { return nil }
        func word(_ at: Int) -> UInt32 { b[at..<(at + 4)].reduce(0) { $0 << 8 | UInt32($1) } }
        diagnostic = b[0] & 31
        self.state = state
        poll = b[1] & 0x20 != 0
        final = b[1] & 0x10 != 0
        multiplier = b[2]
        mine = word(4)
        yours = word(8)
        minTX = word(12)
        minRX = word(16)
        guard mine != 0, yours != 0 || state == .down || state == .adminDown else { return nil }
    }

    public var bytes: [UInt8] {
        var b: [UInt8] = [1 << 5 | diagnostic & 31, state.rawValue << 6 | (poll ? 0x20 : 0) | (final ? 0x10 : 0), multiplier, 24]
        for word in [mine, yours, minTX, minRX, 0] {
            for shift in [UInt32(24), 16, 8, 0] { b.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        return b
    }

    /// The whole frame, between the link-local addresses that the real daemon takes.
    public func frame(from source: UInt64, sourcePort: UInt16) -> [UInt8] {
        let payload = bytes
        var ip: [UInt8] = [0x45, 0xc0, 0, UInt8(28 + payload.count), 0, 0, 0, 0, 255, 17, 0, 0, 169, 254, 1, 1, 169, 254, 1, 0]
        let sum = ip.withUnsafeBytes { InternetChecksum.checksum($0) }
        ip[10] = UInt8(sum >> 8)
        ip[11] = UInt8(sum & 0xff)
        let udp: [UInt8] = [
            UInt8(sourcePort >> 8), UInt8(sourcePort & 0xff), UInt8(Self.port >> 8), UInt8(Self.port & 0xff), 0, UInt8(8 + payload.count),
            0, 0,
        ]
        return EthernetFrame.bytes(to: Self.destination, from: source, type: EtherType.ipv4, payload: ip + udp + payload)
    }

    /// The UDP payload of a frame that came in; nil when it is none, or came through a router (RFC 5881, section 5).
    public static func payload(of frame: [UInt8]) -> [UInt8]? {
        var at = 12
        while at + 4 <= frame.count, frame[at] == 0x81, frame[at + 1] == 0 { at += 4 }
        at += 2
        guard at + 20 <= frame.count, frame[at] >> 4 == 4 else { return nil }
        let header = Int(frame[at] & 15) * 4
        guard header >= 20, frame[at + 8] == 255, at + header + 8 <= frame.count else { return nil }
        return Array(frame[(at + header + 8)...])
    }
}
