// The datapath's flow table: tuple-space search over the masks of the installed megaflows. Megaflows of one datapath do
// not overlap in what they do, so the first that matches is taken.

import Dpif
import Flow

/// An installed megaflow.
public final class Megaflow {
    public let ufid: UFID
    public let key: FlowKey
    public let mask: FlowMask
    public var actions: [DpAction]
    public var stats = DpFlowStats()
    fileprivate var nextWithSameHash: Megaflow?

    init(_ flow: DpFlow) {
        ufid = flow.ufid
        mask = flow.mask
        key = flow.key
        actions = flow.actions
        stats = flow.stats
    }

    public var dpFlow: DpFlow { DpFlow(ufid: ufid, key: key, mask: mask, actions: actions, stats: stats) }
}

/// A mask without its empty words.
struct SparseMask: Hashable {
    let words: [(index: Int, bits: UInt64)]

    init(_ mask: FlowMask) {
        words = (0..<FlowKey.wordCount).compactMap {
            mask.bits.words[$0] == 0 ? nil : ($0, mask.bits.words[$0])
        }
    }

    static func == (a: SparseMask, b: SparseMask) -> Bool { a.words.elementsEqual(b.words, by: ==) }
    func hash(into hasher: inout Hasher) {
        for w in words {
            hasher.combine(w.index)
            hasher.combine(w.bits)
        }
    }

    func hash(of key: borrowing FlowKey) -> UInt64 {
        var h: UInt64 = 0x9e37_79b9_7f4a_7c15
        for w in words {
            h = (h ^ key.words[w.index] & w.bits) &* 0xff51_afd7_ed55_8ccd
            h ^= h >> 32
        }
        return h
    }

    func equal(_ a: borrowing FlowKey, _ b: borrowing FlowKey) -> Bool {
        for w in words where (a.words[w.index] ^ b.words[w.index]) & w.bits != 0 { return false }
        return true
    }
}

/// All megaflows of a datapath. Not thread-safe.
public struct MegaflowTable {
    private final class Subtable {
        let mask: SparseMask
        var byHash: [UInt64: Megaflow] = [:]
        var count = 0
        init(_ mask: SparseMask) { self.mask = mask }
    }

    private var subtables: [Subtable] = []
    private var bySparseMask: [SparseMask: Subtable] = [:]
    private var byUFID: [UFID: Megaflow] = [:]
    /// UFIDs in the order of installation; entries of removed flows are dropped when there are many.
    public init() {}

    public var count: Int { byUFID.count }
    public var maskCount: Int { subtables.count }

    public func flow(_ ufid: UFID) -> Megaflow? { byUFID[ufid] }

    /// A copy of the list of flows: they may change while it is walked.
    public var all: [Megaflow] { Array(byUFID.values) }

    /// The flow that covers a packet.
    public func lookup(_ key: borrowing FlowKey) -> Megaflow? {
        for subtable in subtables {
            var candidate = subtable.byHash[subtable.mask.hash(of: key)]
            while let flow = candidate {
                if subtable.mask.equal(flow.key, key) { return flow }
                candidate = flow.nextWithSameHash
            }
        }
        return nil
    }

    /// The flow with exactly this key and mask.
    public func flow(key: FlowKey, mask: FlowMask) -> Megaflow? {
        guard let subtable = bySparseMask[SparseMask(mask)] else { return nil }
        var candidate = subtable.byHash[subtable.mask.hash(of: key)]
        while let flow = candidate {
            if subtable.mask.equal(flow.key, key) { return flow }
            candidate = flow.nextWithSameHash
        }
        return nil
    }

    public mutating func insert(_ flow: DpFlow) {
        let sparse = SparseMask(flow.mask)
        let subtable: Subtable
        if let found = bySparseMask[sparse] {
            subtable = found
        } else {
            subtable = Subtable(sparse)
            bySparseMask[sparse] = subtable
            subtables.append(subtable)
        }
        let entry = Megaflow(flow)
        let hash = sparse.hash(of: entry.key)
        entry.nextWithSameHash = subtable.byHash[hash]
        subtable.byHash[hash] = entry
        subtable.count += 1
        byUFID[flow.ufid] = entry
    }

    public mutating func remove(_ ufid: UFID) -> Megaflow? {
        guard let flow = byUFID.removeValue(forKey: ufid) else { return nil }
        let sparse = SparseMask(flow.mask)
        guard let subtable = bySparseMask[sparse] else { return flow }
        let hash = sparse.hash(of: flow.key)
        var chain: [Megaflow] = []
        var candidate = subtable.byHash[hash]
        while let entry = candidate {
            candidate = entry.nextWithSameHash
            if entry !== flow { chain.append(entry) }
        }
        var head: Megaflow?
        for entry in chain {
            entry.nextWithSameHash = head
            head = entry
        }
        subtable.byHash[hash] = head
        subtable.count -= 1
        if subtable.count == 0 {
            bySparseMask[sparse] = nil
            subtables.removeAll { $0 === subtable }
        }
        return flow
    }

    public mutating func removeAll() {
        subtables = []
        bySparseMask = [:]
        byUFID = [:]
    }
}
