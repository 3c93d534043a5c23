// stp/* and rstp/*: what the spanning tree of a bridge looks like.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    func registerSpanningTree() {
        func register<Tree>(
            _ name: String, _ find: @escaping (OpenFlowSwitch) -> Tree?, _ missing: String, show: @escaping (Tree) -> String,
            force: @escaping (Tree) -> Void
        ) {
            for verb in ["show", "tcn"] {
                server.register("\(name)/\(verb)", "[bridge]", 0, 1) { [unowned self] args in
                    var trees = fabric.orderedSwitches.compactMap(find)
                    if let name = args.first {
                        guard let tree = fabric.switches[name].flatMap(find) else { return .error(missing) }
                        trees = [tree]
                    }
                    if verb == "show" { return .ok(trees.map(show).joined()) }
                    for tree in trees { force(tree) }
                    return .ok("OK")
                }
            }
        }
        register("stp", \.stp, "no such stp object", show: Self.show) { $0.forceTopologyChange() }
        register("rstp", \.rstp, "No such RSTP object", show: Self.show) { $0.forceTopologyChange() }
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }

    private static func identity(_ id: UInt64, _ gap: String, hello: Int, maxAge: Int, forwardDelay: Int) -> String {
        "  stp-priority\(gap)\(id >> 48)\n  stp-system-id   \(AddressText.mac(id & 0xffff_ffff_ffff))\n"
            + "  stp-hello-time  \(hello)s\n  stp-max-age     \(maxAge)s\n  stp-fwd-delay   \(forwardDelay)s\n"
    }

    private static func show(_ stp: STP) -> String {
        func identity(_ id: UInt64, _ times: STP.Times) -> String {
            Self.identity(
                id, "  ", hello: Int(times.helloTime) / 256, maxAge: Int(times.maxAge) / 256,
                forwardDelay: Int(times.forwardDelay) / 256)
        }
        // The times of the one stand with the other, as the real daemon has them.
        var out = "---- \(stp.name) ----\nRoot ID:\n" + identity(stp.designatedRoot, stp.ownTimes)
        if let root = stp.rootPort, !stp.isRoot {
            out += "  root-port       \(root.port.name)\n  root-path-cost  \(stp.rootPathCost)\n"
        } else {
            out += "  This bridge is the root\n"
        }
        out += "\nBridge ID:\n" + identity(stp.bridgeID, stp.times)
        out += "\n  Interface  Role       State      Cost  Pri.Nbr \n  ---------- ---------- ---------- ----- -------\n"
        for port in stp.ports where port.state != .disabled {
            out += "  \(pad(port.port.name, 10)) \(pad(stp.role(port).rawValue, 10)) \(pad(port.state.rawValue, 10)) "
            out += "\(pad(String(port.settings.pathCost), 5)) \(port.settings.priority).\(port.settings.number)\n"
        }
        return out + "\n"
    }

    private static func show(_ rstp: RSTP) -> String {
        func identity(_ id: UInt64, _ times: RSTPTimes) -> String {
            Self.identity(id, "    ", hello: times.helloTime, maxAge: times.maxAge, forwardDelay: times.forwardDelay)
        }
        var out = "---- \(rstp.name) ----\nRoot ID:\n" + identity(rstp.rootPriority.root, rstp.rootTimes)
        if let root = rstp.rootPort {
            out += "  root-port       \(root.port.name)\n  root-path-cost  \(rstp.rootPriority.cost)\n"
        } else {
            out += "  This bridge is the root\n"
        }
        out += "\nBridge ID:\n" + identity(rstp.bridgeID, rstp.settings.times)
        out += "\n  Interface  Role       State      Cost     Pri.Nbr \n  ---------- ---------- ---------- -------- -------\n"
        for port in rstp.ports {
            out += "  \(pad(port.port.name, 10)) \(pad(port.role.rawValue, 10)) \(pad(port.stateName, 10)) "
            out += "\(pad(String(port.settings.pathCost), 8)) \(port.settings.priority).\(port.settings.number)\n"
        }
        return out + "\n"
    }
}
