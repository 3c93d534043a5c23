// What the kernel says of an interface, found by its name in one question and answer of rtnetlink(7): ioctl(2) and if_nametoindex(3) have the
// kernel look for a module of the name of an interface that is not there, which takes long, and sysfs takes three calls for each number.

import CLinux
import CMnl
import Dpif
import Glibc
import Synchronization

/// An interface as it was a moment ago.
struct LinkState {
    var index: Int32
    /// IFF_*.
    var flags: UInt32
    var mac: UInt64?
    var mtu: Int?
    var hasCarrier = false
    /// All nil where the kernel tells none.
    var stats = DeviceStats.unknown

    var isUp: Bool { flags & UInt32(IFF_UP) != 0 }
}

extension DeviceStats {
    static let unknown: DeviceStats = {
        var s = DeviceStats()
        (s.rxPackets, s.txPackets, s.rxBytes, s.txBytes) = (nil, nil, nil, nil)
        return s
    }()

    fileprivate init(_ link: rtnl_link_stats64) {
        self.init()
        rxPackets = link.rx_packets
        txPackets = link.tx_packets
        rxBytes = link.rx_bytes
        txBytes = link.tx_bytes
        rxErrors = link.rx_errors
        txErrors = link.tx_errors
        rxDropped = link.rx_dropped
        txDropped = link.tx_dropped
        multicast = link.multicast
        collisions = link.collisions
        rxLengthErrors = link.rx_length_errors
        rxOverErrors = link.rx_over_errors
        rxCRCErrors = link.rx_crc_errors
        rxFrameErrors = link.rx_frame_errors
        rxFIFOErrors = link.rx_fifo_errors
        rxMissedErrors = link.rx_missed_errors
    }
}

/// Asks the kernel for interfaces. Safe on any thread.
enum LinkLookup {
    private struct State {
        var socket: OpaquePointer?
        var sequence: UInt32 = 0
        var buffer = [UInt8](repeating: 0, count: 16_384)
    }
    private static let state = Mutex(State())

    /// The interface of a name; nil: there is none, or the kernel does not answer.
    static func link(named name: String) -> LinkState? {
        state.withLock { s in
            if s.socket == nil { s.socket = open() }
            guard let socket = s.socket else { return nil }
            return ask(socket, name, &s)
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

    private static func ask(_ socket: OpaquePointer, _ name: String, _ s: inout State) -> LinkState? {
        s.sequence &+= 1
        let sequence = s.sequence
        return s.buffer.withUnsafeMutableBytes { (buffer) -> LinkState? in
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
                        return Int(message.pointee.nlmsg_type) == RTM_NEWLINK ? read(message) : nil
                    }
                    next = UnsafePointer(mnl_nlmsg_next(message, &left))
                }
            }
        }
    }

    private static func read(_ message: UnsafePointer<nlmsghdr>) -> LinkState? {
        let size = mnl_nlmsg_get_payload_len(message)
        guard size >= MemoryLayout<ifinfomsg>.size, let payload = mnl_nlmsg_get_payload(message) else { return nil }
        let header = payload.loadUnaligned(as: ifinfomsg.self)
        var link = LinkState(index: header.ifi_index, flags: header.ifi_flags)
        var left = Int32(clamping: size - MemoryLayout<ifinfomsg>.size)
        var next = mnl_nlmsg_get_payload_offset(message, MemoryLayout<ifinfomsg>.size).map {
            UnsafePointer($0.assumingMemoryBound(to: nlattr.self))
        }
        while let attribute = next, mnl_attr_ok(attribute, left) {
            let bytes = UnsafeRawBufferPointer(start: mnl_attr_get_payload(attribute), count: Int(mnl_attr_get_payload_len(attribute)))
            switch Int(mnl_attr_get_type(attribute)) {
            case IFLA_ADDRESS where bytes.count == 6: link.mac = bytes.reduce(0) { $0 << 8 | UInt64($1) }
            case IFLA_MTU where bytes.count >= 4: link.mtu = Int(bytes.loadUnaligned(as: UInt32.self))
            case IFLA_CARRIER where bytes.count >= 1: link.hasCarrier = bytes[0] == 1
            // Kernels add counters at its end.
            case IFLA_STATS64 where bytes.count >= MemoryLayout<rtnl_link_stats64>.offset(of: \.rx_missed_errors).map({ $0 + 8 }) ?? .max:
                var stats = rtnl_link_stats64()
                withUnsafeMutableBytes(of: &stats) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix($0.count))) }
                link.stats = DeviceStats(stats)
            default: break
            }
            left -= Int32(clamping: (Int(attribute.pointee.nla_len) + 3) & ~3)
            next = UnsafePointer(mnl_attr_next(attribute))
        }
        return link
    }
}
