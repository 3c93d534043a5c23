// The versions of OpenFlow, by their number in the header of every message.

public enum OFVersion: UInt8, CaseIterable, Hashable, Sendable, Comparable {
    case v10 = 1, v11, v12, v13, v14, v15

    public static func < (a: OFVersion, b: OFVersion) -> Bool { a.rawValue < b.rawValue }

    /// The name in Bridge.protocols.
    public var name: String { "OpenFlow1\(rawValue - 1)" }

    public init?(named name: String) {
        guard let v = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = v
    }

    /// The bit of a hello's version bitmap.
    public var bit: UInt32 { 1 << UInt32(rawValue) }
}
