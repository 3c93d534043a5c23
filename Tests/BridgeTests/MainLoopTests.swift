// The heartbeat: whoever asks for runs all the time keeps nobody else from being heard.

import Bridge
import Glibc
import NIOCore
import NIOPosix
import Testing

@Suite struct MainLoopTests {
    /// Tells when something came.
    private final class Listener: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let heard: EventLoopPromise<Void>

        init(_ heard: EventLoopPromise<Void>) { self.heard = heard }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { heard.succeed() }
    }

    @Test(.timeLimit(.minutes(1))) func socketsHaveTheirTurnBetweenRuns() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        let loop = try await eventLoop.submit {
            let loop = MainLoop(eventLoop: eventLoop)
            let waker = loop.waker
            // Each run takes a while, and the next is asked for before it ends.
            loop.add {
                waker.wake()
                usleep(2000)
            }
            loop.start()
            waker.wake()
            return NIOLoopBound(loop, eventLoop: eventLoop)
        }.get()
        try await Task.sleep(for: .milliseconds(100))
        for _ in 0..<20 {
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            let heard = eventLoop.makePromise(of: Void.self)
            let channel = try await NIOPipeBootstrap(group: eventLoop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Listener(heard)) }
                }
                .takingOwnershipOfDescriptor(input: ends[0]).get()
            let begin = ContinuousClock.now
            #expect(write(ends[1], "x", 1) == 1)
            try await heard.futureResult.get()
            #expect(ContinuousClock.now - begin < .seconds(1))
            try await channel.close()
            close(ends[1])
        }
        let runs = try await eventLoop.submit {
            loop.value.stop()
            return loop.value.count
        }.get()
        // The runs went on all the while, one after another.
        #expect(runs > 20)
        try await group.shutdownGracefully()
    }

    /// What was noted during a run is done soon, and not when the loop would have come by anyway.
    @Test func whatARunLeavesIsDoneSoon() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        let done = eventLoop.makePromise(of: Void.self)
        let loop = try await eventLoop.submit {
            let loop = MainLoop(eventLoop: eventLoop)
            loop.add { [unowned loop] in if loop.count < 100 { loop.noteActivity() } else { done.succeed() } }
            loop.start()
            return NIOLoopBound(loop, eventLoop: eventLoop)
        }.get()
        let begin = ContinuousClock.now
        try await done.futureResult.get()
        // A hundred runs; twenty milliseconds apart they would take two seconds.
        #expect(ContinuousClock.now - begin < .milliseconds(1500))
        try await eventLoop.submit { loop.value.stop() }.get()
        try await group.shutdownGracefully()
    }
}
