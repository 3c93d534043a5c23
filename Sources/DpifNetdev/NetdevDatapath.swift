// The userspace datapath on real interfaces: the engine, fed by a polling thread.

import Datapath
import Dpif
import Netdev
import Packet

/// A userspace datapath. Main thread; its polling thread is its own.
public final class NetdevDatapath: UserspaceDatapath {
    private let queue = ReceiveQueue()
    private let poller: PollThread

    /// - Parameter wake: called on the polling thread when packets wait; it must make the main thread call `run`.
    init(type: String, name: String, time: TimeSource, wake: @escaping @Sendable () -> Void) throws(DpifError) {
        poller = try PollThread(queue: queue, wake: wake)
        var capabilities = DpifCapabilities()
        capabilities.tunnelPushPop = true
        super.init(type: type, name: name, capabilities: capabilities, time: time)
    }

    deinit { poller.stop() }

    public override func portAdded(_ number: UInt32, _ device: any PortDevice) {
        if let polled = device as? any PolledDevice { poller.add(number, polled.source) }
    }

    public override func portRemoved(_ number: UInt32) { poller.remove(number) }

    public override func run() {
        super.run()
        for item in queue.drain() where port(item.port) != nil {
            receive(Packet(item.bytes), on: item.port)
        }
    }
}

/// Makes userspace datapaths.
public final class NetdevProvider: DpifProvider {
    public let type = "netdev"
    private let time: TimeSource
    private let wake: @Sendable () -> Void
    private var open: Set<String> = []

    public init(time: TimeSource, wake: @escaping @Sendable () -> Void) {
        self.time = time
        self.wake = wake
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        let datapath = try NetdevDatapath(type: type, name: name, time: time, wake: wake)
        open.insert(name)
        return datapath
    }

    public func enumerate() -> [String] { open.sorted() }

    public func portType(_ type: String) -> String { type == "internal" ? "tap" : type }
}
