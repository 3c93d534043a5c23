// Datapath actions as text, as `dpctl/dump-flows` and `ofproto/trace` print them.

import Flow

extension DpAction {
    /// The text of a list; `drop` when it is empty.
    public static func text(_ actions: [DpAction], portName: (UInt32) -> String? = { _ in nil }) -> String {
        if actions.isEmpty { return "drop" }
        return actions.map { $0.text(portName) }.joined(separator: ",")
    }

    private static func label(_ action: String, _ lse: UInt32, _ type: UInt16) -> String {
        "\(action)(label=\(lse >> 12),tc=\(lse >> 9 & 7),ttl=\(lse & 0xff),bos=\(lse >> 8 & 1),eth_type=0x\(String(type, radix: 16)))"
    }

    func text(_ portName: (UInt32) -> String?) -> String {
        func nested(_ actions: [DpAction]) -> String { Self.text(actions, portName: portName) }
        func port(_ n: UInt32) -> String { portName(n) ?? String(n) }
        switch self {
        case .output(let n): return port(n)
        case .userspace(let action):
            var text = action.text
            if case .sFlow = action { text += ",actions" }
            if let tunnel = action.tunnelPort { text += ",tunnel_out_port=\(tunnel)" }
            return "userspace(pid=0,\(text))"
        case .set(let set):
            return "set(\(ODPSetText.text(set.kind.rawValue, set.fields.map { ($0.location, $0.value, $0.mask) })))"
        case .pushVLAN(let tpid, let tci):
            let type = tpid == 0x8100 ? "" : "tpid=0x\(hex4(tpid)),"
            return "push_vlan(\(type)vid=\(tci & 0xfff),pcp=\(tci >> 13))"
        case .popVLAN: return "pop_vlan"
        case .pushMPLS(let lse, let type): return Self.label("push_mpls", lse, type)
        case .addMPLS(let lse, let type): return Self.label("add_mpls", lse, type)
        case .popMPLS(let type): return "pop_mpls(eth_type=0x\(String(type, radix: 16)))"
        case .recirc(let id): return "recirc(\(AddressText.hex(id)))"
        case .hash(let algorithm, let basis):
            return algorithm == .l4 ? "hash(l4(\(basis)))" : "hash(sym_l4(\(basis)))"
        case .sample(let probability, let actions):
            let percent = Self.percentage(probability)
            return "sample(sample=\(percent)%,actions(\(nested(actions))))"
        case .ct(let ct): return ct.text
        case .ctClear: return "ct_clear"
        case .truncate(let n): return "trunc(\(n))"
        case .pushEthernet(let source, let destination):
            return "push_eth(src=\(AddressText.mac(source)),dst=\(AddressText.mac(destination)))"
        case .popEthernet: return "pop_eth"
        case .clone(let actions): return "clone(\(nested(actions)))"
        case .meter(let id): return "meter(\(id))"
        case .checkPacketLength(let size, let greater, let lessOrEqual):
            return "check_pkt_len(size=\(size),gt(\(nested(greater))),le(\(nested(lessOrEqual))))"
        case .tunnelPop(let n): return "tnl_pop(\(port(n)))"
        case .tunnelPush(let header): return header.text(port)
        case .drop: return "drop"
        case .pushNSH(let nsh): return nsh.text
        case .popNSH: return "pop_nsh()"
        case .lbOutput(let bond): return "lb_output(\(bond))"
        }
    }

    /// A fraction of 2^32 in percent with one digit, rounded as the real daemon does.
    private static func percentage(_ probability: UInt32) -> String {
        let tenths = (UInt64(probability) * 1000 + UInt64(UInt32.max) / 2) / UInt64(UInt32.max)
        return "\(tenths / 10).\(tenths % 10)"
    }
}

private func hex4(_ value: UInt16) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 4 - digits.count) + digits
}

extension UserspaceAction {
    var text: String {
        switch self {
        case .sFlow(_, let vid, let pcp, let output): return "sFlow(vid=\(vid),pcp=\(pcp),output=\(output))"
        case .slowPath(let reasons): return "slow_path(\(reasons.text))"
        case .flowSample(let s):
            let direction =
                switch s.direction {
                case .unspecified: ""
                case .ingress: ",ingress"
                case .egress: ",egress"
                }
            return
                "flow_sample(probability=\(s.probability),collector_set_id=\(s.collectorSet),obs_domain_id=\(s.domain),obs_point_id=\(s.point),output_port=\(s.output)\(direction))"
        case .ipfix(_, let output, _): return "ipfix(output_port=\(output))"
        case .controller(let reason, let dontSend, let continuation, let recirc, let cookie, let id, let maxLength):
            return
                "controller(reason=\(reason),dont_send=\(dontSend ? 1 : 0),continuation=\(continuation ? 1 : 0),recirc_id=\(recirc),rule_cookie=\(AddressText.hex(cookie)),controller_id=\(id),max_len=\(maxLength))"
        }
    }
}

extension DpConntrack {
    var text: String {
        var parts: [String] = []
        if commit { parts.append(force ? "force_commit" : "commit") }
        if zone != 0 { parts.append("zone=\(zone)") }
        if let mark { parts.append("mark=\(AddressText.hex(mark.value))/\(AddressText.hex(mark.mask))") }
        if let label {
            parts.append("label=" + AddressText.hex(label.value) + (label.mask == .max ? "" : "/" + AddressText.hex(label.mask)))
        }
        if let helper { parts.append("helper=\(helper)") }
        if let timeoutPolicy { parts.append("timeout=\(timeoutPolicy)") }
        if let nat { parts.append(nat.text) }
        return parts.isEmpty ? "ct" : "ct(\(parts.joined(separator: ",")))"
    }
}

extension DpNAT {
    var text: String {
        guard kind != .none else { return "nat" }
        var out = kind == .source ? "src" : "dst"
        if let addresses {
            func address(_ a: UInt128) -> String { isIPv6 ? AddressText.ipv6(a) : AddressText.ipv4(UInt32(a)) }
            func bracketed(_ a: UInt128) -> String { isIPv6 && ports != nil ? "[\(address(a))]" : address(a) }
            out += "=" + bracketed(addresses.lowerBound)
            if addresses.count > 1 { out += "-" + bracketed(addresses.upperBound) }
            if let ports {
                out += ":\(ports.lowerBound)"
                if ports.count > 1 { out += "-\(ports.upperBound)" }
            }
        }
        var flags: [String] = []
        if persistent { flags.append("persistent") }
        if hashPorts { flags.append("hash") }
        if random { flags.append("random") }
        return "nat(\(([out] + flags).joined(separator: ",")))"
    }
}

extension DpNSH {
    var text: String {
        var out = "push_nsh(flags=\(flags),ttl=\(ttl),mdtype=\(mdType),np=\(nextProtocol)"
        out += ",spi=0x\(String(path >> 8, radix: 16)),si=\(path & 0xff)"
        if mdType == 1 {
            for i in 0..<4 where context.count >= 4 * i + 4 {
                let word = context[(4 * i)..<(4 * i + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                out += ",c\(i + 1)=0x" + String(word, radix: 16)
            }
        } else {
            // One number, however long.
            let digits = context.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined().drop { $0 == "0" }
            out += digits.isEmpty ? ",md2=0" : ",md2=0x\(digits)"
        }
        return out + ")"
    }
}
