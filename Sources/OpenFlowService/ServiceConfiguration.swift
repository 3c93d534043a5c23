// What a bridge's OpenFlow service is told to do, and what it tells about itself.

import OpenFlow

/// What a bridge does while no controller can be reached (Bridge.fail_mode).
public enum ServiceFailMode: Hashable, Sendable {
    /// Switches like a learning switch.
    case standalone
    /// Leaves the flows alone.
    case secure
}

/// A controller to connect to or to listen for (a row of the Controller table).
public struct ControllerSettings: Hashable, Sendable {
    /// Names the row in `OpenFlowService.status`.
    public var id: String
    /// As in the database, e.g. `tcp:127.0.0.1:6653` or `ptcp:6654`.
    public var target: String
    /// Takes no part in the fail mode; nil: as the target's kind says, passive ones being service.
    public var isService: Bool?
    /// Milliseconds of silence before an echo request; 0 never.
    public var inactivityProbe: Int64 = 5000
    /// Milliseconds.
    public var maxBackoff: Int64 = 8000
    public var enableAsyncMessages = true
    /// Packets per second to controllers; nil: no limit.
    public var rateLimit: Int64?
    public var burstLimit: Int64?
    public var isInBand = true

    public init(id: String, target: String) {
        self.id = id
        self.target = target
    }
}

/// All settings of a service.
public struct ServiceConfiguration: Hashable, Sendable {
    public var failMode = ServiceFailMode.standalone
    public var controllers: [ControllerSettings] = []
    public var versions: Set<OFVersion> = Set(OFVersion.allCases)
    /// Paths of the sockets that local tools connect to.
    public var managementSocket: String
    public var snoopSocket: String
    public var disableInBand = false
    /// The queue that in-band control uses; nil: none in particular.
    public var inBandQueue: UInt32?
    /// The most packet-ins that wait for a slow controller.
    public var packetQueueSize = 100

    public init(managementSocket: String, snoopSocket: String) {
        self.managementSocket = managementSocket
        self.snoopSocket = snoopSocket
    }
}

/// The state of one controller.
public struct ConnectionStatus: Hashable, Sendable {
    public var isConnected = false
    /// `primary`, `secondary` or `other`; nil when not connected.
    public var role: String?
    /// Controller.status.
    public var details: [String: String] = [:]
    public init() {}
}
