// The headers that tunnels put before a packet, with everything in them but lengths, checksums and what depends on the packet:
// the datapath fills those in. VXLAN RFC 7348 (and the GPE draft), Geneve RFC 8926, GRE RFC 2784 and 2890, ERSPAN
// draft-foschiano-erspan, GTP-U 3GPP TS 29.281.

import Dpif
import Flow
import OpenFlow
import Packet

struct TunnelEncoding {
    let settings: TunnelSettings
    /// The tunnel's fields as translation has them.
    let flow: FlowKey
    let source: IPAddress
    let destination: IPAddress
    let sourceMAC: UInt64
    let destinationMAC: UInt64
    /// Which Geneve options the flow's fields stand for.
    let options: TunnelOptionMap?

    /// Ethernet, IP and tunnel headers.
    var header: [UInt8] {
        var w = WireWriter()
        w.mac(destinationMAC)
        w.mac(sourceMAC)
        w.u16(destination.isIPv6 ? EtherType.ipv6 : EtherType.ipv4)
        if destination.isIPv6 {
            w.u32(6 << 28 | UInt32(flow.tunTOS) << 20)
            w.u16(0)
            w.u8(settings.ipProtocol)
            w.u8(flow.tunTTL)
            w.u128(source.value)
            w.u128(destination.value)
        } else {
            var ip = WireWriter()
            ip.u8(0x45)
            ip.u8(flow.tunTOS)
            ip.u16(0)
            ip.u16(0)
            ip.u16(flow.tunFlags & TunnelFlag.dontFragment != 0 ? 0x4000 : 0)
            ip.u8(flow.tunTTL)
            ip.u8(settings.ipProtocol)
            ip.u16(0)
            ip.u32(UInt32(truncatingIfNeeded: source.value))
            ip.u32(UInt32(truncatingIfNeeded: destination.value))
            ip.patch16(Int(ip.bytes.withUnsafeBytes { InternetChecksum.checksum($0) }), at: 10)
            w.array(ip.bytes)
        }
        switch settings.kind {
        case .vxlan: vxlan(&w)
        case .geneve: geneve(&w)
        case .gtpu: gtpu(&w)
        case .gre: gre(&w)
        case .erspan: erspan(&w)
        }
        return w.bytes
    }

    /// The type that tnl_push has in its text.
    var typeNumber: Int {
        switch settings.kind {
        case .gre: destination.isIPv6 ? 109 : 3
        case .vxlan: 4
        case .geneve: 5
        case .erspan: destination.isIPv6 ? 108 : 107
        case .gtpu: 110
        }
    }

    private var hasChecksum: Bool { flow.tunFlags & TunnelFlag.checksum != 0 || destination.isIPv6 }

    private func udp(_ w: inout WireWriter) {
        w.u16(0)
        w.u16(settings.destinationPort)
        w.u16(0)
        // Not zero says that one is to be computed.
        w.u16(hasChecksum ? 0xffff : 0)
    }

    private var key: UInt32 { UInt32(truncatingIfNeeded: flow.tunID) }

    private func vxlan(_ w: inout WireWriter) {
        udp(&w)
        if settings.usesGPE {
            let next: UInt32 =
                switch flow.packetType {
                case 1 << 16 | UInt32(EtherType.ipv4): 1
                case 1 << 16 | UInt32(EtherType.ipv6): 2
                case 1 << 16 | UInt32(EtherType.nsh): 4
                default: 3
                }
            w.u32(0x0c00_0000 | next)
        } else {
            w.u32(0x0800_0000)
        }
        w.u32(key << 8)
    }

    private func geneve(_ w: inout WireWriter) {
        udp(&w)
        var body = WireWriter()
        var isCritical = false
        if let options {
            for entry in options.entries.values.sorted(by: { $0.index < $1.index }) where options.isPresent(entry, in: flow) {
                body.u16(entry.optionClass)
                body.u8(entry.optionType)
                body.u8(UInt8(truncatingIfNeeded: entry.length / 4))
                body.array(options.bytes(entry, in: flow))
                isCritical = isCritical || entry.optionType & 0x80 != 0
            }
        }
        // 6 bits count the options' words.
        if body.count > 252 { body = WireWriter() }
        w.u8(UInt8(truncatingIfNeeded: body.count / 4))
        w.u8((flow.tunFlags & TunnelFlag.oam != 0 ? 0x80 : 0) | (isCritical && body.count > 0 ? 0x40 : 0))
        w.u16(flow.packetType == 0 ? EtherType.transparentEthernet : UInt16(truncatingIfNeeded: flow.packetType))
        w.u32(key << 8)
        w.array(body.bytes)
    }

    private func gtpu(_ w: inout WireWriter) {
        udp(&w)
        let type = UInt8(truncatingIfNeeded: flow[Location.tunGTPUMsgType])
        w.u8(0x30)
        w.u8(type == 0 ? 255 : type)
        w.u16(0)
        w.u32(key)
    }

    private func gre(_ w: inout WireWriter) {
        var flags: UInt16 = 0
        if flow.tunFlags & TunnelFlag.checksum != 0 { flags |= 0x8000 }
        if settings.outKey != .absent { flags |= 0x2000 }
        if settings.hasSequence { flags |= 0x1000 }
        w.u16(flags)
        w.u16(flow.packetType == 0 ? EtherType.transparentEthernet : UInt16(truncatingIfNeeded: flow.packetType))
        if flags & 0x8000 != 0 { w.u32(0) }
        if flags & 0x2000 != 0 { w.u32(key) }
        if flags & 0x1000 != 0 { w.u32(0) }
    }

    private func erspan(_ w: inout WireWriter) {
        let session = UInt16(truncatingIfNeeded: key) & 0x3ff
        // With a sequence number, always.
        w.u16(0x1000)
        w.u16(settings.erspanVersion == 2 ? 0x22eb : 0x88be)
        w.u32(0)
        if settings.erspanVersion == 2 {
            w.u16(0x2000)
            w.u16(session)
            w.u32(0)
            w.u16(0)
            w.u16(UInt16(settings.erspanHardware) << 4 | UInt16(settings.erspanDirection) << 3)
        } else {
            w.u16(0x1000)
            w.u16(session)
            w.u32(settings.erspanIndex)
        }
    }

    /// The key of the packet as it is outside, entering a bridge by its local port.
    func outerFlow() -> FlowKey {
        var key = FlowKey()
        key.ethSrc = sourceMAC
        key.ethDst = destinationMAC
        key.ethType = destination.isIPv6 ? EtherType.ipv6 : EtherType.ipv4
        if destination.isIPv6 {
            key.ipv6Src = source.value
            key.ipv6Dst = destination.value
        } else {
            key.nwSrc = UInt32(truncatingIfNeeded: source.value)
            key.nwDst = UInt32(truncatingIfNeeded: destination.value)
        }
        key.nwProto = settings.ipProtocol
        key.nwTOS = flow.tunTOS
        key.nwTTL = flow.tunTTL
        if settings.destinationPort != 0 { key.tpDst = settings.destinationPort }
        key.pktMark = flow.pktMark
        key.skbPriority = flow.skbPriority
        return key
    }
}
