// The device of a tunnel port: its settings. Packets are encapsulated in translation and leave through other devices.

import Dpif
import Flow

/// A tunnel's settings as a device. It has no hardware and is always up.
public final class TunnelDevice: PortDevice {
    /// Interface types that are tunnels.
    public static let types = [
        "bareudp", "erspan", "geneve", "gre", "gtpu", "ip6erspan", "ip6gre", "lisp", "stt", "vxlan",
    ]

    public let name: String
    public let type: String
    public private(set) var macAddress: UInt64
    public var mtu: Int { 0 }
    public private(set) var isAdminUp = true
    public var isLinkUp: Bool { isAdminUp }
    public var linkResets: UInt64 { 0 }
    public private(set) var changeCount: UInt64 = 1
    /// Interface.options.
    public private(set) var options: [String: String] = [:]

    public init(name: String, type: String) {
        self.name = name
        self.type = type
        // Locally administered, unicast.
        macAddress = UInt64.random(in: 0...0xffff_ffff_ffff) & ~0x0100_0000_0000 | 0x0200_0000_0000
    }

    /// Takes Interface.options. Throws EINVAL with the text for Interface.error.
    public func configure(_ options: [String: String]) throws(DpifError) {
        var problem = ""
        var isRemoteKnown = false
        if let remote = options["remote_ip"] {
            isRemoteKnown = remote == "flow" || AddressText.parseIPv4(remote) != nil || AddressText.parseIPv6(remote) != nil
            if !isRemoteKnown { problem += "\(name): bad \(type) 'remote_ip'\n" }
        }
        if let local = options["local_ip"], local != "flow", AddressText.parseIPv4(local) == nil, AddressText.parseIPv6(local) == nil {
            problem += "\(name): bad \(type) 'local_ip'\n"
        }
        guard isRemoteKnown else {
            throw DpifError(22, problem + "\(name): \(type) type requires valid 'remote_ip' argument")
        }
        guard options != self.options else { return }
        self.options = options
        changeCount += 1
    }

    public var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) { ([], [], [], []) }
    public var stats: DeviceStats { DeviceStats() }
    public var status: [String: String] { [:] }

    public func setAdminUp(_ up: Bool) throws(DpifError) {
        guard up != isAdminUp else { return }
        isAdminUp = up
        changeCount += 1
    }

    public func setMAC(_ address: UInt64) throws(DpifError) {
        guard address != macAddress else { return }
        macAddress = address
        changeCount += 1
    }

    public func setMTU(_ mtu: Int) throws(DpifError) { throw DpifError(95, "tunnel port \(name) has no MTU") }
}
