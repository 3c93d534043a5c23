// Translating a packet for show: `ofproto/trace`.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// What a trace found.
    public struct TraceResult {
        /// A pass of the datapath that follows the connection tracker.
        public struct Recirculation {
            public let id: UInt32
            /// The packet's key when it comes back, but for what the datapath finds out.
            public let flow: FlowKey
            public let zone: UInt16
            /// How the packet is translated.
            public let nat: DpNAT?
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

    /// The pass has been traced; its id may go.
    public func finish(_ pass: TraceResult.Recirculation) {
        backer.recirculation.release([pass.id])
        backer.recirculation.forget([pass.id])
    }

    /// Translates a flow and records how. The caller ends each of the result's recirculations with `finish`.
    ///
    /// - Parameters:
    ///   - flow: with OpenFlow ports.
    ///   - packet: the packet's bytes. With them addresses and flows are learned, controllers are sent packets, and connections tracked.
    ///   - actions: executed instead of looking the flow up (packet-out).
    public func trace(_ flow: FlowKey, packet: [UInt8]?, actions: [OFAction]?) -> TraceResult {
        let root = TraceNode(.bridge, "")
        let bridge = root.add(.bridge, "bridge(\"\(name)\")")
        let translation = Translation(
            self, flow: flow, sideEffects: packet != nil,
            trace: bridge)
        // Learning takes place, but nothing is counted.
        translation.packetLength = packet?.count
        if let actions { translation.run(actions: actions) } else { translation.run() }
        if let packet {
            var key = flow
            key.inPort = port(OFPort(flow.inPort))?.datapathPort ?? .max
            try? backer.dpif.execute(
                Packet(packet), metadata: key,
                actions: Self.tracedActions(translation.actions, isSlow: translation.slowPath.contains(.action)))
        }
        let found = translation.followUps.map {
            TraceResult.Recirculation(id: $0.id, flow: $0.flow, zone: $0.zone, nat: $0.nat)
        }
        // The ids live until the passes that they stand for have been traced.
        backer.recirculation.retain(found.map(\.id))
        backer.recirculation.forget(translation.recirculationIDs)
        return TraceResult(
            tree: root, finalFlow: translation.flow, isUnchanged: translation.flow == translation.original,
            megaflow: Match(key: translation.original, mask: translation.consulted ?? translation.wildcards), actions: translation.actions,
            slowPath: translation.slowPath, error: translation.error?.rawValue, recirculations: found)
    }

    /// What the datapath does with the packet of a trace: neither outputs nor recirculations, but for those below `check_pkt_len`, which the
    /// real daemon does not look into, and so sends in earnest. An output before them that did not take place leaves its cut: it counts for
    /// what is measured, and cuts what is sent where the switch executes the actions itself.
    private static func tracedActions(_ actions: [DpAction], isSlow: Bool, limit: UInt32 = .max) -> [DpAction] {
        var limit = limit
        return actions.compactMap { action in
            switch action {
            case .output, .recirc: return nil
            case .truncate(let length):
                limit = length
                return nil
            case .clone(let inner): return .clone(tracedActions(inner, isSlow: isSlow, limit: limit))
            case .checkPacketLength(let size, let greater, let less):
                let cut = isSlow && limit < .max ? [DpAction.truncate(limit)] : []
                return .checkPacketLength(size, greater: cut + (limit > size ? greater : less), lessOrEqual: cut + less)
            default: return action
            }
        }
    }
}
