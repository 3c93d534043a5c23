// The text of a tunnel's header within tnl_push: what its bytes say.

import Flow
import Packet

extension TunnelHeader {
    func text(_ port: (UInt32) -> String) -> String {
        "tnl_push(tnl_port(\(port(tunnelPort))),header(size=\(header.count),type=\(number),\(layers)),out_port(\(port(outPort))))"
    }

    private func u8(_ at: Int) -> UInt8 { at >= 0 && at < header.count ? header[at] : 0 }
    private func u16(_ at: Int) -> UInt16 { UInt16(u8(at)) << 8 | UInt16(u8(at + 1)) }
    private func u32(_ at: Int) -> UInt32 { UInt32(u16(at)) << 16 | UInt32(u16(at + 2)) }
    private func u128(_ at: Int) -> UInt128 { (0..<4).reduce(0) { $0 << 32 | UInt128(u32(at + 4 * $1)) } }
    private func mac(_ at: Int) -> String { AddressText.mac(UInt64(u16(at)) << 32 | UInt64(u32(at + 2))) }
    private func hex(_ v: some BinaryInteger) -> String { "0x" + String(v, radix: 16) }

    private var layers: String {
        let isIPv6 = u16(12) == EtherType.ipv6
        var out = "eth(dst=\(mac(0)),src=\(mac(6)),dl_type=0x\(isIPv6 ? "86dd" : "0800")),"
        let proto: UInt8
        let at: Int
        if isIPv6 {
            proto = u8(20)
            at = 54
            out += "ipv6(src=\(AddressText.ipv6(u128(22))),dst=\(AddressText.ipv6(u128(38))),label=\(u32(14) & 0xfffff),proto=\(proto),"
            out += "tclass=\(hex(u32(14) >> 20 & 0xff)),hlimit=\(u8(21))),"
        } else {
            proto = u8(23)
            at = 34
            out += "ipv4(src=\(AddressText.ipv4(u32(26))),dst=\(AddressText.ipv4(u32(30))),proto=\(proto),"
            out += "tos=\(AddressText.hex(u8(15))),ttl=\(u8(22)),frag=\(hex(u16(20)))),"
        }
        if proto == IPProtocol.udp {
            return out + "udp(src=\(u16(at)),dst=\(u16(at + 2)),csum=\(hex(u16(at + 6)))),\(overUDP(at + 8))"
        }
        return out + (type == "erspan" ? erspan(at) : gre(at))
    }

    private func overUDP(_ at: Int) -> String {
        switch type {
        case "geneve":
            var parts: [String] = []
            if u8(at + 1) & 0x80 != 0 { parts.append("oam") }
            if u8(at + 1) & 0x40 != 0 { parts.append("crit") }
            parts.append("vni=\(hex(u32(at + 4) >> 8))")
            if at + 8 < header.count {
                var options = ""
                var option = at + 8
                while option + 4 <= header.count {
                    let size = Int(u8(option + 3) & 0x1f) * 4
                    options += "{class=\(hex(u16(option))),type=\(hex(u8(option + 2))),len=\(size)"
                    let digits = (0..<size).map { i in (u8(option + 4 + i) < 16 ? "0" : "") + String(u8(option + 4 + i), radix: 16) }
                        .joined()
                    options += ",0x" + (digits.drop { $0 == "0" }.isEmpty ? "0" : String(digits.drop { $0 == "0" })) + "}"
                    option += 4 + size
                }
                parts.append("options(\(options))")
            }
            return "geneve(\(parts.joined(separator: ",")))"
        case "gtpu": return "gtpu(flags=\(hex(u8(at))),msgtype=\(u8(at + 1)),teid=\(hex(u32(at + 4))))"
        default: return "vxlan(flags=\(hex(u32(at))),vni=\(hex(u32(at + 4) >> 8)))"
        }
    }

    private func gre(_ at: Int) -> String {
        let flags = u16(at)
        var out = "gre((flags=\(hex(flags)),proto=\(hex(u16(at + 2))))"
        var next = at + 4
        if flags & 0x8000 != 0 {
            out += ",csum=\(hex(u16(next)))"
            next += 4
        }
        if flags & 0x2000 != 0 {
            out += ",key=\(hex(u32(next)))"
            next += 4
        }
        if flags & 0x1000 != 0 { out += ",seq=\(hex(u32(next)))" }
        return out + ")"
    }

    private func erspan(_ at: Int) -> String {
        let session = u16(at + 10) & 0x3ff
        if u16(at + 8) >> 12 == 2 {
            let last = u16(at + 18)
            return "erspan(ver=2,sid=\(hex(session)),dir=\(last >> 3 & 1),hwid=\(hex(last >> 4 & 0x3f)))"
        }
        return "erspan(ver=1,sid=\(hex(session)),idx=\(hex(u32(at + 12) & 0xfffff)))"
    }
}
