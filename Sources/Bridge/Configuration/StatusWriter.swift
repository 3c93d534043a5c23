// Writes back what became of the configuration: numbers, states, errors and counters of interfaces, identities of
// bridges, and cur_cfg. One transaction is under way at a time; what changes meanwhile goes with the next.
//
// ovs-vsctl waits for cur_cfg, so that it goes first, with what ports and bridges are; what they count and what protocols say
// follows at once.

import Dpif
import Flow
import Glibc
import Netdev
import Ofproto
import OVSDB

/// Reports to the database. Confined to the main thread.
final class StatusWriter {
    private unowned let configurator: BridgeConfigurator
    /// Open_vSwitch.next_cfg of the configuration in force.
    private var configuration: Int64?
    private var isWriting = false
    /// The configuration in force is not yet announced; or it is, and the database has not answered.
    private var announcement: Announcement?
    private enum Announcement { case due, sent }
    private var wantsStatus = false
    private var wantsStatistics = false
    /// The state of the devices when it was last reported.
    private var reported: UInt64 = 0
    private var lastStatistics: Int64 = 0
    private var lastControllers: UInt64 = 0
    private var retryAt: Int64 = 0
    private let system = SystemStatistics()

    init(_ configurator: BridgeConfigurator) { self.configurator = configurator }

    private var client: OVSDBClient { configurator.client }
    private var fabric: SwitchFabric { configurator.fabric }

    /// The configuration is in force: all is to be reported.
    func configured(_ root: OVSDBRow) {
        configuration = root.integer("next_cfg")
        announcement = .due
        wantsStatus = true
        wantsStatistics = true
    }

    /// Reports what has changed.
    func run() {
        let now = fabric.time.now
        var changes = configurator.controllers.changeCount
        for device in fabric.devices.values { changes &+= device.changeCount }
        for target in fabric.switches.values { changes &+= target.statusChangeCount }
        if changes != reported {
            reported = changes
            wantsStatus = true
        }
        if now >= lastStatistics + statisticsInterval || now < lastStatistics { wantsStatistics = true }
        guard wantsStatus || wantsStatistics, !isWriting, !configurator.isReconfiguring, client.isConnected, client.hasLock, now >= retryAt
        else { return }
        if announcement == .due {
            announce()
            configurator.onWake?()
        } else {
            write(now)
        }
    }

    /// Says that the configuration is in force.
    private func announce() {
        guard let root = client.singleton("Open_vSwitch"), let configuration else { return }
        let transaction = client.transaction()
        for (id, row) in client.rows("Interface") {
            switch configurator.outcomes[id] {
            case .open(let port)?: transaction.set(row, Self.state(of: port))
            case .failed(let text)?: transaction.set(row, Self.failure(text))
            case nil: break
            }
        }
        setBridges(transaction)
        transaction.set(root, ["cur_cfg": .integer(configuration)])
        announcement = .sent
        transaction.commit { [weak self] status in
            guard let self else { return }
            if announcement == .sent { announcement = nil }
            switch status {
            case .success, .unchanged: break
            case .tryAgain, .notLocked:
                wantsStatus = true
                retryAt = fabric.time.now + 100
            case .error(let error): BridgeConfigurator.log.warn("could not write the configuration's number: \(error)")
            }
        }
    }

    /// Milliseconds, at least 5000.
    private var statisticsInterval: Int64 {
        let config = client.singleton("Open_vSwitch")?.map("other_config") ?? [:]
        return Int64(config.integer("stats-update-interval", default: 5000, in: 5000...Int(Int32.max)))
    }

    private func write(_ now: Int64) {
        guard let root = client.singleton("Open_vSwitch") else { return }
        let transaction = client.transaction()
        let counts = wantsStatistics
        (wantsStatus, wantsStatistics, isWriting) = (false, false, true)
        if counts { lastStatistics = now }
        for (id, row) in client.rows("Interface") { transaction.set(row, columns(of: configurator.outcomes[id], counts)) }
        if announcement == nil { setBridges(transaction) }
        for (_, bridge) in configurator.bridges {
            guard let row = client.row("Bridge", bridge.id) else { continue }
            transaction.set(row, SpanningTreeStatus.columns(of: bridge.target))
            setControllers(bridge, transaction)
            setPorts(bridge, row, transaction, counts)
            if counts { setMirrors(bridge, row, transaction) }
        }
        if !configurator.bridges.isEmpty || configurator.isConfigured { clearLostBridges(transaction) }
        if let managerStatus = configurator.managerStatus {
            for row in client.rows("Manager").values {
                if let isConnected = managerStatus(row.string("target")) {
                    transaction.set(row, ["is_connected": .bool(isConnected)])
                }
            }
        }
        for (type, id) in root.namedUUIDs("datapaths") {
            guard let row = client.row("Datapath", id), let backer = fabric.backers[type] else { continue }
            transaction.set(row, ["capabilities": .map(backer.capabilities.databaseColumn)])
        }
        setRoot(root, transaction, counts)
        transaction.commit { [weak self] status in
            guard let self else { return }
            isWriting = false
            switch status {
            case .success, .unchanged: break
            case .tryAgain, .notLocked:
                // What was not written is written again.
                wantsStatus = true
                wantsStatistics = wantsStatistics || counts
                retryAt = fabric.time.now + 100
            case .error(let error): BridgeConfigurator.log.warn("could not write status: \(error)")
            }
            run()
        }
    }

    /// Which bridges there are, and what they are called outside.
    private func setBridges(_ transaction: OVSDBTransaction) {
        for (_, bridge) in configurator.bridges {
            guard let row = client.row("Bridge", bridge.id) else { continue }
            transaction.set(
                row,
                [
                    "datapath_id": .string(hex16(bridge.target.datapathID)),
                    "datapath_version": .string(bridge.target.backer.dpif.type == "system" ? "<unknown>" : "<built-in>"),
                ])
        }
    }

    private func clearLostBridges(_ transaction: OVSDBTransaction) {
        let made = Set(configurator.bridges.values.map(\.id))
        for (id, row) in client.rows("Bridge") where !made.contains(id) {
            transaction.set(row, ["datapath_id": OVSDBDatum(), "datapath_version": .string("")])
        }
    }

    private func setPorts(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ transaction: OVSDBTransaction, _ counts: Bool) {
        for id in row.uuids("ports") {
            guard let port = client.row("Port", id) else { continue }
            let bond = bridge.target.bundles[port.string("name")]?.bond
            let active = bond.map { AddressText.mac($0.active?.port.device.macAddress ?? 0) }
            transaction.set(port, ["bond_active_slave": .optional(active)])
            setTrunks(bridge, port, transaction)
            transaction.set(port, SpanningTreeStatus.columns(ofPort: port.string("name"), on: bridge.target, counts: counts))
        }
    }

    /// Auto Attach has the VLANs that it maps to services trunked by the ports that speak LLDP.
    private func setTrunks(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ transaction: OVSDBTransaction) {
        let name = row.string("name")
        let agent = bridge.target.bundles[name]?.ports.first?.lldp
        let wanted = Set(agent?.settings.mappings.map { Int64($0.vlan) } ?? [])
        let applied = bridge.autoAttachVLANs[name] ?? []
        guard wanted != applied else { return }
        bridge.autoAttachVLANs[name] = wanted
        let trunks = Set(row.integers("trunks")).subtracting(applied.subtracting(wanted)).union(wanted)
        transaction.set(row, ["trunks": .integers(trunks.sorted())])
    }

    private func setMirrors(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ transaction: OVSDBTransaction) {
        bridge.target.backer.synchronise()
        for id in row.uuids("mirrors") {
            guard let mirrorRow = client.row("Mirror", id),
                let mirror = bridge.target.mirrors.first(where: { $0.settings.name == mirrorRow.string("name") })
            else { continue }
            let counters = ["tx_packets": mirror.packetCount, "tx_bytes": mirror.byteCount]
            transaction.set(mirrorRow, ["statistics": .map(counters.mapValues { Int64(clamping: $0) })])
        }
    }

    private func setControllers(_ bridge: ConfiguredBridge, _ transaction: OVSDBTransaction) {
        let states = configurator.controllers.status(bridge.target)
        for target in bridge.controllers.controllers {
            let state = states[target.id] ?? ControllerStatus()
            let role: String? =
                switch state.role {
                case "primary": "master"
                case "secondary": "slave"
                default: state.role
                }
            transaction.set("Controller", target.id, "is_connected", .bool(state.isConnected))
            transaction.set("Controller", target.id, "role", .optional(role))
            transaction.set("Controller", target.id, "status", .map(state.status))
        }
    }

    private func setRoot(_ root: OVSDBRow, _ transaction: OVSDBTransaction, _ counts: Bool) {
        var columns: [String: OVSDBDatum] = [
            "datapath_types": .strings(fabric.registry.types),
            "iface_types": .strings(fabric.factory.types),
            "dpdk_initialized": .bool(fabric.registry.status.dpdkInitialized),
            "dpdk_version": .optional(fabric.registry.status.dpdkVersion),
        ]
        if announcement == nil, let configuration { columns["cur_cfg"] = .integer(configuration) }
        if counts {
            let wanted = root.map("other_config").bool("enable-statistics")
            columns["statistics"] = .map(wanted ? system.read() : [:])
        }
        if configurator.settings.ownsDatabase {
            columns["ovs_version"] = .optional(DaemonIdentity.release)
            columns["db_version"] = .optional(client.schema?.version)
            let identity = SystemStatistics.identity
            columns["system_type"] = .optional(identity.type)
            columns["system_version"] = .optional(identity.version)
        }
        transaction.set(root, columns)
    }

    // MARK: Interfaces

    private func columns(of outcome: InterfaceOutcome?, _ counts: Bool) -> [String: OVSDBDatum] {
        let port: SwitchPort
        switch outcome {
        // What no bridge wants, or none that there is, stays as it was.
        case nil: return [:]
        case .failed(let text)?:
            var columns = announcement == nil ? Self.failure(text) : [:]
            columns["statistics"] = OVSDBDatum()
            return columns
        case .open(let open)?: port = open
        }
        var columns: [String: OVSDBDatum] = [
            "bfd_status": .map(Self.status(port.bfd)),
            "lacp_current": .optional(port.bundle?.lacp?.member(port).map { $0.status != .defaulted }),
        ]
        if announcement == nil { columns.merge(Self.state(of: port)) { $1 } }
        columns["cfm_fault"] = .optional(port.cfm?.isFaulty)
        columns["cfm_fault_status"] = .strings(port.cfm?.faults.names ?? [])
        columns["cfm_flap_count"] = .optional(port.cfm.map { Int64(clamping: $0.flapCount) })
        columns["cfm_health"] = .optional(port.cfm?.health.map(Int64.init))
        columns["cfm_remote_mpids"] = .integers(port.cfm.map { $0.remotes.keys.map { Int64(clamping: $0) } } ?? [])
        columns["cfm_remote_opstate"] = .optional(
            port.cfm.flatMap { $0.settings.isExtended && !$0.remotes.isEmpty ? ($0.remoteIsUp ? "up" : "down") : nil })
        if counts {
            var counters = port.stats.byName
            if let extra = port.device as? any ExtraCounters { counters.merge(extra.extraCounters) { _, new in new } }
            columns["statistics"] = .map(counters.mapValues { Int64(clamping: $0) })
        }
        return columns
    }

    /// Interface.bfd_status.
    private static func status(_ bfd: BFD?) -> [String: String] {
        guard let bfd else { return [:] }
        return [
            "forwarding": String(bfd.isForwarding), "state": bfd.state.text, "remote_state": bfd.remote.state.text,
            "diagnostic": BFDPacket.text(diagnostic: bfd.diagnostic),
            "remote_diagnostic": BFDPacket.text(diagnostic: bfd.remote.diagnostic), "flap_count": String(bfd.flapCount),
        ]
    }

    /// What is announced of an interface that could not become a port.
    private static func failure(_ text: String) -> [String: OVSDBDatum] {
        var columns: [String: OVSDBDatum] = ["ofport": .integer(-1), "error": .optional(text)]
        for name in ["mac_in_use", "admin_state", "link_state", "link_speed", "duplex", "mtu", "ifindex", "link_resets", "status"] {
            columns[name] = OVSDBDatum()
        }
        return columns
    }

    /// What is announced of a port: its number, and what its device is like.
    private static func state(of port: SwitchPort) -> [String: OVSDBDatum] {
        let device = port.device
        let speed = device.features.current.fastest
        return [
            "ofport": .integer(port.number.rawValue),
            "error": .optional(problem(port)),
            "mac_in_use": .optional(AddressText.mac(device.macAddress)),
            "admin_state": .optional(device.isAdminUp ? "up" : "down"),
            "link_state": .optional(device.isLinkUp ? "up" : "down"),
            "link_speed": .optional(speed.map { Int64($0.bitsPerSecond) }),
            "duplex": .optional(speed.map { $0.isFull ? "full" : "half" }),
            "mtu": .optional(device.mtu > 0 ? Int64(device.mtu) : nil),
            "ifindex": .optional(Int64(device.interfaceIndex)),
            "link_resets": .optional(Int64(clamping: device.linkResets)),
            "status": .map(device.status),
        ]
    }

    private static func problem(_ port: SwitchPort) -> String? {
        guard port.isPatch, port.peer == nil else { return nil }
        return "No usable peer '\(port.peerName ?? "")' exists in '\(port.owner.backer.dpif.type)' datapath."
    }
}
