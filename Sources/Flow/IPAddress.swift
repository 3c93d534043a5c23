// Addresses of either version of IP, as routes and tunnels have them.

/// An IP address; IPv4 ones compare and print as such.
public struct IPAddress: Hashable, Sendable {
    public var value: UInt128
    public var isIPv6: Bool
    /// An IPv4 address.
    public init(_ v4: UInt32) {
        value = UInt128(v4)
        isIPv6 = false
    }
    public init(ipv6 value: UInt128) {
        self.value = value
        isIPv6 = true
    }
    /// Either kind, as text; nil: it is neither.
    public init?(text: some StringProtocol) {
        if let v4 = AddressText.parseIPv4(text) {
            self.init(v4)
        } else if let v6 = AddressText.parseIPv6(text) {
            self.init(ipv6: v6)
        } else {
            return nil
        }
    }
    public var text: String { isIPv6 ? AddressText.ipv6(value) : AddressText.ipv4(UInt32(truncatingIfNeeded: value)) }
    /// Bits of an address.
    public var width: Int { isIPv6 ? 128 : 32 }

    /// Whether the first `length` bits are the network's.
    public func isWithin(_ network: IPAddress, _ length: Int) -> Bool {
        isIPv6 == network.isIPv6 && (length == 0 || (value ^ network.value) >> UInt128(width - length) == 0)
    }
    /// The address of the network of that many bits.
    public func masked(_ length: Int) -> IPAddress {
        var a = self
        a.value = length == 0 ? 0 : (value >> UInt128(width - length)) << UInt128(width - length)
        return a
    }
}
