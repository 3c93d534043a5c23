// One OpenFlow table: its flows, and what it does when it is full or finds nothing.

import Classifier
import Flow
import OpenFlow

/// What a packet that no flow of a table matches does (OpenFlow 1.1 OFPTC_TABLE_MISS_*, and `default` for the
/// version's own default).
public enum TableMiss: Sendable { case `default`, continueDefault, controller, `continue`, drop }

/// Flows that are evicted one for another, when a table is full: those that agree in some fields.
final class EvictionGroup {
    struct Key: Hashable {
        let values: [UInt128]
    }
    let key: Key
    var rules: [ObjectIdentifier: Rule] = [:]
    init(_ key: Key) { self.key = key }
}

/// The time of flows in a table until it is emptied, which ends it for all of them without a look at any.
final class Stay {
    fileprivate(set) var isOver = false
}

/// What a table held its flows with.
struct Emptied {
    fileprivate let classifier: Classifier
    fileprivate let byCookie: [UInt64: [Rule]]
}

/// A flow table. Confined to the main thread.
public final class FlowTable {
    public let id: UInt8
    public var name: String { configuredName.isEmpty ? controllersName : configuredName }
    /// What the configuration calls the table, which counts for more than what controllers do.
    var configuredName = ""
    private var controllersName = ""
    /// The most flows, or nil.
    public var maxFlows: Int?
    public var miss: TableMiss = .default
    /// Evict a flow for a new one instead of refusing it.
    public private(set) var evicts = false
    /// A table_mod asked for it, and not the configuration.
    public private(set) var evictsForControllers = false
    private var evictionFields: [Subfield] = []
    private var evictionGroups: [EvictionGroup.Key: EvictionGroup] = [:]
    /// OpenFlow 1.4 vacancy events, in percent of free room; nil when off.
    public var vacancy: (down: UInt8, up: UInt8)?
    /// True when the next vacancy event is a "down".
    var vacancyWillFall = true

    private var classifier = Classifier()
    /// Each flow knows its place in its list.
    private var byCookie: [UInt64: [Rule]] = [:]
    /// Of the flows that are in it; nil until there was one.
    private var stay: Stay?
    /// How many flows cannot go unnoticed: hidden ones stay, and of others somebody wants to hear.
    private var notedFlows = 0
    public private(set) var matchedCount: UInt64 = 0
    public private(set) var missedCount: UInt64 = 0
    /// The fields that lookups narrow by prefixes (Flow_Table.prefixes).
    public var prefixFields: [FieldLocation] {
        get { classifier.prefixFields }
        set { classifier.prefixFields = newValue }
    }

    init(id: UInt8) {
        self.id = id
    }

    /// Names the table as a controller wishes.
    public func setNameByControllers(_ name: String) { controllersName = name }

    public var count: Int { classifier.count }

    func lookup(_ key: borrowing FlowKey, consulted: inout FlowMask) -> Rule? {
        // Only rules are put into tables.
        classifier.lookup(key, consulted: &consulted).map { unsafeDowncast($0, to: Rule.self) }
    }

    /// All that lookups may look at.
    var relevant: FlowMask { classifier.relevant }

    func count(matched: Bool, packets: UInt64 = 1) {
        if matched { matchedCount &+= packets } else { missedCount &+= packets }
    }

    public func find(_ match: Match, priority: Int) -> Rule? {
        classifier.find(match, priority: priority).map { unsafeDowncast($0, to: Rule.self) }
    }

    /// The rule of the same match and priority that is in the table.
    func find(like rule: Rule) -> Rule? { classifier.find(like: rule).map { unsafeDowncast($0, to: Rule.self) } }

    func overlaps(_ match: Match, priority: Int) -> Bool { classifier.overlaps(match, priority: priority) }

    public func forEach(_ body: (Rule) -> Void) { classifier.forEach { body(unsafeDowncast($0, to: Rule.self)) } }

    /// Rules within `criteria` (loose matching); all of one cookie are found through their cookie.
    func forEach(within criteria: Match, cookie: UInt64, cookieMask: UInt64, _ body: (Rule) -> Void) {
        if cookieMask == .max {
            for rule in byCookie[cookie] ?? [] where rule.isWithin(criteria) { body(rule) }
            return
        }
        classifier.forEach(within: criteria) {
            let rule = unsafeDowncast($0, to: Rule.self)
            if (rule.cookie ^ cookie) & cookieMask == 0 { body(rule) }
        }
    }

    /// Goes through the rules that `forEach(within:)` would find now, however the table changes meanwhile. Each call of the result gives the
    /// next; nil when there is none, or so many have been looked at as the number, which falls, allows.
    func walk(within criteria: Match, cookie: UInt64, cookieMask: UInt64) -> (inout Int) -> Rule? {
        if cookieMask == .max {
            var left = (byCookie[cookie] ?? [])[...]
            return { budget in
                while budget > 0, let rule = left.popFirst() {
                    budget -= 1
                    if rule.isWithin(criteria) { return rule }
                }
                return nil
            }
        }
        var walk = classifier.walk(within: criteria)
        return { budget in
            while let found = walk.next(&budget) {
                let rule = unsafeDowncast(found, to: Rule.self)
                if (rule.cookie ^ cookie) & cookieMask == 0 { return rule }
            }
            return nil
        }
    }

    /// Adds a rule. Returns the one of the same match and priority that is there, which is to be removed next.
    @discardableResult
    func insert(_ rule: Rule) -> Rule? {
        let replaced = classifier.insert(rule)
        joinCookie(rule)
        let stay = stay ?? Stay()
        self.stay = stay
        rule.stay = stay
        if rule.isNoted { notedFlows += 1 }
        if evicts { join(rule) }
        return replaced.map { unsafeDowncast($0, to: Rule.self) }
    }

    func remove(_ rule: Rule) {
        classifier.remove(rule)
        leaveCookie(rule)
        if rule.isNoted { notedFlows -= 1 }
        leave(rule)
        left(rule)
    }

    /// Notes that a flow is in the table no more.
    func left(_ rule: Rule) {
        rule.stay = nil
        rule.evictionGroup = nil
    }

    /// Whether no flow is hidden, or has to be told of when it goes.
    var holdsOnlyOrdinaryFlows: Bool { notedFlows == 0 }

    /// Removes every flow, in no time, however many. Returns what held them, whose memory is the caller's to free.
    func removeAll() -> Emptied {
        stay?.isOver = true
        stay = nil
        notedFlows = 0
        let old = Emptied(classifier: classifier, byCookie: byCookie)
        classifier.removeAll()
        byCookie = [:]
        evictionGroups = [:]
        return old
    }

    func setCookie(_ cookie: UInt64, of rule: Rule) {
        guard cookie != rule.cookie else { return }
        leaveCookie(rule)
        rule.cookie = cookie
        joinCookie(rule)
    }

    private func joinCookie(_ rule: Rule) {
        func append(to list: inout [Rule]) {
            rule.placeByCookie = list.count
            list.append(rule)
        }
        append(to: &byCookie[rule.cookie, default: []])
    }

    /// The last of the list takes the flow's place.
    private func leaveCookie(_ rule: Rule) {
        func remove(from list: inout [Rule]) {
            guard let last = list.popLast(), last !== rule else { return }
            list[rule.placeByCookie] = last
            last.placeByCookie = rule.placeByCookie
        }
        remove(from: &byCookie[rule.cookie, default: []])
        if byCookie[rule.cookie]?.isEmpty == true { byCookie[rule.cookie] = nil }
    }

    // MARK: Eviction

    func setEviction(_ on: Bool, fields: [Subfield] = []) {
        evicts = on
        evictionFields = fields
        evictionGroups = [:]
        guard on else { return }
        forEach { join($0) }
    }

    /// Turns eviction on or off as a table_mod asks, where the configuration does not.
    public func setEvictionByControllers(_ on: Bool) {
        evictsForControllers = on
        guard on != evicts else { return }
        setEviction(on, fields: evictionFields)
    }

    private func join(_ rule: Rule) {
        // Flows that never time out are not evicted.
        guard rule.idleTimeout != 0 || rule.hardTimeout != 0 || rule.importance != 0, !rule.isHidden else { return }
        let key = EvictionGroup.Key(values: evictionFields.map { $0.value(in: rule.match.key) })
        let group = evictionGroups[key] ?? EvictionGroup(key)
        evictionGroups[key] = group
        group.rules[ObjectIdentifier(rule)] = rule
        rule.evictionGroup = key
    }

    private func leave(_ rule: Rule) {
        guard let key = rule.evictionGroup, let group = evictionGroups[key] else { return }
        group.rules[ObjectIdentifier(rule)] = nil
        if group.rules.isEmpty { evictionGroups[key] = nil }
        rule.evictionGroup = nil
    }

    /// The flow to give up for a new one: of the largest group, the least important, soonest to expire.
    func evictionVictim() -> Rule? {
        guard evicts, let group = evictionGroups.values.max(by: { $0.rules.count < $1.rules.count }) else { return nil }
        return group.rules.values.min {
            ($0.importance, $0.expiry, $0.created) < ($1.importance, $1.expiry, $1.created)
        }
    }
}

extension Rule {
    fileprivate var isNoted: Bool { isHidden || flags.contains(.sendFlowRemoved) }

    /// When the flow times out at the latest, in milliseconds.
    var expiry: Int64 {
        let idle = idleTimeout == 0 ? Int64.max : used + Int64(idleTimeout) * 1000
        let hard = hardTimeout == 0 ? Int64.max : modified + Int64(hardTimeout) * 1000
        return min(idle, hard)
    }

    /// True when the rule's match is as specific as `criteria` or more, and agrees with it.
    public func isWithin(_ criteria: Match) -> Bool {
        let own = match
        return own.mask.isSuperset(of: criteria.mask) && own.key.equals(criteria.key, in: criteria.mask)
    }
}
