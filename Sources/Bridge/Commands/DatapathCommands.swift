// dpif/*: datapaths as bridges see them.

import Dpif
import Flow
import Ofproto
import OpenFlow
import Unixctl

extension ControlCommands {
    func registerDatapaths() {
        server.register("dpif/dump-dps", "", 0, 0) { [fabric] _ in
            .ok(fabric.orderedSwitches.map { "\($0.backer.dpif.type)@\($0.name)\n" }.joined())
        }
        server.register("dpif/show", "", 0, 0) { [unowned self] _ in
            var out = ""
            for type in fabric.backers.keys.sorted() {
                guard let backer = fabric.backers[type] else { continue }
                let stats = backer.dpif.stats
                out += "\(type)@\(backer.dpif.name): hit:\(stats.hit) missed:\(stats.missed)\n"
                for target in fabric.orderedSwitches where target.backer === backer { out += show(target) }
            }
            return .ok(out)
        }
        server.register("dpif/show-dp-features", "bridge", 1, 1) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            return .ok(
                CapabilityRow.all.filter(\.isStandard)
                    .map { "\($0.title): \($0.text(target.backer.dpif.capabilities))\n" }.joined())
        }
        server.register("dpif/set-dp-features", "bridge", 1, 3) { [unowned self] args in setFeature(args) }
        server.register("dpif/dump-flows", "[-m] [--names | --no-names] bridge", 1, Int.max) { [unowned self] args in
            var verbose = false
            var names = false
            var bridge: String?
            for argument in args {
                switch argument {
                case "-m", "--more":
                    verbose = true
                    names = true
                case "--names": names = true
                case "--no-names": names = false
                default: bridge = argument
                }
            }
            guard let bridge, let target = findSwitch(bridge) else { return .error("no such bridge") }
            let ours = Set(target.portsInOrder.compactMap(\.datapathPort))
            return .ok(
                dumpFlows(target.backer.dpif, verbose: verbose, names: names) { ours.contains($0.key.inPort) })
        }
    }

    private func show(_ target: OpenFlowSwitch) -> String {
        var out = "  \(target.name):\n"
        let ports = target.portsInOrder.sorted { $0.name < $1.name }
        for port in ports {
            let odp = port.datapathPort.map(String.init) ?? "none"
            out += "    \(port.name) \(port.number.rawValue)/\(odp): (\(port.device.type)"
            var options = fabric.options(port.name)
            if port.tunnel != nil { options = TunnelSettings.shown(type: port.device.type, options: options) }
            if !options.isEmpty {
                out += ": " + options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
            }
            out += ")\n"
        }
        return out
    }

    /// Shows what is in force and what the datapath could do, or puts something else in force.
    private func setFeature(_ args: [String]) -> UnixctlReply {
        guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
        let (now, possible) = (target.backer.capabilities, target.backer.dpif.capabilities)
        func line(_ row: CapabilityRow) -> String {
            "\(row.name) (\(row.title)) : [run time]:\(row.value(now)), [boot time]:\(row.value(possible))\n"
        }
        let rows = CapabilityRow.all.filter(\.isStandard)
        if args.count == 1 {
            var order = HashTableOrder<CapabilityRow>()
            for row in rows { order.insert(row, hash: MurmurHash.bytes(Array(row.name.utf8), basis: 0)) }
            return .ok(order.elements.map(line).joined())
        }
        guard let row = rows.first(where: { $0.name == args[1] }) else { return .ok("Unexpected support field") }
        guard args.count == 3 else { return .ok(line(row)) }
        let beyond = UnixctlReply.ok("Can not set value beyond the datapath capability")
        switch row.member {
        case .flag(let path):
            guard let wanted = Bool(args[2].lowercased()) else { return .ok("Boolean value expected") }
            guard !wanted || possible[keyPath: path] else { return beyond }
            target.backer.capabilities[keyPath: path] = wanted
        case .count(let path):
            guard let n = Int(args[2]), n >= 0 else { return .ok("Integer number expected") }
            guard n <= possible[keyPath: path] else { return beyond }
            target.backer.capabilities[keyPath: path] = n
        }
        target.backer.changed()
        return .ok("")
    }

    /// What a flow has counted, as text.
    func statisticsText(_ stats: DpFlowStats) -> String {
        var out = "packets:\(stats.packets), bytes:\(stats.bytes), used:"
        if let used = stats.used {
            let age = max(0, fabric.time.now - used)
            let thousandths = String(age % 1000)
            out += "\(age / 1000).\(String(repeating: "0", count: 3 - thousandths.utf8.count))\(thousandths)s"
        } else {
            out += "never"
        }
        if stats.tcpFlags != 0 { out += ", flags:" + tcpFlagLetters(stats.tcpFlags) }
        return out
    }

    /// Bytes of a flow's line, more often than not, and of how many flows they are set aside.
    private static let usualLine = 224
    private static let mostReserved: UInt64 = 1 << 20

    /// A datapath's flows as text, a line each, after a heading where there are any. What changed before is heeded by them.
    func dumpFlows(
        _ dpif: any Dpif, verbose: Bool, names: Bool, heading: String = "", where wanted: (DpFlow) -> Bool = { _ in true }
    ) -> String {
        for backer in fabric.backers.values where backer.dpif === dpif { backer.catchUp() }
        let portName: (UInt32) -> String? = { names ? dpif.port($0)?.name : nil }
        let formatter = ODPFormatter(verbose: verbose, portName: portName)
        var out = ""
        dpif.dumpFlows { flow in
            guard wanted(flow) else { return true }
            if out.isEmpty {
                out = heading
                // A long text that grows is copied as often as it doubles, and each copy is memory that was not touched before.
                out.reserveCapacity(Int(clamping: min(dpif.stats.flows, Self.mostReserved)) * Self.usualLine)
            }
            if verbose { out += "ufid:\(flow.ufid), " }
            out += formatter.text(key: flow.key, mask: flow.mask) + ", " + statisticsText(flow.stats)
            if verbose { out += ", dp:ovs" }
            out += ", actions:" + DpAction.text(flow.actions, portName: portName)
            if verbose { out += ", dp-extra-info:miniflow_bits(\(miniflowBits(flow.mask)))" }
            out += "\n"
            return true
        }
        return out
    }

    private func tcpFlagLetters(_ flags: UInt16) -> String {
        let letters: [(UInt16, String)] = [
            (2, "S"), (1, "F"), (8, "P"), (4, "R"), (0x20, "U"), (0x10, "."), (0x40, "E"), (0x80, "C"), (0x100, "N"),
        ]
        let reserved = (9..<12).map { UInt16(1) << $0 }.filter { flags & $0 != 0 }.map { "[\(String($0, radix: 16))]" }
        return letters.filter { flags & $0.0 != 0 }.map(\.1).joined() + reserved.joined()
    }

    private func miniflowBits(_ mask: FlowMask) -> String {
        // As the real daemon groups the fields into words; it has none for the packet's type.
        var halves = (0, 0)
        var bits = mask.bits
        bits.packetType = 0
        let state = [Location.recircID, Location.ctState, Location.ctZone, Location.ctNwProto]
        if state.contains(where: { !mask.isWild($0) }) { halves.0 += 1 }
        for l in state { bits[l] = 0 }
        for i in 0..<FlowKey.wordCount where bits.words[i] != 0 {
            if i < FlowStage.l3.words.lowerBound { halves.0 += 1 } else { halves.1 += 1 }
        }
        return "\(halves.0),\(halves.1)"
    }
}
