// Adding, changing and deleting flows, as flow_mods and the learn action ask.

import Classifier
import Dpif
import Flow
import OpenFlow

/// Flows of one table.
public typealias SelectedFlows = (table: FlowTable, rules: [Rule])

/// A flow modification that can be kept until it is carried out: a flow to be added is one already, which takes a fraction of the
/// memory of a flow_mod, and saves time later.
public enum FlowChange {
    case add(Rule)
    indirect case other(FlowMod)

    /// - Parameter previous: a change that may well be to the same fields.
    public init(_ mod: consuming FlowMod, after previous: FlowChange? = nil) {
        guard mod.command == .add else {
            self = .other(mod)
            return
        }
        if case .add(let rule) = previous {
            self = .add(Rule(adding: mod, likely: rule.mask))
        } else {
            self = .add(Rule(adding: mod))
        }
    }
}

extension Rule {
    /// The flow that a flow_mod adds. It gets its times when it is installed.
    fileprivate convenience init(adding mod: borrowing FlowMod, likely: MiniMask? = nil) {
        self.init(
            // 255: whichever table; there is no reason for another than the first.
            tableID: mod.table == 255 ? 0 : mod.table, match: mod.match, priority: Int(mod.priority), cookie: mod.newCookie,
            idleTimeout: mod.idleTimeout, hardTimeout: mod.hardTimeout, importance: mod.importance,
            flags: RuleFlags(rawValue: mod.flags.rawValue), actions: mod.actions, now: 0,
            likely: likely)
    }
}

extension OpenFlowSwitch {
    /// Executes a flow modification whole or not at all.
    public func modifyFlows(_ mod: FlowMod) throws(OFError) { try carryOut(FlowChange(mod)) }

    /// Executes a flow modification, once, whole or not at all.
    public func carryOut(_ change: FlowChange) throws(OFError) {
        switch change {
        case .add(let rule):
            try checkSupport(rule.match)
            try checkReferences(rule.actions)
            try add(rule)
        case .other(let mod): try execute(mod)
        }
    }

    private func execute(_ mod: FlowMod) throws(OFError) {
        if mod.command == .modify || mod.command == .modifyStrict {
            try checkSupport(mod.match)
            try checkReferences(mod.actions)
        }
        switch mod.command {
        case .add: try add(Rule(adding: mod))
        case .modify: try modify(try select(loosely: mod).flatMap(\.rules), mod)
        case .modifyStrict: try modify(try rules(strictly: mod), mod)
        case .delete: try delete(mod)
        case .deleteStrict:
            for rule in try rules(strictly: mod) where rule.isInstalled { uninstall(rule, .delete) }
        }
    }

    // MARK: Checks

    /// What the datapath cannot look at cannot be matched.
    func checkSupport(_ wanted: @autoclosure () -> Match) throws(OFError) {
        let c = backer.capabilities
        // Spelling out a flow's match takes longer than adding the flow.
        guard !c.matchesEveryField else { return }
        let match = wanted()
        let m = match.mask
        let state = m.bits.ctState
        if !c.ctState && state != 0 || !c.ctStateNAT && state & 0xc0 != 0 || !c.ctZone && m.bits.ctZone != 0
            || !c.ctMark && m.bits.ctMark != 0 || !c.ctLabel && m.bits.ctLabel != 0
        {
            throw .nxbmcCtDatapathSupport
        }
        if !c.ctOrigTuple,
            !m.isWild(Location.ctNwSrc) || !m.isWild(Location.ctNwDst) || !m.isWild(Location.ctTpSrc)
                || !m.isWild(Location.ctTpDst) || !m.isWild(Location.ctNwProto)
        {
            throw .nxbmcCtDatapathSupport
        }
        if !c.ctOrigTuple6, !m.isWild(Location.ctIPv6Src) || !m.isWild(Location.ctIPv6Dst) {
            throw .nxbmcCtDatapathSupport
        }
        if !c.ndExtensions, match.key.ethType == 0x86dd, !m.isWild(Location.ndOptionsType) { throw .bmcBadField }
        if !c.recirculation, !m.isWild(Location.dpHash) || !m.isWild(Location.recircID) { throw .bmcBadField }
        if !c.tcpFlags, match.key.nwProto == 6, m.bits.tcpFlags != 0 { throw .bmcBadField }
    }

    /// Groups and meters must exist, and the datapath must be able to track connections where that is asked.
    func checkReferences(_ actions: [OFAction]) throws(OFError) {
        let c = backer.capabilities
        for action in actions {
            switch action {
            case .group(let id) where group(id) == nil: throw .bacBadOutGroup
            case .meter(let id) where !hasMeter(id): throw .mmfcInvalidMeter
            case .ct(let ct):
                guard c.ctState, c.recirculation else { throw .nxbacCtDatapathSupport }
                for nested in ct.actions {
                    switch nested {
                    case .nat where !c.ctNAT: throw .nxbacCtDatapathSupport
                    case .setField(let set) where set.field == .ctMark && !c.ctMark: throw .nxbacCtDatapathSupport
                    case .setField(let set) where set.field == .ctLabel && !c.ctLabel: throw .nxbacCtDatapathSupport
                    default: break
                    }
                }
                if !c.ctZone, ct.zone != 0 || ct.zoneSource != nil { throw .nxbacCtDatapathSupport }
            case .ctClear where !c.ctState: throw .nxbacCtDatapathSupport
            case .writeActions(let list), .clone(let list): try checkReferences(list)
            default: break
            }
        }
    }

    // MARK: Adding

    private func add(_ rule: Rule) throws(OFError) {
        guard rule.tableID < 254 else { throw rule.tableID == 254 ? .brcEperm : .brcBadTableId }
        let table = tables[Int(rule.tableID)]
        rule.startTimes(at: time.now)
        // What replaces another needs no room, and overlaps only that.
        if table.maxFlows != nil || rule.flags.contains(.checkOverlap), table.find(like: rule) == nil {
            if rule.flags.contains(.checkOverlap), table.overlaps(rule.match, priority: rule.priority) { throw .fmfcOverlap }
            try makeRoom(in: table)
        }
        // Replacing is no removal: nobody is told. The new one comes first, so that the classifier keeps their place.
        if let replaced = install(rule) { uninstall(replaced, nil) }
        checkVacancy(of: table)
    }

    /// Evicts a flow of a full table, or refuses.
    func makeRoom(in table: FlowTable) throws(OFError) {
        guard let limit = table.maxFlows, table.count >= limit else { return }
        guard let victim = table.evictionVictim() else { throw .fmfcTableFull }
        uninstall(victim, .eviction)
    }

    private func checkVacancy(of table: FlowTable) {
        guard let vacancy = table.vacancy, let limit = table.maxFlows, limit > 0 else { return }
        let free = max(0, limit - table.count) * 100 / limit
        if table.vacancyWillFall, free < Int(vacancy.down) {
            table.vacancyWillFall = false
            eventReceiver?(.vacancyDown(table))
        } else if !table.vacancyWillFall, free > Int(vacancy.up) {
            table.vacancyWillFall = true
            eventReceiver?(.vacancyUp(table))
        }
    }

    // MARK: Modifying

    private func modify(_ rules: [Rule], _ mod: FlowMod) throws(OFError) {
        if rules.isEmpty {
            // OpenFlow 1.0 and 1.1 add a flow then, unless the cookie was to select it.
            guard mod.cookieMask == 0, mod.newCookie != .max else { return }
            try add(Rule(adding: mod))
            return
        }
        let conjunctions = Rule.conjunctions(of: mod.actions)
        // A flow may go while others are changed: with the actions that learned it.
        for rule in rules where rule.isInstalled {
            if rule.conjunctions == conjunctions {
                transaction?.willChange(rule)
                if mod.modifyCookie { tables[Int(rule.tableID)].setCookie(mod.newCookie, of: rule) }
                let old = rule.actions
                setActions(mod.actions, of: rule)
                rule.modified = time.now
                if mod.flags.contains(.resetCounts) {
                    rule.packetCount = 0
                    rule.byteCount = 0
                }
                flowsChanged()
                eventReceiver?(.flowModified(rule, oldActions: old))
            } else {
                let changed = Rule(
                    tableID: rule.tableID, match: rule.match, priority: rule.priority,
                    cookie: mod.modifyCookie ? mod.newCookie : rule.cookie, idleTimeout: rule.idleTimeout,
                    hardTimeout: rule.hardTimeout, importance: rule.importance, flags: rule.flags, actions: mod.actions,
                    now: time.now)
                changed.created = rule.created
                changed.used = rule.used
                if !mod.flags.contains(.resetCounts) {
                    changed.packetCount = rule.packetCount
                    changed.byteCount = rule.byteCount
                }
                install(changed, isModification: true)
                uninstall(rule, nil)
            }
        }
    }

    // MARK: Deleting

    private func delete(_ mod: FlowMod) throws(OFError) {
        if mod.selectsAll, canEmptyTables {
            for table in try selectedTables(mod.table) where table.count > 0 && table.holdsOnlyOrdinaryFlows { empty(table) }
        }
        var found = try select(loosely: mod)
        uninstall(&found, .delete)
    }

    // MARK: Finding

    /// The table of a number, or of all those that may have flows.
    func selectedTables(_ id: UInt8) throws(OFError) -> [FlowTable] {
        if id == 255 { return tables.used.filter { $0.id != Self.internalTable } }
        guard id < 254 else { throw id == 254 ? .brcEperm : .brcBadTableId }
        return [tables[Int(id)]]
    }

    private func select(loosely mod: FlowMod) throws(OFError) -> [SelectedFlows] {
        let filtersOutput = mod.command == .delete
        var criteria = FlowCriteria(match: mod.match, cookie: mod.cookie, cookieMask: mod.cookieMask)
        if filtersOutput {
            criteria.outPort = mod.outPort
            criteria.outGroup = mod.outGroup
        }
        var selected: [SelectedFlows] = []
        for table in try selectedTables(mod.table) where table.count > 0 {
            var found: [Rule] = []
            table.forEach(within: criteria.match, cookie: criteria.cookie, cookieMask: criteria.cookieMask) { rule in
                if criteria.admits(rule) { found.append(rule) }
            }
            if !found.isEmpty { selected.append((table, found)) }
        }
        return selected
    }

    private func rules(strictly mod: FlowMod) throws(OFError) -> [Rule] {
        var found: [Rule] = []
        // What is not there need not be refused.
        if mod.command == .deleteStrict, mod.table == Self.internalTable { return found }
        for flowTable in try selectedTables(mod.table) where flowTable.count > 0 {
            guard let rule = flowTable.find(mod.match, priority: Int(mod.priority)), !rule.isHidden,
                (rule.cookie ^ mod.cookie) & mod.cookieMask == 0
            else { continue }
            if mod.command == .deleteStrict {
                if mod.outPort != .none, !rule.actions.outputs(to: mod.outPort) { continue }
                if mod.outGroup != .max, !rule.actions.outputs(toGroup: mod.outGroup) { continue }
            }
            found.append(rule)
        }
        return found
    }
}

extension FlowMod {
    /// Whether a deletion takes whatever is in its tables.
    fileprivate var selectsAll: Bool {
        cookieMask == 0 && outPort == .none && outGroup == .max && match.mask.isEmpty
    }
}

extension [OFAction] {
    /// True when an action sends packets to the port.
    public func outputs(to port: OFPort) -> Bool {
        contains { action in
            switch action {
            case .output(let p, _): p == port
            case .outputTruncated(let p, _): p == port
            case .enqueue(let p, _): p == port
            case .controller: port == .controller
            case .bundle(let bundle): bundle.destination == nil && bundle.members.contains(port)
            case .writeActions(let list), .clone(let list): list.outputs(to: port)
            default: false
            }
        }
    }

    public func outputs(toGroup group: UInt32) -> Bool {
        contains { action in
            switch action {
            case .group(let id): id == group
            case .writeActions(let list), .clone(let list): list.outputs(toGroup: group)
            default: false
            }
        }
    }
}
