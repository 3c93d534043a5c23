// The sockets that records of NetFlow, sFlow and IPFIX go out through.

import Flow
import Glibc
import Ofproto

/// Datagram sockets to collectors, one for each. Confined to the main thread.
final class Collectors {
    private static let log = BridgeConfigurator.log
    private var sockets: [String: CInt] = [:]

    /// `IPv4:PORT` or `[IPv6]:PORT` each.
    var targets: Set<String> = [] {
        didSet {
            for (target, descriptor) in sockets where !targets.contains(target) {
                close(descriptor)
                sockets[target] = nil
            }
            for target in targets.subtracting(oldValue).sorted() {
                if let descriptor = Self.open(target) {
                    sockets[target] = descriptor
                } else {
                    Self.log.warn("\(target): could not open a socket to the collector (\(String(cString: strerror(errno))))")
                }
            }
        }
    }

    deinit { for descriptor in sockets.values { close(descriptor) } }

    private static func open(_ target: String) -> CInt? {
        guard let colon = target.lastIndex(of: ":") else {
            errno = EINVAL
            return nil
        }
        var host = String(target[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_DGRAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(target[target.index(after: colon)...]), &hints, &found) == 0, let info = found else {
            errno = EINVAL
            return nil
        }
        defer { freeaddrinfo(found) }
        let flags = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(info.pointee.ai_family, flags, 0)
        guard descriptor >= 0 else { return nil }
        guard connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
            let reason = errno
            close(descriptor)
            errno = reason
            return nil
        }
        return descriptor
    }

    /// Sends a datagram to all of them; who is not there does not get it.
    @discardableResult
    func send(_ bytes: [UInt8]) -> (sent: Int, failed: Int) {
        var result = (sent: 0, failed: 0)
        for (target, descriptor) in sockets {
            guard Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL)) < 0 else {
                result.sent += 1
                continue
            }
            result.failed += 1
            Self.log.dbg("\(target): sending to collector failed (\(String(cString: strerror(errno))))")
        }
        return result
    }

    /// The address that datagrams to a target leave with; nil: there is no way to it.
    static func localAddress(to target: String) -> IPAddress? {
        guard let descriptor = open(target) else { return nil }
        defer { close(descriptor) }
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let found = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getsockname(descriptor, address, &size) == 0 ? text(of: address) : nil
            }
        }
        return found.flatMap { IPAddress(text: $0) }
    }

    /// The first address of an interface.
    static func address(ofInterface name: String) -> IPAddress? {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        var found: [IPAddress] = []
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, String(cString: entry.ifa_name) == name else { continue }
            if let ip = text(of: address).flatMap({ IPAddress(text: $0) }) { found.append(ip) }
        }
        return found.first { !$0.isIPv6 } ?? found.first
    }

    /// Nil for what is no IP address.
    private static func text(of address: UnsafePointer<sockaddr>) -> String? {
        let size: Int
        switch CInt(address.pointee.sa_family) {
        case AF_INET: size = MemoryLayout<sockaddr_in>.size
        case AF_INET6: size = MemoryLayout<sockaddr_in6>.size
        default: return nil
        }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, socklen_t(size), &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
        let bytes = host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        // A link's addresses come with its name.
        return String(decoding: bytes, as: UTF8.self).split(separator: "%").first.map(String.init)
    }
}
