// The heartbeat of the daemon: runs the switch and the configuration after something happened, and now and then.

import NIOCore
import Synchronization

/// Whether a thread has asked for a run that has not begun.
private final class RunRequest: Sendable {
    let isMade = Atomic<Bool>(false)
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

    /// Returns at once; the run follows on the main thread. Calls before it count as one, however long it takes to come: the event loop
    /// carries out all that it is given before it looks at sockets, so that a thread which asks all the time would keep it from them.
    public func wake() {
        guard !request.isMade.exchange(true, ordering: .acquiringAndReleasing) else { return }
        eventLoop.execute { [self] in loop.value.runSoon() }
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
    /// How often the loop ran.
    public private(set) var count: UInt64 = 0
    private let request = RunRequest()
    public private(set) lazy var waker = MainLoopWaker(self, eventLoop, request)

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Adds something to be done in every run.
    public func add(_ step: @escaping () -> Void) { steps.append(step) }

    /// Starts running.
    public func start() { schedule() }

    /// Runs no more.
    public func stop() {
        isStopped = true
        timer?.cancel()
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
        guard !isRunning, !isPrompt, timer != nil else { return }
        isPrompt = true
        timer?.cancel()
        let due = max(lastRun + .milliseconds(Self.smallestGap), .now() + .milliseconds(1))
        timer = eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in self?.run() }
    }

    private func run() {
        guard !isRunning, !isStopped else { return }
        isRunning = true
        isPrompt = false
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
        let interval = busy == 0 ? Self.idleInterval : Self.busyInterval
        if busy > 0 { busy -= 1 }
        timer = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(interval)) { [weak self] in self?.run() }
    }
}
