// The OpenFlow side of one bridge: the sockets that tools connect to, the connections to controllers, and what goes out
// to them on its own.
//
// The way of a request: socket -> OpenFlowConnection (framing) -> Dispatch (which handler) -> the Requests+… file of its
// kind -> OpenFlowSwitch. The way of an event: OpenFlowSwitch -> Events -> the connections that asked for it.

import NIOCore
import NIOPosix
import OpenFlow
import Ofproto
import Vlog

/// The OpenFlow connections of a bridge. Confined to the event loop.
public final class OpenFlowService {
    static let log = Vlog.module("connmgr")

    public let owner: OpenFlowSwitch
    let eventLoop: any EventLoop
    public private(set) var configuration: ServiceConfiguration
    private(set) var connections: [OpenFlowConnection] = []
    private(set) var snoopers: [OpenFlowConnection] = []
    private(set) var controllers: [Controller] = []
    private var management: Listener?
    private var snoopListener: Listener?
    private var isClosed = false
    private var isConfigured = false
    /// The largest generation id of a role request.
    var generation: UInt64?
    var groups = GroupStore()
    var meters = MeterStore()
    /// Changes whenever a status does.
    public internal(set) var changeCount: UInt64 = 0
    /// The bridge acts as a learning switch because no controller answers.
    private(set) var isFailOpen = false
    var tlv = TLVState()
    var inBand = InBandControl()
    /// The request that is being carried out, for those who watch flows.
    var requester: (connection: OpenFlowConnection, xid: UInt32)?

    let tls: TLSIdentity
    /// Made with the first request: most bridges never have one.
    private var alertness: Alertness?

    /// - Parameter switch: gets its receivers of packets and events set.
    /// - Parameter tls: what `ssl:` and `pssl:` connections show and trust.
    public init(switch owner: OpenFlowSwitch, eventLoop: any EventLoop, tls: TLSIdentity = TLSIdentity()) {
        self.tls = tls
        self.owner = owner
        self.eventLoop = eventLoop
        configuration = ServiceConfiguration(managementSocket: "", snoopSocket: "")
        owner.packetInReceiver = { [weak self] in self?.packetIn($0) }
        owner.eventReceiver = { [weak self] in self?.event($0) }
        owner.watchesFlows = { [weak self] in self?.connections.contains { !$0.monitors.byID.isEmpty } ?? false }
    }

    /// A request came, and another may follow at once.
    func stayAwake() {
        let alertness = alertness ?? Alertness(on: eventLoop)
        self.alertness = alertness
        alertness.extend()
    }

    /// Takes settings; connects, disconnects and listens as they ask.
    public func configure(_ new: ServiceConfiguration) {
        guard !isClosed, new != configuration || !isConfigured else { return }
        let old = configuration
        configuration = new
        if management?.path != new.managementSocket {
            management?.close()
            management = listen(new.managementSocket, .service)
        }
        if snoopListener?.path != new.snoopSocket {
            snoopListener?.close()
            snoopListener = listen(new.snoopSocket, .snoop)
        }
        if isConfigured, old.versions != new.versions {
            for connection in connections { connection.close("versions changed") }
        }
        var kept: [Controller] = []
        for settings in new.controllers {
            if let same = controllers.first(where: { $0.settings.id == settings.id && $0.settings.target == settings.target }) {
                same.settings = settings
                kept.append(same)
            } else if let made = Controller(self, settings) {
                kept.append(made)
            }
        }
        let gone = controllers.filter { c in !kept.contains { $0 === c } }
        controllers = kept
        for controller in gone { controller.stop() }
        for controller in kept { controller.start() }
        if old.failMode != new.failMode { leaveFailOpen() }
        updateInBand()
        isConfigured = true
        updateMissInterest()
        changeCount &+= 1
    }

    /// Closes everything.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        owner.settle()
        owner.packetInReceiver = nil
        owner.eventReceiver = nil
        management?.close()
        snoopListener?.close()
        alertness?.close()
        for controller in controllers { controller.stop() }
        for connection in connections + snoopers { connection.close("closing") }
        controllers = []
    }

    /// Does what is due: reconnecting, probing, failing over.
    public func run(_ now: Int64) {
        guard !isClosed else { return }
        for controller in controllers { controller.run(now) }
        for connection in connections {
            drainLimiters(connection, now)
            connection.expirePartialRequests(now)
        }
        checkFailMode(now)
        updateInBand()
    }

    /// Drops all connections to controllers, which are then made anew.
    public func reconnect() {
        for controller in controllers { controller.reconnect() }
    }

    /// States by `ControllerSettings.id`.
    public var status: [String: ConnectionStatus] {
        var all: [String: ConnectionStatus] = [:]
        for controller in controllers { all[controller.settings.id] = controller.status(owner.time.now) }
        return all
    }

    public var connectionCount: Int { connections.count }

    // MARK: Connections

    private func listen(_ path: String, _ purpose: OpenFlowConnection.Purpose) -> Listener? {
        guard !path.isEmpty else { return nil }
        return Listener(unix: path, eventLoop: eventLoop) { [unowned self] channel, name in
            try accept(channel, name: name, purpose: purpose)
        }
    }

    @discardableResult
    func accept(_ channel: any Channel, name: String, purpose: OpenFlowConnection.Purpose) throws -> OpenFlowConnection {
        guard !isClosed else { throw ChannelError.ioOnClosedChannel }
        let connection = try OpenFlowConnection(self, channel: channel, name: "\(owner.name)<->\(name)", purpose: purpose)
        if purpose == .snoop { snoopers.append(connection) } else { connections.append(connection) }
        return connection
    }

    func negotiated(_ connection: OpenFlowConnection) {
        updateMissInterest()
        noteStatus(of: connection)
    }

    /// Only of controllers the database is told; tools come and go.
    private func noteStatus(of connection: OpenFlowConnection) {
        if connection.purpose == .primary { changeCount &+= 1 }
    }

    func closed(_ connection: OpenFlowConnection) {
        owner.settle()
        connections.removeAll { $0 === connection }
        snoopers.removeAll { $0 === connection }
        updateMissInterest()
        noteStatus(of: connection)
    }

    /// Shows a message of a controller's connection to those who watch.
    func snoop(_ message: [UInt8], of connection: OpenFlowConnection) {
        guard !snoopers.isEmpty, connection.purpose == .primary else { return }
        for watcher in snoopers { watcher.sendPacketIn(message) }
    }

    /// Packets that nothing matches are for controllers before OpenFlow 1.3 only; who has not settled on a version wants none.
    func updateMissInterest() {
        let wanted = connections.contains { c in c.controllerID == 0 && (c.version.map { $0 < .v13 } ?? false) }
        if owner.wantsPacketInOnMiss != wanted { owner.wantsPacketInOnMiss = wanted }
    }

    /// Gives a connection a role; a new primary makes the others secondary.
    func setRole(_ role: ControllerRole, of connection: OpenFlowConnection) {
        if role == .primary {
            for other in connections where other !== connection && other.role == .primary {
                other.role = .secondary
                // Until 1.4 there is no way to ask for it.
                if let version = other.version,
                    version == .v13 && other.hearsEvents || version >= .v14 && other.wantsAsync(.roleStatus, reason: 0)
                {
                    other.send(ControllerRoleStatus.message(version, role: .secondary, generation: generation))
                }
            }
        }
        connection.role = role
        changeCount &+= 1
    }

    // MARK: Failure

    /// Without any primary controller for long enough, a standalone bridge switches on its own.
    private func checkFailMode(_ now: Int64) {
        let primaries = controllers.filter(\.isPrimary)
        guard !primaries.isEmpty, configuration.failMode == .standalone else {
            leaveFailOpen()
            return
        }
        if primaries.contains(where: \.isAdmitted) {
            leaveFailOpen()
            return
        }
        let probe = primaries.map { $0.settings.inactivityProbe }.max() ?? 5000
        let longest = primaries.map { now - $0.disconnectedSince }.min() ?? 0
        guard !isFailOpen, probe > 0, longest >= 3 * max(1000, probe) else { return }
        Self.log.warn(
            "\(owner.name): Could not connect to controller (or switch failed controller's post-connection "
                + "admission control policy) for \(longest / 1000) seconds, failing open")
        isFailOpen = true
        owner.flushFlows()
        owner.addHiddenFlow(.init(), priority: 0xf0f0f0, actions: [.output(.normal, maxLength: 0)])
    }

    private func leaveFailOpen() {
        guard isFailOpen else { return }
        isFailOpen = false
        Self.log.warn("\(owner.name): No longer in fail-open mode")
        owner.removeHiddenFlow(.init(), priority: 0xf0f0f0)
    }
}

/// OFPT_ROLE_STATUS because another became primary.
enum ControllerRoleStatus {
    static func message(_ version: OFVersion, role: ControllerRole, generation: UInt64?) -> [UInt8] {
        RoleRequest.status(version, role: role, reason: 0, generation: generation)
    }
}
