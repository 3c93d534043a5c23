// Keeps the daemon from falling asleep between the requests of a tool that waits for each answer: on a machine that is otherwise idle,
// falling asleep and being woken takes longer than carrying out a request.

import CLinux
import NIOCore
import NIOPosix

/// Keeps an event loop awake, and looking at its sockets, for a moment at a time. Confined to the loop.
///
/// Tasks cannot do it: the loop carries out all that is due before it looks at sockets again, so that tasks which follow each other at once
/// keep it from them. This is a descriptor that can always be read: while it is watched, the loop comes by after every look at the others.
final class Alertness {
    /// For how long after a request the next is waited for. Tools that wait for each answer are back within a few tens of microseconds.
    private static let length = TimeAmount.microseconds(100)

    private let channel: any Channel
    private var until = NIODeadline.now()
    private(set) var isOn = false

    private init(_ channel: any Channel) { self.channel = channel }

    /// Calls back with a new one, at once or soon, unless the loop has no sockets (those of tests) or the system no descriptor left.
    static func make(on loop: any EventLoop, _ ready: @escaping (Alertness) -> Void) {
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: loop) else { return }
        // Each read of a semaphore takes one; this many last.
        let event = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC) | Int32(EFD_SEMAPHORE))
        guard event >= 0 else { return }
        eventfd_write(event, UInt64.max - 1)
        let opened = bootstrap.channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: MemoryLayout<UInt64>.size))
            .takingOwnershipOfDescriptor(input: event)
            .assumeIsolated()
        opened.whenSuccess { channel in
            let made = Alertness(channel)
            do {
                try channel.pipeline.syncOperations.addHandler(Watch(made))
                ready(made)
            } catch { channel.close(promise: nil) }
        }
        opened.whenFailure { _ in _ = CLinux.close(event) }
    }

    /// Stays awake for a moment from now.
    func extend() {
        until = .now() + Self.length
        guard !isOn else { return }
        isOn = true
        _ = channel.setOption(.autoRead, value: true)
    }

    /// No more is needed.
    func close() { channel.close(promise: nil) }

    private func look() {
        guard .now() >= until else { return }
        isOn = false
        _ = channel.setOption(.autoRead, value: false)
    }

    private final class Watch: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private unowned let alertness: Alertness

        init(_ alertness: Alertness) { self.alertness = alertness }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { alertness.look() }
    }
}
