// An OpenFlow switch: one bridge. Tables, ports and what is learned live here; translation reads it, the OpenFlow
// connections and the configuration change it.

import Classifier
import Dpif
import Flow
import OpenFlow
import Vlog

public enum FragmentHandling: UInt16, Sendable {
    case normal = 0
    case drop = 1
    /// Nicira extension: match fragments by nw_frag.
    case nxMatch = 3
}

/// Something that OpenFlow controllers may want to hear of.
public enum SwitchEvent {
    case portAdded(SwitchPort)
    case portDeleted(SwitchPort)
    case portModified(SwitchPort)
    /// A flow, and the one whose place it took.
    case flowAdded(Rule, replacing: Rule?)
    /// A flow, and the actions that it had.
    case flowModified(Rule, oldActions: [OFAction])
    case flowRemoved(Rule, FlowRemovedCause)
    case vacancyDown(FlowTable)
    case vacancyUp(FlowTable)
}

/// Why a flow left its table (OFPRR_*).
public enum FlowRemovedCause: UInt8, Sendable {
    case idleTimeout = 0, hardTimeout, delete, groupDelete, meterDelete, eviction
}

/// A bridge's OpenFlow side. Confined to the main thread.
public final class OpenFlowSwitch {
    public let id: Int
    /// Names the bridge to whoever continues what it has begun: 16 random bytes.
    public let identity = (0..<2).flatMap { _ in withUnsafeBytes(of: UInt64.random(in: .min ... .max)) { [UInt8]($0) } }
    public let name: String
    public let backer: DatapathBacker
    public let time: TimeSource
    public var datapathID: UInt64 = 0
    public let tables = FlowTables()
    public let macs: MACLearning
    /// Nil while multicast is not snooped.
    public internal(set) var snooping: MulticastSnooping?
    /// Nil while flows are not exported.
    public internal(set) var netFlow: NetFlow?
    /// Nil while packets are not sampled.
    public internal(set) var sFlow: SFlow?
    public internal(set) var ipfix: IPFIX?
    /// At most one of both spanning tree protocols runs.
    public internal(set) var stp: STP?
    public internal(set) var rstp: RSTP?
    public internal(set) var mirrors: [Mirror] = []
    public private(set) var groups: [UInt32: Group] = [:]
    /// The datapath's numbers of meters.
    private var meterIDs: [UInt32: UInt32] = [:]

    // Settings.
    /// What tun_metadata fields stand for.
    public var tunnelOptions: TunnelOptionMap? {
        didSet {
            backer.dpif.tunnelOptions = tunnelOptions
            backer.changed()
        }
    }
    public var fragmentHandling: FragmentHandling = .normal
    public var forwardsBPDU = false { didSet { if forwardsBPDU != oldValue { backer.changed() } } }
    public var inBand = false { didSet { if inBand != oldValue { backer.changed() } } }
    /// Controllers want packets that no flow matches.
    public var wantsPacketInOnMiss = false { didSet { if wantsPacketInOnMiss != oldValue { backer.changed() } } }
    /// Descriptions for OFPST_DESC.
    public var manufacturer = "Nicira, Inc."
    public var hardware = "Open vSwitch"
    public var software = "3.1.0"
    public var serial = "None"
    public var datapathDescription = "None"

    /// Gets packets for controllers, and events.
    public var packetInReceiver: ((PacketInEvent) -> Void)?
    public var eventReceiver: ((SwitchEvent) -> Void)?
    /// Whether the receiver of events wants those of all flows, and not only of those that ask for it by their flags.
    public var watchesFlows: () -> Bool = { true }

    /// Rises with every change of what the database is told of protocols on ports.
    public private(set) var statusChangeCount: UInt64 = 0
    func noteStatus() { statusChangeCount &+= 1 }

    // Ports.
    private var portTable: [OFPort: SwitchPort] = [:]
    private var portsByName: [String: SwitchPort] = [:]
    public private(set) var bundles: [String: PortBundle] = [:]
    private var nextPortNumber: UInt32 = 1
    private var recentlyUsed: [UInt32: Int64] = [:]

    // Rules that no controller sees.
    private(set) var missRule: Rule
    private(set) var noPacketInRule: Rule
    private(set) var dropFragmentsRule: Rule

    /// What flows' actions name.
    var references = FlowReferences()
    /// What a bundle has changed so far, while one is carried out.
    var transaction: FlowTransaction?
    /// Completes changes that are made in steps, while some are.
    var finishChanges: (() -> Void)?
    /// Rules with timeouts.
    private var expirable: [ObjectIdentifier: Rule] = [:]
    private var lastExpiry: Int64 = 0
    /// The number of the last change of a flow; see `Rule.changedAt`.
    public private(set) var changeSequence: UInt64 = 0

    private static let log = Vlog.module("ofproto")
    /// Holds hidden flows.
    public static var internalTable: Int { 254 }

    public init(id: Int, name: String, backer: DatapathBacker) {
        self.id = id
        self.name = name
        self.backer = backer
        time = backer.time
        macs = MACLearning(time: backer.time)
        let now = backer.time.now
        func hidden(_ register: UInt32, _ actions: [OFAction]) -> Rule {
            var match = Match()
            match.set(Location.reg(0), UInt128(register))
            return Rule(tableID: 254, match: match, priority: 0, flags: .hidden, actions: actions, now: now)
        }
        var controller = ControllerAction()
        controller.reason = .implicitMiss
        missRule = hidden(1, [.controller(controller)])
        noPacketInRule = hidden(2, [])
        dropFragmentsRule = hidden(3, [])
        var recirculated = Match()
        recirculated.set(Location.recircID, 0)
        let drop = Rule(tableID: 254, match: recirculated, priority: 2, flags: .hidden, actions: [], now: now)
        for rule in [missRule, noPacketInRule, dropFragmentsRule, drop] { tables[Self.internalTable].insert(rule) }
        backer.add(self)
    }

    /// Takes the bridge out of service.
    public func destroy() {
        for port in portsInOrder { removePort(port) }
        backer.remove(self)
    }

    // MARK: Ports

    public func port(_ number: OFPort) -> SwitchPort? { portTable[number] }
    public func port(named name: String) -> SwitchPort? { portsByName[name] }

    /// The local port first, then by number.
    public var portsInOrder: [SwitchPort] { ordered().ports }
    var floodOrder = FloodOrder()
    var bundlesInOrder: [PortBundle] { ordered().bundles }
    /// Nil: to be made anew when it is asked for, since ports come and go by the thousand.
    private var order: (ports: [SwitchPort], bundles: [PortBundle])?

    var localDatapathPort: UInt32 { portTable[.local]?.datapathPort ?? .max }

    /// The names of ports, for text.
    public var portNames: (OFPort) -> String? { { _ in nil } }

    private func ordered() -> (ports: [SwitchPort], bundles: [PortBundle]) {
        if let order { return order }
        let ports = portTable.values.sorted { a, b in a.number == .local || b.number != .local && a.number < b.number }
        var seen: Set<ObjectIdentifier> = []
        let bundles = ports.compactMap { port in
            port.bundle.flatMap { seen.insert(ObjectIdentifier($0)).inserted ? $0 : nil }
        }
        order = (ports, bundles)
        return (ports, bundles)
    }

    /// Adds a device as a port.
    /// - Parameter requested: the number wanted; another is taken when it is in use.
    public func addPort(
        _ device: any PortDevice, requested: OFPort?, datapathPort: UInt32?, peerName: String? = nil,
        tunnel: TunnelSettings? = nil
    )
        throws(DpifError) -> SwitchPort
    {
        guard portsByName[device.name] == nil else { throw DpifError(17, "port \(device.name)") }
        let number: OFPort
        if device.name == name {
            number = .local
        } else if let requested, requested.rawValue > 0, requested < .max, portTable[requested] == nil {
            number = requested
        } else {
            number = try freePortNumber()
        }
        let port = SwitchPort(
            number: number, device: device, owner: self, datapathPort: datapathPort, peerName: peerName, now: time.now)
        port.lastChange = device.changeCount
        port.tunnel = tunnel
        portTable[number] = port
        portsByName[port.name] = port
        floodOrder.insert(port)
        order = nil
        backer.register(port)
        eventReceiver?(.portAdded(port))
        return port
    }

    /// The next number that was not in use lately.
    private func freePortNumber() throws(DpifError) -> OFPort {
        for _ in 0..<0xff00 {
            let n = nextPortNumber
            nextPortNumber = n + 1 >= 0xff00 ? 1 : n + 1
            if portTable[OFPort(n)] == nil { return OFPort(n) }
        }
        throw DpifError(27, "bridge \(name): no free OpenFlow port number")
    }

    public func removePort(_ port: SwitchPort) {
        guard portTable[port.number] === port else { return }
        portTable[port.number] = nil
        portsByName[port.name] = nil
        floodOrder.remove(port)
        if let bundle = port.bundle {
            bundle.ports.removeAll { $0 === port }
            if bundle.ports.isEmpty {
                bundles[bundle.name] = nil
                macs.flush(bundle)
            }
            updateBond(of: bundle)
        }
        order = nil
        backer.unregister(port)
        eventReceiver?(.portDeleted(port))
        port.bundle = nil
    }

    /// Joins a patch port with another peer.
    public func setPeer(_ name: String, of port: SwitchPort) {
        guard port.isPatch, port.peerName != name else { return }
        port.peerName = name
        backer.changed()
    }

    /// Sets what NORMAL is to make of some ports.
    public func setBundle(_ settings: BundleSettings, ports: [SwitchPort]) {
        let bundle = bundles[settings.name] ?? PortBundle(settings)
        let unchanged =
            bundles[settings.name] != nil && bundle.settings == settings && bundle.ports.elementsEqual(ports, by: ===)
        if unchanged { return }
        bundles[settings.name] = bundle
        if bundle.settings != settings || !bundle.ports.elementsEqual(ports, by: ===) { macs.flush(bundle) }
        bundle.settings = settings
        for port in bundle.ports where !ports.contains(where: { $0 === port }) { port.bundle = nil }
        bundle.ports = ports
        for port in ports {
            if let old = port.bundle, old !== bundle {
                old.ports.removeAll { $0 === port }
                if old.ports.isEmpty { bundles[old.name] = nil }
            }
            port.bundle = bundle
        }
        updateBond(of: bundle)
        if ports.isEmpty { bundles[bundle.name] = nil }
        order = nil
        backer.changed()
    }

    /// A port's own state changed: link, address, MTU.
    public func checkPorts() {
        for port in portsInOrder where port.lastChange != port.device.changeCount {
            port.lastChange = port.device.changeCount
            if port.device.isAdminUp { port.config.remove(.down) } else { port.config.insert(.down) }
            backer.changed()
            eventReceiver?(.portModified(port))
        }
    }

    public func setConfig(_ config: PortConfig, of port: SwitchPort) {
        guard config != port.config else { return }
        let toggled = config.symmetricDifference(port.config)
        port.config = config
        backer.changed()
        eventReceiver?(.portModified(port))
        // The link follows, which is told by itself.
        if toggled.contains(.down) {
            try? port.device.setAdminUp(!config.contains(.down))
            checkPorts()
        }
    }

    // MARK: Learning

    /// What NORMAL does may have changed.
    func macTableChanged() { backer.changed() }

    func hasMeter(_ id: UInt32) -> Bool { meterIDs[id] != nil }

    /// The datapath's number of a meter; nil: there is no such meter.
    public func datapathMeter(_ id: UInt32) -> UInt32? { meterIDs[id] }

    /// The lowest number that no bridge of the datapath uses for a meter.
    public var freeDatapathMeter: UInt32 {
        let used = Set(backer.switches.flatMap { $0.meterIDs.values })
        var n: UInt32 = 0
        while used.contains(n) { n += 1 }
        return n
    }

    /// Remembers a meter's number in the datapath, or forgets the meter.
    public func setMeter(_ id: UInt32, datapathID: UInt32?) {
        meterIDs[id] = datapathID
        backer.changed()
    }

    public func group(_ id: UInt32) -> Group? { groups[id] }

    public func setGroup(_ group: Group?, id: UInt32) {
        transaction?.willSet(groups[id], id: id)
        groups[id] = group
        flowsChanged()
    }

    public func removeAllGroups() {
        if transaction != nil { for (id, group) in groups { transaction?.willSet(group, id: id) } }
        let gone = groups
        groups = [:]
        flowsChanged()
        Reclaimer.release(gone)
    }

    // MARK: Lookup

    /// The first lookup of a packet.
    func lookupFirst(_ translation: Translation) -> Rule {
        translation.lookup(table: 0, inPort: translation.flow.inPort, mayPacketIn: true, honorMiss: true)
    }

    /// A rule as a trace shows it.
    func describe(_ rule: Rule, table: UInt8) -> String {
        let number = table < 10 ? " \(table)" : "\(table)"
        if rule === missRule { return "\(number). No match, and a \"packet-in\" is called for." }
        if rule === noPacketInRule { return "\(number). No match." }
        if rule === dropFragmentsRule {
            return "\(number). Packets are IP fragments and the fragment handling mode is \"drop\"."
        }
        let match = rule.match.text(ports: portNames)
        var out = "\(number). "
        if !match.isEmpty { out += "\(match), " }
        out += "priority \(rule.priority)"
        if rule.cookie != 0 { out += ", cookie \(AddressText.hex(rule.cookie))" }
        return out
    }

    // MARK: Flows

    /// Numbers a change of a flow.
    func nextChange() -> UInt64 {
        changeSequence += 1
        return changeSequence
    }

    /// Puts a flow into its table. Returns the one of the same match and priority that is there, which is to be uninstalled next.
    /// - Parameter isModification: to be told as a change of that flow, and not one that comes new.
    @discardableResult
    func install(_ rule: Rule, isModification: Bool = false) -> Rule? {
        rule.addedAt = nextChange()
        rule.changedAt = rule.addedAt
        transaction?.came(rule)
        let replaced = put(rule)
        if let replaced {
            if isModification {
                rule.addedAt = replaced.addedAt
            } else if !rule.flags.contains(.resetCounts) {
                rule.inheritCounts(of: replaced)
            }
        }
        flowsChanged()
        guard tellsOfFlows else { return replaced }
        if isModification, let replaced {
            eventReceiver?(.flowModified(rule, oldActions: replaced.actions))
        } else {
            eventReceiver?(.flowAdded(rule, replacing: replaced))
        }
        return replaced
    }

    /// - Parameter cause: nil: nobody is told.
    func uninstall(_ rule: Rule, _ cause: FlowRemovedCause?) {
        transaction?.went(rule)
        let orphaned = take(rule)
        flowsChanged()
        if let cause { eventReceiver?(.flowRemoved(rule, cause)) }
        removeLearned(orphaned)
    }

    /// Whether anybody wants to know of flows that come and change. Who begins to watch them has changes that are under way completed
    /// first.
    public var tellsOfFlows: Bool { transaction?.isWatched ?? (eventReceiver != nil && watchesFlows()) }

    /// Whether nothing has to be known of the flows that a table loses.
    var canEmptyTables: Bool {
        transaction == nil && references.isEmpty && expirable.isEmpty && (eventReceiver == nil || !watchesFlows())
    }

    /// Removes all flows of a table without a look at them.
    func empty(_ table: FlowTable) {
        Reclaimer.release(table.removeAll())
        backer.changed()
    }

    /// Removes flows, table by table, and empties the list. Tables that lose all of theirs are emptied at once.
    func uninstall(_ flows: inout [SelectedFlows], _ cause: FlowRemovedCause?) {
        var emptied: [Emptied] = []
        var orphaned: [LearnedFlows] = []
        var count = 0
        for (table, rules) in flows {
            count += rules.count
            let isAll = rules.count == table.count
            if isAll { emptied.append(table.removeAll()) }
            for rule in rules {
                transaction?.went(rule)
                if isAll { table.left(rule) } else { table.remove(rule) }
                orphaned += forget(rule)
                if let cause { eventReceiver?(.flowRemoved(rule, cause)) }
            }
        }
        if count > 0 { flowsChanged() }
        removeLearned(orphaned)
        if count >= Reclaimer.threshold {
            Reclaimer.release((flows, emptied))
            (flows, emptied) = ([], [])
        }
        flows = []
    }

    /// Puts a flow into its table, and tells nobody. Returns the one whose place it takes.
    @discardableResult
    func put(_ rule: Rule) -> Rule? {
        let replaced = tables[Int(rule.tableID)].insert(rule)
        references.add(rule.actions, of: rule)
        if rule.idleTimeout != 0 || rule.hardTimeout != 0 { expirable[ObjectIdentifier(rule)] = rule }
        return replaced
    }

    /// Takes a flow out of its table, and tells nobody. Returns where nobody learns flows any more.
    func take(_ rule: Rule) -> [LearnedFlows] {
        tables[Int(rule.tableID)].remove(rule)
        return forget(rule)
    }

    private func forget(_ rule: Rule) -> [LearnedFlows] {
        if !expirable.isEmpty { expirable[ObjectIdentifier(rule)] = nil }
        return references.remove(rule.actions, of: rule)
    }

    func timeoutsChanged(_ rule: Rule) {
        expirable[ObjectIdentifier(rule)] = rule.idleTimeout != 0 || rule.hardTimeout != 0 ? rule : nil
    }

    func reduceTimeouts(_ rule: Rule, idle: UInt16, hard: UInt16) {
        settle()
        guard rule.isInstalled else { return }
        rule.reduce(idle: idle, hard: hard)
        timeoutsChanged(rule)
    }

    /// Removes flows that have timed out and addresses that have aged; looks after the ports.
    public func run() {
        // What is due can wait until a bundle is carried out.
        guard transaction == nil else { return }
        checkPorts()
        runMonitors()
        netFlow?.run()
        sFlow?.run(self)
        ipfix?.run()
        stp?.run()
        rstp?.run()
        runBonds()
        let now = time.now
        guard now - lastExpiry >= 100 || now < lastExpiry else { return }
        lastExpiry = now
        macs.expire()
        if snooping?.expire() == true { backer.changed() }
        guard !expirable.isEmpty else { return }
        for rule in expirable.values.map({ $0 }) {
            if rule.hardTimeout != 0, now >= rule.modified + Int64(rule.hardTimeout) * 1000 {
                uninstall(rule, .hardTimeout)
            } else if rule.idleTimeout != 0, now >= rule.used + Int64(rule.idleTimeout) * 1000 {
                // What the datapath has counted since may show that it is in use.
                backer.revalidate()
                if now >= rule.used + Int64(rule.idleTimeout) * 1000, rule.isInstalled { uninstall(rule, .idleTimeout) }
            }
        }
    }

    /// Removes every flow, as when no controller is to be obeyed any more.
    public func flushFlows() {
        settle()
        var flows: [SelectedFlows] = tables.used.filter { $0.count > 0 && $0.id != Self.internalTable }.map { table in
            var rules: [Rule] = []
            table.forEach { rules.append($0) }
            return (table, rules)
        }
        uninstall(&flows, nil)
        backer.purge()
    }

    /// Installs a flow that controllers neither see nor change.
    public func addHiddenFlow(_ match: Match, priority: Int, actions: [OFAction]) {
        settle()
        guard tables[0].find(match, priority: priority) == nil else { return }
        install(
            Rule(tableID: 0, match: match, priority: priority, flags: .hidden, actions: actions, now: time.now))
    }

    public var flowCount: Int { tables.used.reduce(0) { $0 + $1.count } }
}
