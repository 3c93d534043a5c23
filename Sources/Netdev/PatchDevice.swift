// The patch device: one end of a link between two bridges. Packets cross it in translation, so no datapath sees it.

import Dpif

/// One end of a patch link. Its counters are the switch port's.
public final class PatchDevice: PortDevice {
    public let name: String
    public var type: String { "patch" }
    public private(set) var macAddress: UInt64
    public var mtu: Int { 0 }
    public private(set) var isAdminUp = true
    public var isLinkUp: Bool { isAdminUp }
    public var linkResets: UInt64 { 0 }
    public private(set) var changeCount: UInt64 = 1
    /// The other end's name.
    public private(set) var peer = ""

    public init(name: String) {
        self.name = name
        // Locally administered, unicast.
        macAddress = UInt64.random(in: 0...0xffff_ffff_ffff) & ~0x0100_0000_0000 | 0x0200_0000_0000
    }

    /// Takes Interface.options: `peer`. Throws EINVAL with the text for Interface.error.
    public func configure(_ options: [String: String]) throws(DpifError) {
        guard let peer = options["peer"] else {
            throw DpifError(22, "\(name): patch type requires valid 'peer' argument")
        }
        guard peer != name else { throw DpifError(22, "\(name): patch peer must not be self") }
        self.peer = peer
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

    public func setMTU(_ mtu: Int) throws(DpifError) { throw DpifError(95, "patch port \(name) has no MTU") }
}
