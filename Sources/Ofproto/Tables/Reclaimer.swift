// Gives back the memory of very many flows or groups on a thread of its own, so that emptying a large table does not hold up the main
// thread: freeing takes longer than taking them out.

import Dispatch

public enum Reclaimer {
    /// From how many on another thread is worth it.
    static let threshold = 1000
    private static let queue = DispatchQueue(label: "reclaimer", qos: .utility)

    /// What is given up. Unchecked: whoever hands it over keeps no way to the tables' insides, and of objects only references that count
    /// atomically; nothing here is read, only released.
    private struct Load<Value>: @unchecked Sendable {
        let value: Value
    }

    /// Drops what has left its tables, and what the tables held it with. The caller keeps no copy of it.
    public static func release<Value>(_ value: consuming Value) {
        let load = Load(value: value)
        queue.async { _ = load }
    }
}
