// What neighbours send: LACP, BFD, CFM, STP, LLDP, IGMP and MLD.

import Ofproto

/// Each parser gets the bytes; what it makes of them is written again where it can be.
@Sendable func fuzzProtocols(_ input: [UInt8]) {
    if case .pdu(let pdu) = LACPDU.parse(input) { precondition(LACPDU.parse(pdu.bytes) == .pdu(pdu)) }
    if let packet = BFDPacket(input) { precondition(BFDPacket(packet.bytes) == packet) }
    for isExtended in [false, true] { _ = CCM(input, isExtended: isExtended)?.bytes }
    if let message = try? BPDU(input) { precondition((try? BPDU(message.bytes)) == message || message.kind == .topologyChangeNotification) }
    if let frame = try? LLDPDU(input), frame.unrecognized == 0 { _ = frame.bytes }
    _ = MembershipMessage.parse(input)
    _ = BFDPacket.payload(of: input)
}
