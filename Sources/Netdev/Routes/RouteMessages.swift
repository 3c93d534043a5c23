// What rtnetlink(7) says of routes and neighbours, checked and without its wire form.

import CLinux
import CMnl
import Dpif
import Flow
import Glibc

/// A route of the kernel's, before it is known which source address goes with it.
struct KernelRoute: Equatable {
    var network: IPAddress
    var length: Int
    var mark: UInt32
    var interface: Int32
    var gateway: IPAddress?
    var preferredSource: IPAddress?
    var isLocal: Bool
    /// Together with the network, what the kernel tells routes apart by.
    var table: UInt32
    var metric: UInt32
    var typeOfService: UInt8

    /// Whether `ip route replace` of the one takes the place of the other.
    func isReplaced(by other: KernelRoute) -> Bool {
        table == other.table && metric == other.metric && typeOfService == other.typeOfService && mark == other.mark
    }
}

/// Attributes behind a message's fixed header. Each value is checked for its length where it is read.
private struct RouteAttributes {
    private var values: [UInt16: UnsafeRawBufferPointer] = [:]

    /// - Parameter header: the size of what stands before the attributes.
    init(_ message: UnsafePointer<nlmsghdr>, after header: Int) {
        let size = mnl_nlmsg_get_payload_len(message)
        let offset = (header + 3) & ~3
        guard let start = mnl_nlmsg_get_payload(message), size >= offset else {
            self.init(UnsafeRawBufferPointer(start: nil, count: 0))
            return
        }
        self.init(UnsafeRawBufferPointer(start: start + offset, count: size - offset))
    }

    init(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while rest.count >= 4 {
            let size = Int(rest.loadUnaligned(as: UInt16.self))
            guard size >= 4, size <= rest.count else { return }
            let type = rest.loadUnaligned(fromByteOffset: 2, as: UInt16.self) & 0x3fff
            values[type] = UnsafeRawBufferPointer(rebasing: rest[4..<size])
            rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, (size + 3) & ~3)...])
        }
    }

    subscript(bytes type: rtattr_type_t) -> UnsafeRawBufferPointer? { values[UInt16(type.rawValue)] }

    subscript(number type: rtattr_type_t) -> UInt32? {
        guard let bytes = values[UInt16(type.rawValue)], bytes.count == 4 else { return nil }
        return bytes.loadUnaligned(as: UInt32.self)
    }

    subscript(address type: rtattr_type_t) -> IPAddress? { values[UInt16(type.rawValue)].flatMap(IPAddress.init(networkOrder:)) }
}

extension IPAddress {
    /// An address of 4 or 16 bytes as packets have it.
    fileprivate init?(networkOrder bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4: self.init(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16: self.init(ipv6: bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) })
        default: return nil
        }
    }

    /// As packets have it.
    fileprivate var networkOrder: [UInt8] {
        (0..<width / 8).map { UInt8(truncatingIfNeeded: value >> UInt128(width - 8 - 8 * $0)) }
    }
}

extension KernelRoute {
    /// Reads RTM_NEWROUTE or RTM_DELROUTE; nil: it says nothing of where packets are forwarded, or cannot be read.
    init?(_ message: UnsafePointer<nlmsghdr>) {
        guard mnl_nlmsg_get_payload_len(message) >= MemoryLayout<rtmsg>.size, let payload = mnl_nlmsg_get_payload(message) else {
            return nil
        }
        let header = payload.loadUnaligned(as: rtmsg.self)
        let isIPv6 = header.rtm_family == UInt8(AF_INET6)
        guard isIPv6 || header.rtm_family == UInt8(AF_INET), header.rtm_dst_len <= (isIPv6 ? 128 : 32) else { return nil }
        guard Int(header.rtm_type) == RTN_UNICAST || Int(header.rtm_type) == RTN_LOCAL else { return nil }
        guard header.rtm_flags & UInt32(RTM_F_CLONED) == 0, UInt32(header.rtm_scope) != RT_SCOPE_NOWHERE.rawValue else { return nil }
        let attributes = RouteAttributes(message, after: MemoryLayout<rtmsg>.size)
        let table = attributes[number: RTA_TABLE] ?? UInt32(header.rtm_table)
        self.table = table
        guard [RT_TABLE_MAIN, RT_TABLE_LOCAL, RT_TABLE_DEFAULT].contains(where: { $0.rawValue == table }) else { return nil }
        var hop = attributes
        var interface = attributes[number: RTA_OIF]
        if interface == nil, let hops = attributes[bytes: RTA_MULTIPATH], hops.count >= MemoryLayout<rtnexthop>.size {
            // Of several ways, the first.
            let first = hops.loadUnaligned(as: rtnexthop.self)
            guard Int(first.rtnh_len) >= MemoryLayout<rtnexthop>.size, Int(first.rtnh_len) <= hops.count else { return nil }
            interface = UInt32(bitPattern: first.rtnh_ifindex)
            hop = RouteAttributes(UnsafeRawBufferPointer(rebasing: hops[MemoryLayout<rtnexthop>.size..<Int(first.rtnh_len)]))
        }
        guard let interface else { return nil }
        self.interface = Int32(bitPattern: interface)
        let any = isIPv6 ? IPAddress(ipv6: 0) : IPAddress(0)
        network = attributes[address: RTA_DST] ?? any
        guard network.isIPv6 == isIPv6 else { return nil }
        length = Int(header.rtm_dst_len)
        mark = attributes[number: RTA_MARK] ?? 0
        gateway = hop[address: RTA_GATEWAY]
        preferredSource = attributes[address: RTA_PREFSRC]
        isLocal = Int(header.rtm_type) == RTN_LOCAL
        metric = attributes[number: RTA_PRIORITY] ?? 0
        typeOfService = header.rtm_tos
    }
}

/// Questions to the kernel that are answered at once.
enum RouteQuestions {
    /// Sends a request and hands over each message of the answer.
    /// - Returns: false when the kernel refuses, or there is no socket.
    static func ask(
        type: Int, flags: Int32, header: UnsafeRawBufferPointer, attributes: [(type: UInt16, bytes: [UInt8])] = [],
        _ body: (UnsafePointer<nlmsghdr>) -> Void
    ) -> Bool {
        guard let socket = mnl_socket_open2(NETLINK_ROUTE, Int32(SOCK_CLOEXEC.rawValue)) else { return false }
        defer { mnl_socket_close(socket) }
        guard mnl_socket_bind(socket, 0, 0) == 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        return buffer.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress, let request = mnl_nlmsg_put_header(base) else { return false }
            request.pointee.nlmsg_type = UInt16(type)
            request.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
            request.pointee.nlmsg_seq = 1
            if let room = mnl_nlmsg_put_extra_header(request, header.count), let from = header.baseAddress {
                room.copyMemory(from: from, byteCount: header.count)
            }
            for attribute in attributes { mnl_attr_put(request, attribute.type, attribute.bytes.count, attribute.bytes) }
            guard mnl_socket_sendto(socket, request, Int(request.pointee.nlmsg_len)) >= 0 else { return false }
            while true {
                let count = mnl_socket_recvfrom(socket, base, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                switch read(UnsafeRawBufferPointer(start: base, count: count), body) {
                case .more: if flags & NLM_F_DUMP != NLM_F_DUMP { return true }
                case .done: return true
                case .refused: return false
                }
            }
        }
    }

    private enum Progress { case more, done, refused }

    private static func read(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafePointer<nlmsghdr>) -> Void) -> Progress {
        var left = Int32(clamping: bytes.count)
        var next = bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
        while let message = next, mnl_nlmsg_ok(message, left) {
            switch Int32(message.pointee.nlmsg_type) {
            case NLMSG_DONE: return .done
            case NLMSG_ERROR: return .refused
            default: body(message)
            }
            next = UnsafePointer(mnl_nlmsg_next(message, &left))
        }
        return .more
    }

    /// The Ethernet address of a neighbour, where the kernel knows it (RTM_GETNEIGH).
    static func neighbor(_ address: IPAddress, interface: Int32) -> UInt64? {
        var header = ndmsg()
        header.ndm_family = UInt8(address.isIPv6 ? AF_INET6 : AF_INET)
        header.ndm_ifindex = interface
        var found: UInt64?
        _ = withUnsafeBytes(of: &header) {
            ask(type: RTM_GETNEIGH, flags: 0, header: $0, attributes: [(UInt16(NDA_DST), address.networkOrder)]) { message in
                guard Int(message.pointee.nlmsg_type) == RTM_NEWNEIGH else { return }
                let attributes = RouteAttributes(message, after: MemoryLayout<ndmsg>.size)
                guard let bytes = attributes[bytes: rtattr_type_t(UInt32(NDA_LLADDR))], bytes.count == 6 else { return }
                found = bytes.reduce(0) { $0 << 8 | UInt64($1) }
            }
        }
        return found
    }

    /// All routes; nil: the kernel does not tell.
    static func routes() -> [KernelRoute]? {
        var found: [KernelRoute] = []
        var header = rtmsg()
        let isAnswered = withUnsafeBytes(of: &header) {
            ask(type: RTM_GETROUTE, flags: NLM_F_DUMP, header: $0) { if let route = KernelRoute($0) { found.append(route) } }
        }
        return isAnswered ? found : nil
    }
}
