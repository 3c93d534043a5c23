// What the actions of flows name: groups, meters, and the places that they learn flows into. Kept beside the tables, so that
// deleting a group, or counting who uses it, costs nothing for flows that have nothing to do with it.

import OpenFlow

/// Flows by the groups and meters that their actions name. Confined to the main thread.
struct FlowReferences {
    private struct Use {
        let rule: Rule
        var count: Int
    }
    private var groups: [UInt32: [ObjectIdentifier: Use]] = [:]
    private var meters: [UInt32: [ObjectIdentifier: Use]] = [:]
    /// How many learn actions with delete_learned write to each place.
    private var learners: [LearnedFlows: Int] = [:]

    var isEmpty: Bool { groups.isEmpty && meters.isEmpty && learners.isEmpty }

    /// The flows whose actions name a group, in no order.
    func flows(group id: UInt32) -> [Rule] { groups[id]?.values.map(\.rule) ?? [] }
    func flows(meter id: UInt32) -> [Rule] { meters[id]?.values.map(\.rule) ?? [] }

    /// How often flows name a group; a flow that names it twice counts twice.
    func count(group id: UInt32) -> Int { groups[id]?.values.reduce(0) { $0 + $1.count } ?? 0 }
    func count(meter id: UInt32) -> Int { meters[id]?.values.reduce(0) { $0 + $1.count } ?? 0 }

    /// Notes the actions of a flow that comes.
    mutating func add(_ actions: [OFAction], of rule: Rule) {
        for action in actions {
            switch action {
            case .group(let id): Self.note(rule, &groups[id, default: [:]])
            case .meter(let id): Self.note(rule, &meters[id, default: [:]])
            case .writeActions(let list), .clone(let list): add(list, of: rule)
            default: break
            }
        }
        for place in LearnedFlows.named(by: actions) { learners[place, default: 0] += 1 }
    }

    private static func note(_ rule: Rule, _ uses: inout [ObjectIdentifier: Use]) {
        uses[ObjectIdentifier(rule), default: Use(rule: rule, count: 0)].count += 1
    }

    /// Forgets the actions of a flow that goes. Returns the places that nobody learns into any more.
    mutating func remove(_ actions: [OFAction], of rule: Rule) -> [LearnedFlows] {
        guard !isEmpty else { return [] }
        forget(actions, of: rule)
        var orphaned: [LearnedFlows] = []
        for place in LearnedFlows.named(by: actions) {
            let left = (learners[place] ?? 1) - 1
            learners[place] = left > 0 ? left : nil
            if left <= 0 { orphaned.append(place) }
        }
        return orphaned
    }

    private mutating func forget(_ actions: [OFAction], of rule: Rule) {
        for action in actions {
            switch action {
            case .group(let id): Self.forget(rule, id, &groups)
            case .meter(let id): Self.forget(rule, id, &meters)
            case .writeActions(let list), .clone(let list): forget(list, of: rule)
            default: break
            }
        }
    }

    private static func forget(_ rule: Rule, _ id: UInt32, _ uses: inout [UInt32: [ObjectIdentifier: Use]]) {
        guard let left = uses[id]?[ObjectIdentifier(rule)]?.count else { return }
        uses[id]?[ObjectIdentifier(rule)]?.count = left - 1
        if left <= 1 { uses[id]?[ObjectIdentifier(rule)] = nil }
        if uses[id]?.isEmpty == true { uses[id] = nil }
    }
}

extension OpenFlowSwitch {
    /// Removes the flows that send packets to a group that goes away.
    public func removeFlows(toGroup id: UInt32) { remove(references.flows(group: id), .groupDelete) }

    /// Removes the flows that pass packets through a meter that goes away.
    public func removeFlows(usingMeter id: UInt32) { remove(references.flows(meter: id), .meterDelete) }

    private func remove(_ rules: [Rule], _ cause: FlowRemovedCause) {
        // The order in which they came, so that what watchers are told does not depend on chance.
        for rule in rules.sorted(by: { ($0.tableID, $0.addedAt) < ($1.tableID, $1.addedAt) }) where rule.isInstalled {
            uninstall(rule, cause)
        }
    }

    /// How often flows name a group.
    public func referenceCount(group id: UInt32) -> UInt32 { UInt32(clamping: references.count(group: id)) }

    /// How often flows name a meter.
    public func referenceCount(meter id: UInt32) -> UInt32 { UInt32(clamping: references.count(meter: id)) }
}
