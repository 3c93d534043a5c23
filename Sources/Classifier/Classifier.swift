// Finds the highest-priority rule that matches a packet, and tells which bits of the packet that depended on.
//
// Rules are grouped by mask into subtables (tuple-space search), searched in descending order of their highest priority.
// The search ends when no subtable left can hold anything better. What was looked at is gathered in a mask: a packet that
// agrees with this one in those bits gets the same answer, so they are the megaflow's mask. Three things keep it narrow:
// stages (Subtable), prefix tries on addresses, and a prefix trie on ports.
//
// A classifier is a value. A copy costs nothing, shares everything, and never changes: readers on other threads search
// a copy without locks while the owner goes on changing its own. Changing costs the logarithm of the number of rules.

import Flow

/// Rules by match and priority. A value type; a copy is a snapshot, which other threads may read. One thread changes a classifier and
/// its copies.
public struct Classifier {
    /// What copies share until one of them is changed: one reference, so that a lookup counts few.
    fileprivate final class Contents {
        /// Sorted by descending highest priority; subtables of equal priority keep their order. `byMask` holds them, so that going
        /// through them counts no references.
        var subtables: [Unmanaged<Subtable>] = []
        var byMask: [MiniMask: Subtable] = [:]
        var tries: [(location: FieldLocation, trie: PrefixTrie)]
        var count = 0
        /// Subtables that no other contents share.
        var owned: [ObjectIdentifier: Subtable] = [:]

        init(_ prefixFields: [FieldLocation]) { tries = prefixFields.map { ($0, PrefixTrie()) } }

        /// A copy, which shares the subtables: neither owns them any more.
        init(sharing other: Contents) {
            other.owned = [:]
            subtables = other.subtables
            byMask = other.byMask
            tries = other.tries
            count = other.count
        }

        /// A subtable, made safe to change.
        func mutable(_ table: Subtable) -> Subtable {
            if owned[ObjectIdentifier(table)] != nil { return table }
            let copy = Subtable(copying: table)
            if let index = index(table) { subtables[index] = .passUnretained(copy) }
            byMask[copy.mask] = copy
            owned[ObjectIdentifier(copy)] = copy
            return copy
        }

        func index(_ table: Subtable) -> Int? {
            let wanted = Unmanaged.passUnretained(table).toOpaque()
            return subtables.firstIndex { $0.toOpaque() == wanted }
        }

        /// Moves a subtable to where its priority belongs: one that rises goes behind its equals, one that sinks before them.
        func reposition(_ table: Subtable, from before: Int) {
            guard let index = index(table) else { return }
            let p = table.maxPriority
            subtables.remove(at: index)
            let at = subtables.firstIndex { entry in
                let other = entry._withUnsafeGuaranteedRef { $0.maxPriority }
                return p > before ? other < p : other <= p
            }
            subtables.insert(.passUnretained(table), at: at ?? subtables.count)
        }
    }

    private var contents: Contents

    /// The fields that have tries unless told otherwise.
    public static let defaultPrefixFields = [Location.nwDst, Location.nwSrc]

    /// - Parameter prefixFields: locations of IPv4 or IPv6 address fields to keep tries for; of more than four the first.
    public init(prefixFields: [FieldLocation]) { contents = Contents(Array(prefixFields.prefix(TrieLookups.limit))) }

    /// Has the default fields. There are hundreds of these in each bridge, most of them empty for ever: they share what they begin with.
    public init() { self = Self.empty }

    /// Nobody changes it, and what it shares has no rules and so no nodes to change: a constant of values alone.
    nonisolated(unsafe) private static let empty = Classifier(prefixFields: defaultPrefixFields)

    public var count: Int { contents.count }
    public var isEmpty: Bool { count == 0 }
    public var subtableCount: Int { contents.subtables.count }
    /// All bits that some rule looks at.
    public var relevant: FlowMask {
        subtables.reduce(into: FlowMask()) { relevant, table in table.mask.fold(into: &relevant, words: table.mask.words.indices) }
    }
    private var subtables: [Subtable] { contents.subtables.map { $0.takeUnretainedValue() } }

    /// The contents, made safe to change.
    private mutating func unique() -> Contents {
        if !isKnownUniquelyReferenced(&contents) { contents = Contents(sharing: contents) }
        return contents
    }

    /// Adds a rule. Returns the one with the same match and priority that is there, which must be removed next: then they change places.
    @discardableResult
    public mutating func insert(_ rule: ClassifierRule) -> ClassifierRule? {
        let contents = unique()
        let table: Subtable
        if let found = contents.byMask[rule.mask] {
            table = contents.mutable(found)
        } else {
            table = Subtable(rule.mask, tries: contents.tries.map(\.location))
            contents.owned[ObjectIdentifier(table)] = table
            contents.subtables.append(.passUnretained(table))
            contents.byMask[rule.mask] = table
        }
        rule.mask = table.mask
        let before = table.maxPriority
        let replaced = table.insert(rule)
        contents.count += 1
        if table.maxPriority != before { contents.reposition(table, from: before) }
        for i in contents.tries.indices {
            let length = Int(table.plan.pointee.prefixLengths[i])
            if length > 0 { contents.tries[i].trie.insert(table.prefix(of: rule, trie: i), length: length) }
        }
        return replaced
    }

    /// Removes a rule that is there.
    public mutating func remove(_ rule: ClassifierRule) {
        let contents = unique()
        guard let found = contents.byMask[rule.mask] else { return }
        let table = contents.mutable(found)
        let before = table.maxPriority
        table.remove(rule)
        contents.count -= 1
        for i in contents.tries.indices {
            let length = Int(table.plan.pointee.prefixLengths[i])
            if length > 0 { contents.tries[i].trie.remove(table.prefix(of: rule, trie: i), length: length) }
        }
        if table.count == 0 {
            if let index = contents.index(table) { contents.subtables.remove(at: index) }
            contents.byMask[rule.mask] = nil
            contents.owned[ObjectIdentifier(table)] = nil
        } else if table.maxPriority != before {
            contents.reposition(table, from: before)
        }
    }

    /// Removes all rules, in less time than one by one.
    public mutating func removeAll() {
        self = Classifier(prefixFields: prefixFields)
    }

    /// The fields that have tries. Setting them sorts all rules anew.
    public var prefixFields: [FieldLocation] {
        get { contents.tries.map(\.location) }
        set {
            guard newValue != prefixFields else { return }
            let old = self
            self = Classifier(prefixFields: newValue)
            old.forEach { insert($0) }
        }
    }

    /// The rule with exactly this match and priority.
    public func find(_ match: borrowing Match, priority: Int) -> ClassifierRule? {
        let mask = MiniMask(match.mask)
        return contents.byMask[mask]?.find(mask.reduce(match.key), priority: priority)
    }

    /// The rule with the match and the priority of another, which need not be in the classifier.
    public func find(like rule: ClassifierRule) -> ClassifierRule? {
        contents.byMask[rule.mask]?.find(rule.values, priority: rule.priority)
    }

    /// A rule of the same priority that some packet could match as well as `match`; `except` does not count.
    public func overlaps(_ match: Match, priority: Int, except: ClassifierRule? = nil) -> Bool {
        for table in subtables {
            let common = table.mask.reduce(match.mask.bits)
            let values = table.mask.reduce(match.key)
            var found = false
            table.forEach { rule in
                guard !found, rule.priority == priority, rule !== except else { return }
                found = table.mask.words.indices.allSatisfy {
                    (rule.values[$0] ^ values[$0]) & common[$0] == 0
                }
            }
            if found { return true }
        }
        return false
    }

    public func forEach(_ body: (ClassifierRule) -> Void) {
        for table in subtables { table.forEach(body) }
    }

    /// Rules whose match is as specific as `criteria` or more, and agrees with it (OpenFlow's loose matching).
    public func forEach(within criteria: Match, _ body: (ClassifierRule) -> Void) {
        var walk = walk(within: criteria)
        var budget = Int.max
        while let rule = walk.next(&budget) { body(rule) }
    }

    /// Goes through the rules that `forEach(within:)` finds now, however the classifier changes meanwhile.
    public func walk(within criteria: Match) -> Walk { Walk(self, criteria) }

    /// Rules within criteria, one after another.
    public struct Walk {
        /// Who keeps it from changes of the subtables.
        private let source: Classifier
        private let subtables: [Subtable]
        private let mask: MiniMask
        private let values: [UInt64]
        private var nextTable = 0
        private var rules: Subtable.Rules?
        /// For each word of the criteria, where it is among the subtable's words.
        private var places: [(at: Int, bits: UInt64, value: UInt64)] = []

        fileprivate init(_ source: Classifier, _ criteria: Match) {
            self.source = source
            subtables = source.subtables
            mask = MiniMask(criteria.mask)
            values = mask.reduce(criteria.key)
        }

        /// The next rule; nil when there is none, or so many have been looked at as `budget`, which falls, allows.
        public mutating func next(_ budget: inout Int) -> ClassifierRule? {
            while budget > 0 {
                guard let rule = rules?.next() else {
                    guard enterNextTable() else { return nil }
                    continue
                }
                budget -= 1
                if places.allSatisfy({ rule.values[$0.at] & $0.bits == $0.value }) { return rule }
            }
            return nil
        }

        private mutating func enterNextTable() -> Bool {
            rules = nil
            while rules == nil, nextTable < subtables.count {
                let table = subtables[nextTable]
                nextTable += 1
                places = mask.words.indices.compactMap { i in
                    let word = mask.words[i]
                    return table.mask.words.firstIndex { $0.index == word.index && $0.bits & word.bits == word.bits }
                        .map { (at: $0, bits: word.bits, value: values[i]) }
                }
                if places.count == mask.words.count { rules = table.rules }
            }
            return rules != nil
        }
    }

    // MARK: Lookup

    /// The highest-priority rule that matches the key.
    ///
    /// - Parameter consulted: gains the bits of the key that the answer depends on.
    public func lookup(_ key: borrowing FlowKey, consulted: inout FlowMask) -> ClassifierRule? {
        let rule = contents.lookup(key, consulted: &consulted, allowConjunctions: true)
        // No packet has a conj_id; what made it is in the mask.
        consulted.bits.conjID = 0
        return rule
    }
}

extension Classifier.Contents {
    func lookup(_ key: borrowing FlowKey, consulted: inout FlowMask, allowConjunctions: Bool) -> ClassifierRule? {
        var soft: [(rule: ClassifierRule, table: Subtable)] = []
        var key = copy key
        let hard = withUnsafePointer(to: &key) { key in
            withUnsafeMutablePointer(to: &consulted) { consulted in
                // Keys and masks are words and nothing else.
                search(
                    UnsafeRawPointer(key).assumingMemoryBound(to: UInt64.self),
                    consulted: UnsafeMutableRawPointer(consulted).assumingMemoryBound(to: UInt64.self),
                    allowConjunctions ? { soft.append(($0, $1)) } : nil)
            }
        }
        return soft.isEmpty ? hard : resolve(key, soft, hard, &consulted)
    }

    /// Goes through the subtables, and returns the highest-priority rule without conjunctions.
    ///
    /// - Parameter key: the words of a key; `consulted` are those of a mask.
    /// - Parameter part: gets the rules that are part of conjunctions. Nil: what they hide is found in their stead.
    private func search(
        _ key: UnsafePointer<UInt64>, consulted: UnsafeMutablePointer<UInt64>, _ part: ((ClassifierRule, Subtable) -> Void)?
    ) -> ClassifierRule? {
        var hard: ClassifierRule?
        var highest = Int.min
        var lookups = TrieLookups()
        let (subtables, tries) = (subtables, tries)
        for table in subtables {
            let plan = table._withUnsafeGuaranteedRef { UnsafePointer($0.plan) }
            if hard != nil, plan.pointee.maxPriority <= highest { break }
            guard let rule = Self.find(key, in: table, plan, tries, &lookups, consulted), rule.priority > highest else { continue }
            if rule.conjunctions.isEmpty {
                hard = rule
                highest = rule.priority
                continue
            }
            if let part {
                part(rule, table.takeUnretainedValue())
            } else if let next = table.takeUnretainedValue().rulesBelow(rule).first(where: { $0.conjunctions.isEmpty }),
                next.priority > highest
            {
                hard = next
                highest = next.priority
            }
        }
        return hard
    }

    /// The highest-priority rule of a subtable that matches; adds to `consulted` the bits that decided.
    @inline(__always)
    private static func find(
        _ key: UnsafePointer<UInt64>, in table: Unmanaged<Subtable>, _ plan: UnsafePointer<SearchPlan>, _ tries: [TrieLookups.Trie],
        _ lookups: inout TrieLookups, _ consulted: UnsafeMutablePointer<UInt64>
    ) -> ClassifierRule? {
        let mask = plan.pointee.mask
        let last = Int(plan.pointee.stageCount)
        var hash = MiniMask.hashBasis
        var done = 0
        for stage in 0...last {
            if lookups.exclude(plan, stage: stage, by: tries, key, consulted: consulted) {
                mask.fold(into: consulted, words: 0..<done)
                return nil
            }
            let end = Int(plan.pointee.ends[stage])
            hash = mask.hash(of: key, words: done..<end, basis: hash)
            done = end
            guard stage < last else { break }
            let common = plan.pointee.common[stage]
            guard common == hash || common == 0 && table._withUnsafeGuaranteedRef({ $0.has(hash, upToStage: stage) }) else {
                mask.fold(into: consulted, words: 0..<done)
                return nil
            }
        }
        if let rule = table._withUnsafeGuaranteedRef({ $0.rule(hash, key) }) {
            mask.fold(into: consulted, words: 0..<done)
            return rule
        }
        let word = Location.tpSrc.word
        let ports = UInt32(truncatingIfNeeded: key[word] >> 32)
        guard let used = table._withUnsafeGuaranteedRef({ $0.portBits(ports) }) else {
            mask.fold(into: consulted, words: 0..<done)
            return nil
        }
        // Instead of all port bits, only those that show that no rule has these ports; the other fields in full.
        let prefix = used >= 32 ? UInt32.max : ~(UInt32.max >> UInt32(used))
        let before = consulted[word]
        mask.fold(into: consulted, words: 0..<done)
        consulted[word] = before | consulted[word] & 0xffff_ffff | UInt64(plan.pointee.portsMask & prefix) << 32
        return nil
    }

    /// Conjunctive match: the highest priority at which all clauses of some conjunction have a matching rule wins, when
    /// a rule on its conj_id is there.
    private func resolve(
        _ key: borrowing FlowKey, _ first: [(rule: ClassifierRule, table: Subtable)], _ hardRule: ClassifierRule?,
        _ consulted: inout FlowMask
    ) -> ClassifierRule? {
        var hard = hardRule
        var soft = first
        while true {
            soft.removeAll { $0.rule.priority <= hard?.priority ?? Int.min }
            // Hard rules hidden below soft ones of the same match.
            if soft.isEmpty { return hard }
            // Clauses count together where their priority is the same.
            let priority = soft.reduce(Int.min) { max($0, $1.rule.priority) }
            let top = soft.filter { $0.rule.priority == priority }
            var clauses: [UInt32: (seen: UInt64, count: UInt8)] = [:]
            for c in top.flatMap(\.rule.conjunctions) where c.clause < 64 {
                clauses[c.id, default: (0, c.count)].seen |= 1 << UInt64(c.clause)
            }
            for id in clauses.keys.sorted() {
                guard let entry = clauses[id], entry.count > 0, entry.count <= 64,
                    entry.seen == UInt64.max >> UInt64(64 - entry.count)
                else { continue }
                var withID = copy key
                withID.conjID = id
                var mask = FlowMask()
                let found = lookup(withID, consulted: &mask, allowConjunctions: false)
                mask.bits.conjID = 0
                consulted.formUnion(mask)
                if let found, found.mask.mask.bits.conjID != 0 { return found }
            }
            // No conjunction is complete: go on with the next lower rule of each of these matches, and the others.
            soft.removeAll { $0.rule.priority == priority }
            for entry in top {
                guard let below = entry.table.rulesBelow(entry.rule).first else { continue }
                if below.conjunctions.isEmpty {
                    if below.priority > hard?.priority ?? Int.min { hard = below }
                } else {
                    soft.append((below, entry.table))
                }
            }
        }
    }
}
