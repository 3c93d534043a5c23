// Does a flow stay within a capability set? What the dummy datapath refuses by, and what tests hold Ofproto to.

import Flow
import Packet

/// Checks keys, masks and actions against a capability set. Making it costs a few masks, using it little; it never changes.
public final class CapabilityCheck: Sendable {
    private let c: DpifCapabilities
    /// Bits that no flow may match, each with what the datapath calls them.
    private let never: [(name: String, bits: FlowMask)]
    /// All of them.
    private let neverBits: MiniMask

    public init(_ capabilities: DpifCapabilities) {
        c = capabilities
        var rows: [(name: String, bits: FlowMask)] = []
        func row(_ isThere: Bool, _ name: String, _ body: (inout FlowMask) -> Void) {
            guard !isThere else { return }
            var mask = FlowMask()
            body(&mask)
            rows.append((name, mask))
        }
        row(c.ctState, "key ct_state") { $0.bits.ctState = .max }
        row(c.ctStateNAT, "key ct_state snat or dnat") { $0.bits.ctState = CTState.sourceNAT | CTState.destinationNAT }
        row(c.ctZone, "key ct_zone") { $0.bits.ctZone = .max }
        row(c.ctMark, "key ct_mark") { $0.bits.ctMark = .max }
        row(c.ctLabel, "key ct_label") { $0.bits.ctLabel = .max }
        row(c.ctOrigTuple, "key ct_tuple4") { mask in
            for l in [Location.ctNwSrc, Location.ctNwDst] { mask.setExact(l) }
        }
        row(c.ctOrigTuple6, "key ct_tuple6") { mask in
            for l in [Location.ctIPv6Src, Location.ctIPv6Dst] { mask.setExact(l) }
        }
        row(c.ctOrigTuple || c.ctOrigTuple6, "key ct_tuple") { mask in
            for l in [Location.ctNwProto, Location.ctTpSrc, Location.ctTpDst] { mask.setExact(l) }
        }
        row(c.recirculation, "key recirc_id or dp_hash") { mask in
            for l in [Location.recircID, Location.dpHash] { mask.setExact(l) }
        }
        row(c.maxVLANHeaders >= 1, "key vlan") { mask in
            for l in [Location.vlanTPID, Location.vlanTCI] { mask.setExact(l) }
        }
        row(c.maxVLANHeaders >= 2, "key second vlan") { mask in
            for l in [Location.innerVLANTPID, Location.innerVLANTCI] { mask.setExact(l) }
        }
        never = rows
        neverBits = MiniMask(rows.reduce(into: FlowMask()) { $0.formUnion($1.bits) })
    }

    /// What the datapath did not advertise, in words; nil when all is well.
    public func problem(key: FlowKey, mask: FlowMask, actions: [DpAction]) -> String? {
        keyProblem(key, mask) ?? problem(actions: actions)
    }

    /// What of the actions the datapath did not advertise; nil when all is well.
    public func problem(actions: [DpAction]) -> String? { actionProblem(actions, depth: 0) }

    /// Takes out of a mask what the datapath cannot match. True when that was something.
    public func trim(_ mask: inout FlowMask, key: borrowing FlowKey) -> Bool {
        var isTrimmed = mask.subtract(neverBits)
        forEachUnmatched(key) { _, bits in
            if mask.subtract(MiniMask(bits)) { isTrimmed = true }
        }
        return isTrimmed
    }

    /// Tells the bits that packets of this key have and the datapath cannot match: places that hold something else for packets of
    /// other protocols.
    private func forEachUnmatched(_ key: borrowing FlowKey, _ body: (String, FlowMask) -> Void) {
        func tell(_ name: String, _ locations: [FieldLocation]) {
            var mask = FlowMask()
            for l in locations { mask.setExact(l) }
            body(name, mask)
        }
        let type = key.ethType
        if !c.ndExtensions, type == EtherType.ipv6, key.nwProto == IPProtocol.icmpv6 {
            tell("key nd_ext", [Location.ndOptionsType, Location.igmpGroup])
        }
        if !c.tcpFlags, key.nwProto == IPProtocol.tcp, type == EtherType.ipv4 || type == EtherType.ipv6 {
            tell("key tcp_flags", [Location.tcpFlags])
        }
        if !c.sctp, key.nwProto == IPProtocol.sctp, type == EtherType.ipv4 || type == EtherType.ipv6 {
            tell("key sctp", [Location.tpSrc, Location.tpDst])
        }
        if EtherType.isMPLS(type) {
            for i in max(0, c.maxMPLSDepth)..<max(maxMPLSLabels, c.maxMPLSDepth) { tell("key mpls label \(i)", [Location.mplsLSE(i)]) }
        }
    }

    private func keyProblem(_ key: FlowKey, _ mask: FlowMask) -> String? {
        if let row = never.first(where: { mask.intersects($0.bits) }) { return row.name }
        var problem: String?
        forEachUnmatched(key) { name, bits in
            if problem == nil, mask.intersects(bits) { problem = name }
        }
        return problem
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
            case .addMPLS where !c.addMPLS: return "action add_mpls"
            case .pushMPLS where c.maxMPLSDepth == 0, .popMPLS where c.maxMPLSDepth == 0: return "action push_mpls or pop_mpls"
            default: break
            }
        }
        return nil
    }
}
