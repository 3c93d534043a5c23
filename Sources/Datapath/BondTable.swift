// Bonds as the datapath knows them: which port each share of the connections goes out of (`lb_output`).

/// The bonds of a datapath. Not thread-safe.
struct BondTable {
    private struct Bond {
        var ports: [UInt32?]
        /// Sent by each bucket since somebody last asked.
        var bytes: [UInt64]
    }
    private var bonds: [UInt32: Bond] = [:]

    /// - Parameter buckets: a power of two of them; nil: there is no such bond any more.
    mutating func set(_ id: UInt32, _ buckets: [UInt32?]?) {
        guard let buckets, buckets.count.nonzeroBitCount == 1 else {
            bonds[id] = nil
            return
        }
        let bytes = bonds[id].flatMap { $0.bytes.count == buckets.count ? $0.bytes : nil }
        bonds[id] = Bond(ports: buckets, bytes: bytes ?? [UInt64](repeating: 0, count: buckets.count))
    }

    /// The port for a packet with this hash, and counts it there.
    mutating func port(of id: UInt32, hash: UInt32, bytes: Int) -> UInt32? {
        guard let bond = bonds[id] else { return nil }
        let bucket = Int(hash & UInt32(bond.ports.count - 1))
        guard let port = bond.ports[bucket] else { return nil }
        bonds[id]?.bytes[bucket] &+= UInt64(bytes)
        return port
    }

    mutating func takeBytes(_ id: UInt32) -> [UInt64] {
        guard let bond = bonds[id] else { return [] }
        bonds[id]?.bytes = [UInt64](repeating: 0, count: bond.bytes.count)
        return bond.bytes
    }
}
