// dpif-netdev/* and odp-execute/*: how the userspace datapath's threads do their work. There is one implementation of each part
// here, so the commands that choose between several have little to choose from; the real daemon answers alike on a machine without
// vector units. What the threads did is printed as the real daemon prints it.

import Dpif
import Netdev
import Unixctl

extension ControlCommands {
    func registerDatapathThreads() {
        func says(_ name: String, _ usage: String, _ most: Int, _ text: String) {
            server.register(name, usage, 0, most) { _ in .ok(text) }
        }
        server.register("dpif-netdev/bond-show", "[dp]", 0, 1) { [unowned self] args in
            // Nothing of a bond is kept beside what bond/show has.
            args.allSatisfy { userspaceDatapath($0) != nil } ? .ok("") : .error("please specify an existing datapath")
        }
        server.register("dpif-netdev/dpif-impl-get", "", 0, 0) { [unowned self] _ in
            .ok("Available DPIF implementations:\n  dpif_scalar (pmds: \(pollingCores))\n")
        }
        server.register("dpif-netdev/miniflow-parser-get", "", 0, 0) { [unowned self] _ in
            .ok("Available MFEX implementations:\n  scalar (available: True pmds: \(pollingCores))\n")
        }
        server.register("dpif-netdev/pmd-perf-log-set", "on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]", 0, 10) { args in
            // Iterations that take unusually long are counted, not logged.
            var words = args[...]
            if let first = words.first, first == "on" || first == "off" { words.removeFirst() }
            while let word = words.popFirst() {
                if word == "-e" || word == "-ne" { continue }
                guard ["-b", "-a", "-us", "-q"].contains(word), words.popFirst().flatMap({ UInt32($0) }) != nil else {
                    return .error(
                        "Usage: ovs-appctl dpif-netdev/pmd-perf-log-set [on|off] [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]")
                }
            }
            return .ok("")
        }
        thread("pmd-perf-show", "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]", 8) { request in
            request.polling.map(\.performanceText).joined()
        }
        server.register("dpif-netdev/pmd-rxq-rebalance", "[dp]", 0, 1) { [unowned self] args in
            guard let dpif = userspaceDatapath(args.first) else { return .error("please specify an existing datapath") }
            dpif.threads?.rebalance()
            return .ok("pmd rxq rebalance requested.\n")
        }
        thread("pmd-rxq-show", "[-pmd core] [-secs secs] [dp]", 5) { request in
            "Displaying last \(request.seconds) seconds pmd usage %\n" + request.polling.map(\.queuesText).joined()
        }
        thread("pmd-stats-clear", "[-pmd core] [dp]", 3) { request in
            request.threads?.clearStatistics(core: request.core)
            return ""
        }
        thread("pmd-stats-show", "[-pmd core] [dp]", 3) { [unowned self] request in
            let reports = request.threads == nil ? [mainThread] : request.reports
            return reports.filter { request.core == nil || $0.core == request.core }.map(\.statisticsText).joined()
        }
        says(
            "dpif-netdev/subtable-lookup-info-get", "", 0,
            "Available dpcls implementations:\n  generic (Use count: 0, Priority: 1)\n")
        says(
            "odp-execute/action-impl-show", "", 0,
            "Available Actions implementations:\n  scalar (available: Yes, active: Yes)\n")
        server.register("dpif-netdev/dpif-impl-set", "dpif_implementation_name", 1, 1) { args in
            args[0] == "dpif_scalar"
                ? .ok("DPIF implementation set to dpif_scalar.\n")
                : .error("DPIF implementation not available: Unknown DPIF implementation \(args[0]).")
        }
        server.register(
            "dpif-netdev/miniflow-parser-set", "[-pmd core] miniflow_implementation_name [study_pkt_cnt]", 1, 5
        ) { [unowned self] args in
            var words = args[...]
            if words.first == "-pmd" {
                let core = words.dropFirst().first ?? ""
                guard let number = Int(core) else {
                    return .error(
                        "Error: miniflow extract parser not changed, PMD thread passed is not valid: '\(core)'. Pass a valid pmd thread ID."
                    )
                }
                guard words.count > 2 else { return Self.noExtractorName }
                guard cores.contains(number) else {
                    return .error(
                        "Error: miniflow extract parser not changed, PMD thread \(number) not in use, pass a valid pmd thread ID.")
                }
                words = words.dropFirst(2)
            }
            guard let name = words.popFirst() else { return Self.noExtractorName }
            if let next = words.first { return .error("Error: unknown argument \(next).") }
            return name == "scalar"
                ? .ok("Miniflow extract implementation set to scalar.\n")
                : .error("Error: unknown miniflow extract implementation \(name).")
        }
        server.register("dpif-netdev/subtable-lookup-prio-set", "[lookup_func] [prio]", 2, 2) { args in
            guard args[0] == "generic" else { return .error("error, subtable lookup function not found") }
            guard (0...255).contains(Self.number(args[1])) else {
                return .error("error, priority must be in range 0 to 255")
            }
            return .ok("Lookup priority change affected 0 dpcls ports and 0 subtables.\n")
        }
        server.register("odp-execute/action-impl-set", "name", 1, 1) { args in
            args[0] == "scalar"
                ? .ok("Action implementation set to scalar.\n")
                : .error("Error: unknown action implementation, \(args[0]), specified!")
        }
        server.register("dpif-dummy/change-port-number", "dp port new-number", 3, 3) { [unowned self] args in changePortNumber(args) }
    }

    private static let noExtractorName = UnixctlReply.error(
        "Error: no miniflow extract name provided. Output of miniflow-parser-get shows implementation list.")

    // MARK: What threads did

    /// What a command about threads asks for.
    private struct ThreadRequest {
        var threads: (any DpifThreads)?
        var core: Int?
        var seconds = 60
        var reports: [ThreadReport] { threads?.reports(seconds: seconds) ?? [] }
        /// The polling threads that were asked for.
        var polling: [ThreadReport] { reports.filter { $0.core != nil && (core == nil || $0.core == core) } }
    }

    private func thread(_ name: String, _ usage: String, _ most: Int, _ body: @escaping (ThreadRequest) -> String) {
        server.register("dpif-netdev/\(name)", usage, 0, most) { [unowned self] args in
            var request = ThreadRequest()
            var named: String?
            var words = args[...]
            while let word = words.popFirst() {
                switch word {
                case "-pmd":
                    request.core = words.popFirst().flatMap { Int($0) }
                case "-secs":
                    guard let seconds = words.popFirst().flatMap({ Int($0) }), seconds > 0 else { break }
                    // As many whole intervals as are kept.
                    request.seconds = min(60, (seconds + 4) / 5 * 5)
                case "-it", "-ms": _ = words.popFirst()
                case "-nh": break
                default: named = word
                }
            }
            // Where there is only one, any name stands for it.
            let open = userspaceDatapaths
            if let named, open.count != 1 {
                guard let dpif = userspaceDatapath(named) else { return .error("please specify an existing datapath") }
                request.threads = dpif.threads
            } else {
                request.threads = open.lazy.compactMap(\.threads).first
            }
            return .ok(body(request))
        }
    }

    private var userspaceDatapaths: [any Dpif] { fabric.registry.openDatapaths.filter { $0.type != "system" } }

    /// The userspace datapath of a name; without a name, the only one.
    private func userspaceDatapath(_ name: String?) -> (any Dpif)? {
        let open = userspaceDatapaths
        guard let name else { return open.count == 1 ? open[0] : nil }
        return open.first { $0.name == name }
    }

    /// The processors that are polled on.
    private var cores: [Int] { fabric.registry.openDatapaths.flatMap { $0.threads?.reports(seconds: 60).compactMap(\.core) ?? [] } }

    /// The same as the implementations' lists have them.
    private var pollingCores: String {
        let cores = cores
        return cores.isEmpty ? "none" : cores.map { String($0) }.joined(separator: ",")
    }

    /// The main thread of datapaths that have no others.
    private var mainThread: ThreadReport {
        var report = ThreadReport(core: nil)
        for backer in fabric.backers.values {
            let stats = backer.dpif.stats
            report.megaflowHits &+= stats.hit
            report.upcalls &+= stats.missed
            report.lostUpcalls &+= stats.lost
        }
        report.subtableLookups = report.megaflowHits
        report.received = report.megaflowHits &+ report.upcalls &+ report.lostUpcalls
        return report
    }

    /// Moves a dummy datapath's port to another number.
    private func changePortNumber(_ args: [String]) -> UnixctlReply {
        guard let backer = fabric.backers.values.first(where: { $0.dpif.name == args[0] }) else {
            return .error("unknown datapath or not a dummy")
        }
        guard let port = backer.dpif.port(named: args[1]) else { return .error("unknown port") }
        guard let number = UInt32(args[2]), number > 0, number < 65535 else { return .error("bad port number") }
        guard backer.dpif.port(number) == nil else { return .error("port number already in use") }
        do throws(DpifError) {
            try backer.renumber(port.number, to: number)
            return .ok("")
        } catch {
            return .error(error.reason)
        }
    }
}
