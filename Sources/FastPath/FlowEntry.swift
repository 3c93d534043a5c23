// A flow as the fast path holds it: two cache lines, of which the first decides, and the second counts and says what to do. The mask is
// its subtable's, which many flows share.

import CDPDK

/// One flow in a `FlowStore`. The owner of the fields is the polling thread, but for what `FlowStore` says.
public struct FlowEntry {
    var bytes = HeaderBytes()
    // The second line.
    var inPort: UInt32 = 0
    /// HeaderShape.rawValue.
    var shape: UInt8 = 0
    var isPrefixOnly = false
    var minimumLength: UInt16 = 0
    var kind = Kind.free
    /// Whether packets may be TCP, and their flags are gathered.
    var countsFlags = false
    /// How many steps the program has.
    var stepCount: UInt8 = 0
    /// The port for `.output`, as an index of the thread's transmit queues; for `.recirculate` the number of a `Recirculation`.
    var output: UInt32 = 0
    /// The compiled program. Heap memory that the flow owns.
    var steps: UnsafeMutablePointer<FlowStep>?
    /// Counters that the main thread reads, by `FlowCounter`.
    var counters: InlineArray<4, UInt64> = [0, 0, 0, 0]
    /// The next flow of the same subtable and hash; 0 ends the chain, since index 0 is no flow.
    var next: UInt32 = 0
    /// Whose mask it has.
    var subtable: UInt32 = 0

    public enum Kind: UInt8 {
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

    public init() {}

    /// A flow that covers what `match` covers on one port, once it has the mask's subtable.
    public init(_ match: HeaderMatch, inPort: UInt32) {
        bytes = match.bytes
        self.inPort = inPort
        shape = match.shape.rawValue
        isPrefixOnly = match.isPrefixOnly
        minimumLength = UInt16(match.minimumLength)
        countsFlags = match.shape.isIP
    }

    public static let size = MemoryLayout<FlowEntry>.stride
}

/// What is counted of a flow: numbers that its thread alone writes, with atomic stores, and others read.
enum FlowCounter {
    static let packets = 0
    static let bytes = 1
    /// When the last packet came, in cycles.
    static let used = 2
    static let tcpFlags = 3
}
