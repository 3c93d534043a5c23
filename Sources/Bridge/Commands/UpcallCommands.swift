// upcall/* and revalidator/*: the flow cache.

import Dpif
import Ofproto
import Unixctl

extension ControlCommands {
    func registerUpcalls() {
        server.register("upcall/show", "", 0, 0) { [fabric] _ in
            var out = ""
            for type in fabric.backers.keys.sorted() {
                guard let backer = fabric.backers[type] else { continue }
                out += "\(type)@\(backer.dpif.name):\n"
                out +=
                    "  flows         : (current \(backer.dpif.stats.flows)) (avg \(backer.averageFlowCount)) (max \(backer.maxFlowCount)) (limit \(backer.settings.flowLimit))\n"
                out += "  dump duration : \(backer.dumpDuration)ms\n"
                out += "  ufid enabled : \(backer.ufidEnabled)\n\n"
                out += "  1: (keys \(backer.flowCount))\n"
            }
            return .ok(out)
        }
        func toggle(_ name: String, _ text: String, _ change: @escaping (DatapathBacker) -> Void) {
            server.register(name, "", 0, 0) { [fabric] _ in
                for backer in fabric.backers.values {
                    change(backer)
                    backer.purge()
                }
                return .ok(text)
            }
        }
        toggle("upcall/disable-megaflows", "megaflows disabled") { $0.megaflowsEnabled = false }
        toggle("upcall/enable-megaflows", "megaflows enabled") { $0.megaflowsEnabled = true }
        server.register("upcall/disable-ufid", "", 0, 0) { [fabric] _ in
            for backer in fabric.backers.values { backer.ufidEnabled = false }
            return .ok("Datapath dumping tersely using UFID disabled")
        }
        server.register("upcall/enable-ufid", "", 0, 0) { [fabric] _ in
            for backer in fabric.backers.values { backer.ufidEnabled = true }
            return .ok("Datapath dumping tersely using UFID enabled for supported datapaths")
        }
        server.register("upcall/set-flow-limit", "flow-limit-number", 1, 1) { [fabric] args in
            let n = Int(UInt32(truncatingIfNeeded: Self.number(args[0])))
            for backer in fabric.backers.values { backer.settings.flowLimit = n }
            return .ok("set flow_limit to \(n)")
        }
        server.register("revalidator/wait", "", 0, 0) { [fabric] _, command in
            guard fabric.backers.count == 1, let backer = fabric.backers.values.first else {
                return .error("can't wait on multiple udpifs.")
            }
            backer.synchronise { command.reply() }
            return .deferred
        }
        server.register("revalidator/purge", "", 0, 0) { [fabric] _ in
            for backer in fabric.backers.values { backer.purge() }
            return .ok("")
        }
    }
}
