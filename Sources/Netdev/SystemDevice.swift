// A network interface of the kernel, through a packet socket (packet(7)).

import CLinux
import Dpif
import Glibc
import Packet

/// An existing kernel interface. Its packets are taken while it is open; the kernel sees them too.
public final class SystemDevice: InterfaceDevice, PolledDevice, PolicedDevice {
    public var receiver: ((consuming Packet) -> Void)?
    public let source: PacketSource
    public let policer = IngressPolicer()
    /// What the socket's packets are marked with.
    private var priority: UInt32 = 0
    private let socketDescriptor: Int32

    /// Throws ENODEV when there is no such interface, EPERM without the right to open packet sockets.
    public init(name: String, type: String = "system") throws(DpifError) {
        let index = try KernelInterface(name).present.index
        let fd = socket(
            AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            Int32(UInt16(ETH_P_ALL).bigEndian))
        guard fd >= 0 else { throw DpifError(errno, "packet socket for interface \(name)") }
        socketDescriptor = fd
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
        address.sll_ifindex = index
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
            }
        }
        guard bound == 0 else {
            let error = errno
            close(fd)
            throw DpifError(error, "packet socket for interface \(name)")
        }
        var request = packet_mreq()
        request.mr_ifindex = index
        request.mr_type = UInt16(PACKET_MR_PROMISC)
        setsockopt(fd, clinux_SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, socklen_t(MemoryLayout<packet_mreq>.size))
        var on: Int32 = 1
        setsockopt(fd, clinux_SOL_PACKET, PACKET_AUXDATA, &on, 4)
        setsockopt(fd, clinux_SOL_PACKET, clinux_PACKET_IGNORE_OUTGOING, &on, 4)
        var size: Int32 = 4 << 20
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, 4)
        source = PacketSource(fileDescriptor: fd, policer: policer) { SystemDevice.receive(fd, $0) }
        try super.init(name: name, type: type, mustExist: true)
    }

    deinit { close(socketDescriptor) }

    /// Reads one packet with what the kernel keeps beside it: a VLAN tag, and whether the checksum is still to be made.
    private static func receive(_ fd: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard let base = buffer.baseAddress else { return nil }
        var vector = iovec(iov_base: base, iov_len: buffer.count - 4)
        var control = (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        var from = sockaddr_ll()
        var auxiliary = tpacket_auxdata()
        var hasAuxiliary = false
        let count = withUnsafeMutableBytes(of: &control) { space -> Int in
            withUnsafeMutablePointer(to: &from) { address in
                withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_name = UnsafeMutableRawPointer(address)
                    message.msg_namelen = socklen_t(MemoryLayout<sockaddr_ll>.size)
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = space.baseAddress
                    message.msg_controllen = space.count
                    let n = recvmsg(fd, &message, Int32(MSG_TRUNC))
                    // cmsg_len, cmsg_level, cmsg_type, then the data.
                    if n > 0, message.msg_controllen >= 16 + MemoryLayout<tpacket_auxdata>.size,
                        space.load(fromByteOffset: 8, as: Int32.self) == clinux_SOL_PACKET,
                        space.load(fromByteOffset: 12, as: Int32.self) == PACKET_AUXDATA
                    {
                        auxiliary = space.loadUnaligned(fromByteOffset: 16, as: tpacket_auxdata.self)
                        hasAuxiliary = true
                    }
                    return n
                }
            }
        }
        guard count > 0 else { return nil }
        guard count <= buffer.count - 4, count >= HeaderSize.ethernet, from.sll_pkttype != UInt8(PACKET_OUTGOING) else {
            return 0
        }
        var size = count
        if hasAuxiliary {
            if auxiliary.tp_status & UInt32(TP_STATUS_CSUMNOTREADY) != 0 {
                TransportChecksum.complete(UnsafeMutableRawBufferPointer(start: base, count: size))
            }
            if auxiliary.tp_status & UInt32(TP_STATUS_VLAN_VALID) != 0 {
                memmove(base + 16, base + 12, size - 12)
                let tpid =
                    auxiliary.tp_status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
                    ? auxiliary.tp_vlan_tpid : UInt16(0x8100)
                base.storeBytes(of: tpid.bigEndian, toByteOffset: 12, as: UInt16.self)
                base.storeBytes(of: auxiliary.tp_vlan_tci.bigEndian, toByteOffset: 14, as: UInt16.self)
                size += 4
            }
        }
        return size
    }

    /// Has the next packets take a queue: the class of its number and one (`Discipline`). 0 is the queue of all that asked for none.
    private func setPriority(_ queue: UInt32) {
        priority = queue
        var value = queue == 0 ? 0 : 1 << 16 | (queue & 0xffff) + 1
        setsockopt(socketDescriptor, SOL_SOCKET, SO_PRIORITY, &value, 4)
    }

    public func transmit(_ packet: consuming Packet) {
        if packet.priority != priority { setPriority(packet.priority) }
        // A full queue drops, as a network card's does; the kernel counts it.
        let frame = UnsafeRawBufferPointer(start: packet.data, count: packet.count)
        let isTooLarge = frame.count > known.mtu + HeaderSize.ethernet + 4
        if isTooLarge,
            Segmentation.cut(
                frame, mtu: known.mtu,
                { piece in
                    _ = send(socketDescriptor, piece.baseAddress, piece.count, Int32(MSG_DONTWAIT))
                })
        {
            return
        }
        _ = send(socketDescriptor, frame.baseAddress, frame.count, Int32(MSG_DONTWAIT))
    }
}
