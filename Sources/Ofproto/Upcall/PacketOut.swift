// Packets that controllers send: translated with the actions that came along, and executed by the datapath at once.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// Executes an OFPT_PACKET_OUT of a connection that speaks `version`.
    public func packetOut(_ request: PacketOut, version: OFVersion) throws(OFError) {
        try checkPacketOut(request, version: version)
        var packet = Packet(request.data)
        var key = metadataKey(request.match)
        key.extract(from: &packet)
        var flow = key
        flow.inPort = request.inPort.rawValue
        var actions = request.actions
        try check(&actions, flow: flow, version: version)
        send(&packet, flow: flow, actions: actions)
    }

    /// Sends a packet as these actions say, as if it came in at a port.
    func send(_ packet: consuming Packet, from inPort: OFPort, actions: [OFAction]) {
        var packet = packet
        var flow = FlowKey()
        flow.extract(from: &packet)
        flow.inPort = inPort.rawValue
        send(&packet, flow: flow, actions: actions)
    }

    private func send(_ packet: inout Packet, flow: FlowKey, actions: [OFAction]) {
        let translation = Translation(
            self, flow: flow, sideEffects: true, packet: (packet.count, flow.tcpFlags))
        translation.run(actions: actions)
        var key = flow
        key.inPort = port(OFPort(flow.inPort))?.datapathPort ?? .max
        try? backer.dpif.execute(packet.clone(), metadata: key, actions: translation.actions)
        backer.consume(packet, translation)
    }

    /// Finds what would be wrong with a packet-out, without doing it.
    public func checkPacketOut(_ request: PacketOut, version: OFVersion) throws(OFError) {
        // Packets are never buffered, so no buffer is known.
        guard request.bufferID == .max else { throw .brcBufferUnknown }
        try checkReferences(request.actions)
    }

    /// Finds what would be wrong with actions for such a packet; those that depend on how they came take note of it.
    public func checkActions(_ actions: inout [OFAction], of flow: FlowKey) throws(OFError) {
        try check(&actions, flow: flow, version: .v13)
        try checkReferences(actions)
    }

    private func metadataKey(_ match: Match) -> FlowKey {
        var key = match.key
        key.inPort = 0
        return key
    }

    private func check(_ actions: inout [OFAction], flow: FlowKey, version: OFVersion) throws(OFError) {
        var match = Match()
        match.key = flow
        match.mask = DatapathBacker.exactMask(flow)
        var checker = ActionChecker(version: version, match: match, table: 0)
        try checker.check(&actions)
    }
}
