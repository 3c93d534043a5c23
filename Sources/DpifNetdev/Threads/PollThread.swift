// The polling thread: waits for packets on the descriptors of a datapath's ports, reads them, and queues them for the
// main thread, bounded for each port so that a flood on one cannot starve the others.

import CLinux
import Dpif
import Glibc
import NIOConcurrencyHelpers
import Netdev
import Vlog

/// Packets read and not yet processed.
typealias PacketQueue = PortQueue<[UInt8]>

/// One thread that reads packet sources.
final class PollThread: Sendable {
    private let epoll: Int32
    private let stopEvent: Int32
    private let sources = NIOLockedValueBox<[UInt32: PacketSource]>([:])
    private let queue: PacketQueue
    private let wake: @Sendable () -> Void
    private let isDone = NIOLockedValueBox(false)

    /// - Parameter wake: called when the queue was empty and is not any more.
    init(queue: PacketQueue, wake: @escaping @Sendable () -> Void) throws(DpifError) {
        self.queue = queue
        self.wake = wake
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw DpifError(errno, "epoll") }
        stopEvent = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard stopEvent >= 0 else {
            let error = errno
            close(epoll)
            throw DpifError(error, "eventfd")
        }
        watch(stopEvent, tag: .max)
        var thread = pthread_t()
        // The thread holds this object until it ends.
        let context = Unmanaged.passRetained(self).toOpaque()
        let failed = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                let poller = Unmanaged<PollThread>.fromOpaque(context).takeRetainedValue()
                poller.run()
                return nil
            }, context)
        guard failed == 0 else {
            Unmanaged<PollThread>.fromOpaque(context).release()
            throw DpifError(failed, "polling thread")
        }
        pthread_detach(thread)
    }

    deinit {
        close(epoll)
        close(stopEvent)
    }

    private func watch(_ fd: Int32, tag: UInt64) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = tag
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)
    }

    func add(_ port: UInt32, _ source: PacketSource) {
        sources.withLockedValue { $0[port] = source }
        watch(source.fileDescriptor, tag: UInt64(port))
    }

    /// Returns when the thread reads this port no more.
    func remove(_ port: UInt32) {
        sources.withLockedValue { sources in
            guard let source = sources.removeValue(forKey: port) else { return }
            epoll_ctl(epoll, EPOLL_CTL_DEL, source.fileDescriptor, nil)
        }
    }

    func stop() {
        isDone.withLockedValue { $0 = true }
        var one: UInt64 = 1
        _ = write(stopEvent, &one, 8)
    }

    private func run() {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: maxPacketSize, alignment: 64)
        defer { buffer.deallocate() }
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while !isDone.withLockedValue({ $0 }) {
            let n = epoll_wait(epoll, &events, 64, -1)
            guard n > 0 else { continue }
            for event in events[0..<Int(n)] where event.data.u64 != .max {
                read(UInt32(truncatingIfNeeded: event.data.u64), buffer)
            }
        }
    }

    /// Reads a burst of one port. The lock keeps the port's descriptor open meanwhile.
    private func read(_ port: UInt32, _ buffer: UnsafeMutableRawBufferPointer) {
        var mustWake = false
        sources.withLockedValue { sources in
            guard let source = sources[port] else { return }
            for _ in 0..<32 {
                guard let size = source.read(buffer) else { break }
                guard size > 0, source.policer.admits(size) else { continue }
                if queue.append(port, [UInt8](buffer[0..<size])) { mustWake = true }
            }
        }
        if mustWake { wake() }
    }
}
