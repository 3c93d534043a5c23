// Flow keys and masks as the kernel's attributes (OVS_FLOW_ATTR_KEY, OVS_FLOW_ATTR_MASK, OVS_PACKET_ATTR_KEY).
//
// Which attributes there are follows from the key: the module wants exactly those that a packet with these headers has. A mask has the
// attributes of which a bit is matched; one that is left out is wildcarded.

import CLinux
import Dpif
import Flow
import Packet

/// Writes and reads keys and masks.
struct KeyCodec: Sendable {
    /// Which Geneve options go into keys, and where.
    var tunnelOptions: TunnelOptionMap?

    /// Writes the key's attributes: those of the headers, and of the metadata what is set or matched.
    func writeKey(_ key: FlowKey, mask: FlowMask?, to w: inout NetlinkMessageWriter) {
        write(key, shape: key, mask: mask?.bits, isMask: false, to: &w)
    }

    /// Writes the mask of a flow with the key.
    func writeMask(_ mask: FlowMask, key: FlowKey, to w: inout NetlinkMessageWriter) {
        var bits = mask.bits
        // Flows are of one port and one pass.
        bits.inPort = .max
        bits.recircID = .max
        write(bits, shape: key, mask: bits, isMask: true, to: &w)
    }

    /// Writes what a packet that is to be executed has beside its headers.
    func writeMetadata(_ key: FlowKey, to w: inout NetlinkMessageWriter) {
        writeMetadata(key, shape: key, mask: nil, isMask: false, to: &w)
        if key.packetType >> 16 == 1 {
            w.attribute(Int(OVS_KEY_ATTR_ETHERTYPE.rawValue), network: UInt16(truncatingIfNeeded: key.packetType))
        }
    }

    private func writeMetadata(_ values: FlowKey, shape: FlowKey, mask: FlowKey?, isMask: Bool, to w: inout NetlinkMessageWriter) {
        func put(_ layout: AttributeLayout) {
            if isMask ? layout.isZero(in: values) : layout.isZero(in: values) && (mask.map { layout.isZero(in: $0) } ?? true) { return }
            layout.writeAttribute(values, isMask: isMask, to: &w)
        }
        for layout in [AttributeLayout.priority, .mark, .dpHash, .ctState, .ctZone, .ctMark, .ctLabels] { put(layout) }
        // The original tuple is there when the connection tracker saw the packet.
        if shape.ctNwProto != 0, shape.ctState != 0 {
            if shape.ethType == EtherType.ipv4 { put(.ctTuple4) }
            if shape.ethType == EtherType.ipv6, !isNeighborDiscovery(shape) { put(.ctTuple6) }
        }
        AttributeLayout.recircID.writeAttribute(values, isMask: isMask, to: &w)
        AttributeLayout.inPort.writeAttribute(values, isMask: isMask, to: &w)
        if shape.hasTunnel {
            w.nest(Int(OVS_KEY_ATTR_TUNNEL.rawValue)) {
                TunnelCodec(options: tunnelOptions).write(values, shape: shape, isMask: isMask, to: &$0)
            }
        }
    }

    private func isNeighborDiscovery(_ key: FlowKey) -> Bool {
        key.ethType == EtherType.ipv6 && key.nwProto == IPProtocol.icmpv6 && (key.tpSrc == 135 || key.tpSrc == 136)
    }

    private func write(_ values: FlowKey, shape: FlowKey, mask: FlowKey?, isMask: Bool, to w: inout NetlinkMessageWriter) {
        writeMetadata(values, shape: shape, mask: mask, isMask: isMask, to: &w)
        if shape.packetType >> 16 == 0 { AttributeLayout.ethernet.writeAttribute(values, isMask: isMask, to: &w) }
        var tags: [(tpid: UInt16, tci: UInt16)] = []
        if EtherType.isVLAN(shape.vlanTPID) {
            // That there is a tag is always matched; its type, too.
            tags.append((isMask ? .max : shape.vlanTPID, values.vlanTCI | 0x1000))
            if EtherType.isVLAN(shape.innerVLANTPID) { tags.append((isMask ? .max : shape.innerVLANTPID, values.innerVLANTCI | 0x1000)) }
        }
        writeTagged(tags[...], values, shape, isMask, &w)
    }

    private func writeTagged(
        _ tags: ArraySlice<(tpid: UInt16, tci: UInt16)>, _ values: FlowKey, _ shape: FlowKey, _ isMask: Bool,
        _ w: inout NetlinkMessageWriter
    ) {
        guard let tag = tags.first else { return writeInner(values, shape, isMask, &w) }
        w.attribute(Int(OVS_KEY_ATTR_ETHERTYPE.rawValue), network: tag.tpid)
        w.attribute(Int(OVS_KEY_ATTR_VLAN.rawValue), network: tag.tci)
        w.nest(Int(OVS_KEY_ATTR_ENCAP.rawValue)) { writeTagged(tags.dropFirst(), values, shape, isMask, &$0) }
    }

    private func writeInner(_ values: FlowKey, _ shape: FlowKey, _ isMask: Bool, _ w: inout NetlinkMessageWriter) {
        // Frames of IEEE 802.2 have no type, and flows of them match that.
        let hasType = shape.ethType != EtherType.none && shape.ethType != 0
        guard hasType || isMask else { return }
        // A mask without the type takes all types, and nothing behind them.
        if isMask, values.ethType == 0 { return }
        if isMask { w.attribute(Int(OVS_KEY_ATTR_ETHERTYPE.rawValue), network: UInt16.max) }
        guard hasType else { return }
        if !isMask { AttributeLayout.ethType.writeAttribute(values, isMask: false, to: &w) }
        if shape.ethType == EtherType.nsh {
            writeNSH(values, shape, isMask, &w)
            return
        }
        for layout in Self.upperLayouts(of: shape) where !isMask || !layout.isZero(in: values) {
            layout.writeAttribute(values, isMask: isMask, to: &w)
        }
    }

    private func writeNSH(_ values: FlowKey, _ shape: FlowKey, _ isMask: Bool, _ w: inout NetlinkMessageWriter) {
        let layouts = [AttributeLayout.nshBase] + (shape[Location.nshMDType] == 1 ? [.nshMD1] : [])
        if isMask, layouts.allSatisfy({ $0.isZero(in: values) }) { return }
        w.nest(Int(OVS_KEY_ATTR_NSH.rawValue)) { for layout in layouts { layout.writeAttribute(values, isMask: isMask, to: &$0) } }
    }

    /// The attributes above layer 2 of a packet with these headers.
    static func upperLayouts(of key: FlowKey) -> [AttributeLayout] {
        switch key.ethType {
        case EtherType.ipv4, EtherType.ipv6:
            let isIPv6 = key.ethType == EtherType.ipv6
            var out: [AttributeLayout] = [isIPv6 ? .ipv6 : .ipv4]
            guard key.nwFrag & IPFragment.later == 0 else { return out }
            switch (key.nwProto, isIPv6) {
            case (IPProtocol.tcp, _): out += [.tcp, .tcpFlags]
            case (IPProtocol.udp, _): out.append(.udp)
            case (IPProtocol.sctp, _): out.append(.sctp)
            case (IPProtocol.icmp, false): out.append(.icmp)
            case (IPProtocol.icmpv6, true):
                out.append(.icmpv6)
                if key.tpSrc == 135 || key.tpSrc == 136 { out.append(.nd) }
            default: break
            }
            return out
        case EtherType.arp, EtherType.rarp: return [.arp]
        case EtherType.mpls, EtherType.mplsMulticast: return [.mpls(max(1, labelCount(key)))]
        default: return []
        }
    }

    private static func labelCount(_ key: FlowKey) -> Int {
        for i in 0..<maxMPLSLabels where key.mplsLSE(i) & 0x100 != 0 { return i + 1 }
        return maxMPLSLabels
    }

    // MARK: Reading

    private static let plain: [Int: AttributeLayout] = {
        let all: [AttributeLayout] = [
            .priority, .mark, .inPort, .dpHash, .recircID, .ctState, .ctZone, .ctMark, .ctLabels, .ctTuple4, .ctTuple6, .ethernet, .ipv4,
            .ipv6, .tcp, .udp, .sctp, .tcpFlags, .icmp, .icmpv6, .arp, .nd,
        ]
        return Dictionary(uniqueKeysWithValues: all.map { ($0.type, $0) })
    }()

    /// Reads a key into the fields that its attributes hold; the others keep what they have.
    /// Throws EINVAL for attributes that are too short or nested too deep.
    func readKey(_ attributes: AttributeList, into key: inout FlowKey) throws(DpifError) { try read(attributes, isMask: false, &key) }

    /// The tunnel part of a key alone.
    func readTunnel(_ attributes: AttributeList) throws(DpifError) -> FlowKey {
        var key = FlowKey()
        try TunnelCodec(options: tunnelOptions).read(attributes, isMask: false, &key)
        return key
    }

    func readMask(_ attributes: AttributeList, into mask: inout FlowMask) throws(DpifError) {
        try read(attributes, isMask: true, &mask.bits)
    }

    private func read(_ attributes: AttributeList, isMask: Bool, _ key: inout FlowKey) throws(DpifError) {
        try readTagged(attributes, depth: 0, isMask, &key)
        if !isMask, attributes[Int(OVS_KEY_ATTR_ETHERNET.rawValue)] == nil, key.ethType != 0 {
            key.packetType = 1 << 16 | UInt32(key.ethType)
        }
        if !isMask, key.ethType == 0, attributes[Int(OVS_KEY_ATTR_ETHERNET.rawValue)] != nil { key.ethType = EtherType.none }
    }

    private func readTagged(_ attributes: AttributeList, depth: Int, _ isMask: Bool, _ key: inout FlowKey) throws(DpifError) {
        var type: UInt16?
        var tag: UInt16?
        var inside: AttributeList?
        for attribute in attributes {
            if let layout = Self.plain[attribute.type] {
                guard layout.read(attribute.payload, isMask: isMask, into: &key) else {
                    throw DpifError(EINVAL_, "key attribute \(attribute.type) of \(attribute.payload.count) bytes")
                }
                continue
            }
            switch attribute.type {
            case Int(OVS_KEY_ATTR_ETHERTYPE.rawValue): type = attribute.network(UInt16.self)
            case Int(OVS_KEY_ATTR_VLAN.rawValue): tag = attribute.network(UInt16.self)
            case Int(OVS_KEY_ATTR_ENCAP.rawValue): inside = try attribute.nested()
            case Int(OVS_KEY_ATTR_MPLS.rawValue):
                let count = min(attribute.payload.count / 4, maxMPLSLabels)
                _ = AttributeLayout.mpls(count).read(attribute.payload, isMask: isMask, into: &key)
            case Int(OVS_KEY_ATTR_TUNNEL.rawValue): try TunnelCodec(options: tunnelOptions).read(attribute.nested(), isMask: isMask, &key)
            case Int(OVS_KEY_ATTR_NSH.rawValue):
                for part in try attribute.nested() {
                    for layout in [AttributeLayout.nshBase, .nshMD1] where layout.type == part.type {
                        guard layout.read(part.payload, isMask: isMask, into: &key) else {
                            throw DpifError(EINVAL_, "NSH key attribute of \(part.payload.count) bytes")
                        }
                    }
                }
            default: break
            }
        }
        if let tag, let inside {
            guard depth < 2 else { throw DpifError(EINVAL_, "more than two VLAN tags in a key") }
            if depth == 0 {
                key.vlanTPID = type ?? 0
                key.vlanTCI = tag
            } else {
                key.innerVLANTPID = type ?? 0
                key.innerVLANTCI = tag
            }
            try readTagged(inside, depth: depth + 1, isMask, &key)
        } else if let type {
            key.ethType = type
        }
    }
}
