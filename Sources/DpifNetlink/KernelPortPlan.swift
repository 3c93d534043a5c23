// How a device becomes a port of the kernel's datapath: as the interface that it is, as one that the module makes, or as a tunnel.

import CLinux
import Dpif
import Glibc
import Netdev

/// What to ask the kernel for.
struct KernelPortPlan {
    let name: String
    private let type: ovs_vport_type
    private let tunnel: TunnelLink?

    /// Throws EOPNOTSUPP for devices that the kernel cannot have as ports.
    init(_ device: any PortDevice) throws(DpifError) {
        name = device.name
        guard name.utf8.count < Int(IFNAMSIZ), !name.isEmpty else { throw DpifError(ENAMETOOLONG, "port name \"\(name)\"") }
        switch device.type {
        case "internal":
            type = OVS_VPORT_TYPE_INTERNAL
            tunnel = nil
        case "system", "tap":
            type = OVS_VPORT_TYPE_NETDEV
            tunnel = nil
        default:
            guard let kind = Self.kinds[device.type] else {
                throw DpifError(EOPNOTSUPP, "port \(name) of type \(device.type) on the kernel's datapath")
            }
            type = OVS_VPORT_TYPE_NETDEV
            var link = TunnelLink(name: name, kind: kind)
            if [.vxlan, .geneve, .bareudp].contains(kind) {
                // Tunnels share a port for each UDP port, which its name ends in.
                guard let digits = name.split(separator: "_").last, let number = UInt16(digits) else {
                    throw DpifError(EINVAL, "tunnel port \(name) without a UDP port")
                }
                link.destinationPort = number
                let extensions = (device as? TunnelDevice)?.extensions ?? []
                link.hasGroupPolicy = extensions.contains("gbp")
                link.hasGenericProtocol = extensions.contains("gpe")
            }
            tunnel = link
        }
    }

    /// Kinds of interfaces by the types of tunnel ports.
    private static let kinds: [String: TunnelLink.Kind] = [
        "vxlan": .vxlan, "geneve": .geneve, "gre": .gre, "ip6gre": .ip6gre, "erspan": .erspan, "ip6erspan": .ip6erspan,
    ]

    /// Tunnel types that kernels may have.
    static var tunnelTypes: Set<String> { Set(kinds.keys) }

    /// Whether a port that was there before is what is wanted.
    func accepts(_ port: KernelPort) -> Bool { port.type == type.rawValue || tunnel?.portType?.rawValue == port.type }

    /// Makes the port. Throws EOPNOTSUPP, with what is missing, for tunnels that the kernel has no driver for.
    func create(_ requests: PortRequests, _ links: LinkRequests, number: UInt32?, upcallPorts: [UInt32]) throws(DpifError) -> KernelPort {
        guard let tunnel else { return try requests.add(name: name, type: type, number: number, upcallPorts: upcallPorts) }
        do throws(DpifError) {
            do throws(DpifError) {
                try links.create(tunnel)
            } catch {
                guard error.errno == EEXIST else { throw error }
                // What a daemon that ended left, or somebody else's of the name.
                try links.remove(name)
                try links.create(tunnel)
            }
        } catch {
            guard error.errno != EPERM else { throw error }
            return try createLegacy(tunnel, error, requests, number: number, upcallPorts: upcallPorts)
        }
        do throws(DpifError) {
            return try requests.add(name: name, type: type, number: number, upcallPorts: upcallPorts)
        } catch {
            try? links.remove(name)
            throw error
        }
    }

    private func createLegacy(
        _ tunnel: TunnelLink, _ problem: DpifError, _ requests: PortRequests, number: UInt32?, upcallPorts: [UInt32]
    ) throws(DpifError) -> KernelPort {
        let missing = DpifError(
            problem.errno, "tunnel port \(name): the kernel makes no \(tunnel.kind.rawValue) interfaces (modprobe \(tunnel.module))")
        guard let legacy = tunnel.portType else { throw missing }
        do throws(DpifError) {
            guard tunnel.destinationPort != 0 else {
                return try requests.add(name: name, type: legacy, number: number, upcallPorts: upcallPorts)
            }
            return try requests.add(name: name, type: legacy, number: number, upcallPorts: upcallPorts) {
                $0.attribute(Int(OVS_TUNNEL_ATTR_DST_PORT), host: tunnel.destinationPort)
            }
        } catch {
            throw missing
        }
    }

    /// Takes along what was made for the port.
    func remove(_ links: LinkRequests) {
        guard tunnel != nil else { return }
        // With the module's own port types the interface went with the port.
        try? links.remove(name)
    }
}
