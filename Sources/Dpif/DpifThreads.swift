// What a datapath with threads of its own tells of them: the `dpif-netdev/pmd-*` commands.

/// A thread that polls receive queues, or the main thread.
public struct ThreadReport: Sendable {
    /// A receive queue that the thread polls.
    public struct Queue: Sendable {
        public var port: String
        public var queue: Int
        /// Percent of a processor that it took lately; nil: not known yet.
        public var usage: Int?
        public init(port: String, queue: Int, usage: Int?) {
            self.port = port
            self.queue = queue
            self.usage = usage
        }
    }

    /// Nil for the main thread.
    public var core: Int?
    public var node = 0
    /// Polls pinned queues only.
    public var isIsolated = false
    public var queues: [Queue] = []
    /// Percent of a processor that went elsewhere than to packets of queues; nil: not known yet.
    public var overhead: Int?

    // Since the start, or since they were cleared.
    public var received: UInt64 = 0
    public var recirculations: UInt64 = 0
    /// Packets whose flow was that of the packet before.
    public var simpleHits: UInt64 = 0
    /// Packets whose flow a cache named.
    public var cacheHits: UInt64 = 0
    public var megaflowHits: UInt64 = 0
    /// Subtables looked at for `megaflowHits`.
    public var subtableLookups: UInt64 = 0
    public var upcalls: UInt64 = 0
    public var lostUpcalls: UInt64 = 0
    public var sent: UInt64 = 0
    public var sentBatches: UInt64 = 0
    public var idleCycles: UInt64 = 0
    public var busyCycles: UInt64 = 0
    public var idleIterations: UInt64 = 0
    public var busyIterations: UInt64 = 0
    public var sleeps: UInt64 = 0
    public var sleptMicroseconds: UInt64 = 0
    /// Milliseconds that the numbers are of.
    public var duration: Int64 = 0
    /// Cycles of the processor's clock in a second.
    public var cyclesPerSecond: UInt64 = 1

    public init(core: Int?) { self.core = core }
}

/// The threads of a datapath. Called on the main thread; nothing here waits for them.
public protocol DpifThreads: AnyObject {
    /// The polling threads by processor, then the main thread. Usage is over the last `seconds`, 5 to 60.
    func reports(seconds: Int) -> [ThreadReport]
    /// Counts from here on.
    /// - Parameter core: one polling thread only.
    func clearStatistics(core: Int?)
    /// Deals the receive queues anew, by what was measured.
    func rebalance()
}
