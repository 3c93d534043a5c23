// The datapath flows that the switch installed, and what it keeps of each. There may be hundreds of thousands, so what one takes of memory
// counts: masks are shared, keys are kept without their empty words, lists have no spare room.

import Dpif
import Flow

/// How many flows have a mask.
final class MaskUse {
    let mask: MiniMask
    fileprivate var count = 0
    fileprivate init(_ mask: MiniMask) { self.mask = mask }
}

/// What the switch knows of a flow that it installed.
final class InstalledFlow: DpFlowRecord {
    let miniKey: MiniKey
    fileprivate let maskUse: MaskUse
    var miniMask: MiniMask { maskUse.mask }
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

    /// - Parameter other: a flow with which it may share what is the same of both.
    fileprivate init(
        _ ufid: UFID, _ key: borrowing FlowKey, _ maskUse: MaskUse, _ actions: [DpAction], _ translation: Translation,
        like other: InstalledFlow?,
        now: Int64, generation: UInt64
    ) {
        miniKey = MiniKey(key)
        self.maskUse = maskUse
        if let other, other.actions == actions { self.actions = other.actions } else { self.actions = actions }
        if let other, TranslationTarget.areSame(other.targets, translation.targets) {
            targets = other.targets
        } else {
            targets = Self.trimmed(translation.targets)
        }
        recirculationIDs = Self.recirculations(of: key.recircID, translation)
        created = now
        self.generation = generation
        super.init(ufid)
    }

    /// A flow of which all but the key is known.
    fileprivate init(
        _ ufid: UFID, _ key: borrowing FlowKey, _ maskUse: MaskUse, _ known: Precedents.Outcome, now: Int64, generation: UInt64
    ) {
        miniKey = MiniKey(key)
        self.maskUse = maskUse
        actions = known.actions
        targets = known.targets
        recirculationIDs = []
        created = now
        self.generation = generation
        super.init(ufid)
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

extension TranslationTarget {
    /// Whether two lists are certainly the same. Only of those lists that most flows have.
    fileprivate static func areSame(_ a: [TranslationTarget], _ b: [TranslationTarget]) -> Bool {
        guard a.count == b.count else { return false }
        for i in a.indices {
            switch (a[i], b[i]) {
            case (.rule(let x), .rule(let y)): guard x === y else { return false }
            case (.table(let x, let matchedX), .table(let y, let matchedY)): guard x === y, matchedX == matchedY else { return false }
            default: return false
            }
        }
        return true
    }
}

/// All flows of a datapath: found by their id, and walked through a few at a time while they change. Confined to the main thread.
///
/// The walk is by place in a list. Invariant: the flows before `visited` are those that the pass under way has seen, those from there to
/// `end` it has still to see, and those behind came since it began; whoever is removed is replaced such that it stays true.
struct InstalledFlows: ~Copyable {
    private let byUFID = HashIndex<InstalledFlow>()
    private var list: [InstalledFlow] = []
    private var visited = 0
    private var end = 0
    /// How many flows have each mask.
    private var masks: [MiniMask: MaskUse] = [:]
    /// The last flow: those of one mask and the same actions come in runs.
    private var recent: InstalledFlow?

    var count: Int { list.count }
    var ids: [UFID] { list.map(\.ufid) }
    var all: [InstalledFlow] { list }

    subscript(ufid: UFID) -> InstalledFlow? { byUFID.find(ufid.indexHash) { $0.ufid == ufid } }

    /// Fetches what finding or adding a flow looks at, which is about to come.
    func prefetch(_ ufid: UFID) { byUFID.prefetch(ufid.indexHash) }

    private mutating func use(of flowMask: borrowing FlowMask) -> MaskUse {
        if let recent, recent.isThere, recent.miniMask.isSame(as: flowMask) { return recent.maskUse }
        return use(of: MiniMask(flowMask))
    }

    private mutating func use(of mask: MiniMask) -> MaskUse {
        if let recent, recent.isThere, recent.miniMask === mask { return recent.maskUse }
        if let known = masks[mask] { return known }
        let use = MaskUse(mask)
        masks[mask] = use
        return use
    }

    /// Adds a flow whose id no other has.
    mutating func insert(
        _ ufid: UFID, _ key: borrowing FlowKey, _ flowMask: borrowing FlowMask, _ actions: [DpAction], _ translation: Translation,
        now: Int64, generation: UInt64
    ) -> InstalledFlow {
        let use = use(of: flowMask)
        return insert(InstalledFlow(ufid, key, use, actions, translation, like: recent, now: now, generation: generation))
    }

    /// The same, of a flow of which all but the key is known.
    mutating func insert(
        _ ufid: UFID, _ key: borrowing FlowKey, _ known: Precedents.Outcome, now: Int64, generation: UInt64
    ) -> InstalledFlow {
        insert(InstalledFlow(ufid, key, use(of: known.mask), known, now: now, generation: generation))
    }

    private mutating func insert(_ entry: InstalledFlow) -> InstalledFlow {
        entry.maskUse.count += 1
        recent = entry
        byUFID.insert(entry.ufid.indexHash, entry)
        entry.place = list.count
        list.append(entry)
        return entry
    }

    /// Takes a flow out.
    mutating func remove(_ ufid: UFID) -> InstalledFlow? {
        guard let entry = self[ufid] else { return nil }
        byUFID.remove(ufid.indexHash, entry)
        entry.maskUse.count -= 1
        if entry.maskUse.count == 0 { masks[entry.miniMask] = nil }
        if recent === entry { recent = nil }
        if entry.place < visited {
            visited -= 1
            exchange(entry.place, visited)
        }
        if entry.place < end {
            end -= 1
            exchange(entry.place, end)
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
    mutating func beginPass() {
        visited = 0
        end = list.count
    }

    var isPassComplete: Bool { visited == end }

    /// A flow, which counts as seen; nil where the pass has seen it, or there is none.
    mutating func visit(_ ufid: UFID) -> InstalledFlow? {
        guard let entry = self[ufid], entry.place >= visited, entry.place < end else { return nil }
        exchange(entry.place, visited)
        visited += 1
        return entry
    }

    /// The next flows of the pass, which count as seen.
    mutating func visit(atMost limit: Int) -> [DpFlowRecord] {
        let next: [DpFlowRecord] = list[visited..<(visited + min(limit, end - visited))].map { $0 }
        visited += next.count
        return next
    }
}
