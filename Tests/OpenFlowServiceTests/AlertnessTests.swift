// A loop that is kept awake looks at its sockets all the while, and falls asleep in the end.

import NIOCore
import NIOEmbedded
import NIOPosix
import Testing

@testable import OpenFlowService

@Suite struct AlertnessTests {
    /// What a test notes on the loop.
    private final class Notes {
        var alertness: Alertness?
        var passes = 0
        var end: EventLoopPromise<Int>
        init(_ end: EventLoopPromise<Int>) { self.end = end }

        /// Waits for the end of alertness, in tasks between which the loop looks at its sockets.
        func watch(_ loop: any EventLoop) {
            passes += 1
            guard let alertness, alertness.isOn else {
                alertness?.close()
                end.succeed(passes)
                return
            }
            loop.assumeIsolated().scheduleTask(in: .milliseconds(1)) { self.watch(loop) }
        }
    }

    @Test(.timeLimit(.minutes(10))) func fallsAsleepInTheEnd() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let end = loop.makePromise(of: Int.self)
        loop.execute {
            let notes = Notes(end)
            notes.alertness = Alertness(on: loop) {
                // The loop's next task: the channel may be there before the initialiser returns.
                loop.assumeIsolated().execute {
                    notes.alertness?.extend()
                    #expect(notes.alertness?.isOn == true)
                    notes.alertness?.extend()
                    notes.watch(loop)
                }
            }
        }
        #expect(try await end.futureResult.get() > 1)
        try await group.shutdownGracefully()
    }

    @Test func aLoopWithoutSocketsHasNone() {
        var isReady = false
        let alertness = Alertness(on: EmbeddedEventLoop()) { isReady = true }
        alertness.extend()
        #expect(!isReady && !alertness.isOn)
    }
}
