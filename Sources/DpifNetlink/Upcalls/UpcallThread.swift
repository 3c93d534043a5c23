// The thread that reads what the kernel sends by itself: packets that no flow covers, packets of `userspace` actions, and news of ports.
//
// There is a socket for each processor, since the module sends a packet to the socket of the processor that it met it on; one thread reads
// them all, into queues that are bounded for each port. What did not fit into a socket was dropped by the kernel, and is counted.

import CLinux
import Dpif
import Glibc
import NIOConcurrencyHelpers

/// One thread that reads the upcall sockets of a datapath.
///
/// `@unchecked Sendable`: the channels are made before the thread starts and used by it alone until it has ended; only their numbers, which
/// never change, are read by others.
final class UpcallThread: @unchecked Sendable {
    private let channels: [MnlChannel]
    private let news: MnlChannel
    private let epoll: Int32
    private let stopEvent: Int32
    private let inbox: UpcallInbox
    private let packetFamily: UInt16
    private let wake: @Sendable () -> Void
    private let isDone = NIOLockedValueBox(false)
    /// The addresses of the sockets, one for each processor.
    let portIDs: [UInt32]
    /// How much is read of one socket before the others have their turn.
    private static let burst = 64

    /// - Parameter wake: called on the thread when the inbox was empty and is not any more.
    init(families: OpenVSwitchFamilies, inbox: UpcallInbox, processors: Int, wake: @escaping @Sendable () -> Void) throws(DpifError) {
        var list: [MnlChannel] = []
        for _ in 0..<max(1, processors) { list.append(try MnlChannel(NETLINK_GENERIC)) }
        channels = list
        portIDs = list.map(\.portID)
        news = try MnlChannel(NETLINK_GENERIC)
        if let group = families.port.groups[OVS_VPORT_MCGROUP] { try news.join(group) }
        packetFamily = families.packet.id
        self.inbox = inbox
        self.wake = wake
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw DpifError(errno, "epoll") }
        let stopEvent = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard stopEvent >= 0 else {
            let error = errno
            close(epoll)
            throw DpifError(error, "eventfd")
        }
        self.epoll = epoll
        self.stopEvent = stopEvent
        watch(stopEvent, tag: .max)
        watch(news.fileDescriptor, tag: .max - 1)
        for (i, channel) in channels.enumerated() { watch(channel.fileDescriptor, tag: UInt64(i)) }
        var thread = pthread_t()
        // The thread holds this object until it ends.
        let context = Unmanaged.passRetained(self).toOpaque()
        let failed = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<UpcallThread>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context)
        guard failed == 0 else {
            Unmanaged<UpcallThread>.fromOpaque(context).release()
            throw DpifError(failed, "upcall thread")
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

    /// Ends the thread soon.
    func stop() {
        isDone.withLockedValue { $0 = true }
        var one: UInt64 = 1
        _ = write(stopEvent, &one, 8)
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while !isDone.withLockedValue({ $0 }) {
            let n = epoll_wait(epoll, &events, 64, -1)
            guard n > 0 else { continue }
            for event in events[0..<Int(n)] where event.data.u64 != .max {
                if event.data.u64 == .max - 1 { readNews() } else { readPackets(channels[Int(event.data.u64)]) }
            }
        }
    }

    private func readPackets(_ channel: MnlChannel) {
        var mustWake = false
        for _ in 0..<Self.burst {
            do throws(DpifError) {
                guard let datagram = try channel.receive() else { break }
                for message in try NetlinkMessage.split(datagram[...]) where message.type == packetFamily {
                    let upcall = try KernelUpcall(message)
                    if inbox.packets.append(upcall.inPort, upcall) { mustWake = true }
                }
            } catch {
                switch error.errno {
                case EINTR: continue
                case ENOBUFS: inbox.noteOverflow()
                default: inbox.noteMalformed()
                }
            }
        }
        if mustWake { wake() }
    }

    private func readNews() {
        var mustWake = false
        for _ in 0..<Self.burst {
            do throws(DpifError) {
                guard let datagram = try news.receive() else { break }
                if inbox.append(portNews: datagram) { mustWake = true }
            } catch {
                if error.errno == EINTR { continue }
                inbox.notePortNewsLost()
                mustWake = true
            }
        }
        if mustWake { wake() }
    }
}
