// Where the outer packets of tunnels go: routes by longest prefix (`ovs/route/*`), and the neighbours that were heard of on
// bridges (`tnl/neigh/*`, RFC 826, RFC 4861).

import Dpif
import Flow

/// An IP address; IPv4 ones compare and print as such.
public struct IPAddress: Hashable, Sendable {
    public var value: UInt128
    public var isIPv6: Bool
    public init(_ v4: UInt32) {
        value = UInt128(v4)
        isIPv6 = false
    }
    public init(ipv6 value: UInt128) {
        self.value = value
        isIPv6 = true
    }
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
    var width: Int { isIPv6 ? 128 : 32 }

    public func isWithin(_ network: IPAddress, _ length: Int) -> Bool {
        isIPv6 == network.isIPv6 && (length == 0 || (value ^ network.value) >> UInt128(width - length) == 0)
    }
    public func masked(_ length: Int) -> IPAddress {
        var a = self
        a.value = length == 0 ? 0 : (value >> UInt128(width - length)) << UInt128(width - length)
        return a
    }
}

/// A route that somebody set.
public struct TunnelRoute: Hashable, Sendable {
    public var network: IPAddress
    public var length: Int
    public var mark: UInt32
    /// The bridge whose local port the packets leave by.
    public var bridge: String
    public var gateway: IPAddress?
    public var source: IPAddress

    public init(network: IPAddress, length: Int, mark: UInt32, bridge: String, gateway: IPAddress?, source: IPAddress) {
        self.network = network
        self.length = length
        self.mark = mark
        self.bridge = bridge
        self.gateway = gateway
        self.source = source
    }

    public var text: String {
        var out = "User: \(network.text)/\(length)"
        if mark != 0 { out += " MARK \(mark)" }
        out += " dev \(bridge)"
        if let gateway { out += " GW \(gateway.text)" }
        return out + " SRC \(source.text)"
    }
}

/// Routes and neighbours of a datapath's tunnels. Confined to the main thread.
public final class TunnelRouting {
    struct Neighbor {
        var address: UInt64
        /// Milliseconds; when it was last confirmed.
        var heard: Int64
    }
    struct NeighborKey: Hashable {
        var bridge: String
        var ip: IPAddress
    }
    public private(set) var routes: [TunnelRoute] = []
    private var neighbors: [NeighborKey: Neighbor] = [:]
    /// How long a neighbour is believed, in milliseconds.
    public var aging: Int64 = 15 * 60 * 1000
    static let maxNeighbors = 16384

    public func add(_ route: TunnelRoute) {
        routes.removeAll { $0.network == route.network && $0.length == route.length && $0.mark == route.mark }
        routes.append(route)
    }

    /// - Returns: false when there is no such route.
    public func remove(_ network: IPAddress, _ length: Int, mark: UInt32) -> Bool {
        let count = routes.count
        let masked = network.masked(length)
        routes.removeAll { $0.network == masked && $0.length == length && $0.mark == mark }
        return routes.count < count
    }

    public func lookup(_ destination: IPAddress, mark: UInt32 = 0) -> TunnelRoute? {
        routes.filter { ($0.mark == mark || $0.mark == 0) && destination.isWithin($0.network, $0.length) }
            .max { ($0.length, $0.mark) < ($1.length, $1.mark) }
    }

    func neighbor(_ ip: IPAddress, on bridge: String, now: Int64) -> UInt64? {
        guard let found = neighbors[NeighborKey(bridge: bridge, ip: ip)], now - found.heard < aging else { return nil }
        return found.address
    }

    /// - Returns: true when that is news.
    public func setNeighbor(_ ip: IPAddress, _ address: UInt64, on bridge: String, now: Int64) -> Bool {
        let key = NeighborKey(bridge: bridge, ip: ip)
        let old = neighbors[key]
        guard old != nil || neighbors.count < Self.maxNeighbors else { return false }
        neighbors[key] = Neighbor(address: address, heard: now)
        return old?.address != address || now - (old?.heard ?? now) >= aging
    }

    /// Takes over a neighbour's address where the neighbour is known.
    func refreshNeighbor(_ ip: IPAddress, _ address: UInt64, on bridge: String, now: Int64) {
        let key = NeighborKey(bridge: bridge, ip: ip)
        if neighbors[key] != nil { neighbors[key] = Neighbor(address: address, heard: now) }
    }

    public func flushNeighbors(on bridge: String? = nil) {
        neighbors = bridge == nil ? [:] : neighbors.filter { $0.key.bridge != bridge }
    }

    /// Lines of `tnl/neigh/show`.
    public func neighborLines(now: Int64) -> [String] {
        neighbors.sorted { ($0.key.bridge, $0.key.ip.text) < ($1.key.bridge, $1.key.ip.text) }.map { key, neighbor in
            func pad(_ s: String, _ n: Int) -> String { s + String(repeating: " ", count: max(0, n - s.count)) }
            let stale = now - neighbor.heard >= aging ? " STALE" : ""
            return pad(key.ip.text, 46) + pad(AddressText.mac(neighbor.address), 20) + key.bridge + stale
        }
    }
}
