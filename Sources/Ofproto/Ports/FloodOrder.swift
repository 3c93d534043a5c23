// The order in which FLOOD and ALL visit ports: that of the hash table in which the real daemon keeps them, so that captures of
// both are alike. Buckets by the port's hash, the newest first in each; the table doubles when it holds twice its mask.

import Flow
import OpenFlow

/// Ports in the order of a flood.
struct FloodOrder {
    private var buckets: [[SwitchPort]] = [[]]
    private var count = 0

    private var mask: Int { buckets.count - 1 }

    private static func hash(_ port: SwitchPort) -> Int { Int(MurmurHash.pair(port.number.rawValue, 0)) }

    mutating func insert(_ port: SwitchPort) {
        buckets[Self.hash(port) & mask].insert(port, at: 0)
        count += 1
        guard count / 2 > mask else { return }
        // A power of two above half the ports, and at least four.
        var size = 4
        while size - 1 < count / 2 { size *= 2 }
        var grown = [[SwitchPort]](repeating: [], count: size)
        for port in buckets.joined() { grown[Self.hash(port) & (size - 1)].insert(port, at: 0) }
        buckets = grown
    }

    mutating func remove(_ port: SwitchPort) {
        let before = buckets[Self.hash(port) & mask].count
        buckets[Self.hash(port) & mask].removeAll { $0 === port }
        count -= before - buckets[Self.hash(port) & mask].count
    }

    var ports: some Sequence<SwitchPort> { buckets.joined() }
}
