// The configuration: follows the Open_vSwitch database, makes the switch what its rows say, and writes back what became
// of them.
//
// A change of the database leads to one pass over all rows (`begin`, then `advance` for each step): bridges and ports that
// are no longer wanted go, then new ones come, then every setting is applied. `StatusWriter` then reports in one transaction
// together with `cur_cfg`, which is what ovs-vsctl waits for. A pass that takes long leaves gaps, in which others get answers.

import Dpif
import Glibc
import Netdev
import NIOCore
import Ofproto
import OpenFlow
import OpenFlowService
import OVSDB
import Vlog

/// A bridge made from a row. Confined to the main thread.
final class ConfiguredBridge {
    let target: OpenFlowSwitch
    var id: UUID
    /// The address of the local port when nothing else suggests one.
    let defaultAddress: UInt64
    var address: UInt64
    /// The fail mode in force and whether there are controllers; nil before the first configuration.
    var control: (mode: FailMode, hasControllers: Bool)?
    var controllers: ControllerConfiguration
    var tables: [UInt8: TableSettings] = [:]
    var addressSource = ""
    /// Where NetFlow records go.
    let collectors = Collectors()
    /// Where sFlow's samples go.
    let sFlowCollectors = Collectors()
    /// Where IPFIX goes: the bridge's own exporter's, and those of sets of collectors by their numbers.
    var ipfixCollectors: [UInt32?: Collectors] = [:]
    /// VLANs that Auto Attach has put into the trunks of ports.
    var autoAttachVLANs: [String: Set<Int64>] = [:]

    init(_ target: OpenFlowSwitch, id: UUID, runDirectory: String) {
        self.target = target
        self.id = id
        // Locally administered, unicast.
        defaultAddress = UInt64.random(in: 0...0xffff_ffff_ffff) & ~0x0100_0000_0000 | 0x0200_0000_0000
        address = defaultAddress
        controllers = ControllerConfiguration(
            managementSocket: "\(runDirectory)/\(target.name).mgmt", snoopSocket: "\(runDirectory)/\(target.name).snoop")
    }
}

/// What became of an Interface row.
enum InterfaceOutcome {
    case open(SwitchPort)
    case failed(String)

    /// There is no interface of the name.
    var isMissing: Bool { if case .failed(let text) = self { text.hasSuffix("(\(DpifError.reason(ENODEV)))") } else { false } }
}

/// Settings of the configuration that do not come from the database.
public struct ConfiguratorSettings: Sendable {
    /// Where sockets are made.
    public var runDirectory: String
    /// The database is this daemon's own: it is initialised when it is empty.
    public var ownsDatabase = false
    /// Where the database says nothing of TLS.
    public var tls = TLSSettings()
    public init(runDirectory: String) { self.runDirectory = runDirectory }
}

/// Drives a `SwitchFabric` from a database. Confined to the main thread.
public final class BridgeConfigurator {
    static let log = Vlog.module("bridge")
    private static let lockName = "ovs_vswitchd"

    public let client: OVSDBClient
    public let fabric: SwitchFabric
    public let controllers: any ControllerManager
    public let settings: ConfiguratorSettings
    /// Called once, when the database has been configured for the first time.
    public var onFirstConfiguration: (() -> Void)?
    /// Called after each pass over the configuration.
    public var onConfigured: (() -> Void)?
    /// Whether there is a connection to a Manager row's target, for a database that this daemon serves; nil for a
    /// target that it does not look after.
    public var managerStatus: ((_ target: String) -> Bool?)?
    /// Called when work is to be done soon.
    public var onWake: (() -> Void)?

    /// Who shapes and polices interfaces; nil: nobody.
    public var shaper: (any TrafficShaping)? { didSet { quality = shaper.map { QualityOfService($0, time: fabric.time) } } }
    private var quality: QualityOfService?
    /// The discipline that an interface was given.
    func shaping(of name: String) -> ShapingSettings? { quality?.shaping(of: name) }

    var bridges: [String: ConfiguredBridge] = [:]
    var outcomes: [UUID: InterfaceOutcome] = [:]
    /// Which bridge has an interface.
    var owners: [String: String] = [:]
    private(set) var writer: StatusWriter!
    private var isStale = false
    /// The pass under way; it is completed with the rows that it began with, whatever the database says meanwhile.
    private var pass: ConfigurationPass?
    var isReconfiguring: Bool { pass != nil }
    /// For how long a pass goes on before others get their turn.
    private static let slice = Duration.milliseconds(10)
    /// How many bridges of this pass sample for sFlow.
    var sampledBridges: UInt32 = 0
    private var wasContended = false
    public private(set) var isConfigured = false
    /// How often the configuration was read.
    public private(set) var configurationCount: UInt64 = 0

    static let followedTables = [
        "Open_vSwitch", "Bridge", "Port", "Interface", "Controller", "Manager", "Flow_Table", "QoS", "Queue", "Mirror",
        "NetFlow", "sFlow", "IPFIX", "Flow_Sample_Collector_Set", "AutoAttach", "SSL", "Datapath", "CT_Zone",
        "CT_Timeout_Policy",
    ]

    /// Columns whose changes alone are of no interest: this daemon writes them itself.
    private static let silent: [String: Set<String>] = [
        "Open_vSwitch": [
            "cur_cfg", "statistics", "datapath_types", "iface_types", "dpdk_initialized", "dpdk_version", "ovs_version",
            "db_version", "system_type", "system_version", "external_ids",
        ],
        "Bridge": ["datapath_id", "datapath_version", "status", "rstp_status", "external_ids"],
        "Port": ["statistics", "status", "rstp_status", "rstp_statistics", "bond_active_slave", "external_ids"],
        "Interface": [
            "ofport", "error", "mac_in_use", "admin_state", "link_state", "link_speed", "duplex", "mtu", "ifindex",
            "link_resets", "status", "statistics", "lacp_current", "cfm_fault", "cfm_fault_status",
            "cfm_remote_mpids", "cfm_flap_count", "cfm_health", "cfm_remote_opstate", "bfd_status", "external_ids",
        ],
        "Controller": ["is_connected", "role", "status", "external_ids"],
        "Manager": ["is_connected", "status", "external_ids"],
        "Datapath": ["capabilities", "external_ids"],
    ]

    public init(
        remote: OVSDBRemote, fabric: SwitchFabric, controllers: any ControllerManager, settings: ConfiguratorSettings,
        eventLoop: any EventLoop
    ) {
        self.fabric = fabric
        self.controllers = controllers
        self.settings = settings
        var selections: [String: OVSDBTableSelection] = [:]
        for table in Self.followedTables {
            selections[table] = OVSDBTableSelection(silent: Self.silent[table] ?? [])
        }
        client = OVSDBClient(remote: remote, tables: selections, eventLoop: eventLoop)
        writer = StatusWriter(self)
        fabric.onPortLost = { [unowned self] port in
            owners[port.name] = nil
            requestReconfiguration()
        }
        client.onChange = { [unowned self] _ in
            requestReconfiguration()
        }
        client.onStateChange = { [unowned self] in
            noteLock()
            if client.isConnected { isStale = true }
            run()
        }
    }

    /// Starts following the database.
    public func start() {
        client.setLock(Self.lockName)
        client.start()
    }

    /// Stops, and closes the connections of bridges; what forwards stays as it is.
    public func stop() {
        client.stop()
        pass = nil
        for bridge in bridges.values { controllers.remove(bridge.target) }
        bridges = [:]
    }

    /// Takes all bridges out of service (`exit --cleanup`).
    public func destroyAll() {
        pass = nil
        for name in bridges.keys.sorted() { destroy(name) }
    }

    /// Has the configuration read again, for instance because a device appeared.
    public func requestReconfiguration() {
        isStale = true
        onWake?()
    }

    private func noteLock() {
        if client.isLockContended, !wasContended {
            Self.log.err("another ovs-vswitchd process is running, disabling this process (pid \(getpid())) until it goes away")
            destroyAll()
            outcomes = [:]
        }
        wasContended = client.isLockContended
    }

    /// Does what is due.
    public func run() {
        // An interface that was missing may be there now.
        if seenLinks != KernelLinks.changeCount {
            seenLinks = KernelLinks.changeCount
            if outcomes.values.contains(where: \.isMissing) { isStale = true }
        }
        let start = ContinuousClock.now
        if pass == nil, client.hasLock, client.isConnected, isStale {
            guard let root = client.singleton("Open_vSwitch") else {
                if settings.ownsDatabase { initialiseDatabase() }
                return
            }
            isStale = false
            begin(root)
        }
        if pass != nil {
            while let pass, ContinuousClock.now - start < Self.slice { advance(pass) }
            // Others get their turn before the rest, and before the report.
            onWake?()
            return
        }
        guard isConfigured else { return }
        writer.run()
    }

    private var seenLinks: UInt64 = 0

    private func initialiseDatabase() {
        let transaction = client.transaction()
        transaction.insert("Open_vSwitch", [:])
        transaction.comment("vswitchd: initialised database")
        transaction.commit { [weak self] status in
            // Another client may have been faster, which is as good.
            guard status != .success, self?.client.singleton("Open_vSwitch") == nil else { return }
            Self.log.warn("could not initialise the database: \(status)")
        }
    }

    // MARK: Reconfiguration

    /// Begins a pass: what is no longer wanted goes at once, what is new and all settings follow in steps.
    private func begin(_ root: OVSDBRow) {
        configurationCount += 1
        fabric.settle()
        configureGlobally(root)
        let rows = root.uuids("bridges").compactMap { client.row("Bridge", $0) }
            .filter { row in
                let name = row.string("name")
                if !name.isEmpty, !name.contains("/"), name != ".", name != ".." { return true }
                Self.log.warn("ignoring bridge with invalid name \"\(name)\"")
                return false
            }
            .sorted { $0.string("name") < $1.string("name") }
        let wantedRows = Dictionary(rows.map { ($0.string("name"), $0) }, uniquingKeysWith: { first, _ in first })
        for (name, bridge) in bridges.sorted(by: { $0.key < $1.key }) {
            if let row = wantedRows[name],
                bridge.target.backer.dpif.type == fabric.registry.normalise(row.string("datapath_type"))
            {
                bridge.id = row.uuid
            } else {
                destroy(name)
            }
        }
        outcomes = [:]
        var claimed: [String: String] = [:]
        var wanted: [String: [PortRecord]] = [:]
        for row in rows { wanted[row.string("name")] = ports(of: row, &claimed) }
        for (name, bridge) in bridges { removeUnwantedPorts(bridge, wanted[name] ?? []) }
        sampledBridges = 0
        pass = ConfigurationPass(root: root, bridges: rows, wanted: wanted)
    }

    /// Takes the next step of the pass under way.
    private func advance(_ pass: ConfigurationPass) {
        switch pass.next() {
        case .makeBridge(let row):
            if bridges[row.string("name")] == nil { create(row, pass.ports(of: row)) }
        case .findPorts(let row):
            guard let bridge = bridges[row.string("name")] else { break }
            pass.insert(missingPorts(bridge, pass.ports(of: row)).map { .addPort($0, bridge) })
        case .addPort(let record, let bridge): addPort(record, to: bridge)
        case .configure(let row):
            guard let bridge = bridges[row.string("name")] else { break }
            configure(bridge, row, pass.ports(of: row))
        case nil:
            self.pass = nil
            finish(pass)
        }
    }

    private func finish(_ pass: ConfigurationPass) {
        configureDatapaths(pass.root)
        configureQuality(pass.wanted)
        if !isConfigured {
            isConfigured = true
            Self.log.info("\(DaemonIdentity.version)")
            onFirstConfiguration?()
            onFirstConfiguration = nil
        }
        fabric.configured(waits: pass.root.map("other_config").bool("flow-restore-wait"))
        writer.configured(pass.root)
        onConfigured?()
        onWake?()
    }

    /// Completes what is done in steps, before somebody looks at it or changes it.
    public func settle() {
        while let pass { advance(pass) }
        fabric.settle()
    }

    /// The other_config that the datapath providers have.
    private var appliedConfig: [String: String]?

    private func configureGlobally(_ root: OVSDBRow) {
        let config = root.map("other_config")
        var tls = settings.tls
        if let row = root.optionalUUID("ssl").flatMap({ client.row("SSL", $0) }) {
            tls.privateKey = row.string("private_key")
            tls.certificate = row.string("certificate")
            tls.caCertificate = row.string("ca_cert")
            tls.bootstraps = row.bool("bootstrap_ca_cert")
        }
        controllers.configureTLS(tls)
        var cache = fabric.cacheSettings
        cache.flowLimit = config.integer("flow-limit", default: 200_000, in: 0...Int(UInt32.max))
        cache.maxIdle = Int64(config.integer("max-idle", default: 10_000, in: 0...Int(Int32.max)))
        cache.maxRevalidator = Int64(config.integer("max-revalidator", default: 500, in: 0...Int(Int32.max)))
        if cache != fabric.cacheSettings { fabric.cacheSettings = cache }
        if config != appliedConfig {
            appliedConfig = config
            for problem in fabric.registry.configure(config) { Self.log.err("other_config: \(problem.detail): \(problem.reason)") }
        }
        let limit = config.integer("vlan-limit", default: 1, in: 0...2)
        fabric.vlanLimit = limit == 0 ? 2 : limit
    }

    /// Gives interfaces the QoS of their rows.
    private func configureQuality(_ wanted: [String: [PortRecord]]) {
        guard let quality else { return }
        var names: Set<String> = []
        for record in wanted.values.joined() {
            for interface in record.interfaces {
                guard let row = interface.row, case .open(let port) = outcomes[row.uuid] else { continue }
                names.insert(interface.name)
                quality.configure(port.device, port: record.row, interface: row, client: client)
            }
        }
        quality.forget(except: names)
    }

    private func destroy(_ name: String) {
        guard let bridge = bridges.removeValue(forKey: name) else { return }
        for port in bridge.target.portsInOrder {
            Self.log.info("bridge \(name): deleted interface \(port.name) on port \(port.number.rawValue)")
            owners[port.name] = nil
        }
        controllers.remove(bridge.target)
        fabric.destroySwitch(bridge.target)
    }

    /// Makes a bridge. What kept it from being made is told of its interfaces, too.
    private func create(_ row: OVSDBRow, _ records: [PortRecord]) {
        let name = row.string("name")
        do {
            let target = try fabric.createSwitch(name: name, type: row.string("datapath_type"))
            bridges[name] = ConfiguredBridge(target, id: row.uuid, runDirectory: settings.runDirectory)
        } catch {
            Self.log.err("failed to create bridge \(name): \(error.reason)")
            // Of a type that there is, but not here.
            guard fabric.registry.provider(fabric.registry.normalise(row.string("datapath_type"))) != nil else { return }
            for interface in records.flatMap(\.interfaces) {
                if let row = interface.row { outcomes[row.uuid] = .failed("could not create bridge \(name): \(error)") }
            }
        }
    }

    // MARK: Ports

    /// The ports that a bridge wants, by name. An interface belongs to the first bridge that wants it.
    private func ports(of row: OVSDBRow, _ claimed: inout [String: String]) -> [PortRecord] {
        let bridge = row.string("name")
        var records: [PortRecord] = []
        for id in row.uuids("ports") {
            guard let port = client.row("Port", id) else { continue }
            var interfaces: [InterfaceRecord] = []
            for id in port.uuids("interfaces") {
                guard let interface = client.row("Interface", id) else { continue }
                let record = InterfaceRecord(interface, bridge: bridge)
                if let other = claimed[record.name] {
                    Self.log.warn("bridge \(bridge): \(record.name): interface is already in use by bridge \(other)")
                    continue
                }
                claimed[record.name] = bridge
                interfaces.append(record)
            }
            interfaces.sort { $0.name < $1.name }
            records.append(PortRecord(row: port, name: port.string("name"), interfaces: interfaces))
        }
        if claimed[bridge] == nil {
            claimed[bridge] = bridge
            records.append(PortRecord(name: bridge, interfaces: [InterfaceRecord(local: bridge)]))
        }
        return records.sorted { $0.name < $1.name }
    }

    /// The device type for an interface type on a bridge's datapath.
    private func deviceType(_ record: InterfaceRecord, on target: OpenFlowSwitch) -> String {
        fabric.registry.provider(target.backer.dpif.type)?.portType(record.type) ?? record.type
    }

    private func removeUnwantedPorts(_ bridge: ConfiguredBridge, _ records: [PortRecord]) {
        let target = bridge.target
        let wanted = Dictionary(
            records.flatMap(\.interfaces).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var doomed: Set<String> = []
        for port in target.portsInOrder {
            guard let record = wanted[port.name], port.device.type == deviceType(record, on: target) else {
                doomed.insert(port.name)
                continue
            }
            if record.options != fabric.configuredOptions(port.name) {
                do {
                    try fabric.configurePort(port, options: record.options)
                } catch {
                    doomed.insert(port.name)
                    continue
                }
            }
            guard port.number != .local, let requested = record.requested, requested != port.number.rawValue else { continue }
            // Whoever has the number gives it up, unless it asked for it, too.
            if let other = target.port(OFPort(requested)) {
                guard wanted[other.name]?.requested != requested else { continue }
                doomed.insert(other.name)
            }
            doomed.insert(port.name)
        }
        for name in doomed.sorted() {
            guard let port = target.port(named: name) else { continue }
            Self.log.info("bridge \(target.name): deleted interface \(name) on port \(port.number.rawValue)")
            fabric.removePort(port)
            owners[name] = nil
        }
    }

    /// The ports that are still to be opened, in the order in which they get their numbers.
    private func missingPorts(_ bridge: ConfiguredBridge, _ records: [PortRecord]) -> [InterfaceRecord] {
        let target = bridge.target
        var missing: [InterfaceRecord] = []
        for record in records.flatMap(\.interfaces) {
            if let port = target.port(named: record.name) {
                if let row = record.row { outcomes[row.uuid] = .open(port) }
            } else {
                missing.append(record)
            }
        }
        // First those that want a number, then those that had one, then the rest.
        func rank(_ record: InterfaceRecord) -> Int {
            record.name == target.name ? 0 : record.requested != nil ? 1 : record.previous != nil ? 2 : 3
        }
        return missing.sorted { (rank($0), $0.preferred ?? 0, $0.name) < (rank($1), $1.preferred ?? 0, $1.name) }
    }

    private func addPort(_ record: InterfaceRecord, to bridge: ConfiguredBridge) {
        let target = bridge.target
        let outcome: InterfaceOutcome
        do {
            let port = try fabric.addPort(
                to: target, name: record.name, type: deviceType(record, on: target), options: record.options,
                requested: record.preferred, mtu: requestedMTU(record))
            Self.log.info("bridge \(target.name): added interface \(port.name) on port \(port.number.rawValue)")
            owners[record.name] = target.name
            outcome = .open(port)
        } catch {
            Self.log.warn(error.detail)
            outcome = .failed(error.detail)
        }
        if let row = record.row { outcomes[row.uuid] = outcome }
    }
}
