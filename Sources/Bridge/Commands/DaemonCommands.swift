// Commands about the daemon as a whole: exit, memory, coverage, QoS, and connections of bridges.

import Dpif
import Netdev
import Ofproto
import OVSDB
import Unixctl

/// Registers the daemon's own commands.
public final class DaemonCommands {
    private let configurator: BridgeConfigurator
    private let server: UnixctlServer
    private let end: (_ cleanup: Bool) -> Void

    /// - Parameter end: ends the process; called after the reply to `exit` was written.
    public init(configurator: BridgeConfigurator, server: UnixctlServer, end: @escaping (_ cleanup: Bool) -> Void) {
        self.configurator = configurator
        self.server = server
        self.end = end
    }

    private var fabric: SwitchFabric { configurator.fabric }

    public func registerAll() {
        registerExit()
        server.register("memory/show", "", 0, 0) { [unowned self] _ in
            .ok(memory().sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: " "))
        }
        server.register("bridge/reconnect", "[bridge]", 0, 1) { [unowned self] args in
            if let name = args.first {
                guard let target = fabric.switches[name] else { return .error("Unknown bridge") }
                configurator.controllers.reconnect(target)
            } else {
                for target in fabric.orderedSwitches { configurator.controllers.reconnect(target) }
            }
            return .ok("")
        }
        registerCoverage()
        registerQoS()
    }

    private func registerExit() {
        let end = end
        server.register("exit", "[--cleanup]", 0, 1) { [unowned self] args in
            let cleanup = args.first == "--cleanup"
            configurator.client.eventLoop.assumeIsolated().execute { end(cleanup) }
            return .ok("")
        }
    }

    private func memory() -> [String: Int] {
        var usage = configurator.controllers.memoryUsage
        usage["handlers"] = fabric.backers.isEmpty ? nil : fabric.backers.count
        usage["revalidators"] = fabric.backers.isEmpty ? nil : fabric.backers.count
        usage["ports"] = fabric.switches.values.reduce(0) { $0 + $1.portsInOrder.count }
        usage["rules"] = fabric.switches.values.reduce(0) { $0 + $1.flowCount }
        usage["udpif keys"] = fabric.backers.values.reduce(0) { $0 + $1.flowCount }
        usage["idl-cells-Open_vSwitch"] = configurator.client.tables.values.reduce(0) { sum, rows in
            sum + rows.values.reduce(0) { $0 + $1.columns.count }
        }
        return usage.filter { $0.value != 0 }
    }

    // MARK: Coverage

    /// Event counts by the names that the real daemon gives such events.
    private var counters: [(name: String, total: UInt64)] {
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var drops: [String: UInt64] = [:]
        for backer in fabric.backers.values {
            hits &+= backer.dpif.stats.hit
            misses &+= backer.dpif.stats.missed
            for drop in backer.dpif.drops { drops[drop.name, default: 0] &+= drop.count }
        }
        return [
            ("bridge_reconfigure", configurator.configurationCount), ("datapath_hit", hits), ("upcall_miss", misses),
        ] + drops.sorted { $0.key < $1.key }.map { (name: $0.key, total: $0.value) }
    }

    private func registerCoverage() {
        server.register("coverage/show", "", 0, 0) { [unowned self] _ in
            var text = "Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash=00000000:\n"
            let counters = counters
            for counter in counters where counter.total > 0 {
                let name = counter.name + String(repeating: " ", count: max(0, 24 - counter.name.utf8.count))
                text += "\(name)   0.0/sec     0.000/sec        0.0000/sec   total: \(counter.total)\n"
            }
            let never = counters.filter { $0.total == 0 }.count
            return .ok(text + "\(never) events never hit\n")
        }
        server.register("coverage/read-counter", "COUNTER", 1, 1) { [unowned self] args in
            guard let counter = counters.first(where: { $0.name == args[0] }) else { return .error("No such counter") }
            return .ok("\(counter.total)\n")
        }
    }

    // MARK: QoS

    /// Whether an interface is a bridge's port.
    private func port(_ name: String) -> SwitchPort? {
        fabric.switches.values.lazy.compactMap { $0.port(named: name) }.first
    }

    private func registerQoS() {
        server.register("qos/show-types", "interface", 1, 1) { [unowned self] args in
            guard port(args[0]) != nil else { return .error("no such interface") }
            guard let shaper = configurator.shaper, port(args[0])?.device is InterfaceDevice else {
                return .ok("No QoS types supported for interface: \(args[0])\n")
            }
            return .ok("QoS types supported for interface: \(args[0])\n\n" + shaper.types.map { "    \($0)\n" }.joined())
        }
        server.register("qos/show", "interface", 1, 1) { [unowned self] args in
            guard port(args[0]) != nil else { return .error("no such interface") }
            guard let settings = configurator.shaping(of: args[0]) else { return .ok("QoS not configured on \(args[0])\n") }
            return .ok(qosText(args[0], settings))
        }
    }

    /// `qos/show`: the discipline, and what each queue is set to and sent.
    private func qosText(_ name: String, _ settings: ShapingSettings) -> String {
        func lines(_ options: [String: String], _ indent: String) -> String {
            options.sorted { $0.key < $1.key }.map { "\(indent)\($0.key): \($0.value)\n" }.joined()
        }
        var out = "QoS: \(name) \(settings.type)\n" + lines(settings.options, "")
        let counters = configurator.shaper?.queues(of: name) ?? [:]
        for number in Set(settings.queues.keys).union(counters.keys).sorted() {
            out += number == 0 ? "\nDefault:\n" : "\nQueue \(number):\n"
            out += lines(settings.queues[number] ?? [:], "  ")
            let c = counters[number] ?? QueueCounters()
            out += "  tx_packets: \(c.packets)\n  tx_bytes: \(c.bytes)\n  tx_errors: \(c.dropped)\n"
        }
        return out
    }
}
