// The connection tracker's seam: what a datapath that tracks connections lets others see and change.

/// A tracked connection as `dpctl/dump-conntrack` shows it.
public struct ConntrackEntry: Sendable {
    /// One direction.
    public struct Tuple: Hashable, Sendable {
        public var isIPv6 = false
        public var proto: UInt8 = 0
        public var source: UInt128 = 0
        public var destination: UInt128 = 0
        public var sourcePort: UInt16 = 0
        public var destinationPort: UInt16 = 0
        public var icmpType: UInt8 = 0
        public var icmpCode: UInt8 = 0
        public var icmpID: UInt16 = 0
        public init() {}
    }

    /// One end of a TCP connection.
    public struct TCPEnd: Sendable {
        public var state: String
        /// Its position in the order of states; the later of the two is shown.
        public var rank: UInt8
        /// The shift of the window scale option, where the end sent one.
        public var windowShift: UInt8?
        public var isLiberal: Bool
        public init(state: String, rank: UInt8, windowShift: UInt8?, isLiberal: Bool) {
            self.state = state
            self.rank = rank
            self.windowShift = windowShift
            self.isLiberal = isLiberal
        }
    }

    public var original: Tuple
    public var reply: Tuple
    public var parent: Tuple?
    public var zone: UInt16
    /// Seconds left.
    public var timeout: Int64
    public var mark: UInt32 = 0
    public var label: UInt128 = 0
    public var helper: String?
    public var tcp: (original: TCPEnd, reply: TCPEnd)?

    public init(original: Tuple, reply: Tuple, zone: UInt16, timeout: Int64) {
        self.original = original
        self.reply = reply
        self.zone = zone
        self.timeout = timeout
    }
}

/// A limit on the connections of a zone.
public struct ConntrackZoneLimit: Hashable, Sendable {
    public var zone: UInt16
    /// 0: no limit.
    public var limit: UInt32
    public var count: UInt32
    public init(zone: UInt16, limit: UInt32, count: UInt32) {
        self.zone = zone
        self.limit = limit
        self.count = count
    }
}

/// Fragments that wait for the rest of their packets.
public struct FragmentStatus: Sendable {
    public struct Family: Sendable {
        public var isEnabled = true
        public var minimumSize: Int
        public var accepted: UInt64 = 0
        public var completed: UInt64 = 0
        public var expired: UInt64 = 0
        public var tooSmall: UInt64 = 0
        public var overlapped: UInt64 = 0
        public var purged: UInt64 = 0
        public init(minimumSize: Int) { self.minimumSize = minimumSize }
    }
    public var maximum = 1000
    public var count = 0
    public var ipv4 = Family(minimumSize: 1200)
    public var ipv6 = Family(minimumSize: 1280)
    public init() {}
}

/// Connections, where a datapath tracks them. Called on the main thread, while other threads may track packets.
public protocol DpifConntrack: AnyObject {
    /// Every connection, or those of a zone, in no order.
    func connections(zone: UInt16?) -> [ConntrackEntry]
    /// Forgets every connection, or those of a zone.
    func flush(zone: UInt16?)
    /// Forgets one connection by its original direction; zone nil is 0. Throws ENOENT.
    func flush(_ tuple: ConntrackEntry.Tuple, zone: UInt16?) throws(DpifError)
    var connectionCount: Int { get }
    var maxConnections: UInt32 { get set }
    var checksTCPSequence: Bool { get set }

    /// The limit of zones that have none of their own; 0 none.
    var defaultZoneLimit: UInt32 { get set }
    /// The zones' own limits.
    var zoneLimits: [ConntrackZoneLimit] { get }
    func zoneLimit(_ zone: UInt16) -> ConntrackZoneLimit
    /// nil: the default applies again.
    func setZoneLimit(_ zone: UInt16, _ limit: UInt32?)

    /// Seconds by state (the keys of CT_Timeout_Policy.timeouts) for connections that are committed with the policy.
    func setTimeoutPolicy(_ name: String, _ timeouts: [String: UInt32]?)
    /// `ct` actions name the policy of one protocol and address family, `ovs_tp_NAME_udp4`; else NAME.
    var hasPoliciesByProtocol: Bool { get }

    var fragments: FragmentStatus { get }
    func setFragmentReassembly(ipv6: Bool, enabled: Bool)
    /// Throws EPERM for sizes that are too small or too large.
    func setMinimumFragment(ipv6: Bool, _ size: Int) throws(DpifError)
    /// Throws EPERM.
    func setMaximumFragments(_ count: Int) throws(DpifError)
}

extension DpifConntrack {
    public var hasPoliciesByProtocol: Bool { false }
}
