// The rules of one mask. A lookup goes through the mask's words in up to four stages and gives up after the first whose
// part of the packet no rule has, so that the later stages' bits stay wildcarded.

import Flow
import HashTreeCollections

final class Subtable {
    let mask: MiniMask
    /// Words of the mask for each stage but the last, with how many rules have each hash up to there.
    private(set) var stages: [(words: Range<Int>, hashes: TreeDictionary<UInt64, Int>)]
    let lastStage: Range<Int>
    private var buckets: TreeDictionary<UInt64, Bucket> = [:]
    private(set) var count = 0
    /// How many rules have each priority.
    private var priorities: TreeDictionary<Int, Int> = [:]
    private(set) var maxPriority = Int.min

    /// Rules whose words hash alike; each run of rules with the same words is sorted by descending priority.
    enum Bucket {
        case one(ClassifierRule)
        case many([ClassifierRule])

        func rule(_ values: [UInt64], priority: Int) -> ClassifierRule? {
            switch self {
            case .one(let rule): rule.priority == priority && rule.values == values ? rule : nil
            case .many(let rules): rules.first { $0.priority == priority && $0.values == values }
            }
        }
    }

    /// The mask's prefix length on each of the classifier's tries; 0: none.
    let trieLengths: [Int]
    /// Whether one of them is not 0.
    let usesTries: Bool
    /// Where the words of each trie's field are among the mask's: the first, and the second of fields of 128 bits.
    private let trieWords: [(field: FieldLocation, first: Int?, second: Int?)]
    /// The mask on tp_src and tp_dst, as one 32-bit number, and the trie of the rules' values there.
    let portsMask: UInt32
    let portsLength: Int
    private(set) var portsTrie = PrefixTrie()
    private static let portsWord = Location.tpSrc.word

    init(_ mask: MiniMask, tries: [FieldLocation]) {
        self.mask = mask
        var ranges: [Range<Int>] = []
        for stage in FlowStage.allCases {
            let start = ranges.last?.upperBound ?? 0
            var end = start
            while end < mask.words.count, mask.words[end].index < stage.words.upperBound { end += 1 }
            if end > start { ranges.append(start..<end) }
        }
        lastStage = ranges.popLast() ?? 0..<0
        stages = ranges.map { ($0, [:]) }
        let full = mask.mask
        trieLengths = tries.map { location in
            AddressText.prefixLength(full.bits[location], width: location.width) ?? 0
        }
        usesTries = trieLengths.contains { $0 > 0 }
        trieWords = tries.map { location in
            func place(_ word: Int) -> Int? { mask.words.firstIndex { $0.index == word } }
            return (location, place(location.word), location.width > 64 ? place(location.word + 1) : nil)
        }
        portsMask = UInt32(truncatingIfNeeded: full.bits.words[Self.portsWord] >> 32)
        portsLength = portsMask == 0 ? 0 : 32 - portsMask.trailingZeroBitCount
    }

    /// A copy that can be changed while snapshots keep this one.
    init(copying other: Subtable) {
        mask = other.mask
        stages = other.stages
        lastStage = other.lastStage
        buckets = other.buckets
        count = other.count
        priorities = other.priorities
        maxPriority = other.maxPriority
        trieLengths = other.trieLengths
        usesTries = other.usesTries
        trieWords = other.trieWords
        portsMask = other.portsMask
        portsLength = other.portsLength
        portsTrie = other.portsTrie
    }

    /// A rule's value in the field of a trie, left-aligned.
    func prefix(of rule: ClassifierRule, trie: Int) -> UInt128 {
        let (field, first, second) = trieWords[trie]
        let high = first.map { rule.values[$0] } ?? 0
        if field.width > 64 { return UInt128(high) << 64 | UInt128(second.map { rule.values[$0] } ?? 0) }
        return UInt128(high >> UInt64(field.shift)) << UInt128(128 - field.width)
    }

    private static func ports(_ key: borrowing FlowKey) -> UInt32 { UInt32(truncatingIfNeeded: key.words[portsWord] >> 32) }

    private func ports(_ rule: ClassifierRule) -> UInt128 {
        guard let i = mask.words.firstIndex(where: { $0.index == Self.portsWord }) else { return 0 }
        return UInt128(UInt32(truncatingIfNeeded: rule.values[i] >> 32)) << 96
    }

    /// Adds a rule. Returns the one with the same words and priority that is there.
    func insert(_ rule: ClassifierRule) -> ClassifierRule? {
        var hash = MiniMask.hashBasis
        for i in stages.indices {
            hash = MiniMask.hash(of: rule.values, words: stages[i].words, basis: hash)
            stages[i].hashes[hash, default: 0] += 1
        }
        hash = MiniMask.hash(of: rule.values, words: lastStage, basis: hash)
        // Nearly always the only one.
        let before = buckets.updateValue(.one(rule), forKey: hash)
        switch before {
        case nil: break
        case .one(let other): buckets[hash] = .many(Self.sorted([other, rule]))
        case .many(let others): buckets[hash] = .many(Self.sorted(others + [rule]))
        }
        count += 1
        priorities[rule.priority, default: 0] += 1
        maxPriority = max(maxPriority, rule.priority)
        if portsLength > 0 { portsTrie.insert(ports(rule), length: portsLength) }
        return before?.rule(rule.values, priority: rule.priority)
    }

    private static func sorted(_ rules: [ClassifierRule]) -> [ClassifierRule] {
        rules.sorted { $0.priority > $1.priority }
    }

    func remove(_ rule: ClassifierRule) {
        var hash = MiniMask.hashBasis
        for i in stages.indices {
            hash = MiniMask.hash(of: rule.values, words: stages[i].words, basis: hash)
            let left = (stages[i].hashes[hash] ?? 0) - 1
            stages[i].hashes[hash] = left > 0 ? left : nil
        }
        hash = MiniMask.hash(of: rule.values, words: lastStage, basis: hash)
        switch buckets[hash] {
        case nil: return
        case .one: buckets[hash] = nil
        case .many(var rules):
            rules.removeAll { $0 === rule }
            buckets[hash] = rules.count == 1 ? .one(rules[0]) : .many(rules)
        }
        count -= 1
        let left = (priorities[rule.priority] ?? 0) - 1
        priorities[rule.priority] = left > 0 ? left : nil
        if rule.priority == maxPriority, left <= 0 { maxPriority = priorities.keys.max() ?? Int.min }
        if portsLength > 0 { portsTrie.remove(ports(rule), length: portsLength) }
    }

    private func bucket(_ values: [UInt64]) -> Bucket? {
        var hash = MiniMask.hashBasis
        for stage in stages { hash = MiniMask.hash(of: values, words: stage.words, basis: hash) }
        return buckets[MiniMask.hash(of: values, words: lastStage, basis: hash)]
    }

    /// The rule with exactly these words and this priority.
    func find(_ values: [UInt64], priority: Int) -> ClassifierRule? {
        bucket(values)?.rule(values, priority: priority)
    }

    /// The rules with the same words as `rule` and a lower priority, highest first.
    func rulesBelow(_ rule: ClassifierRule) -> [ClassifierRule] {
        guard case .many(let rules) = bucket(rule.values) else { return [] }
        return rules.filter { $0.values == rule.values && $0.priority < rule.priority }
    }

    private func match(_ key: borrowing FlowKey, hash: UInt64) -> ClassifierRule? {
        switch buckets[hash] {
        case nil: return nil
        case .one(let rule): return mask.matches(key, rule.values) ? rule : nil
        case .many(let rules):
            for rule in rules where mask.matches(key, rule.values) { return rule }
            return nil
        }
    }

    /// The highest-priority rule that matches; adds to `consulted` the bits that decided.
    func lookup(
        _ key: borrowing FlowKey, tries: [TrieLookups.Trie], _ lookups: inout TrieLookups, consulted: inout FlowMask
    ) -> ClassifierRule? {
        var hash = MiniMask.hashBasis
        var done = 0..<0
        for stage in stages {
            if lookups.exclude(self, by: tries, words: stage.words, key, consulted: &consulted) {
                mask.fold(into: &consulted, words: done)
                return nil
            }
            done = 0..<stage.words.upperBound
            hash = mask.hash(of: key, words: stage.words, basis: hash)
            if stage.hashes[hash] == nil {
                mask.fold(into: &consulted, words: done)
                return nil
            }
        }
        if lookups.exclude(self, by: tries, words: lastStage, key, consulted: &consulted) {
            mask.fold(into: &consulted, words: done)
            return nil
        }
        hash = mask.hash(of: key, words: lastStage, basis: hash)
        let rule = match(key, hash: hash)
        if rule == nil, portsLength > 0 {
            // Instead of all port bits, only those that show that no rule has these ports; the other fields in full.
            let value = UInt128(Self.ports(key) & portsMask) << 96
            let used = portsTrie.lookup(value, width: 32).bitsUsed
            let prefix = used >= 32 ? UInt32.max : ~(UInt32.max >> UInt32(used))
            let ports = consulted.bits.words[Self.portsWord]
            mask.fold(into: &consulted, words: 0..<mask.words.count)
            let others = consulted.bits.words[Self.portsWord] & 0xffff_ffff
            consulted.bits.words[Self.portsWord] = ports | others | UInt64(portsMask & prefix) << 32
            return nil
        }
        mask.fold(into: &consulted, words: 0..<mask.words.count)
        return rule
    }

    /// Without keeping track of what was consulted.
    func lookup(_ key: borrowing FlowKey) -> ClassifierRule? {
        match(key, hash: mask.hash(of: key, words: 0..<mask.words.count))
    }

    /// All rules, in the order of `forEach`.
    var rules: Rules { Rules(buckets: buckets.makeIterator()) }

    struct Rules: IteratorProtocol {
        fileprivate var buckets: TreeDictionary<UInt64, Bucket>.Iterator
        /// What is left of a bucket, the next at the end.
        private var rest: [ClassifierRule] = []

        fileprivate init(buckets: TreeDictionary<UInt64, Bucket>.Iterator) { self.buckets = buckets }

        mutating func next() -> ClassifierRule? {
            if let rule = rest.popLast() { return rule }
            switch buckets.next()?.value {
            case nil: return nil
            case .one(let rule): return rule
            case .many(let rules):
                rest = rules
                return rest.popLast()
            }
        }
    }

    /// All rules; those of the same words with the lowest priority first, which is how the tools know dumps.
    func forEach(_ body: (ClassifierRule) -> Void) {
        for (_, bucket) in buckets {
            switch bucket {
            case .one(let rule): body(rule)
            case .many(let rules): for rule in rules.reversed() { body(rule) }
            }
        }
    }
}

/// The trie lookups of one packet, each done when the first subtable asks for it.
struct TrieLookups {
    typealias Trie = (location: FieldLocation, trie: PrefixTrie)
    /// Made when the first subtable asks: most tables have no prefixes.
    private var results: [PrefixTrie.Result?] = []

    /// True when a trie shows that no rule of the subtable matches on the stage's words.
    mutating func exclude(
        _ subtable: Subtable, by tries: [Trie], words: Range<Int>, _ key: borrowing FlowKey, consulted: inout FlowMask
    ) -> Bool {
        guard subtable.usesTries, !words.isEmpty else { return false }
        for (i, entry) in tries.enumerated() {
            let length = subtable.trieLengths[i]
            guard length > 0 else { continue }
            let location = entry.location
            guard subtable.mask.words[words.lowerBound].index <= location.word,
                location.word <= subtable.mask.words[words.upperBound - 1].index
            else { continue }
            let result: PrefixTrie.Result
            if results.isEmpty { results = Array(repeating: nil, count: tries.count) }
            if let known = results[i] {
                result = known
            } else {
                let is4 = location.width == 32
                let relevant = key.ethType == (is4 ? 0x0800 : 0x86dd)
                let value = is4 ? Self.value32(key, location) : key[location]
                result = relevant ? entry.trie.lookup(value, width: location.width) : .everything
                results[i] = result
            }
            guard !result.has(length: length) else { continue }
            // Only where that leaves no more bits looked at than the subtable itself would look at, or than have been already.
            let prefix = AddressText.prefixMask(result.bitsUsed, width: location.width)
            if result.bitsUsed <= length || consulted.bits[location] & prefix == prefix {
                consulted.bits[location] |= prefix
                return true
            }
        }
        return false
    }

    private static func value32(_ key: borrowing FlowKey, _ location: FieldLocation) -> UInt128 { key[location] << 96 }
}
