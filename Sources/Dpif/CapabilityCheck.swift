// Does a flow stay within a capability set? What the dummy datapath refuses by, and what tests hold Ofproto to.

import Flow
import Packet

/// Checks keys, masks and actions against a capability set.
public struct CapabilityCheck {
    private let c: DpifCapabilities

    public init(_ capabilities: DpifCapabilities) { c = capabilities }

    /// What the datapath did not advertise, in words; nil when all is well.
    public func problem(key: FlowKey, mask: FlowMask, actions: [DpAction]) -> String? {
        keyProblem(key, mask) ?? actionProblem(actions, depth: 0)
    }

    private func keyProblem(_ key: FlowKey, _ mask: FlowMask) -> String? {
        let state = mask.bits.ctState
        if !c.ctState, state != 0 { return "key ct_state" }
        if !c.ctStateNAT, state & 0xc0 != 0 && state != .max { return "key ct_state snat or dnat" }
        if !c.ctZone, mask.bits.ctZone != 0 { return "key ct_zone" }
        if !c.ctMark, mask.bits.ctMark != 0 { return "key ct_mark" }
        if !c.ctLabel, mask.bits.ctLabel != 0 { return "key ct_label" }
        if !c.ctOrigTuple, !mask.isWild(Location.ctNwSrc) || !mask.isWild(Location.ctNwDst) { return "key ct_tuple4" }
        if !c.ctOrigTuple6, !mask.isWild(Location.ctIPv6Src) || !mask.isWild(Location.ctIPv6Dst) { return "key ct_tuple6" }
        if !c.recirculation, mask.bits.recircID != 0 || mask.bits.dpHash != 0 { return "key recirc_id or dp_hash" }
        if !c.ndExtensions, key.ethType == EtherType.ipv6, key.nwProto == 58, mask.bits.ndOptionsType != 0 { return "key nd_ext" }
        if !c.tcpFlags, key.nwProto == IPProtocol.tcp, mask.bits.tcpFlags != 0 { return "key tcp_flags" }
        if c.maxVLANHeaders < 1, mask.bits.vlanTCI != 0 { return "key vlan" }
        if c.maxVLANHeaders < 2, mask.bits.innerVLANTCI != 0 { return "key second vlan" }
        if EtherType.isMPLS(key.ethType) {
            for i in 0..<maxMPLSLabels where i >= c.maxMPLSDepth && mask.bits.mplsLSE(i) != 0 { return "key mpls label \(i)" }
        }
        return nil
    }

    private func actionProblem(_ actions: [DpAction], depth: Int) -> String? {
        for action in actions {
            switch action {
            case .set(let set) where set.isMasked && !c.maskedSet && set.kind != .skbPriority && set.kind != .skbMark:
                return "action set(\(set.kind.rawValue)) with a mask"
            case .truncate where !c.truncate: return "action trunc"
            case .recirc where !c.recirculation, .hash where !c.recirculation: return "action recirc or hash"
            case .hash(let algorithm, _) where algorithm.rawValue > c.maxHashAlgorithm: return "action hash algorithm"
            case .clone(let list):
                guard c.clone else { return "action clone" }
                if let problem = actionProblem(list, depth: depth) { return problem }
            case .sample(_, let list):
                guard depth < c.sampleNesting else { return "action sample nested \(depth + 1) deep" }
                if let problem = actionProblem(list, depth: depth + 1) { return problem }
            case .checkPacketLength(_, let greater, let less):
                guard c.checkPacketLength else { return "action check_pkt_len" }
                if let problem = actionProblem(greater, depth: depth) ?? actionProblem(less, depth: depth) { return problem }
            case .ct(let ct):
                guard c.ctState else { return "action ct" }
                if ct.zone != 0, !c.ctZone { return "action ct(zone)" }
                if ct.mark != nil, !c.ctMark { return "action ct(mark)" }
                if ct.label != nil, !c.ctLabel { return "action ct(label)" }
                if ct.nat != nil, !c.ctNAT { return "action ct(nat)" }
                if ct.timeoutPolicy != nil, !c.ctTimeoutPolicy { return "action ct(timeout)" }
                if ct.eventMask != nil, !c.ctEventMask { return "action ct(eventmask)" }
            case .ctClear where !c.ctClear: return "action ct_clear"
            case .meter where !c.meters: return "action meter"
            case .tunnelPush where !c.tunnelPushPop, .tunnelPop where !c.tunnelPushPop: return "action tnl_push or tnl_pop"
            case .drop where !c.explicitDrop: return "action drop with a reason"
            case .lbOutput where !c.lbOutput: return "action lb_output"
            case .pushMPLS where c.maxMPLSDepth == 0, .popMPLS where c.maxMPLSDepth == 0: return "action push_mpls or pop_mpls"
            default: break
            }
        }
        return nil
    }
}
