// The datapath's flow table: tuple-space search over the masks of the installed megaflows. Megaflows of one datapath do
// not overlap in what they do, so the first that matches is taken.

import Dpif
import Flow

/// An installed megaflow.
public final class Megaflow {
    public let ufid: UFID
    /// Shared by all flows of the mask.
    fileprivate let miniMask: MiniMask
    /// The masked words.
    fileprivate let values: [UInt64]
    private let miniKey: MiniKey
    public var actions: [DpAction]
    public var stats = DpFlowStats()
    /// What the accelerator keeps with the flow. Nobody else touches it.
    public var accelerated: AnyObject?
    fileprivate var nextWithSameHash: Megaflow?
    fileprivate let inPort: UInt32
    fileprivate let looksAtMore: Bool

    fileprivate init(_ flow: borrowing DpFlow, _ mask: MiniMask, looksAtMore: Bool) {
        inPort = flow.key.inPort
        self.looksAtMore = looksAtMore
        ufid = flow.ufid
        miniMask = mask
        values = mask.reduce(flow.key)
        miniKey = MiniKey(flow.key)
        actions = flow.actions
        stats = flow.stats
    }

    /// Of the packet that the flow was installed for.
    public var key: FlowKey { miniKey.key }
    public var mask: FlowMask { miniMask.mask }
    public var dpFlow: DpFlow { DpFlow(ufid: ufid, key: key, mask: mask, actions: actions, stats: stats) }
}

/// All megaflows of a datapath. Not thread-safe.
public struct MegaflowTable {
    private final class Subtable {
        let mask: MiniMask
        let look: Look
        private(set) var byHash: [UInt64: Megaflow] = [:]
        private(set) var count = 0

        init(_ mask: MiniMask) {
            self.mask = mask
            look = Look(mask.mask)
        }

        private var all: Range<Int> { 0..<mask.words.count }

        func flow(_ key: borrowing FlowKey) -> Megaflow? {
            var candidate = byHash[mask.hash(of: key, words: all)]
            while let flow = candidate {
                if mask.matches(key, flow.values) { return flow }
                candidate = flow.nextWithSameHash
            }
            return nil
        }

        func insert(_ flow: Megaflow) {
            let hash = MiniMask.hash(of: flow.values, words: all)
            flow.nextWithSameHash = byHash[hash]
            byHash[hash] = flow
            count += 1
        }

        func remove(_ flow: Megaflow) {
            let hash = MiniMask.hash(of: flow.values, words: all)
            var head: Megaflow?
            var candidate = byHash[hash]
            while let entry = candidate {
                candidate = entry.nextWithSameHash
                guard entry !== flow else { continue }
                entry.nextWithSameHash = head
                head = entry
            }
            flow.nextWithSameHash = nil
            byHash[hash] = head
            count -= 1
        }
    }

    /// How much flows look at.
    fileprivate enum Look {
        /// Port, Ethernet type, VLAN and kind of fragment; of untagged packets alone where the mask has other bits of the tag.
        case little, littleOfUntagged
        case more

        private static let allowed: FlowMask = {
            var mask = FlowMask()
            for l in [
                Location.packetType, Location.inPort, Location.recircID, Location.ethType, Location.nwFrag, Location.vlanTPID,
                Location.vlanTCI,
            ] {
                mask.setExact(l)
            }
            return mask
        }()

        func isMore(_ key: borrowing FlowKey) -> Bool {
            let isTagged = key.vlanTCI & 0x1000 != 0
            guard key.recircID == 0, key.packetType == 0 else { return true }
            return self == .more || self == .littleOfUntagged && isTagged
        }

        init(_ mask: FlowMask) {
            self = !Self.allowed.isSuperset(of: mask) ? .more : mask.bits.vlanTCI == 0x1fff ? .little : .littleOfUntagged
        }
    }

    private var subtables: [Subtable] = []
    private var byMask: [MiniMask: Subtable] = [:]
    private var byUFID: [UFID: Megaflow] = [:]
    /// The subtable of the last flow that was asked for or added: flows of one mask come in runs.
    private var recent: Subtable?
    /// How many flows of a port look at more than a little; those of the port of the last such flow are counted by themselves.
    private var lookingFlows: [UInt32: Int] = [:]
    private var recentPort: (number: UInt32, flows: Int) = (.max, 0)
    /// How many masks a lookup tries. Traffic can make masks, and lookups cost as much as there are; what is beyond the limit is found
    /// through translation, whose cost does not grow. Masks that hit rise.
    public var lookupLimit = Int.max

    public init() {}

    public var count: Int { byUFID.count }
    public var maskCount: Int { subtables.count }

    public func flow(_ ufid: UFID) -> Megaflow? { byUFID[ufid] }

    /// A copy of the list of flows: they may change while it is walked.
    public var all: [Megaflow] { Array(byUFID.values) }

    /// The flow that covers a packet.
    public mutating func lookup(_ key: borrowing FlowKey) -> Megaflow? {
        for i in 0..<min(subtables.count, lookupLimit) {
            guard let flow = subtables[i].flow(key) else { continue }
            if i > 0, subtables.count > lookupLimit { subtables.swapAt(i, i / 2) }
            return flow
        }
        return nil
    }

    /// Whether the real daemon finds the flow by what its shortest look at a packet says: the flow and all others of its port look at little.
    func isFoundAtAGlance(_ flow: Megaflow) -> Bool {
        !flow.looksAtMore && (flow.inPort == recentPort.number ? recentPort.flows : lookingFlows[flow.inPort] ?? 0) == 0
    }

    private mutating func count(_ flow: Megaflow, _ change: Int) {
        guard flow.looksAtMore else { return }
        if flow.inPort != recentPort.number {
            lookingFlows[recentPort.number] = recentPort.flows
            recentPort = (flow.inPort, lookingFlows[flow.inPort] ?? 0)
        }
        recentPort.flows += change
    }

    /// The flow with exactly this key and mask.
    public mutating func flow(key: borrowing FlowKey, mask: borrowing FlowMask) -> Megaflow? { subtable(mask)?.flow(key) }

    private mutating func subtable(_ mask: borrowing FlowMask) -> Subtable? {
        if let recent, recent.mask.isSame(as: mask) { return recent }
        guard let found = byMask[MiniMask(mask)] else { return nil }
        recent = found
        return found
    }

    /// Adds a flow that is not there, and returns it.
    @discardableResult
    public mutating func insert(_ flow: borrowing DpFlow) -> Megaflow {
        let subtable: Subtable
        if let found = self.subtable(flow.mask) {
            subtable = found
        } else {
            let mask = MiniMask(flow.mask)
            subtable = Subtable(mask)
            byMask[mask] = subtable
            subtables.append(subtable)
        }
        let entry = Megaflow(flow, subtable.mask, looksAtMore: subtable.look.isMore(flow.key))
        subtable.insert(entry)
        count(entry, 1)
        byUFID[flow.ufid] = entry
        return entry
    }

    public mutating func remove(_ ufid: UFID) -> Megaflow? {
        guard let flow = byUFID.removeValue(forKey: ufid) else { return nil }
        count(flow, -1)
        guard let subtable = byMask[flow.miniMask] else { return flow }
        subtable.remove(flow)
        if subtable.count == 0 {
            byMask[flow.miniMask] = nil
            subtables.removeAll { $0 === subtable }
            if recent === subtable { recent = nil }
        }
        return flow
    }

    public mutating func removeAll() {
        subtables = []
        recent = nil
        byMask = [:]
        byUFID = [:]
        lookingFlows = [:]
        recentPort = (.max, 0)
    }
}
