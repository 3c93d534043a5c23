// The frames of the link layer discovery protocol (IEEE 802.1AB-2005, section 9), with the elements of Auto Attach
// (draft-unbehagen-lldp-spb): who is there, and which VLANs are to be carried by which service of a shortest path bridging network.

/// One frame's body: the mandatory elements, and what the switch says and understands besides.
public struct LLDPDU: Hashable, Sendable {
    /// The element by which an Auto Attach client or server says what it is.
    public struct Element: Hashable, Sendable {
        /// What the element is, 6 bits; 14 is a client that is a virtual switch.
        public var type: UInt8 = 14
        /// 6 bits.
        public var state: UInt8 = 0
        /// 12 bits.
        public var managementVLAN: UInt16 = 0
        /// An Ethernet address, and four bytes that tell connections apart.
        public var systemID: [UInt8] = Array(repeating: 0, count: 10)
        public init() {}
    }

    /// A VLAN's service.
    public struct Assignment: Hashable, Sendable {
        /// 1 pending, 2 active, larger: refused. 4 bits.
        public var status: UInt8 = 0
        /// 12 bits.
        public var vlan: UInt16
        /// 24 bits.
        public var service: UInt32
        public init(vlan: UInt16, service: UInt32) {
            self.vlan = vlan
            self.service = service
        }
    }

    static let etherType: UInt16 = 0x88cc
    static let group: UInt64 = 0x0180_c200_000e
    private static let organization: [UInt8] = [0x00, 0x04, 0x0d]
    private static let digestSize = 32
    /// The capability of a bridge.
    private static let bridge: [UInt8] = [0, 4]

    /// With their subtypes.
    public var chassisID: [UInt8] = []
    public var portID: [UInt8] = []
    /// Seconds.
    public var timeToLive: UInt16 = 120
    public var systemName = ""
    public var systemDescription = ""
    public var element: Element?
    public var assignments: [Assignment] = []
    /// Elements that nobody here understands.
    public var unrecognized = 0

    public init() {}

    public enum Problem: Error, Equatable { case malformed }

    /// Reads what follows the Ethernet header.
    public init(_ bytes: some RandomAccessCollection<UInt8>) throws(Problem) {
        let b = Array(bytes)
        var at = 0
        var count = 0
        var isEnded = false
        while !isEnded {
            guard at + 2 <= b.count else { throw .malformed }
            let type = b[at] >> 1
            let size = Int(b[at] & 1) << 8 | Int(b[at + 1])
            at += 2
            guard at + size <= b.count else { throw .malformed }
            let value = Array(b[at..<at + size])
            at += size
            // Chassis, port and time to live come first, in this order, and once.
            guard (count < 3) == (1...3).contains(type), count >= 3 || Int(type) == count + 1 else { throw .malformed }
            count += 1
            switch type {
            case 0: isEnded = true
            case 1, 2:
                guard (2...256).contains(size) else { throw .malformed }
                if type == 1 { chassisID = value } else { portID = value }
            case 3:
                guard size >= 2 else { throw .malformed }
                timeToLive = UInt16(value[0]) << 8 | UInt16(value[1])
            case 4, 7, 8: break
            case 5: systemName = String(decoding: value, as: UTF8.self)
            case 6: systemDescription = String(decoding: value, as: UTF8.self)
            case 127: try readOrganizational(value)
            default: unrecognized += 1
            }
        }
    }

    private mutating func readOrganizational(_ v: [UInt8]) throws(Problem) {
        guard v.count >= 4 else { throw .malformed }
        guard Array(v.prefix(3)) == Self.organization, v[3] == 11 || v[3] == 12 else {
            unrecognized += 1
            return
        }
        let body = Array(v.dropFirst(4 + Self.digestSize))
        if v[3] == 11 {
            guard body.count >= 14 else { throw .malformed }
            var e = Element()
            e.type = body[0] >> 2
            e.state = (body[0] & 3) << 4 | body[1] >> 4
            e.managementVLAN = UInt16(body[2] & 0xf) << 8 | UInt16(body[3])
            e.systemID = Array(body[4..<14])
            element = e
        } else {
            guard v.count >= 4 + Self.digestSize else { throw .malformed }
            for i in stride(from: 0, to: body.count - 4, by: 5) {
                var a = Assignment(
                    vlan: UInt16(body[i] & 0xf) << 8 | UInt16(body[i + 1]),
                    service: UInt32(body[i + 2]) << 16 | UInt32(body[i + 3]) << 8 | UInt32(body[i + 4]))
                a.status = body[i] >> 4
                assignments.append(a)
            }
        }
    }

    public var bytes: [UInt8] {
        var b: [UInt8] = []
        func put(_ type: UInt8, _ value: [UInt8]) {
            let size = min(value.count, 511)
            b += [type << 1 | UInt8(size >> 8), UInt8(size & 0xff)] + value.prefix(size)
        }
        put(1, chassisID)
        put(2, portID)
        put(3, [UInt8(timeToLive >> 8), UInt8(timeToLive & 0xff)])
        if !systemName.isEmpty { put(5, Array(systemName.utf8.prefix(255))) }
        if !systemDescription.isEmpty { put(6, Array(systemDescription.utf8.prefix(255))) }
        // What the sender can be, and is.
        put(7, Self.bridge + Self.bridge)
        // Nothing is signed.
        let digest = [UInt8](repeating: 0, count: Self.digestSize)
        if let e = element {
            let vlan = e.managementVLAN
            let head = [e.type << 2 | e.state >> 4 & 3, e.state << 4, UInt8(vlan >> 8 & 0xf), UInt8(vlan & 0xff)]
            put(127, Self.organization + [11] + digest + head + e.systemID)
        }
        if !assignments.isEmpty {
            var body: [UInt8] = []
            // What fits into one element.
            for a in assignments.prefix((511 - 4 - Self.digestSize) / 5) {
                body += [a.status << 4 | UInt8(a.vlan >> 8 & 0xf), UInt8(a.vlan & 0xff)]
                body += [UInt8(a.service >> 16 & 0xff), UInt8(a.service >> 8 & 0xff), UInt8(a.service & 0xff)]
            }
            put(127, Self.organization + [12] + digest + body)
        }
        put(0, [])
        return b
    }

    /// The whole frame, from a port's address.
    func frame(from source: UInt64) -> [UInt8] { EthernetFrame.bytes(to: Self.group, from: source, type: Self.etherType, payload: bytes) }
}
