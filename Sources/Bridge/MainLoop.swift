// The heartbeat of the daemon: runs the switch and the configuration after something happened, and now and then.

import CLinux
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Whether a thread has asked for a run that has not begun, and the descriptor by which it asks.
private final class RunRequest: Sendable {
    let isMade = Atomic<Bool>(false)
    /// An eventfd that the loop watches; negative: there is none (yet). It stays open for as long as anybody may write to it.
    let descriptor = Atomic<Int32>(-1)

    deinit {
        let own = descriptor.load(ordering: .relaxed)
        if own >= 0 { _ = Glibc.close(own) }
    }
}

/// Asks the main loop for a prompt run, from any thread.
public final class MainLoopWaker: Sendable {
    private let request: RunRequest
    private let eventLoop: any EventLoop
    private let loop: NIOLoopBound<MainLoop>

    fileprivate init(_ loop: MainLoop, _ eventLoop: any EventLoop, _ request: RunRequest) {
        self.request = request
        self.eventLoop = eventLoop
        self.loop = NIOLoopBound(loop, eventLoop: eventLoop)
    }

    /// Returns at once; the run follows on the main thread. Calls before it count as one, however long it takes to come.
    ///
    /// It is asked for by a descriptor that the loop watches like any socket, so that all sockets have their turn between runs. Tasks would
    /// not do: the event loop carries out all that it is given before it looks at sockets, so that a thread which asks all the time would
    /// keep it from them.
    public func wake() {
        guard !request.isMade.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let descriptor = request.descriptor.load(ordering: .acquiring)
        if descriptor >= 0 {
            eventfd_write(descriptor, 1)
        } else {
            eventLoop.execute { [self] in loop.value.runSoon() }
        }
    }
}

/// Runs what is due. Confined to the main thread, which is the event loop.
public final class MainLoop {
    /// While things happen, and while nothing does, in milliseconds.
    private static let busyInterval: Int64 = 20
    private static let idleInterval: Int64 = 100
    /// The least time between runs that activity asks for, in milliseconds.
    private static let smallestGap: Int64 = 5
    /// For how many runs after something happened the loop stays busy.
    private static let busyRuns = 10

    private let eventLoop: any EventLoop
    /// What a run does, in order.
    private var steps: [() -> Void] = []
    private var timer: Scheduled<Void>?
    private var busy = 0
    /// The next run was asked for by activity.
    private var isPrompt = false
    private var lastRun = NIODeadline.now()
    private var lastEnd = NIODeadline.now()
    /// The least time between the end of a run and the next. The event loop carries out what it is given before it looks at sockets, so
    /// that runs asked for without a pause would keep it from them.
    private static let pause = TimeAmount.microseconds(50)
    private var isRunning = false
    private var isStopped = false
    /// Something was noted during a run that is not done by it.
    private var isUnfinished = false
    /// Watches the descriptor of `request`.
    private var channel: (any Channel)?
    /// How often the loop ran.
    public private(set) var count: UInt64 = 0
    private let request = RunRequest()
    public private(set) lazy var waker = MainLoopWaker(self, eventLoop, request)

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Adds something to be done in every run.
    public func add(_ step: @escaping () -> Void) { steps.append(step) }

    /// Starts running.
    public func start() {
        schedule()
        watchDescriptor()
    }

    /// Runs no more.
    public func stop() {
        isStopped = true
        timer?.cancel()
        channel?.close(promise: nil)
    }

    /// From soon on, runs are asked for by a descriptor; until then, and where the loop has no sockets (those of tests) or the system no
    /// descriptor left, by tasks.
    private func watchDescriptor() {
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: eventLoop) else { return }
        let event = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard event >= 0 else { return }
        let own = fcntl(event, F_DUPFD_CLOEXEC, 0)
        guard own >= 0 else {
            _ = Glibc.close(event)
            return
        }
        let opened = bootstrap.channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: MemoryLayout<UInt64>.size))
            .takingOwnershipOfDescriptor(input: event)
            .assumeIsolated()
        opened.whenSuccess { [weak self] channel in
            guard let self, !isStopped, (try? channel.pipeline.syncOperations.addHandler(WakeHandler(self))) != nil else {
                channel.close(promise: nil)
                _ = Glibc.close(own)
                return
            }
            self.channel = channel
            request.descriptor.store(own, ordering: .releasing)
        }
        opened.whenFailure { _ in
            _ = Glibc.close(event)
            _ = Glibc.close(own)
        }
    }

    /// The descriptor was written to.
    fileprivate func woken() {
        busy = Self.busyRuns
        guard !isRunning, !isStopped else { return }
        timer?.cancel()
        run()
    }

    /// Something happened: runs now, and more often for a while. On the main thread.
    public func runSoon() {
        busy = Self.busyRuns
        guard !isRunning, !isStopped else { return }
        timer?.cancel()
        guard .now() - lastEnd < Self.pause else {
            run()
            return
        }
        isPrompt = true
        timer = eventLoop.assumeIsolated().scheduleTask(deadline: lastEnd + Self.pause) { [weak self] in self?.run() }
    }

    /// Something happened that can wait for a moment: the next run comes in a millisecond, or when the last one is a few
    /// milliseconds past. On the main thread.
    public func noteActivity() {
        busy = Self.busyRuns
        guard !isRunning else {
            isUnfinished = true
            return
        }
        guard !isPrompt, timer != nil else { return }
        timer?.cancel()
        scheduleSoon()
    }

    private func scheduleSoon() {
        isPrompt = true
        let due = max(lastRun + .milliseconds(Self.smallestGap), .now() + .milliseconds(1))
        timer = eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in self?.run() }
    }

    private func run() {
        guard !isRunning, !isStopped else { return }
        isRunning = true
        isPrompt = false
        isUnfinished = false
        _ = request.isMade.exchange(false, ordering: .acquiringAndReleasing)
        lastRun = .now()
        count += 1
        for step in steps { step() }
        isRunning = false
        lastEnd = .now()
        schedule()
    }

    private func schedule() {
        guard !isStopped else { return }
        if isUnfinished {
            scheduleSoon()
            return
        }
        let interval = busy == 0 ? Self.idleInterval : Self.busyInterval
        if busy > 0 { busy -= 1 }
        timer = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(interval)) { [weak self] in self?.run() }
    }
}

/// Reads the descriptor by which runs are asked for.
private final class WakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private weak var loop: MainLoop?

    init(_ loop: MainLoop) { self.loop = loop }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { loop?.woken() }
}
