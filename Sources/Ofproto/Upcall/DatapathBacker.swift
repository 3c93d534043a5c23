// A datapath and the bridges that share it: which port is whose, and which megaflows are installed.
//
// The way of a miss (DatapathBacker+Upcalls.swift): `handle` finds the bridge of the input port, translates, and answers with the actions and
// the flow to install. What was installed is kept in `flows`, with what its translation touched; revalidation (DatapathBacker+
// Revalidation.swift) takes the datapath's statistics, credits them there, and removes flows that are idle or no longer what translation
// gives.

import Dpif
import Flow
import OpenFlow
import Packet
import Vlog

/// Settings of flow caching (Open_vSwitch.other_config).
public struct CacheSettings: Hashable, Sendable {
    /// The most flows in the datapath.
    public var flowLimit = 200_000
    /// Milliseconds without a packet until a flow goes.
    public var maxIdle: Int64 = 10_000
    /// Milliseconds between revalidations.
    public var maxRevalidator: Int64 = 500
    public init() {}
}

/// A datapath shared by bridges. Confined to the main thread.
public final class DatapathBacker: UpcallHandler {
    public let dpif: any Dpif
    public let time: TimeSource
    public var capabilities: DpifCapabilities { didSet { fit = CapabilityCheck(capabilities) } }
    private(set) var fit: CapabilityCheck
    public var settings = CacheSettings()
    /// How many VLAN tags are looked at (other_config:vlan-limit).
    public var vlanLimit: Int {
        get { dpif.vlanLimit }
        set {
            dpif.vlanLimit = newValue
            capabilities.maxVLANHeaders = min(newValue, dpif.capabilities.maxVLANHeaders)
            changed()
        }
    }
    public private(set) var switches: [OpenFlowSwitch] = []
    private var portsByNumber: [UInt32: SwitchPort] = [:]
    let recirculation = RecirculationTable()
    var timeoutPolicies = TimeoutPolicies()
    /// Where tunnelled packets go.
    public let routing: TunnelRouting
    var tunnelBackings: [UInt32: TunnelBacking] = [:]
    /// Nil: to be made anew.
    var tunnelListeners: (table: FlowTable, list: [TunnelListener])?
    private var patchPorts: [String: SwitchPort] = [:]

    var flows = InstalledFlows()
    var precedents = Precedents()
    /// The datapath goes on with what an earlier daemon told it, until `adopt`.
    public private(set) var isHolding: Bool
    /// Rises with every change that may change a translation.
    private(set) var generation: UInt64 = 1
    var revalidation = Revalidation()
    /// Up to how many flows statistics are brought up to date for each request.
    var synchronousLimit = 10_000
    public var megaflowsEnabled = true
    public var ufidEnabled = true
    public private(set) var maxFlowCount = 0
    static let log = Vlog.module("ofproto_dpif_upcall")

    /// - Parameter routing: what this datapath's tunnels share with others'.
    public init(_ dpif: any Dpif, time: TimeSource, routing: TunnelRouting = TunnelRouting()) {
        self.dpif = dpif
        self.routing = routing
        self.time = time
        capabilities = dpif.capabilities
        fit = CapabilityCheck(dpif.capabilities)
        isHolding = dpif.isAdopted
        dpif.upcallHandler = self
    }

    deinit {
        dpif.upcallHandler = nil
        for waiter in revalidation.waiting { waiter.done() }
    }

    public var flowCount: Int { flows.count }

    // MARK: Bridges and ports

    func add(_ newSwitch: OpenFlowSwitch) {
        switches.append(newSwitch)
        changed()
    }

    func remove(_ old: OpenFlowSwitch) {
        switches.removeAll { $0 === old }
        changed()
    }

    func openFlowSwitch(id: Int) -> OpenFlowSwitch? { switches.first { $0.id == id } }

    func register(_ port: SwitchPort) {
        if port.tunnel != nil { registerTunnel(port) } else if let n = port.datapathPort { portsByNumber[n] = port }
        if port.number == .local { tunnelListeners = nil }
        if port.isPatch { patchPorts[port.name] = port }
        changed()
    }

    func unregister(_ port: SwitchPort) {
        if port.tunnel != nil { unregisterTunnel(port) }
        if port.number == .local { tunnelListeners = nil }
        if let n = port.datapathPort, portsByNumber[n] === port { portsByNumber[n] = nil }
        if patchPorts[port.name] === port { patchPorts[port.name] = nil }
        changed()
    }

    /// Gives a datapath port another number.
    public func renumber(_ old: UInt32, to new: UInt32) throws(DpifError) {
        guard let device = dpif.device(old) else { throw DpifError(19, "port \(old)") }
        try dpif.deletePort(old)
        let number = try dpif.addPort(device, requested: new)
        guard let port = portsByNumber.removeValue(forKey: old) else { return }
        port.datapathPort = number
        portsByNumber[number] = port
        changed()
    }

    func patchPeer(of port: SwitchPort) -> SwitchPort? {
        guard let name = port.peerName, let peer = patchPorts[name], peer.peerName == port.name, peer !== port else {
            return nil
        }
        return peer
    }

    /// The switch's port of a datapath port.
    public func port(datapath number: UInt32) -> SwitchPort? { portsByNumber[number] }

    /// The switch's port that a packet came in by.
    public func port(of key: borrowing FlowKey) -> SwitchPort? {
        if let port = portsByNumber[key.inPort] { return port }
        return tunnelPort(key.inPort, copy key)
    }

    /// Something changed that translations depend on.
    public func changed() {
        generation &+= 1
        onChange?()
    }
    /// Told of such changes, so that work that follows from them is done soon.
    public var onChange: (() -> Void)?

    // MARK: Flows

    /// Takes over a flow that the datapath had before; its counts until now were an earlier daemon's.
    func take(_ flow: DpFlow, _ translation: Translation) {
        install(flow.ufid, flow.key, flow.mask, flow.actions, translation, generation: generation).credited = flow.stats
    }

    func install(
        _ ufid: UFID, _ key: borrowing FlowKey, _ mask: borrowing FlowMask, _ actions: [DpAction], _ translation: Translation,
        generation: UInt64
    ) -> InstalledFlow {
        let entry = flows.insert(ufid, key, mask, actions, translation, now: translation.now, generation: generation)
        recirculation.retain(entry.recirculationIDs)
        maxFlowCount = max(maxFlowCount, flows.count)
        return entry
    }

    func install(_ ufid: UFID, _ key: borrowing FlowKey, _ known: Precedents.Outcome, now: Int64) -> InstalledFlow {
        let entry = flows.insert(ufid, key, known, now: now, generation: generation)
        maxFlowCount = max(maxFlowCount, flows.count)
        return entry
    }

    func forget(_ ufid: UFID) {
        guard let old = flows.remove(ufid) else { return }
        for case .netFlow(let netFlow, let flow, _) in old.targets { netFlow.end(flow) }
        recirculation.release(old.recirculationIDs)
    }

    func endHolding() { isHolding = false }

    /// Removes all flows from the datapath, after crediting them.
    public func purge() {
        for entry in flows.all { delete(entry) }
    }

    /// Forgets flows that somebody else removed from the datapath.
    public func flowsFlushed() {
        for ufid in flows.ids { forget(ufid) }
    }
}
