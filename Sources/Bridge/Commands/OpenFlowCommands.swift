// ofproto/list and bridge/dump-flows: the OpenFlow side of bridges.

import Flow
import Ofproto
import OpenFlow
import Unixctl

extension ControlCommands {
    func registerOpenFlow() {
        server.register("ofproto/list", "", 0, 0) { [fabric] _ in
            .ok(fabric.orderedSwitches.map { $0.name + "\n" }.joined())
        }
        // The real daemon has this command from its first bridge on.
        fabric.onFirstSwitch = { [unowned self] in
            server.register("ofproto/list-tunnels", "", 0, 0) { [unowned self] _ in .ok(tunnelList) }
        }
        server.register("bridge/dump-flows", "[--offload-stats] bridge", 1, 2) { [unowned self] args in
            guard let target = findSwitch(args[args.count - 1]) else { return .error("Unknown bridge") }
            return .ok(dumpFlows(target, offload: args.count == 2 && args[0] == "--offload-stats"))
        }
    }

    /// All flows of a bridge, hidden ones too.
    private func dumpFlows(_ target: OpenFlowSwitch, offload: Bool) -> String {
        var out = ""
        let now = fabric.time.now
        for table in target.tables.used where table.count > 0 {
            var rules: [Rule] = []
            table.forEach { rules.append($0) }
            if table.id == OpenFlowSwitch.internalTable {
                let texts = rules.map { $0.match.text(ports: target.portNames) }
                rules = rules.indices.sorted { (rules[$1].priority, texts[$0]) < (rules[$0].priority, texts[$1]) }.map { rules[$0] }
            }
            for rule in rules {
                if table.id != 0 { out += "table_id=\(table.id), " }
                out += "duration=\(max(0, now - rule.created) / 1000)s, n_packets=\(rule.packetCount), n_bytes=\(rule.byteCount), "
                // Nothing is offloaded.
                if offload { out += "n_offload_packets=0, n_offload_bytes=0, " }
                let match = rule.match.text(ports: target.portNames)
                if rule.priority != 32768 { out += "priority=\(rule.priority)" + (match.isEmpty ? "" : ",") }
                out += match
                out += ",actions=\(rule.actions.isEmpty ? "drop" : OFAction.text(rule.actions, ports: target.portNames))\n"
            }
        }
        return out
    }
}
