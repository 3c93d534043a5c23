// The ct and ct_clear actions (ovs-actions(7), "The ct action"): what the datapath's connection tracker is asked, and how
// translation goes on with what it will find.

import Dpif
import Flow
import OpenFlow

extension Translation {
    func executeConntrack(_ ct: CTAction) {
        // Everything up to here must be in the packet that the tracker sees.
        commit()
        var action = DpConntrack()
        action.commit = ct.commit || ct.force
        action.force = ct.force
        if action.commit, capabilities.ctEventMask { action.eventMask = DpConntrack.usualEvents }
        if let source = ct.zoneSource {
            source.match(in: &wildcards)
            action.zone = UInt16(truncatingIfNeeded: source.value(in: flow))
        } else {
            action.zone = ct.zone
        }
        // The nested actions work on the connection's mark and label, which begin as they are in the packet.
        let saved = (flow.ctMark, flow.ctLabel, wildcards.bits.ctMark, wildcards.bits.ctLabel)
        conntrackNAT = nil
        flow.ctMark = base.ctMark
        flow.ctLabel = base.ctLabel
        wildcards.bits.ctMark = 0
        wildcards.bits.ctLabel = 0
        execute(ct.actions)
        let masks = (wildcards.bits.ctMark, wildcards.bits.ctLabel)
        if masks.0 != 0 { action.mark = .init(flow.ctMark & masks.0, masks.0) }
        if masks.1 != 0 { action.label = .init(flow.ctLabel & masks.1, masks.1) }
        let (mark, label) = (flow.ctMark, flow.ctLabel)
        let nat = conntrackNAT
        conntrackNAT = nil
        (flow.ctMark, flow.ctLabel, wildcards.bits.ctMark, wildcards.bits.ctLabel) = saved
        if case .nat(let nat)? = nat { action.nat = Self.datapathNAT(nat) }
        switch ct.alg {
        case 21: action.helper = "ftp"
        case 69: action.helper = "tftp"
        default: break
        }
        if action.commit {
            action.timeoutPolicy = owner.backer.timeoutPolicy(zone: action.zone, flow: flow, consulted: &wildcards)
        }
        actions.append(.ct(action))
        // Later parts of this packet's walk see nothing of what the tracker finds.
        if ct.recircTable != 255 {
            conntracked = true
            report(
                .detail,
                "A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table \(ct.recircTable)."
            )
            let savedTable = table
            table = ct.recircTable
            let id = allocate(steps: [], controller: nil)
            actions.append(.recirc(id))
            var next = flow
            next.recircID = id
            next.ctMark = mark
            next.ctLabel = label
            followUps.append(FollowUp(id: id, flow: next, zone: action.zone, nat: action.nat))
            table = savedTable
        }
        report(.detail, "Sets the packet to an untracked state, and clears all the conntrack fields.")
        clearConntrack()
        base.ctMark = 0
        base.ctLabel = 0
        conntracked = false
    }

    func executeConntrackClear() {
        guard conntracked else { return }
        clearConntrack()
        conntracked = false
        if capabilities.ctClear { actions.append(.ctClear) }
    }

    private static func datapathNAT(_ nat: NATAction) -> DpNAT {
        var out = DpNAT()
        if nat.flags.contains(.source) { out.kind = .source } else if nat.flags.contains(.destination) { out.kind = .destination }
        switch nat.addresses {
        case .none: break
        case .ipv4(let low, let high): out.addresses = UInt128(low)...UInt128(max(low, high))
        case .ipv6(let low, let high):
            out.isIPv6 = true
            out.addresses = low...max(low, high)
        }
        if nat.portMin != 0 { out.ports = nat.portMin...max(nat.portMin, nat.portMax) }
        out.persistent = nat.flags.contains(.persistent)
        out.hashPorts = nat.flags.contains(.protocolHash)
        out.random = nat.flags.contains(.protocolRandom)
        return out
    }
}
