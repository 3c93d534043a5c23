// Which connections to forget: the fields that somebody named, of either direction.

import Packet

/// One direction of a connection, or some of its fields.
public struct ConntrackPattern: Hashable, Sendable {
    /// ICMP's fields, of which zero is a value like any other.
    public struct Named: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let icmpType = Named(rawValue: 1)
        public static let icmpCode = Named(rawValue: 2)
        public static let icmpID = Named(rawValue: 4)
        public static let all: Named = [.icmpType, .icmpCode, .icmpID]
    }

    /// Zero: not asked for, but for what `named` has.
    public var tuple = ConntrackEntry.Tuple()
    public var named: Named = []

    public init() {}

    /// Names one connection.
    public var isComplete: Bool {
        guard tuple.source != 0, tuple.destination != 0, tuple.proto != 0 else { return false }
        if tuple.proto == IPProtocol.icmp || tuple.proto == IPProtocol.icmpv6 { return named == .all }
        return tuple.sourcePort != 0 && tuple.destinationPort != 0
    }

    /// Asks for nothing.
    public var isEmpty: Bool { self == ConntrackPattern() }

    public func matches(_ t: ConntrackEntry.Tuple) -> Bool {
        if tuple.source != 0 || tuple.destination != 0, t.isIPv6 != tuple.isIPv6 { return false }
        return (tuple.source == 0 || tuple.source == t.source)
            && (tuple.destination == 0 || tuple.destination == t.destination)
            && (tuple.proto == 0 || tuple.proto == t.proto) && (tuple.sourcePort == 0 || tuple.sourcePort == t.sourcePort)
            && (tuple.destinationPort == 0 || tuple.destinationPort == t.destinationPort)
            && (!named.contains(.icmpType) || tuple.icmpType == t.icmpType)
            && (!named.contains(.icmpCode) || tuple.icmpCode == t.icmpCode)
            && (!named.contains(.icmpID) || tuple.icmpID == t.icmpID)
    }
}

extension DpifConntrack {
    /// Forgets the connections that match. One that is named whole must be there: throws ENOENT.
    /// - Parameter zone: nil is every zone, or zone 0 where one connection is named.
    public func flush(original: ConntrackPattern, reply: ConntrackPattern?, zone: UInt16?) throws(DpifError) {
        guard reply != nil || !original.isComplete else {
            try flush(original.tuple, zone: zone)
            return
        }
        for entry in connections(zone: zone) where original.matches(entry.original) && reply?.matches(entry.reply) ?? true {
            try? flush(entry.original, zone: entry.zone)
        }
    }
}
