// Which address is behind which port: what NORMAL learns from sources and looks up for destinations.

import Dpif
import Flow

/// The MAC learning table of a switch. Confined to the main thread.
public final class MACLearning {
    public struct Key: Hashable, Sendable {
        public let vlan: UInt16
        public let address: UInt64
        public init(vlan: UInt16, address: UInt64) {
            self.vlan = vlan
            self.address = address
        }
    }

    public final class Entry {
        public let key: Key
        public internal(set) weak var bundle: PortBundle?
        /// When it was last refreshed, in milliseconds; static entries do not age.
        public internal(set) var refreshed: Int64
        public internal(set) var isStatic = false
        /// Until when gratuitous ARPs do not move the entry.
        var lockedUntil: Int64 = 0
        fileprivate var sequence: UInt64 = 0

        init(_ key: Key, now: Int64) {
            self.key = key
            refreshed = now
        }
    }

    public struct Counters: Sendable {
        public var learned: UInt64 = 0
        public var expired: UInt64 = 0
        public var evicted: UInt64 = 0
        public var moved: UInt64 = 0
        public init() {}
    }

    private var entries: [Key: Entry] = [:]
    /// Least recently refreshed first; stale pairs are skipped.
    private var order: [(entry: Key, sequence: UInt64)] = []
    private var head = 0
    private var nextSequence: UInt64 = 1
    private let time: TimeSource
    /// Seconds until an unused entry goes.
    public var agingTime: Int64 = 300
    public var capacity = 8192
    public var floodVLANs: Set<UInt16> = []
    public var counters = Counters()
    /// Changes whenever a lookup could give another answer.
    public private(set) var generation: UInt64 = 1

    init(time: TimeSource) { self.time = time }

    public var count: Int { entries.count }
    public var staticCount: Int { entries.values.filter(\.isStatic).count }

    /// Whether gratuitous ARPs do not move the entry now.
    func isLocked(_ entry: Entry) -> Bool { time.now < entry.lockedUntil }

    func age(_ entry: Entry) -> Int64 { (time.now - entry.refreshed) / 1000 }

    func mayLearn(_ address: UInt64, vlan: UInt16) -> Bool {
        address >> 40 & 1 == 0 && !floodVLANs.contains(vlan)
    }

    func lookup(_ address: UInt64, vlan: UInt16) -> Entry? {
        if address >> 40 & 1 != 0 || floodVLANs.contains(vlan) { return nil }
        guard let entry = entries[Key(vlan: vlan, address: address)] else { return nil }
        return entry
    }

    /// Learns that an address is behind a bundle. Returns true when that is news.
    func learn(_ address: UInt64, vlan: UInt16, on bundle: PortBundle, gratuitousARP: Bool) -> Bool {
        // Flows may count packets of a port that is gone.
        guard !bundle.ports.isEmpty, mayLearn(address, vlan: vlan) else { return false }
        let key = Key(vlan: vlan, address: address)
        if let entry = entries[key] {
            if entry.isStatic { return false }
            if gratuitousARP {
                // A reflected gratuitous ARP must not move what another port said just now.
                if entry.bundle === bundle { entry.lockedUntil = time.now + 5000 }
                if entry.bundle !== bundle, time.now < entry.lockedUntil { return false }
            }
            touch(entry)
            guard entry.bundle !== bundle else { return false }
            if entry.bundle != nil { counters.moved += 1 }
            entry.bundle = bundle
            generation += 1
            return true
        }
        makeRoom()
        let entry = Entry(key, now: time.now)
        entry.bundle = bundle
        entries[key] = entry
        touch(entry)
        counters.learned += 1
        generation += 1
        return true
    }

    /// Adds an entry that neither ages nor moves.
    public func addStatic(_ address: UInt64, vlan: UInt16, on bundle: PortBundle) {
        let key = Key(vlan: vlan, address: address)
        if entries[key] == nil { makeRoom() }
        let entry = entries[key] ?? Entry(key, now: time.now)
        entries[key] = entry
        entry.bundle = bundle
        entry.isStatic = true
        generation += 1
    }

    @discardableResult
    public func remove(_ address: UInt64, vlan: UInt16) -> Bool {
        guard entries.removeValue(forKey: Key(vlan: vlan, address: address)) != nil else { return false }
        generation += 1
        return true
    }

    private func touch(_ entry: Entry) {
        entry.refreshed = time.now
        entry.sequence = nextSequence
        nextSequence += 1
        order.append((entry.key, entry.sequence))
        if order.count > 4 * capacity + 64 { compact() }
    }

    private func compact() {
        order = order[head...].filter { entries[$0.entry]?.sequence == $0.sequence }
        head = 0
    }

    private func makeRoom() {
        while entries.count >= capacity, let oldest = popOldest() {
            entries[oldest] = nil
            counters.evicted += 1
            generation += 1
        }
    }

    private func popOldest() -> Key? {
        while head < order.count {
            let (key, sequence) = order[head]
            head += 1
            if let entry = entries[key], entry.sequence == sequence, !entry.isStatic { return key }
        }
        order = []
        head = 0
        return nil
    }

    /// Removes entries that are too old.
    func expire() {
        while head < order.count {
            let (key, sequence) = order[head]
            guard let entry = entries[key], entry.sequence == sequence, !entry.isStatic else {
                head += 1
                continue
            }
            guard age(entry) >= agingTime else { return }
            head += 1
            entries[key] = nil
            counters.expired += 1
            generation += 1
        }
    }

    public func setCapacity(_ n: Int) {
        capacity = n
        while entries.count > capacity, let oldest = popOldest() {
            entries[oldest] = nil
            counters.evicted += 1
            generation += 1
        }
    }

    /// Forgets all learned entries; static ones stay.
    public func flush() {
        entries = entries.filter { $0.value.isStatic }
        order = []
        head = 0
        generation += 1
    }

    /// Forgets what was learned on a bundle.
    func flush(_ bundle: PortBundle) {
        entries = entries.filter { $0.value.bundle !== bundle }
        generation += 1
    }

    /// All entries, most recently refreshed last.
    public var all: [(entry: Entry, age: Int64)] {
        entries.values.sorted { $0.sequence < $1.sequence }.map { ($0, age($0)) }
    }
}
