// Ports of an OpenFlow switch, and the bundles that NORMAL sees: a Port row of the database with its interfaces.

import Dpif
import OpenFlow

/// Port configuration bits of OpenFlow (1.0 section 5.2.1).
public struct PortConfig: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let down = PortConfig(rawValue: 1 << 0)
    public static let noSTP = PortConfig(rawValue: 1 << 1)
    public static let noReceive = PortConfig(rawValue: 1 << 2)
    public static let noReceiveSTP = PortConfig(rawValue: 1 << 3)
    public static let noFlood = PortConfig(rawValue: 1 << 4)
    public static let noForward = PortConfig(rawValue: 1 << 5)
    public static let noPacketIn = PortConfig(rawValue: 1 << 6)
}

/// A port of an OpenFlow switch.
public final class SwitchPort {
    public let number: OFPort
    public let name: String
    public let device: any PortDevice
    public internal(set) unowned var owner: OpenFlowSwitch
    /// The datapath's number; nil for patch ports.
    public internal(set) var datapathPort: UInt32?
    public var config: PortConfig = []
    /// Nil once the port is in none.
    public internal(set) var bundle: PortBundle?
    /// The maintenance point on the port.
    public internal(set) var cfm: CFM?
    /// LLDP on the port.
    public internal(set) var lldp: LLDP?
    /// What STP or RSTP lets the port do.
    public internal(set) var spanningTree = SpanningTreePermissions()
    /// The BFD session on the port.
    public internal(set) var bfd: BFD?
    /// The peer's name, for patch ports.
    public internal(set) var peerName: String?
    /// The tunnel that the port is an end of.
    public internal(set) var tunnel: TunnelSettings?
    /// Counters of a patch or tunnel port, whose packets no device sees.
    public internal(set) var patchStats = DeviceStats()
    /// Milliseconds.
    public let created: Int64
    var lastChange: UInt64 = 0

    init(
        number: OFPort, device: any PortDevice, owner: OpenFlowSwitch, datapathPort: UInt32?, peerName: String?,
        now: Int64
    ) {
        self.number = number
        name = device.name
        self.device = device
        self.owner = owner
        self.datapathPort = datapathPort
        self.peerName = peerName
        created = now
    }

    /// The other end of a patch port, when it is there and points back.
    public var peer: SwitchPort? { owner.backer.patchPeer(of: self) }

    public var isPatch: Bool { peerName != nil }

    /// The link is up, and nobody switched the port off.
    var canCarry: Bool { device.isLinkUp && !config.contains(.down) }

    /// It can carry packets, and what watches over the link finds nothing wrong with it.
    var isOperational: Bool { canCarry && bfd?.isForwarding != false && cfm?.isFaulty != true && bundle?.lacp?.allows(self) != false }

    public var stats: DeviceStats { isPatch || tunnel != nil ? patchStats : device.stats }

    func creditReceived(packets: UInt64, bytes: UInt64) {
        patchStats.rxPackets = (patchStats.rxPackets ?? 0) &+ packets
        patchStats.rxBytes = (patchStats.rxBytes ?? 0) &+ bytes
    }
    func creditSent(packets: UInt64, bytes: UInt64) {
        patchStats.txPackets = (patchStats.txPackets ?? 0) &+ packets
        patchStats.txBytes = (patchStats.txBytes ?? 0) &+ bytes
    }
}

/// How a bundle treats VLANs (Port.vlan_mode of ovs-vswitchd.conf.db(5)).
public enum VLANMode: String, Hashable, Sendable {
    case access, trunk
    case nativeTagged = "native-tagged"
    case nativeUntagged = "native-untagged"
    case dot1qTunnel = "dot1q-tunnel"
}

public enum PriorityTags: String, Hashable, Sendable {
    case never
    case always
    case ifNonzero = "if-nonzero"
}

/// What the database says of a Port row.
public struct BundleSettings: Hashable, Sendable {
    public var name: String
    public var vlanMode: VLANMode = .trunk
    /// The access or native VLAN; nil for trunks.
    public var vlan: UInt16?
    /// Nil: all.
    public var trunks: Set<UInt16>?
    public var cvlans: Set<UInt16>?
    public var qinqEtherType: UInt16 = 0x88a8
    public var priorityTags: PriorityTags = .never
    public var isProtected = false
    /// With multicast snooping, all multicast and all reports go here too.
    public var floodsMulticast = false
    public var floodsMulticastReports = false
    /// Where there is more than one port.
    public var bond = BondSettings()
    /// Nil: off.
    public var lacp: LACPSettings?

    public init(name: String) { self.name = name }
}

/// One or more ports that NORMAL treats as one.
public final class PortBundle {
    public internal(set) var settings: BundleSettings
    public internal(set) var ports: [SwitchPort] = []
    /// How several ports are one; nil for a single port.
    public internal(set) var bond: Bond?
    public internal(set) var lacp: LACP?
    public var name: String { settings.name }

    init(_ settings: BundleSettings) { self.settings = settings }

    /// False when a port of it does not want floods.
    var isFloodable: Bool { ports.allSatisfy { !$0.config.contains(.noFlood) } }

    func trunks(_ vlan: UInt16) -> Bool { settings.trunks?.contains(vlan) ?? true }
    func allowsCustomerVLAN(_ vlan: UInt16) -> Bool { settings.cvlans?.contains(vlan) ?? true }

    func includes(_ vlans: VLANStack) -> Bool {
        switch settings.vlanMode {
        case .access: vlans.outer.vid == settings.vlan && vlans.inner.vid == 0
        case .trunk: trunks(vlans.outer.vid)
        // What comes untagged is in the native VLAN, so VLAN 0 is not theirs.
        case .nativeTagged, .nativeUntagged:
            vlans.outer.vid == settings.vlan || vlans.outer.vid != 0 && trunks(vlans.outer.vid)
        case .dot1qTunnel: vlans.outer.vid == settings.vlan && allowsCustomerVLAN(vlans.inner.vid)
        }
    }
}

/// The tags of a packet between input and output translation.
struct VLANStack: Equatable {
    struct Tag: Equatable {
        var tpid: UInt16 = 0
        var vid: UInt16 = 0
        /// In place: bits 13 to 15.
        var pcp: UInt16 = 0
    }
    var outer = Tag()
    var inner = Tag()
}
