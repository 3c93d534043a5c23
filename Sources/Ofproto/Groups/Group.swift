// OpenFlow groups (OpenFlow 1.3 section 5.6): what controllers made, how a select group spreads, and what was counted.

import Dpif
import Flow
import OpenFlow

/// A group as it stands between two modifications; each makes a new one, with counters at zero.
public final class Group {
    public enum Kind: UInt8, Sendable { case all = 0, select, indirect, fastFailover }

    public struct Bucket: Hashable, Sendable {
        public var id: UInt32
        public var weight: UInt16
        public var watchPort: OFPort
        public var watchGroup: UInt32
        public var actions: [OFAction]
        public init(
            id: UInt32, weight: UInt16 = 1, watchPort: OFPort = .none, watchGroup: UInt32 = .max, actions: [OFAction]
        ) {
            self.id = id
            self.weight = weight
            self.watchPort = watchPort
            self.watchGroup = watchGroup
            self.actions = actions
        }
    }

    /// How a select group takes a bucket.
    public enum Selection {
        /// By a hash of the packet computed here: of these fields, or without any of the addresses and ports.
        case hash(basis: UInt32, fields: [(field: FieldID, mask: UInt128)]?)
        /// By a hash that the datapath computes; the table has a power of two of entries, each a bucket's index.
        case datapathHash(HashAlgorithm, basis: UInt32, table: [Int])
    }

    public struct Counter: Sendable {
        public var packets: UInt64 = 0
        public var bytes: UInt64 = 0
        mutating func add(_ packets: UInt64, _ bytes: UInt64) {
            self.packets &+= packets
            self.bytes &+= bytes
        }
    }

    public let id: UInt32
    public let kind: Kind
    public let buckets: [Bucket]
    public let selection: Selection
    public private(set) var total = Counter()
    public private(set) var bucketCounters: [Counter]

    /// - Parameters:
    ///   - method: of a select group: "hash", "dp_hash", or empty for what suits.
    ///   - parameter: the method's: the basis of the hash and, in the upper half for dp_hash, the algorithm.
    ///   - fields: the fields to hash.
    public init(
        id: UInt32, kind: Kind, buckets: [Bucket], method: String = "", parameter: UInt64 = 0,
        fields: [(field: FieldID, mask: UInt128)] = [], maxHashAlgorithm: Int = 1
    ) {
        self.id = id
        self.kind = kind
        self.buckets = buckets
        bucketCounters = buckets.map { _ in Counter() }
        let plain = Selection.hash(basis: 0, fields: nil)
        switch method {
        case _ where kind != .select: selection = plain
        case "hash" where !fields.isEmpty: selection = .hash(basis: MurmurHash.number(parameter), fields: fields)
        case "hash": selection = plain
        case "dp_hash":
            var algorithm = HashAlgorithm(rawValue: UInt32(truncatingIfNeeded: parameter >> 32)) ?? .l4
            if algorithm.rawValue > maxHashAlgorithm { algorithm = .l4 }
            selection =
                Self.spread(buckets, limit: 256).map {
                    .datapathHash(algorithm, basis: UInt32(truncatingIfNeeded: parameter), table: $0)
                } ?? plain
        default:
            selection =
                maxHashAlgorithm < 1
                ? plain : Self.spread(buckets, limit: 64).map { .datapathHash(.symmetricL4, basis: 0, table: $0) } ?? plain
        }
    }

    /// Deals hash values to buckets by their weights with Webster's method of apportionment. Nil when that takes more
    /// values than `limit`, or when there is nothing to deal to.
    static func spread(_ buckets: [Bucket], limit: Int) -> [Int]? {
        let weights = buckets.map { Int($0.weight) }
        guard let least = weights.filter({ $0 > 0 }).min() else { return nil }
        let total = weights.reduce(0, +)
        var size = 16
        while size * least < total { size *= 2 }
        guard size <= limit else { return nil }
        var values = weights.map(Double.init)
        var divisors = weights.map { _ in 1 }
        return (0..<size).map { _ in
            var winner = 0
            for i in values.indices.dropFirst() where values[i] > values[winner] { winner = i }
            divisors[winner] += 2
            values[winner] = Double(weights[winner]) / Double(divisors[winner])
            return winner
        }
    }

    /// Counts packets that the group took; `bucket` nil: every bucket had them.
    func credit(bucket: Int?, packets: UInt64, bytes: UInt64) {
        total.add(packets, bytes)
        if let bucket {
            if bucketCounters.indices.contains(bucket) { bucketCounters[bucket].add(packets, bytes) }
        } else {
            for i in bucketCounters.indices { bucketCounters[i].add(packets, bytes) }
        }
    }
}
