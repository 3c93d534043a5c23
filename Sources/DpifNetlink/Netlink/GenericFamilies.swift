// The numbers that the kernel gives generic netlink families and their multicast groups (linux/genetlink.h).

import CLinux
import Dpif
import Glibc

/// A generic netlink family as the kernel knows it.
struct GenericFamily: Sendable {
    let id: UInt16
    /// Multicast groups by name.
    let groups: [String: UInt32]

    /// Asks for a family. Throws ENOENT when the kernel has none of the name: its module is not loaded.
    init(_ name: String, _ transport: NetlinkTransport) throws(DpifError) {
        var request = NetlinkMessageWriter(type: UInt16(GENL_ID_CTRL), flags: 0)
        request.raw([UInt8(CTRL_CMD_GETFAMILY), 1, 0, 0])
        request.attribute(Int(CTRL_ATTR_FAMILY_NAME), string: name)
        let answers = try transport.transact(request, "generic netlink family \(name)")
        guard let attributes = try answers.first?.attributes(after: 4), let id = attributes[Int(CTRL_ATTR_FAMILY_ID)]?.host(UInt16.self)
        else { throw DpifError(EPROTO, "generic netlink family \(name)") }
        self.id = id
        var groups: [String: UInt32] = [:]
        for entry in try attributes[Int(CTRL_ATTR_MCAST_GROUPS)]?.nested().all ?? [] {
            let group = try entry.nested()
            guard let name = group[Int(CTRL_ATTR_MCAST_GRP_NAME)]?.string, let id = group[Int(CTRL_ATTR_MCAST_GRP_ID)]?.host(UInt32.self)
            else { continue }
            groups[name] = id
        }
        self.groups = groups
    }
}

/// The families of the openvswitch module.
struct OpenVSwitchFamilies: Sendable {
    let datapath: GenericFamily
    let port: GenericFamily
    let flow: GenericFamily
    let packet: GenericFamily
    /// Since Linux 4.15.
    let meter: GenericFamily?
    /// Since Linux 4.18.
    let conntrackLimit: GenericFamily?

    /// Throws ENOENT when the module is not there, in words that say what to do.
    init(_ transport: NetlinkTransport) throws(DpifError) {
        do throws(DpifError) {
            datapath = try GenericFamily(OVS_DATAPATH_FAMILY, transport)
        } catch {
            guard error.errno == ENOENT else { throw error }
            throw DpifError(
                ENOENT, "the kernel's openvswitch module is not loaded (modprobe openvswitch; on Debian it is part of the kernel's package)"
            )
        }
        port = try GenericFamily(OVS_VPORT_FAMILY, transport)
        flow = try GenericFamily(OVS_FLOW_FAMILY, transport)
        packet = try GenericFamily(OVS_PACKET_FAMILY, transport)
        meter = try? GenericFamily(OVS_METER_FAMILY, transport)
        conntrackLimit = try? GenericFamily(OVS_CT_LIMIT_FAMILY, transport)
    }
}
