// Text into datapath actions: what `dpctl/add-flow` and `dpctl/parse-actions` are given.

import Flow

/// Datapath action text that makes no sense.
public struct DpActionSyntaxError: Error, CustomStringConvertible {
    public let text: String
    public var description: String { "\(text): not a datapath action" }
}

extension DpAction {
    /// Parses a comma-separated list. `drop` is the empty list and stands alone.
    public static func parse(_ text: String, port: (String) -> UInt32? = { _ in nil })
        throws(DpActionSyntaxError) -> [DpAction]
    {
        if text == "drop" { return [] }
        var out: [DpAction] = []
        for item in split(text) {
            guard let action = parseOne(item, port) else { throw DpActionSyntaxError(text: item) }
            out.append(action)
        }
        return out
    }

    /// Splits at commas and spaces outside parentheses.
    private static func split(_ text: String) -> [String] {
        var out: [String] = []
        var level = 0
        var current = ""
        for c in text {
            if c == "(" { level += 1 }
            if c == ")" { level -= 1 }
            if level == 0, c == "," || c == " " {
                if !current.isEmpty { out.append(current) }
                current = ""
            } else {
                current.append(c)
            }
        }
        if !current.isEmpty { out.append(current) }
        return out
    }

    /// The name before the parentheses and what stands in them.
    private static func call(_ item: String) -> (name: String, body: String)? {
        guard let open = item.firstIndex(of: "("), item.last == ")" else { return nil }
        return (String(item[..<open]), String(item[item.index(after: open)...].dropLast()))
    }

    private static func arguments(_ body: String) -> [String: String] {
        var out: [String: String] = [:]
        for part in split(body) {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            out[String(sides[0])] = sides.count == 2 ? String(sides[1]) : ""
        }
        return out
    }

    private static func integer<T: FixedWidthInteger>(_ text: String?, _: T.Type = T.self) -> T? {
        text.flatMap { AddressText.parseInteger($0) }.flatMap { T(exactly: $0) }
    }

    private static func parseOne(_ item: String, _ port: (String) -> UInt32?) -> DpAction? {
        if let n: UInt32 = integer(item) { return .output(n) }
        switch item {
        case "pop_vlan": return .popVLAN
        case "pop_eth": return .popEthernet
        case "ct_clear": return .ctClear
        case "ct": return .ct(DpConntrack())
        case "pop_nsh()", "pop_nsh": return .popNSH
        default: break
        }
        guard let (name, body) = call(item) else { return port(item).map { .output($0) } }
        let arguments = arguments(body)
        switch name {
        case "trunc":
            guard let n: UInt32 = integer(body), n >= 14 else { return nil }
            return .truncate(n)
        case "recirc": return integer(body, UInt32.self).map { .recirc($0) }
        case "meter": return integer(body, UInt32.self).map { .meter($0) }
        case "lb_output": return integer(body, UInt32.self).map { .lbOutput($0) }
        case "tnl_pop": return (integer(body, UInt32.self) ?? port(body)).map { .tunnelPop($0) }
        case "push_vlan":
            guard let vid: UInt16 = integer(arguments["vid"]), vid < 4096,
                let pcp: UInt16 = integer(arguments["pcp"] ?? "0"), pcp < 8
            else { return nil }
            return .pushVLAN(tpid: integer(arguments["tpid"]) ?? 0x8100, tci: pcp << 13 | vid)
        case "push_mpls", "add_mpls":
            guard let label: UInt32 = integer(arguments["label"]), label < 1 << 20,
                let type: UInt16 = integer(arguments["eth_type"])
            else { return nil }
            let tc: UInt32 = integer(arguments["tc"] ?? "0") ?? 0
            let ttl: UInt32 = integer(arguments["ttl"] ?? "0") ?? 0
            let bos: UInt32 = integer(arguments["bos"] ?? "0") ?? 0
            let lse = label << 12 | (tc & 7) << 9 | (bos & 1) << 8 | ttl & 0xff
            return name == "add_mpls" ? .addMPLS(lse: lse, ethType: type) : .pushMPLS(lse: lse, ethType: type)
        case "pop_mpls": return integer(arguments["eth_type"], UInt16.self).map { .popMPLS(ethType: $0) }
        case "push_eth":
            guard let source = AddressText.parseMAC(arguments["src"] ?? ""),
                let destination = AddressText.parseMAC(arguments["dst"] ?? "")
            else { return nil }
            return .pushEthernet(source: source, destination: destination)
        case "hash":
            guard let (algorithm, basis) = call(body), let n: UInt32 = integer(basis) else { return nil }
            if algorithm == "hash_l4" || algorithm == "l4" { return .hash(algorithm: .l4, basis: n) }
            return algorithm == "hash_sym_l4" || algorithm == "sym_l4" ? .hash(algorithm: .symmetricL4, basis: n) : nil
        case "set":
            guard let (kind, inside) = call(body), let k = DpSetKind(rawValue: kind),
                let fields = ODPSetText.parse(kind, inside)
            else { return nil }
            return .set(DpSet(k, fields.map { .init($0.location, $0.value, mask: $0.mask) }))
        case "clone": return (try? parse(body, port: port)).map { .clone($0) }
        case "sample":
            guard let percent = arguments["sample"], percent.hasSuffix("%"), let value = Double(percent.dropLast()),
                value >= 0, value <= 100, let inner = split(body).first(where: { $0.hasPrefix("actions(") }),
                let (_, list) = call(inner), let actions = try? parse(list, port: port)
            else { return nil }
            return .sample(probability: UInt32(value / 100 * Double(UInt32.max)), actions)
        case "check_pkt_len":
            guard let size: UInt16 = integer(arguments["size"]) else { return nil }
            let parts = split(body).compactMap(call)
            guard let gt = parts.first(where: { $0.name == "gt" }), let le = parts.first(where: { $0.name == "le" }),
                let greater = try? parse(gt.body, port: port), let less = try? parse(le.body, port: port)
            else { return nil }
            return .checkPacketLength(size, greater: greater, lessOrEqual: less)
        case "push_nsh": return parseNSH(arguments).map { .pushNSH($0) }
        case "ct": return parseConntrack(body).map { .ct($0) }
        case "userspace": return parseUserspace(body).map { .userspace($0) }
        default: return nil
        }
    }

    /// What is not given is as `DpNSH` has it, the next protocol Ethernet and the service index 255. Values too large for their
    /// fields are refused.
    private static func parseNSH(_ arguments: [String: String]) -> DpNSH? {
        var nsh = DpNSH()
        nsh.nextProtocol = 3
        var path: UInt32 = 0
        var index: UInt8 = 255
        var words: [UInt32] = [0, 0, 0, 0]
        var options: [UInt8]?
        for (name, text) in arguments {
            switch name {
            case "flags":
                guard let v: UInt8 = integer(text), v < 4 else { return nil }
                nsh.flags = v
            case "ttl":
                guard let v: UInt8 = integer(text), v < 64 else { return nil }
                nsh.ttl = v
            case "mdtype":
                guard let v: UInt8 = integer(text), v == 1 || v == 2 else { return nil }
                nsh.mdType = v
            case "np":
                guard let v: UInt8 = integer(text) else { return nil }
                nsh.nextProtocol = v
            case "spi":
                guard let v: UInt32 = integer(text), v < 1 << 24 else { return nil }
                path = v
            case "si":
                guard let v: UInt8 = integer(text) else { return nil }
                index = v
            case "c1", "c2", "c3", "c4":
                guard let v: UInt32 = integer(text), let n = name.last?.wholeNumberValue else { return nil }
                words[n - 1] = v
            case "md2":
                guard let bytes = parseOptions(text) else { return nil }
                options = bytes
            default: return nil
            }
        }
        nsh.path = path << 8 | UInt32(index)
        if nsh.mdType == 1 {
            guard options == nil else { return nil }
            nsh.context = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) } }
        } else {
            guard words == [0, 0, 0, 0] else { return nil }
            nsh.context = options ?? []
        }
        return nsh
    }

    /// Bytes in hexadecimal, filled up to whole words with zeros (RFC 8300 section 2.5.1). The header holds at most 248 of them.
    private static func parseOptions(_ text: String) -> [UInt8]? {
        guard text.hasPrefix("0x") else { return nil }
        let digits = Array(text.utf8.dropFirst(2))
        guard !digits.isEmpty, digits.count % 2 == 0, digits.count <= 2 * 248 else { return nil }
        var bytes: [UInt8] = []
        for i in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[i..<i + 2], as: UTF8.self), radix: 16), digits[i] != UInt8(ascii: "+") else {
                return nil
            }
            bytes.append(byte)
        }
        bytes += [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
        return bytes
    }

    private static func masked<T: FixedWidthInteger & Hashable & Sendable>(_ text: String) -> DpConntrack.Masked<T>? {
        let sides = text.split(separator: "/")
        guard let first = sides.first, let value: T = integer(String(first)) else { return nil }
        guard sides.count == 2 else { return .init(value, ~0) }
        return integer(String(sides[1])).map { .init(value, $0) }
    }

    private static func parseConntrack(_ body: String) -> DpConntrack? {
        var ct = DpConntrack()
        for part in split(body) {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            switch (sides[0], sides.count == 2 ? sides[1] : nil) {
            case ("commit", nil): ct.commit = true
            case ("force_commit", nil):
                ct.commit = true
                ct.force = true
            case ("zone", let value?):
                guard let zone: UInt16 = integer(value) else { return nil }
                ct.zone = zone
            case ("mark", let value?):
                guard let mark: DpConntrack.Masked<UInt32> = masked(value) else { return nil }
                ct.mark = mark
            case ("label", let value?):
                guard let label: DpConntrack.Masked<UInt128> = masked(value) else { return nil }
                ct.label = label
            case ("helper", let value?): ct.helper = value
            case ("timeout", let value?): ct.timeoutPolicy = value
            case ("nat", nil): ct.nat = DpNAT()
            default:
                guard let (name, inside) = call(part), name == "nat", let nat = parseNAT(inside) else { return nil }
                ct.nat = nat
            }
        }
        return ct
    }

    private static func parseNAT(_ body: String) -> DpNAT? {
        var nat = DpNAT()
        for part in split(body) {
            switch part {
            case "persistent": nat.persistent = true
            case "hash": nat.hashPorts = true
            case "random": nat.random = true
            default:
                let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                guard sides[0] == "src" || sides[0] == "dst" else { return nil }
                nat.kind = sides[0] == "src" ? .source : .destination
                guard sides.count == 2 else { continue }
                guard parseRange(sides[1], &nat) else { return nil }
            }
        }
        return nat
    }

    /// `A[-B][:P[-Q]]`; IPv6 addresses stand in brackets when ports follow.
    private static func parseRange(_ text: String, _ nat: inout DpNAT) -> Bool {
        var address = text
        var ports: String?
        if text.contains("["), let end = text.lastIndex(of: "]") {
            address = text[...end].filter { $0 != "[" && $0 != "]" }
            let rest = text[text.index(after: end)...]
            if rest.first == ":" { ports = String(rest.dropFirst()) }
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            address = String(text[..<colon])
            ports = String(text[text.index(after: colon)...])
        }
        let ends = address.split(separator: "-")
        let values = ends.compactMap { end in
            AddressText.parseIPv4(end).map { UInt128($0) } ?? AddressText.parseIPv6(end)
        }
        guard let low = values.first, values.count == ends.count, values.count <= 2, low <= values[values.count - 1] else {
            return false
        }
        nat.isIPv6 = address.contains(":")
        nat.addresses = low...values[values.count - 1]
        if let ports {
            let numbers = ports.split(separator: "-").compactMap { UInt16($0) }
            guard let first = numbers.first, numbers.count <= 2, first <= numbers[numbers.count - 1] else { return false }
            nat.ports = first...numbers[numbers.count - 1]
        }
        return true
    }

    private static func parseUserspace(_ body: String) -> UserspaceAction? {
        let tunnel: UInt32? = integer(arguments(body)["tunnel_out_port"])
        for part in split(body) {
            guard let (name, inside) = call(part) else { continue }
            let a = arguments(inside)
            switch name {
            case "slow_path": return SlowPathReasons(text: inside).map { .slowPath($0) }
            case "sFlow":
                guard let vid: UInt16 = integer(a["vid"]), let pcp: UInt8 = integer(a["pcp"]),
                    let output: UInt32 = integer(a["output"])
                else { return nil }
                return .sFlow(bridge: 0, vid: vid, pcp: pcp, output: output)
            case "ipfix": return integer(a["output_port"], UInt32.self).map { .ipfix(bridge: 0, output: $0, tunnel: tunnel) }
            case "flow_sample":
                guard let probability: UInt16 = integer(a["probability"]), let set: UInt32 = integer(a["collector_set_id"]),
                    let domain: UInt32 = integer(a["obs_domain_id"]), let point: UInt32 = integer(a["obs_point_id"]),
                    let output: UInt32 = integer(a["output_port"])
                else { return nil }
                var sample = FlowSample()
                (sample.probability, sample.collectorSet, sample.domain, sample.point) = (probability, set, domain, point)
                (sample.output, sample.tunnel) = (output, tunnel)
                let words = split(inside)
                sample.direction = words.contains("ingress") ? .ingress : words.contains("egress") ? .egress : .unspecified
                return .flowSample(sample)
            case "controller":
                guard let reason: UInt8 = integer(a["reason"]), let recirc: UInt32 = integer(a["recirc_id"]),
                    let cookie: UInt64 = integer(a["rule_cookie"]), let id: UInt16 = integer(a["controller_id"]),
                    let length: UInt16 = integer(a["max_len"])
                else { return nil }
                return .controller(
                    reason: reason, dontSend: a["dont_send"] == "1", continuation: a["continuation"] == "1",
                    recircID: recirc, ruleCookie: cookie, controllerID: id, maxLength: length)
            default: return nil
            }
        }
        return nil
    }
}
