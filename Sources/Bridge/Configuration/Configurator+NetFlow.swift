// NetFlow of a bridge, and the sockets that its records go out through.

import Glibc
import Ofproto
import OVSDB

extension BridgeConfigurator {
    /// Exports what the NetFlow row of a bridge says.
    func configureNetFlow(_ bridge: ConfiguredBridge, _ row: OVSDBRow) {
        let target = bridge.target
        guard let netFlow = row.optionalUUID("netflow").flatMap({ client.row("NetFlow", $0) }) else {
            target.setNetFlow(nil) { _ in }
            bridge.collectors.targets = []
            return
        }
        var settings = NetFlowSettings()
        settings.targets = Set(netFlow.strings("targets"))
        // The real daemon's datapath has this number.
        settings.engineType = netFlow.optionalInteger("engine_type").flatMap { UInt8(exactly: $0) } ?? 0
        settings.engineID = netFlow.optionalInteger("engine_id").flatMap { UInt8(exactly: $0) } ?? 0
        settings.addsIDToInterface = netFlow.bool("add_id_to_interface")
        let timeout = netFlow.integer("active_timeout")
        settings.activeTimeout = timeout < 0 ? 0 : timeout == 0 ? 600_000 : min(timeout, 1 << 40) * 1000
        if settings.addsIDToInterface, target.portsInOrder.count > 508 {
            Self.log.warn("bridge \(target.name): using an interface ID for NetFlow with more than 508 ports is not supported")
        }
        bridge.collectors.targets = settings.targets
        target.setNetFlow(settings) { [weak bridge] in bridge?.collectors.send($0) }
    }
}

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
    func send(_ bytes: [UInt8]) {
        for (target, descriptor) in sockets {
            guard Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL)) < 0 else { continue }
            Self.log.dbg("\(target): sending to collector failed (\(String(cString: strerror(errno))))")
        }
    }
}
