// `set` actions (OVS_ACTION_ATTR_SET, OVS_ACTION_ATTR_SET_MASKED): the attributes of a key, with the bits that are rewritten.

import CLinux
import Dpif
import Flow

/// Writes and reads one `set`. All go masked, but for tunnels, which are set whole.
struct SetCodec: Sendable {
    let tunnelOptions: TunnelOptionMap?

    private static let layouts: [(kind: DpSetKind, layout: AttributeLayout)] = [
        (.skbPriority, .priority), (.skbMark, .mark), (.eth, .ethernet), (.ipv4, .ipv4), (.ipv6, .ipv6), (.tcp, .tcp), (.udp, .udp),
        (.sctp, .sctp), (.icmp, .icmp), (.icmpv6, .icmpv6), (.arp, .arp), (.nd, .nd), (.mpls, .mpls(1)),
    ]

    func write(_ set: DpSet, to w: inout NetlinkMessageWriter) throws(DpifError) {
        var value = FlowKey()
        var mask = FlowKey()
        for field in set.fields {
            value[field.location] = field.value
            mask[field.location] = field.mask
        }
        if set.kind == .tunnel {
            w.nest(Int(OVS_ACTION_ATTR_SET.rawValue)) {
                $0.nest(Int(OVS_KEY_ATTR_TUNNEL.rawValue)) {
                    TunnelCodec(options: tunnelOptions).write(value, shape: value, isMask: false, to: &$0)
                }
            }
            return
        }
        if set.kind == .nsh {
            w.nest(Int(OVS_ACTION_ATTR_SET_MASKED.rawValue)) {
                $0.nest(Int(OVS_KEY_ATTR_NSH.rawValue)) { w in
                    for layout in [AttributeLayout.nshBase, .nshMD1] where !layout.isZero(in: mask) {
                        w.attribute(layout.type) {
                            layout.write(value, isMask: false, to: &$0)
                            layout.write(mask, isMask: true, to: &$0)
                        }
                    }
                }
            }
            return
        }
        guard let layout = Self.layouts.first(where: { $0.kind == set.kind })?.layout else {
            throw DpifError(EINVAL_, "set(\(set.kind.rawValue)) in the kernel")
        }
        // What makes the header what it is cannot be rewritten.
        if set.kind == .ipv4 || set.kind == .ipv6 {
            for location in [Location.nwProto, Location.nwFrag] {
                value[location] = 0
                mask[location] = 0
            }
        }
        w.nest(Int(OVS_ACTION_ATTR_SET_MASKED.rawValue)) {
            $0.attribute(layout.type) {
                layout.write(value, isMask: false, to: &$0)
                layout.write(mask, isMask: true, to: &$0)
            }
        }
    }

    func read(_ attributes: AttributeList, isMasked: Bool) throws(DpifError) -> DpSet {
        guard let attribute = attributes.all.first else { throw DpifError(EINVAL_, "set of nothing") }
        var value = FlowKey()
        if attribute.type == Int(OVS_KEY_ATTR_TUNNEL.rawValue) {
            try TunnelCodec(options: tunnelOptions).read(attribute.nested(), isMask: false, &value)
            return DpSet(.tunnel, Self.tunnelFields(value))
        }
        var mask = FlowKey()
        if attribute.type == Int(OVS_KEY_ATTR_NSH.rawValue) {
            for part in try attribute.nested() {
                guard let layout = [AttributeLayout.nshBase, .nshMD1].first(where: { $0.type == part.type }) else { continue }
                try Self.read(layout, part, isMasked, &value, &mask)
            }
            return DpSet(.nsh, Self.fields([.nshBase, .nshMD1], value, mask))
        }
        guard let (kind, layout) = Self.layouts.first(where: { $0.layout.type == attribute.type }) else {
            throw DpifError(EINVAL_, "set of key attribute \(attribute.type)")
        }
        try Self.read(layout, attribute, isMasked, &value, &mask)
        return DpSet(kind, Self.fields([layout], value, mask))
    }

    private static func read(
        _ layout: AttributeLayout, _ attribute: Attribute, _ isMasked: Bool, _ value: inout FlowKey, _ mask: inout FlowKey
    ) throws(DpifError) {
        let size = isMasked ? attribute.payload.count / 2 : attribute.payload.count
        guard layout.read(attribute.payload.prefix(size), isMask: false, into: &value),
            !isMasked || layout.read(attribute.payload.dropFirst(size), isMask: true, into: &mask)
        else { throw DpifError(EINVAL_, "set of key attribute \(attribute.type) with \(attribute.payload.count) bytes") }
        if !isMasked { for part in layout.parts where part.encoding != .padding { mask[part.location] = part.location.allOnes } }
    }

    private static func fields(_ layouts: [AttributeLayout], _ value: FlowKey, _ mask: FlowKey) -> [DpSet.Field] {
        layouts.flatMap(\.parts).filter { $0.encoding != .padding && mask[$0.location] != 0 }.map {
            DpSet.Field($0.location, value[$0.location], mask: mask[$0.location])
        }
    }

    /// The fields of a tunnel that mean something, in an order of their own.
    static func tunnelFields(_ key: FlowKey) -> [DpSet.Field] {
        var locations = [
            Location.tunID, Location.tunSrc, Location.tunDst, Location.tunIPv6Src, Location.tunIPv6Dst, Location.tunTOS, Location.tunTTL,
            Location.tunTpSrc, Location.tunTpDst, Location.tunFlags, Location.tunGBPID, Location.tunGBPFlags, Location.tunERSPANVer,
            Location.tunERSPANIdx, Location.tunERSPANDir, Location.tunERSPANHwid, Location.tunOptionsPresent,
        ].filter { key[$0] != 0 }
        for word in 0..<Location.tunOptionWords where key.words[Location.tunOptionsFirstWord + word] != 0 {
            locations.append(FieldLocation(Location.tunOptionsFirstWord + word, 0, 64))
        }
        return locations.map { DpSet.Field($0, key[$0]) }
    }
}
