// Bridge protocol data units: configuration and topology change notification (IEEE 802.1D-1998, section 9), and those of the
// rapid spanning tree (IEEE 802.1D-2004, section 9.3.3).

/// A bridge protocol data unit.
public struct BPDU: Hashable, Sendable {
    /// BPDU type.
    public enum Kind: UInt8, Sendable {
        case configuration = 0
        case rapid = 2
        case topologyChangeNotification = 0x80
    }

    /// The flags octet.
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let topologyChange = Flags(rawValue: 0x01)
        public static let proposal = Flags(rawValue: 0x02)
        public static let learning = Flags(rawValue: 0x10)
        public static let forwarding = Flags(rawValue: 0x20)
        public static let agreement = Flags(rawValue: 0x40)
        public static let acknowledgement = Flags(rawValue: 0x80)

        /// The sender's role: 0 unknown, 1 alternate or backup, 2 root, 3 designated.
        public var role: UInt8 { rawValue >> 2 & 3 }
        public static func role(_ role: UInt8) -> Flags { Flags(rawValue: (role & 3) << 2) }
    }

    public var kind = Kind.configuration
    public var flags: Flags = []
    /// Priority in the upper 16 bits, an Ethernet address in the others.
    public var root: UInt64 = 0
    public var rootPathCost: UInt32 = 0
    public var bridge: UInt64 = 0
    public var port: UInt16 = 0
    // In 1/256 s.
    public var messageAge: UInt16 = 0
    public var maxAge: UInt16 = 0
    public var helloTime: UInt16 = 0
    public var forwardDelay: UInt16 = 0

    public init(_ kind: Kind = .configuration) { self.kind = kind }

    static let group: UInt64 = 0x0180_c200_0000
    /// What translation gives frames as type that have a length there, and no SNAP header.
    static let frameType: UInt16 = 0x05ff
    private static let llc: [UInt8] = [0x42, 0x42, 0x03]

    /// Why bytes are no BPDU.
    public enum Problem: Error, Equatable { case malformed }

    /// Reads what follows the LLC header. Bytes behind the message are ignored.
    public init(_ bytes: some RandomAccessCollection<UInt8>) throws(Problem) {
        let b = Array(bytes.prefix(36))
        func number(_ at: Int, _ count: Int) -> UInt64 { b[at..<at + count].reduce(0) { $0 << 8 | UInt64($1) } }
        guard b.count >= 4, b[0] == 0, b[1] == 0, let kind = Kind(rawValue: b[3]) else { throw .malformed }
        self.kind = kind
        switch kind {
        case .topologyChangeNotification: return
        case .configuration: guard b.count >= 35 else { throw .malformed }
        case .rapid: guard b.count >= 36, b[2] >= 2 else { throw .malformed }
        }
        flags = Flags(rawValue: b[4])
        root = number(5, 8)
        rootPathCost = UInt32(truncatingIfNeeded: number(13, 4))
        bridge = number(17, 8)
        port = UInt16(truncatingIfNeeded: number(25, 2))
        messageAge = UInt16(truncatingIfNeeded: number(27, 2))
        maxAge = UInt16(truncatingIfNeeded: number(29, 2))
        helloTime = UInt16(truncatingIfNeeded: number(31, 2))
        forwardDelay = UInt16(truncatingIfNeeded: number(33, 2))
        // Information that is older than it may become is no information.
        if messageAge >= maxAge { throw .malformed }
    }

    /// The message without its LLC header: 4 bytes for a notification, 35 for a configuration, 36 with the rapid protocol.
    public var bytes: [UInt8] {
        var b: [UInt8] = []
        func put(_ value: UInt64, _ count: Int) {
            for i in (0..<count).reversed() { b.append(UInt8(truncatingIfNeeded: value >> UInt64(i * 8))) }
        }
        put(0, 2)
        put(kind == .rapid ? 2 : 0, 1)
        put(UInt64(kind.rawValue), 1)
        guard kind != .topologyChangeNotification else { return b }
        put(UInt64(flags.rawValue), 1)
        put(root, 8)
        put(UInt64(rootPathCost), 4)
        put(bridge, 8)
        for value in [port, messageAge, maxAge, helloTime, forwardDelay] { put(UInt64(value), 2) }
        if kind == .rapid { put(0, 1) }
        return b
    }

    /// The message of a frame; nil when the frame has none.
    static func payload(of frame: [UInt8]) -> ArraySlice<UInt8>? {
        // A VLAN tag may come before the length.
        let start = frame.count > 18 && frame[12] == 0x81 && frame[13] == 0 ? 16 : 12
        guard frame.count > start + 5, Array(frame[start + 2..<start + 5]) == llc else { return nil }
        let length = Int(frame[start]) << 8 | Int(frame[start + 1])
        guard length >= 3, length <= 1500 else { return nil }
        return frame[start + 5..<min(frame.count, start + 2 + length)]
    }

    /// The whole frame, from a port's address.
    /// - Parameter size: zeros follow the message up to so many bytes.
    func frame(from source: UInt64, size: Int = 0) -> [UInt8] {
        var message = bytes
        message += [UInt8](repeating: 0, count: max(0, size - message.count))
        let payload = Self.llc + message
        return EthernetFrame.bytes(to: Self.group, from: source, type: UInt16(payload.count), payload: payload)
    }
}

/// What a spanning tree lets a port do.
public struct SpanningTreePermissions: Hashable, Sendable {
    /// Addresses are learned from packets that come in.
    public var learns = true
    /// Packets come in and go out.
    public var forwards = true
    /// BPDUs go through the pipeline's outputs.
    public var passesBPDUs = true
    /// OFPPS_STP_* of OpenFlow 1.0: 0 listening, 1 learning, 2 forwarding, 3 blocking.
    public var openFlowState: UInt32 = 0
}
