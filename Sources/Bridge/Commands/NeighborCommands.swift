// ovs/route/* and tnl/*: routes, neighbours and ports of tunnels that the userspace datapath encapsulates.

import Dpif
import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    func registerNeighbors() {
        registerRoutes()
        // The older names say "arp".
        for word in ["arp", "neigh"] {
            server.register("tnl/\(word)/show", "", 0, 0) { [unowned self] _ in
                var out = "IP                                            MAC                 Bridge\n"
                out += String(repeating: "=", count: 74) + "\n"
                for line in fabric.routing.neighborLines(now: fabric.time.now) { out += line + "\n" }
                return .ok(out)
            }
            server.register("tnl/\(word)/set", "BRIDGE IP MAC", 3, 3) { [unowned self] args in
                guard let ip = IPAddress(text: args[1]) else { return .error("bad IP address") }
                guard let mac = AddressText.parseMAC(args[2]) else { return .error("bad MAC address") }
                if fabric.routing.setNeighbor(ip, mac, on: args[0], now: fabric.time.now) { fabric.routingChanged() }
                return .ok("OK")
            }
            server.register("tnl/\(word)/flush", "", 0, 0) { [unowned self] _ in
                fabric.routing.flushNeighbors()
                fabric.routingChanged()
                return .ok("OK")
            }
            server.register("tnl/\(word)/aging", "[SECS]", 0, 1) { [unowned self] args in
                guard let text = args.first else { return .ok("\(neighborAging)") }
                let seconds = Self.number(text)
                guard (1...3600).contains(seconds) else { return .error("bad aging value") }
                neighborAging = seconds
                fabric.routing.aging = Int64(seconds) * 1000
                return .ok("OK")
            }
        }
        server.register("tnl/egress_port_range", "min max", 0, 2) { args in
            guard args.count == 2 else {
                let range = TunnelSourcePorts.range
                return .ok("Tunnel UDP source port range: \(range.lowerBound)-\(range.upperBound)\n")
            }
            guard let low = UInt16(exactly: Self.number(args[0])), low > 0 else { return .ok("Invalid min.") }
            guard let high = UInt16(exactly: Self.number(args[1])), high > 0 else { return .ok("Invalid max.") }
            TunnelSourcePorts.range = min(low, high)...max(low, high)
            return .ok("OK")
        }
        server.register("tnl/ports/show", "-v", 0, 1) { [unowned self] args in
            .ok("Listening ports:\n" + orderedBackers.map { $0.tunnelPortsText(verbose: args.first == "-v") }.joined())
        }
    }

    /// `ofproto/list-tunnels`.
    var tunnelList: String { orderedBackers.map(\.tunnelList).joined() }

    private var orderedBackers: [DatapathBacker] { fabric.backers.keys.sorted().compactMap { fabric.backers[$0] } }

    private func registerRoutes() {
        server.register("ovs/route/show", "", 0, 0) { [unowned self] _ in
            .ok("Route Table:\n" + fabric.routing.routes.map { $0.text + "\n" }.joined())
        }
        server.register("ovs/route/lookup", "ip_addr [pkt_mark=mark]", 1, 2) { [unowned self] args in
            guard let ip = IPAddress(text: args[0]) else { return .error("Invalid parameters") }
            var mark: UInt32 = 0
            if args.count == 2 {
                guard let n = Self.mark(args[1]) else { return .error("Invalid pkt_mark") }
                mark = n
            }
            guard let route = fabric.routing.lookup(ip, mark: mark) else {
                return .error("Not found")
            }
            return .ok("src \(route.source.text)\ngateway \(route.gateway?.text ?? "::")\ndev \(route.device)\n")
        }
        server.register("ovs/route/add", "ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]", 2, 4) { [unowned self] args in
            guard let (network, length) = Self.network(args[0]) else { return .error("Invalid parameters") }
            var mark: UInt32 = 0
            var gateway: IPAddress?
            for word in args.dropFirst(2) {
                if let n = Self.mark(word) {
                    mark = n
                } else if gateway == nil, let ip = IPAddress(text: word), ip.isIPv6 == network.isIPv6 {
                    gateway = ip
                } else {
                    return .error("Invalid pkt_mark or gateway")
                }
            }
            guard let target = findSwitch(args[1]), let local = target.port(.local)?.device as? any AddressedDevice,
                let source = Self.source(local.addresses, for: gateway ?? network)
            else { return .error("Error while inserting route.") }
            fabric.routing.add(
                HostRoute(
                    network: network.masked(length), length: length, mark: mark, device: args[1], gateway: gateway, source: source,
                    origin: .user))
            fabric.routingChanged()
            return .ok("OK")
        }
        server.register("ovs/route/del", "ip_addr/prefix_len [pkt_mark=mark]", 1, 2) { [unowned self] args in
            guard let (network, length) = Self.network(args[0]) else { return .error("Invalid parameters") }
            var mark: UInt32 = 0
            if args.count == 2 {
                guard let n = Self.mark(args[1]) else { return .error("Invalid pkt_mark") }
                mark = n
            }
            guard fabric.routing.remove(network, length, mark: mark) else { return .error("Not found") }
            fabric.routingChanged()
            return .ok("OK")
        }
    }

    private static func mark(_ word: String) -> UInt32? {
        word.hasPrefix("pkt_mark=") ? UInt32(word.dropFirst(9)) : nil
    }

    private static func network(_ word: String) -> (IPAddress, Int)? {
        let parts = word.split(separator: "/", omittingEmptySubsequences: false)
        guard let ip = IPAddress(text: parts[0]) else { return nil }
        let width = ip.isIPv6 ? 128 : 32
        guard parts.count == 2 else { return parts.count == 1 ? (ip, width) : nil }
        guard let length = Int(parts[1]), (0...width).contains(length) else { return nil }
        return (ip, length)
    }

    /// The bridge's own address in the network of `ip`.
    private static func source(_ addresses: [InterfaceAddress], for ip: IPAddress) -> IPAddress? {
        addresses.lazy.map { (IPAddress($0), $0.prefix) }.first { ip.isWithin($0.0, $0.1) }?.0
    }
}
