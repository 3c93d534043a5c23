// The flows that a request for statistics asks for. There may be very many, so they are found one after another while the tables go on
// changing.

import Flow
import OpenFlow

/// What selects flows: a loose match, a cookie, and an output.
public struct FlowCriteria {
    public var match: Match
    /// Within the mask.
    public let cookie: UInt64
    public let cookieMask: UInt64
    /// `.none`: any, or none at all.
    public var outPort: OFPort = .none
    /// 0xffffffff: any.
    public var outGroup: UInt32 = .max
    /// Flows that only the switch itself writes count too.
    public var includesHidden = false

    public init(match: Match = Match(), cookie: UInt64 = 0, cookieMask: UInt64 = 0) {
        self.match = match
        self.cookie = cookie & cookieMask
        self.cookieMask = cookieMask
    }

    /// Whether a flow that the match and the cookie select is meant.
    func admits(_ rule: Rule) -> Bool {
        guard !rule.isHidden || includesHidden else { return false }
        if outPort != .none, !rule.actions.outputs(to: outPort) { return false }
        return outGroup == .max || rule.actions.outputs(toGroup: outGroup)
    }
}

/// Flows that criteria select, of those that were there when it was made; each is looked at when its turn comes. Confined to the main thread.
public struct FlowSelection {
    private let criteria: FlowCriteria
    private var walks: [(inout Int) -> Rule?]

    fileprivate init(_ criteria: FlowCriteria, _ walks: [(inout Int) -> Rule?]) {
        self.criteria = criteria
        // From the last.
        self.walks = walks.reversed()
    }

    /// True when `next` has given all.
    public var isOver: Bool { walks.isEmpty }

    /// The next flow; nil when there is none, or so many have been looked at as `budget`, which falls, allows.
    public mutating func next(_ budget: inout Int) -> Rule? {
        while budget > 0, let walk = walks.last {
            if let rule = walk(&budget) {
                if criteria.admits(rule) { return rule }
            } else if budget > 0 {
                walks.removeLast()
            }
        }
        return nil
    }
}

extension OpenFlowSwitch {
    /// Selects flows of a table; 255: of all. 254, the table that only the switch itself writes, can be asked for.
    public func select(table: UInt8, _ criteria: FlowCriteria) throws(OFError) -> FlowSelection {
        var criteria = criteria
        criteria.includesHidden = table == 254
        let chosen = table == 254 ? [tables[254]] : try selectedTables(table)
        return FlowSelection(
            criteria,
            chosen.filter { $0.count > 0 }.map {
                $0.walk(within: criteria.match, cookie: criteria.cookie, cookieMask: criteria.cookieMask)
            })
    }
}
