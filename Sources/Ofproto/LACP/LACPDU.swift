// The frames of LACP (IEEE 802.1AX-2008, section 5.4.2).

/// What one end says of a port.
public struct LACPInfo: Hashable, Sendable {
    /// Bits of the state octet, least significant first.
    public struct State: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let activity = State(rawValue: 1)
        /// Wants a frame each second.
        public static let timeout = State(rawValue: 2)
        public static let aggregation = State(rawValue: 4)
        public static let synchronized = State(rawValue: 8)
        public static let collecting = State(rawValue: 16)
        public static let distributing = State(rawValue: 32)
        public static let defaulted = State(rawValue: 64)
        public static let expired = State(rawValue: 128)

        private static let names = [
            "activity", "timeout", "aggregation", "synchronized", "collecting", "distributing", "defaulted", "expired",
        ]

        /// As `lacp/show` prints it, each word behind a space.
        public var text: String { Self.names.indices.filter { rawValue >> UInt8($0) & 1 != 0 }.map { " " + Self.names[$0] }.joined() }
    }

    public var systemPriority: UInt16 = 0
    /// An Ethernet address.
    public var systemID: UInt64 = 0
    public var key: UInt16 = 0
    public var portPriority: UInt16 = 0
    public var portID: UInt16 = 0
    public var state = State()

    public init() {}

    /// Smaller is more important.
    var precedence: (UInt16, UInt64, UInt16, UInt16) { (systemPriority, systemID, portPriority, portID) }

    /// Both say the same but for these states' bits, which come and go by themselves.
    func agrees(with other: LACPInfo) -> Bool {
        var (a, b) = (self, other)
        a.state.remove(.expired)
        b.state.remove(.expired)
        return a == b
    }
}

/// One frame's body.
public struct LACPDU: Hashable, Sendable {
    static let etherType: UInt16 = 0x8809
    static let group: UInt64 = 0x0180_c200_0002
    static let size = 110

    public var actor = LACPInfo()
    public var partner = LACPInfo()
    public init() {}

    /// What stands in the payload of a slow-protocols frame.
    public enum Payload: Equatable, Sendable {
        case pdu(LACPDU)
        case markerRequest
        case bad
    }

    public static func parse(_ bytes: some RandomAccessCollection<UInt8>) -> Payload {
        let b = Array(bytes)
        guard b.count >= 2 else { return .bad }
        // Subtype 2 is the marker protocol, and 1 of its information.
        if b[0] == 2 { return b.count > 2 && b[2] == 1 ? .markerRequest : .bad }
        guard b.count >= size, b[0] == 1, b[1] == 1, b[2] == 1, b[3] == 20, b[22] == 2, b[23] == 20 else { return .bad }
        func info(_ at: Int) -> LACPInfo {
            func number(_ offset: Int) -> UInt16 { UInt16(b[at + offset]) << 8 | UInt16(b[at + offset + 1]) }
            var i = LACPInfo()
            i.systemPriority = number(0)
            for n in 2..<8 { i.systemID = i.systemID << 8 | UInt64(b[at + n]) }
            i.key = number(8)
            i.portPriority = number(10)
            i.portID = number(12)
            i.state = LACPInfo.State(rawValue: b[at + 14])
            return i
        }
        var pdu = LACPDU()
        pdu.actor = info(4)
        pdu.partner = info(24)
        return .pdu(pdu)
    }

    public var bytes: [UInt8] {
        var b: [UInt8] = [1, 1]
        func put(_ type: UInt8, _ i: LACPInfo) {
            b += [type, 20]
            func number(_ v: UInt16) { b += [UInt8(v >> 8), UInt8(v & 0xff)] }
            number(i.systemPriority)
            for shift in stride(from: UInt64(40), through: 0, by: -8) { b.append(UInt8(truncatingIfNeeded: i.systemID >> shift)) }
            number(i.key)
            number(i.portPriority)
            number(i.portID)
            b += [i.state.rawValue, 0, 0, 0]
        }
        put(1, actor)
        put(2, partner)
        // The collector, which may be as late as it likes.
        b += [3, 16]
        return b + [UInt8](repeating: 0, count: Self.size - b.count)
    }

    /// The whole frame, from a port's address.
    func frame(from source: UInt64) -> [UInt8] { EthernetFrame.bytes(to: Self.group, from: source, type: Self.etherType, payload: bytes) }
}

/// Frames that the switch itself sends.
enum EthernetFrame {
    static func bytes(to destination: UInt64, from source: UInt64, type: UInt16, payload: [UInt8]) -> [UInt8] {
        var b: [UInt8] = []
        for address in [destination, source] {
            for shift in stride(from: UInt64(40), through: 0, by: -8) { b.append(UInt8(truncatingIfNeeded: address >> shift)) }
        }
        return b + [UInt8(type >> 8), UInt8(type & 0xff)] + payload
    }
}
