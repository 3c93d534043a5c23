// Where the outer packets of tunnels go: routes by longest prefix (`ovs/route/*`), and the neighbours that were heard of on
// bridges (`tnl/neigh/*`, RFC 826, RFC 4861).

import Dpif
import Flow

/// Routes and neighbours of tunnels. Confined to the main thread.
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
    /// Routes that somebody set.
    private var userRoutes: [HostRoute] = []
    /// The host's own.
    private let host: (any HostRoutes)?
    private var neighbors: [NeighborKey: Neighbor] = [:]
    /// When flows that wait for a neighbour last asked for it.
    private var asked: [NeighborKey: Int64] = [:]
    private static let askingInterval: Int64 = 1000
    /// How long a neighbour is believed, in milliseconds.
    public var aging: Int64 = 15 * 60 * 1000
    static let maxNeighbors = 16384

    /// - Parameter host: what the host's kernel knows; nil: routes are only those that somebody sets.
    public init(host: (any HostRoutes)? = nil) { self.host = host }

    /// Sets a route; it takes the place of one to the same network with the same mark.
    public func add(_ route: HostRoute) {
        userRoutes.removeAll { $0.network == route.network && $0.length == route.length && $0.mark == route.mark }
        userRoutes.append(route)
    }

    /// - Returns: false when nobody set such a route.
    public func remove(_ network: IPAddress, _ length: Int, mark: UInt32) -> Bool {
        let count = userRoutes.count
        let masked = network.masked(length)
        userRoutes.removeAll { $0.network == masked && $0.length == length && $0.mark == mark }
        return userRoutes.count < count
    }

    /// The best route to a destination.
    public func lookup(_ destination: IPAddress, mark: UInt32 = 0) -> HostRoute? {
        let set = userRoutes.filter { $0.leads(to: destination, mark: mark) }.max {
            ($0.priority, $0.mark) < ($1.priority, $1.mark)
        }
        guard let own = host?.lookup(destination, mark: mark), own.priority > set?.priority ?? -1 else { return set }
        return own
    }

    /// All routes, as `ovs/route/show` prints them.
    public var routes: [HostRoute] { (host?.routes ?? []) + userRoutes }

    /// Interfaces that routes lead through.
    var devices: Set<String> { (host?.devices ?? []).union(userRoutes.map(\.device)) }

    /// The Ethernet address of the next hop on the host's way to a destination, where the host knows it.
    public func hostNeighbor(toward destination: IPAddress) -> UInt64? {
        guard let host, let route = host.lookup(destination, mark: 0) else { return nil }
        return host.neighbor(route.gateway ?? destination, on: route.device)
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

    /// Whether it is time to ask for a neighbour that is waited for; if so, that is noted.
    func mayAsk(for ip: IPAddress, on bridge: String, now: Int64) -> Bool {
        let key = NeighborKey(bridge: bridge, ip: ip)
        if let last = asked[key], now - last < Self.askingInterval { return false }
        if asked.count >= Self.maxNeighbors { asked = [:] }
        asked[key] = now
        return true
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
