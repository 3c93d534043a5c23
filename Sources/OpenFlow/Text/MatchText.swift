// Matches and flow keys in text, as ovs-ofctl dump-flows and ofproto/trace print them.

import Flow

/// Prints matches. `portName` gives the names to print for ports; nil prints numbers.
public struct MatchFormatter {
    public var portName: (OFPort) -> String?
    public var tunnelOptions: TunnelOptionMap?

    public init(portName: @escaping (OFPort) -> String? = { _ in nil }, tunnelOptions: TunnelOptionMap? = nil) {
        self.portName = portName
        self.tunnelOptions = tunnelOptions
    }

    /// `priority` nil, or the default of 32768, is not printed.
    public func format(_ match: Match, priority: Int? = nil) -> String {
        var p = Printer(match, self)
        if let priority, priority != 0x8000 { p.raw("priority=\(priority)") }
        p.all()
        return p.text
    }

    /// A packet's key, as after `Flow:` in a trace: context that is zero is left out.
    public func format(_ key: FlowKey) -> String {
        format(Match(key: key, mask: FlowMask.relevant(to: key)))
    }
}

extension FlowMask {
    /// All that a packet with this key has, and what of its context is not zero.
    public static func relevant(to key: FlowKey) -> FlowMask {
        var m = FlowMask()
        func exact(_ locations: FieldLocation...) { for l in locations { m.setExact(l) } }
        func ifSet(_ locations: FieldLocation...) { for l in locations where key[l] != 0 { m.setExact(l) } }
        ifSet(
            Location.skbPriority, Location.pktMark, Location.recircID, Location.dpHash, Location.ctState,
            Location.ctZone, Location.ctMark, Location.ctLabel, Location.metadata, Location.conjID)
        // A tunnel's id counts only where the tunnel says that it has one.
        if !key.hasTunnel || key.tunFlags & TunnelFlag.key != 0 { ifSet(Location.tunID) }
        if key.hasTunnel {
            ifSet(Location.tunERSPANDir, Location.tunERSPANHwid, Location.tunERSPANIdx)
            exact(
                Location.tunSrc, Location.tunDst, Location.tunIPv6Src, Location.tunIPv6Dst, Location.tunGBPID,
                Location.tunGBPFlags, Location.tunTOS, Location.tunTTL, Location.tunERSPANVer, Location.tunGTPUFlags,
                Location.tunGTPUMsgType, Location.tunFlags)
        }
        if key[Location.ctNwProto] != 0 {
            exact(Location.ctNwProto, Location.ctTpSrc, Location.ctTpDst)
            if key.ethType == 0x86dd {
                exact(Location.ctIPv6Src, Location.ctIPv6Dst)
            } else {
                exact(Location.ctNwSrc, Location.ctNwDst)
            }
        }
        for n in 0..<16 { ifSet(Location.reg(n)) }
        for i in Location.tunOptionsPresent.word..<Location.tunOptionsFirstWord + Location.tunOptionWords
        where key.words[Location.tunOptionsPresent.word] != 0 { m.bits.words[i] = .max }
        exact(Location.inPort, Location.packetType)
        if key.packetType == 0 { exact(Location.ethSrc, Location.ethDst, Location.vlanTCI) }
        exact(Location.ethType)
        if key.vlanTCI != 0 {
            exact(Location.vlanTPID)
            exact(Location.innerVLANTCI, Location.innerVLANTPID)
        }
        switch key.ethType {
        case 0x0800, 0x86dd:
            if key.ethType == 0x0800 {
                exact(Location.nwSrc, Location.nwDst)
            } else {
                exact(Location.ipv6Src, Location.ipv6Dst, Location.ipv6Label)
                m.bits.words[Location.ipv6Label.word] |= FlowMask.wholeLabel
            }
            exact(Location.nwProto, Location.nwTOS, Location.nwTTL, Location.nwFrag)
            if key.nwFrag & IPFragment.later != 0, key.ethType == 0x0800 || key.nwProto != 58 { break }
            switch key.nwProto {
            case 6: exact(Location.tpSrc, Location.tpDst, Location.tcpFlags)
            case 17, 132: exact(Location.tpSrc, Location.tpDst)
            case 1 where key.ethType == 0x0800: exact(Location.tpSrc, Location.tpDst)
            case 2 where key.ethType == 0x0800: exact(Location.tpSrc, Location.tpDst, Location.igmpGroup)
            case 58 where key.ethType == 0x86dd:
                exact(Location.tpSrc, Location.tpDst)
                if key.tpDst == 0, key.tpSrc == 135 || key.tpSrc == 136 {
                    exact(Location.ndTarget, Location.arpSHA, Location.arpTHA)
                }
            default: break
            }
        case 0x0806, 0x8035:
            exact(Location.nwSrc, Location.nwDst, Location.nwProto, Location.arpSHA, Location.arpTHA)
        case 0x8847, 0x8848:
            for n in 0..<3 {
                exact(Location.mplsLSE(n))
                if key.mplsLSE(n) & 0x100 != 0 { break }
            }
        case 0x894f:
            exact(
                Location.nshFlags, Location.nshTTL, Location.nshMDType, Location.nshNP, Location.nshSPI, Location.nshSI)
            if key[Location.nshMDType] == 1 { for n in 0..<4 { exact(Location.nshC(n)) } }
            exact(Location.nwProto, Location.nwTOS, Location.nwTTL, Location.nwFrag)
        default: break
        }
        return m
    }
}

/// Builds the text of one match.
private struct Printer {
    let key: FlowKey
    let mask: FlowMask
    let formatter: MatchFormatter
    var text = ""

    init(_ match: Match, _ formatter: MatchFormatter) {
        key = match.key
        mask = match.mask
        self.formatter = formatter
    }

    mutating func raw(_ s: String) {
        if !text.isEmpty { text += "," }
        text += s
    }

    /// A field under a name, in the field's own format.
    mutating func put(_ field: FieldID, _ name: String? = nil) {
        let m = field.value(in: mask)
        guard m != 0 else { return }
        raw((name ?? field.name) + "=")
        FieldText.write(field, field.value(in: key), mask: m, to: &text)
    }

    mutating func putHex(_ name: String, _ l: FieldLocation, digits: Int = 0) {
        let m = mask.bits[l]
        guard m != 0 else { return }
        func hex(_ v: UInt128) -> String {
            let t = String(v, radix: 16)
            return digits > 0 ? "0x" + String(repeating: "0", count: max(0, digits - t.count)) + t : FieldText.hex(v)
        }
        raw("\(name)=" + hex(key[l]) + (m == l.allOnes ? "" : "/" + (digits > 0 ? hex(m) : FieldText.hex0(m))))
    }

    /// Decimal when exact, value and mask in hexadecimal otherwise.
    mutating func putPort(_ name: String, _ l: FieldLocation) {
        let m = mask.bits[l]
        guard m != 0 else { return }
        raw("\(name)=" + (m == l.allOnes ? "\(key[l])" : FieldText.hex0(key[l]) + "/" + FieldText.hex0(m)))
    }

    mutating func putDecimal(_ name: String, _ l: FieldLocation) {
        let m = mask.bits[l]
        guard m != 0 else { return }
        raw("\(name)=\(key[l])" + (m == l.allOnes ? "" : "/" + FieldText.hex0(m)))
    }

    mutating func all() {
        putHex("pkt_mark", Location.pktMark)
        putHex("recirc_id", Location.recircID)
        putHex("dp_hash", Location.dpHash)
        putDecimal("conj_id", Location.conjID)
        putHex("skb_priority", Location.skbPriority)
        if !mask.isWild(Location.actsetOutput) { raw("actset_output=" + port(key.actsetOutput)) }
        connection()
        if !mask.isWild(Location.packetType), !(key.packetType == 0 && mask.isExact(Location.packetType)) {
            raw("packet_type=(\(key.packetType >> 16),0x\(String(key.packetType & 0xffff, radix: 16)))")
        } else if !mask.isWild(Location.recircID), mask.isExact(Location.packetType) {
            // A megaflow, which tells packets with and without Ethernet headers apart.
            raw("eth")
        }
        let namesType = !mask.isWild(Location.packetType) && key.packetType >> 16 == 1
        let skipType = namesType ? (type: true, proto: false) : keyword()
        for n in 0..<16 { putHex("reg\(n)", Location.reg(n)) }
        tunnel()
        putHex("metadata", Location.metadata)
        if !mask.isWild(Location.inPort) { raw("in_port=" + port(key.inPort)) }
        vlans()
        ethernet("dl_src", key.ethSrc, mask.bits.ethSrc)
        ethernet("dl_dst", key.ethDst, mask.bits.ethDst)
        if !skipType.type { putHex("dl_type", Location.ethType, digits: 4) }
        network(skipProto: skipType.proto)
    }

    private func port(_ n: UInt32) -> String {
        let p = OFPort(n)
        return p.reservedName ?? formatter.portName(p) ?? String(n)
    }

    /// ip, tcp6 and so on; says whether that told the Ethernet type and the IP protocol.
    private mutating func keyword() -> (type: Bool, proto: Bool) {
        guard mask.isExact(Location.ethType) else { return (false, false) }
        let withProto = mask.isExact(Location.nwProto)
        switch key.ethType {
        case 0x0800:
            let names: [UInt8: String] = [1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 132: "sctp"]
            if withProto, let name = names[key.nwProto] {
                raw(name)
                return (true, true)
            }
            raw("ip")
        case 0x86dd:
            let names: [UInt8: String] = [58: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6"]
            if withProto, let name = names[key.nwProto] {
                raw(name)
                return (true, true)
            }
            raw("ipv6")
        case 0x0806: raw("arp")
        case 0x8035: raw("rarp")
        case 0x8847: raw("mpls")
        case 0x8848: raw("mplsm")
        default: return (false, false)
        }
        return (true, false)
    }

    private mutating func connection() {
        let stateMask = mask.bits.ctState
        if stateMask != 0 {
            raw("ct_state=")
            if stateMask & 0xff == 0xff, stateMask == 0xffff {
                let names = CTState.names.enumerated().filter { key.ctState >> UInt16($0.offset) & 1 != 0 }
                text += names.isEmpty ? "0" : names.map(\.element).joined(separator: "|")
            } else {
                FieldText.flags(UInt64(key.ctState), UInt64(stateMask), CTState.names, to: &text)
            }
        }
        putDecimal("ct_zone", Location.ctZone)
        putHex("ct_mark", Location.ctMark)
        putHex("ct_label", Location.ctLabel)
        put(.ctNwSrc)
        put(.ctIPv6Src)
        put(.ctNwDst)
        put(.ctIPv6Dst)
        putDecimal("ct_nw_proto", Location.ctNwProto)
        putDecimal("ct_tp_src", Location.ctTpSrc)
        putDecimal("ct_tp_dst", Location.ctTpDst)
    }

    private mutating func tunnel() {
        putHex("tun_id", Location.tunID)
        put(.tunSrc)
        put(.tunDst)
        put(.tunIPv6Src)
        put(.tunIPv6Dst)
        putDecimal("tun_gbp_id", Location.tunGBPID)
        putHex("tun_gbp_flags", Location.tunGBPFlags)
        putDecimal("tun_tos", Location.tunTOS)
        putDecimal("tun_ttl", Location.tunTTL)
        putDecimal("tun_erspan_ver", Location.tunERSPANVer)
        putHex("tun_erspan_idx", Location.tunERSPANIdx)
        putDecimal("tun_erspan_dir", Location.tunERSPANDir)
        putHex("tun_erspan_hwid", Location.tunERSPANHwid)
        putHex("gtpu_flags", Location.tunGTPUFlags)
        putDecimal("gtpu_msgtype", Location.tunGTPUMsgType)
        let flags = mask.bits.tunFlags
        if flags != 0 {
            raw("tun_flags=")
            // The datapath's bits, in the order of their values.
            if flags == .max {
                text += FlagNames.text(key.tunFlags, FlagNames.tunnel)
            } else {
                FieldText.flags(UInt64(key.tunFlags), UInt64(flags), ["oam", "df", "csum", "key"], to: &text)
            }
        }
        guard let map = formatter.tunnelOptions else { return }
        for slot in map.entries.values.sorted(by: { $0.index < $1.index }) where map.isPresent(slot, in: mask.bits) {
            func hex(_ b: [UInt8]) -> String {
                var v = b.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                v = String(v.drop { $0 == "0" })
                return v.isEmpty ? "0" : "0x" + v
            }
            let bits = map.bytes(slot, in: mask.bits)
            guard map.isPresent(slot, in: key) else { continue }
            raw("tun_metadata\(slot.index)")
            if bits.contains(where: { $0 != 0 }) { text += "=" + hex(map.bytes(slot, in: key)) }
            if bits.contains(where: { $0 != 0xff }), bits.contains(where: { $0 != 0 }) { text += "/" + hex(bits) }
        }
    }

    private mutating func vlans() {
        vlan(Location.vlanTCI, key.vlanTCI, mask.bits.vlanTCI, "")
        vlan(Location.innerVLANTCI, key.innerVLANTCI, mask.bits.innerVLANTCI, "1")
    }

    private mutating func vlan(_ location: FieldLocation, _ tci: UInt16, _ m: UInt16, _ suffix: String) {
        guard m != 0 else { return }
        let vidMask = m & 0xfff
        let pcpMask = m & 0xe000
        if m & 0x1000 != 0, tci & 0x1000 != 0, vidMask == 0 || vidMask == 0xfff, pcpMask == 0 || pcpMask == 0xe000,
            vidMask != 0 || pcpMask != 0
        {
            if vidMask != 0 { raw("dl_vlan\(suffix)=\(tci & 0xfff)") }
            if pcpMask != 0 { raw("dl_vlan_pcp\(suffix)=\(tci >> 13)") }
        } else {
            putHex("vlan_tci\(suffix)", location, digits: 4)
        }
    }

    private mutating func ethernet(_ name: String, _ value: UInt64, _ m: UInt64) {
        guard m != 0 else { return }
        raw("\(name)=" + AddressText.mac(value))
        if m != 0xffff_ffff_ffff { text += "/" + AddressText.mac(m) }
    }

    private mutating func serviceHeader() {
        put(.nshFlags)
        put(.nshTTL)
        put(.nshMDType)
        put(.nshNP)
        putHex("nsh_spi", Location.nshSPI, digits: 1)
        put(.nshSI)
        // The context is that of type 1, and is told where the type is.
        guard key[Location.nshMDType] == 1, !mask.isWild(Location.nshMDType) else { return }
        for n in 0..<4 { putHex("nsh_c\(n + 1)", Location.nshC(n), digits: 1) }
    }

    private mutating func network(skipProto: Bool) {
        let type = key.ethType
        let isARP = type == 0x0806 || type == 0x8035
        if type == 0x86dd {
            put(.ipv6Src)
            put(.ipv6Dst)
            if !mask.isWild(Location.ipv6Label) {
                putHex("ipv6_label", Location.ipv6Label, digits: 5)
                // Written, but matched by no flow as a whole.
                if mask.isExact(Location.ipv6Label), !mask.matchesWholeLabel { text += "/0xfffff" }
            }
        } else {
            put(.ipv4Src, isARP ? "arp_spa" : "nw_src")
            put(.ipv4Dst, isARP ? "arp_tpa" : "nw_dst")
        }
        if type == 0x894f { serviceHeader() }
        if !skipProto, !mask.isWild(Location.nwProto) { raw("\(isARP ? "arp_op" : "nw_proto")=\(key.nwProto)") }
        if isARP {
            ethernet("arp_sha", key.arpSHA, mask.bits.arpSHA)
            ethernet("arp_tha", key.arpTHA, mask.bits.arpTHA)
        }
        if mask.bits.nwTOS & 0xfc != 0 { raw("nw_tos=\(key.nwTOS & 0xfc)") }
        if mask.bits.nwTOS & 3 != 0 { raw("nw_ecn=\(key.nwTOS & 3)") }
        if !mask.isWild(Location.nwTTL) { raw("nw_ttl=\(key.nwTTL)") }
        for n in 0..<3 {
            let m = mask.bits.mplsLSE(n)
            let lse = key.mplsLSE(n)
            guard n == 0 else {
                func hex(_ v: UInt32) -> String {
                    let digits = String(v, radix: 16)
                    return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
                }
                if m != 0 { raw("mpls_lse\(n)=" + (m == .max ? "\(lse)" : "\(hex(lse))/\(hex(m))")) }
                continue
            }
            if m >> 12 != 0 { raw("mpls_label=\(lse >> 12)") }
            if m >> 9 & 7 != 0 { raw("mpls_tc=\(lse >> 9 & 7)") }
            if m & 0xff != 0 { raw("mpls_ttl=\(lse & 0xff)") }
            if m >> 8 & 1 != 0 { raw("mpls_bos=\(lse >> 8 & 1)") }
        }
        if mask.bits.nwFrag & 3 != 0 { raw("nw_frag=" + FieldText.frag(key.nwFrag, mask.bits.nwFrag)) }
        let proto = key.nwProto
        let isICMP = type == 0x0800 && proto == 1 || type == 0x86dd && proto == 58
        putPort(isICMP ? "icmp_type" : "tp_src", Location.tpSrc)
        putPort(isICMP ? "icmp_code" : "tp_dst", Location.tpDst)
        if type == 0x86dd, proto == 58 {
            put(.ndTarget)
            ethernet("nd_sll", key.arpSHA, mask.bits.arpSHA)
            ethernet("nd_tll", key.arpTHA, mask.bits.arpTHA)
            if !mask.isWild(Location.igmpGroup) { raw("nd_reserved=\(key.igmpGroup)") }
            if !mask.isWild(Location.ndOptionsType) { raw("nd_options_type=\(key.ndOptionsType)") }
        }
        if proto == 6, type == 0x0800 || type == 0x86dd, mask.bits.tcpFlags != 0 {
            raw("tcp_flags=")
            FieldText.tcpFlags(key.tcpFlags, mask.bits.tcpFlags, to: &text)
        }
    }
}
