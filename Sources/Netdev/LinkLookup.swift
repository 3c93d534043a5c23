// Finding interfaces by their names, by rtnetlink(7): ioctl(2) and if_nametoindex(3) have the kernel look for a module of the name of an
// interface that is not there, which takes long.

import CLinux
import CMnl
import Glibc
import Synchronization

/// Asks the kernel for the numbers of interfaces. Safe on any thread.
enum LinkLookup {
    private struct State {
        var socket: OpaquePointer?
        var sequence: UInt32 = 0
        var buffer = [UInt8](repeating: 0, count: 16_384)
    }
    private static let state = Mutex(State())

    /// The number of the interface of a name; 0: there is none.
    static func index(of name: String) -> Int32 {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            guard let socket = s.socket, let answer = ask(socket, name, &s) else { return Int32(clamping: if_nametoindex(name)) }
            return answer
        }
    }

    private static func open() -> OpaquePointer? {
        guard let socket = mnl_socket_open2(NETLINK_ROUTE, Int32(SOCK_CLOEXEC.rawValue)) else { return nil }
        // A port number of the kernel's choice (MNL_SOCKET_AUTOPID).
        guard mnl_socket_bind(socket, 0, 0) == 0 else {
            mnl_socket_close(socket)
            return nil
        }
        return socket
    }

    /// Nil: there was no answer to make sense of.
    private static func ask(_ socket: OpaquePointer, _ name: String, _ s: inout State) -> Int32? {
        s.sequence &+= 1
        let sequence = s.sequence
        return s.buffer.withUnsafeMutableBytes { (buffer) -> Int32? in
            guard let start = buffer.baseAddress, let header = mnl_nlmsg_put_header(start) else { return nil }
            header.pointee.nlmsg_type = UInt16(RTM_GETLINK)
            header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST)
            header.pointee.nlmsg_seq = sequence
            _ = mnl_nlmsg_put_extra_header(header, MemoryLayout<ifinfomsg>.size)
            mnl_attr_put_strz(header, UInt16(IFLA_IFNAME), name)
            guard mnl_socket_sendto(socket, header, Int(header.pointee.nlmsg_len)) >= 0 else { return nil }
            while true {
                let count = mnl_socket_recvfrom(socket, start, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return nil }
                var left = Int32(clamping: count)
                var next = UnsafePointer(start.assumingMemoryBound(to: nlmsghdr.self)) as UnsafePointer<nlmsghdr>?
                while let message = next, mnl_nlmsg_ok(message, left) {
                    // What answers an earlier question is of no interest.
                    if message.pointee.nlmsg_seq == sequence {
                        let size = mnl_nlmsg_get_payload_len(message)
                        guard Int(message.pointee.nlmsg_type) == RTM_NEWLINK, size >= MemoryLayout<ifinfomsg>.size,
                            let payload = mnl_nlmsg_get_payload(message)
                        else { return 0 }
                        return payload.loadUnaligned(as: ifinfomsg.self).ifi_index
                    }
                    next = UnsafePointer(mnl_nlmsg_next(message, &left))
                }
            }
        }
    }
}
