// dpctl's commands about tracked connections and the fragments that wait for them, as ovs-dpctl(8) has them.

import Dpif
import Flow
import Packet

extension ControlCommands {
    /// Name, usage, and the fewest and most arguments, of each.
    static let conntrackUsages: [(String, String, Int, Int)] = [
        ("dump-conntrack", "[-m] [-s] [dp] [zone=N]", 0, 4),
        ("flush-conntrack", "[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]", 0, 4),
        ("ct-stats-show", "[dp] [zone=N]", 0, 3),
        ("ct-bkts", "[dp] [gt=N]", 0, 2),
        ("ct-set-maxconns", "[dp] maxconns", 1, 2),
        ("ct-get-maxconns", "[dp]", 0, 1),
        ("ct-get-nconns", "[dp]", 0, 1),
        ("ct-enable-tcp-seq-chk", "[dp]", 0, 1),
        ("ct-disable-tcp-seq-chk", "[dp]", 0, 1),
        ("ct-get-tcp-seq-chk", "[dp]", 0, 1),
        ("ct-set-limits", "[dp] [default=L] [zone=N,limit=L]...", 1, .max),
        ("ct-del-limits", "[dp] zone=N1[,N2]...", 1, 2),
        ("ct-get-limits", "[dp] [zone=N1[,N2]...]", 0, 2),
        ("ipf-set-enabled", "[dp] v4|v6", 1, 2),
        ("ipf-set-disabled", "[dp] v4|v6", 1, 2),
        ("ipf-set-min-frag", "[dp] v4|v6 minfragment", 2, 3),
        ("ipf-set-max-nfrags", "[dp] maxfrags", 1, 2),
        ("ipf-get-status", "[dp]", 0, 1),
    ]

    func conntrackCommand(_ name: String, _ args: [String]) throws(DpctlFailure) -> String {
        var options = try DpctlArguments(args)
        let verbose = options.verbosity > 0
        // The first word may name the datapath.
        var named: [String] = []
        if let first = options.words.first, datapath(named: first) != nil {
            named = [first]
            options.words.removeFirst()
        }
        let dpif: any Dpif
        do throws(DpctlFailure) {
            dpif = try optionalDatapath(named)
        } catch {
            guard name == "flush-conntrack" else { throw error }
            throw DpctlFailure(plain: error.text + "\novs-vswitchd: Cannot open dpif (Invalid argument)")
        }
        let words = options.words
        guard let conntrack = dpif.conntrack else { throw DpctlFailure("conntrack", 95) }
        switch name {
        case "dump-conntrack":
            let zone = try words.first.map(zoneArgument)
            return conntrack.connections(zone: zone).map {
                $0.text(verbose: verbose, statistics: options.statistics) + "\n"
            }.joined()
        case "flush-conntrack": return try flushConntrack(conntrack, words)
        case "ct-stats-show": return try connectionStatistics(conntrack, words, verbose: verbose)
        case "ct-bkts":
            guard words.isEmpty || words.count == 1 && words[0].hasPrefix("gt=") && UInt32(words[0].dropFirst(3)) != nil else {
                throw DpctlFailure("datapath not found", 22)
            }
            // Connections are counted, not the buckets of some table.
            let count = conntrack.connectionCount
            guard count > 0 else { return "Total Buckets: 1\nCurrent Connections: 0\n\n" }
            return """
                Total Buckets: 1
                Current Connections: \(count)

                +-----------+-----------------------------------------+
                |  Buckets  |         Connections per Buckets         |
                +-----------+-----------------------------------------+
                   0..  7   | \(String(count).leftPadded(5))


                """
        case "ct-set-maxconns":
            guard words.count == 1, let n = UInt32(words[0]) else { throw DpctlFailure("maxconns missing or malformed", 22) }
            conntrack.maxConnections = n
            return "setting maxconns successful"
        case "ct-get-maxconns": return "\(conntrack.maxConnections)\n"
        case "ct-get-nconns": return "\(conntrack.connectionCount)\n"
        case "ct-enable-tcp-seq-chk":
            conntrack.checksTCPSequence = true
            return "enabling TCP sequence checking successful"
        case "ct-disable-tcp-seq-chk":
            conntrack.checksTCPSequence = false
            return "disabling TCP sequence checking successful"
        case "ct-get-tcp-seq-chk":
            return "TCP sequence checking: \(conntrack.checksTCPSequence ? "enabled" : "disabled")\n"
        case "ct-set-limits", "ct-del-limits", "ct-get-limits":
            // The first of two can only be a datapath.
            guard words.count < 2 || name == "ct-set-limits" else { throw DpctlFailure("datapath not found", 22) }
            guard dpif.capabilities.ctZoneLimit else { throw DpctlFailure("failed to set conntrack limit", 95) }
            return try zoneLimits(name, conntrack, words)
        default: return try fragments(name, conntrack, words, verbose: verbose)
        }
    }

    private func zoneArgument(_ word: String) throws(DpctlFailure) -> UInt16 {
        guard word.hasPrefix("zone="), let zone = UInt16(word.dropFirst(5)) else {
            throw DpctlFailure("datapath not found", 22)
        }
        return zone
    }

    // MARK: Flushing

    private func flushConntrack(_ conntrack: any DpifConntrack, _ args: [String]) throws(DpctlFailure) -> String {
        var words = args[...]
        var zone: UInt16?
        if let first = words.first, first.hasPrefix("zone="), !first.contains(",") {
            zone = try zoneArgument(first)
            words.removeFirst()
        }
        guard !words.isEmpty else {
            conntrack.flush(zone: zone)
            return ""
        }
        guard words.count <= 2 else { throw DpctlFailure("invalid arguments", 22) }
        var patterns: [ConntrackPattern] = []
        for word in words {
            do throws(ConntrackPatternProblem) {
                patterns.append(try ConntrackPattern(word))
            } catch {
                throw DpctlFailure(error.text, 22)
            }
        }
        do throws(DpifError) {
            try conntrack.flush(original: patterns[0], reply: patterns.count > 1 ? patterns[1] : nil, zone: zone)
        } catch {
            throw DpctlFailure("failed to flush conntrack", error.errno)
        }
        return ""
    }

    // MARK: Statistics

    private func connectionStatistics(_ conntrack: any DpifConntrack, _ args: [String], verbose: Bool)
        throws(DpctlFailure) -> String
    {
        var verbose = verbose
        var zone: UInt16?
        for word in args {
            if word == "verbose" || word == "-m" { verbose = true } else { zone = try zoneArgument(word) }
        }
        let entries = conntrack.connections(zone: zone)
        var out = "Connections Stats:\n    Total: \(entries.count)\n"
        let rows: [(String, UInt8)] = [("TCP", 6), ("UDP", 17), ("UDPLITE", 136), ("SCTP", 132), ("ICMP", 1), ("DCCP", 33), ("IGMP", 2)]
        for (title, proto) in rows {
            let those = entries.filter { $0.original.proto == proto }
            guard !those.isEmpty else { continue }
            out += "  \(title): \(those.count)\n"
            guard verbose, proto == 6 else { continue }
            out += "    Conn per TCP states:\n"
            var states: [UInt8: (name: String, count: Int)] = [:]
            for case let tcp? in those.map(\.tcp) {
                let end = tcp.original.rank >= tcp.reply.rank ? tcp.original : tcp.reply
                let name = end.coalesced
                let rank = name == end.state ? end.rank : name == "ESTABLISHED" ? 4 : 10
                states[rank] = (name, (states[rank]?.count ?? 0) + 1)
            }
            for rank in states.keys.sorted() {
                if let state = states[rank] { out += "\t  [\(state.name)]=\(state.count)\n" }
            }
        }
        let named: Set<UInt8> = [6, 17, 136, 132, 1, 33, 2, IPProtocol.icmpv6]
        let others = entries.count { !named.contains($0.original.proto) }
        if others > 0 { out += "  Other: \(others)\n" }
        return out
    }

    // MARK: Zone limits

    private func zoneLimits(_ name: String, _ conntrack: any DpifConntrack, _ words: [String]) throws(DpctlFailure) -> String {
        func zones(_ word: String) throws(DpctlFailure) -> [UInt16] {
            guard word.hasPrefix("zone=") else { throw DpctlFailure("invalid argument \(word)", 22) }
            var out: [UInt16] = []
            for part in word.dropFirst(5).split(separator: ",") {
                guard let zone = UInt16(part) else { throw DpctlFailure("invalid zone", 22) }
                out.append(zone)
            }
            return out
        }
        switch name {
        case "ct-get-limits":
            let wanted = try words.first.map(zones)
            var out = "default limit=\(conntrack.defaultZoneLimit)\n"
            for limit in wanted.map({ $0.map(conntrack.zoneLimit) }) ?? conntrack.zoneLimits {
                out += "zone=\(limit.zone),limit=\(limit.limit),count=\(limit.count)\n"
            }
            return out
        case "ct-del-limits":
            guard let word = words.first else { throw DpctlFailure("invalid arguments", 22) }
            for zone in try zones(word) { conntrack.setZoneLimit(zone, nil) }
            return ""
        default:
            var changes: [(UInt16, UInt32)] = []
            var newDefault: UInt32?
            for (i, word) in words.enumerated() {
                if i == 0, word.hasPrefix("default=") {
                    guard let n = UInt32(word.dropFirst(8)) else { throw DpctlFailure("invalid default limit", 22) }
                    newDefault = n
                    continue
                }
                var zone: UInt16?
                var limit: UInt32?
                for part in word.split(separator: ",") {
                    let sides = part.split(separator: "=", maxSplits: 1)
                    guard sides.count == 2 else { throw DpctlFailure("field \(part) missing value", 22) }
                    switch sides[0] {
                    case "zone":
                        guard let n = UInt16(sides[1]) else { throw DpctlFailure("failed to parse field zone", 22) }
                        zone = n
                    case "limit":
                        guard let n = UInt32(sides[1]) else { throw DpctlFailure("failed to parse field limit", 22) }
                        limit = n
                    default: throw DpctlFailure("invalid zone limit field: \(sides[0])", 22)
                    }
                }
                guard let zone, let limit else { throw DpctlFailure("failed to parse zone and limit", 22) }
                changes.append((zone, limit))
            }
            if let newDefault { conntrack.defaultZoneLimit = newDefault }
            for (zone, limit) in changes { conntrack.setZoneLimit(zone, limit) }
            return ""
        }
    }

    // MARK: Fragments

    private func fragments(_ name: String, _ conntrack: any DpifConntrack, _ words: [String], verbose: Bool)
        throws(DpctlFailure) -> String
    {
        func family() throws(DpctlFailure) -> Bool {
            guard let word = words.first, word == "v4" || word == "v6" else {
                throw DpctlFailure("parameter missing: 'v4' for IPv4 or 'v6' for IPv6", 22)
            }
            return word == "v6"
        }
        switch name {
        case "ipf-set-enabled":
            conntrack.setFragmentReassembly(ipv6: try family(), enabled: true)
            return "enabling fragmentation reassembly successful"
        case "ipf-set-disabled":
            conntrack.setFragmentReassembly(ipv6: try family(), enabled: false)
            return "disabling fragmentation reassembly successful"
        case "ipf-set-min-frag":
            let isIPv6 = try family()
            guard words.count == 2, let size = Int(words[1]), size >= 0 else {
                throw DpctlFailure("parameter missing for minimum fragment size", 22)
            }
            do throws(DpifError) {
                try conntrack.setMinimumFragment(ipv6: isIPv6, size)
            } catch {
                throw DpctlFailure("requested minimum fragment size too small; see documentation", error.errno)
            }
            return "setting minimum fragment size successful"
        case "ipf-set-max-nfrags":
            guard words.count == 1, let count = Int(words[0]), count >= 0 else {
                throw DpctlFailure("parameter missing for maximum fragments", 22)
            }
            do throws(DpifError) {
                try conntrack.setMaximumFragments(count)
            } catch {
                throw DpctlFailure("setting maximum fragments failed", error.errno)
            }
            return "setting maximum fragments successful"
        default:
            let s = conntrack.fragments
            func counters(_ f: FragmentStatus.Family, _ v: String) -> String {
                """
                        min \(v) frag size: \(f.minimumSize)
                        \(v) frags accepted: \(f.accepted)
                        \(v) frags completed: \(f.completed)
                        \(v) frags expired: \(f.expired)
                        \(v) frags too small: \(f.tooSmall)
                        \(v) frags overlapped: \(f.overlapped)
                        \(v) frags purged: \(f.purged)

                """
            }
            var out = """
                        Fragmentation Module Status
                        ---------------------------
                        v4 enabled: \(s.ipv4.isEnabled ? 1 : 0)
                        v6 enabled: \(s.ipv6.isEnabled ? 1 : 0)
                        max num frags (v4/v6): \(s.maximum)
                        num frag: \(s.count)

                """
            out += counters(s.ipv4, "v4") + counters(s.ipv6, "v6")
            if verbose { out += "\n        Fragment Lists:\n\n" }
            return out
        }
    }
}

/// What is wrong with the text of a pattern.
struct ConntrackPatternProblem: Error {
    let text: String
}

extension ConntrackPattern {
    /// Reads a tuple as ovs-appctl and ovs-ofctl write it.
    init(_ text: String) throws(ConntrackPatternProblem) {
        self.init()
        for part in text.split(whereSeparator: { $0 == "," || $0 == " " }) {
            let sides = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard sides.count == 2 else { throw ConntrackPatternProblem(text: "field \(part) missing value") }
            let (name, value) = (sides[0], sides[1])
            func number<T: FixedWidthInteger & UnsignedInteger>(_: T.Type) throws(ConntrackPatternProblem) -> T {
                guard let n = T(value) else { throw ConntrackPatternProblem(text: "failed to parse field \(name)") }
                return n
            }
            func address(_ isIPv6: Bool) throws(ConntrackPatternProblem) -> UInt128 {
                tuple.isIPv6 = isIPv6
                guard let a = isIPv6 ? AddressText.parseIPv6(value) : AddressText.parseIPv4(value).map({ UInt128($0) }) else {
                    throw ConntrackPatternProblem(text: "failed to parse field \(name)")
                }
                return a
            }
            switch name {
            case "ct_nw_src": tuple.source = try address(false)
            case "ct_nw_dst": tuple.destination = try address(false)
            case "ct_ipv6_src": tuple.source = try address(true)
            case "ct_ipv6_dst": tuple.destination = try address(true)
            case "ct_nw_proto": tuple.proto = try number(UInt8.self)
            case "ct_tp_src": tuple.sourcePort = try number(UInt16.self)
            case "ct_tp_dst": tuple.destinationPort = try number(UInt16.self)
            case "icmp_type":
                tuple.icmpType = try number(UInt8.self)
                named.insert(.icmpType)
            case "icmp_code":
                tuple.icmpCode = try number(UInt8.self)
                named.insert(.icmpCode)
            case "icmp_id":
                tuple.icmpID = try number(UInt16.self)
                named.insert(.icmpID)
            default: throw ConntrackPatternProblem(text: "invalid conntrack tuple field: \(name)")
            }
        }
    }
}

extension ConntrackEntry.TCPEnd {
    /// States that trackers tell apart differently are shown as one.
    var coalesced: String { state == "FIN_WAIT_2" ? "TIME_WAIT" : state == "SYN_RECV" ? "ESTABLISHED" : state }
    fileprivate var flags: String {
        let names = (windowShift != nil ? ["WINDOW_SCALE"] : []) + (isLiberal ? ["BE_LIBERAL"] : [])
        return names.isEmpty ? "0" : names.joined(separator: "|")
    }
}

extension ConntrackEntry.Tuple {
    fileprivate var text: String {
        func address(_ a: UInt128) -> String {
            isIPv6 ? AddressText.ipv6(a) : AddressText.ipv4(UInt32(truncatingIfNeeded: a))
        }
        let addresses = "src=\(address(source)),dst=\(address(destination))"
        return proto == IPProtocol.icmp || proto == IPProtocol.icmpv6
            ? "\(addresses),id=\(icmpID),type=\(icmpType),code=\(icmpCode)"
            : "\(addresses),sport=\(sourcePort),dport=\(destinationPort)"
    }
}

extension ConntrackEntry {
    fileprivate static let protocols: [UInt8: String] = [
        1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 33: "dccp", 2: "igmp", 136: "udplite",
    ]

    /// As dump-conntrack prints it.
    func text(verbose: Bool, statistics: Bool) -> String {
        var out = "\(Self.protocols[original.proto] ?? String(original.proto)),orig=(\(original.text)),reply=(\(reply.text))"
        if verbose { out += ",id=0" }
        if zone != 0 { out += ",zone=\(zone)" }
        if verbose { out += ",status=0" }
        if statistics { out += ",timeout=\(timeout)" }
        if mark != 0 { out += ",mark=\(mark)" }
        if label != 0 { out += ",labels=\(AddressText.hex(label))" }
        if let tcp {
            if verbose {
                out += ",protoinfo=(state_orig=\(tcp.original.state),state_reply=\(tcp.reply.state)"
                let shifts = (tcp.original.windowShift ?? 0, tcp.reply.windowShift ?? 0)
                if shifts != (0, 0) { out += ",wscale_orig=\(shifts.0),wscale_reply=\(shifts.1)" }
                out += ",flags_orig=\(tcp.original.flags),flags_reply=\(tcp.reply.flags))"
            } else {
                let end = tcp.original.rank >= tcp.reply.rank ? tcp.original : tcp.reply
                out += ",protoinfo=(state=\(end.coalesced))"
            }
        }
        if let helper { out += ",helper=\(helper)" }
        if verbose, let parent { out += ",parent=(\(parent.text))" }
        return out
    }
}
