// Routes by which the host sends packets, as tunnels and in-band control ask for them: those that somebody set
// (`ovs/route/add`) and those of the kernel.

import Flow

/// One route.
public struct HostRoute: Hashable, Sendable {
    /// Who made it.
    public enum Origin: Hashable, Sendable {
        case user, kernel
        /// The kernel's, to an address of the host's own.
        case local
    }
    public var network: IPAddress
    /// Bits of the network's prefix.
    public var length: Int
    public var mark: UInt32
    /// The interface that packets leave by; for tunnels that is the local port of a bridge.
    public var device: String
    public var gateway: IPAddress?
    /// The address that packets are sent from.
    public var source: IPAddress
    public var origin: Origin

    public init(
        network: IPAddress, length: Int, mark: UInt32, device: String, gateway: IPAddress?, source: IPAddress, origin: Origin
    ) {
        self.network = network
        self.length = length
        self.mark = mark
        self.device = device
        self.gateway = gateway
        self.source = source
        self.origin = origin
    }

    /// The route with the highest one wins: a longer prefix, and a route of the user's before others that are up to 32 bits longer.
    public var priority: Int {
        switch origin {
        case .user: length + 32
        case .kernel: length
        case .local: length + 64
        }
    }

    /// Whether packets for a destination, with a mark, may go by it.
    public func leads(to destination: IPAddress, mark: UInt32) -> Bool {
        (self.mark == mark || self.mark == 0) && destination.isWithin(network, length)
    }

    /// As `ovs/route/show` prints it.
    public var text: String {
        var out = origin == .user ? "User: " : "Cached: "
        out += "\(network.text)/\(length)"
        if mark != 0 { out += " MARK \(mark)" }
        out += " dev \(device)"
        if let gateway { out += " GW \(gateway.text)" }
        out += " SRC \(source.text)"
        return origin == .local ? out + " local" : out
    }
}

/// What a host knows of the way to others. Confined to the main thread.
public protocol HostRoutes: AnyObject {
    /// The best route to a destination.
    func lookup(_ destination: IPAddress, mark: UInt32) -> HostRoute?
    /// All routes, the first to be taken first.
    var routes: [HostRoute] { get }
    /// Interfaces that routes lead through.
    var devices: Set<String> { get }
    /// The Ethernet address of a neighbour on an interface, where the host knows it.
    func neighbor(_ address: IPAddress, on device: String) -> UInt64?
}
