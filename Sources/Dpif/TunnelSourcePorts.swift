// Where the UDP source ports of tunnels' packets come from (tnl/egress_port_range).

import Synchronization

/// The range of UDP source ports that tunnels of userspace datapaths choose from, one for the whole process. From any thread.
public enum TunnelSourcePorts {
    /// The ends, the lower in the upper half.
    private static let ends = Atomic<UInt32>(32768 << 16 | 61000)

    public static var range: ClosedRange<UInt16> {
        get {
            let both = ends.load(ordering: .relaxed)
            return UInt16(both >> 16)...UInt16(both & 0xffff)
        }
        set { ends.store(UInt32(newValue.lowerBound) << 16 | UInt32(newValue.upperBound), ordering: .relaxed) }
    }

    /// The port for the packets of a connection, by the hash of its headers: the range's end is not among them unless it is all there is.
    public static func port(for hash: UInt32) -> UInt16 {
        let range = range
        return range.lowerBound + UInt16((UInt64(hash) * UInt64(range.upperBound - range.lowerBound)) >> 32)
    }
}
