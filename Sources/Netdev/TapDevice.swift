// A tap interface: a kernel interface whose other end is this switch. Local ports of userspace bridges are taps.

import CLinux
import Dpif
import Glibc
import Packet

/// A tap interface that lives as long as this object.
public final class TapDevice: PolledDevice, PolicedDevice, AddressedDevice {
    public let name: String
    public let type: String
    public var receiver: ((consuming Packet) -> Void)?
    public let source: PacketSource
    public let policer = IngressPolicer()
    private let interface: KernelInterface
    private let descriptor: Int32
    private var known: (mac: UInt64, mtu: Int, up: Bool)
    private var changes: UInt64 = 1
    private let index: Int32
    /// What `LinkEvents` counted when the kernel was last asked.
    private var seenEvents: UInt64 = 0
    public var linkResets: UInt64 { 0 }

    /// Creates the interface. Throws EPERM without the right to, ENOENT where /dev/net/tun is missing.
    public init(name: String, type: String = "tap") throws(DpifError) {
        self.name = name
        self.type = type
        interface = try KernelInterface(name)
        let fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
        guard fd >= 0 else { throw DpifError(errno, "tap \(name): /dev/net/tun") }
        descriptor = fd
        var request = interface.request()
        request.ifr_ifru.ifru_flags = Int16(truncatingIfNeeded: Int32(IFF_TAP) | Int32(IFF_NO_PI))
        guard ioctl(fd, clinux_TUNSETIFF, &request) == 0 else {
            let error = errno
            close(fd)
            throw DpifError(error, "tap \(name)")
        }
        source = PacketSource(fileDescriptor: fd, policer: policer) { buffer in
            let n = Glibc.read(fd, buffer.baseAddress, buffer.count)
            return n > 0 ? n : nil
        }
        do throws(DpifError) {
            let link = try interface.present
            index = link.index
            known = (link.mac ?? 0, link.mtu ?? 0, false)
        } catch {
            close(fd)
            throw error
        }
        LinkEvents.watch(index)
        seenEvents = LinkEvents.changes(of: index)
        refresh()
    }

    deinit {
        LinkEvents.unwatch(index)
        close(descriptor)
    }

    public func transmit(_ packet: consuming Packet) {
        // A tap that is down refuses packets; they are dropped.
        _ = Glibc.write(descriptor, packet.data, packet.count)
    }

    private func refresh() {
        let link = interface.link
        let now = (mac: link?.mac ?? known.mac, mtu: link?.mtu ?? known.mtu, up: link?.isUp ?? false)
        guard now != known else { return }
        known = now
        changes += 1
    }

    public var macAddress: UInt64 { known.mac }
    public var addresses: [InterfaceAddress] { InterfaceAddresses.of(name) }
    public var mtu: Int { known.mtu }
    public var isAdminUp: Bool { known.up }
    public var isLinkUp: Bool { known.up }
    public var changeCount: UInt64 {
        let events = LinkEvents.changes(of: index)
        if events != seenEvents {
            seenEvents = events
            refresh()
        }
        return changes
    }
    public var interfaceIndex: Int { Int(index) }
    public var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) {
        ([.full10Mb, .copper], [], [], [])
    }
    /// From the switch's side: what the kernel sent is received here.
    public var stats: DeviceStats {
        var s = interface.link?.stats ?? .unknown
        swap(&s.rxPackets, &s.txPackets)
        swap(&s.rxBytes, &s.txBytes)
        swap(&s.rxErrors, &s.txErrors)
        swap(&s.rxDropped, &s.txDropped)
        return s
    }
    public var status: [String: String] { ["driver_name": "tun", "driver_version": "1.6"] }

    public func setAdminUp(_ up: Bool) throws(DpifError) {
        try interface.setUp(up)
        refresh()
    }
    public func setMAC(_ address: UInt64) throws(DpifError) {
        guard address != known.mac else { return }
        try interface.setMAC(address)
        refresh()
    }
    public func setMTU(_ mtu: Int) throws(DpifError) {
        guard mtu != known.mtu else { return }
        try interface.setMTU(mtu)
        refresh()
    }
}
