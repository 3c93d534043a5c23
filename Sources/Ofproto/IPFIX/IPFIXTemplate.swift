// The templates that records of IPFIX follow (RFC 7011 section 3.4): which elements, in which order, for which kind of packet.
//
// Numbers of templates are the place of the kind in the product of what kinds differ in, so every switch has the same. One table below
// says which elements a kind has; the codec of records (IPFIXRecord) writes values in the same order.

import Flow
import OpenFlow
import Packet

/// An information element and its length.
struct IPFIXElement: Hashable {
    /// The length says itself how long it is.
    static let variable: UInt16 = 65535
    static let vmware: UInt32 = 6876

    let id: UInt16
    let length: UInt16
    /// 0: IANA's.
    let enterprise: UInt32

    init(_ id: UInt16, _ length: UInt16, enterprise: UInt32 = 0) {
        self.id = id
        self.length = length
        self.enterprise = enterprise
    }

    func write(to w: inout WireWriter) {
        w.u16(id | (enterprise == 0 ? 0 : 0x8000))
        w.u16(length)
        if enterprise != 0 { w.u32(enterprise) }
    }
}

/// What kind of packet a record is of.
struct IPFIXTemplate: Hashable {
    enum Network: UInt16, CaseIterable { case unknown = 0, ipv4, ipv6 }
    enum Transport: UInt16, CaseIterable { case unknown = 0, tcp, udp, sctp, icmp }

    var hasVLAN = false
    var network = Network.unknown
    var transport = Transport.unknown
    /// The record tells of a tunnel.
    var hasTunnel = false
    /// The record tells of the port that the packet goes out by.
    var hasOutput = false

    init() {}

    /// The kind of a packet.
    init(_ key: FlowKey) {
        hasVLAN = key.vlanTCI & 0x1000 != 0
        switch key.ethType {
        case EtherType.ipv4: network = .ipv4
        case EtherType.ipv6: network = .ipv6
        default: return
        }
        switch key.nwProto {
        case IPProtocol.tcp: transport = .tcp
        case IPProtocol.udp: transport = .udp
        case IPProtocol.sctp: transport = .sctp
        case IPProtocol.icmp where network == .ipv4: transport = .icmp
        case IPProtocol.icmpv6 where network == .ipv6: transport = .icmp
        default: break
        }
    }

    /// All that there are.
    static let all: [IPFIXTemplate] = {
        var out: [IPFIXTemplate] = []
        for hasVLAN in [false, true] {
            for network in Network.allCases {
                for transport in network == .unknown ? [.unknown] : Transport.allCases {
                    for hasTunnel in [false, true] {
                        for hasOutput in [false, true] {
                            var template = IPFIXTemplate()
                            template.hasVLAN = hasVLAN
                            template.network = network
                            template.transport = transport
                            template.hasTunnel = hasTunnel
                            template.hasOutput = hasOutput
                            out.append(template)
                        }
                    }
                }
            }
        }
        return out
    }()

    /// Numbers below 256 are those of templates themselves.
    var number: UInt16 {
        var n: UInt16 = hasVLAN ? 1 : 0
        n = n * UInt16(Network.allCases.count) + network.rawValue
        n = n * UInt16(Transport.allCases.count) + transport.rawValue
        n = n * 2 + (hasTunnel ? 1 : 0)
        n = n * 2 + (hasOutput ? 1 : 0)
        return 256 + n
    }

    /// Those that tell flows apart.
    func keyElements(hasVirtualID: Bool) -> [IPFIXElement] {
        let any = IPFIXElement.variable
        func list(_ elements: [(UInt16, UInt16)], enterprise: UInt32 = 0) -> [IPFIXElement] {
            elements.map { IPFIXElement($0.0, $0.1, enterprise: enterprise) }
        }
        // observationPointId, flowDirection, source and destinationMacAddress, ethernetType, ethernetHeaderLength, ingressInterface,
        // ingressInterfaceType, interfaceName, interfaceDescription
        var out = list([(138, 4), (61, 1), (56, 6), (80, 6), (256, 2), (240, 1), (10, 4), (368, 4), (82, any), (83, any)])
        // egressInterface, egressInterfaceType, interfaceName, interfaceDescription
        if hasOutput { out += list([(14, 4), (369, 4), (82, any), (83, any)]) }
        // vlanId, dot1qVlanId, dot1qPriority
        if hasVLAN { out += list([(58, 2), (243, 2), (244, 1)]) }
        // ipVersion, ipTTL, protocolIdentifier, ipDiffServCodePoint, ipPrecedence, ipClassOfService
        if network != .unknown { out += list([(60, 1), (192, 1), (4, 1), (195, 1), (196, 1), (5, 1)]) }
        switch network {
        case .unknown: break
        // sourceIPv4Address, destinationIPv4Address
        case .ipv4: out += list([(8, 4), (12, 4)])
        // sourceIPv6Address, destinationIPv6Address, flowLabelIPv6
        case .ipv6: out += list([(27, 16), (28, 16), (31, 4)])
        }
        switch transport {
        case .unknown: break
        // sourceTransportPort, destinationTransportPort
        case .tcp, .udp, .sctp: out += list([(7, 2), (11, 2)])
        // icmpTypeIPv4, icmpCodeIPv4, or those of IPv6
        case .icmp: out += network == .ipv4 ? list([(176, 1), (177, 1)]) : list([(178, 1), (179, 1)])
        }
        if hasTunnel {
            // tunnelSource and DestinationIPv4Address, ProtocolIdentifier, Source and DestinationTransportPort, Type, Key
            out += list(
                [(893, 4), (894, 4), (895, 1), (896, 2), (897, 2), (891, 1), (892, any)], enterprise: IPFIXElement.vmware)
        }
        if hasVirtualID { out.append(IPFIXElement(898, any, enterprise: IPFIXElement.vmware)) }
        return out
    }

    /// Those that are counted.
    var countElements: [IPFIXElement] {
        // flowStart and flowEndDeltaMicroseconds, droppedPacketDelta and TotalCount, packetDelta and TotalCount,
        // ingressUnicast, Multicast and BroadcastPacketTotalCount, egressUnicast and BroadcastPacketTotalCount,
        // postMCastPacketDelta and TotalCount, layer2OctetDelta and TotalCount, flowEndReason
        var numbers: [UInt16] = [158, 159, 133, 135, 2, 86, 354, 355, 356, 357, 358, 19, 174, 352, 353, 136]
        // droppedOctetDelta and TotalCount, octetDelta and TotalCount, octetDelta and TotalSumOfSquares, minimum and
        // maximumIpTotalLength, postMCastOctetDelta and TotalCount
        if network != .unknown { numbers += [132, 134, 1, 85, 198, 199, 25, 26, 20, 175] }
        // tcpAck, Fin, Psh, Rst, Syn and UrgTotalCount
        if transport == .tcp { numbers += [222, 219, 221, 220, 218, 223] }
        return numbers.map { IPFIXElement($0, $0 == 158 || $0 == 159 ? 4 : $0 == 136 ? 1 : 8) }
    }

    func write(hasVirtualID: Bool, to w: inout WireWriter) {
        let elements = keyElements(hasVirtualID: hasVirtualID) + countElements
        w.u16(number)
        w.u16(UInt16(elements.count))
        for element in elements { element.write(to: &w) }
    }
}
