// An OpenFlow flow as its table holds it.

import Classifier
import Flow
import OpenFlow

/// Flags of a flow (OpenFlow 1.3 section A.3.4.1).
public struct RuleFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let sendFlowRemoved = RuleFlags(rawValue: 1)
    public static let checkOverlap = RuleFlags(rawValue: 2)
    public static let resetCounts = RuleFlags(rawValue: 4)
    public static let noPacketCounts = RuleFlags(rawValue: 8)
    public static let noByteCounts = RuleFlags(rawValue: 16)
    /// Cannot be changed or deleted by OpenFlow.
    public static let hidden = RuleFlags(rawValue: 1 << 14)
}

/// A flow. Confined to the main thread.
public final class Rule: ClassifierRule {
    public let tableID: UInt8
    public internal(set) var cookie: UInt64
    /// Seconds; 0: never.
    public internal(set) var idleTimeout: UInt16
    public internal(set) var hardTimeout: UInt16
    public internal(set) var importance: UInt16
    public internal(set) var flags: RuleFlags
    public internal(set) var actions: [OFAction]
    /// Milliseconds of the switch's clock.
    public internal(set) var created: Int64
    public internal(set) var modified: Int64
    /// When the last packet matched, or when the flow was added.
    public internal(set) var used: Int64
    public internal(set) var packetCount: UInt64 = 0
    public internal(set) var byteCount: UInt64 = 0
    /// Where the flow stands among those of its table with the same cookie.
    var placeByCookie = 0
    /// Where the flow stands in its table's eviction groups.
    var evictionGroup: EvictionGroup.Key?
    /// The numbers of the changes that added the flow, and that changed it last.
    public internal(set) var addedAt: UInt64 = 0
    public internal(set) var changedAt: UInt64 = 0
    /// Its time in its table; nil before that, and once it was taken out by itself.
    var stay: Stay?
    /// False once it has left its table.
    public var isInstalled: Bool { stay?.isOver == false }

    /// - Parameter likely: a mask that the match may well have.
    public init(
        tableID: UInt8, match: borrowing Match, priority: Int, cookie: UInt64 = 0, idleTimeout: UInt16 = 0, hardTimeout: UInt16 = 0,
        importance: UInt16 = 0, flags: RuleFlags = [], actions: [OFAction], now: Int64, likely: MiniMask? = nil
    ) {
        self.tableID = tableID
        self.cookie = cookie
        self.idleTimeout = idleTimeout
        self.hardTimeout = hardTimeout
        self.importance = importance
        self.flags = flags
        self.actions = actions
        created = now
        modified = now
        used = now
        super.init(match: match, priority: priority, conjunctions: Self.conjunctions(of: actions), likely: likely)
    }

    static func conjunctions(of actions: [OFAction]) -> [Conjunction] {
        actions.compactMap {
            if case .conjunction(let id, let clause, let count) = $0 {
                return Conjunction(id: id, clause: clause, count: count)
            }
            return nil
        }
    }

    /// The flow's life begins.
    func startTimes(at now: Int64) {
        created = now
        modified = now
        used = now
    }

    /// The counts go on from those of a flow that is replaced.
    func inheritCounts(of other: Rule) {
        packetCount = other.packetCount
        byteCount = other.byteCount
        used = other.used
    }

    func credit(packets: UInt64, bytes: UInt64, used time: Int64) {
        // Counting costs nothing here, so flows that need not be counted are.
        packetCount &+= packets
        byteCount &+= bytes
        used = max(used, time)
    }

    public var isHidden: Bool { flags.contains(.hidden) || priority > 65535 }
}
