// The heartbeat of the daemon: runs the switch and the configuration after something happened, and now and then.

import CLinux
import NIOCore
import OpenFlowService
import Synchronization

/// How threads ask for a run.
private final class Bell: Sendable {
    /// A run is asked for and has not begun.
    let isRung = Atomic<Bool>(false)
    /// The counter that the event loop watches; -1: it watches none.
    let descriptor = Atomic<Int32>(-1)
}

/// Asks the main loop for a prompt run, from any thread.
public final class MainLoopWaker: Sendable {
    private let bell: Bell
    private let eventLoop: any EventLoop
    private let loop: NIOLoopBound<MainLoop>

    fileprivate init(_ loop: MainLoop, _ eventLoop: any EventLoop, _ bell: Bell) {
        self.bell = bell
        self.eventLoop = eventLoop
        self.loop = NIOLoopBound(loop, eventLoop: eventLoop)
    }

    /// Returns at once; the run follows on the main thread, after a look at its sockets. Calls before it count as one.
    public func wake() {
        guard !bell.isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let descriptor = bell.descriptor.load(ordering: .acquiring)
        if descriptor >= 0, eventfd_write(descriptor, 1) == 0 { return }
        eventLoop.execute { [self] in loop.value.runNow() }
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
    private var isRunning = false
    private var isStopped = false
    /// Something was noted during a run that is not done by it.
    private var isUnfinished = false
    /// How often the loop ran.
    public private(set) var count: UInt64 = 0
    private let bell = Bell()
    public private(set) lazy var waker = MainLoopWaker(self, eventLoop, bell)

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Adds something to be done in every run.
    public func add(_ step: @escaping () -> Void) { steps.append(step) }

    /// Starts running.
    public func start() {
        EventChannel.make(on: eventLoop, isWatched: true) { [weak self] in
            self?.runNow()
        } _: { [bell] _, descriptor in
            // The channel stays open as long as the process does.
            bell.descriptor.store(descriptor, ordering: .releasing)
        }
        schedule()
    }

    /// Runs no more.
    public func stop() {
        isStopped = true
        bell.descriptor.store(-1, ordering: .releasing)
        timer?.cancel()
    }

    /// Something happened: runs, and more often for a while.
    fileprivate func runNow() {
        busy = Self.busyRuns
        guard !isRunning, !isStopped else { return }
        timer?.cancel()
        run()
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
        _ = bell.isRung.exchange(false, ordering: .acquiringAndReleasing)
        lastRun = .now()
        count += 1
        for step in steps { step() }
        isRunning = false
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
