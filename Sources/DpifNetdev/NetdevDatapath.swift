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

    private let others: OpenDatapaths

    /// - Parameter others: where it is listed as long as it is there.
    /// - Parameter wake: called on the polling thread when packets wait; it must make the main thread call `run`.
    init(type: String, name: String, time: TimeSource, among others: OpenDatapaths, wake: @escaping @Sendable () -> Void) throws(DpifError)
    {
        self.wake = wake
        self.others = others
        poller = try PollThread(queue: queue, wake: wake)
        var capabilities = DpifCapabilities()
        capabilities.tunnelPushPop = true
        super.init(type: type, name: name, capabilities: capabilities, time: time)
        others.add(self)
    }

    deinit {
        others.remove(self)
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

/// The datapaths that are there. They are not kept by it, and weak references would make retaining them slow everywhere.
/// Confined to the main thread.
final class OpenDatapaths {
    // Invariant: each datapath is in here from its making to its end.
    private var list: [Unmanaged<NetdevDatapath>] = []

    var all: [NetdevDatapath] { list.map { $0.takeUnretainedValue() } }

    fileprivate func add(_ datapath: NetdevDatapath) { list.append(.passUnretained(datapath)) }

    fileprivate func remove(_ datapath: NetdevDatapath) {
        let ended = Unmanaged.passUnretained(datapath).toOpaque()
        list.removeAll { $0.toOpaque() == ended }
    }
}

/// Makes userspace datapaths.
public final class NetdevProvider: DpifProvider {
    public let type = "netdev"
    private let time: TimeSource
    private let wake: @Sendable () -> Void
    private let datapaths = OpenDatapaths()
    private var settings = ThreadSettings()
    private let runtime: DPDKRuntime
    /// Told when DPDK has been started, so that its kinds of devices can be offered.
    public var onDPDK: ((DPDKRuntime) -> Void)?

    /// - Parameter runDirectory: the daemon's, for the sockets of virtual machines' ports.
    public init(time: TimeSource, runDirectory: String, wake: @escaping @Sendable () -> Void) {
        self.time = time
        runtime = DPDKRuntime(runDirectory: runDirectory)
        self.wake = wake
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        let datapath = try NetdevDatapath(type: type, name: name, time: time, among: datapaths, wake: wake)
        datapath.apply(settings)
        return datapath
    }

    public func enumerate() -> [String] { datapaths.all.map(\.name).sorted() }

    public func portType(_ type: String) -> String { type == "internal" ? "tap" : type }

    /// Starts DPDK when asked to (dpdk-init), and polls as the settings of threads say.
    public func configure(_ config: [String: String]) throws(DpifError) {
        let wasInitialized = runtime.isInitialized
        try runtime.configure(config)
        if runtime.isInitialized, !wasInitialized { onDPDK?(runtime) }
        let wanted = try ThreadSettings(config)
        guard wanted != settings else { return }
        settings = wanted
        for datapath in datapaths.all { datapath.apply(wanted) }
    }

    public var status: ProviderStatus {
        ProviderStatus(dpdkInitialized: runtime.isInitialized, dpdkVersion: runtime.isInitialized ? runtime.version : "none")
    }
}
