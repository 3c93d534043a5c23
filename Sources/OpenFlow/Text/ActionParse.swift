// Text into actions, as ovs-ofctl reads them: what `ofproto/trace-packet-out` is given.

import Flow

/// Action text that makes no sense.
public struct ActionSyntaxError: Error, CustomStringConvertible {
    public let description: String
}

extension OFAction {
    /// Parses a list of actions.
    /// - Parameter ports: finds a port by name.
    public static func parse(_ text: String, ports: (String) -> OFPort?) throws(ActionSyntaxError) -> [OFAction] {
        if text == "drop" { return [] }
        var out: [OFAction] = []
        for item in split(text) {
            if item == "drop" {
                throw ActionSyntaxError(
                    description: "\"drop\" must not be accompanied by any other action or instruction")
            }
            out.append(try parseOne(item, ports))
        }
        return out
    }

    /// Splits at commas and spaces outside parentheses.
    static func split(_ text: String) -> [String] {
        var out: [String] = []
        var level = 0
        var current = ""
        for c in text {
            if c == "(" { level += 1 }
            if c == ")" { level -= 1 }
            if level <= 0, c == "," || c == " " || c == "\t" {
                if !current.isEmpty { out.append(current) }
                current = ""
            } else {
                current.append(c)
            }
        }
        if !current.isEmpty { out.append(current) }
        return out
    }

    private static func parseOne(_ item: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> OFAction {
        func fail(_ text: String) -> ActionSyntaxError { ActionSyntaxError(description: text) }
        let nameEnd = item.firstIndex { $0 == ":" || $0 == "(" || $0 == "=" } ?? item.endIndex
        let name = String(item[..<nameEnd])
        var argument = String(item[nameEnd...].dropFirst())
        if item[nameEnd...].first == "(", argument.last == ")" { argument.removeLast() }

        func port(_ text: String) throws(ActionSyntaxError) -> OFPort {
            guard let p = OFPort(text: text) ?? ports(text) else { throw fail("\(text): output to unknown port") }
            return p
        }
        func number(_ limit: UInt64, _ what: String) throws(ActionSyntaxError) -> UInt64 {
            guard let n = parseUnsigned(argument), n <= limit else { throw fail("invalid \(what) \"\(argument)\"") }
            return n
        }
        func subfield(_ text: String) throws(ActionSyntaxError) -> Subfield {
            do throws(SubfieldError) {
                return try Subfield(parsing: text)
            } catch {
                throw fail("\(error)")
            }
        }
        func arrow() throws(ActionSyntaxError) -> (String, String) {
            guard let range = argument.firstRange(of: "->") else { throw fail("\(argument): missing `->'") }
            return (String(argument[..<range.lowerBound]), String(argument[range.upperBound...]))
        }
        if name == "CONTROLLER" { return .output(.controller, maxLength: UInt16(try number(0xffff, "max_len"))) }
        if nameEnd == item.endIndex, let p = OFPort(text: item) ?? ports(item) { return .output(p, maxLength: 0xffff) }
        switch name {
        case "output":
            if let p = OFPort(text: argument) ?? ports(argument) { return .output(p, maxLength: 0) }
            if argument.contains("port=") {
                var target: OFPort?
                var length: UInt32 = 0
                for part in split(argument) {
                    if part.hasPrefix("port=") { target = try port(String(part.dropFirst(5))) }
                    if part.hasPrefix("max_len=") { length = UInt32(part.dropFirst(8)) ?? 0 }
                }
                guard let target else { throw fail("\(argument): output to unknown truncate port") }
                return .outputTruncated(target, maxLength: length)
            }
            return .outputRegister(try subfield(argument), maxLength: 0xffff)
        case "controller" where item[nameEnd...].first != "(":
            var action = ControllerAction()
            action.extended = false
            if let n = UInt16(argument) { action.maxLength = n }
            return .controller(action)
        case "normal", "NORMAL": return .output(.normal, maxLength: 0)
        case "flood", "FLOOD": return .output(.flood, maxLength: 0)
        case "group": return .group(UInt32(try number(0xffff_ffff, "group")))
        case "mod_vlan_vid", "set_vlan_vid":
            return .setVLANVID(
                UInt16(try number(4095, "VLAN")), VLANContext(pushIfNeeded: name == "mod_vlan_vid", flowHasVLAN: false))
        case "mod_vlan_pcp", "set_vlan_pcp":
            return .setVLANPCP(
                UInt8(try number(7, "priority")), VLANContext(pushIfNeeded: name == "mod_vlan_pcp", flowHasVLAN: false))
        case "strip_vlan": return .stripVLAN(isPop: false)
        case "pop_vlan": return .stripVLAN(isPop: true)
        case "push_vlan": return .pushVLAN(etherType: UInt16(try number(0xffff, "ethertype")))
        case "mod_dl_src", "mod_dl_dst":
            guard let address = AddressText.parseMAC(argument) else { throw fail("\(argument): invalid Ethernet address") }
            return name == "mod_dl_src" ? .setEthSrc(address) : .setEthDst(address)
        case "mod_nw_src", "mod_nw_dst":
            guard let address = AddressText.parseIPv4(argument) else { throw fail("\(argument): invalid IP address") }
            return name == "mod_nw_src" ? .setIPv4Src(address) : .setIPv4Dst(address)
        case "mod_nw_tos": return .setIPDSCP(UInt8(try number(255, "TOS")))
        case "mod_nw_ecn": return .setIPECN(UInt8(try number(3, "ECN")))
        case "mod_nw_ttl": return .setIPTTL(UInt8(try number(255, "TTL")))
        case "mod_tp_src": return .setL4SrcPort(UInt16(try number(0xffff, "source port")), ipProto: 0)
        case "mod_tp_dst": return .setL4DstPort(UInt16(try number(0xffff, "destination port")), ipProto: 0)
        case "dec_ttl":
            guard !argument.isEmpty else { return .decTTL(DecTTLAction()) }
            let ids = split(argument).compactMap { UInt16($0) }
            guard !ids.isEmpty, ids.count == split(argument).count else {
                throw fail("dec_ttl_cnt_ids: expected at least one controller id.")
            }
            return .decTTL(DecTTLAction(controllers: ids, hasIDs: true))
        case "dec_nsh_ttl": return .decNSHTTL
        case "set_mpls_label": return .setMPLSLabel(UInt32(try number(0xf_ffff, "MPLS label")))
        case "set_mpls_tc": return .setMPLSTC(UInt8(try number(7, "MPLS TC")))
        case "set_mpls_ttl": return .setMPLSTTL(UInt8(try number(255, "MPLS TTL")))
        case "dec_mpls_ttl": return .decMPLSTTL
        case "push_mpls": return .pushMPLS(etherType: UInt16(try number(0xffff, "ethertype")))
        case "pop_mpls": return .popMPLS(etherType: UInt16(try number(0xffff, "ethertype")))
        case "set_queue": return .setQueue(UInt32(try number(0xffff_ffff, "queue")))
        case "pop_queue": return .popQueue
        case "set_tunnel", "set_tunnel64": return .setTunnel(try number(.max, "tunnel"), wide: name == "set_tunnel64")
        case "debug_recirc": return .debugRecirc
        case "debug_slow": return .debugSlow
        case "meter": return .meter(UInt32(try number(0xffff_ffff, "meter")))
        case "clear_actions": return .clearActions
        case "write_actions": return .writeActions(try parse(argument, ports: ports))
        case "exit": return .exit
        case "ct_clear": return .ctClear
        case "goto_table": return .gotoTable(UInt8(try number(254, "table")))
        case "clone": return .clone(try parse(argument, ports: ports))
        case "resubmit":
            if item[nameEnd...].first == "(" {
                let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
                var action = ResubmitAction()
                if let first = parts.first, !first.isEmpty { action.inPort = try port(first) }
                if parts.count > 1, !parts[1].isEmpty {
                    guard let table = UInt8(parts[1]) else { throw fail("\(argument): resubmit to unknown table") }
                    action.table = table
                }
                if parts.count > 2, parts[2] == "ct" { action.form = .resubmitTableCT }
                return .resubmit(action)
            }
            guard let p = OFPort(text: argument) ?? ports(argument) else {
                throw fail("\(argument): resubmit to unknown port")
            }
            return .resubmit(ResubmitAction(inPort: p, form: .resubmit))
        case "load":
            let (value, destination) = try arrow()
            let target = try subfield(destination)
            guard let n = AddressText.parseInteger(value), n <= target.ones else {
                throw fail("\(argument): value \(value) does not fit into \(target.count) bits")
            }
            return .setField(SetFieldAction.load(n, to: target))
        case "set_field":
            let (value, destination) = try arrow()
            guard let field = FieldID(named: destination) else { throw fail("\(destination) is not a valid OXM field name") }
            let sides = value.split(separator: "/", maxSplits: 1).map(String.init)
            if field.isTunnelOption {
                var action = SetFieldAction(field, 0)
                action.wideValue = try wide(sides.first ?? "")
                if sides.count == 2 { action.wideMask = try wide(sides[1]) }
                return .setField(action)
            }
            do throws(FlowSyntaxError) {
                let v = try FieldText.parseExact(field, sides.first ?? "", port: ports)
                // A tag's presence is part of its number.
                let full: UInt128? = field == .vlanVID ? 0x1fff : nil
                let m = sides.count == 2 ? try FieldText.parseExact(field, sides[1], port: ports) : full
                return .setField(SetFieldAction(field, v, mask: m))
            } catch {
                throw fail("\(error)")
            }
        case "move":
            let (from, to) = try arrow()
            return .regMove(from: try subfield(from), to: try subfield(to))
        case "push": return .stackPush(try subfield(argument))
        case "pop": return .stackPop(try subfield(argument))
        default:
            if let action = try parseStructured(name, argument, ports: ports) { return action }
            // What follows a port's name is ignored.
            if let p = OFPort(text: name) ?? ports(name) { return .output(p, maxLength: 0xffff) }
            throw fail("unknown action \(name)")
        }
    }
}
