// The userspace datapath on real interfaces: the engine, fed by a polling thread.

import Datapath
import Dpif
import Netdev
import Packet

/// A userspace datapath. Main thread; its polling thread is its own.
public final class NetdevDatapath: UserspaceDatapath {
    private let queue = PacketQueue()
    private let poller: PollThread
    /// Made with the first port that needs them.
    private var pollers: PollModeThreads?
    private let wake: @Sendable () -> Void
    private var settings = ThreadSettings()

    /// - Parameter wake: called on the polling thread when packets wait; it must make the main thread call `run`.
    init(type: String, name: String, time: TimeSource, wake: @escaping @Sendable () -> Void) throws(DpifError) {
        self.wake = wake
        poller = try PollThread(queue: queue, wake: wake)
        var capabilities = DpifCapabilities()
        capabilities.tunnelPushPop = true
        super.init(type: type, name: name, capabilities: capabilities, time: time)
    }

    deinit {
        pollers?.endThreads()
        poller.stop()
    }

    /// Polls DPDK's devices as these settings say.
    func apply(_ settings: ThreadSettings) {
        self.settings = settings
        pollers?.apply(settings)
    }

    public override var threads: (any DpifThreads)? { pollers }

    public override func portAdded(_ number: UInt32, _ device: any PortDevice) throws(DpifError) {
        if let device = device as? DPDKDevice {
            let pollers = pollers ?? PollModeThreads(self, wake: wake)
            self.pollers = pollers
            accelerator = pollers
            pollers.apply(settings)
            try pollers.add(number, device)
        } else if let polled = device as? any PolledDevice {
            poller.add(number, polled.source)
        }
    }

    public override func portRemoved(_ number: UInt32) {
        pollers?.remove(number)
        poller.remove(number)
    }

    public override func run() {
        super.run()
        pollers?.run()
        for (number, bytes) in queue.drain() where port(number) != nil {
            receive(Packet(bytes), on: number)
        }
    }
}

/// Makes userspace datapaths.
public final class NetdevProvider: DpifProvider {
    public let type = "netdev"
    private let time: TimeSource
    private let wake: @Sendable () -> Void
    private var open: [String: Weak] = [:]
    private var settings = ThreadSettings()
    private let runtime: DPDKRuntime
    /// Told when DPDK has been started, so that its kinds of devices can be offered.
    public var onDPDK: ((DPDKRuntime) -> Void)?

    private struct Weak {
        weak var datapath: NetdevDatapath?
    }

    /// - Parameter runDirectory: the daemon's, for the sockets of virtual machines' ports.
    public init(time: TimeSource, runDirectory: String, wake: @escaping @Sendable () -> Void) {
        self.time = time
        runtime = DPDKRuntime(runDirectory: runDirectory)
        self.wake = wake
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        let datapath = try NetdevDatapath(type: type, name: name, time: time, wake: wake)
        datapath.apply(settings)
        open[name] = Weak(datapath: datapath)
        return datapath
    }

    public func enumerate() -> [String] { open.filter { $0.value.datapath != nil }.keys.sorted() }

    public func portType(_ type: String) -> String { type == "internal" ? "tap" : type }

    /// Starts DPDK when asked to (dpdk-init), and polls as the settings of threads say.
    public func configure(_ config: [String: String]) throws(DpifError) {
        let wasInitialized = runtime.isInitialized
        try runtime.configure(config)
        if runtime.isInitialized, !wasInitialized { onDPDK?(runtime) }
        let wanted = try ThreadSettings(config)
        guard wanted != settings else { return }
        settings = wanted
        for entry in open.values { entry.datapath?.apply(wanted) }
    }

    public var status: ProviderStatus {
        ProviderStatus(dpdkInitialized: runtime.isInitialized, dpdkVersion: runtime.isInitialized ? runtime.version : "none")
    }
}
