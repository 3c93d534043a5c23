// Actions in text, as ovs-ofctl and the control commands print them.

import Flow

/// Prints actions. `portName` and `tableName` give the names to print for numbers; nil prints numbers.
public struct ActionFormatter {
    public var portName: (OFPort) -> String?
    public var tableName: (UInt8) -> String?

    public init(
        portName: @escaping (OFPort) -> String? = { _ in nil }, tableName: @escaping (UInt8) -> String? = { _ in nil }
    ) {
        self.portName = portName
        self.tableName = tableName
    }

    /// The list, or `drop` when nothing is in it.
    public func format(_ actions: [OFAction]) -> String {
        var s = ""
        write(actions, to: &s)
        return s
    }

    public func format(_ action: OFAction) -> String {
        var s = ""
        write(action, to: &s)
        return s
    }

    public func write(_ actions: [OFAction], to s: inout String) {
        if actions.isEmpty {
            s += "drop"
            return
        }
        for (i, a) in actions.enumerated() {
            if i > 0 { s += "," }
            write(a, to: &s)
        }
    }

    func port(_ p: OFPort) -> String { p.reservedName ?? portName(p).map(quoted) ?? String(p.rawValue) }
    func table(_ t: UInt8) -> String { tableName(t).map(quoted) ?? String(t) }

    /// Names that could be mistaken for something else are quoted.
    private func quoted(_ name: String) -> String {
        let plain = name.utf8.first.map { ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7a || $0 == 0x5f } ?? false
        let rest = name.utf8.allSatisfy {
            ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7a || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x5f || $0 == 0x2d || $0 == 0x2e
        }
        return plain && rest ? name : "\"\(name)\""
    }

    public func write(_ action: OFAction, to s: inout String) {
        switch action {
        case .output(let p, let maxLength):
            if p == .controller {
                s += "CONTROLLER:\(maxLength)"
            } else if p.isReserved {
                s += port(p)
            } else {
                s += "output:" + port(p)
            }
        case .outputRegister(let f, _):
            s += "output:"
            f.write(to: &s)
        case .outputTruncated(let p, let maxLength): s += "output(port=\(port(p)),max_len=\(maxLength))"
        case .controller(let a): controller(a, to: &s)
        case .enqueue(let p, let queue): s += "enqueue:\(port(p)):\(queue)"
        case .group(let id): s += "group:\(id)"
        case .bundle(let a):
            s += a.destination == nil ? "bundle(" : "bundle_load("
            s += "\(a.fields.name),\(a.basis),\(a.algorithm.name),ofport,"
            if let d = a.destination { s += "\(d)," }
            s += "members:" + a.members.map(port).joined(separator: ",") + ")"
        case .setVLANVID(let vid, let c): s += "\(c.pushIfNeeded ? "mod_vlan_vid" : "set_vlan_vid"):\(vid)"
        case .setVLANPCP(let pcp, let c): s += "\(c.pushIfNeeded ? "mod_vlan_pcp" : "set_vlan_pcp"):\(pcp)"
        case .stripVLAN(let isPop): s += isPop ? "pop_vlan" : "strip_vlan"
        case .pushVLAN(let type): s += "push_vlan:" + hex4(type)
        case .setEthSrc(let a): s += "mod_dl_src:" + AddressText.mac(a)
        case .setEthDst(let a): s += "mod_dl_dst:" + AddressText.mac(a)
        case .setIPv4Src(let a): s += "mod_nw_src:" + AddressText.ipv4(a)
        case .setIPv4Dst(let a): s += "mod_nw_dst:" + AddressText.ipv4(a)
        case .setIPDSCP(let v): s += "mod_nw_tos:\(v)"
        case .setIPECN(let v): s += "mod_nw_ecn:\(v)"
        case .setIPTTL(let v): s += "mod_nw_ttl:\(v)"
        case .setL4SrcPort(let v, _): s += "mod_tp_src:\(v)"
        case .setL4DstPort(let v, _): s += "mod_tp_dst:\(v)"
        case .setField(let a): setField(a, to: &s)
        case .regMove(let from, let to):
            s += "move:"
            from.write(to: &s)
            s += "->"
            to.write(to: &s)
        case .stackPush(let f): s += "push:\(f)"
        case .stackPop(let f): s += "pop:\(f)"
        case .decTTL(let a):
            s += "dec_ttl"
            if a.hasIDs { s += "(" + a.controllers.map(String.init).joined(separator: ",") + ")" }
        case .setMPLSLabel(let v): s += "set_mpls_label(\(v))"
        case .setMPLSTC(let v): s += "set_mpls_tc(\(v))"
        case .setMPLSTTL(let v): s += "set_mpls_ttl(\(v))"
        case .decMPLSTTL: s += "dec_mpls_ttl"
        case .pushMPLS(let type): s += "push_mpls:" + hex4(type)
        case .popMPLS(let type): s += "pop_mpls:" + hex4(type)
        case .decNSHTTL: s += "dec_nsh_ttl"
        case .deleteField(let f): s += "delete_field:" + f.name
        case .encap(let a): encap(a, to: &s)
        case .decap(let type):
            s += "decap("
            if type != 0xfffe { s += "packet_type(ns=\(type >> 16),type=\(FieldText.hex(UInt128(type & 0xffff))))" }
            s += ")"
        case .setTunnel(let id, let wide):
            s += "\(wide || id > 0xffff_ffff ? "set_tunnel64" : "set_tunnel"):\(FieldText.hex(UInt128(id)))"
        case .setQueue(let q): s += "set_queue:\(q)"
        case .popQueue: s += "pop_queue"
        case .finTimeout(let idle, let hard):
            s += "fin_timeout("
            if idle != 0 { s += "idle_timeout=\(idle)," }
            if hard != 0 { s += "hard_timeout=\(hard)," }
            if s.hasSuffix(",") { s.removeLast() }
            s += ")"
        case .resubmit(let a):
            if a.inPort != .inPort, a.table == 255, !a.withCT {
                s += "resubmit:" + port(a.inPort)
            } else {
                s += "resubmit("
                if a.inPort != .inPort { s += port(a.inPort) }
                s += ","
                if a.table != 255 { s += table(a.table) }
                if a.withCT { s += ",ct" }
                s += ")"
            }
        case .learn(let a): learn(a, to: &s)
        case .conjunction(let id, let clause, let count): s += "conjunction(\(id),\(Int(clause) + 1)/\(count))"
        case .multipath(let a):
            s += "multipath(\(a.fields.name),\(a.basis),\(a.algorithm.name),\(Int(a.maxLink) + 1),\(a.argument),"
            s += "\(a.destination))"
        case .note(let bytes): s += "note:" + bytes.map(hex2).joined(separator: ".")
        case .exit: s += "exit"
        case .sample(let a):
            s += "sample(probability=\(a.probability),collector_set_id=\(a.collectorSet)"
            s += ",obs_domain_id=\(a.observationDomain),obs_point_id=\(a.observationPoint)"
            if a.samplingPort != .none { s += ",sampling_port=" + port(a.samplingPort) }
            if a.direction == .ingress { s += ",ingress" }
            if a.direction == .egress { s += ",egress" }
            s += ")"
        case .clone(let inner):
            s += "clone("
            write(inner, to: &s)
            s += ")"
        case .checkPacketLarger(let size, let f): s += "check_pkt_larger(\(size))->\(f)"
        case .ct(let a): ct(a, to: &s)
        case .ctClear: s += "ct_clear"
        case .nat(let a): nat(a, to: &s)
        case .debugRecirc: s += "debug_recirc"
        case .debugSlow: s += "debug_slow"
        case .meter(let id): s += "meter:\(id)"
        case .clearActions: s += "clear_actions"
        case .writeActions(let inner):
            s += "write_actions("
            write(inner, to: &s)
            s += ")"
        case .writeMetadata(let value, let mask):
            s += "write_metadata:" + FieldText.hex(UInt128(value))
            if mask != .max { s += "/" + FieldText.hex(UInt128(mask)) }
        case .gotoTable(let t): s += "goto_table:" + table(t)
        }
    }

    private func hex2(_ v: UInt8) -> String { (v < 16 ? "0" : "") + String(v, radix: 16) }
    private func hex4(_ v: UInt16) -> String {
        let t = String(v, radix: 16)
        return "0x" + String(repeating: "0", count: 4 - t.count) + t
    }

    private func controller(_ a: ControllerAction, to s: inout String) {
        if a.reason == .action, a.controllerID == 0, a.userdata.isEmpty, !a.pause, a.meterID == .max {
            s += "CONTROLLER:\(a.maxLength)"
            return
        }
        var parts: [String] = []
        if a.reason != .action { parts.append("reason=" + a.reason.name) }
        if a.maxLength != 0xffff { parts.append("max_len=\(a.maxLength)") }
        if a.controllerID != 0 { parts.append("id=\(a.controllerID)") }
        if !a.userdata.isEmpty { parts.append("userdata=" + a.userdata.map(hex2).joined(separator: ".")) }
        if a.pause { parts.append("pause") }
        if a.meterID != .max { parts.append("meter_id=\(a.meterID)") }
        s += "controller(" + parts.joined(separator: ",") + ")"
    }

    private func wide(_ bytes: [UInt8]) -> String {
        let t = bytes.drop { $0 == 0 }
        guard let first = t.first else { return "0" }
        return "0x" + String(first, radix: 16) + t.dropFirst().map(hex2).joined()
    }

    private func setField(_ a: SetFieldAction, to s: inout String) {
        if a.fromLoad, let f = a.subfield {
            s += "load:"
            if a.field.isTunnelOption {
                s += wide(a.wideValue)
            } else {
                s += AddressText.hex((a.value >> UInt128(f.low)) & f.ones)
            }
            s += "->"
            f.write(to: &s)
            return
        }
        s += "set_field:"
        if a.field.isTunnelOption {
            s += wide(a.wideValue)
            if !a.wideMask.allSatisfy({ $0 == 0xff }) { s += "/" + wide(a.wideMask) }
        } else {
            FieldText.write(a.field, a.value, mask: a.mask, to: &s)
        }
        s += "->" + a.field.name
    }

    private func encap(_ a: EncapAction, to s: inout String) {
        s += "encap("
        switch a.packetType {
        case 0: s += "ethernet"
        case 0x1894f: s += "nsh"
        case 0x18847: s += "mpls"
        case 0x18848: s += "mpls_mc"
        default: s += FieldText.hex0(UInt128(a.packetType))
        }
        if !a.properties.isEmpty {
            s += "("
            s += a.properties.map { p in
                switch p.kind {
                case .nshMDType(let type): "md_type=\(type)"
                case .nshTLV(let tlvClass, let type, let value):
                    "tlv(\(hex4(tlvClass)),\(type),0x\(value.map(hex2).joined()))"
                }
            }.joined(separator: ",")
            s += ")"
        }
        s += ")"
    }

    private func learn(_ a: LearnAction, to s: inout String) {
        s += "learn(table=" + table(a.table)
        if a.idleTimeout != 0 { s += ",idle_timeout=\(a.idleTimeout)" }
        if a.hardTimeout != 0 { s += ",hard_timeout=\(a.hardTimeout)" }
        if a.finIdleTimeout != 0 { s += ",fin_idle_timeout=\(a.finIdleTimeout)" }
        if a.finHardTimeout != 0 { s += ",fin_hard_timeout=\(a.finHardTimeout)" }
        if a.priority != 0x8000 { s += ",priority=\(a.priority)" }
        if a.flags.contains(.sendFlowRemoved) { s += ",send_flow_rem" }
        if a.flags.contains(.deleteLearned) { s += ",delete_learned" }
        if a.cookie != 0 { s += ",cookie=" + FieldText.hex(UInt128(a.cookie)) }
        if a.limit != 0 { s += ",limit=\(a.limit)" }
        if let r = a.result { s += ",result_dst=\(r)" }
        for spec in a.specs {
            s += ","
            switch (spec.source, spec.destination) {
            case (.immediate(let value), .match(let to)):
                if to.isWholeField {
                    s += to.field.name + "="
                    FieldText.write(to.field, value, mask: to.field.row.allOnes, to: &s)
                } else {
                    s += "\(to)=" + FieldText.hex(value)
                }
            case (.field(let from), .match(let to)):
                s += "\(to)"
                if from != to { s += "=\(from)" }
            case (.immediate(let value), .load(let to)): s += "load:\(FieldText.hex(value))->\(to)"
            case (.field(let from), .load(let to)): s += "load:\(from)->\(to)"
            case (.field(let from), .output): s += "output:\(from)"
            case (.immediate(let value), .output): s += "output:\(value)"
            }
        }
        s += ")"
    }

    private func ct(_ a: CTAction, to s: inout String) {
        var parts: [String] = []
        if a.commit { parts.append("commit") }
        if a.force { parts.append("force") }
        if a.recircTable != 255 { parts.append("table=" + table(a.recircTable)) }
        if let z = a.zoneSource { parts.append("zone=\(z)") } else if a.zone != 0 { parts.append("zone=\(a.zone)") }
        var exec = a.actions[...]
        if case .nat(let first)? = exec.first {
            var text = ""
            nat(first, to: &text)
            parts.append(text)
            exec = exec.dropFirst()
        }
        if !exec.isEmpty { parts.append("exec(" + format(Array(exec)) + ")") }
        switch a.alg {
        case 0: break
        case 21: parts.append("alg=ftp")
        case 69: parts.append("alg=tftp")
        default: parts.append("alg=\(a.alg)")
        }
        s += parts.isEmpty ? "ct" : "ct(" + parts.joined(separator: ",") + ")"
    }

    private func nat(_ a: NATAction, to s: inout String) {
        s += "nat"
        guard !a.flags.isDisjoint(with: [.source, .destination]) else { return }
        s += "(" + (a.flags.contains(.source) ? "src" : "dst")
        switch a.addresses {
        case .none:
            if a.portMin != 0 { s += "=" }
        case .ipv4(let low, let high):
            s += "=" + AddressText.ipv4(low)
            if high != 0, high != low { s += "-" + AddressText.ipv4(high) }
        case .ipv6(let low, let high):
            let brackets = a.portMin != 0
            s += brackets ? "=[" : "="
            s += AddressText.ipv6(low)
            if high != 0, high != low { s += (brackets ? "]-[" : "-") + AddressText.ipv6(high) }
            if brackets { s += "]" }
        }
        if a.portMin != 0 {
            s += ":\(a.portMin)"
            if a.portMax != 0, a.portMax != a.portMin { s += "-\(a.portMax)" }
        }
        if a.flags.contains(.persistent) { s += ",persistent" }
        if a.flags.contains(.protocolHash) { s += ",hash" }
        if a.flags.contains(.protocolRandom) { s += ",random" }
        s += ")"
    }
}
