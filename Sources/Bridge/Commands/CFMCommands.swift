// cfm/*: maintenance points.

import Ofproto
import Unixctl

extension ControlCommands {
    private var points: [(name: String, cfm: CFM)] {
        fabric.orderedSwitches.flatMap(\.portsInOrder).compactMap { port in port.cfm.map { (port.name, $0) } }.sorted { $0.name < $1.name }
    }

    func registerCFM() {
        server.register("cfm/show", "[interface]", 0, 1) { [unowned self] args in
            let shown = args.isEmpty ? points : points.filter { $0.name == args[0] }
            if shown.isEmpty, !args.isEmpty { return .error("no such CFM object") }
            return .ok(shown.map { show($0.name, $0.cfm) }.joined())
        }
        server.register("cfm/set-fault", "[interface] normal|false|true", 1, 2) { [unowned self] args in
            let forced: Bool?
            switch args[args.count - 1].lowercased() {
            case "true": forced = true
            case "false": forced = false
            case "normal": forced = nil
            default: return .error("unknown fault string")
            }
            let chosen = args.count > 1 ? points.filter { $0.name == args[0] } : points
            if chosen.isEmpty, args.count > 1 { return .error("no such CFM object") }
            for point in chosen { point.cfm.forcedFault = forced }
            for backer in fabric.backers.values { backer.changed() }
            return .ok("OK")
        }
    }

    private func show(_ name: String, _ cfm: CFM) -> String {
        let now = fabric.time.now
        var out = "---- \(name) ----\nMPID \(cfm.settings.mpid):"
        out += (cfm.settings.isExtended ? " extended" : "") + (cfm.forcedFault != nil ? " fault_override" : "") + "\n"
        if cfm.isFaulty { out += "  fault: \(cfm.faults.names.joined(separator: " "))\n" }
        out += "  average health: \(cfm.health.map(String.init) ?? "undefined")\n"
        out += "  opstate: \(cfm.settings.isUp ? "up" : "down")\n  remote_opstate: \(cfm.remoteIsUp ? "up" : "down")\n"
        out += "  interval: \(cfm.interval)ms\n  next CCM tx: \(cfm.nextTransmission - now)ms\n"
        out += "  next fault check: \(cfm.nextCheck - now)ms\n"
        for remote in cfm.remotes.values.sorted(by: { $0.mpid < $1.mpid }) {
            out += "Remote MPID \(remote.mpid)\n  recv since check: \(remote.wasHeard)\n  opstate: \(remote.isUp ? "up" : "down")\n"
        }
        return out
    }
}
