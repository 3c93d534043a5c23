// How a device becomes a port of the kernel's datapath: as the interface that it is, as one that the module makes, or as a tunnel.

import CLinux
import Dpif
import Glibc

/// What to ask the module for.
struct KernelPortPlan {
    let name: String
    let type: ovs_vport_type
    private var destinationPort: UInt16?

    /// Throws EOPNOTSUPP for devices that the kernel cannot have as ports.
    init(_ device: any PortDevice) throws(DpifError) {
        name = device.name
        guard name.utf8.count < Int(IFNAMSIZ), !name.isEmpty else { throw DpifError(ENAMETOOLONG, "port name \"\(name)\"") }
        switch device.type {
        case "internal": type = OVS_VPORT_TYPE_INTERNAL
        case "vxlan": type = OVS_VPORT_TYPE_VXLAN
        case "geneve": type = OVS_VPORT_TYPE_GENEVE
        case "gre": type = OVS_VPORT_TYPE_GRE
        case "system", "tap": type = OVS_VPORT_TYPE_NETDEV
        default: throw DpifError(EOPNOTSUPP, "port \(name) of type \(device.type) on the kernel's datapath")
        }
        if type == OVS_VPORT_TYPE_VXLAN || type == OVS_VPORT_TYPE_GENEVE {
            // Tunnels share a port for each UDP port, which its name ends in.
            guard let digits = name.split(separator: "_").last, let number = UInt16(digits) else {
                throw DpifError(EINVAL, "tunnel port \(name) without a UDP port")
            }
            destinationPort = number
        }
    }

    func create(_ requests: PortRequests, number: UInt32?, upcallPorts: [UInt32]) throws(DpifError) -> KernelPort {
        guard let destinationPort else {
            return try requests.add(name: name, type: type, number: number, upcallPorts: upcallPorts)
        }
        return try requests.add(name: name, type: type, number: number, upcallPorts: upcallPorts) {
            $0.attribute(Int(OVS_TUNNEL_ATTR_DST_PORT), host: destinationPort)
        }
    }
}
