// lacp/*: what LACP has agreed on.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    private var lacps: [LACP] {
        fabric.orderedSwitches.flatMap { target in target.bundles.values.compactMap(\.lacp).sorted { $0.name < $1.name } }
    }

    func registerLACP() {
        func register(_ name: String, _ show: @escaping (LACP) -> String) {
            server.register(name, "[port]", 0, 1) { [unowned self] args in
                guard let name = args.first else { return .ok(lacps.map(show).joined()) }
                guard let lacp = lacps.first(where: { $0.name == name }) else { return .error("no such lacp object") }
                return .ok(show(lacp))
            }
        }
        register("lacp/show", Self.show)
        register("lacp/show-stats", Self.showStatistics)
    }

    private static func show(_ lacp: LACP) -> String {
        var out = "---- \(lacp.name) ----\n"
        out += "  status: \(lacp.settings.isActive ? "active" : "passive")\(lacp.isNegotiated ? " negotiated" : "")\n"
        out += "  sys_id: \(AddressText.mac(lacp.settings.systemID))\n  sys_priority: \(lacp.settings.systemPriority)\n"
        out += "  aggregation key: \(lacp.key)\n  lacp_time: \(lacp.settings.isFast ? "fast" : "slow")\n"
        for member in lacp.members.sorted(by: { $0.port.name < $1.port.name }) {
            out += "\nmember: \(member.port.name): \(member.status.rawValue) \(member.isAttached ? "attached" : "detached")\n"
            out += "  port_id: \(member.portID)\n  port_priority: \(member.settings.portPriority)\n"
            out += "  may_enable: \(lacp.allows(member.port))\n"
            for (who, info) in [("actor", lacp.actor(member)), ("partner", member.partner)] {
                out += "\n  \(who) sys_id: \(AddressText.mac(info.systemID))\n  \(who) sys_priority: \(info.systemPriority)\n"
                out += "  \(who) port_id: \(info.portID)\n  \(who) port_priority: \(info.portPriority)\n"
                out += "  \(who) key: \(info.key)\n  \(who) state:\(info.state.text)\n"
            }
        }
        return out
    }

    private static func showStatistics(_ lacp: LACP) -> String {
        var out = "---- \(lacp.name) statistics ----\n"
        for member in lacp.members.sorted(by: { $0.port.name < $1.port.name }) {
            out += "\nmember: \(member.port.name):\n  TX PDUs: \(member.transmitted)\n  RX PDUs: \(member.received)\n"
            out += "  RX Bad PDUs: \(member.bad)\n  RX Marker Request PDUs: \(member.markers)\n"
            out += "  Link Expired: \(member.expirations)\n  Link Defaulted: \(member.defaults)\n"
            out += "  Carrier Status Changed: \(member.carrierChanges)\n"
        }
        return out
    }
}
