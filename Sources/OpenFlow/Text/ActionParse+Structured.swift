// Text into actions that have a structure of their own: what stands in parentheses after their names (ovs-actions(7)).

import Flow

/// The inside of parentheses: `name=value` or bare words, parted by commas that stand in no parentheses of their own.
private struct Arguments {
    let parts: [(name: String, value: String?)]

    init(_ text: String) {
        parts = OFAction.split(text).map { part in
            let end = part.firstIndex { $0 == "=" || $0 == "(" } ?? part.endIndex
            guard end < part.endIndex else { return (part, nil) }
            var value = String(part[part.index(after: end)...])
            if part[end] == "(", value.last == ")" { value.removeLast() }
            return (String(part[..<end]), value)
        }
    }
}

extension OFAction {
    /// Parses an action with structured arguments; nil: there is no such action.
    static func parseStructured(_ name: String, _ argument: String, ports: (String) -> OFPort?) throws(ActionSyntaxError) -> OFAction? {
        switch name {
        case "controller": .controller(try controller(argument))
        case "enqueue": try enqueue(argument, ports)
        case "bundle", "bundle_load": .bundle(try bundle(argument, loads: name == "bundle_load", ports))
        case "multipath": .multipath(try multipath(argument))
        case "fin_timeout": try finTimeout(argument)
        case "sample": .sample(try sample(argument, ports))
        case "learn": .learn(try learn(argument, ports))
        case "ct": .ct(try ct(argument, ports))
        case "nat": .nat(try nat(argument))
        case "encap": .encap(try encap(argument))
        case "decap": .decap(packetType: try decap(argument))
        case "conjunction": try conjunction(argument)
        case "check_pkt_larger": try checkPacketLarger(argument)
        case "write_metadata": try writeMetadata(argument)
        case "note": .note(try octets(argument))
        case "delete_field": .deleteField(try field(argument))
        default: nil
        }
    }

    private static func fail(_ text: String) -> ActionSyntaxError { ActionSyntaxError(description: text) }

    private static func number<T: FixedWidthInteger>(_ text: String?, _ what: String, _ type: T.Type = T.self) throws(ActionSyntaxError)
        -> T
    {
        guard let text, let value = AddressText.parseInteger(text), let n = T(exactly: value) else {
            throw fail("invalid \(what) \"\(text ?? "")\"")
        }
        return n
    }

    private static func subfield(_ text: String) throws(ActionSyntaxError) -> Subfield {
        do throws(SubfieldError) { return try Subfield(parsing: text) } catch { throw fail("\(error)") }
    }

    private static func field(_ name: String) throws(ActionSyntaxError) -> FieldID {
        guard let field = FieldID(named: name) else { throw fail("unknown field `\(name)'") }
        return field
    }

    private static func port(_ text: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> OFPort {
        guard let port = OFPort(text: text) ?? ports(text) else { throw fail("\(text): no such port") }
        return port
    }

    /// `01.02.03` or `010203`.
    private static func octets(_ text: String) throws(ActionSyntaxError) -> [UInt8] {
        let digits = Array(text.filter { $0 != "." })
        guard digits.count % 2 == 0 else { throw fail("bad hex digit in `\(text)'") }
        var out: [UInt8] = []
        for i in stride(from: 0, to: digits.count, by: 2) {
            guard let octet = UInt8(String(digits[i...(i + 1)]), radix: 16) else { throw fail("bad hex digit in `\(text)'") }
            out.append(octet)
        }
        return out
    }

    /// A number of any size, as octets.
    static func wide(_ text: String) throws(ActionSyntaxError) -> [UInt8] {
        guard text.hasPrefix("0x") else {
            let value: UInt64 = try number(text, "value")
            return (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
        }
        let digits = text.dropFirst(2)
        return try octets(digits.count % 2 == 0 ? String(digits) : "0" + digits)
    }

    private static func controller(_ argument: String) throws(ActionSyntaxError) -> ControllerAction {
        var action = ControllerAction()
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "reason":
                guard let reason = PacketInReason.allCases.first(where: { !$0.name.isEmpty && $0.name == value }) else {
                    throw fail("unknown reason \"\(value ?? "")\"")
                }
                action.reason = reason
            case "max_len": action.maxLength = try number(value, name)
            case "id": action.controllerID = try number(value, name)
            case "userdata": action.userdata = try octets(value ?? "")
            case "pause": action.pause = true
            case "meter_id": action.meterID = try number(value, name)
            default: throw fail("unknown key \"\(name)\" parsing controller action")
            }
        }
        return action
    }

    private static func enqueue(_ argument: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> OFAction {
        let parts = argument.split { $0 == ":" || $0 == "," }.map(String.init)
        guard parts.count == 2 else { throw fail("\"enqueue\" syntax is \"enqueue:PORT:QUEUE\" or \"enqueue(PORT,QUEUE)\"") }
        return .enqueue(try port(parts[0], ports), queue: try number(parts[1], "queue"))
    }

    private static func hashFields(_ text: String) throws(ActionSyntaxError) -> HashFields {
        guard let fields = HashFields.allCases.first(where: { $0.name == text }) else { throw fail("unknown fields `\(text)'") }
        return fields
    }

    private static func bundle(_ argument: String, loads: Bool, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> BundleAction {
        let parts = split(argument)
        let fixed = loads ? 5 : 4
        guard parts.count > fixed, parts[3] == "ofport" else { throw fail("\(argument): not enough arguments to bundle action") }
        let algorithms: [BundleAlgorithm] = [.activeBackup, .highestRandomWeight]
        guard let algorithm = algorithms.first(where: { $0.name == parts[2] }) else { throw fail("unknown algorithm `\(parts[2])'") }
        let destination = loads ? try subfield(parts[4]) : nil
        var members: [OFPort] = []
        for (i, text) in parts[fixed...].enumerated() {
            let prefix = ["members:", "slaves:"].first { i == 0 && text.hasPrefix($0) }
            guard i > 0 || prefix != nil else { throw fail("\(argument): missing member delimiter") }
            let name = String(text.dropFirst(prefix?.count ?? 0))
            if !name.isEmpty { members.append(try port(name, ports)) }
        }
        return BundleAction(
            fields: try hashFields(parts[0]), basis: try number(parts[1], "basis"), algorithm: algorithm, destination: destination,
            members: members)
    }

    private static func multipath(_ argument: String) throws(ActionSyntaxError) -> MultipathAction {
        let parts = split(argument)
        guard parts.count == 6 else { throw fail("\(argument): not enough arguments to multipath action") }
        let algorithms: [MultipathAction.Algorithm] = [.moduloN, .hashThreshold, .highestRandomWeight, .iterativeHash]
        guard let algorithm = algorithms.first(where: { $0.name == parts[2] }) else { throw fail("unknown algorithm `\(parts[2])'") }
        let links: UInt32 = try number(parts[3], "n_links")
        guard links >= 1, links <= 65536 else { throw fail("n_links \(links) is not in valid range 1 to 65536") }
        return MultipathAction(
            fields: try hashFields(parts[0]), basis: try number(parts[1], "basis"), algorithm: algorithm, maxLink: UInt16(links - 1),
            argument: try number(parts[4], "arg"), destination: try subfield(parts[5]))
    }

    private static func finTimeout(_ argument: String) throws(ActionSyntaxError) -> OFAction {
        var (idle, hard): (UInt16, UInt16) = (0, 0)
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "idle_timeout": idle = try number(value, name)
            case "hard_timeout": hard = try number(value, name)
            default: throw fail("invalid key '\(name)' in 'fin_timeout' argument")
            }
        }
        return .finTimeout(idle: idle, hard: hard)
    }

    private static func sample(_ argument: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> SampleAction {
        var action = SampleAction()
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "probability": action.probability = try number(value, name)
            case "collector_set_id": action.collectorSet = try number(value, name)
            case "obs_domain_id": action.observationDomain = try number(value, name)
            case "obs_point_id": action.observationPoint = try number(value, name)
            case "sampling_port": action.samplingPort = try port(value ?? "", ports)
            case "ingress": action.direction = .ingress
            case "egress": action.direction = .egress
            default: throw fail("invalid key \"\(name)\" in \"sample\" argument")
            }
        }
        guard action.probability > 0 else { throw fail("invalid probability value \"0\"") }
        action.form = action.direction != .unspecified ? .sample3 : action.samplingPort != .none ? .sample2 : .sample
        return action
    }

    private static func conjunction(_ argument: String) throws(ActionSyntaxError) -> OFAction {
        let parts = argument.split { $0 == "," || $0 == "/" }.map { $0.trimmingPrefix(" ") }.map(String.init)
        guard parts.count == 3 else { throw fail("\(argument): conjunction needs an id and k/n") }
        let (clause, count): (UInt8, UInt8) = (try number(parts[1], "clause"), try number(parts[2], "number of clauses"))
        guard (2...64).contains(count), (1...count).contains(clause) else { throw fail("\(argument): clause out of range") }
        return .conjunction(id: try number(parts[0], "id"), clause: clause - 1, count: count)
    }

    /// `100)->reg0[0]`: the parenthesis that closes stands within.
    private static func checkPacketLarger(_ argument: String) throws(ActionSyntaxError) -> OFAction {
        guard let arrow = argument.firstRange(of: ")->") ?? argument.firstRange(of: "->") else { throw fail("\(argument): missing `->'") }
        return .checkPacketLarger(
            try number(String(argument[..<arrow.lowerBound]), "packet length"), to: try subfield(String(argument[arrow.upperBound...])))
    }

    private static func writeMetadata(_ argument: String) throws(ActionSyntaxError) -> OFAction {
        let sides = argument.split(separator: "/", maxSplits: 1).map(String.init)
        return .writeMetadata(
            value: try number(sides.first, "metadata"), mask: sides.count == 2 ? try number(sides[1], "mask") : .max)
    }

    private static func encap(_ argument: String) throws(ActionSyntaxError) -> EncapAction {
        let types: [String: UInt32] = ["ethernet": 0, "nsh": 0x1894f, "mpls": 0x18847, "mpls_mc": 0x18848]
        guard let (name, value) = Arguments(argument).parts.first, let type = types[name] else {
            throw fail("Encap hdr not supported: \(argument)")
        }
        var action = EncapAction(packetType: type)
        for (key, value) in Arguments(value ?? "").parts {
            switch key {
            case "md_type": action.properties.append(.nshMDType(try number(value, key)))
            case "tlv":
                let parts = split(value ?? "")
                guard parts.count == 3, parts[2].hasPrefix("0x") else { throw fail("Invalid NSH TLV header: \(value ?? "")") }
                action.properties.append(
                    .nshTLV(
                        tlvClass: try number(parts[0], "TLV class"), type: try number(parts[1], "TLV type"),
                        value: try octets(String(parts[2].dropFirst(2)))))
            default: throw fail("invalid property \(key)")
            }
        }
        return action
    }

    private static func decap(_ argument: String) throws(ActionSyntaxError) -> UInt32 {
        guard let (name, value) = Arguments(argument).parts.first else { return 0xfffe }
        var (space, type): (UInt32, UInt32) = (0, 0)
        guard name == "packet_type" else { throw fail("Invalid decap argument: \(argument)") }
        for (key, value) in Arguments(value ?? "").parts {
            if key == "ns" {
                space = UInt32(try number(value, key, UInt16.self))
            } else {
                type = UInt32(try number(value, key, UInt16.self))
            }
        }
        return space << 16 | type
    }
}

// MARK: - learn and ct

extension OFAction {
    fileprivate static func learn(_ argument: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> LearnAction {
        var action = LearnAction()
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "table": action.table = try number(value, name)
            case "priority": action.priority = try number(value, name)
            case "idle_timeout": action.idleTimeout = try number(value, name)
            case "hard_timeout": action.hardTimeout = try number(value, name)
            case "fin_idle_timeout": action.finIdleTimeout = try number(value, name)
            case "fin_hard_timeout": action.finHardTimeout = try number(value, name)
            case "cookie": action.cookie = try number(value, name)
            case "send_flow_rem": action.flags.insert(.sendFlowRemoved)
            case "delete_learned": action.flags.insert(.deleteLearned)
            case "limit":
                action.limit = try number(value, name)
                action.isLearn2 = true
            case "result_dst":
                action.result = try subfield(value ?? "")
                action.flags.insert(.writeResult)
                action.isLearn2 = true
            default: action.specs.append(try learnSpec(name, value, ports))
            }
        }
        guard action.table < 254 else { throw fail("\(argument): table id \(action.table) not valid for `learn' action") }
        return action
    }

    private static func learnSpec(_ name: String, _ value: String?, _ ports: (String) -> OFPort?)
        throws(ActionSyntaxError) -> LearnAction.Spec
    {
        if name.hasPrefix("load:") {
            let text = name.dropFirst(5)
            guard let arrow = text.firstRange(of: "->") else { throw fail("\(name): missing `->'") }
            let (from, to) = (String(text[..<arrow.lowerBound]), try subfield(String(text[arrow.upperBound...])))
            if let constant = AddressText.parseInteger(from) {
                return .init(bits: to.count, source: .immediate(constant), destination: .load(to))
            }
            return .init(bits: to.count, source: .field(try subfield(from)), destination: .load(to))
        }
        if name.hasPrefix("output:") {
            let from = try subfield(String(name.dropFirst(7)))
            return .init(bits: from.count, source: .field(from), destination: .output)
        }
        let to = try subfield(name.hasSuffix("]") ? name : "\(try field(name).name)[]")
        guard let value else { return .init(bits: to.count, source: .field(to), destination: .match(to)) }
        if value.hasSuffix("]"), let from = try? Subfield(parsing: value) {
            guard from.count == to.count else { throw fail("\(name)=\(value): bit widths of source and destination differ") }
            return .init(bits: to.count, source: .field(from), destination: .match(to))
        }
        if let constant = AddressText.parseInteger(value) {
            return .init(bits: to.count, source: .immediate(constant), destination: .match(to))
        }
        do throws(FlowSyntaxError) {
            return .init(
                bits: to.count, source: .immediate(try FieldText.parseExact(to.field, value, port: ports)), destination: .match(to))
        } catch { throw fail("\(error)") }
    }

    fileprivate static func ct(_ argument: String, _ ports: (String) -> OFPort?) throws(ActionSyntaxError) -> CTAction {
        var action = CTAction()
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "commit": action.commit = true
            case "force": action.force = true
            case "table": action.recircTable = try number(value, name)
            case "zone":
                if let value, AddressText.parseInteger(value) == nil {
                    action.zoneSource = try subfield(value)
                } else {
                    action.zone = try number(value, name)
                }
            case "alg":
                switch value {
                case "ftp": action.alg = 21
                case "tftp": action.alg = 69
                default: action.alg = try number(value, name)
                }
            case "nat": action.actions.append(.nat(try nat(value ?? "")))
            case "exec": action.actions += try parse(value ?? "", ports: ports)
            default: throw fail("invalid argument to \"ct\" action: `\(name)'")
            }
        }
        guard action.commit || !action.force else { throw fail("\"force\" flag requires \"commit\" flag.") }
        return action
    }

    fileprivate static func nat(_ argument: String) throws(ActionSyntaxError) -> NATAction {
        var action = NATAction()
        for (name, value) in Arguments(argument).parts {
            switch name {
            case "src", "dst":
                action.flags.insert(name == "src" ? .source : .destination)
                if let value { try natRange(value, &action) }
            case "persistent": action.flags.insert(.persistent)
            case "hash": action.flags.insert(.protocolHash)
            case "random": action.flags.insert(.protocolRandom)
            default: throw fail("invalid key \"\(name)\" in \"nat\" argument")
            }
        }
        return action
    }

    /// `A-B:P-Q`, where addresses of IPv6 stand in brackets before ports.
    private static func natRange(_ text: String, _ action: inout NATAction) throws(ActionSyntaxError) {
        var addresses = text
        var portsText: String?
        let isIPv6 = text.contains("[") || text.filter { $0 == ":" }.count > 1
        if isIPv6 {
            if let end = text.lastIndex(of: "]") {
                let rest = text[text.index(after: end)...]
                if rest.first == ":" { portsText = String(rest.dropFirst()) }
                addresses = String(text[...end]).filter { $0 != "[" && $0 != "]" }
            }
        } else if let colon = text.firstIndex(of: ":") {
            portsText = String(text[text.index(after: colon)...])
            addresses = String(text[..<colon])
        }
        let ends = addresses.split(separator: "-", maxSplits: 1).map(String.init)
        if let first = ends.first {
            if isIPv6 {
                guard let low = AddressText.parseIPv6(first), let high = ends.count == 2 ? AddressText.parseIPv6(ends[1]) : 0 else {
                    throw fail("error in NAT range value: \(text)")
                }
                action.addresses = .ipv6(min: low, max: high)
            } else {
                guard let low = AddressText.parseIPv4(first), let high = ends.count == 2 ? AddressText.parseIPv4(ends[1]) : 0 else {
                    throw fail("error in NAT range value: \(text)")
                }
                action.addresses = .ipv4(min: low, max: high)
            }
        }
        guard let portsText else { return }
        let range = portsText.split(separator: "-", maxSplits: 1).map(String.init)
        action.portMin = try number(range.first, "port")
        action.portMax = range.count == 2 ? try number(range[1], "port") : 0
    }
}
