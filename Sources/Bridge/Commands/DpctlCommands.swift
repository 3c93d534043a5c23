// dpctl/*: datapaths, their ports and flows by hand, as ovs-dpctl(8) has it.

import Dpif
import Flow
import OpenFlow
import Ofproto
import Unixctl

/// What went wrong, as dpctl prints it: `ovs-vswitchd: what (reason)`.
struct DpctlFailure: Error {
    let text: String
    init(_ what: String, _ errno: Int32) { text = "ovs-vswitchd: \(what) (\(DpifError.reason(errno)))" }
    init(plain: String) { text = plain }
}

/// Options and arguments of a dpctl command.
struct DpctlArguments {
    var verbosity = 0
    var names: Bool?
    var statistics = false
    var clear = false
    var mayCreate = false
    var readOnly = false
    var words: [String] = []

    init(_ args: [String]) throws(DpctlFailure) {
        var onlyWords = false
        for argument in args {
            if onlyWords || !argument.hasPrefix("-") || argument == "-" {
                words.append(argument)
                continue
            }
            if !argument.hasPrefix("--") {
                for letter in argument.dropFirst() {
                    switch letter {
                    case "m": verbosity += 1
                    case "s": statistics = true
                    default: throw DpctlFailure(plain: "Unrecognized option -\(letter)")
                    }
                }
                continue
            }
            switch argument {
            case "--": onlyWords = true
            case "--more": verbosity += 1
            case "--statistics": statistics = true
            case "--names": names = true
            case "--no-names": names = false
            case "--clear": clear = true
            case "--may-create": mayCreate = true
            case "--read-only": readOnly = true
            default: throw DpctlFailure(plain: "Unrecognized option \(argument)")
            }
        }
    }
}

/// Carries out a dpctl command, and returns what it prints.
typealias DpctlCommand = ([String]) throws(DpctlFailure) -> String

extension ControlCommands {
    func registerDpctl() {
        func add(
            _ name: String, _ usage: String, _ low: Int, _ high: Int, _ body: @escaping DpctlCommand
        ) {
            dpctlCommands.append((name, usage))
            server.register("dpctl/\(name)", usage, low, high) { args in
                do throws(DpctlFailure) {
                    return .ok(try body(args))
                } catch {
                    return .error(error.text)
                }
            }
        }
        registerDatapathsByHand(add)
        add("dump-dps", "", 0, 0) { [unowned self] _ throws(DpctlFailure) in
            orderedDatapaths.map { "\($0.type)@\($0.name)\n" }.joined()
        }
        add("show", "[-s] [dp...]", 0, .max) { [unowned self] args throws(DpctlFailure) in
            let options = try DpctlArguments(args)
            if options.words.isEmpty {
                return orderedDatapaths.map { show($0, options.statistics) }.joined()
            }
            var out = ""
            for word in options.words {
                guard let dpif = datapath(named: word) else {
                    throw DpctlFailure("opening datapath \(word) failed", unopenedReason(word))
                }
                out += show(dpif, options.statistics)
            }
            return out
        }
        add("dump-flows", "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]", 0, 6) {
            [unowned self] args throws(DpctlFailure) in
            let options = try DpctlArguments(args)
            var words = options.words
            func option(_ name: String) -> String? {
                guard let at = words.lastIndex(where: { $0.hasPrefix(name + "=") }) else { return nil }
                return String(words.remove(at: at).dropFirst(name.count + 1))
            }
            let filter = option("filter")
            let type = option("type")
            let pmd = option("pmd")
            let dpif = try optionalDatapath(words)
            var named = FlowMask()
            var wanted = FlowKey()
            if let filter {
                do throws(FlowSyntaxError) {
                    wanted = try FlowKey(parsing: filter, named: &named) { dpif.port(named: $0).map { OFPort($0.number) } }
                } catch {
                    throw DpctlFailure(plain: "ovs-vswitchd: Failed to parse filter (\(filter): \(error))")
                }
            }
            if let type, !["ovs", "tc", "dpdk", "all", "offloaded", "non-offloaded", "partially-offloaded"].contains(type) {
                throw DpctlFailure("Failed to parse type (\(type))", 22)
            }
            // Nothing is offloaded, and no thread but the main one has flows.
            if pmd != nil || type == "tc" || type == "dpdk" || type == "offloaded" || type == "partially-offloaded" { return "" }
            let verbose = options.verbosity > 0
            return dumpFlows(dpif, verbose: verbose, names: options.names ?? verbose, heading: "flow-dump from the main thread:\n") {
                wanted.equals($0.key, in: named)
            }
        }
        registerFlowCommands(add)
        add("offload-stats-show", "[dp]", 0, 1) { [unowned self] args throws(DpctlFailure) in
            _ = try optionalDatapath(args)
            throw DpctlFailure("HW Offload stats", 95)
        }
        for (name, usage, low, high) in Self.conntrackUsages {
            add(name, usage, low, high) { [unowned self] args throws(DpctlFailure) in
                try conntrackCommand(name, args)
            }
            if name == "flush-conntrack" { registerCacheSizes(add) }
        }
        add("list-commands", "", 0, 0) { [unowned self] _ throws(DpctlFailure) in
            "The available commands are:\n"
                + dpctlCommands.map { name, usage in
                    "  " + ("dpctl/" + name).padding(29) + " " + usage + "\n"
                }.joined()
        }
        add("parse-actions", "actions", 1, .max) { args throws(DpctlFailure) in
            var out = ""
            for word in args {
                do throws(DpActionSyntaxError) {
                    out += DpAction.text(try DpAction.parse(word)) + "\n"
                } catch {
                    throw DpctlFailure("odp_actions_from_string", 22)
                }
            }
            return out
        }
        add("normalize-actions", "actions", 2, .max) { args throws(DpctlFailure) in
            do throws(DpActionSyntaxError) {
                return DpAction.text(try DpAction.parse(args[args.count - 1])) + "\n"
            } catch {
                throw DpctlFailure("odp_actions_from_string", 22)
            }
        }
    }

    // MARK: Datapaths by name

    /// By type, and then as the real daemon's set of names has them.
    var orderedDatapaths: [any Dpif] {
        let open = fabric.registry.openDatapaths
        return Set(open.map(\.type)).sorted().flatMap { type in
            var order = HashTableOrder<any Dpif>()
            for dpif in open where dpif.type == type { order.insert(dpif, hash: MurmurHash.bytes(Array(dpif.name.utf8), basis: 0)) }
            return order.elements
        }
    }

    /// `type@name`; a name alone is one of the kernel's datapaths.
    func typeAndName(_ word: String) -> (type: String, name: String) {
        let parts = word.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return parts.count == 2 ? (parts[0], parts[1]) : ("system", word)
    }

    /// `type@name`, or a name alone.
    func datapath(named word: String) -> (any Dpif)? {
        let (type, name) = typeAndName(word)
        return fabric.registry.openDatapaths.first { $0.name == name && (!word.contains("@") || $0.type == type) }
    }

    func findDatapath(_ word: String) throws(DpctlFailure) -> any Dpif {
        guard let dpif = datapath(named: word) else { throw DpctlFailure("opening datapath", unopenedReason(word)) }
        return dpif
    }

    /// Why there is no datapath of a name: there is none, or nothing that could provide it.
    func unopenedReason(_ word: String) -> Int32 { fabric.registry.provider(typeAndName(word).type) == nil ? 97 : 19 }

    /// The datapath of the first word when there is one by that name, else the only one.
    func optionalDatapath(_ words: [String]) throws(DpctlFailure) -> any Dpif {
        if let first = words.first, let dpif = datapath(named: first) { return dpif }
        if words.count == 1 { throw DpctlFailure("datapath not found", 22) }
        let open = fabric.registry.openDatapaths
        guard open.count == 1 else {
            throw open.isEmpty
                ? DpctlFailure(
                    plain: "ovs-vswitchd: no datapaths exist\novs-vswitchd: datapath not found (Invalid argument)")
                : DpctlFailure(
                    plain: "ovs-vswitchd: multiple datapaths, specify one\novs-vswitchd: datapath not found (Invalid argument)")
        }
        return open[0]
    }

    // MARK: Show

    private func show(_ dpif: any Dpif, _ statistics: Bool) -> String {
        let stats = dpif.stats
        var out = "\(dpif.type)@\(dpif.name):\n"
        out += "  lookups: hit:\(stats.hit) missed:\(stats.missed) lost:\(stats.lost)\n"
        out += "  flows: \(stats.flows)\n"
        for port in dpif.ports {
            out += "  port \(port.number): \(port.name)"
            if let device = dpif.device(port.number) {
                if device.type != "system" {
                    out += " (\(device.type)"
                    let options = fabric.options(port.name)
                    if !options.isEmpty {
                        out += ": " + options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
                    }
                    out += ")"
                }
                out += "\n"
                if statistics { out += showStatistics(device.stats) }
            } else {
                out += "\n"
            }
        }
        return out
    }

    private func showStatistics(_ s: DeviceStats) -> String {
        func n(_ value: UInt64?) -> String { value.map(String.init) ?? "?" }
        func scaled(_ value: UInt64?) -> String {
            guard let value else { return "?" }
            let units: [(Double, String)] = [(1_099_511_627_776, "TiB"), (1_073_741_824, "GiB"), (1_048_576, "MiB"), (1024, "KiB")]
            for (size, name) in units where Double(value) >= size {
                let tenths = Int((Double(value) / size * 10).rounded())
                return "\(value) (\(tenths / 10).\(tenths % 10) \(name))"
            }
            return String(value)
        }
        return """
                RX packets:\(n(s.rxPackets)) errors:\(n(s.rxErrors)) dropped:\(n(s.rxDropped)) overruns:\(n(s.rxOverErrors)) frame:\(n(s.rxFrameErrors))
                TX packets:\(n(s.txPackets)) errors:\(n(s.txErrors)) dropped:\(n(s.txDropped)) aborted:? carrier:?
                collisions:\(n(s.collisions))
                RX bytes:\(scaled(s.rxBytes))  TX bytes:\(scaled(s.txBytes))

            """
    }
}

extension String {
    func padding(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - utf8.count)) }
}

extension ODPFlow {
    /// The mask as a datapath takes it: the types that the attributes imply are exact.
    var datapathMask: FlowMask {
        var m = mask
        m.setExact(Location.recircID)
        return m
    }
}
