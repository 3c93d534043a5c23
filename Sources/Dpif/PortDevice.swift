// A network device as the layers above a datapath see it. Devices are opened by the configuration, handed to a datapath
// with `addPort`, and asked for their state by Ofproto and Bridge.

import Flow
import Packet

/// Link modes and speeds, in the bits of OpenFlow 1.0's ofp_port_features.
public struct PortFeatures: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let half10Mb = PortFeatures(rawValue: 1 << 0)
    public static let full10Mb = PortFeatures(rawValue: 1 << 1)
    public static let half100Mb = PortFeatures(rawValue: 1 << 2)
    public static let full100Mb = PortFeatures(rawValue: 1 << 3)
    public static let half1Gb = PortFeatures(rawValue: 1 << 4)
    public static let full1Gb = PortFeatures(rawValue: 1 << 5)
    public static let full10Gb = PortFeatures(rawValue: 1 << 6)
    public static let full40Gb = PortFeatures(rawValue: 1 << 7)
    public static let full100Gb = PortFeatures(rawValue: 1 << 8)
    public static let full1Tb = PortFeatures(rawValue: 1 << 9)
    public static let other = PortFeatures(rawValue: 1 << 10)
    public static let copper = PortFeatures(rawValue: 1 << 11)
    public static let fiber = PortFeatures(rawValue: 1 << 12)
    public static let autonegotiation = PortFeatures(rawValue: 1 << 13)

    private static let modes: [(mode: PortFeatures, bitsPerSecond: UInt64, isFull: Bool)] = [
        (.full1Tb, 1_000_000_000_000, true), (.full100Gb, 100_000_000_000, true), (.full40Gb, 40_000_000_000, true),
        (.full10Gb, 10_000_000_000, true), (.full1Gb, 1_000_000_000, true), (.half1Gb, 1_000_000_000, false),
        (.full100Mb, 100_000_000, true), (.half100Mb, 100_000_000, false), (.full10Mb, 10_000_000, true), (.half10Mb, 10_000_000, false),
    ]

    /// The fastest mode; nil: none is known.
    public var fastest: (bitsPerSecond: UInt64, isFull: Bool)? {
        Self.modes.first { contains($0.mode) }.map { ($0.bitsPerSecond, $0.isFull) }
    }
}

/// Counters of a device; nil where the device does not count.
public struct DeviceStats: Hashable, Sendable {
    public var rxPackets: UInt64? = 0
    public var txPackets: UInt64? = 0
    public var rxBytes: UInt64? = 0
    public var txBytes: UInt64? = 0
    public var rxErrors: UInt64?
    public var txErrors: UInt64?
    public var rxDropped: UInt64?
    public var txDropped: UInt64?
    public var multicast: UInt64?
    public var collisions: UInt64?
    public var rxLengthErrors: UInt64?
    public var rxOverErrors: UInt64?
    public var rxCRCErrors: UInt64?
    public var rxFrameErrors: UInt64?
    public var rxFIFOErrors: UInt64?
    public var rxMissedErrors: UInt64?
    public init() {}
}

/// A network device. Confined to the main thread except where a method says otherwise.
public protocol PortDevice: AnyObject {
    /// The device's name, unique in the daemon.
    var name: String { get }
    /// The device's type as in Interface.type, e.g. `system`, `internal`, `dummy`, `patch`.
    var type: String { get }
    /// 48 bits.
    var macAddress: UInt64 { get }
    /// Bytes behind the Ethernet header; 0 when the device has none.
    var mtu: Int { get }
    var isAdminUp: Bool { get }
    var isLinkUp: Bool { get }
    /// How often the link changed state.
    var linkResets: UInt64 { get }
    /// Changes whenever anything above does.
    var changeCount: UInt64 { get }
    var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) { get }
    var stats: DeviceStats { get }
    /// The number by which others know the interface (RFC 2863); 0: it has none.
    var interfaceIndex: Int { get }
    /// The queues that packets leave by, by number; empty where there are none.
    var queues: [UInt32: QueueCounters] { get }
    func setAdminUp(_ up: Bool) throws(DpifError)
    func setMAC(_ address: UInt64) throws(DpifError)
    func setMTU(_ mtu: Int) throws(DpifError)
    /// Key-value pairs for Interface.status.
    var status: [String: String] { get }
}

extension PortDevice {
    public var interfaceIndex: Int { 0 }
    public var queues: [UInt32: QueueCounters] { [:] }
}

/// An address of a device.
public struct InterfaceAddress: Hashable, Sendable {
    public var value: UInt128
    public var isIPv6: Bool
    /// Bits of the network's prefix.
    public var prefix: Int
    public init(_ value: UInt128, isIPv6: Bool, prefix: Int) {
        self.value = value
        self.isIPv6 = isIPv6
        self.prefix = prefix
    }
}

extension IPAddress {
    /// An interface's address, without its network.
    public init(_ a: InterfaceAddress) {
        if a.isIPv6 { self.init(ipv6: a.value) } else { self.init(UInt32(truncatingIfNeeded: a.value)) }
    }
}

/// A device with IP addresses of its own.
public protocol AddressedDevice: PortDevice {
    /// The first set comes first.
    var addresses: [InterfaceAddress] { get }
}

/// A device that packets can be sent to and come from.
public protocol PacketDevice: PortDevice {
    /// Sends a packet; what cannot be sent is counted and dropped.
    func transmit(_ packet: consuming Packet)
    /// Where received packets go while the device is a datapath's port; nil drops them.
    var receiver: ((consuming Packet) -> Void)? { get set }
}
