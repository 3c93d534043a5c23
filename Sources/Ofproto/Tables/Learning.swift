// Flows that learn actions made: adding and refreshing them, and taking them away with the flow that learned them.

import Classifier
import Dpif
import Flow
import OpenFlow

/// Where the flows of a learn action with delete_learned are.
struct LearnedFlows: Hashable {
    let table: UInt8
    let cookie: UInt64

    /// Of a flow's own learn actions; those within clone do not count.
    static func named(by actions: [OFAction]) -> [LearnedFlows] {
        actions.compactMap {
            guard case .learn(let learn) = $0, learn.flags.contains(.deleteLearned) else { return nil }
            return LearnedFlows(table: learn.table, cookie: learn.cookie)
        }
    }
}

extension OpenFlowSwitch {
    /// What became of a learn action.
    enum Learned {
        case added(Rule)
        /// The flow is there already: `relearn` refreshes it.
        case known
        /// The action's limit forbids another flow.
        case refused
        case failed
    }

    /// Adds the flow that a learn action made.
    func learn(_ learn: LearnAction, match: Match, actions: [OFAction]) -> Learned {
        settle()
        guard learn.table < 254 else { return .failed }
        var match = match
        match.setDefaultPacketType()
        let table = tables[Int(learn.table)]
        if table.find(match, priority: Int(learn.priority)) != nil { return .known }
        if learn.limit > 0 {
            var count = 0
            table.forEach(within: Match(), cookie: learn.cookie, cookieMask: .max) { _ in count += 1 }
            guard count < learn.limit else { return .refused }
        }
        var flags: RuleFlags = []
        if learn.flags.contains(.sendFlowRemoved) { flags.insert(.sendFlowRemoved) }
        guard (try? makeRoom(in: table)) != nil else { return .failed }
        let rule = Rule(
            tableID: learn.table, match: match, priority: Int(learn.priority), cookie: learn.cookie,
            idleTimeout: learn.idleTimeout, hardTimeout: learn.hardTimeout, flags: flags, actions: actions, now: time.now)
        install(rule)
        return .added(rule)
    }

    /// Refreshes a flow that was learned before, and replaces its actions.
    func relearn(_ learn: LearnAction, match: Match, actions: [OFAction]) {
        settle()
        guard learn.table < 254 else { return }
        var match = match
        match.setDefaultPacketType()
        guard let rule = tables[Int(learn.table)].find(match, priority: Int(learn.priority)), !rule.isHidden else { return }
        rule.modified = time.now
        guard rule.actions != actions else { return }
        let old = rule.actions
        setActions(actions, of: rule)
        backer.changed()
        eventReceiver?(.flowModified(rule, oldActions: old))
    }

    /// Removes what was learned into places that nobody learns into any more.
    func removeLearned(_ orphaned: [LearnedFlows]) {
        for flows in orphaned where flows.table < 254 {
            var gone: [Rule] = []
            tables[Int(flows.table)].forEach(within: Match(), cookie: flows.cookie, cookieMask: .max) {
                if !$0.isHidden { gone.append($0) }
            }
            for rule in gone where rule.isInstalled { uninstall(rule, .delete) }
        }
    }

    /// Replaces a flow's actions in place, and removes what only the old ones learned.
    func setActions(_ actions: [OFAction], of rule: Rule) {
        transaction?.willChange(rule)
        rule.changedAt = nextChange()
        removeLearned(exchangeActions(actions, of: rule))
    }

    /// Replaces a flow's actions, and nothing else. Returns where nobody learns flows any more.
    func exchangeActions(_ actions: [OFAction], of rule: Rule) -> [LearnedFlows] {
        let old = rule.actions
        rule.actions = actions
        references.add(actions, of: rule)
        return references.remove(old, of: rule)
    }
}
