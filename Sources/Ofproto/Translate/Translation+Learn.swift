// The learn action: makes a flow from a packet (ovs-actions(7), "The learn action").

import Dpif
import Flow
import OpenFlow

extension Translation {
    /// Gives flows that were learned again their new actions.
    func finishLearning() {
        let list = pendingLearning
        pendingLearning = []
        for (target, learn, match, actions) in list { target.relearn(learn, match: match, actions: actions) }
    }

    /// Looks a table up as it was when the translation began: a packet does not see what it teaches.
    func lookupBeforeLearning(_ table: FlowTable) -> Rule? {
        guard let found = table.lookup(flow, consulted: &wildcards) else { return nil }
        guard !learnedRules.isEmpty, learnedRules.contains(where: { $0 === found }) else { return found }
        let hidden = learnedRules.filter { $0.tableID == table.id && $0.isInstalled }
        for rule in hidden { table.remove(rule) }
        let before = table.lookup(flow, consulted: &wildcards)
        for rule in hidden { table.insert(rule) }
        return before
    }

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
        var learned = true
        switch owner.learn(learn, match: match, actions: actions) {
        case .added(let rule): learnedRules.append(rule)
        case .known: pendingLearning.append((owner, learn, match, actions))
        case .refused: learned = false
        case .failed: break
        }
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
