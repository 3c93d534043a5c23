// The datapath's flow table: tuple-space search over the masks of the installed megaflows. Megaflows of one datapath do
// not overlap in what they do, so the first that matches is taken. The flows of all masks are in one index: a mask is part of the hash.

import Dpif
import Flow

/// An installed megaflow.
public final class Megaflow {
    public let ufid: UFID
    /// Shared by all flows of the mask.
    public let miniMask: MiniMask
    /// The masked words.
    fileprivate let values: [UInt64]
    private let miniKey: MiniKey
    public var actions: [DpAction]
    public var stats = DpFlowStats()
    /// What the accelerator keeps with the flow. Nobody else touches it.
    public var accelerated: AnyObject?
    fileprivate let inPort: UInt32
    fileprivate let looksAtMore: Bool
    /// False once it was taken out of its table.
    public fileprivate(set) var isInstalled = true

    fileprivate init(
        _ ufid: UFID, _ key: borrowing FlowKey, _ miniKey: MiniKey, _ mask: MiniMask, _ actions: [DpAction], looksAtMore: Bool
    ) {
        inPort = key.inPort
        self.looksAtMore = looksAtMore
        self.ufid = ufid
        miniMask = mask
        values = mask.reduce(key)
        self.miniKey = miniKey
        self.actions = actions
    }

    /// Of the packet that the flow was installed for.
    public var key: FlowKey { miniKey.key }
    public var mask: FlowMask { miniMask.mask }
    public var dpFlow: DpFlow { DpFlow(ufid: ufid, key: key, mask: mask, actions: actions, stats: stats) }
}

/// All megaflows of a datapath. Not thread-safe.
public struct MegaflowTable: ~Copyable {
    private final class Subtable {
        let mask: MiniMask
        let look: Look
        var count = 0

        init(_ mask: MiniMask) {
            self.mask = mask
            look = Look(mask.mask)
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
    private let byUFID = HashIndex<Megaflow>()
    /// All flows by the secret hash of their masks and masked words.
    private let byValues = HashIndex<Megaflow>()
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
    /// Rises with every flow that is added.
    private(set) var additions: UInt64 = 0
    public var maskCount: Int { subtables.count }

    public func flow(_ ufid: UFID) -> Megaflow? { byUFID.find(ufid.indexHash) { $0.ufid == ufid } }

    /// A copy of the list of flows: they may change while it is walked.
    public var all: [Megaflow] { byUFID.all }

    private func flow(_ key: borrowing FlowKey, _ mask: MiniMask) -> Megaflow? {
        var search = byValues.search(mask.secretHash(of: key))
        while let flow = byValues.next(&search) {
            if flow.miniMask === mask, mask.matches(key, flow.values) { return flow }
        }
        return nil
    }

    /// The flow that covers a packet.
    public mutating func lookup(_ key: borrowing FlowKey) -> Megaflow? {
        for i in 0..<min(subtables.count, lookupLimit) {
            guard let flow = flow(key, subtables[i].mask) else { continue }
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
    public mutating func flow(key: borrowing FlowKey, mask: MiniMask) -> Megaflow? {
        guard let subtable = subtable(mask) else { return nil }
        return flow(key, subtable.mask)
    }

    private mutating func subtable(_ mask: MiniMask) -> Subtable? {
        if let recent, recent.mask === mask { return recent }
        guard let found = byMask[mask] else { return nil }
        recent = found
        return found
    }

    /// Adds a flow that is not there, and returns it.
    ///
    /// - Parameter miniKey: the same key, as others may have it already.
    @discardableResult
    public mutating func insert(
        _ ufid: UFID, key: borrowing FlowKey, miniKey: MiniKey, mask: MiniMask, actions: [DpAction]
    ) -> Megaflow {
        byUFID.prefetch(ufid.indexHash)
        let subtable: Subtable
        if let found = self.subtable(mask) {
            subtable = found
        } else {
            subtable = Subtable(mask)
            byMask[mask] = subtable
            subtables.append(subtable)
            recent = subtable
        }
        let entry = Megaflow(ufid, key, miniKey, subtable.mask, actions, looksAtMore: subtable.look.isMore(key))
        subtable.count += 1
        additions &+= 1
        byValues.insert(subtable.mask.secretHash(of: entry.values), entry)
        byUFID.insert(ufid.indexHash, entry)
        count(entry, 1)
        return entry
    }

    public mutating func remove(_ ufid: UFID) -> Megaflow? {
        guard let flow = flow(ufid) else { return nil }
        byUFID.remove(ufid.indexHash, flow)
        byValues.remove(flow.miniMask.secretHash(of: flow.values), flow)
        flow.isInstalled = false
        count(flow, -1)
        guard let subtable = byMask[flow.miniMask] else { return flow }
        subtable.count -= 1
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
        for flow in all { flow.isInstalled = false }
        byValues.removeAll()
        byUFID.removeAll()
        lookingFlows = [:]
        recentPort = (.max, 0)
    }
}
