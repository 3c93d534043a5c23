// All flows of one polling thread, and how a packet finds its flow.
//
//     bytes & relevant[shape] ─hash─▶ `HintCache` (one cache line) ─▶ flow entry (another) ─▶ compare under its mask
//                                        │ nothing there
//                                        ▼
//                                     subtables, one for each mask, at most `subtableLimit` of them ─▶ into the cache
//                                        │ nothing there
//                                        ▼
//                                     the main thread
//
// The cache is keyed by a hash of only those bits that some flow of the thread looks at. So while flows look at little (a port, an
// address) all traffic that they do not tell apart shares one entry; and two packets with the same hash input are covered by the same
// flow, since megaflows do not overlap. An entry is a hint: the flow that it names is always compared. The hash is keyed with random
// numbers, so that nobody outside can aim at a bucket.
//
// What a packet costs is bounded: one bucket, at most 16 comparisons, at most `subtableLimit` hash lookups. However many masks an
// attacker makes megaflows have, packets whose flows are in the cache never see them. What a packet costs when there are many flows is
// the lines of memory that it waits for: its flow's alone, as long as the cache and the patterns of masks are in the processor's; more
// where the mask looks further than a `HeaderWindow` reaches, or the flow has a program.
//
// Ownership: the polling thread alone, except `entries`, whose counters the main thread reads (CDPDK's atomic loads), and clears before it
// uses an index, and which indices are in use, which the main thread decides.

import CDPDK
import Glibc

/// What the flows of a subtable have in common, as comparing needs it: one cache line.
struct FlowPattern {
    var window = HeaderWindow()
    /// HeaderShape.rawValue.
    var shape: UInt8 = 0
    var isPrefixOnly = false
    /// Of packets whose bytes decide, whatever their shape.
    var minimumLength: UInt16 = 0
    // To the end of the line.
    var unused = (0, 0)
}

/// Where the flows are that lookups compare with. A copy of this stays in registers while packets are looked at.
struct FlowLines {
    let entries: UnsafeMutablePointer<FlowEntry>
    /// What a flow's packets begin with, for masks that look beside the window.
    let wholes: UnsafeMutablePointer<HeaderBytes>
    /// By subtable: what lookups by the cache need, and the mask where the window is not all.
    let patterns: UnsafeMutablePointer<FlowPattern>
    let masks: UnsafeMutablePointer<HeaderBytes>

    /// Whether a packet's bytes are those of a flow, beside its window, too.
    @inline(__always)
    func agreesWhole(_ index: UInt32, _ p: UnsafeRawPointer) -> Bool {
        wholes[Int(index)].agrees(p, under: masks[entries[Int(index)].subtable])
    }

    /// Whether the flow at an index covers a packet of which `length` bytes can be read.
    /// - Parameter p: its first byte; 64 may be read, whatever they hold behind the packet's end.
    @inline(__always)
    func cover(_ index: UInt32, _ p: UnsafeRawPointer, _ inPort: UInt32, _ length: Int, _ shape: HeaderShape) -> Bool {
        let e = entries + Int(index)
        let pattern = patterns + e.pointee.subtable
        guard pattern.pointee.window.agrees(p, e.pointee.key), e.pointee.inPort == inPort else { return false }
        guard pattern.pointee.window.isAll || agreesWhole(index, p) else { return false }
        return pattern.pointee.shape == shape.rawValue || (pattern.pointee.isPrefixOnly && length >= Int(pattern.pointee.minimumLength))
    }
}

/// A flow table for one thread. Not copyable: it owns its memory.
public struct FlowStore: ~Copyable {
    /// Flows at most; index 0 is none.
    public static let capacity = 1 << 20
    /// Subtables that one lookup tries.
    public static let subtableLimit = 64

    let lines: FlowLines
    var entries: UnsafeMutablePointer<FlowEntry> { lines.entries }
    var wholes: UnsafeMutablePointer<HeaderBytes> { lines.wholes }
    var patterns: UnsafeMutablePointer<FlowPattern> { lines.patterns }
    var masks: UnsafeMutablePointer<HeaderBytes> { lines.masks }
    private let rests: UnsafeMutablePointer<FlowRest>
    private(set) var hints: HintCache
    private let hasher = FlowHash()
    /// For each shape, the bits that flows look at.
    private let relevant: UnsafeMutablePointer<Relevant>
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
    private(set) var flowCount = 0
    /// No flow was ever at a higher index.
    private var highest: UInt32 = 0
    /// Flows of such subtables, and flows that look beside their window.
    private var unlinkedCount = 0
    private(set) var wholeCount = 0
    /// Which part of what subtables find is put into the cache; `max`: all of it.
    var cacheInsertion = UInt32.max

    /// What lookups by the cache do not need of a flow.
    private struct FlowRest {
        /// The compiled program. Heap memory that the flow owns.
        var steps: UnsafeMutablePointer<FlowStep>?
        /// The next flow of the same subtable and hash; 0 ends the chain, since index 0 is no flow.
        var next: UInt32
        var stepCount: UInt8
    }

    /// The bits that flows of a shape look at.
    struct Relevant {
        var mask = HeaderBytes()
        var window = HeaderWindow()
    }

    /// The flows of one mask and shape: chains by hash.
    private struct Subtable {
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
        let entries = part(Self.sizes[0], FlowEntry.self)
        hints = HintCache(part(Self.sizes[1], UInt32.self))
        // There are never more subtables than flows.
        let patterns = part(Self.sizes[2], FlowPattern.self)
        let masks = part(Self.sizes[3], HeaderBytes.self)
        subtables = part(Self.sizes[4], Subtable.self)
        lines = FlowLines(entries: entries, wholes: part(Self.sizes[5], HeaderBytes.self), patterns: patterns, masks: masks)
        rests = part(Self.sizes[6], FlowRest.self)
        relevant = .allocate(capacity: HeaderShape.count)
        relevant.initialize(repeating: Relevant(), count: HeaderShape.count)
        order = .allocate(capacity: Self.orderCapacity)
        maskHeads = .allocate(capacity: 1 << Self.maskHeadBits)
        maskHeads.initialize(repeating: 0, count: 1 << Self.maskHeadBits)
    }

    deinit {
        for i in 0..<subtableCount { subtables[Int(order[i])].heads?.deallocate() }
        for i in 0...Int(highest) { rests[i].steps?.deallocate() }
        munmap(entries, Self.sizes.reduce(0, +))
        hasher.deallocate()
        relevant.deallocate()
        order.deallocate()
        maskHeads.deallocate()
    }

    /// Of the entries, the cache, the patterns, the masks, the subtables, whole bytes and rests, in bytes: multiples of a huge page.
    private static let sizes = [
        capacity * FlowEntry.size, HintCache.size, capacity * MemoryLayout<FlowPattern>.stride, capacity * MemoryLayout<HeaderBytes>.stride,
        capacity * MemoryLayout<Subtable>.stride, capacity * MemoryLayout<HeaderBytes>.stride, capacity * MemoryLayout<FlowRest>.stride,
    ]

    /// Zeroed memory that takes room only where it is used, in huge pages where the system gives them.
    private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let p = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else { return nil }
        madvise(p, size, 14)  // MADV_HUGEPAGE
        return p
    }

    /// A flow's program.
    @inline(__always)
    func program(_ index: UInt32) -> UnsafeMutableBufferPointer<FlowStep> {
        let rest = rests + Int(index)
        return UnsafeMutableBufferPointer(start: rest.pointee.steps, count: Int(rest.pointee.stepCount))
    }

    // MARK: Lookup

    /// A hash of what flows look at in a packet of a shape.
    /// - Parameter p: its first byte; 64 may be read.
    @inline(__always)
    func hash(_ p: UnsafeRawPointer, _ shape: UInt8, _ inPort: UInt32) -> UInt64 {
        let r = relevant + Int(shape)
        guard r.pointee.window.isAll else { return hasher(p, Self.mask(of: r), inPort) }
        return hasher(p, Self.window(of: r), inPort)
    }

    // Addresses of fields, without a copy of them.
    @inline(__always)
    private static func mask(of r: UnsafeMutablePointer<Relevant>) -> UnsafePointer<HeaderBytes> {
        UnsafePointer(UnsafeMutableRawPointer(r).assumingMemoryBound(to: HeaderBytes.self))
    }
    @inline(__always)
    private static func window(of r: UnsafeMutablePointer<Relevant>) -> UnsafePointer<HeaderWindow> {
        UnsafePointer((UnsafeMutableRawPointer(r) + HeaderBytes.byteCount).assumingMemoryBound(to: HeaderWindow.self))
    }

    /// The hash by which a subtable has a packet.
    @inline(__always)
    private func hash(_ p: UnsafeRawPointer, inSubtable number: Int, _ inPort: UInt32) -> UInt64 {
        let pattern = patterns + number
        guard pattern.pointee.window.isAll else { return hasher(p, UnsafePointer(masks + number), inPort) }
        return hasher(p, UnsafePointer(UnsafeMutableRawPointer(pattern).assumingMemoryBound(to: HeaderWindow.self)), inPort)
    }

    /// The flow that covers a packet, by the cache, or by the subtables when the cache does not know it; 0 when none does.
    mutating func find(_ p: UnsafeRawPointer, _ hash: UInt64, _ inPort: UInt32, _ length: Int, _ shape: HeaderShape) -> UInt32 {
        // A copy, which is some words, since the rest of the store is looked at meanwhile.
        var copy = hints
        let hinted = copy.first(hash) { lines.cover($0, p, inPort, length, shape) }
        hints = copy
        if hinted != 0 { return hinted }
        for i in 0..<min(subtableCount, Self.subtableLimit) {
            let number = Int(order[i])
            let pattern = patterns + number
            let t = subtables + number
            guard pattern.pointee.shape == shape.rawValue || pattern.pointee.isPrefixOnly, let heads = t.pointee.heads else { continue }
            let h = self.hash(p, inSubtable: number, inPort)
            var index = heads[Int(truncatingIfNeeded: h >> UInt64(64 - t.pointee.headBits))]
            while index != 0 {
                if lines.cover(index, p, inPort, length, shape) {
                    t.pointee.hits &+= 1
                    if cacheInsertion == .max || Self.chance() < cacheInsertion { hints.remember(index, hash) }
                    return index
                }
                index = rests[Int(index)].next
            }
        }
        return 0
    }

    @inline(__always)
    private static func chance() -> UInt32 { UInt32(truncatingIfNeeded: (cdpdk_cycles() &* 0x9e37_79b9_7f4a_7c15) >> 32) }

    // MARK: Change

    /// Puts a flow at an index, which must be free.
    mutating func insert(_ flow: NewFlow, at index: UInt32) {
        guard index > 0, index < Self.capacity else { return }
        makeRelevant(flow.mask, flow.shape.rawValue, flow.isPrefixOnly)
        let number = subtable(for: flow)
        let window = patterns[number].window
        (entries + Int(index)).initialize(to: FlowEntry(flow, key: window.bytes(of: flow.bytes), subtable: UInt32(number)))
        wholes[Int(index)] = flow.bytes
        (rests + Int(index)).initialize(to: FlowRest(steps: flow.steps, next: 0, stepCount: flow.stepCount))
        let t = subtables + number
        if t.pointee.heads == nil {
            unlinkedCount += 1
        } else {
            if t.pointee.count > 1 << t.pointee.headBits { grow(number) }
            link(index, number)
        }
        t.pointee.count += 1
        if !window.isAll { wholeCount += 1 }
        flowCount += 1
        highest = max(highest, index)
        hints.makeRoom(flows: flowCount)
    }

    /// What bytes alone decide concerns packets of every shape.
    private func makeRelevant(_ mask: HeaderBytes, _ shape: UInt8, _ isPrefixOnly: Bool) {
        for s in isPrefixOnly ? 0..<HeaderShape.count : Int(shape)..<Int(shape) + 1 where relevant[s].mask | mask != relevant[s].mask {
            relevant[s].mask |= mask
            relevant[s].window = HeaderWindow(relevant[s].mask)
        }
    }

    /// A packet with these bytes and of this shape, which the limit on subtables kept from its flow, finds it in the cache next time.
    mutating func hint(_ index: UInt32, _ bytes: HeaderBytes, _ shape: HeaderShape) {
        guard index > 0, index < Self.capacity, entries[Int(index)].kind != .free, shape != .slow else { return }
        let e = entries + Int(index)
        hints.remember(
            index, withUnsafeBytes(of: bytes) { $0.baseAddress.map { hash($0, shape.rawValue, e.pointee.inPort) } ?? 0 })
        subtables[e.pointee.subtable].hits &+= 1
    }

    private func head(_ index: UInt32, _ number: Int) -> UnsafeMutablePointer<UInt32>? {
        let t = subtables + number
        let hash = hash(UnsafeRawPointer(wholes + Int(index)), inSubtable: number, entries[Int(index)].inPort)
        return t.pointee.heads.map { $0 + Int(truncatingIfNeeded: hash >> UInt64(64 - t.pointee.headBits)) }
    }

    private func link(_ index: UInt32, _ number: Int) {
        guard let head = head(index, number) else { return }
        rests[Int(index)].next = head.pointee
        head.pointee = index
    }

    private func grow(_ number: Int) {
        let t = subtables + number
        guard let old = t.pointee.heads else { return }
        let oldSize = 1 << t.pointee.headBits
        t.pointee.headBits += 2
        t.pointee.heads = Self.makeHeads(1 << t.pointee.headBits)
        for i in 0..<oldSize {
            var index = old[i]
            while index != 0 {
                let next = rests[Int(index)].next
                link(index, number)
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
        let hash = withUnsafePointer(to: mask) { hasher(UnsafeRawPointer($0), $0, UInt32(shape)) }
        return maskHeads + Int(truncatingIfNeeded: hash >> UInt64(64 - Self.maskHeadBits))
    }

    /// The number of the subtable for a flow, made when there is none.
    private mutating func subtable(for flow: NewFlow) -> Int {
        let shape = flow.shape.rawValue
        let head = maskHead(flow.mask, shape)
        var number = Int(head.pointee)
        while number != 0 {
            let pattern = patterns[number]
            if pattern.shape == shape, pattern.isPrefixOnly == flow.isPrefixOnly, masks[number] == flow.mask { return number }
            number = Int(subtables[number].nextOfHash)
        }
        let new: Int
        if freeSubtable != 0 {
            new = Int(freeSubtable)
            freeSubtable = subtables[new].nextOfHash
        } else {
            new = usedSubtables
            usedSubtables += 1
        }
        let isLookedUp = subtableCount < Self.orderCapacity
        masks[new] = flow.mask
        (patterns + new).initialize(
            to: FlowPattern(
                window: HeaderWindow(flow.mask), shape: shape, isPrefixOnly: flow.isPrefixOnly, minimumLength: flow.minimumLength))
        (subtables + new).initialize(
            to: Subtable(
                heads: isLookedUp ? Self.makeHeads(16) : nil, headBits: 4, count: 0, hits: 0, nextOfHash: head.pointee,
                place: subtableCount))
        head.pointee = UInt32(new)
        if isLookedUp {
            order[subtableCount] = UInt32(new)
            subtableCount += 1
        }
        return new
    }

    /// Takes a flow out. Its counters stay readable until its index is used again. Returns its program, which the caller frees.
    mutating func remove(_ index: UInt32) -> UnsafeMutablePointer<FlowStep>? {
        guard index > 0, index < Self.capacity, entries[Int(index)].kind != .free else { return nil }
        let number = entries[Int(index)].subtable
        let t = subtables + number
        if let head = head(index, number) {
            if head.pointee == index {
                head.pointee = rests[Int(index)].next
            } else {
                var before = Int(head.pointee)
                while before != 0, rests[before].next != index { before = Int(rests[before].next) }
                if before != 0 { rests[before].next = rests[Int(index)].next }
            }
        } else {
            unlinkedCount -= 1
        }
        t.pointee.count -= 1
        flowCount -= 1
        if !patterns[number].window.isAll { wholeCount -= 1 }
        if t.pointee.count == 0 { removeSubtable(number) }
        entries[Int(index)].free()
        let steps = rests[Int(index)].steps
        rests[Int(index)].steps = nil
        return steps
    }

    private mutating func removeSubtable(_ number: Int) {
        let t = subtables + number
        let head = maskHead(masks[number], patterns[number].shape)
        if head.pointee == UInt32(number) {
            head.pointee = t.pointee.nextOfHash
        } else {
            var before = subtables + Int(head.pointee)
            while before.pointee.nextOfHash != UInt32(number) { before = subtables + Int(before.pointee.nextOfHash) }
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
        freeSubtable = UInt32(number)
    }

    /// Once a second: subtables that hit rise by one place, bits that no flow looks at any more count no more, and the cache is fitted.
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
        if unlinkedCount == 0 { for s in 0..<HeaderShape.count { relevant[s] = Relevant() } }
        for i in 0..<subtableCount {
            let number = Int(order[i])
            subtables[number].hits /= 2
            makeRelevant(masks[number], patterns[number].shape, patterns[number].isPrefixOnly)
        }
        hints.maintain(flows: flowCount)
    }
}
