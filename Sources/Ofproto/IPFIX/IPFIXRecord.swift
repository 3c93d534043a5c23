// Data records of IPFIX: what tells a flow from others, written from a sampled packet, and what is counted of it.

import Dpif
import Flow
import OpenFlow
import Packet

/// A packet that was sampled.
struct IPFIXSample {
    let key: FlowKey
    /// Bytes.
    let size: Int
    let input: SwitchPort?
    let output: SwitchPort?
    /// It was sampled as it went out, be its port known or not.
    let isOutput: Bool
    let direction: UserspaceAction.Direction
    let domain: UInt32
    let point: UInt32
    /// How many packets it stands for.
    let weight: UInt64
    /// Its flow sends it nowhere.
    let isDropped: Bool
    /// The header of the tunnel that it came out of or goes into, and its port.
    let tunnel: (header: OuterHeader, settings: TunnelSettings)?

    /// The IP header does not make sense.
    var isMalformed: Bool { (key.ethType == EtherType.ipv4 || key.ethType == EtherType.ipv6) && key.nwProto == 0 && key.nwTTL == 0 }

    var isEgress: Bool { direction == .unspecified ? isOutput : direction == .egress }
    var headerSize: Int { key.vlanTCI & 0x1000 != 0 ? 18 : 14 }
    /// What is behind the Ethernet header.
    var ipSize: UInt64 { UInt64(max(0, size - headerSize)) }
}

/// What makes a flow: samples with the same are counted together.
struct IPFIXFlowKey: Hashable {
    let domain: UInt32
    let template: IPFIXTemplate
    let bytes: [UInt8]

    init(_ sample: IPFIXSample, virtualID: String?) {
        var template = IPFIXTemplate(sample.key)
        template.hasTunnel = sample.tunnel != nil
        template.hasOutput = sample.isOutput
        self.template = template
        domain = sample.domain
        var w = WireWriter(capacity: 128)
        let key = sample.key
        w.u32(sample.point)
        w.u8(sample.isEgress ? 1 : 0)
        w.mac(key.ethSrc)
        w.mac(key.ethDst)
        w.u16(key.ethType)
        w.u8(UInt8(sample.headerSize))
        w.interface(sample.input)
        if sample.isOutput { w.interface(sample.output) }
        if template.hasVLAN {
            w.u16(key.vlanTCI & 0xfff)
            w.u16(key.vlanTCI & 0xfff)
            w.u8(UInt8(key.vlanTCI >> 13))
        }
        if template.network != .unknown {
            w.u8(template.network == .ipv4 ? 4 : 6)
            w.u8(key.nwTTL)
            w.u8(key.nwProto)
            w.u8(key.nwTOS >> 2)
            w.u8(key.nwTOS >> 5)
            w.u8(key.nwTOS)
        }
        switch template.network {
        case .unknown: break
        case .ipv4:
            w.u32(key.nwSrc)
            w.u32(key.nwDst)
        case .ipv6:
            w.u128(key.ipv6Src)
            w.u128(key.ipv6Dst)
            w.u32(UInt32(truncatingIfNeeded: key[Location.ipv6Label]))
        }
        switch template.transport {
        case .unknown: break
        case .tcp, .udp, .sctp:
            w.u16(key.tpSrc)
            w.u16(key.tpDst)
        case .icmp:
            w.u8(UInt8(truncatingIfNeeded: key.tpSrc))
            w.u8(UInt8(truncatingIfNeeded: key.tpDst))
        }
        if let (header, settings) = sample.tunnel {
            w.u32(header.source)
            w.u32(header.destination)
            w.u8(header.ipProtocol)
            w.u16(header.sourcePort)
            w.u16(header.destinationPort)
            let (type, size) = settings.ipfixType
            w.u8(type)
            w.u8(UInt8(size))
            w.uint(UInt128(header.id), size: size)
        }
        if let virtualID { w.short(virtualID) }
        bytes = w.bytes
    }
}

extension WireWriter {
    /// A text of up to 254 bytes as an element of variable length.
    fileprivate mutating func short(_ text: String) {
        let utf8 = Array(text.utf8.prefix(254))
        u8(UInt8(utf8.count))
        array(utf8)
    }

    /// Index, type, name and description of a port's interface.
    fileprivate mutating func interface(_ port: SwitchPort?) {
        u32(port.map { UInt32(truncatingIfNeeded: max(0, $0.device.interfaceIndex)) } ?? 0)
        u32(0)
        short(port?.name ?? "")
        short("")
    }
}

extension TunnelSettings {
    /// tunnelType, and how many bytes a tunnel's key has.
    fileprivate var ipfixType: (type: UInt8, keySize: Int) {
        switch kind {
        case .vxlan: (1, 3)
        case .gre, .erspan: (2, 4)
        case .geneve: (7, 3)
        case .gtpu: (0, 4)
        }
    }
}

/// Why a record is sent (flowEndReason).
enum IPFIXEnd: UInt8 { case activeTimeout = 2, forced = 4, lackOfResources = 5 }

/// Counts of packets, bytes and flags: those of a flow since it was last told of, or all of an exporter's.
struct IPFIXCounts {
    var packets: UInt64 = 0
    var droppedPackets: UInt64 = 0
    /// Of packets that are sampled as they come in.
    var inUnicast: UInt64 = 0
    var inMulticast: UInt64 = 0
    var inBroadcast: UInt64 = 0
    var outUnicast: UInt64 = 0
    var outMulticast: UInt64 = 0
    var outBroadcast: UInt64 = 0
    var layer2Bytes: UInt64 = 0
    var bytes: UInt64 = 0
    var droppedBytes: UInt64 = 0
    var squares: UInt64 = 0
    var outMulticastBytes: UInt64 = 0
    var minimum: UInt64 = .max
    var maximum: UInt64 = 0
    /// By the flag's place among the low six bits of a TCP header's flags.
    var flags = [UInt64](repeating: 0, count: 6)

    mutating func add(_ sample: IPFIXSample) {
        let n = sample.weight
        packets &+= n
        let ethDst = sample.key.ethDst
        let isBroadcast = EthernetAddress.isBroadcast(ethDst)
        let isMulticast = !isBroadcast && ethDst >> 40 & 1 != 0
        switch (sample.isEgress, isBroadcast, isMulticast) {
        case (false, true, _): inBroadcast &+= n
        case (false, _, true): inMulticast &+= n
        case (false, _, _): inUnicast &+= n
        case (true, true, _): outBroadcast &+= n
        case (true, _, true): outMulticast &+= n
        case (true, _, _): outUnicast &+= n
        }
        layer2Bytes &+= n &* UInt64(sample.size)
        if sample.isDropped { droppedPackets &+= n }
        guard IPFIXTemplate(sample.key).network != .unknown else { return }
        let size = sample.ipSize
        bytes &+= n &* size
        squares &+= n &* size &* size
        minimum = min(minimum, size)
        maximum = max(maximum, size)
        if sample.isDropped { droppedBytes &+= n &* size }
        if sample.isEgress, isMulticast { outMulticastBytes &+= n &* size }
        guard sample.key.nwProto == IPProtocol.tcp else { return }
        for bit in 0..<6 where sample.key.tcpFlags >> UInt16(bit) & 1 != 0 { flags[bit] &+= n }
    }
}

/// A flow that waits to be told of.
struct IPFIXFlow {
    let key: IPFIXFlowKey
    var counts = IPFIXCounts()
    /// The exporter's counts when the flow's last packet came.
    var totals = IPFIXCounts()
    /// Microseconds of the wall clock.
    let start: Int64
    var end: Int64

    /// The data record. Counts of some elements are the exporter's alone.
    func record(_ reason: IPFIXEnd, exported: Int64) -> [UInt8] {
        var w = WireWriter(capacity: key.bytes.count + 256)
        w.array(key.bytes)
        w.u32(UInt32(clamping: exported - start))
        w.u32(UInt32(clamping: exported - end))
        for n in [
            counts.droppedPackets, totals.droppedPackets, counts.packets, totals.packets, totals.inUnicast, totals.inMulticast,
            totals.inBroadcast, totals.outUnicast, totals.outBroadcast, counts.outMulticast, totals.outMulticast, counts.layer2Bytes,
            totals.layer2Bytes,
        ] { w.u64(n) }
        w.u8(reason.rawValue)
        if key.template.network != .unknown {
            for n in [
                counts.droppedBytes, totals.droppedBytes, counts.bytes, totals.bytes, counts.squares, totals.squares, counts.minimum,
                counts.maximum, counts.outMulticastBytes, totals.outMulticastBytes,
            ] { w.u64(n) }
        }
        // ACK, FIN, PSH, RST, SYN, URG.
        if key.template.transport == .tcp { for bit in [4, 0, 3, 2, 1, 5] { w.u64(totals.flags[bit]) } }
        return w.bytes
    }
}
