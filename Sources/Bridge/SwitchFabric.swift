// The running switch: datapaths, bridges and devices by name. The configuration builds it, the control commands show it.

import Dpif
import Netdev
import Ofproto
import OpenFlow
import Vlog

/// Opens network devices by type. vswitchd fills it with the types that this machine has.
public protocol DeviceFactory: AnyObject {
    /// Opens a device. Throws with the object and the reason in the text.
    func open(name: String, type: String, options: [String: String]) throws(DpifError) -> any PortDevice
    /// Lets go of a device that is no port any more.
    func close(_ device: any PortDevice)
    /// The types that can be asked for, for Open_vSwitch.iface_types.
    var types: [String] { get }
    /// Applies changed options to an open device.
    func configure(_ device: any PortDevice, options: [String: String]) throws(DpifError)
}

/// What tells tunnels apart.
private struct TunnelIdentity: Hashable {
    let type: String
    let options: [String: String]
}

/// Everything that forwards. Confined to the main thread.
public final class SwitchFabric {
    private static let log = Vlog.module("ofproto")
    public let time: TimeSource
    public let registry: DpifRegistry
    public let factory: any DeviceFactory
    public private(set) var backers: [String: DatapathBacker] = [:]
    public private(set) var switches: [String: OpenFlowSwitch] = [:]
    /// Open devices by name.
    public private(set) var devices: [String: any PortDevice] = [:]
    public var cacheSettings = CacheSettings() {
        didSet { for backer in backers.values { backer.settings = cacheSettings } }
    }
    /// How many VLAN tags of packets are looked at (other_config:vlan-limit).
    public var vlanLimit = 1 {
        didSet {
            guard vlanLimit != oldValue else { return }
            for backer in backers.values { backer.vlanLimit = vlanLimit }
        }
    }
    /// Told when something changed in a bridge, so that work that follows is done soon.
    public var onChange: (() -> Void)?
    /// Called when there is a bridge for the first time.
    public var onFirstSwitch: (() -> Void)?
    private var nextID = 1
    private var deviceOptions: [String: [String: String]] = [:]
    /// How many tunnels there are of each kind.
    private var tunnels: [TunnelIdentity: Int] = [:]
    /// What the host's kernel knows of routes; nil: it is not asked.
    public let hostRoutes: KernelRoutes?
    /// Where the packets of all tunnels go.
    public let routing: TunnelRouting

    public init(time: TimeSource, registry: DpifRegistry, factory: any DeviceFactory, hostRoutes: KernelRoutes? = nil) {
        self.hostRoutes = hostRoutes
        routing = TunnelRouting(host: hostRoutes)
        self.time = time
        self.registry = registry
        self.factory = factory
    }

    /// The options a device was configured with.
    func configuredOptions(_ name: String) -> [String: String] { deviceOptions[name] ?? [:] }

    /// A device's settings as `dpif/show` and `dpctl/show` print them.
    public func options(_ name: String) -> [String: String] {
        guard let device = devices[name] as? DummyDevice else { return deviceOptions[name] ?? [:] }
        guard device.type == "dummy-pmd" else { return [:] }
        return [
            "configured_rx_queues": "1", "configured_tx_queues": "1", "requested_rx_queues": "1",
            "requested_tx_queues": "1",
        ]
    }

    /// Bridges by name, in order.
    public var orderedSwitches: [OpenFlowSwitch] { switches.keys.sorted().compactMap { switches[$0] } }

    /// Routes, neighbours or addresses changed.
    func routingChanged() {
        for backer in backers.values { backer.tunnelsChanged() }
    }

    /// Takes what the kernel told of routes.
    private func pollRoutes() {
        if hostRoutes?.poll() == true { routingChanged() }
    }

    /// The datapath of a type, opened when it is not.
    public func backer(type: String) throws(DpifError) -> DatapathBacker {
        let type = registry.normalise(type)
        if let backer = backers[type] { return backer }
        let dpif = try registry.open(type: type, name: "ovs-\(type)")
        let backer = DatapathBacker(dpif, time: time, routing: routing)
        backer.settings = cacheSettings
        backer.vlanLimit = vlanLimit
        backer.onChange = { [weak self] in self?.onChange?() }
        backers[type] = backer
        return backer
    }

    /// Makes a bridge. Throws EAFNOSUPPORT when no provider offers the datapath type.
    public func createSwitch(name: String, type: String) throws(DpifError) -> OpenFlowSwitch {
        let wanted = registry.normalise(type)
        if registry.provider(wanted) == nil {
            Self.log.warn("unknown datapath type \(wanted)")
            Self.log.warn("could not create datapath \(name) of unknown type \(wanted)")
        }
        let created = OpenFlowSwitch(id: nextID, name: name, backer: try backer(type: type))
        nextID += 1
        switches[name] = created
        onFirstSwitch?()
        onFirstSwitch = nil
        return created
    }

    /// Removes a bridge; the last of a datapath takes the datapath along.
    public func destroySwitch(_ old: OpenFlowSwitch) {
        for port in old.portsInOrder { removePort(port) }
        old.destroy()
        switches[old.name] = nil
        let type = old.backer.dpif.type
        if old.backer.switches.isEmpty {
            backers[type] = nil
            registry.close(old.backer.dpif)
        }
    }

    /// Opens a device and adds it to a bridge. The error's detail is the text for Interface.error.
    ///
    /// - Parameter mtu: what is requested of the device, so that it begins with it: not every device can begin twice.
    public func addPort(
        to target: OpenFlowSwitch, name: String, type: String, options: [String: String], requested: UInt32?, mtu: Int? = nil
    ) throws(DpifError) -> SwitchPort {
        let device: any PortDevice
        do throws(DpifError) {
            if let own = try registry.provider(target.backer.dpif.type)?.openDevice(name: name, type: type) {
                device = own
            } else {
                device = try factory.open(name: name, type: type, options: options)
            }
        } catch {
            throw DpifError(error.errno, "could not open network device \(name) (\(error.reason))")
        }
        try factory.configure(device, options: options)
        // A device that refuses it is told so again, and the log too, once the port is there.
        if let mtu, device.mtu != 0 { try? device.setMTU(mtu) }
        let wanted = requested.map { OFPort($0) }
        do throws(DpifError) {
            let port: SwitchPort
            if type == "patch" {
                port = try target.addPort(
                    device, requested: wanted, datapathPort: nil, peerName: options["peer"] ?? "")
            } else if device is TunnelDevice {
                // Two tunnels with the same ends and key could not be told apart.
                if tunnels[TunnelIdentity(type: type, options: options)] != nil { throw DpifError(17, "tunnel \(name)") }
                guard let settings = TunnelSettings(type: type, options: options) else {
                    port = try target.addPort(device, requested: wanted, datapathPort: nil)
                    keep(device, options)
                    return port
                }
                let number = try target.backer.openTunnel(settings) {
                    let shared = TunnelDevice(name: $0, type: $1)
                    if settings.usesGBP { shared.extensions.insert("gbp") }
                    if settings.usesGPE { shared.extensions.insert("gpe") }
                    return shared
                }
                port = try target.addPort(device, requested: wanted, datapathPort: number, tunnel: settings)
            } else {
                let dpif = target.backer.dpif
                let number = try dpif.addPort(device, requested: nil)
                do throws(DpifError) {
                    port = try target.addPort(device, requested: wanted, datapathPort: number)
                } catch {
                    try? dpif.deletePort(number)
                    throw error
                }
            }
            keep(device, options)
            return port
        } catch {
            throw DpifError(error.errno, "could not add network device \(name) to ofproto (\(error.reason))")
        }
    }

    /// Remembers an open device and what it was configured with.
    private func keep(_ device: any PortDevice, _ options: [String: String]) {
        forget(device)
        devices[device.name] = device
        deviceOptions[device.name] = options
        if device is TunnelDevice { tunnels[TunnelIdentity(type: device.type, options: options), default: 0] += 1 }
    }

    private func forget(_ device: any PortDevice) {
        devices[device.name] = nil
        guard let options = deviceOptions.removeValue(forKey: device.name), device is TunnelDevice else { return }
        let identity = TunnelIdentity(type: device.type, options: options)
        let others = (tunnels[identity] ?? 1) - 1
        tunnels[identity] = others == 0 ? nil : others
    }

    /// Applies changed options to a port's device. Throws the text of what is wrong with them.
    public func configurePort(_ port: SwitchPort, options: [String: String]) throws(DpifError) {
        try factory.configure(port.device, options: options)
        keep(port.device, options)
        if port.isPatch { port.owner.setPeer(options["peer"] ?? "", of: port) }
    }

    /// Removes a port and closes its device.
    public func removePort(_ port: SwitchPort) {
        let target = port.owner
        target.removePort(port)
        // The port of a tunnel goes when the last tunnel does.
        if port.tunnel == nil, let number = port.datapathPort { try? target.backer.dpif.deletePort(number) }
        factory.close(port.device)
        forget(port.device)
    }

    /// Bridges and ports are as the database says; datapaths that went on without a daemon are taken over.
    /// - Parameter waits: not yet: their OpenFlow flows are still to be restored (other_config:flow-restore-wait).
    public func configured(waits: Bool) {
        guard !waits else { return }
        for backer in backers.values { backer.adopt() }
    }

    /// Told of ports that somebody else took out of their datapath.
    public var onPortLost: ((SwitchPort) -> Void)?
    private var seenPortChanges: [String: UInt64] = [:]

    /// Removes ports that are not their datapath's any more.
    private func checkPorts() {
        for (type, backer) in backers where seenPortChanges[type] != backer.dpif.portChangeCount {
            for port in backer.switches.flatMap(\.portsInOrder) {
                guard let number = port.datapathPort, backer.dpif.device(number) == nil else { continue }
                Self.log.warn("bridge \(port.owner.name): interface \(port.name) is gone from the datapath")
                removePort(port)
                onPortLost?(port)
            }
            seenPortChanges[type] = backer.dpif.portChangeCount
        }
    }

    /// Completes what is being changed in steps, before somebody looks at it or changes it.
    func settle() { for entry in switches.values { entry.settle() } }

    /// Does what is due everywhere.
    public func run() {
        KernelLinks.poll()
        pollRoutes()
        checkPorts()
        for backer in backers.values { backer.run() }
        for entry in switches.values { entry.run() }
    }
}
