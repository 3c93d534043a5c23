// What the kernel tells of changing interfaces and their addresses (rtnetlink(7)), so that nobody has to ask it all the time.

import CLinux
import CMnl
import Glibc
import Synchronization

/// Counts the changes of watched interfaces. Safe on any thread.
enum LinkEvents {
    private struct State {
        var socket: OpaquePointer?
        /// By interface index: how many devices watch it, and how often it changed.
        var watched: [Int32: (devices: Int, changes: UInt64)] = [:]
        /// All changes, of whatever interface.
        var total: UInt64 = 0
        /// Addresses that came or went, of whatever interface.
        var addresses: UInt64 = 0
        /// Added to every count: changes of which the kernel did not say whose they were.
        var unattributed: UInt64 = 0
        var buffer = [UInt8](repeating: 0, count: 16_384)
    }
    private static let state = Mutex(State())

    /// Starts to count an interface's changes. Calls nest.
    static func watch(_ index: Int32) {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            s.watched[index, default: (0, 0)].devices += 1
        }
    }

    static func unwatch(_ index: Int32) {
        state.withLock { s in
            guard let entry = s.watched[index] else { return }
            s.watched[index] = entry.devices > 1 ? (entry.devices - 1, entry.changes) : nil
        }
    }

    /// A number that is another one when the interface may have changed, as far as `poll` and the numbers below have read the news: of a
    /// thousand interfaces each is asked about, and the kernel once.
    static func changes(of index: Int32) -> UInt64 {
        state.withLock { s in s.unattributed &+ (s.watched[index]?.changes ?? 0) }
    }

    /// Reads what the kernel has told. Does not block.
    static func poll() {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            drain(&s)
        }
    }

    /// A number that is another one when any interface may have changed. Does not block.
    static var total: UInt64 {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            drain(&s)
            return s.total &+ s.unattributed
        }
    }

    /// A number that is another one when the IP addresses of any interface may have changed. Does not block.
    static var addressChanges: UInt64 {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            drain(&s)
            return s.addresses &+ s.total &+ s.unattributed
        }
    }

    private static func open() -> OpaquePointer? {
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard let socket = mnl_socket_open2(NETLINK_ROUTE, flags) else { return nil }
        // A port number of the kernel's choice (MNL_SOCKET_AUTOPID).
        guard mnl_socket_bind(socket, UInt32(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), 0) == 0 else {
            mnl_socket_close(socket)
            return nil
        }
        return socket
    }

    /// Takes the messages that wait. Without a socket, and when messages were lost, everything may have changed.
    private static func drain(_ s: inout State) {
        guard let socket = s.socket else {
            s.unattributed &+= 1
            return
        }
        var buffer = s.buffer
        s.buffer = []
        defer { s.buffer = buffer }
        while true {
            let count = buffer.withUnsafeMutableBytes { mnl_socket_recvfrom(socket, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // More than there was room for, in the socket or in the buffer.
            if count < 0, errno == ENOBUFS || errno == ENOSPC {
                s.unattributed &+= 1
                continue
            }
            guard count > 0 else { return }
            buffer.withUnsafeBytes { read($0, count, &s) }
        }
    }

    /// Reads messages; what they say of links begins with an ifinfomsg.
    private static func read(_ bytes: UnsafeRawBufferPointer, _ count: Int, _ s: inout State) {
        var left = Int32(clamping: count)
        var next = bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
        while let message = next, mnl_nlmsg_ok(message, left) {
            let type = Int(message.pointee.nlmsg_type)
            if type == RTM_NEWLINK || type == RTM_DELLINK, mnl_nlmsg_get_payload_len(message) >= MemoryLayout<ifinfomsg>.size,
                let payload = mnl_nlmsg_get_payload(message)
            {
                s.total &+= 1
                s.watched[payload.loadUnaligned(as: ifinfomsg.self).ifi_index]?.changes &+= 1
            }
            if type == RTM_NEWADDR || type == RTM_DELADDR { s.addresses &+= 1 }
            next = UnsafePointer(mnl_nlmsg_next(message, &left))
        }
    }
}

/// The kernel's interfaces as a whole. Safe on any thread.
public enum KernelLinks {
    /// Reads the kernel's news of interfaces, after which their devices know of them. Does not block.
    public static func poll() { LinkEvents.poll() }

    /// Changes whenever an interface comes, goes or changes; without the right to be told, with every question.
    public static var changeCount: UInt64 { LinkEvents.total }
}
