// Translating a packet for show: `ofproto/trace`.

import Dpif
import Flow
import OpenFlow

extension OpenFlowSwitch {
    /// What a trace found.
    public struct TraceResult {
        /// A pass of the datapath that follows.
        public struct Recirculation {
            public let id: UInt32
            /// The packet's key when it comes back, but for what the datapath finds out.
            public let flow: FlowKey
            public let isConntrack: Bool
            public let zone: UInt16
        }
        public let tree: TraceNode
        public let finalFlow: FlowKey
        /// The pipeline left the packet as it was.
        public let isUnchanged: Bool
        public let megaflow: Match
        public let actions: [DpAction]
        public let slowPath: SlowPathReasons
        public let error: String?
        public let recirculations: [Recirculation]
    }

    /// Translates a flow and records how.
    ///
    /// - Parameters:
    ///   - flow: with OpenFlow ports.
    ///   - packetBytes: the size of the packet, or nil without one.
    ///   - sideEffects: whether addresses and flows are learned.
    ///   - actions: executed instead of looking the flow up (packet-out).
    public func trace(_ flow: FlowKey, packetBytes: Int?, sideEffects: Bool, actions: [OFAction]?) -> TraceResult {
        let root = TraceNode(.bridge, "")
        let bridge = root.add(.bridge, "bridge(\"\(name)\")")
        let translation = Translation(
            self, flow: flow, sideEffects: sideEffects,
            trace: bridge)
        // Learning takes place, but nothing is counted.
        translation.packetLength = packetBytes
        if let actions { translation.run(actions: actions) } else { translation.run() }
        var conntrack: DpConntrack?
        var found: [TraceResult.Recirculation] = []
        for action in translation.actions {
            if case .ct(let ct) = action { conntrack = ct }
            if case .recirc(let id) = action {
                var next = translation.base
                next.recircID = id
                found.append(
                    .init(id: id, flow: next, isConntrack: conntrack != nil, zone: conntrack?.zone ?? 0))
                conntrack = nil
            }
        }
        return TraceResult(
            tree: root, finalFlow: translation.flow, isUnchanged: translation.flow == translation.original,
            megaflow: Match(key: translation.original, mask: translation.wildcards), actions: translation.actions,
            slowPath: translation.slowPath, error: translation.error?.rawValue, recirculations: found)
    }
}
