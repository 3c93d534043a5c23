// ovs/route/* and tnl/*: routes, neighbours and ports of tunnels that the userspace datapath encapsulates.

import Flow
import Unixctl

extension ControlCommands {
    func registerNeighbors() {
        server.register("ovs/route/show", "", 0, 0) { _ in .ok("Route Table:\n") }
        server.register("ovs/route/lookup", "ip_addr [pkt_mark=mark]", 1, 2) { args in
            AddressText.parseIPv4(args[0]) == nil && AddressText.parseIPv6(args[0]) == nil
                ? .error("Invalid parameters") : .error("Not found")
        }
        server.register("ovs/route/add", "ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]", 2, 4) { _ in
            .error("Invalid parameters")
        }
        server.register("ovs/route/del", "ip_addr/prefix_len [pkt_mark=mark]", 1, 2) { args in
            let address = args[0].split(separator: "/")[0]
            return AddressText.parseIPv4(address) == nil && AddressText.parseIPv6(address) == nil
                ? .error("Invalid parameters") : .error("Not found")
        }
        // The older names say "arp".
        for word in ["arp", "neigh"] {
            server.register("tnl/\(word)/show", "", 0, 0) { _ in
                .ok(
                    """
                    IP                                            MAC                 Bridge
                    ==========================================================================

                    """)
            }
            server.register("tnl/\(word)/set", "BRIDGE IP MAC", 3, 3) { args in
                AddressText.parseIPv4(args[1]) == nil && AddressText.parseIPv6(args[1]) == nil
                    ? .error("bad IP address") : .ok("OK")
            }
            server.register("tnl/\(word)/flush", "", 0, 0) { _ in .ok("OK") }
            server.register("tnl/\(word)/aging", "[SECS]", 0, 1) { [unowned self] args in
                guard let text = args.first else { return .ok("\(neighborAging)") }
                guard let seconds = Int(text), (1...3600).contains(seconds) else { return .error("bad aging value") }
                neighborAging = seconds
                return .ok("OK")
            }
        }
        server.register("tnl/egress_port_range", "min max", 0, 2) { _ in .ok("OK") }
        server.register("tnl/ports/show", "-v", 0, 1) { _ in .ok("Listening ports:\n") }
    }
}
