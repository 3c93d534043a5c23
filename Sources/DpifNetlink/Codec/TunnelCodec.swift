// The tunnel part of keys, masks and `set` (OVS_TUNNEL_KEY_ATTR_*).

import CLinux
import Dpif
import Flow

/// Writes and reads what a packet has of a tunnel.
struct TunnelCodec: Sendable {
    let options: TunnelOptionMap?

    private static func type(_ t: ovs_tunnel_key_attr) -> Int { Int(t.rawValue) }

    /// - Parameters:
    ///   - values: the key's or the mask's fields.
    ///   - shape: the key, which says what there is.
    func write(_ values: FlowKey, shape: FlowKey, isMask: Bool, to w: inout NetlinkMessageWriter) {
        // That there is a key is said by its being there.
        let flags = values.tunFlags
        if isMask ? flags & TunnelFlag.key != 0 || values.tunID != 0 : flags & TunnelFlag.key != 0 || values.tunID != 0 {
            w.attribute(Self.type(OVS_TUNNEL_KEY_ATTR_ID), network: values.tunID)
        }
        func put32(_ t: ovs_tunnel_key_attr, _ v: UInt32) {
            if v != 0 { w.attribute(Self.type(t), network: v) }
        }
        func put128(_ t: ovs_tunnel_key_attr, _ v: UInt128) {
            if v != 0 { w.attribute(Self.type(t), network: v) }
        }
        if shape.tunDst != 0 {
            put32(OVS_TUNNEL_KEY_ATTR_IPV4_SRC, values.tunSrc)
            put32(OVS_TUNNEL_KEY_ATTR_IPV4_DST, values.tunDst)
        } else {
            put128(OVS_TUNNEL_KEY_ATTR_IPV6_SRC, values[Location.tunIPv6Src])
            put128(OVS_TUNNEL_KEY_ATTR_IPV6_DST, values[Location.tunIPv6Dst])
        }
        if values.tunTOS != 0 { w.attribute(Self.type(OVS_TUNNEL_KEY_ATTR_TOS), host: values.tunTOS) }
        if !isMask || values.tunTTL != 0 { w.attribute(Self.type(OVS_TUNNEL_KEY_ATTR_TTL), host: values.tunTTL) }
        if flags & TunnelFlag.dontFragment != 0 { w.flag(Self.type(OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT)) }
        if flags & TunnelFlag.checksum != 0 { w.flag(Self.type(OVS_TUNNEL_KEY_ATTR_CSUM)) }
        if flags & TunnelFlag.oam != 0 { w.flag(Self.type(OVS_TUNNEL_KEY_ATTR_OAM)) }
        for (t, location) in [(OVS_TUNNEL_KEY_ATTR_TP_SRC, Location.tunTpSrc), (OVS_TUNNEL_KEY_ATTR_TP_DST, Location.tunTpDst)]
        where values[location] != 0 {
            w.attribute(Self.type(t), network: UInt16(truncatingIfNeeded: values[location]))
        }
        writeOptions(values, shape, isMask, &w)
    }

    private func writeOptions(_ values: FlowKey, _ shape: FlowKey, _ isMask: Bool, _ w: inout NetlinkMessageWriter) {
        let gbp = UInt32(truncatingIfNeeded: values[Location.tunGBPFlags] << 16 | values[Location.tunGBPID])
        if gbp != 0 {
            w.nest(Self.type(OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS)) { $0.attribute(Int(OVS_VXLAN_EXT_GBP), host: gbp) }
            return
        }
        if shape[Location.tunERSPANVer] != 0 {
            w.attribute(Self.type(OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS)) {
                erspan(values, version: UInt8(truncatingIfNeeded: shape[Location.tunERSPANVer]), isMask, &$0)
            }
            return
        }
        guard let options else { return }
        let present = options.entries.values.filter { options.isPresent($0, in: shape) }.sorted { $0.index < $1.index }
        if isMask {
            guard present.contains(where: { options.isPresent($0, in: values) || options.bytes($0, in: values).contains { $0 != 0 } })
            else { return }
        }
        guard !present.isEmpty else { return }
        w.attribute(Self.type(OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS)) { w in
            for entry in present {
                // struct geneve_opt: class, type, length in words; in a mask the length is given too.
                w.network(isMask ? UInt16.max : entry.optionClass)
                w.raw([isMask ? 0xff : entry.optionType, UInt8(entry.length / 4)])
                w.raw(options.bytes(entry, in: values))
            }
        }
    }

    /// struct erspan_metadata: the version as an int, then of version 1 an index, of version 2 a timestamp, a group and bits.
    private func erspan(_ values: FlowKey, version: UInt8, _ isMask: Bool, _ w: inout NetlinkMessageWriter) {
        w.host(isMask ? UInt32.max : UInt32(version))
        if version == 1 {
            w.network(UInt32(truncatingIfNeeded: values[Location.tunERSPANIdx]))
            w.zeros(4)
        } else {
            w.zeros(6)
            let hardware = UInt8(truncatingIfNeeded: values[Location.tunERSPANHwid])
            let direction = UInt8(truncatingIfNeeded: values[Location.tunERSPANDir])
            // hwid_upper (2 bits), ft (5), p (1); o (1), gra (2), dir (1), hwid (4).
            w.raw([hardware >> 4 & 3, direction << 3 | (hardware & 0xf) << 4])
        }
    }

    func read(_ attributes: AttributeList, isMask: Bool, _ key: inout FlowKey) throws(DpifError) {
        var flags: UInt16 = 0
        for attribute in attributes {
            func take<T: FixedWidthInteger>(_: T.Type) throws(DpifError) -> T {
                guard let value = attribute.network(T.self) else {
                    throw DpifError(EINVAL_, "tunnel attribute \(attribute.type) of \(attribute.payload.count) bytes")
                }
                return value
            }
            switch attribute.type {
            case Self.type(OVS_TUNNEL_KEY_ATTR_ID):
                key.tunID = try take(UInt64.self)
                flags |= TunnelFlag.key
            case Self.type(OVS_TUNNEL_KEY_ATTR_IPV4_SRC): key.tunSrc = try take(UInt32.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_IPV4_DST): key.tunDst = try take(UInt32.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_IPV6_SRC): key[Location.tunIPv6Src] = try take(UInt128.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_IPV6_DST): key[Location.tunIPv6Dst] = try take(UInt128.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_TOS): key.tunTOS = try take(UInt8.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_TTL): key.tunTTL = try take(UInt8.self)
            case Self.type(OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT): flags |= TunnelFlag.dontFragment
            case Self.type(OVS_TUNNEL_KEY_ATTR_CSUM): flags |= TunnelFlag.checksum
            case Self.type(OVS_TUNNEL_KEY_ATTR_OAM): flags |= TunnelFlag.oam
            case Self.type(OVS_TUNNEL_KEY_ATTR_TP_SRC): key[Location.tunTpSrc] = UInt128(try take(UInt16.self))
            case Self.type(OVS_TUNNEL_KEY_ATTR_TP_DST): key[Location.tunTpDst] = UInt128(try take(UInt16.self))
            case Self.type(OVS_TUNNEL_KEY_ATTR_VXLAN_OPTS):
                if let gbp = try attribute.nested()[Int(OVS_VXLAN_EXT_GBP)]?.host(UInt32.self) {
                    key[Location.tunGBPID] = UInt128(gbp & 0xffff)
                    key[Location.tunGBPFlags] = UInt128(gbp >> 16 & 0xff)
                }
            case Self.type(OVS_TUNNEL_KEY_ATTR_ERSPAN_OPTS): readERSPAN(attribute.payload, isMask, &key)
            case Self.type(OVS_TUNNEL_KEY_ATTR_GENEVE_OPTS): readGeneve(attribute.payload, isMask, &key)
            default: break
            }
        }
        key.tunFlags = flags
    }

    private func readERSPAN(_ bytes: ArraySlice<UInt8>, _ isMask: Bool, _ key: inout FlowKey) {
        guard bytes.count >= 8, let version = UInt32(host: bytes.prefix(4)) else { return }
        let data = Array(bytes.dropFirst(4))
        key[Location.tunERSPANVer] = UInt128(version & 0xf)
        if version == 1 || isMask {
            key[Location.tunERSPANIdx] = data.prefix(4).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        }
        if version == 2 || isMask, data.count >= 8 {
            key[Location.tunERSPANHwid] = UInt128((data[6] & 3) << 4 | data[7] >> 4)
            key[Location.tunERSPANDir] = UInt128(data[7] >> 3 & 1)
        }
    }

    /// The options that fields stand for; the others are not seen.
    private func readGeneve(_ bytes: ArraySlice<UInt8>, _ isMask: Bool, _ key: inout FlowKey) {
        // A mask's options have no class and type of their own.
        guard let options, !isMask else { return }
        var rest = bytes
        while rest.count >= 4 {
            let header = Array(rest.prefix(4))
            let length = Int(header[3] & 0x1f) * 4
            guard rest.count >= 4 + length else { return }
            let value = Array(rest.dropFirst(4).prefix(length))
            if let entry = options.entry(optionClass: UInt16(header[0]) << 8 | UInt16(header[1]), optionType: header[2]),
                entry.length == length
            {
                options.set(value, entry, in: &key)
                options.setPresent(true, entry, in: &key)
            }
            rest = rest.dropFirst(4 + length)
        }
    }
}
