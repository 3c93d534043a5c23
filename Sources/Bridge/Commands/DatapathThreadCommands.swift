// dpif-netdev/* and odp-execute/*: how the userspace datapath's threads do their work. There is one implementation of each
// part here, the scalar one, and one thread, so these commands have little to choose from; the real daemon answers alike on a
// machine without vector units and with no polling threads.

import Dpif
import Netdev
import Unixctl

extension ControlCommands {
    func registerDatapathThreads() {
        func says(_ name: String, _ usage: String, _ most: Int, _ text: String) {
            server.register(name, usage, 0, most) { _ in .ok(text) }
        }
        says("dpif-netdev/bond-show", "[dp]", 1, "")
        says("dpif-netdev/dpif-impl-get", "", 0, "Available DPIF implementations:\n  dpif_scalar (pmds: none)\n")
        says(
            "dpif-netdev/miniflow-parser-get", "", 0,
            "Available MFEX implementations:\n  scalar (available: True pmds: none)\n")
        says(
            "dpif-netdev/pmd-perf-log-set", "on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]", 10, "")
        says("dpif-netdev/pmd-perf-show", "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]", 8, "")
        says("dpif-netdev/pmd-rxq-rebalance", "[dp]", 1, "pmd rxq rebalance requested.\n")
        says("dpif-netdev/pmd-rxq-show", "[-pmd core] [-secs secs] [dp]", 5, "Displaying last 60 seconds pmd usage %\n")
        says("dpif-netdev/pmd-stats-clear", "[-pmd core] [dp]", 3, "")
        says(
            "dpif-netdev/subtable-lookup-info-get", "", 0,
            "Available dpcls implementations:\n  generic (Use count: 0, Priority: 1)\n")
        says(
            "odp-execute/action-impl-show", "", 0,
            "Available Actions implementations:\n  scalar (available: Yes, active: Yes)\n")
        server.register("dpif-netdev/pmd-stats-show", "[-pmd core] [dp]", 0, 3) { [unowned self] _ in .ok(mainThreadStats) }
        server.register("dpif-netdev/dpif-impl-set", "dpif_implementation_name", 1, 1) { args in
            args[0] == "dpif_scalar"
                ? .ok("DPIF implementation set to dpif_scalar.\n")
                : .error("DPIF implementation not available: Unknown DPIF implementation \(args[0]).")
        }
        server.register(
            "dpif-netdev/miniflow-parser-set", "[-pmd core] miniflow_implementation_name [study_pkt_cnt]", 1, 5
        ) { args in
            let name = args[0] == "-pmd" && args.count > 2 ? args[2] : args[0]
            return name == "scalar"
                ? .ok("Miniflow extract implementation set to scalar.\n")
                : .error("Error: unknown miniflow extract implementation \(name).")
        }
        server.register("dpif-netdev/subtable-lookup-prio-set", "[lookup_func] [prio]", 2, 2) { args in
            guard args[0] == "generic" else { return .error("error, subtable lookup function not found") }
            guard let priority = Int(args[1]), (0...255).contains(priority) else {
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

    private var mainThreadStats: String {
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var lost: UInt64 = 0
        for backer in fabric.backers.values {
            hits &+= backer.dpif.stats.hit
            misses &+= backer.dpif.stats.missed
            lost &+= backer.dpif.stats.lost
        }
        let packets = hits &+ misses &+ lost
        return """
            main thread:
              packets received: \(packets)
              packet recirculations: 0
              avg. datapath passes per packet: \(packets == 0 ? "0.00" : "1.00")
              phwol hits: 0
              mfex opt hits: 0
              simple match hits: 0
              emc hits: 0
              smc hits: 0
              megaflow hits: \(hits)
              avg. subtable lookups per megaflow hit: \(hits == 0 ? "0.00" : "1.00")
              miss with success upcall: \(misses)
              miss with failed upcall: \(lost)
              avg. packets per output batch: \(packets == 0 ? "0.00" : "1.00")

            """
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
