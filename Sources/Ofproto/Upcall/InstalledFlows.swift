// The datapath flows that the switch installed, and what it keeps of each. There may be hundreds of thousands, so what one takes of memory
// counts: masks are shared, keys are kept without their empty words, lists have no spare room.

import Dpif
import Flow

/// What the switch knows of a flow that it installed.
final class InstalledFlow {
    let ufid: UFID
    private let miniKey: MiniKey
    fileprivate let miniMask: MiniMask
    var key: FlowKey { miniKey.key }
    var mask: FlowMask { miniMask.mask }
    var actions: [DpAction]
    private(set) var targets: [TranslationTarget]
    /// Those that its actions name, and the one that its packets come with.
    private(set) var recirculationIDs: [UInt32]
    let created: Int64
    /// Statistics that have been credited.
    var credited = DpFlowStats()
    /// The state of the bridges when it was last checked.
    private(set) var generation: UInt64
    /// Where it is in its list; negative: in none.
    fileprivate var place = -1
    /// False once the flow was taken out.
    var isThere: Bool { place >= 0 }

    /// - Parameter mask: the flow's, shared with other flows.
    fileprivate init(
        _ ufid: UFID, _ key: borrowing FlowKey, _ mask: MiniMask, _ actions: [DpAction], _ translation: Translation, now: Int64,
        generation: UInt64
    ) {
        self.ufid = ufid
        miniKey = MiniKey(key)
        miniMask = mask
        self.actions = actions
        targets = Self.trimmed(translation.targets)
        recirculationIDs = Self.recirculations(of: key.recircID, translation)
        created = now
        self.generation = generation
    }

    private static func recirculations(of recircID: UInt32, _ translation: Translation) -> [UInt32] {
        recircID == 0 ? translation.recirculationIDs : translation.recirculationIDs + [recircID]
    }

    /// Without the room that growing left, where that is worth a copy.
    private static func trimmed(_ targets: [TranslationTarget]) -> [TranslationTarget] {
        targets.capacity <= targets.count + 2 ? targets : targets.map { $0 }
    }

    /// Takes over what a newer translation touched.
    func take(_ translation: Translation, in table: RecirculationTable, generation: UInt64) {
        let ids = Self.recirculations(of: key.recircID, translation)
        table.retain(ids)
        table.release(recirculationIDs)
        recirculationIDs = ids
        targets = Self.trimmed(translation.targets)
        self.generation = generation
    }
}

/// All flows of a datapath: found by their id, and walked through a few at a time while they change. Confined to the main thread.
///
/// The walk is by place in a list. Invariant: the flows before `visited` are those that the pass under way has seen, or that came since
/// it began; whoever is removed is replaced such that it stays true.
struct InstalledFlows {
    private var byUFID: [UFID: InstalledFlow] = [:]
    private var list: [InstalledFlow] = []
    private var visited = 0
    /// How many flows have each mask.
    private var masks: [MiniMask: Int] = [:]
    /// The mask of the last flow: those of one mask come in runs.
    private var recent: MiniMask?

    var count: Int { list.count }
    var ids: [UFID] { list.map(\.ufid) }
    var all: [InstalledFlow] { list }

    subscript(ufid: UFID) -> InstalledFlow? { byUFID[ufid] }

    /// Adds a flow whose id no other has.
    mutating func insert(
        _ ufid: UFID, _ key: borrowing FlowKey, _ flowMask: borrowing FlowMask, _ actions: [DpAction], _ translation: Translation,
        now: Int64, generation: UInt64
    ) -> InstalledFlow {
        var mask: MiniMask
        if let recent, recent.isSame(as: flowMask) { mask = recent } else { mask = MiniMask(flowMask) }
        if let known = masks.index(forKey: mask) {
            mask = masks.keys[known]
            masks.values[known] += 1
        } else {
            masks[mask] = 1
        }
        recent = mask
        let entry = InstalledFlow(ufid, key, mask, actions, translation, now: now, generation: generation)
        byUFID[ufid] = entry
        entry.place = list.count
        list.append(entry)
        if visited < list.count - 1 { exchange(visited, list.count - 1) }
        visited += 1
        return entry
    }

    /// Takes a flow out.
    mutating func remove(_ ufid: UFID) -> InstalledFlow? {
        guard let entry = byUFID.removeValue(forKey: ufid) else { return nil }
        let left = (masks[entry.miniMask] ?? 0) - 1
        masks[entry.miniMask] = left > 0 ? left : nil
        if entry.place < visited {
            visited -= 1
            exchange(entry.place, visited)
        }
        exchange(entry.place, list.count - 1)
        list.removeLast()
        entry.place = -1
        return entry
    }

    private mutating func exchange(_ a: Int, _ b: Int) {
        guard a != b else { return }
        list.swapAt(a, b)
        list[a].place = a
        list[b].place = b
    }

    // MARK: Passes

    /// From now on all flows are to be seen that are there now.
    mutating func beginPass() { visited = 0 }

    var isPassComplete: Bool { visited == list.count }

    /// A flow, which counts as seen; nil where the pass has seen it, or there is none.
    mutating func visit(_ ufid: UFID) -> InstalledFlow? {
        guard let entry = byUFID[ufid], entry.place >= visited else { return nil }
        exchange(entry.place, visited)
        visited += 1
        return entry
    }

    /// The next flows of the pass, which count as seen.
    mutating func visit(atMost limit: Int) -> [InstalledFlow] {
        let next = Array(list[visited..<(visited + min(limit, list.count - visited))])
        visited += next.count
        return next
    }
}
