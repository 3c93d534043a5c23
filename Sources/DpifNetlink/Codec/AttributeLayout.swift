// How the kernel lays a flow key's fields out in attributes (linux/openvswitch.h): one row for each attribute, which writing, reading and
// `set` share, so that what is written is what can be read.

import CLinux
import Flow

/// The bytes of one key attribute.
struct AttributeLayout: Sendable {
    enum Encoding: Sendable {
        /// Most significant byte first.
        case network
        /// In the machine's order.
        case host
        /// OVS_FRAG_TYPE_*; a mask is all or nothing.
        case fragment
        /// As `network`, where the attribute has more room than the field: all of it is matched, or what bits are.
        case widened
        /// No field: zero.
        case padding
    }
    struct Part: Sendable {
        let location: FieldLocation
        let size: Int
        let encoding: Encoding
    }
    let type: Int
    let parts: [Part]
    let size: Int

    init(_ type: ovs_key_attr, _ parts: [Part]) { self.init(type: Int(type.rawValue), parts) }

    init(type: Int, _ parts: [Part]) {
        self.type = type
        self.parts = parts
        size = parts.reduce(0) { $0 + $1.size }
    }

    private static func net(_ location: FieldLocation, _ size: Int? = nil) -> Part {
        Part(location: location, size: size ?? (location.width + 7) / 8, encoding: .network)
    }
    private static func wide(_ location: FieldLocation, _ size: Int) -> Part { Part(location: location, size: size, encoding: .widened) }
    private static func own(_ location: FieldLocation, _ size: Int) -> Part { Part(location: location, size: size, encoding: .host) }
    private static func pad(_ size: Int) -> Part { Part(location: Location.nwFrag, size: size, encoding: .padding) }
    private static let frag = Part(location: Location.nwFrag, size: 1, encoding: .fragment)

    static let priority = AttributeLayout(OVS_KEY_ATTR_PRIORITY, [own(Location.skbPriority, 4)])
    static let mark = AttributeLayout(OVS_KEY_ATTR_SKB_MARK, [own(Location.pktMark, 4)])
    static let inPort = AttributeLayout(OVS_KEY_ATTR_IN_PORT, [own(Location.inPort, 4)])
    static let dpHash = AttributeLayout(OVS_KEY_ATTR_DP_HASH, [own(Location.dpHash, 4)])
    static let recircID = AttributeLayout(OVS_KEY_ATTR_RECIRC_ID, [own(Location.recircID, 4)])
    /// The module knows eight bits (OVS_CS_F_*).
    static let ctState = AttributeLayout(OVS_KEY_ATTR_CT_STATE, [own(FieldLocation(54, 48, 8), 4)])
    static let ctZone = AttributeLayout(OVS_KEY_ATTR_CT_ZONE, [own(Location.ctZone, 2)])
    static let ctMark = AttributeLayout(OVS_KEY_ATTR_CT_MARK, [own(Location.ctMark, 4)])
    static let ctLabels = AttributeLayout(OVS_KEY_ATTR_CT_LABELS, [own(Location.ctLabel, 16)])
    static let ctTuple4 = AttributeLayout(
        OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4,
        [net(Location.ctNwSrc), net(Location.ctNwDst), net(Location.ctTpSrc), net(Location.ctTpDst), net(Location.ctNwProto), pad(3)])
    static let ctTuple6 = AttributeLayout(
        OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6,
        [net(Location.ctIPv6Src), net(Location.ctIPv6Dst), net(Location.ctTpSrc), net(Location.ctTpDst), net(Location.ctNwProto), pad(3)])

    static let ethernet = AttributeLayout(OVS_KEY_ATTR_ETHERNET, [net(Location.ethSrc), net(Location.ethDst)])
    static let ethType = AttributeLayout(OVS_KEY_ATTR_ETHERTYPE, [net(Location.ethType)])
    static let vlan = AttributeLayout(OVS_KEY_ATTR_VLAN, [net(Location.vlanTCI)])
    static let ipv4 = AttributeLayout(
        OVS_KEY_ATTR_IPV4,
        [net(Location.nwSrc), net(Location.nwDst), net(Location.nwProto), net(Location.nwTOS), net(Location.nwTTL), frag])
    static let ipv6 = AttributeLayout(
        OVS_KEY_ATTR_IPV6,
        [
            net(Location.ipv6Src), net(Location.ipv6Dst), net(Location.ipv6Label, 4), net(Location.nwProto), net(Location.nwTOS),
            net(Location.nwTTL), frag,
        ])
    private static func ports(_ type: ovs_key_attr) -> AttributeLayout {
        AttributeLayout(type, [net(Location.tpSrc), net(Location.tpDst)])
    }
    static let tcp = ports(OVS_KEY_ATTR_TCP)
    static let udp = ports(OVS_KEY_ATTR_UDP)
    static let sctp = ports(OVS_KEY_ATTR_SCTP)
    static let tcpFlags = AttributeLayout(OVS_KEY_ATTR_TCP_FLAGS, [net(Location.tcpFlags)])
    private static func typeAndCode(_ type: ovs_key_attr) -> AttributeLayout {
        AttributeLayout(type, [net(FieldLocation(82, 48, 8)), net(FieldLocation(82, 32, 8))])
    }
    static let icmp = typeAndCode(OVS_KEY_ATTR_ICMP)
    static let icmpv6 = typeAndCode(OVS_KEY_ATTR_ICMPV6)
    static let arp = AttributeLayout(
        OVS_KEY_ATTR_ARP,
        [net(Location.nwSrc), net(Location.nwDst), wide(Location.nwProto, 2), net(Location.arpSHA), net(Location.arpTHA), pad(2)])
    static let nd = AttributeLayout(OVS_KEY_ATTR_ND, [net(Location.ndTarget), net(Location.arpSHA), net(Location.arpTHA)])
    static func mpls(_ count: Int) -> AttributeLayout {
        AttributeLayout(OVS_KEY_ATTR_MPLS, (0..<count).map { net(Location.mplsLSE($0)) })
    }
    /// OVS_NSH_KEY_ATTR_BASE and OVS_NSH_KEY_ATTR_MD1, inside OVS_KEY_ATTR_NSH.
    static let nshBase = AttributeLayout(
        type: Int(OVS_NSH_KEY_ATTR_BASE.rawValue),
        [
            net(Location.nshFlags), net(Location.nshTTL), net(Location.nshMDType), net(Location.nshNP), net(Location.nshSPI, 3),
            net(Location.nshSI),
        ])
    static let nshMD1 = AttributeLayout(type: Int(OVS_NSH_KEY_ATTR_MD1.rawValue), (0..<4).map { net(Location.nshC($0)) })

    /// True when the key has no bit in any of the fields.
    func isZero(in key: FlowKey) -> Bool { parts.allSatisfy { $0.encoding == .padding || key[$0.location] == 0 } }

    /// Appends the value of the fields.
    func write(_ key: FlowKey, isMask: Bool, to writer: inout NetlinkMessageWriter) {
        for part in parts {
            switch part.encoding {
            case .padding: writer.zeros(part.size)
            case .fragment:
                let bits = UInt8(truncatingIfNeeded: key[part.location])
                let kind: UInt8 = bits & IPFragment.later != 0 ? 2 : bits & IPFragment.any != 0 ? 1 : 0
                writer.raw([isMask ? (bits == 0 ? 0 : 0xff) : kind])
            case .network, .widened:
                var value = key[part.location]
                if isMask, part.encoding == .widened, value == part.location.allOnes { value = .max }
                writer.raw((0..<part.size).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (part.size - 1 - $0))) })
            case .host:
                let value = key[part.location]
                let bytes = (0..<part.size).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * $0)) }
                writer.raw(UInt16(1).littleEndian == 1 ? bytes : bytes.reversed())
            }
        }
    }

    /// Writes the attribute.
    func writeAttribute(_ key: FlowKey, isMask: Bool, to writer: inout NetlinkMessageWriter) {
        writer.attribute(type) { write(key, isMask: isMask, to: &$0) }
    }

    /// Reads the fields out of an attribute's value. False when it is too short.
    func read(_ bytes: ArraySlice<UInt8>, isMask: Bool, into key: inout FlowKey) -> Bool {
        // Structures may come without what pads them at their end.
        guard bytes.count >= size - (parts.last?.encoding == .padding ? parts.last?.size ?? 0 : 0) else { return false }
        var at = bytes.startIndex
        for part in parts {
            let value = bytes[at..<min(at + part.size, bytes.endIndex)]
            at += part.size
            switch part.encoding {
            case .padding: break
            case .fragment:
                let kind = value.first ?? 0
                key[part.location] = isMask ? (kind == 0 ? 0 : 3) : kind == 2 ? 3 : UInt128(kind & 1)
            case .network, .widened: key[part.location] = value.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
            case .host:
                let ordered = UInt16(1).littleEndian == 1 ? Array(value.reversed()) : Array(value)
                key[part.location] = ordered.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
            }
        }
        return true
    }
}
