// The userspace datapath on real interfaces: the engine, fed by a polling thread.

import Datapath
import Dpif
import Glibc
import Netdev
import Packet

/// A userspace datapath. Main thread; its polling thread is its own.
public final class NetdevDatapath: UserspaceDatapath {
    private let queue = PacketQueue()
    private let poller: PollThread
    /// Made with the first port that needs them.
    private var threads: PollModeThreads?
    private let wake: @Sendable () -> Void
    private var cores: [Int] = []

    /// - Parameter wake: called on the polling thread when packets wait; it must make the main thread call `run`.
    init(type: String, name: String, time: TimeSource, wake: @escaping @Sendable () -> Void) throws(DpifError) {
        self.wake = wake
        poller = try PollThread(queue: queue, wake: wake)
        var capabilities = DpifCapabilities()
        capabilities.tunnelPushPop = true
        super.init(type: type, name: name, capabilities: capabilities, time: time)
    }

    deinit {
        threads?.stopAll()
        poller.stop()
    }

    /// Polls DPDK's devices on these processors.
    func setCores(_ list: [Int]) {
        cores = list
        threads?.setCores(list)
    }

    public override func portAdded(_ number: UInt32, _ device: any PortDevice) throws(DpifError) {
        if let device = device as? DPDKDevice {
            let threads = threads ?? PollModeThreads(self, wake: wake)
            self.threads = threads
            accelerator = threads
            threads.setCores(cores)
            try threads.add(number, device)
        } else if let polled = device as? any PolledDevice {
            poller.add(number, polled.source)
        }
    }

    public override func portRemoved(_ number: UInt32) {
        threads?.remove(number)
        poller.remove(number)
    }

    public override func run() {
        super.run()
        threads?.run()
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
    private var cores: [Int] = []
    private let runtime = DPDKRuntime()
    /// Told when DPDK has been started, so that its kinds of devices can be offered.
    public var onDPDK: ((DPDKRuntime) -> Void)?

    private struct Weak {
        weak var datapath: NetdevDatapath?
    }

    public init(time: TimeSource, wake: @escaping @Sendable () -> Void) {
        self.time = time
        self.wake = wake
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        let datapath = try NetdevDatapath(type: type, name: name, time: time, wake: wake)
        datapath.setCores(cores)
        open[name] = Weak(datapath: datapath)
        return datapath
    }

    public func enumerate() -> [String] { open.filter { $0.value.datapath != nil }.keys.sorted() }

    public func portType(_ type: String) -> String { type == "internal" ? "tap" : type }

    /// Starts DPDK when asked to (dpdk-init), and polls on the processors of pmd-cpu-mask.
    public func configure(_ config: [String: String]) throws(DpifError) {
        let wasInitialized = runtime.isInitialized
        try runtime.configure(config)
        if runtime.isInitialized, !wasInitialized { onDPDK?(runtime) }
        let wanted = try Self.cores(config["pmd-cpu-mask"] ?? "")
        guard wanted != cores else { return }
        cores = wanted
        for entry in open.values { entry.datapath?.setCores(wanted) }
    }

    public var status: ProviderStatus {
        ProviderStatus(dpdkInitialized: runtime.isInitialized, dpdkVersion: runtime.isInitialized ? runtime.version : "none")
    }

    /// The processors of a mask in hexadecimal, with or without "0x", that this machine has.
    static func cores(_ mask: String) throws(DpifError) -> [Int] {
        let digits = mask.hasPrefix("0x") || mask.hasPrefix("0X") ? String(mask.dropFirst(2)) : mask
        var list: [Int] = []
        let online = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        for (i, digit) in digits.reversed().enumerated() {
            guard let value = digit.hexDigitValue else { throw DpifError(EINVAL, "pmd-cpu-mask \(mask)") }
            for bit in 0..<4 where value >> bit & 1 != 0 && 4 * i + bit < online { list.append(4 * i + bit) }
        }
        return list
    }
}
