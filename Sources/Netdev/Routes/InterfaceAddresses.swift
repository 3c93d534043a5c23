// The IP addresses of kernel interfaces: getifaddrs(3).

import Dpif
import Glibc
import Synchronization

/// Asks the kernel when an address may have changed since the last time. Safe on any thread.
enum InterfaceAddresses {
    private static let known = Mutex<(changes: UInt64, addresses: [String: [InterfaceAddress]])?>(nil)

    /// An interface's addresses in the kernel's order.
    static func of(_ device: String) -> [InterfaceAddress] {
        let changes = LinkEvents.addressChanges
        return known.withLock { known in
            if known?.changes != changes { known = (changes, read()) }
            return known?.addresses[device] ?? []
        }
    }

    private static func read() -> [String: [InterfaceAddress]] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [:] }
        defer { freeifaddrs(first) }
        var found: [String: [InterfaceAddress]] = [:]
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let name = entry.ifa_name, let address = bytes(entry.ifa_addr), let mask = bytes(entry.ifa_netmask) else { continue }
            let value = address.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
            let prefix = mask.reduce(0) { $0 + $1.nonzeroBitCount }
            found[String(cString: name), default: []].append(InterfaceAddress(value, isIPv6: address.count == 16, prefix: prefix))
        }
        return found
    }

    /// An address as packets have it; nil: it is not one of IP.
    private static func bytes(_ address: UnsafeMutablePointer<sockaddr>?) -> [UInt8]? {
        guard let address else { return nil }
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { withUnsafeBytes(of: $0.pointee.sin_addr) { Array($0) } }
        case AF_INET6:
            return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) } }
        default: return nil
        }
    }
}
