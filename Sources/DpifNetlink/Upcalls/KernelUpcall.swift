// A packet that the kernel sent up (OVS_PACKET_CMD_MISS, OVS_PACKET_CMD_ACTION), taken apart as far as the reading thread has to.

import CLinux
import Dpif

/// One upcall.
struct KernelUpcall: Sendable {
    /// Which datapath sent it.
    let datapath: Int32
    let isMiss: Bool
    /// The datapath port that the packet came in by.
    let inPort: UInt32
    /// OVS_KEY_ATTR_*.
    let key: AttributeList
    let packet: ArraySlice<UInt8>
    /// What a `userspace` action carried.
    let userdata: ArraySlice<UInt8>?
    /// The actions of its flow, where the `userspace` action asked for them.
    let actions: AttributeList?
    /// What a tunnel would put before it, where the `userspace` action asked for that.
    let egressTunnel: AttributeList?
    /// The hash of the packet, which goes back with it so that it stays on its way.
    let hash: UInt64?
    /// The largest fragment that the packet was put together from, which limits those that it is sent in.
    let maximumFragment: UInt16?

    /// Throws EINVAL for a message without packet or key.
    init(_ message: NetlinkMessage) throws(DpifError) {
        // genlmsghdr, ovs_header.
        let attributes = try message.attributes(after: 8)
        guard let command = message.payload.first, let datapath = Int32(host: message.payload.dropFirst(4)),
            let key = attributes[Int(OVS_PACKET_ATTR_KEY.rawValue)], let packet = attributes[Int(OVS_PACKET_ATTR_PACKET.rawValue)]
        else { throw DpifError(EINVAL_, "upcall of \(message.payload.count) bytes") }
        self.datapath = datapath
        isMiss = command == UInt8(OVS_PACKET_CMD_MISS.rawValue)
        self.key = try key.nested()
        inPort = self.key[Int(OVS_KEY_ATTR_IN_PORT.rawValue)]?.host(UInt32.self) ?? .max
        self.packet = packet.payload
        userdata = attributes[Int(OVS_PACKET_ATTR_USERDATA.rawValue)]?.payload
        actions = try attributes[Int(OVS_PACKET_ATTR_ACTIONS.rawValue)]?.nested()
        egressTunnel = try attributes[Int(OVS_PACKET_ATTR_EGRESS_TUN_KEY.rawValue)]?.nested()
        hash = attributes[Int(OVS_PACKET_ATTR_HASH.rawValue)]?.host(UInt64.self)
        maximumFragment = attributes[Int(OVS_PACKET_ATTR_MRU.rawValue)]?.host(UInt16.self)
    }
}
