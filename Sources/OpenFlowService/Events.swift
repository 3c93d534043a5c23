// What goes out on its own: packets for controllers, port status, removed flows, vacancy.

import Dpif
import Flow
import OpenFlow
import Ofproto

extension OpenFlowConnection {
    /// Whether the connection is one that messages go to on their own: tools must ask for them, by setting how much of a
    /// packet they want.
    var hearsEvents: Bool {
        version != nil && isOpen && purpose != .snoop && (purpose == .primary || missSendLength != 0)
    }

    /// Whether the connection gets a kind of message for a reason (as the version numbers it).
    func wantsAsync(_ kind: AsyncConfig.Kind, reason: UInt8) -> Bool {
        guard hearsEvents else { return false }
        return async.wants(kind, reason: reason, role: role)
    }
}

extension OpenFlowService {
    // MARK: Packets

    func packetIn(_ event: PacketInEvent) {
        for connection in connections where connection.controllerID == event.controllerID {
            guard let version = connection.version else { continue }
            let message = packet(event, for: connection)
            guard connection.wantsAsync(.packetIn, reason: message.wireReason(version)) else { continue }
            let bytes = message.encode(
                version: version, format: connection.packetInFormat, tunnelOptions: tlv.map)
            connection.limitPacketIn(bytes, inPort: event.flow.inPort, isMiss: message.wireReason(version) == 0)
        }
    }

    private func packet(_ event: PacketInEvent, for connection: OpenFlowConnection) -> PacketIn {
        var p = PacketIn()
        p.totalLength = event.packet.count
        p.reason = event.reason
        p.table = event.table
        p.cookie = event.cookie
        p.userdata = event.userdata
        p.continuation = event.continuation?.encode(version: connection.version ?? .v10) ?? []
        p.metadata = Self.metadata(event.flow)
        // Packets are not kept for later, so controllers get them whole, whatever length they asked for.
        p.data = event.packet
        return p
    }

    /// The fields of a packet that are not in its bytes.
    static func metadata(_ flow: FlowKey) -> Match {
        var match = Match()
        match.set(Location.inPort, UInt128(flow.inPort))
        for location in [
            Location.metadata, Location.pktMark, Location.dpHash, Location.recircID, Location.tunID, Location.tunSrc,
            Location.tunDst, Location.tunIPv6Src, Location.tunIPv6Dst,
        ] where location != Location.dpHash && location != Location.recircID {
            let value = flow[location]
            if value != 0 { match.set(location, value) }
        }
        for n in 0..<16 where flow.reg(n) != 0 { match.set(Location.reg(n), UInt128(flow.reg(n))) }
        if flow.ctState != 0 {
            match.set(Location.ctState, UInt128(flow.ctState))
            for location in [Location.ctZone, Location.ctMark, Location.ctLabel] {
                let value = flow[location]
                if value != 0 { match.set(location, value) }
            }
        }
        return match
    }

    // MARK: Events

    func event(_ event: SwitchEvent) {
        switch event {
        case .portAdded(let port): portStatus(port, 0)
        case .portDeleted(let port): portStatus(port, 1)
        case .portModified(let port): portStatus(port, 2)
        case .flowAdded(let rule, let replaced): monitorFlow(rule, .added, old: replaced?.actions)
        case .flowModified(let rule, let old): monitorFlow(rule, .modified, old: old)
        case .flowRemoved(let rule, let cause):
            monitorFlow(rule, .deleted, cause: cause)
            flowRemoved(rule, cause)
        case .vacancyDown(let table): tableStatus(table, 3)
        case .vacancyUp(let table): tableStatus(table, 4)
        }
    }

    private func portStatus(_ port: SwitchPort, _ reason: UInt8) {
        for connection in connections {
            guard let version = connection.version, connection.wantsAsync(.portStatus, reason: reason) else { continue }
            connection.send(PortDescription(port, version: version).status(version: version, reason: reason))
        }
    }

    private func flowRemoved(_ rule: Rule, _ cause: FlowRemovedCause) {
        guard rule.flags.contains(.sendFlowRemoved), !rule.isHidden else { return }
        var message = FlowRemoved()
        message.match = rule.match
        message.priority = UInt16(clamping: rule.priority)
        message.cookie = rule.cookie
        message.reason = FlowRemoved.Reason(rawValue: cause.rawValue) ?? .delete
        message.table = rule.tableID
        let age = max(0, owner.time.now - rule.created)
        message.durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
        message.durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
        message.idleTimeout = rule.idleTimeout
        message.hardTimeout = rule.hardTimeout
        message.packetCount = rule.packetCount
        message.byteCount = rule.byteCount
        for connection in connections {
            guard let version = connection.version, connection.wantsAsync(.flowRemoved, reason: cause.rawValue) else {
                continue
            }
            connection.send(
                message.encode(version: version, nicira: connection.usesNXM, tunnelOptions: tlv.map))
        }
    }

    private func tableStatus(_ table: FlowTable, _ reason: UInt8) {
        for connection in connections {
            guard let version = connection.version, version >= .v14,
                connection.wantsAsync(.tableStatus, reason: reason)
            else { continue }
            connection.send(TableConfig(table).status(version: version, reason: reason))
        }
    }
}
