// The kernel's routes, followed by its notifications rather than read again and again: a hundred thousand of them may come and go
// (rtnetlink(7)). Nothing is read before somebody asks for a route.

import CLinux
import CMnl
import Dpif
import Flow
import Glibc

/// The host's routes. Confined to the main thread.
public final class KernelRoutes: HostRoutes {
    private struct Prefix: Hashable {
        var network: IPAddress
        var length: Int
    }
    /// What the kernel does to its routes must not keep the daemon from its work: following it takes so small a share of the time, as far as
    /// it takes longer than a moment. More than that leads to the loss of notifications, and then everything is read again, but not soon.
    private static let share = 16
    private static let moment = Duration.microseconds(200)
    private static let longest = Duration.milliseconds(10)
    private static let readingGap = Duration.seconds(5)
    private static let socketBuffer: Int32 = 8 << 20

    private var socket: OpaquePointer?
    private var isOpen = false
    private var table: [Prefix: [KernelRoute]] = [:]
    /// How many networks have a prefix of a length, by version.
    private var lengths = (ipv4: [Int](repeating: 0, count: 33), ipv6: [Int](repeating: 0, count: 129))
    /// How many routes lead through an interface.
    private var interfaces: [Int32: Int] = [:]
    private var names: [Int32: String] = [:]
    private var linkChanges: UInt64 = 0
    /// Notifications were lost: the socket is closed, and everything has to be read again at some time.
    private var nextReading: ContinuousClock.Instant?
    private var lastPoll = ContinuousClock.now
    private var buffer = [UInt8](repeating: 0, count: 32_768)

    public init() {}

    deinit { if let socket { mnl_socket_close(socket) } }

    // MARK: Following

    /// Takes what the kernel told since the last time, or some of it. Does not block.
    /// - Returns: whether anything about routes or addresses changed.
    public func poll() -> Bool {
        let start = ContinuousClock.now
        if let nextReading {
            guard start >= nextReading else { return false }
            follow()
            return true
        }
        guard let socket else { return false }
        let end = start + min(Self.longest, max(Self.moment, (start - lastPoll) / Self.share))
        lastPoll = start
        var changed = false
        repeat {
            for _ in 0..<16 {
                let count = buffer.withUnsafeMutableBytes { mnl_socket_recvfrom(socket, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                if count < 0, errno == ENOBUFS || errno == ENOSPC {
                    // What else waits is of no use.
                    mnl_socket_close(socket)
                    self.socket = nil
                    nextReading = start + readingGap
                    return changed
                }
                guard count > 0 else { return changed }
                changed = buffer.withUnsafeBytes { read(UnsafeRawBufferPointer(rebasing: $0[..<count])) } || changed
            }
        } while ContinuousClock.now < end
        return changed
    }

    /// Until everything may be read again: the longer that took, the longer.
    private var readingGap = KernelRoutes.readingGap

    private func open() {
        guard !isOpen else { return }
        isOpen = true
        follow()
    }

    /// Has the kernel tell what it does from now on, and reads what there is.
    private func follow() {
        nextReading = nil
        if let socket { mnl_socket_close(socket) }
        socket = nil
        if let opened = mnl_socket_open2(NETLINK_ROUTE, Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)) {
            let groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
            var size = Self.socketBuffer
            // Without the right to, the buffer stays as it is, and notifications are lost sooner.
            setsockopt(mnl_socket_get_fd(opened), SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
            if mnl_socket_bind(opened, UInt32(groups), 0) == 0 { socket = opened } else { mnl_socket_close(opened) }
        }
        let start = ContinuousClock.now
        let isWhole = readAll()
        lastPoll = .now
        readingGap = max(Self.readingGap, (lastPoll - start) * Self.share)
        if !isWhole { nextReading = lastPoll + readingGap }
    }

    /// False: it could not be read, and stays as it was.
    private func readAll() -> Bool {
        guard let routes = RouteQuestions.routes() else { return false }
        table = [:]
        interfaces = [:]
        lengths = ([Int](repeating: 0, count: 33), [Int](repeating: 0, count: 129))
        for route in routes { insert(route, replaces: false) }
        return true
    }

    private func read(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var changed = false
        var left = Int32(clamping: bytes.count)
        var next = bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
        while let message = next, mnl_nlmsg_ok(message, left) {
            switch Int(message.pointee.nlmsg_type) {
            case RTM_NEWROUTE:
                guard let route = KernelRoute(message) else { break }
                insert(route, replaces: Int32(message.pointee.nlmsg_flags) & NLM_F_REPLACE != 0)
                changed = true
            case RTM_DELROUTE:
                guard let route = KernelRoute(message) else { break }
                remove(Prefix(network: route.network, length: route.length)) { $0 == route }
                changed = true
            case RTM_NEWADDR, RTM_DELADDR: changed = true
            default: break
            }
            next = UnsafePointer(mnl_nlmsg_next(message, &left))
        }
        return changed
    }

    private func insert(_ route: KernelRoute, replaces: Bool) {
        let prefix = Prefix(network: route.network, length: route.length)
        remove(prefix) { $0 == route || (replaces && $0.isReplaced(by: route)) }
        if table[prefix] == nil { count(prefix, 1) }
        table[prefix, default: []].append(route)
        interfaces[route.interface, default: 0] += 1
    }

    private func remove(_ prefix: Prefix, _ isMeant: (KernelRoute) -> Bool) {
        guard let old = table[prefix] else { return }
        let kept = old.filter { !isMeant($0) }
        guard kept.count < old.count else { return }
        for route in old where isMeant(route) {
            let left = interfaces[route.interface, default: 1] - 1
            interfaces[route.interface] = left == 0 ? nil : left
        }
        table[prefix] = kept.isEmpty ? nil : kept
        if kept.isEmpty { count(prefix, -1) }
    }

    private func count(_ prefix: Prefix, _ change: Int) {
        if prefix.network.isIPv6 { lengths.ipv6[prefix.length] += change } else { lengths.ipv4[prefix.length] += change }
    }

    // MARK: Asking

    public func lookup(_ destination: IPAddress, mark: UInt32) -> HostRoute? {
        open()
        var best: HostRoute?
        let counts = destination.isIPv6 ? lengths.ipv6 : lengths.ipv4
        for length in counts.indices.reversed() where counts[length] > 0 {
            guard let routes = table[Prefix(network: destination.masked(length), length: length)] else { continue }
            for route in routes.sorted(by: { ($1.mark, $0.metric) < ($0.mark, $1.metric) }) where route.mark == mark || route.mark == 0 {
                guard let found = hostRoute(route) else { continue }
                if found.priority > best?.priority ?? -1 { best = found }
                break
            }
        }
        return best
    }

    public var routes: [HostRoute] {
        open()
        return table.values.flatMap { $0.compactMap(hostRoute) }.sorted {
            ($1.priority, $0.network.isIPv6 ? 1 : 0, $0.network.value, $0.mark) < (
                $0.priority, $1.network.isIPv6 ? 1 : 0, $1.network.value, $1.mark
            )
        }
    }

    public var devices: Set<String> {
        open()
        return Set(interfaces.keys.compactMap(name))
    }

    public func neighbor(_ address: IPAddress, on device: String) -> UInt64? {
        let index = if_nametoindex(device)
        return index == 0 ? nil : RouteQuestions.neighbor(address, interface: Int32(bitPattern: index))
    }

    /// Nil: packets by that route would have no source address.
    private func hostRoute(_ route: KernelRoute) -> HostRoute? {
        guard let device = name(of: route.interface) else { return nil }
        let own = InterfaceAddresses.of(device).filter { $0.isIPv6 == route.network.isIPv6 }
        let next = route.gateway ?? route.network
        guard let source = route.preferredSource ?? own.first(where: { next.isWithin(IPAddress($0), $0.prefix) }).map(IPAddress.init) else {
            return nil
        }
        return HostRoute(
            network: route.network, length: route.length, mark: route.mark, device: device, gateway: route.gateway, source: source,
            origin: route.isLocal ? .local : .kernel)
    }

    private func name(of index: Int32) -> String? {
        let now = KernelLinks.changeCount
        if now != linkChanges {
            linkChanges = now
            names = [:]
        }
        if let known = names[index] { return known }
        var text = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        guard if_indextoname(UInt32(bitPattern: index), &text) != nil else { return nil }
        let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        names[index] = name
        return name
    }
}
