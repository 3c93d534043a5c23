// Text of the `set` datapath action's inside: one key attribute, with only the rewritten fields.

public enum ODPSetText {
    private static func attribute(_ kind: String) -> ODPAttribute? {
        kind == "mpls" ? .mpls : ODPAttribute.byName[kind]
    }

    /// `kind(field=value,...)`.
    public static func text(_ kind: String, _ fields: [(location: FieldLocation, value: UInt128, mask: UInt128)])
        -> String
    {
        var key = FlowKey()
        var mask = FlowMask()
        for f in fields {
            key[f.location] = f.value
            mask.bits[f.location] = f.mask
        }
        if kind == "tunnel" { return ODPFormatter().setTunnelText(key) }
        guard let attribute = attribute(kind) else { return "\(kind)()" }
        if attribute.name == ODPAttribute.nsh.name {
            return ODPFormatter().nshText(key, mask, hasOtherMetadata: fields.contains { $0.mask == 0 })
        }
        return ODPFormatter().text(attribute, key, mask)
    }

    /// Parses what `text` prints. Fields that are not written are not rewritten.
    public static func parse(_ kind: String, _ body: String)
        -> [(location: FieldLocation, value: UInt128, mask: UInt128)]?
    {
        guard let flow = try? ODPFlow(parsing: "\(kind)(\(body))") else { return nil }
        if kind == "tunnel" {
            let locations = [
                Location.tunID, Location.tunSrc, Location.tunDst, Location.tunIPv6Src, Location.tunIPv6Dst,
                Location.tunTOS, Location.tunTTL, Location.tunTpSrc, Location.tunTpDst, Location.tunFlags,
            ]
            return locations.filter { !flow.mask.isWild($0) }.map { ($0, flow.key[$0], $0.allOnes) }
        }
        guard let attribute = attribute(kind) else { return nil }
        let written = attribute.fields.filter { !flow.mask.isWild($0.location) }
        return written.map { ($0.location, flow.key[$0.location], flow.mask.bits[$0.location]) }
    }

    /// All fields of an attribute, for datapaths that rewrite whole attributes only.
    public static func locations(_ kind: String) -> [FieldLocation] {
        attribute(kind)?.fields.filter { $0.format != .fragment }.map(\.location) ?? []
    }

    public static func coversWholeAttribute(_ kind: String, _ fields: [(FieldLocation, UInt128)]) -> Bool {
        locations(kind).allSatisfy { l in fields.contains { $0.0 == l && $0.1 == l.allOnes } }
    }
}

extension ODPFormatter {
    /// `tunnel(...)` as the `set` action prints it.
    func setTunnelText(_ key: FlowKey) -> String {
        var parts: [String] = []
        if key.tunFlags & TunnelFlag.key != 0 || key.tunID != 0 { parts.append("tun_id=\(AddressText.hex(key.tunID))") }
        if key.tunDst != 0 {
            if key.tunSrc != 0 { parts.append("src=\(AddressText.ipv4(key.tunSrc))") }
            parts.append("dst=\(AddressText.ipv4(key.tunDst))")
        } else {
            if key[Location.tunIPv6Src] != 0 { parts.append("ipv6_src=\(AddressText.ipv6(key[Location.tunIPv6Src]))") }
            parts.append("ipv6_dst=\(AddressText.ipv6(key[Location.tunIPv6Dst]))")
        }
        if key.tunTOS != 0 { parts.append("tos=\(AddressText.hex(key.tunTOS))") }
        parts.append("ttl=\(key.tunTTL)")
        if key[Location.tunTpSrc] != 0 { parts.append("tp_src=\(key[Location.tunTpSrc])") }
        if key[Location.tunTpDst] != 0 { parts.append("tp_dst=\(key[Location.tunTpDst])") }
        parts.append("flags(\(key.tunFlags == 0 ? "" : FlagNames.text(key.tunFlags, FlagNames.tunnel)))")
        return "tunnel(\(parts.joined(separator: ",")))"
    }
}
