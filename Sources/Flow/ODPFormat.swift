// A datapath flow as text, as `dpctl/dump-flows` prints it.

import Packet

/// Writes keys and masks as datapath flow text.
public struct ODPFormatter {
    /// Prints wildcarded fields too (`dump-flows -m`).
    public var verbose: Bool
    /// The name of a datapath port, or nil to print its number.
    public var portName: (UInt32) -> String?

    public init(verbose: Bool = false, portName: @escaping (UInt32) -> String? = { _ in nil }) {
        self.verbose = verbose
        self.portName = portName
    }

    /// The text of a flow: its key, and its mask when there is one (nil means every attribute is exact).
    public func text(key: FlowKey, mask: FlowMask?) -> String {
        var out: [String] = []
        func put(_ attribute: ODPAttribute) {
            if let mask, !verbose, attribute.maskIsEmpty(mask) { return }
            out.append(text(attribute, key, mask))
        }
        put(.skbPriority)
        if key.hasTunnel { out.append(tunnelText(key, mask)) }
        put(.skbMark)
        put(.ctState)
        put(.ctZone)
        put(.ctMark)
        put(.ctLabel)
        if mask != nil, key.ctNwProto != 0 {
            if key.ethType == EtherType.ipv4 { put(.ctTuple4) }
            if key.ethType == EtherType.ipv6 { put(.ctTuple6) }
        }
        put(.recircID)
        put(.dpHash)
        out.append(inPortText(key, mask))
        let ethernet = key.packetType >> 16 == 0
        let typeWild = mask.map { $0.isWild(Location.packetType) } ?? false
        if !typeWild || verbose { out.append(text(.packetType, key, mask)) }
        if ethernet {
            if let mask, !verbose, ODPAttribute.eth.maskIsEmpty(mask) {
                if typeWild { out.append("eth()") }
            } else {
                out.append(text(.eth, key, mask))
            }
        }
        var layers: [String] = []
        var closing = ""
        var tags: [(tpid: UInt16, tci: UInt16, mask: UInt16)] = []
        if EtherType.isVLAN(key.vlanTPID) {
            tags.append((key.vlanTPID, key.vlanTCI, mask?.bits.vlanTCI ?? 0xffff))
            if EtherType.isVLAN(key.innerVLANTPID) {
                tags.append((key.innerVLANTPID, key.innerVLANTCI, mask?.bits.innerVLANTCI ?? 0xffff))
            }
        }
        for tag in tags {
            layers.append(String(format16: "eth_type(0x", tag.tpid) + ")")
            if let vlan = vlanText(tag.tci, mask == nil ? nil : tag.mask) { layers.append(vlan) }
            layers.append("encap(")
            closing += ")"
        }
        layers.append(contentsOf: ethTypeText(key, mask))
        if EtherType.isVLAN(key.ethType), key.vlanTPID == 0 {
            // The frame ends within its tag.
            layers.append("vlan(vid=0,cfi=0)")
            layers.append("encap()")
        }
        for attribute in mplsOrUpper(key) {
            if attribute.name == "nsh" {
                layers.append(nshText(key, mask, hasOtherMetadata: mask != nil && key[Location.nshMDType] != 1))
                continue
            }
            if let mask, !verbose, attribute.maskIsEmpty(mask) { continue }
            // Flags that are neither there nor matched are no attribute at all.
            if attribute.name == "tcp_flags", let mask, key.tcpFlags == 0, mask.bits.tcpFlags == 0 { continue }
            // Neighbour discovery is matched only where type and code are, in the eight bits that they have.
            if attribute.name == "nd", let mask, mask.bits.tpSrc != 0xff || mask.bits.tpDst != 0xff { continue }
            layers.append(text(attribute, key, mask))
        }
        if EtherType.isMPLS(key.ethType) {
            if let m = mplsText(key, mask) { layers.append(m) }
        }
        // "encap(" takes no comma behind it.
        var joined = ""
        for layer in layers {
            if !joined.isEmpty, !joined.hasSuffix("encap(") { joined += "," }
            joined += layer
        }
        if !joined.isEmpty || !closing.isEmpty { out.append(joined + closing) }
        return out.joined(separator: ",")
    }

    private func mplsOrUpper(_ key: FlowKey) -> [ODPAttribute] {
        EtherType.isMPLS(key.ethType) ? [] : ODPAttribute.upperLayers(of: key)
    }

    private func inPortText(_ key: FlowKey, _ mask: FlowMask?) -> String {
        let m = mask?.bits.inPort ?? .max
        if m == .max { return "in_port(\(portName(key.inPort) ?? String(key.inPort)))" }
        return "in_port(\(key.inPort)/\(AddressText.hex(m)))"
    }

    private func ethTypeText(_ key: FlowKey, _ mask: FlowMask?) -> [String] {
        let m = mask?.bits.ethType ?? 0xffff
        if key.ethType == EtherType.none || key.ethType == 0 {
            // Frames without a type have no such attribute; a mask that looked at it shows.
            guard mask != nil, m != 0, key.ethType == EtherType.none else { return [] }
            return ["eth_type(0/0xffff)"]
        }
        if m == 0 && !verbose { return [] }
        let value = String(format16: "eth_type(0x", key.ethType)
        return [m == 0xffff ? value + ")" : value + String(format16: "/0x", m) + ")"]
    }

    /// nil when there is nothing to print.
    private func vlanText(_ tci: UInt16, _ mask: UInt16?) -> String? {
        if mask == 0, !verbose { return nil }
        var parts: [String] = []
        let m = mask ?? 0xffff
        if (m | tci) & 0xfff != 0 || verbose {
            parts.append("vid=\(tci & 0xfff)" + (m & 0xfff == 0xfff ? "" : "/0x\(String(m & 0xfff, radix: 16))"))
        }
        if (m | tci) & 0xe000 != 0 || verbose {
            parts.append("pcp=\(tci >> 13)" + (m & 0xe000 == 0xe000 ? "" : "/0x\(String(m >> 13, radix: 16))"))
        }
        if tci & 0x1000 == 0 { parts.append("cfi=0") }
        return "vlan(\(parts.joined(separator: ",")))"
    }

    private func mplsText(_ key: FlowKey, _ mask: FlowMask?) -> String? {
        let n = key.mplsDepth
        if let mask, !verbose, (0..<n).allSatisfy({ mask.bits.mplsLSE($0) == 0 }) { return nil }
        // All parts or none are printed with masks.
        let exact = mask == nil || (0..<n).allSatisfy { mask?.bits.mplsLSE($0) == .max }
        func hex(_ v: UInt32) -> String { String(v, radix: 16) }
        let parts = (0..<n).map { i in
            let lse = key.mplsLSE(i)
            let m = mask?.bits.mplsLSE(i) ?? .max
            if exact { return "label=\(lse >> 12),tc=\(lse >> 9 & 7),ttl=\(lse & 0xff),bos=\(lse >> 8 & 1)" }
            return "label=\(lse >> 12)/0x\(hex(m >> 12)),tc=\(lse >> 9 & 7)/\(hex(m >> 9 & 7)),"
                + "ttl=\(lse & 0xff)/0x\(hex(m & 0xff)),bos=\(lse >> 8 & 1)/\(hex(m >> 8 & 1))"
        }
        return "mpls(\(parts.joined(separator: ",")))"
    }

    /// Unlike others, what was not looked at is left out even where all is to be told, and the attribute is there whatever was. Metadata that
    /// is not of type 1 shows as zeros.
    func nshText(_ key: FlowKey, _ mask: FlowMask?, hasOtherMetadata: Bool) -> String {
        let own = ODPAttribute.nsh.fields.filter { !hasOtherMetadata || $0.location.word == Location.nshFlags.word }
        var parts = own.compactMap { field -> String? in
            if let mask, mask.isWild(field.location) { return nil }
            return text(field, key, mask).map { "\(field.name)=\($0)" }
        }
        if hasOtherMetadata { parts += (1...4).map { "c\($0)=0x0" } }
        return "nsh(\(parts.joined(separator: ",")))"
    }

    func text(_ attribute: ODPAttribute, _ key: FlowKey, _ mask: FlowMask?) -> String {
        if attribute.isScalar {
            let field = attribute.fields[0]
            return "\(attribute.name)(\(text(field, key, mask) ?? ""))"
        }
        let parts = attribute.fields.compactMap { field -> String? in
            if let mask, !verbose || field.format == .fragment, mask.isWild(field.location) { return nil }
            return text(field, key, mask).map { "\(field.name)=\($0)" }
        }
        return "\(attribute.name)(\(parts.joined(separator: ",")))"
    }

    private func text(_ field: ODPField, _ key: FlowKey, _ mask: FlowMask?) -> String? {
        let value = key[field.location]
        let ones = field.location.allOnes
        let m = mask.map { $0.bits[field.location] } ?? ones
        let exact = m == ones
        switch field.format {
        case .decimal: return exact ? "\(value)" : "\(value)/\(AddressText.hex(m))"
        case .byte: return exact ? "\(value)" : "0x" + Self.hexadecimal(value, 2) + "/0x" + Self.hexadecimal(m, 2)
        case .word: return "0x\(String(value, radix: 16))" + (exact ? "" : "/0x" + Self.hexadecimal(m, 8))
        case .hex: return AddressText.hex(value) + (exact ? "" : "/\(AddressText.hex(m))")
        case .mac:
            return AddressText.mac(UInt64(value)) + (exact ? "" : "/\(AddressText.mac(UInt64(m)))")
        case .ipv4:
            return AddressText.ipv4(UInt32(value)) + (exact ? "" : "/\(AddressText.ipv4(UInt32(m)))")
        case .ipv6:
            if exact { return AddressText.ipv6(value) }
            return "\(AddressText.ipv6(value))/\(AddressText.ipv6(m))"
        case .fragment:
            switch UInt8(value) & IPFragment.mask {
            case 0: return "no"
            case IPFragment.any: return "first"
            default: return "later"
            }
        case .tcpFlags:
            if exact { return FlagNames.text(UInt16(value), FlagNames.tcp) }
            return m == 0 ? "0/0" : FlagNames.maskedText(UInt16(value), UInt16(m), FlagNames.tcp)
        case .ctState:
            if verbose, mask != nil { return AddressText.hex(value) + "/\(AddressText.hex(m & 0xff))" }
            if m == 0 { return AddressText.hex(value) + (exact ? "" : "/\(AddressText.hex(m))") }
            if mask == nil { return FlagNames.text(UInt16(value), FlagNames.ctState) }
            return FlagNames.maskedText(UInt16(value), UInt16(m), FlagNames.ctState)
        case .mplsLabel, .mplsTTL: return "\(value)" + (exact ? "" : "/0x\(String(m, radix: 16))")
        case .mplsTC, .mplsBOS: return "\(value)" + (exact ? "" : "/\(String(m, radix: 16))")
        }
    }

    private static func hexadecimal(_ value: UInt128, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    private func tunnelText(_ key: FlowKey, _ mask: FlowMask?) -> String {
        var parts: [String] = []
        func put(_ name: String, _ location: FieldLocation, _ format: ODPFormat) {
            if let mask, !verbose, mask.isWild(location) { return }
            if mask == nil, key[location] == 0, name != "ttl" { return }
            if let t = text(ODPField(name: name, location: location, format: format), key, mask) {
                parts.append("\(name)=\(t)")
            }
        }
        // Whether there is an id is said by its being there.
        let hasKey = mask == nil || key.tunFlags & TunnelFlag.key != 0
        if hasKey { put("tun_id", Location.tunID, .hex) }
        if key.tunDst != 0 {
            put("src", Location.tunSrc, .ipv4)
            put("dst", Location.tunDst, .ipv4)
        } else {
            put("ipv6_src", Location.tunIPv6Src, .ipv6)
            put("ipv6_dst", Location.tunIPv6Dst, .ipv6)
        }
        // Zeros are left out.
        if key.tunTOS != 0 { put("tos", Location.tunTOS, .hex) }
        put("ttl", Location.tunTTL, .decimal)
        put("tp_src", Location.tunTpSrc, .decimal)
        put("tp_dst", Location.tunTpDst, .decimal)
        let m = (mask?.bits.tunFlags ?? 0xf) & (hasKey ? .max : ~TunnelFlag.key)
        if mask == nil {
            parts.append("flags(\(key.tunFlags == 0 ? "" : FlagNames.text(key.tunFlags, FlagNames.tunnel)))")
        } else if m != 0 {
            parts.append("flags(\(FlagNames.maskedText(key.tunFlags, m, FlagNames.tunnel)))")
        }
        return "tunnel(\(parts.joined(separator: ",")))"
    }
}

extension FlowKey {
    /// True when the packet came out of a tunnel, or will go into one.
    public var hasTunnel: Bool { tunDst != 0 || words[3] | words[4] != 0 }
}

extension String {
    /// `prefix` followed by four hexadecimal digits.
    init(format16 prefix: String, _ value: UInt16) {
        let digits = String(value, radix: 16)
        self = prefix + String(repeating: "0", count: 4 - digits.count) + digits
    }
}
