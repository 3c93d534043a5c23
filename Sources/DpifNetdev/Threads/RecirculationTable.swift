// Which recirculations polling threads know: packets of a port that come back with a recirculation id, and are told apart by their hash.
//
// A thread knows one when a flow of it was given to a thread, and forgets it with the last flow. All flows of one look at the same bits
// of the hash; where some do not, their packets go by the main thread.

import Dpif
import FastPath
import Flow

/// The recirculations of a datapath's threads. Confined to the main thread.
struct RecirculationTable {
    fileprivate struct Key: Hashable {
        let port: UInt32
        let id: UInt32
    }

    /// One that threads know.
    final class Entry {
        fileprivate let key: Key
        /// As threads call it.
        let number: UInt32
        /// The bits of the hash that its flows look at.
        fileprivate var mask: UInt32
        fileprivate var hash = Recirculation.Hash(.l4, basis: 0)
        /// How many copies of flows are of it, and how many send packets there.
        fileprivate var flows = 0
        fileprivate var senders = 0
        /// The processors whose threads know mask and hash.
        fileprivate var told: Set<Int> = []

        fileprivate init(_ key: Key, _ number: UInt32, mask: UInt32) {
            self.key = key
            self.number = number
            self.mask = mask
        }
    }

    /// What a copy of a flow has to do with recirculation.
    enum Role {
        case none
        /// It covers packets that come back.
        case flow(Entry)
        /// It sends packets there.
        case sender(Entry)
    }

    private var entries: [Key: Entry] = [:]
    private var freeNumbers = Array((0..<UInt32(Recirculation.limit)).reversed())

    /// The recirculation that a flow is of, and the port that stands for it and the packet's hash; nil where threads cannot tell the
    /// flow's packets from others.
    /// - Parameter key: of a packet of the flow, which came back.
    /// - Parameter tell: tells the thread of a processor what a recirculation is.
    mutating func place(
        of key: borrowing FlowKey, _ mask: borrowing FlowMask,
        tell: (_ core: Int, _ number: UInt32, _ mask: UInt32, _ hash: Recirculation.Hash) -> Void
    ) -> (entry: Entry, port: UInt32)? {
        let bits = mask.bits.dpHash
        guard key.recircID != 0, Recirculation.admits(mask: bits), !Self.looksAtMore(key, mask) else { return nil }
        let id = Key(port: key.inPort, id: key.recircID)
        let entry: Entry
        if let known = entries[id] {
            entry = known
        } else {
            guard let number = freeNumbers.popLast() else { return nil }
            entry = Entry(id, number, mask: bits)
            entries[id] = entry
        }
        if entry.mask != bits {
            guard entry.flows == 0 else { return nil }
            entry.mask = bits
            for core in entry.told { tell(core, entry.number, bits, entry.hash) }
        }
        return (entry, Recirculation.port(entry.number, maskedHash: key.dpHash & bits))
    }

    /// Whether packets that come straight from a port, and back, may differ in metadata that the flow looks at: they have none.
    private static func looksAtMore(_ key: borrowing FlowKey, _ mask: borrowing FlowMask) -> Bool {
        var other = copy mask
        for l in [Location.inPort, Location.recircID, Location.dpHash] { other.bits[l] = 0 }
        let (bits, words) = (other.bits.words.span, key.words.span)
        for i in 0..<Location.ethDst.word where bits[i] & words[i] != 0 { return true }
        return false
    }

    /// The number of a recirculation to which packets of `port` are to be sent with this hash; nil while no flow of it is known.
    /// - Parameter tell: tells the thread of the processor; false when that fails.
    func number(
        _ id: UInt32, of port: UInt32, _ hash: Recirculation.Hash, core: Int,
        tell: (_ number: UInt32, _ mask: UInt32, _ hash: Recirculation.Hash) -> Bool
    ) -> Entry? {
        guard let entry = entries[Key(port: port, id: id)], entry.flows > 0 else { return nil }
        if entry.hash != hash {
            guard entry.senders == 0 else { return nil }
            entry.hash = hash
            entry.told = []
        }
        if !entry.told.contains(core) {
            guard tell(entry.number, entry.mask, hash) else { return nil }
            entry.told.insert(core)
        }
        return entry
    }

    /// A copy of a flow was given to a thread.
    func joined(_ role: Role) {
        switch role {
        case .none: break
        case .flow(let entry): entry.flows += 1
        case .sender(let entry): entry.senders += 1
        }
    }

    /// A thread does not have a copy any more.
    mutating func left(_ role: Role) {
        switch role {
        case .none: break
        case .flow(let entry):
            entry.flows -= 1
            settle(entry)
        case .sender(let entry):
            entry.senders -= 1
            settle(entry)
        }
    }

    /// Forgets one that nobody needs.
    mutating func settle(_ entry: Entry) {
        guard entry.flows == 0, entry.senders == 0, entries[entry.key] === entry else { return }
        entries[entry.key] = nil
        freeNumbers.append(entry.number)
    }

    /// A thread has ended.
    func forget(_ core: Int) { for entry in entries.values { entry.told.remove(core) } }
}
