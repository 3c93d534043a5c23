// Whoever asks for runs of the main loop all the time keeps it neither from its sockets nor from other threads' tasks.

import NIOCore
import NIOPosix
import Testing

@testable import Bridge

@Suite struct MainLoopTests {
    /// Takes one connection after another, for as long as the test runs.
    private final class Greeter: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        func channelActive(context: ChannelHandlerContext) {
            _ = context.writeAndFlush(NIOAny(ByteBuffer(string: "hello")))
            context.close(promise: nil)
        }
    }

    @Test(.timeLimit(.minutes(10))) func runsTakeTurnsWithSockets() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let (loop, other) = (group.next(), group.next())
        let server = try await ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Greeter()) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let made = try await loop.submit {
            let main = MainLoop(eventLoop: loop)
            // Every run asks for the next.
            main.add { main.waker.wake() }
            main.start()
            main.waker.wake()
            return NIOLoopBound(main, eventLoop: loop)
        }.get()
        for _ in 0..<20 {
            let before = try await loop.submit { made.value.count }.get()
            let client = try await ClientBootstrap(group: other).connect(to: try #require(server.localAddress)).get()
            try await client.closeFuture.get()
            // It did run meanwhile.
            #expect(try await loop.submit { made.value.count }.get() > before)
        }
        try await loop.submit { made.value.stop() }.get()
        try await server.close()
        try await group.shutdownGracefully()
    }
}
