// A flow as the fast path holds it: one cache line, which decides, counts and says what to do. What few packets need lies elsewhere in
// `FlowStore`: the bytes beside the window, the program. The mask is the subtable's, which many flows share.

import CDPDK

/// One flow in a `FlowStore`. The owner of the fields is the polling thread, but for what `FlowStore` says.
struct FlowEntry {
    /// The bytes of its packets in the window of its subtable, masked.
    var key = HeaderWindow.Bytes()
    var inPort: UInt32 = 0
    /// Subtable, kind, and whether TCP flags are gathered.
    private var packed: UInt32 = 0
    /// The port for `.output`, as an index of the thread's transmit queues; for `.recirculate` the number of a `Recirculation`.
    var output: UInt16 = 0
    // What the main thread reads: numbers that the polling thread alone writes while the flow is there, with atomic stores.
    var tcpFlags: UInt16 = 0
    /// When the last packet came, in ticks.
    var used: UInt32 = 0
    var packets: UInt64 = 0
    var bytes: UInt64 = 0

    enum Kind: UInt32 {
        case free
        /// One output, nothing else.
        case output
        case drop
        /// A compiled program.
        case program
        /// A second lookup, by the packet's hash.
        case recirculate
        /// More than the fast path can do: the main thread does it.
        case punt
    }

    init() {}

    /// A flow that is yet to be counted.
    init(_ flow: borrowing NewFlow, key: HeaderWindow.Bytes, subtable: UInt32) {
        self.key = key
        inPort = flow.inPort
        output = flow.output
        packed = subtable << 8 | (flow.countsFlags ? 1 << 7 : 0) | flow.kind.rawValue
    }

    /// Whose mask it has; below 2^24.
    @inline(__always) var subtable: Int { Int(packed >> 8) }
    /// Packets may be TCP, and their flags are gathered.
    @inline(__always) var countsFlags: Bool { packed & 1 << 7 != 0 }
    @inline(__always) var kind: Kind { Kind(rawValue: packed & 0x7f).unsafelyUnwrapped }

    /// Covers nothing from now on.
    mutating func free() {
        packed &= ~0x7f
        inPort = .max
    }

    static var size: Int { MemoryLayout<FlowEntry>.stride }
    /// A tick is so many cycles, as a power of two: half a millisecond at 2 GHz. So 32 bits are enough for days.
    static var tickBits: UInt64 { 20 }
    // Where fields lie, as constants, since a stored one would be looked for on each use.
    static var tcpFlagsOffset: Int { 42 }
    static var usedOffset: Int { 44 }
    static var packetsOffset: Int { 48 }
    static var bytesOffset: Int { 56 }

    /// Counts packets of a flow in a store.
    @inline(__always)
    static func count(_ e: UnsafeMutablePointer<FlowEntry>, _ packets: Int, _ bytes: Int, ticks: UInt32) {
        let e = UnsafeMutableRawPointer(e)
        cdpdk_add((e + bytesOffset).assumingMemoryBound(to: UInt64.self), UInt64(bytes))
        cdpdk_store32((e + usedOffset).assumingMemoryBound(to: UInt32.self), ticks)
        // The last, since who sees it looks at the others.
        let count = (e + packetsOffset).assumingMemoryBound(to: UInt64.self)
        cdpdk_publish(count, cdpdk_load(count) &+ UInt64(packets))
    }

    /// Gathers flags.
    @inline(__always)
    static func add(_ e: UnsafeMutablePointer<FlowEntry>, tcpFlags: UInt16) {
        cdpdk_store16((UnsafeMutableRawPointer(e) + tcpFlagsOffset).assumingMemoryBound(to: UInt16.self), e.pointee.tcpFlags | tcpFlags)
    }
}

/// A flow that is to be put into a store.
struct NewFlow {
    var bytes: HeaderBytes
    var mask: HeaderBytes
    var inPort: UInt32
    var shape: HeaderShape
    var isPrefixOnly: Bool
    var minimumLength: UInt16
    var kind: FlowEntry.Kind
    var countsFlags: Bool
    var output: UInt16 = 0
    /// The compiled program, in heap memory that the flow owns, and how many steps it has.
    var steps: UnsafeMutablePointer<FlowStep>?
    var stepCount: UInt8 = 0

    /// A flow that covers what `match` covers on one port.
    init(_ match: HeaderMatch, inPort: UInt32, kind: FlowEntry.Kind) {
        bytes = match.bytes
        mask = match.mask
        self.inPort = inPort
        self.kind = kind
        shape = match.shape
        isPrefixOnly = match.isPrefixOnly
        minimumLength = UInt16(match.minimumLength)
        countsFlags = match.mayBeTCP
    }
}

/// What a polling thread counts of a flow: read with relaxed loads while the thread goes on counting.
public struct FlowCounters {
    private let entry: UnsafeMutableRawPointer

    init(_ entry: UnsafeMutablePointer<FlowEntry>) { self.entry = UnsafeMutableRawPointer(entry) }

    /// Forgets what was counted of an earlier flow. Nobody else may count.
    func clear() {
        cdpdk_store((entry + FlowEntry.packetsOffset).assumingMemoryBound(to: UInt64.self), 0)
        cdpdk_store((entry + FlowEntry.bytesOffset).assumingMemoryBound(to: UInt64.self), 0)
        cdpdk_store16((entry + FlowEntry.tcpFlagsOffset).assumingMemoryBound(to: UInt16.self), 0)
    }

    /// To be read before the others: those are at least of these packets.
    public var packets: UInt64 { cdpdk_observe((entry + FlowEntry.packetsOffset).assumingMemoryBound(to: UInt64.self)) }
    public var bytes: UInt64 { cdpdk_load((entry + FlowEntry.bytesOffset).assumingMemoryBound(to: UInt64.self)) }
    public var tcpFlags: UInt16 { cdpdk_load16((entry + FlowEntry.tcpFlagsOffset).assumingMemoryBound(to: UInt16.self)) }
    /// How many cycles ago it was last used, of one that was; right for days.
    public func age(now: UInt64) -> UInt64 {
        let used = cdpdk_load32((entry + FlowEntry.usedOffset).assumingMemoryBound(to: UInt32.self))
        let age = UInt32(truncatingIfNeeded: now >> FlowEntry.tickBits) &- used
        // The thread may have counted since `now` was read.
        return Int32(bitPattern: age) < 0 ? 0 : UInt64(age) << FlowEntry.tickBits
    }
}
