// The rules of one mask. A lookup (Classifier.swift) goes through the mask's words in up to four stages and gives up after the first whose
// part of the packet no rule has, so that the later stages' bits stay wildcarded. What it reads until it comes to a rule is the `SearchPlan`.

import Flow
import HashTreeCollections

/// What a lookup reads of a subtable before it comes to a rule. Plain data, so that going through many subtables counts no references, and no
/// more than a cache line.
struct SearchPlan {
    let mask: MiniMask.Words
    fileprivate(set) var maxPriority = Int.min
    /// How many stages there are before the last, and where the words of each end.
    let stageCount: UInt8
    let ends: InlineArray<4, UInt8>
    /// For each stage before the last the hash that all rules have up to there; 0: not all have the same.
    fileprivate(set) var common = InlineArray<3, UInt64>(repeating: 0)
    /// The mask's prefix length on each of the classifier's tries, 0: none; and the stage that looks at the trie's field.
    let prefixLengths: InlineArray<4, UInt8>
    let prefixStages: InlineArray<4, UInt8>
    /// Whether there is a prefix.
    let usesTries: Bool
    /// The mask on tp_src and tp_dst, as one 32-bit number.
    let portsMask: UInt32

    fileprivate init(_ mask: MiniMask, tries: [FieldLocation]) {
        self.mask = mask.plain
        var borders: [Int] = []
        for stage in FlowStage.allCases {
            let start = borders.last ?? 0
            var end = start
            while end < mask.words.count, mask.words[end].index < stage.words.upperBound { end += 1 }
            if end > start { borders.append(end) }
        }
        if borders.isEmpty { borders = [0] }
        stageCount = UInt8(borders.count - 1)
        var ends = InlineArray<4, UInt8>(repeating: 0)
        for (i, border) in borders.enumerated() { ends[i] = UInt8(border) }
        self.ends = ends
        let full = mask.mask
        var (lengths, stages) = (InlineArray<4, UInt8>(repeating: 0), InlineArray<4, UInt8>(repeating: 0))
        for (i, location) in tries.enumerated() {
            lengths[i] = UInt8(AddressText.prefixLength(full.bits[location], width: location.width) ?? 0)
            guard lengths[i] > 0, let word = mask.words.firstIndex(where: { $0.index >= location.word }) else { continue }
            stages[i] = UInt8(borders.firstIndex { word < $0 } ?? 0)
        }
        (prefixLengths, prefixStages) = (lengths, stages)
        usesTries = lengths.indices.contains { lengths[$0] > 0 }
        portsMask = UInt32(truncatingIfNeeded: full.bits.words[Location.tpSrc.word] >> 32)
    }

    /// The words of a stage.
    @inline(__always)
    func words(ofStage stage: Int) -> Range<Int> { (stage == 0 ? 0 : Int(ends[stage - 1]))..<Int(ends[stage]) }
}

/// A hash of words as a key that is not hashed again: that would take most of a lookup's time.
private struct WordsHash: Hashable {
    let value: UInt64
    func hash(into hasher: inout Hasher) { hasher.combine(value) }
    func _rawHashValue(seed: Int) -> Int { Int(truncatingIfNeeded: value) ^ seed }
}

final class Subtable {
    let mask: MiniMask
    /// Where lookups begin. This object's own.
    let plan: UnsafeMutablePointer<SearchPlan>
    /// For each stage but the last, how many rules have each hash up to there.
    private var stages: [TreeDictionary<WordsHash, Int>]
    private var buckets: TreeDictionary<WordsHash, Bucket> = [:]
    private(set) var count = 0
    /// How many rules have each priority.
    private var priorities: TreeDictionary<Int, Int> = [:]
    var maxPriority: Int { plan.pointee.maxPriority }

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

    /// Where the words of each trie's field are among the mask's: the first, and the second of fields of 128 bits.
    private let trieWords: [(field: FieldLocation, first: Int?, second: Int?)]
    /// The trie of the rules' values in the two ports, and the length of their mask as a prefix.
    private let portsLength: Int
    private var portsTrie = PrefixTrie()
    private static let portsWord = Location.tpSrc.word

    init(_ mask: MiniMask, tries: [FieldLocation]) {
        self.mask = mask
        plan = Self.place()
        plan.initialize(to: SearchPlan(mask, tries: tries))
        stages = Array(repeating: [:], count: Int(plan.pointee.stageCount))
        trieWords = tries.map { location in
            func place(_ word: Int) -> Int? { mask.words.firstIndex { $0.index == word } }
            return (location, place(location.word), location.width > 64 ? place(location.word + 1) : nil)
        }
        let portsMask = plan.pointee.portsMask
        portsLength = portsMask == 0 ? 0 : 32 - portsMask.trailingZeroBitCount
    }

    /// A copy that can be changed while snapshots keep this one.
    init(copying other: Subtable) {
        mask = other.mask
        plan = Self.place()
        plan.initialize(to: other.plan.pointee)
        stages = other.stages
        buckets = other.buckets
        count = other.count
        priorities = other.priorities
        trieWords = other.trieWords
        portsLength = other.portsLength
        portsTrie = other.portsTrie
    }

    deinit { plan.deallocate() }

    private static func place() -> UnsafeMutablePointer<SearchPlan> {
        let size = MemoryLayout<SearchPlan>.size
        return UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64).bindMemory(to: SearchPlan.self, capacity: 1)
    }

    /// A rule's value in the field of a trie, left-aligned.
    func prefix(of rule: ClassifierRule, trie: Int) -> UInt128 {
        let (field, first, second) = trieWords[trie]
        let high = first.map { rule.values[$0] } ?? 0
        if field.width > 64 { return UInt128(high) << 64 | UInt128(second.map { rule.values[$0] } ?? 0) }
        return UInt128(high >> UInt64(field.shift)) << UInt128(128 - field.width)
    }

    private func ports(_ rule: ClassifierRule) -> UInt128 {
        guard let i = mask.words.firstIndex(where: { $0.index == Self.portsWord }) else { return 0 }
        return UInt128(UInt32(truncatingIfNeeded: rule.values[i] >> 32)) << 96
    }

    /// Adds a rule. Returns the one with the same words and priority that is there.
    func insert(_ rule: ClassifierRule) -> ClassifierRule? {
        var hash = MiniMask.hashBasis
        for i in stages.indices {
            hash = MiniMask.hash(of: rule.values, words: plan.pointee.words(ofStage: i), basis: hash)
            stages[i][WordsHash(value: hash), default: 0] += 1
            plan.pointee.common[i] = stages[i].count == 1 ? hash : 0
        }
        hash = MiniMask.hash(of: rule.values, words: lastStage, basis: hash)
        // Nearly always the only one.
        let before = buckets.updateValue(.one(rule), forKey: WordsHash(value: hash))
        switch before {
        case nil: break
        case .one(let other): buckets[WordsHash(value: hash)] = .many(Self.sorted([other, rule]))
        case .many(let others): buckets[WordsHash(value: hash)] = .many(Self.sorted(others + [rule]))
        }
        count += 1
        priorities[rule.priority, default: 0] += 1
        plan.pointee.maxPriority = max(maxPriority, rule.priority)
        if portsLength > 0 { portsTrie.insert(ports(rule), length: portsLength) }
        return before?.rule(rule.values, priority: rule.priority)
    }

    private var lastStage: Range<Int> { plan.pointee.words(ofStage: Int(plan.pointee.stageCount)) }

    private static func sorted(_ rules: [ClassifierRule]) -> [ClassifierRule] {
        rules.sorted { $0.priority > $1.priority }
    }

    func remove(_ rule: ClassifierRule) {
        var hash = MiniMask.hashBasis
        for i in stages.indices {
            hash = MiniMask.hash(of: rule.values, words: plan.pointee.words(ofStage: i), basis: hash)
            let left = (stages[i][WordsHash(value: hash)] ?? 0) - 1
            stages[i][WordsHash(value: hash)] = left > 0 ? left : nil
            plan.pointee.common[i] = stages[i].count == 1 ? stages[i].first?.key.value ?? 0 : 0
        }
        hash = MiniMask.hash(of: rule.values, words: lastStage, basis: hash)
        switch buckets[WordsHash(value: hash)] {
        case nil: return
        case .one: buckets[WordsHash(value: hash)] = nil
        case .many(var rules):
            rules.removeAll { $0 === rule }
            buckets[WordsHash(value: hash)] = rules.count == 1 ? .one(rules[0]) : .many(rules)
        }
        count -= 1
        let left = (priorities[rule.priority] ?? 0) - 1
        priorities[rule.priority] = left > 0 ? left : nil
        if rule.priority == maxPriority, left <= 0 { plan.pointee.maxPriority = priorities.keys.max() ?? Int.min }
        if portsLength > 0 { portsTrie.remove(ports(rule), length: portsLength) }
    }

    private func bucket(_ values: [UInt64]) -> Bucket? {
        var hash = MiniMask.hashBasis
        for i in stages.indices { hash = MiniMask.hash(of: values, words: plan.pointee.words(ofStage: i), basis: hash) }
        return buckets[WordsHash(value: MiniMask.hash(of: values, words: lastStage, basis: hash))]
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

    // MARK: Lookup, what it takes more than the plan for

    /// Whether some rule has a hash up to a stage.
    func has(_ hash: UInt64, upToStage stage: Int) -> Bool { stages[stage][WordsHash(value: hash)] != nil }

    /// The highest-priority rule that matches the words of a key, whose hash this is.
    func rule(_ hash: UInt64, _ key: UnsafePointer<UInt64>) -> ClassifierRule? {
        switch buckets[WordsHash(value: hash)] {
        case nil: return nil
        case .one(let rule): return plan.pointee.mask.matches(key, rule.values) ? rule : nil
        case .many(let rules):
            for rule in rules where plan.pointee.mask.matches(key, rule.values) { return rule }
            return nil
        }
    }

    /// How many leading bits of a packet's ports show that no rule has these; nil: no rule looks at ports.
    func portBits(_ ports: UInt32) -> Int? {
        guard portsLength > 0 else { return nil }
        return portsTrie.lookup(UInt128(ports & plan.pointee.portsMask) << 96, width: 32).bitsUsed
    }

    /// All rules, in the order of `forEach`.
    var rules: Rules { Rules(buckets: buckets.makeIterator()) }

    struct Rules: IteratorProtocol {
        fileprivate var buckets: TreeDictionary<WordsHash, Bucket>.Iterator
        /// What is left of a bucket, the next at the end.
        private var rest: [ClassifierRule] = []

        fileprivate init(buckets: TreeDictionary<WordsHash, Bucket>.Iterator) { self.buckets = buckets }

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
    /// How many tries a classifier may have.
    static let limit = 4
    private var results = InlineArray<4, PrefixTrie.Result>(repeating: .everything)
    /// The bits that decided each.
    private var prefixes = InlineArray<4, UInt128>(repeating: 0)
    private var isKnown = InlineArray<4, Bool>(repeating: false)
    /// These bits are among those that were looked at.
    private var isConsulted = InlineArray<4, Bool>(repeating: false)

    /// True when a trie shows that no rule of a subtable matches on a stage's words.
    /// - Parameter key: the words of the packet's key; `consulted` are those of a mask.
    @inline(__always)
    mutating func exclude(
        _ plan: UnsafePointer<SearchPlan>, stage: Int, by tries: [Trie], _ key: UnsafePointer<UInt64>,
        consulted: UnsafeMutablePointer<UInt64>
    ) -> Bool {
        guard plan.pointee.usesTries else { return false }
        for i in tries.indices {
            let length = Int(plan.pointee.prefixLengths[i])
            guard length > 0, Int(plan.pointee.prefixStages[i]) == stage else { continue }
            if !isKnown[i] { look(up: key, in: tries[i], i) }
            guard !results[i].has(length: length) else { continue }
            // Only where that leaves no more bits looked at than the subtable itself would look at, or than have been already.
            if isConsulted[i] || consult(i, tries[i].location, atMost: length, consulted) { return true }
        }
        return false
    }

    /// Takes the bits that decided among those that were looked at; false when they are more than the limit.
    private mutating func consult(
        _ i: Int, _ location: FieldLocation, atMost limit: Int, _ consulted: UnsafeMutablePointer<UInt64>
    ) -> Bool {
        // A field has one word, or two.
        let isWide = location.width > 64
        let last = UInt64(truncatingIfNeeded: prefixes[i]) << UInt64(location.shift)
        let first = isWide ? UInt64(truncatingIfNeeded: prefixes[i] >> 64) : last
        let isNew = first & ~consulted[location.word] != 0 || isWide && last & ~consulted[location.word + 1] != 0
        guard !isNew || results[i].bitsUsed <= limit else { return false }
        consulted[location.word] |= first
        if isWide { consulted[location.word + 1] |= last }
        isConsulted[i] = true
        return true
    }

    private mutating func look(up key: UnsafePointer<UInt64>, in entry: Trie, _ i: Int) {
        let location = entry.location
        let isIPv4 = location.width == 32
        isKnown[i] = true
        let ethType = Location.ethType
        if key[ethType.word] >> UInt64(ethType.shift) & 0xffff == (isIPv4 ? 0x0800 : 0x86dd) {
            let value =
                isIPv4
                ? UInt128(UInt32(truncatingIfNeeded: key[location.word] >> UInt64(location.shift))) << 96
                : UInt128(key[location.word]) << 64 | UInt128(key[location.word + 1])
            results[i] = entry.trie.lookup(value, width: location.width)
        }
        prefixes[i] = AddressText.prefixMask(results[i].bitsUsed, width: location.width)
    }
}
