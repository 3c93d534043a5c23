// What the kernel tells of changing interfaces (rtnetlink(7), group RTMGRP_LINK), so that nobody has to ask it all the time.

import CLinux
import Glibc
import Synchronization

/// Counts the changes of watched interfaces. Safe on any thread.
enum LinkEvents {
    private struct State {
        var descriptor: Int32 = -1
        /// By interface index: how many devices watch it, and how often it changed.
        var watched: [Int32: (devices: Int, changes: UInt64)] = [:]
        /// Added to every count: changes of which the kernel did not say whose they were.
        var unattributed: UInt64 = 0
        var buffer = [UInt8](repeating: 0, count: 16_384)
    }
    private static let state = Mutex(State())

    /// Starts to count an interface's changes. Calls nest.
    static func watch(_ index: Int32) {
        state.withLock { s in
            if s.descriptor < 0 { s.descriptor = open() }
            s.watched[index, default: (0, 0)].devices += 1
        }
    }

    static func unwatch(_ index: Int32) {
        state.withLock { s in
            guard let entry = s.watched[index] else { return }
            s.watched[index] = entry.devices > 1 ? (entry.devices - 1, entry.changes) : nil
        }
    }

    /// A number that is another one when the interface may have changed. Does not block.
    static func changes(of index: Int32) -> UInt64 {
        state.withLock { s in
            drain(&s)
            return s.unattributed &+ (s.watched[index]?.changes ?? 0)
        }
    }

    private static func open() -> Int32 {
        let fd = socket(
            AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            NETLINK_ROUTE)
        guard fd >= 0 else { return -1 }
        var address = sockaddr_nl()
        address.nl_family = UInt16(AF_NETLINK)
        address.nl_groups = UInt32(RTMGRP_LINK)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
            }
        }
        guard bound == 0 else {
            close(fd)
            return -1
        }
        return fd
    }

    /// Takes the messages that wait. Without a socket, and when messages were lost, everything may have changed.
    private static func drain(_ s: inout State) {
        guard s.descriptor >= 0 else {
            s.unattributed &+= 1
            return
        }
        let descriptor = s.descriptor
        while true {
            let count = s.buffer.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == ENOBUFS {
                s.unattributed &+= 1
                continue
            }
            guard count > 0 else { return }
            let buffer = s.buffer
            buffer.withUnsafeBytes { read(UnsafeRawBufferPointer(rebasing: $0[0..<min(count, $0.count)]), &s) }
        }
    }

    /// Reads messages: a header of 16 bytes that begins with the length, then, for links, the index 4 bytes further on.
    private static func read(_ bytes: UnsafeRawBufferPointer, _ s: inout State) {
        var at = 0
        while bytes.count - at >= 16 {
            let length = Int(bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
            guard length >= 16, length <= bytes.count - at else { return }
            let type = Int(bytes.loadUnaligned(fromByteOffset: at + 4, as: UInt16.self))
            if type == RTM_NEWLINK || type == RTM_DELLINK, length >= 24 {
                let index = bytes.loadUnaligned(fromByteOffset: at + 20, as: Int32.self)
                s.watched[index]?.changes &+= 1
            }
            at += (length + 3) & ~3
        }
    }
}
