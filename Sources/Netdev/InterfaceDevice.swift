// A network interface of the kernel as a device: its state, address, MTU and counters. Packets are its subclasses' business, or the kernel's.

import Dpif
import Glibc

/// A kernel interface, which may come and go while this object lives: without it the device is down.
public class InterfaceDevice: AddressedDevice {
    public let name: String
    public let type: String
    let interface: KernelInterface
    var known = (mac: UInt64(0), mtu: 0, up: false, link: false)
    private var changes: UInt64 = 1
    /// 0: there is no such interface.
    public private(set) var index: Int32 = 0
    /// What `LinkEvents` counted when the kernel was last asked.
    private var seenEvents: UInt64 = 0
    public private(set) var linkResets: UInt64 = 0

    /// - Parameter mustExist: throw ENODEV when there is no such interface.
    public init(name: String, type: String, mustExist: Bool) throws(DpifError) {
        self.name = name
        self.type = type
        interface = try KernelInterface(name)
        attach()
        if mustExist, index == 0 { throw DpifError(ENODEV, "interface \(name)") }
    }

    deinit { if index != 0 { LinkEvents.unwatch(index) } }

    /// The interface that this object stands for still has the name. The kernel is asked only after news of the interface.
    public var isPresent: Bool {
        guard index != 0 else { return false }
        let events = LinkEvents.changes(of: index)
        guard presentAt != events else { return true }
        guard interface.link?.index == index else { return false }
        presentAt = events
        return true
    }
    /// What `LinkEvents` had counted when the interface last had the name.
    private var presentAt: UInt64?

    /// Looks for the interface again, for instance because it was created.
    public func attach() {
        let events = LinkEvents.changes(of: index)
        let link = interface.link
        let found = link?.index ?? 0
        guard found == index, index != 0 else {
            if index != 0 { LinkEvents.unwatch(index) }
            index = found
            presentAt = nil
            if found != 0 { LinkEvents.watch(found) }
            // What changed before it was watched is asked for once more.
            refresh()
            return
        }
        note(link, events)
    }

    /// Asks the kernel for the interface's state.
    private func refresh() {
        let events = LinkEvents.changes(of: index)
        note(index == 0 ? nil : interface.link, events)
    }

    /// - Parameter events: what `LinkEvents` had counted before the kernel was asked.
    private func note(_ link: LinkState?, _ events: UInt64) {
        seenEvents = events
        var now = known
        if let link, link.index == index {
            presentAt = events
            now = (mac: link.mac ?? known.mac, mtu: link.mtu ?? known.mtu, up: link.isUp, link: link.isUp && link.hasCarrier)
        } else {
            (now.up, now.link) = (false, false)
        }
        guard now != known else { return }
        if now.link != known.link { linkResets += 1 }
        known = now
        changes += 1
    }

    public var macAddress: UInt64 { known.mac }
    public var addresses: [InterfaceAddress] { InterfaceAddresses.of(name) }
    public var mtu: Int { known.mtu }
    public var isAdminUp: Bool { known.up }
    public var isLinkUp: Bool { known.link }
    public var changeCount: UInt64 {
        guard index != 0 else { return changes }
        let events = LinkEvents.changes(of: index)
        if events != seenEvents {
            seenEvents = events
            refresh()
        }
        return changes
    }
    public var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) {
        let current: PortFeatures
        switch interface.speed {
        case 10: current = .full10Mb
        case 100: current = .full100Mb
        case 1000: current = .full1Gb
        case 10_000: current = [.full10Gb, .copper]
        case 40_000: current = .full40Gb
        case 100_000: current = .full100Gb
        default: current = []
        }
        return (current, [], [], [])
    }
    public var stats: DeviceStats { interface.link?.stats ?? .unknown }
    public var interfaceIndex: Int { Int(index) }
    /// Reads the queues of the interface's discipline; nil: it has none of ours.
    public var queueReader: (() -> [UInt32: QueueCounters])?
    public var queues: [UInt32: QueueCounters] { queueReader?() ?? [:] }
    public var status: [String: String] { ["driver_name": type == "internal" ? "openvswitch" : driver] }

    private var driver: String {
        var buffer = [CChar](repeating: 0, count: 256)
        let n = readlink("/sys/class/net/\(name)/device/driver", &buffer, 255)
        guard n > 0 else { return "" }
        let path = String(decoding: buffer.prefix(n).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.split(separator: "/").last.map(String.init) ?? ""
    }

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
