// What devices without hardware have in common: an address of their own, no MTU, no counters, and a link that is up when they are.

import Dpif

/// A device that only translation knows: a patch or tunnel port. Its counters are the switch port's.
public class VirtualDevice: PortDevice {
    public let name: String
    public let type: String
    public private(set) var macAddress: UInt64
    public var mtu: Int { 0 }
    public private(set) var isAdminUp = true
    public var isLinkUp: Bool { isAdminUp }
    public var linkResets: UInt64 { 0 }
    public internal(set) var changeCount: UInt64 = 1

    init(name: String, type: String) {
        self.name = name
        self.type = type
        // Locally administered, unicast.
        macAddress = UInt64.random(in: 0...0xffff_ffff_ffff) & ~0x0100_0000_0000 | 0x0200_0000_0000
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

    public func setMTU(_ mtu: Int) throws(DpifError) { throw DpifError(95, "\(type) port \(name) has no MTU") }
}
