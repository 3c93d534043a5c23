// What leaves and enters an interface, and how fast: the seam for QoS, which the kernel does on its interfaces whatever datapath they are in.

/// A discipline for what leaves an interface: a QoS row with its Queue rows.
public struct ShapingSettings: Hashable, Sendable {
    /// QoS.type, e.g. `linux-htb`.
    public var type: String
    /// QoS.other_config.
    public var options: [String: String]
    /// Queue.other_config by the queue's number.
    public var queues: [UInt32: [String: String]]
    public init(type: String, options: [String: String], queues: [UInt32: [String: String]]) {
        self.type = type
        self.options = options
        self.queues = queues
    }
}

/// How much may enter an interface: Interface.ingress_policing_rate, _burst, _kpkts_rate and _kpkts_burst.
public struct PolicingSettings: Hashable, Sendable {
    /// Kilobits per second; what is beyond is dropped.
    public var rate: UInt32
    /// Kilobits; 0 for the usual.
    public var burst: UInt32
    /// Thousands of packets per second.
    public var packetRate: UInt32 = 0
    /// Thousands of packets; 0 for the usual.
    public var packetBurst: UInt32 = 0
    public init(rate: UInt32, burst: UInt32) {
        self.rate = rate
        self.burst = burst
    }

    public var effectiveBurst: UInt32 { burst == 0 ? 8000 : burst }
    public var effectivePacketBurst: UInt32 { packetBurst == 0 ? 16 : packetBurst }
    /// Nothing is limited.
    public var isUnlimited: Bool { rate == 0 && packetRate == 0 }
}

/// A queue of an interface, and what it sent.
public struct QueueCounters: Hashable, Sendable {
    public var packets: UInt64 = 0
    public var bytes: UInt64 = 0
    public var dropped: UInt64 = 0
    /// Milliseconds of the switch's clock when it was made; nil: not known.
    public var created: Int64?
    public init() {}
}

/// Who shapes and polices interfaces. Called on the main thread; calls do not block.
public protocol TrafficShaping: AnyObject {
    /// The values of QoS.type that are understood.
    var types: [String] { get }
    /// Sets the discipline of an interface; nil: the system's own.
    /// Throws ENODEV without the interface, EOPNOTSUPP for types that the kernel has no module for.
    func setShaping(_ settings: ShapingSettings?, on interface: String) throws(DpifError)
    /// Sets the limit of what enters; nil: none. Throws as `setShaping`.
    func setPolicing(_ settings: PolicingSettings?, on interface: String) throws(DpifError)
    /// The queues of an interface's discipline by number; empty where it has none.
    func queues(of interface: String) -> [UInt32: QueueCounters]
}
