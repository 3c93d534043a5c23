// Gives back the memory of many flows on a thread of its own, so that emptying a large table does not hold up the main
// thread: freeing takes longer than taking the flows out.

import Dispatch

enum Reclaimer {
    /// From how many flows on another thread is worth it.
    static let threshold = 1000
    private static let queue = DispatchQueue(label: "reclaimer", qos: .utility)

    /// What is given up. Unchecked: whoever hands it over keeps no way to the tables' insides, and of the rules only references that count
    /// atomically; nothing here is read, only released.
    private struct Load: @unchecked Sendable {
        var flows: [SelectedFlows]
        var tables: [Emptied]
    }

    /// Drops the last references to rules that have left their tables, and what the tables held them with.
    static func release(_ flows: inout [SelectedFlows], _ tables: inout [Emptied]) {
        let load = Load(flows: flows, tables: tables)
        flows = []
        tables = []
        queue.async { _ = load }
    }
}
