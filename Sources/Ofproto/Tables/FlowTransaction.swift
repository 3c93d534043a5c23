// Changes of flows that happen together or not at all (OpenFlow 1.4 bundles).

import Classifier
import OpenFlow

extension OpenFlowSwitch {
    /// What may change about a flow while it stays in its table.
    private struct Saved {
        let rule: Rule
        let cookie: UInt64
        let actions: [OFAction]
        let modified: Int64
        let packetCount: UInt64
        let byteCount: UInt64
        let importance: UInt16
        let idleTimeout: UInt16
        let hardTimeout: UInt16
    }

    /// Runs `body`; when it throws, the flows and groups are as they were before. Events are told only on success.
    public func atomically(_ body: () throws(OFError) -> Void) throws(OFError) {
        var saved: [Saved] = []
        for table in tables {
            table.forEach { rule in
                saved.append(
                    Saved(
                        rule: rule, cookie: rule.cookie, actions: rule.actions, modified: rule.modified,
                        packetCount: rule.packetCount, byteCount: rule.byteCount, importance: rule.importance,
                        idleTimeout: rule.idleTimeout, hardTimeout: rule.hardTimeout))
            }
        }
        let oldGroups = groups
        let receiver = eventReceiver
        var events: [SwitchEvent] = []
        eventReceiver = { events.append($0) }
        do throws(OFError) {
            try body()
        } catch {
            let kept = Set(saved.map { ObjectIdentifier($0.rule) })
            for table in tables {
                var added: [Rule] = []
                table.forEach { if !kept.contains(ObjectIdentifier($0)) { added.append($0) } }
                for rule in added { uninstall(rule, nil) }
            }
            for s in saved {
                if !s.rule.isInstalled { install(s.rule) }
                tables[Int(s.rule.tableID)].setCookie(s.cookie, of: s.rule)
                setActions(s.actions, of: s.rule)
                s.rule.modified = s.modified
                s.rule.packetCount = s.packetCount
                s.rule.byteCount = s.byteCount
                s.rule.importance = s.importance
                s.rule.idleTimeout = s.idleTimeout
                s.rule.hardTimeout = s.hardTimeout
                timeoutsChanged(s.rule)
            }
            for id in groups.keys where oldGroups[id] == nil { setGroup(nil, id: id) }
            for (id, group) in oldGroups { setGroup(group, id: id) }
            eventReceiver = receiver
            throw error
        }
        eventReceiver = receiver
        if let receiver { for event in events { receiver(event) } }
    }

    /// Removes the flows that send packets to a group or meter that goes away.
    public func removeFlows(toGroup id: UInt32) {
        for table in tables.dropLast() where table.count > 0 {
            var found: [Rule] = []
            table.forEach { if $0.actions.outputs(toGroup: id) { found.append($0) } }
            for rule in found { uninstall(rule, .groupDelete) }
        }
    }

    public func removeFlows(usingMeter id: UInt32) {
        for table in tables.dropLast() where table.count > 0 {
            var found: [Rule] = []
            table.forEach { if $0.actions.contains(.meter(id)) { found.append($0) } }
            for rule in found { uninstall(rule, .meterDelete) }
        }
    }

    /// How often flows name a group or a meter.
    public func referenceCount(_ references: ([OFAction]) -> Int) -> UInt32 {
        var count: UInt32 = 0
        for table in tables.dropLast() where table.count > 0 {
            table.forEach { count &+= UInt32(truncatingIfNeeded: references($0.actions)) }
        }
        return count
    }

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
