// What the configuration says about OpenFlow connections, and who takes care of them.

import OpenFlowService
import Ofproto
import OVSDB

/// What a bridge does without a controller (Bridge.fail_mode).
public enum FailMode: String, Hashable, Sendable {
    /// Switches like a learning switch.
    case standalone
    /// Leaves the flows alone.
    case secure
}

/// A row of the Controller table.
public struct ControllerTarget: Hashable, Sendable {
    /// The row's identifier: status goes back there.
    public var id: UUID
    /// As in the database, e.g. `tcp:127.0.0.1:6653` or `ptcp:6654`.
    public var target: String
    /// Controller.type `service`: not one that takes part in the fail mode. nil: by the target, passive ones being service.
    public var isService: Bool?
    /// Controller.connection_mode `in-band`; nil: the default, in-band.
    public var isInBand: Bool?
    /// Milliseconds of silence before an echo request; 0 never, nil the default of 5000.
    public var inactivityProbe: Int64?
    /// Milliseconds; nil: 8000.
    public var maxBackoff: Int64?
    public var enableAsyncMessages = true
    /// Packets per second; nil: no limit.
    public var rateLimit: Int64?
    public var burstLimit: Int64?
    public var queueSize: Int64?
    /// IP DSCP of the connection, 0 to 63; nil the default of 48.
    public var dscp: UInt8?

    public init(id: UUID, target: String) {
        self.id = id
        self.target = target
    }
}

/// All that the configuration says about one bridge's OpenFlow connections.
public struct ControllerConfiguration: Hashable, Sendable {
    public var failMode = FailMode.standalone
    public var controllers: [ControllerTarget] = []
    /// As in Bridge.protocols, e.g. `OpenFlow13`; empty: every version.
    public var protocols: [String] = []
    /// Where local tools connect, without `punix:`.
    public var managementSocket: String
    public var snoopSocket: String
    /// Bridge.other_config:disable-in-band.
    public var disableInBand = false
    /// Bridge.other_config:in-band-queue.
    public var inBandQueue: UInt32?
    /// Bridge.other_config:controller-queue-size; nil the default of 100.
    public var packetQueueSize: Int64?

    public init(managementSocket: String, snoopSocket: String) {
        self.managementSocket = managementSocket
        self.snoopSocket = snoopSocket
    }
}

/// What goes back into a row of the Controller table.
public struct ControllerStatus: Hashable, Sendable {
    public var isConnected = false
    /// `primary`, `secondary`, `other`; nil when not connected. Written as the schema's words.
    public var role: String?
    /// Controller.status: `state`, `sec_since_connect`, `sec_since_disconnect`, `last_error`.
    public var status: [String: String] = [:]
    public init() {}
}

/// Keeps the OpenFlow connections of bridges. Confined to the main thread.
public protocol ControllerManager: AnyObject {
    /// A bridge appeared, or its configuration was read again; called with every change of the database.
    func configure(_ bridge: OpenFlowSwitch, _ configuration: ControllerConfiguration)
    /// What connections over TLS show and trust, before the bridges are configured.
    func configureTLS(_ settings: TLSSettings)
    /// A bridge goes away.
    func remove(_ bridge: OpenFlowSwitch)
    /// Drops and makes anew all connections to controllers.
    func reconnect(_ bridge: OpenFlowSwitch)
    /// Connection states by row.
    func status(_ bridge: OpenFlowSwitch) -> [UUID: ControllerStatus]
    /// Changes whenever a status does.
    var changeCount: UInt64 { get }
    /// What is due; called whenever the switch runs.
    func run()
    /// For `memory/show`, e.g. `ofconns`.
    var memoryUsage: [String: Int] { get }
}

/// Connects to nobody.
public final class NoControllers: ControllerManager {
    public init() {}
    public func configure(_ bridge: OpenFlowSwitch, _ configuration: ControllerConfiguration) {}
    public func configureTLS(_ settings: TLSSettings) {}
    public func remove(_ bridge: OpenFlowSwitch) {}
    public func reconnect(_ bridge: OpenFlowSwitch) {}
    public func status(_ bridge: OpenFlowSwitch) -> [UUID: ControllerStatus] { [:] }
    public var changeCount: UInt64 { 0 }
    public func run() {}
    public var memoryUsage: [String: Int] { [:] }
}
