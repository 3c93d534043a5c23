// The heartbeat: whoever asks for runs all the time keeps nobody else from being heard.

import Bridge
import Glibc
import NIOCore
import NIOPosix
import Testing

@Suite struct MainLoopTests {
    /// Tells how often the loop had run when something came.
    private final class Listener: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let loop: MainLoop
        private let heard: EventLoopPromise<UInt64>

        init(_ loop: MainLoop, _ heard: EventLoopPromise<UInt64>) {
            self.loop = loop
            self.heard = heard
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { heard.succeed(loop.count) }
    }

    @Test(.timeLimit(.minutes(5))) func socketsHaveTheirTurnBetweenRuns() async throws {
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
        // Until the loop watches its descriptor.
        while try await eventLoop.submit({ loop.value.count }).get() < 20 { try await Task.sleep(for: .milliseconds(10)) }
        for _ in 0..<20 {
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            let heard = eventLoop.makePromise(of: UInt64.self)
            let channel = try await NIOPipeBootstrap(group: eventLoop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Listener(loop.value, heard)) }
                }
                .takingOwnershipOfDescriptor(input: ends[0]).get()
            let output = ends[1]
            let before = try await eventLoop.submit {
                #expect(write(output, "x", 1) == 1)
                return loop.value.count
            }.get()
            let after = try await heard.futureResult.get()
            #expect(after <= before + 2)
            try await channel.close()
            close(output)
        }
        let runs = try await eventLoop.submit {
            loop.value.stop()
            return loop.value.count
        }.get()
        // The runs went on all the while, one after another.
        #expect(runs > 20)
        try await group.shutdownGracefully()
    }
}
