// Statistics of IPFIX exporters on the wire (NXST_IPFIX_BRIDGE, NXST_IPFIX_FLOW).

/// What an exporter did.
public struct IPFIXStatistics: Hashable, Sendable {
    public var totalFlows: UInt64 = 0
    public var currentFlows: UInt64 = 0
    public var packets: UInt64 = 0
    public var ipv4Packets: UInt64 = 0
    public var ipv6Packets: UInt64 = 0
    public var errors: UInt64 = 0
    public var ipv4Errors: UInt64 = 0
    public var ipv6Errors: UInt64 = 0
    public var sent: UInt64 = 0
    public var sendErrors: UInt64 = 0
    /// 0 for a bridge's own.
    public var collectorSet: UInt32 = 0
    public init() {}

    public func encode(to w: inout WireWriter) {
        for n in [totalFlows, currentFlows, packets, ipv4Packets, ipv6Packets, errors, ipv4Errors, ipv6Errors, sent, sendErrors] {
            w.u64(n)
        }
        w.u32(collectorSet)
        w.zeros(4)
    }
}
