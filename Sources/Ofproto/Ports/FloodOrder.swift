// The order in which FLOOD and ALL visit ports: that of the hash table in which the real daemon keeps them, so that captures of
// both are alike.

import Flow
import OpenFlow

/// The order of the real daemon's hash tables: buckets by hash, the newest first in each; the table doubles when it holds twice
/// its mask.
public struct HashTableOrder<Element> {
    private var buckets: [[(hash: Int, element: Element)]] = [[]]
    private var count = 0

    public init() {}

    private var mask: Int { buckets.count - 1 }

    public mutating func insert(_ element: Element, hash: UInt32) {
        buckets[Int(hash) & mask].insert((Int(hash), element), at: 0)
        count += 1
        guard count / 2 > mask else { return }
        // A power of two above half the elements, and at least four.
        var size = 4
        while size - 1 < count / 2 { size *= 2 }
        var grown = [[(hash: Int, element: Element)]](repeating: [], count: size)
        for entry in buckets.joined() { grown[entry.hash & (size - 1)].insert(entry, at: 0) }
        buckets = grown
    }

    /// Removes the elements of a hash that `isGone` says are to go.
    mutating func remove(hash: UInt32, where isGone: (Element) -> Bool) {
        let bucket = Int(hash) & mask
        let before = buckets[bucket].count
        buckets[bucket].removeAll { isGone($0.element) }
        count -= before - buckets[bucket].count
    }

    public var elements: [Element] { buckets.joined().map(\.element) }
}

/// Ports in the order of a flood.
struct FloodOrder {
    private var table = HashTableOrder<SwitchPort>()
    /// Nil: to be made anew when it is asked for, since ports come and go by the thousand.
    private var listed: [SwitchPort]?

    private static func hash(_ port: SwitchPort) -> UInt32 { MurmurHash.pair(port.number.rawValue, 0) }

    var ports: [SwitchPort] {
        mutating get {
            if let listed { return listed }
            let elements = table.elements
            listed = elements
            return elements
        }
    }

    mutating func insert(_ port: SwitchPort) {
        table.insert(port, hash: Self.hash(port))
        listed = nil
    }

    mutating func remove(_ port: SwitchPort) {
        table.remove(hash: Self.hash(port)) { $0 === port }
        listed = nil
    }
}
