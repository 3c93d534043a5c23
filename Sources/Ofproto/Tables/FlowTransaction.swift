// Changes of flows and groups that happen together or not at all (OpenFlow 1.4 bundles): while one is open, what is changed is
// written to a log that can be undone. Its cost is that of the changes, however many flows there are.

import OpenFlow

/// The log of what to undo. Confined to the main thread.
struct FlowTransaction {
    private enum Step {
        case came(Rule)
        case went(Rule)
        case changed(Saved)
        case group(UInt32, Group?)
    }

    /// What may change about a flow while it stays in its table.
    private struct Saved {
        let rule: Rule
        let cookie: UInt64
        let actions: [OFAction]
        let modified: Int64
        let packetCount: UInt64
        let byteCount: UInt64
        let idleTimeout: UInt16
        let hardTimeout: UInt16
    }

    private var steps: [Step] = []
    /// How many changes there were.
    var count: Int { steps.count }
    /// Who is to hear of events, and what of.
    fileprivate var receiver: ((SwitchEvent) -> Void)?
    fileprivate var events: [SwitchEvent] = []
    /// Whether they want to hear of flows that come and change.
    fileprivate(set) var isWatched = false

    mutating func came(_ rule: Rule) { steps.append(.came(rule)) }
    mutating func went(_ rule: Rule) { steps.append(.went(rule)) }
    mutating func willSet(_ group: Group?, id: UInt32) { steps.append(.group(id, group)) }

    mutating func willChange(_ rule: Rule) {
        steps.append(
            .changed(
                Saved(
                    rule: rule, cookie: rule.cookie, actions: rule.actions, modified: rule.modified, packetCount: rule.packetCount,
                    byteCount: rule.byteCount, idleTimeout: rule.idleTimeout, hardTimeout: rule.hardTimeout)))
    }

    /// Makes everything as it was, the last change first.
    func undo(in owner: OpenFlowSwitch) {
        for step in steps.reversed() {
            switch step {
            case .came(let rule): _ = owner.take(rule)
            case .went(let rule): owner.put(rule)
            case .changed(let s):
                owner.tables[Int(s.rule.tableID)].setCookie(s.cookie, of: s.rule)
                _ = owner.exchangeActions(s.actions, of: s.rule)
                s.rule.modified = s.modified
                s.rule.packetCount = s.packetCount
                s.rule.byteCount = s.byteCount
                s.rule.idleTimeout = s.idleTimeout
                s.rule.hardTimeout = s.hardTimeout
                owner.timeoutsChanged(s.rule)
            case .group(let id, let group): owner.setGroup(group, id: id)
            }
        }
        owner.backer.changed()
    }
}

extension OpenFlowSwitch {
    /// Begins changes that happen together: until `endChanges` or `undoChanges`, nobody is told of events.
    private func beginChanges() {
        let receiver = eventReceiver
        var log = FlowTransaction()
        log.receiver = receiver
        log.isWatched = tellsOfFlows
        transaction = log
        eventReceiver = { [weak self] in self?.transaction?.events.append($0) }
    }

    /// Lets the changes since `beginChanges` count.
    private func endChanges() {
        guard let done = transaction else { return }
        transaction = nil
        eventReceiver = done.receiver
        backer.changed()
        if let receiver = done.receiver { for event in done.events { receiver(event) } }
        if done.count >= Reclaimer.threshold { Reclaimer.release(done) }
    }

    /// Makes everything as it was at `beginChanges`.
    private func undoChanges() {
        guard let failed = transaction else { return }
        transaction = nil
        failed.undo(in: self)
        eventReceiver = failed.receiver
    }

    /// Runs `body`; when it throws, the flows and groups are as they were before. Events are told only on success.
    public func atomically(_ body: () throws(OFError) -> Void) throws(OFError) {
        settle()
        beginChanges()
        do throws(OFError) {
            try body()
        } catch {
            undoChanges()
            throw error
        }
        endChanges()
    }

    /// Begins changes that are made in steps. Until all are made, whoever looks at the flows or wants to change them calls `settle`
    /// first, so that no one ever sees some of them.
    /// - Parameter finish: makes the rest, and ends with `completeChanges` or `abandonChanges`.
    public func changeInSteps(finish: @escaping () -> Void) {
        settle()
        beginChanges()
        finishChanges = finish
    }

    /// All changes that were begun with `changeInSteps` are made.
    public func completeChanges() {
        finishChanges = nil
        endChanges()
    }

    /// One of the changes that were begun with `changeInSteps` cannot be made.
    public func abandonChanges() {
        finishChanges = nil
        undoChanges()
    }

    /// Completes what is being changed in steps.
    public func settle() { finishChanges?() }

    /// What packets do may have changed; of changes that happen together, the last tells.
    func flowsChanged() { if transaction == nil { backer.changed() } }

    /// Checks the actions of a group's bucket.
    public func checkBucket(_ actions: inout [OFAction], version: OFVersion) throws(OFError) {
        var checker = ActionChecker(version: version, match: .init())
        do throws(OFError) {
            try checker.check(&actions)
        } catch {
            // What the packets are is not known here.
            if error != .bacMatchInconsistent { throw error }
        }
        do throws(OFError) {
            try checkReferences(actions)
        } catch {
            // Groups may be named before they are there.
            if error != .bacBadOutGroup { throw error }
        }
    }
}
