// What else OpenFlow connections ask of a switch: fragment handling, hidden flows, continuations.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// Sets how IP fragments are matched. What is cached no longer holds then.
    public func setFragmentHandling(_ handling: FragmentHandling) {
        guard handling != fragmentHandling else { return }
        fragmentHandling = handling
        backer.changed()
    }

    /// Removes a flow that `addHiddenFlow` installed.
    public func removeHiddenFlow(_ match: Match, priority: Int) {
        settle()
        guard let rule = tables[0].find(match, priority: priority), rule.isHidden else { return }
        uninstall(rule, nil)
    }

    /// Goes on with a packet that a `controller(pause)` action stopped.
    public func resume(_ request: Resume, version: OFVersion) throws(OFError) {
        let rest = try Continuation(request.continuation, context: ActionContext(version: version, tunnelOptions: tunnelOptions))
        guard let target = backer.switches.first(where: { $0.identity == rest.bridge }) else { throw .nxrStale }
        var packet = Packet(request.data)
        var key = request.metadata.key
        let port = OFPort(key.inPort)
        key.inPort = rest.datapathPort ?? target.port(port)?.datapathPort ?? .max
        key.extract(from: &packet)
        let state = FrozenState(
            switchID: target.id, table: request.table, inPort: port.rawValue, metadata: key.metadata,
            registers: (0..<16).map { key.reg($0) }, tunnelID: key.tunID, stack: rest.stack, steps: rest.steps,
            actionSet: rest.actionSet, conntracked: rest.conntracked, cookie: request.cookie)
        // The datapath asks about the packet again, as after a recirculation.
        key.metadata = 0
        for n in 0..<16 { key[Location.reg(n)] = 0 }
        try? backer.dpif.execute(packet, metadata: key, actions: [.recirc(backer.recirculation.id(for: state))])
    }

    /// Forgets tracked connections. One that is named whole and not there is no error.
    public func flushConntrack(_ request: ConntrackFlush) {
        guard let conntrack = backer.dpif.conntrack else { return }
        guard request.original != nil || request.reply != nil || request.proto != 0 else {
            conntrack.flush(zone: request.zone)
            return
        }
        func pattern(_ t: ConntrackFlush.Tuple?) -> ConntrackPattern {
            var p = ConntrackPattern()
            p.tuple.proto = request.proto
            guard let t else { return p }
            // IPv4 comes mapped.
            p.tuple.isIPv6 = [t.source, t.destination].contains { $0.map { $0 >> 32 != 0xffff } ?? false }
            func address(_ a: UInt128?) -> UInt128 { a.map { p.tuple.isIPv6 ? $0 : $0 & 0xffff_ffff } ?? 0 }
            (p.tuple.source, p.tuple.destination) = (address(t.source), address(t.destination))
            (p.tuple.sourcePort, p.tuple.destinationPort) = (t.sourcePort ?? 0, t.destinationPort ?? 0)
            (p.tuple.icmpType, p.tuple.icmpCode, p.tuple.icmpID) = (t.icmpType ?? 0, t.icmpCode ?? 0, t.icmpID ?? 0)
            if t.icmpType != nil { p.named.insert(.icmpType) }
            if t.icmpCode != nil { p.named.insert(.icmpCode) }
            if t.icmpID != nil { p.named.insert(.icmpID) }
            return p
        }
        try? conntrack.flush(original: pattern(request.original), reply: request.reply.map { pattern($0) }, zone: request.zone)
    }
}
