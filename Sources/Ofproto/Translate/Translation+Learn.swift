// The learn action: makes a flow from a packet (ovs-actions(7), "The learn action").

import Dpif
import Flow
import OpenFlow

extension Translation {
    func executeLearn(_ learn: LearnAction) {
        var match = Match()
        var actions: [OFAction] = []
        if learn.finIdleTimeout != 0 || learn.finHardTimeout != 0 {
            actions.append(.finTimeout(idle: learn.finIdleTimeout, hard: learn.finHardTimeout))
        }
        for spec in learn.specs {
            let value: UInt128
            switch spec.source {
            case .field(let source):
                source.match(in: &wildcards)
                value = source.value(in: flow)
            case .immediate(let constant): value = constant
            }
            switch spec.destination {
            case .match(let destination): destination.set(value, in: &match)
            case .load(let destination):
                actions.append(
                    .setField(
                        SetFieldAction(
                            destination.field, value << UInt128(destination.low), mask: destination.fieldMask,
                            fromLoad: true)))
            case .output:
                // Numbers that are no ports are left out.
                if let port = UInt32(exactly: value), port <= 0xffff {
                    actions.append(.output(OFPort(port), maxLength: 0))
                }
            }
        }
        guard sideEffects else {
            report(.warning, "suppressing side effects, so learn action ignored")
            return
        }
        if trace != nil { report(.detail, describe(learn, match, actions)) }
        let learned = owner.learn(learn, match: match, actions: actions)
        if let result = learn.result { store(result, learned ? 1 : 0) }
        if !learned { report(.detail, "Limit exceeded, learn failed") }
    }

    private func describe(_ learn: LearnAction, _ match: Match, _ actions: [OFAction]) -> String {
        var text = "table=\(learn.table) "
        let matched = match.text(ports: owner.portNames)
        if !matched.isEmpty { text += matched + " " }
        text += "priority=\(learn.priority)"
        if learn.cookie != 0 { text += " cookie=\(AddressText.hex(learn.cookie))" }
        if learn.idleTimeout != 0 { text += " idle=\(learn.idleTimeout)" }
        if learn.hardTimeout != 0 { text += " hard=\(learn.hardTimeout)" }
        if learn.flags.contains(.sendFlowRemoved) { text += " send_flow_rem" }
        return text + " actions=\(OFAction.text(actions, ports: owner.portNames))"
    }
}
