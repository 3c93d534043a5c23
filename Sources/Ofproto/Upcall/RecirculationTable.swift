// Recirculation ids and what each stands for. The same state gets the same id again, so that translating a packet twice
// gives the same actions; states nobody used for a while are forgotten.

/// Frozen states by id. Confined to the main thread.
final class RecirculationTable {
    private var states: [UInt32: FrozenState] = [:]
    private var ids: [FrozenState: UInt32] = [:]
    /// How many installed flows refer to each id.
    private var references: [UInt32: Int] = [:]
    private var next: UInt32 = 1
    /// Ids without references, oldest first.
    private var idle: [UInt32] = []
    private static let idleLimit = 4096

    func id(for state: FrozenState) -> UInt32 {
        if let id = ids[state] { return id }
        while states[next] != nil || next == 0 { next &+= 1 }
        let id = next
        next &+= 1
        states[id] = state
        ids[state] = id
        idle.append(id)
        if idle.count > Self.idleLimit { collect() }
        return id
    }

    func state(_ id: UInt32) -> FrozenState? { states[id] }

    func retain(_ list: [UInt32]) {
        for id in list { references[id, default: 0] += 1 }
    }

    func release(_ list: [UInt32]) {
        for id in list {
            let left = (references[id] ?? 0) - 1
            if left > 0 {
                references[id] = left
            } else {
                references[id] = nil
                if states[id] != nil { idle.append(id) }
            }
        }
    }

    /// Drops those of the ids that nothing refers to.
    func forget(_ list: [UInt32]) {
        for id in list where references[id] == nil {
            if let state = states.removeValue(forKey: id) { ids[state] = nil }
        }
    }

    private func collect() {
        let half = idle.prefix(idle.count / 2)
        for id in half where references[id] == nil {
            if let state = states.removeValue(forKey: id) { ids[state] = nil }
        }
        idle.removeFirst(half.count)
    }
}
