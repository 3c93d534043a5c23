// A counter of the kernel (eventfd) as a channel of an event loop. What is asked for through it takes turns with the loop's sockets; tasks
// do not: the loop carries out all that are due before it looks at sockets again, so that tasks which follow each other keep it from them.

import CLinux
import NIOCore
import NIOPosix

/// Makes channels of counters.
public enum EventChannel {
    /// Makes a counter and has `loop` watch it, unless the loop has no sockets (those of tests) or the system no descriptor left.
    /// - Parameters:
    ///   - count: what the counter begins with.
    ///   - isSemaphore: each read takes one off; else a read takes all.
    ///   - isWatched: reading begins at once.
    ///   - onRead: called on the loop after each read.
    ///   - ready: called on the loop, at once or soon, with the channel and the descriptor, which the channel owns.
    public static func make(
        on loop: any EventLoop, count: UInt64 = 0, isSemaphore: Bool = false, isWatched: Bool, onRead: @escaping () -> Void,
        _ ready: @escaping (_ channel: any Channel, _ descriptor: Int32) -> Void
    ) {
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: loop) else { return }
        let event = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC) | (isSemaphore ? Int32(EFD_SEMAPHORE) : 0))
        guard event >= 0 else { return }
        if count > 0 { eventfd_write(event, count) }
        let opened = bootstrap.channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: MemoryLayout<UInt64>.size))
            .takingOwnershipOfDescriptor(input: event)
            .assumeIsolated()
        opened.whenSuccess { channel in
            do {
                try channel.pipeline.syncOperations.addHandler(Reader(onRead))
                if isWatched { _ = channel.setOption(.autoRead, value: true) }
                ready(channel, event)
            } catch { channel.close(promise: nil) }
        }
        opened.whenFailure { _ in _ = CLinux.close(event) }
    }

    private final class Reader: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let onRead: () -> Void

        init(_ onRead: @escaping () -> Void) { self.onRead = onRead }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { onRead() }
    }
}
