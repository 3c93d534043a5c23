// Opens devices by type name. vswitchd registers the types that this machine has; dummies and patch ports are built in.

import Dpif
import NIOCore
import Netdev

/// Devices by type. Confined to the main thread.
public final class StandardDeviceFactory: DeviceFactory {
    /// Opens a device of one type. Throws the errno of what is wrong, which becomes "could not open network device ...".
    public typealias Opener = (_ name: String, _ options: [String: String]) throws(DpifError) -> any PortDevice
    /// Applies options. Throws with the whole text for Interface.error as detail.
    public typealias Configurer = (_ device: any PortDevice, _ options: [String: String]) throws(DpifError) -> Void

    private var openers: [String: Opener] = [:]
    private var configurers: [String: Configurer] = [:]
    /// The wires of dummy devices.
    private var streams: [ObjectIdentifier: DummyStreams] = [:]
    /// Where the wires of dummy devices run; without it they have none.
    public var eventLoop: (any EventLoop)?

    public init() {
        register("patch") { (name, _) throws(DpifError) in
            PatchDevice(name: name)
        } configure: {
            (device, options) throws(DpifError) in
            try (device as? PatchDevice)?.configure(options)
        }
        for type in TunnelDevice.types {
            register(type) { (name, _) throws(DpifError) in
                TunnelDevice(name: name, type: type)
            } configure: {
                (device, options) throws(DpifError) in
                try (device as? TunnelDevice)?.configure(options)
            }
        }
    }

    /// Adds the types of the kernel's interfaces: existing ones, and taps, which also are local ports of userspace bridges.
    public func registerKernelDevices() {
        register("system") { (name, _) throws(DpifError) in try SystemDevice(name: name) }
        register("tap") { (name, _) throws(DpifError) in try TapDevice(name: name) }
    }

    /// Adds the dummy types, which `--enable-dummy` asks for.
    public func registerDummies(also names: [String] = []) {
        for type in ["dummy", "dummy-internal", "dummy-pmd"] + names {
            register(type) { (name, _) throws(DpifError) in
                DummyDevice(name: name, type: type)
            } configure: {
                [unowned self] (device, options) throws(DpifError) in
                guard let dummy = device as? DummyDevice else { return }
                try dummy.configure(options)
                wire(dummy, options)
            }
        }
    }

    private func wire(_ device: DummyDevice, _ options: [String: String]) {
        let id = ObjectIdentifier(device)
        if streams[id] == nil, options["stream"] != nil || options["pstream"] != nil, let eventLoop {
            streams[id] = DummyStreams(device, eventLoop: eventLoop)
        }
        streams[id]?.configure(options)
    }

    /// The state of the connection that a dummy device's `stream` asks for; nil when it asks for none.
    func isConnected(_ device: DummyDevice) -> Bool? { streams[ObjectIdentifier(device)]?.isConnected }

    public func close(_ device: any PortDevice) { streams.removeValue(forKey: ObjectIdentifier(device))?.close() }

    /// Adds a type, in place of one of that name.
    public func register(_ type: String, open: @escaping Opener, configure: @escaping Configurer = { (_, _) throws(DpifError) in }) {
        openers[type] = open
        configurers[type] = configure
    }

    /// The types that can be asked for: `internal` ports are of the type that their datapath has for them.
    public var types: [String] { (Array(openers.keys) + ["internal"]).sorted() }

    public func open(name: String, type: String, options: [String: String]) throws(DpifError) -> any PortDevice {
        // EAFNOSUPPORT
        guard let opener = openers[type] else { throw DpifError(97, "network device \(name) of unknown type \(type)") }
        return try opener(name, options)
    }

    public func configure(_ device: any PortDevice, options: [String: String]) throws(DpifError) {
        try configurers[device.type]?(device, options)
    }
}
