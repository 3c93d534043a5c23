// What a classifier holds: a match and a priority. Ofproto's rules derive from it.

import Flow

/// A rule's place in a classifier. Immutable in what concerns lookup, so that snapshots can share it.
open class ClassifierRule {
    /// Higher wins. OpenFlow's 0 to 65535; hidden rules may lie above.
    public let priority: Int
    /// The bits that matter, shared by all rules of a subtable.
    public internal(set) var mask: MiniMask
    /// The match's words, in the order of `mask.words`.
    public let values: [UInt64]
    /// The clauses of conjunctive matches that this rule is part of (conj_id, clause, clauses in all).
    public let conjunctions: [Conjunction]

    public struct Conjunction: Hashable, Sendable {
        public let id: UInt32
        /// From 0.
        public let clause: UInt8
        public let count: UInt8
        public init(id: UInt32, clause: UInt8, count: UInt8) {
            self.id = id
            self.clause = clause
            self.count = count
        }
    }

    /// - Parameter likely: a mask that the match may well have, which is shared then.
    public init(match: borrowing Match, priority: Int, conjunctions: [Conjunction] = [], likely: MiniMask? = nil) {
        if let likely, likely.isSame(as: match.mask) { mask = likely } else { mask = MiniMask(match.mask) }
        values = mask.reduce(match.key)
        self.priority = priority
        self.conjunctions = conjunctions
    }

    /// The match, spelled out.
    public var match: Match { Match(key: mask.expand(values), mask: mask.mask) }
}
