// The types of ports that are DPDK devices: which device each stands for.

import Dpif
import Glibc

/// Interface.type of ports that polling threads own (ovs-vswitchd.conf.db(5), Interface "Options").
public enum DPDKPortKind: String, CaseIterable, Sendable {
    /// Whatever options:dpdk-devargs names.
    case dpdk
    /// A virtual machine's device; the switch makes the socket, vhost-sock-dir/NAME.
    case dpdkvhostuser
    /// A virtual machine's device; the switch connects to options:vhost-server-path, again and again.
    case dpdkvhostuserclient
    /// A kernel interface of the port's name, by AF_XDP.
    case afxdp

    var isVhost: Bool { self == .dpdkvhostuser || self == .dpdkvhostuserclient }

    /// The devargs of a port. Throws EINVAL with the whole text for Interface.error.
    func devargs(name: String, options: [String: String], queues: Int, socketDirectory: String) throws(DpifError) -> String {
        switch self {
        case .dpdk:
            guard let wanted = options["dpdk-devargs"], !wanted.isEmpty else {
                throw DpifError(
                    EINVAL, "'\(name)' is missing 'options:dpdk-devargs'. The old 'dpdk<port_id>' names are not supported")
            }
            return wanted
        case .dpdkvhostuser:
            guard !name.contains("/") else { throw DpifError(EINVAL, "\(name): a name with '/' is no name of a socket") }
            return try vhost(name, "\(socketDirectory)/\(name)", queues, isClient: false)
        case .dpdkvhostuserclient:
            guard let path = options["vhost-server-path"], !path.isEmpty else {
                throw DpifError(EINVAL, "\(name): options:vhost-server-path is missing")
            }
            return try vhost(name, path, queues, isClient: true)
        case .afxdp:
            return "net_af_xdp_\(Self.suffix(name)),iface=\(name),start_queue=0,queue_count=\(queues)"
        }
    }

    private func vhost(_ name: String, _ path: String, _ queues: Int, isClient: Bool) throws(DpifError) -> String {
        // A comma ends an argument, and the kernel's limit is that of sun_path.
        guard !path.contains(","), path.utf8.count < 108 else { throw DpifError(EINVAL, "\(name): '\(path)' is no path of a socket") }
        return "net_vhost_\(Self.suffix(name)),iface=\(path),queues=\(queues),client=\(isClient ? 1 : 0)"
    }

    /// The socket that devargs name.
    func socket(of devargs: String) -> String? {
        devargs.split(separator: ",").first { $0.hasPrefix("iface=") }.map { String($0.dropFirst(6)) }
    }

    /// A device's name may hold letters, digits and underscores; two ports never share one.
    private static func suffix(_ name: String) -> String {
        name.utf8.map { byte in
            let c = Character(Unicode.Scalar(byte))
            return c.isASCII && (c.isLetter || c.isNumber) ? String(c) : "_" + String(byte, radix: 16)
        }.joined()
    }
}
