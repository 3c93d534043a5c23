// All flows of one polling thread, and how a packet finds its flow.
//
//     bytes & relevant[shape] ─hash─▶ cache bucket (16 entries, one cache line) ─▶ flow entry ─▶ compare under its mask
//                                        │ nothing there
//                                        ▼
//                                     subtables, one for each mask, at most `subtableLimit` of them ─▶ into the cache
//                                        │ nothing there
//                                        ▼
//                                     the main thread
//
// The cache is keyed by a hash of only those bits that some flow of the thread looks at. So while flows look at little (a port, an
// address) all traffic that they do not tell apart shares one entry; and two packets with the same hash input are covered by the same
// flow, since megaflows do not overlap. An entry is a hint: the flow that it names is always compared, so a stale or colliding entry
// costs time and is never wrong. The hash is keyed with random numbers, so that nobody outside can aim at a bucket.
//
// What a packet costs is bounded: one bucket, at most 16 comparisons, at most `subtableLimit` hash lookups. However many masks an
// attacker makes megaflows have, packets whose flows are in the cache never see them.
//
// Ownership: the polling thread alone, except `entries`, whose counters the main thread reads (CDPDK's relaxed loads), and which
// indices are in use, which the main thread decides.

import CDPDK
import Glibc

/// A flow table for one thread. Not copyable: it owns its memory.
public struct FlowStore: ~Copyable {
    /// Flows at most; index 0 is none.
    public static let capacity = 1 << 20
    static let indexBits: UInt32 = 21
    static let indexMask: UInt32 = (1 << indexBits) - 1
    static let bucketCount = 1 << 16
    /// Subtables that one lookup tries.
    public static let subtableLimit = 64

    let entries: UnsafeMutablePointer<FlowEntry>
    private let cache: UnsafeMutablePointer<UInt32>
    /// Where an entry has its counters, and where the chain goes on.
    private let countersOffset = MemoryLayout<FlowEntry>.offset(of: \.counters) ?? 0
    private let nextOffset = MemoryLayout<FlowEntry>.offset(of: \.next) ?? 0
    /// For each shape, the bits that flows look at.
    let relevant: UnsafeMutablePointer<HeaderBytes>
    /// The mask of each subtable, beside the rest of it: lookups by the cache need no more.
    let masks: UnsafeMutablePointer<HeaderBytes>
    private let subtables: UnsafeMutablePointer<Subtable>
    /// Of those that are looked up.
    private(set) var subtableCount = 0
    /// Numbers of subtables in the order of lookup.
    private let order: UnsafeMutablePointer<UInt32>
    private let maskHeads: UnsafeMutablePointer<UInt32>
    private static let maskHeadBits = 16
    private var freeSubtable: UInt32 = 0
    /// Number 0 is none.
    private var usedSubtables = 1
    /// Subtables beyond this are not looked up: their flows are found through the cache alone, once the main thread hints at them.
    private static let orderCapacity = 1 << 12
    /// Flows of such subtables.
    private var unlinkedCount = 0
    /// Which part of what subtables find is put into the cache; `max`: all of it.
    var cacheInsertion = UInt32.max
    private let seeds: HeaderBytes
    /// The same, where they can be loaded one by one.
    private let seedWords: UnsafeMutablePointer<HeaderBytes>

    /// The flows of one mask and shape: chains by hash.
    struct Subtable {
        var shape: UInt8
        var isPrefixOnly: Bool
        /// Index of the first flow, by hash; nil in one that is not looked up.
        var heads: UnsafeMutablePointer<UInt32>?
        var headBits: Int
        var count: Int
        var hits: UInt64
        /// The next with the same hash of its mask, or the next free one.
        var nextOfHash: UInt32
        /// Where it stands in the order of lookup.
        var place: Int
    }

    /// Nil when the system has no address space for it.
    init?() {
        guard let memory = Self.map(Self.sizes.reduce(0, +)) else { return nil }
        var next = memory
        func part<T>(_ size: Int, _: T.Type) -> UnsafeMutablePointer<T> {
            defer { next += size }
            return next.bindMemory(to: T.self, capacity: size / MemoryLayout<T>.stride)
        }
        entries = part(Self.sizes[0], FlowEntry.self)
        cache = part(Self.sizes[1], UInt32.self)
        // There are never more subtables than flows.
        masks = part(Self.sizes[2], HeaderBytes.self)
        subtables = part(Self.sizes[3], Subtable.self)
        relevant = .allocate(capacity: HeaderShape.count)
        relevant.initialize(repeating: HeaderBytes(), count: HeaderShape.count)
        order = .allocate(capacity: Self.orderCapacity)
        maskHeads = .allocate(capacity: 1 << Self.maskHeadBits)
        maskHeads.initialize(repeating: 0, count: 1 << Self.maskHeadBits)
        var generator = SystemRandomNumberGenerator()
        var seeds = HeaderBytes()
        for i in 0..<8 { seeds[i] = generator.next() | 1 }
        self.seeds = seeds
        seedWords = .allocate(capacity: 1)
        seedWords.initialize(to: seeds)
    }

    deinit {
        for i in 0..<subtableCount { subtables[Int(order[i])].heads?.deallocate() }
        munmap(entries, Self.sizes.reduce(0, +))
        relevant.deallocate()
        seedWords.deallocate()
        order.deallocate()
        maskHeads.deallocate()
    }

    /// Of the entries, the cache, the masks and the subtables, in bytes: multiples of a huge page.
    private static let sizes = [
        capacity * FlowEntry.size, bucketCount * 64, capacity * MemoryLayout<HeaderBytes>.stride,
        capacity * MemoryLayout<Subtable>.stride,
    ]

    /// Zeroed memory that takes room only where it is used, in huge pages where the system gives them.
    private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let p = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else { return nil }
        madvise(p, size, 14)  // MADV_HUGEPAGE
        return p
    }

    /// A flow's counters, by `FlowCounter`.
    @inline(__always)
    func counters(_ e: UnsafeMutablePointer<FlowEntry>) -> UnsafeMutablePointer<UInt64> {
        (UnsafeMutableRawPointer(e) + countersOffset).assumingMemoryBound(to: UInt64.self)
    }

    // MARK: Hashing

    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (high, low) = a.multipliedFullWidth(by: b)
        return high ^ low
    }

    /// A hash of masked bytes and the port.
    @inline(__always)
    func hash(_ w: HeaderBytes, _ inPort: UInt32) -> UInt64 {
        let x = w ^ seeds
        return Self.fold(x[0] &+ UInt64(inPort), x[1]) ^ Self.fold(x[2], x[3]) ^ Self.fold(x[4], x[5]) ^ Self.fold(x[6], x[7])
    }

    /// The same hash of a packet's first bytes under the bits that matter for its shape, by single words: moving lanes out of vectors
    /// takes longer than loading them.
    @inline(__always)
    func hash(_ p: UnsafeRawPointer, _ relevant: UnsafePointer<HeaderBytes>, _ inPort: UInt32) -> UInt64 {
        let mask = UnsafeRawPointer(relevant)
        let seed = UnsafeRawPointer(seedWords)
        @inline(__always) func word(_ i: Int) -> UInt64 {
            p.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self) & mask.load(fromByteOffset: 8 * i, as: UInt64.self)
                ^ seed.load(fromByteOffset: 8 * i, as: UInt64.self)
        }
        return Self.fold(word(0) &+ UInt64(inPort), word(1)) ^ Self.fold(word(2), word(3)) ^ Self.fold(word(4), word(5))
            ^ Self.fold(word(6), word(7))
    }

    // MARK: Lookup

    /// The address of a hash's bucket, to be fetched early.
    @inline(__always)
    func bucket(_ hash: UInt64) -> UnsafeMutablePointer<UInt32> {
        cache + Int(truncatingIfNeeded: hash & UInt64(Self.bucketCount - 1)) * 16
    }

    @inline(__always)
    private static func signature(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) & ~indexMask }

    /// The first flow that the bucket names for this hash, or 0; to be fetched early.
    @inline(__always)
    func candidate(_ hash: UInt64) -> UInt32 {
        let b = bucket(hash)
        let set = cdpdk_match16(b, Self.signature(hash), ~Self.indexMask)
        return set == 0 ? 0 : b[set.trailingZeroBitCount] & Self.indexMask
    }

    /// Whether a packet's bytes are those of a flow, whatever its shape.
    /// - Parameter mask: the flow's.
    @inline(__always)
    static func agrees(_ e: UnsafeMutablePointer<FlowEntry>, under mask: HeaderBytes, _ bytes: HeaderBytes, _ inPort: UInt32) -> Bool {
        let d = (bytes ^ e.pointee.bytes) & mask
        let d4 = d.lowHalf | d.highHalf
        let d2 = d4.lowHalf | d4.highHalf
        return d2[0] | d2[1] == 0 && e.pointee.inPort == inPort
    }

    /// Whether a flow covers a packet of which `length` bytes can be read.
    @inline(__always)
    static func covers(
        _ e: UnsafeMutablePointer<FlowEntry>, under mask: HeaderBytes, _ bytes: HeaderBytes, _ inPort: UInt32, _ length: Int,
        _ shape: HeaderShape
    ) -> Bool {
        guard agrees(e, under: mask, bytes, inPort) else { return false }
        return e.pointee.shape == shape.rawValue || (e.pointee.isPrefixOnly && length >= Int(e.pointee.minimumLength))
    }

    /// Whether the flow at an index does.
    @inline(__always)
    func covers(_ index: UInt32, _ bytes: HeaderBytes, _ inPort: UInt32, _ length: Int, _ shape: HeaderShape) -> Bool {
        let e = entries + Int(index)
        return Self.covers(e, under: masks[Int(e.pointee.subtable)], bytes, inPort, length, shape)
    }

    /// The flow that covers a packet, by the cache, or by the subtables when the cache does not know it; 0 when none does.
    func find(_ bytes: HeaderBytes, _ hash: UInt64, _ inPort: UInt32, _ length: Int, _ shape: HeaderShape) -> UInt32 {
        let b = bucket(hash)
        let signature = Self.signature(hash)
        var set = cdpdk_match16(b, signature, ~Self.indexMask)
        let first = set.trailingZeroBitCount
        while set != 0 {
            let place = set.trailingZeroBitCount
            let index = b[place] & Self.indexMask
            if index != 0, covers(index, bytes, inPort, length, shape) {
                // What stands before it dates from when flows looked at fewer bits.
                if place != first { swap(&b[place], &b[first]) }
                return index
            }
            set &= set &- 1
        }
        return findInSubtables(bytes, hash, inPort, length, shape)
    }

    private func findInSubtables(_ bytes: HeaderBytes, _ hash: UInt64, _ inPort: UInt32, _ length: Int, _ shape: HeaderShape) -> UInt32 {
        for i in 0..<min(subtableCount, Self.subtableLimit) {
            let t = subtables + Int(order[i])
            guard t.pointee.shape == shape.rawValue || t.pointee.isPrefixOnly, let heads = t.pointee.heads else { continue }
            let mask = masks[Int(order[i])]
            let h = self.hash(bytes & mask, inPort)
            var index = heads[Int(truncatingIfNeeded: h >> UInt64(64 - t.pointee.headBits))]
            while index != 0 {
                let e = entries + Int(index)
                if Self.covers(e, under: mask, bytes, inPort, length, shape) {
                    t.pointee.hits &+= 1
                    if cacheInsertion == .max || Self.chance() < cacheInsertion { remember(index, hash) }
                    return index
                }
                index = e.pointee.next
            }
        }
        return 0
    }

    @inline(__always)
    private static func chance() -> UInt32 { UInt32(truncatingIfNeeded: (cdpdk_cycles() &* 0x9e37_79b9_7f4a_7c15) >> 32) }

    /// Puts a flow into the cache for packets of this hash.
    private func remember(_ index: UInt32, _ hash: UInt64) {
        let b = bucket(hash)
        let entry = Self.signature(hash) | index
        // An empty place, else one by chance.
        for i in 0..<16 where b[i] & Self.indexMask == 0 {
            b[i] = entry
            return
        }
        b[Int(truncatingIfNeeded: hash >> 24 ^ cdpdk_cycles() >> 4) & 15] = entry
    }

    // MARK: Change

    /// Puts a flow at an index, which must be free.
    mutating func insert(_ flow: FlowEntry, mask: HeaderBytes, at index: UInt32) {
        guard index > 0, index < Self.capacity else { return }
        let e = entries + Int(index)
        e.initialize(to: flow)
        makeRelevant(mask, flow.shape, flow.isPrefixOnly)
        let number = subtable(mask, for: flow)
        e.pointee.subtable = number
        let t = subtables + Int(number)
        if t.pointee.heads == nil {
            unlinkedCount += 1
        } else {
            if t.pointee.count > 1 << t.pointee.headBits { grow(t) }
            link(e, index, t)
        }
        t.pointee.count += 1
    }

    /// What bytes alone decide concerns packets of every shape.
    private func makeRelevant(_ mask: HeaderBytes, _ shape: UInt8, _ isPrefixOnly: Bool) {
        relevant[Int(shape)] |= mask
        if isPrefixOnly { for s in 0..<HeaderShape.count { relevant[s] |= mask } }
    }

    /// A packet with these bytes, which the limit on subtables kept from its flow, finds it in the cache next time.
    func hint(_ index: UInt32, _ bytes: HeaderBytes) {
        guard index > 0, index < Self.capacity, entries[Int(index)].kind != .free else { return }
        let e = entries + Int(index)
        // Shapes that bytes alone decide have the same relevant bits or more.
        remember(index, hash(bytes & relevant[Int(e.pointee.shape)], e.pointee.inPort))
        subtables[Int(e.pointee.subtable)].hits &+= 1
    }

    private func head(_ e: UnsafeMutablePointer<FlowEntry>, _ t: UnsafeMutablePointer<Subtable>) -> UnsafeMutablePointer<UInt32>? {
        t.pointee.heads.map { $0 + Int(truncatingIfNeeded: hash(e.pointee.bytes, e.pointee.inPort) >> UInt64(64 - t.pointee.headBits)) }
    }

    private func link(_ e: UnsafeMutablePointer<FlowEntry>, _ index: UInt32, _ t: UnsafeMutablePointer<Subtable>) {
        guard let head = head(e, t) else { return }
        e.pointee.next = head.pointee
        head.pointee = index
    }

    private func grow(_ t: UnsafeMutablePointer<Subtable>) {
        guard let old = t.pointee.heads else { return }
        let oldSize = 1 << t.pointee.headBits
        t.pointee.headBits += 2
        t.pointee.heads = Self.makeHeads(1 << t.pointee.headBits)
        for i in 0..<oldSize {
            var index = old[i]
            while index != 0 {
                let e = entries + Int(index)
                let next = e.pointee.next
                link(e, index, t)
                index = next
            }
        }
        old.deallocate()
    }

    private static func makeHeads(_ count: Int) -> UnsafeMutablePointer<UInt32> {
        let heads = UnsafeMutablePointer<UInt32>.allocate(capacity: count)
        heads.initialize(repeating: 0, count: count)
        return heads
    }

    private func maskHead(_ mask: HeaderBytes, _ shape: UInt8) -> UnsafeMutablePointer<UInt32> {
        maskHeads + Int(truncatingIfNeeded: hash(mask, UInt32(shape)) >> UInt64(64 - Self.maskHeadBits))
    }

    /// The number of the subtable for a flow, made when there is none.
    private mutating func subtable(_ mask: HeaderBytes, for flow: FlowEntry) -> UInt32 {
        let head = maskHead(mask, flow.shape)
        var number = head.pointee
        while number != 0 {
            let t = subtables + Int(number)
            if t.pointee.shape == flow.shape, t.pointee.isPrefixOnly == flow.isPrefixOnly, masks[Int(number)] == mask { return number }
            number = t.pointee.nextOfHash
        }
        let new: UInt32
        if freeSubtable != 0 {
            new = freeSubtable
            freeSubtable = subtables[Int(new)].nextOfHash
        } else {
            new = UInt32(usedSubtables)
            usedSubtables += 1
        }
        let isLookedUp = subtableCount < Self.orderCapacity
        masks[Int(new)] = mask
        (subtables + Int(new)).initialize(
            to: Subtable(
                shape: flow.shape, isPrefixOnly: flow.isPrefixOnly, heads: isLookedUp ? Self.makeHeads(16) : nil, headBits: 4, count: 0,
                hits: 0, nextOfHash: head.pointee, place: subtableCount))
        head.pointee = new
        if isLookedUp {
            order[subtableCount] = new
            subtableCount += 1
        }
        return new
    }

    /// Takes a flow out. Its counters stay readable until its index is used again. Returns its program, which the caller frees.
    mutating func remove(_ index: UInt32) -> UnsafeMutablePointer<FlowStep>? {
        guard index > 0, index < Self.capacity, entries[Int(index)].kind != .free else { return nil }
        let e = entries + Int(index)
        let t = subtables + Int(e.pointee.subtable)
        if var slot = head(e, t) {
            while slot.pointee != index, slot.pointee != 0 { slot = next(of: slot.pointee) }
            if slot.pointee == index { slot.pointee = e.pointee.next }
        } else {
            unlinkedCount -= 1
        }
        t.pointee.count -= 1
        if t.pointee.count == 0 { removeSubtable(e.pointee.subtable) }
        e.pointee.kind = .free
        // Covers nothing from now on.
        e.pointee.inPort = .max
        let steps = e.pointee.steps
        e.pointee.steps = nil
        return steps
    }

    private func next(of index: UInt32) -> UnsafeMutablePointer<UInt32> {
        UnsafeMutableRawPointer(entries + Int(index)).advanced(by: nextOffset).assumingMemoryBound(to: UInt32.self)
    }

    private mutating func removeSubtable(_ number: UInt32) {
        let t = subtables + Int(number)
        let head = maskHead(masks[Int(number)], t.pointee.shape)
        if head.pointee == number {
            head.pointee = t.pointee.nextOfHash
        } else {
            var before = subtables + Int(head.pointee)
            while before.pointee.nextOfHash != number { before = subtables + Int(before.pointee.nextOfHash) }
            before.pointee.nextOfHash = t.pointee.nextOfHash
        }
        if let heads = t.pointee.heads {
            heads.deallocate()
            subtableCount -= 1
            let last = order[subtableCount]
            order[t.pointee.place] = last
            subtables[Int(last)].place = t.pointee.place
        }
        t.pointee.nextOfHash = freeSubtable
        freeSubtable = number
    }

    /// Now and then: subtables that hit rise by one place, and bits that no flow looks at any more count no more.
    mutating func maintain() {
        var i = subtableCount - 1
        while i > 0 {
            if subtables[Int(order[i])].hits > subtables[Int(order[i - 1])].hits {
                swap(&order[i], &order[i - 1])
                subtables[Int(order[i])].place = i
                subtables[Int(order[i - 1])].place = i - 1
            }
            i -= 1
        }
        if unlinkedCount == 0 { for s in 0..<HeaderShape.count { relevant[s] = HeaderBytes() } }
        for i in 0..<subtableCount {
            let t = subtables + Int(order[i])
            t.pointee.hits /= 2
            makeRelevant(masks[Int(order[i])], t.pointee.shape, t.pointee.isPrefixOnly)
        }
    }
}
