// A netlink socket, and the seam at which tests put a kernel of their own.

import CLinux
import CMnl
import Dpif
import Glibc

/// Bytes to the kernel and back. Confined to one thread at a time.
protocol NetlinkChannel: AnyObject {
    /// The socket's address (nlmsg_pid), where the kernel sends to.
    var portID: UInt32 { get }
    /// Sends messages in one call. Throws the errno; EINTR when a signal came first.
    func send(_ bytes: [UInt8]) throws(DpifError)
    /// What waits, one datagram; nil when nothing does. Throws EINTR when a signal came first, ENOBUFS when the kernel had to drop messages, EMSGSIZE when one was longer
    /// than any may be.
    func receive() throws(DpifError) -> [UInt8]?
}

extension NetlinkChannel {
    /// Does what a signal may interrupt, a few times if need be.
    func persistently<T>(_ action: () throws(DpifError) -> T) throws(DpifError) -> T {
        for _ in 1..<16 {
            do throws(DpifError) {
                return try action()
            } catch {
                guard error.errno == EINTR else { throw error }
            }
        }
        return try action()
    }
}

/// A socket of libmnl's. Its owner may pass it to another thread, which then is the only one to use it.
final class MnlChannel: NetlinkChannel {
    let socket: OpaquePointer
    let portID: UInt32
    private let protocolName: String
    private let inbox: DatagramInbox

    /// Opens a socket that does not block.
    /// - Parameter receiveBuffer: bytes that may wait in the kernel; a root's wish beyond the system's limit is granted.
    /// - Parameter burst: datagrams that one call reads at most.
    init(_ netlinkProtocol: Int32, receiveBuffer: Int32 = 4 << 20, burst: Int = 32) throws(DpifError) {
        inbox = DatagramInbox(capacity: burst)
        protocolName = netlinkProtocol == NETLINK_GENERIC ? "generic netlink" : "netlink protocol \(netlinkProtocol)"
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard let socket = mnl_socket_open2(netlinkProtocol, flags) else { throw DpifError(errno, "\(protocolName) socket") }
        // A port number of the kernel's choice (MNL_SOCKET_AUTOPID).
        guard mnl_socket_bind(socket, 0, 0) == 0 else {
            let error = errno
            mnl_socket_close(socket)
            throw DpifError(error, "\(protocolName) socket")
        }
        self.socket = socket
        portID = mnl_socket_get_portid(socket)
        var size = receiveBuffer
        let fd = mnl_socket_get_fd(socket)
        if setsockopt(fd, SOL_SOCKET, Int32(SO_RCVBUFFORCE), &size, 4) != 0 { setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        // Errors come without the request that they are about.
        var on: Int32 = 1
        setsockopt(fd, Int32(SOL_NETLINK), Int32(NETLINK_CAP_ACK), &on, 4)
    }

    deinit { mnl_socket_close(socket) }

    var fileDescriptor: Int32 { mnl_socket_get_fd(socket) }

    /// Subscribes to a multicast group.
    func join(_ group: UInt32) throws(DpifError) {
        var group = group
        guard mnl_socket_setsockopt(socket, Int32(NETLINK_ADD_MEMBERSHIP), &group, 4) == 0 else {
            throw DpifError(errno, "\(protocolName) group \(group)")
        }
    }

    func send(_ bytes: [UInt8]) throws(DpifError) {
        let sent = bytes.withUnsafeBytes { mnl_socket_sendto(socket, $0.baseAddress, $0.count) }
        guard sent == bytes.count else { throw DpifError(sent < 0 ? errno : EMSGSIZE, protocolName) }
    }

    func receive() throws(DpifError) -> [UInt8]? {
        if inbox.isEmpty {
            guard inbox.fill(from: fileDescriptor) else {
                let error = errno
                if error == EAGAIN { return nil }
                throw DpifError(error, protocolName)
            }
        }
        guard let datagram = inbox.next() else { throw DpifError(EMSGSIZE, protocolName) }
        return datagram
    }
}

/// Datagrams that one call has read (recvmmsg(2)) and nobody has taken yet: calls, not bytes, are what the kernel's small answers cost.
private final class DatagramInbox {
    /// The longest datagram: a packet of 64 kB with its key and actions. Only memory that datagrams have filled is in use.
    private static let longest = 1 << 17
    private let headers: UnsafeMutableBufferPointer<clinux_mmsghdr>
    private let pieces: UnsafeMutableBufferPointer<iovec>
    private let bytes: UnsafeMutableRawBufferPointer
    /// Those of the headers that are filled and not taken.
    private var waiting = 0..<0

    init(capacity: Int) {
        bytes = .allocate(byteCount: capacity * Self.longest, alignment: 16)
        pieces = .allocate(capacity: capacity)
        headers = .allocate(capacity: capacity)
        pieces.initialize(repeating: iovec())
        headers.initialize(repeating: clinux_mmsghdr())
        for i in 0..<capacity {
            pieces[i] = iovec(iov_base: bytes.baseAddress?.advanced(by: i * Self.longest), iov_len: Self.longest)
            headers[i].msg_hdr.msg_iov = pieces.baseAddress?.advanced(by: i)
            headers[i].msg_hdr.msg_iovlen = 1
        }
    }

    deinit {
        headers.deallocate()
        pieces.deallocate()
        bytes.deallocate()
    }

    var isEmpty: Bool { waiting.isEmpty }

    /// Reads what waits in the socket, if it is not empty; false with the error in `errno` when nothing was read.
    func fill(from socket: Int32) -> Bool {
        let count = clinux_recvmmsg(socket, headers.baseAddress, UInt32(headers.count))
        waiting = 0..<max(0, Int(count))
        return count > 0
    }

    /// The next datagram; nil when it was longer than any may be, and is lost.
    func next() -> [UInt8]? {
        let i = waiting.lowerBound
        waiting = i + 1..<waiting.upperBound
        guard headers[i].msg_hdr.msg_flags & Int32(MSG_TRUNC) == 0 else { return nil }
        let start = i * Self.longest
        return [UInt8](bytes[start..<start + min(Int(headers[i].msg_len), Self.longest)])
    }
}
