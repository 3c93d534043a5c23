// Keeps the daemon from falling asleep between the requests of a tool that waits for each answer: on a machine that is otherwise idle,
// falling asleep and being woken takes longer than carrying out a request.

import NIOCore

/// Keeps an event loop awake, and looking at its sockets, for a moment at a time. Confined to the loop.
///
/// It has a counter that can always be read: while that is watched, the loop comes by after every look at its other sockets.
final class Alertness {
    /// For how long after a request the next is waited for. Tools that wait for each answer are back within a few tens of microseconds.
    private static let length = TimeAmount.microseconds(100)

    private var channel: (any Channel)?
    private var until = NIODeadline.now()
    private var isClosed = false
    private(set) var isOn = false

    /// - Parameter ready: called when it can be extended, at once or soon; never, where the loop has no sockets.
    init(on loop: any EventLoop, ready: @escaping () -> Void = {}) {
        // Each read takes one; this many last.
        EventChannel.make(on: loop, count: UInt64.max - 1, isSemaphore: true, isWatched: false) { [weak self] in
            self?.look()
        } _: { [weak self] channel, _ in
            guard let self, !isClosed else { return channel.close(promise: nil) }
            self.channel = channel
            ready()
        }
    }

    /// Stays awake for a moment from now.
    func extend() {
        until = .now() + Self.length
        guard !isOn, let channel else { return }
        isOn = true
        _ = channel.setOption(.autoRead, value: true)
    }

    /// No more is needed.
    func close() {
        isClosed = true
        channel?.close(promise: nil)
    }

    private func look() {
        guard .now() >= until else { return }
        isOn = false
        _ = channel?.setOption(.autoRead, value: false)
    }
}
