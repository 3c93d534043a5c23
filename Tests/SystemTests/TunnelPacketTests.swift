// Tunnels of the userspace datapath on real packets: two daemons, each with a bridge for its host and a bridge for the cable between
// them. Addresses, routes and neighbours are those of the kernel, as an operator sets them.
import Foundation
import Testing

/// Two switches with a host each, joined by a cable.
private struct TunnelLab {
    let left: Lab
    let right: Lab

    init() throws {
        left = try Lab()
        right = try Lab()
        try left.must(
            "ip", ["link", "add", "name", "cable", "netns", left.home, "type", "veth", "peer", "name", "cable", "netns", right.home])
        for (lab, own, host) in [(left, 1, "a"), (right, 2, "b")] {
            try lab.vsctl("add-br", "under", "--", "add-port", "under", "cable")
            // The kernel sees the cable's packets as well, and would answer for the addresses of the bridge.
            try lab.must("ip", ["netns", "exec", lab.home, "sysctl", "-q", "-w", "net.ipv6.conf.cable.disable_ipv6=1"])
            try lab.ip("", "link", "set", "cable", "up", "arp", "off")
            try lab.ip("", "link", "set", "under", "up")
            try lab.ip("", "addr", "add", "172.31.1.\(own)/24", "dev", "under")
            try lab.ip("", "addr", "add", "fd31::\(own)/64", "dev", "under", "nodad")
            try lab.addHost(host, "198.18.0.\(own)/24")
            try lab.ip(host, "link", "set", "eth0", "mtu", "1400")
        }
    }

    /// Joins the two by a tunnel.
    func connect(_ type: String, isIPv6: Bool, options: [String] = []) throws {
        let network = isIPv6 ? "fd31::" : "172.31.1."
        for (lab, other) in [(left, 2), (right, 1)] {
            try lab.must(
                "ovs-vsctl",
                [
                    "--may-exist", "add-port", "br0", "t", "--", "set", "interface", "t", "type=\(type)",
                    "options:remote_ip=\"\(network)\(other)\"",
                ]
                    + options)
        }
    }
}

@Suite(.serialized, .enabled(if: obstacle == nil, "\(obstacle ?? "")"))
struct TunnelPacketTests {
    @Test func hostsReachEachOther() throws {
        let labs = try TunnelLab()
        let kinds = [
            ("vxlan", false), ("vxlan", true), ("geneve", false), ("geneve", true), ("gre", false), ("ip6gre", true), ("erspan", false),
            ("ip6erspan", true),
        ]
        for (type, isIPv6) in kinds {
            let erspan = type.hasSuffix("erspan") ? ["options:erspan_ver=1", "options:erspan_idx=3"] : []
            try labs.connect(type, isIPv6: isIPv6, options: ["options:key=7"] + erspan)
            // The first packets make the switches ask for each other's address.
            try labs.left.wait("the tunnel \(type)") { try labs.left.ping("a", "198.18.0.2", count: 1) == 1 }
            #expect(try labs.left.ping("a", "198.18.0.2", count: 3) == 3, "\(type)")
            for lab in [labs.left, labs.right] {
                let flows = try lab.appctl("dpctl/dump-flows")
                #expect(flows.contains("tnl_push("), "\(type): \(flows)")
                #expect(flows.contains("tnl_pop("), "\(type): \(flows)")
                #expect(try lab.appctl("tnl/neigh/show").contains(isIPv6 ? "fd31::" : "172.31.1."), "\(type)")
                try lab.vsctl("del-port", "t")
                _ = try lab.appctl("tnl/neigh/flush")
            }
            #expect(try labs.left.ping("a", "198.18.0.2", count: 1) == 0, "\(type) is gone")
        }
    }

    /// Two tunnels of one kind and key, which differ in the addresses of both ends alone, each for a bridge of its own.
    @Test func multipleVTEPs() throws {
        let labs = try TunnelLab()
        for (lab, own, other, host) in [(labs.left, 1, 2, "c"), (labs.right, 2, 1, "d")] {
            try lab.ip("", "addr", "add", "172.31.2.\(own)/24", "dev", "under")
            try lab.addHost(host, "198.18.1.\(own)/24")
            try lab.ip(host, "link", "set", "eth0", "mtu", "1400")
            try lab.vsctl("del-port", host, "--", "add-br", "br1", "--", "add-port", "br1", host)
            for (network, bridge) in [(1, "br0"), (2, "br1")] {
                try lab.vsctl(
                    "add-port", bridge, "t\(network)", "--", "set", "interface", "t\(network)", "type=vxlan", "options:key=7",
                    "options:remote_ip=172.31.\(network).\(other)", "options:local_ip=172.31.\(network).\(own)")
            }
        }
        for (host, address) in [("a", "198.18.0.2"), ("c", "198.18.1.2")] {
            try labs.left.wait("the tunnel of \(host)", seconds: 1) { try labs.left.ping(host, address, count: 1) == 1 }
            #expect(try labs.left.ping(host, address, count: 3) == 3)
        }
        let flows = try labs.left.appctl("dpctl/dump-flows")
        for network in 1...2 {
            #expect(flows.contains("ipv4(src=172.31.\(network).1,dst=172.31.\(network).2,proto=17"), "\(flows)")
            #expect(flows.contains("tunnel(tun_id=0x7,src=172.31.\(network).2,dst=172.31.\(network).1,"), "\(flows)")
        }
        // Each is for its bridge alone.
        #expect(try labs.left.appctl("dpctl/show").split(separator: "\n").count { $0.contains("vxlan_sys_4789") } == 1)
        #expect(try labs.left.ping("a", "198.18.1.2", count: 1) == 0)
    }

    @Test func routesOfTheKernelAreFollowed() throws {
        let labs = try TunnelLab()
        let lab = labs.left
        try lab.wait("the bridge's own network") {
            try lab.appctl("ovs/route/show").contains("Cached: 172.31.1.0/24 dev under SRC 172.31.1.1\n")
        }
        #expect(try lab.appctl("ovs/route/show").contains("Cached: 172.31.1.1/32 dev under SRC 172.31.1.1 local\n"))
        try lab.ip("", "route", "add", "172.20.0.0/16", "via", "172.31.1.2")
        try lab.wait("the route") {
            try lab.run("ovs-appctl", ["ovs/route/lookup", "172.20.1.1"]).text == "src 172.31.1.1\ngateway 172.31.1.2\ndev under\n"
        }
        try lab.ip("", "route", "replace", "172.20.0.0/16", "via", "172.31.1.3")
        try lab.wait("its replacement") {
            try lab.run("ovs-appctl", ["ovs/route/lookup", "172.20.1.1"]).text.contains("gateway 172.31.1.3\n")
        }
        // A route that somebody sets in the switch comes first.
        _ = try lab.appctl("ovs/route/add", "172.20.0.0/16", "under", "172.31.1.4")
        #expect(try lab.appctl("ovs/route/lookup", "172.20.1.1").contains("gateway 172.31.1.4\n"))
        _ = try lab.appctl("ovs/route/del", "172.20.0.0/16")
        try lab.ip("", "route", "del", "172.20.0.0/16")
        try lab.wait("its end") { try lab.run("ovs-appctl", ["ovs/route/lookup", "172.20.1.1"]).status != 0 }
        try lab.ip("", "addr", "del", "172.31.1.1/24", "dev", "under")
        try lab.wait("the address's end") { try !lab.appctl("ovs/route/show").contains("172.31.1.") }
    }

    /// More routes change than the kernel keeps news of for a daemon that does not come to reading them: it reads all routes again.
    @Test func lostNewsOfRoutesIsMadeGood() throws {
        let lab = try Lab()
        try lab.ip("", "addr", "add", "172.31.1.1/24", "dev", "br0")
        try lab.ip("", "link", "set", "br0", "up")
        try lab.wait("the bridge's own network") { try lab.appctl("ovs/route/show").contains("Cached: 172.31.1.0/24 dev br0 ") }
        let batch = "\(lab.directory)/routes"
        let count = 60_000
        let lines = (0..<count).map { "route add 20.\($0 >> 8).\($0 & 255).0/24 via 172.31.1.2\n" }
        try lines.joined().write(toFile: batch, atomically: false, encoding: .utf8)
        kill(lab.pid, SIGSTOP)
        defer { kill(lab.pid, SIGCONT) }
        try lab.ip("", "-batch", batch)
        let sockets = try lab.must("ip", ["netns", "exec", lab.home, "cat", "/proc/net/netlink"])
        let drops = sockets.split(separator: "\n").dropFirst().compactMap { row -> Int? in
            let words = row.split(separator: " ")
            return words.count > 8 && words[1] == "0" ? Int(words[8]) : nil
        }
        #expect(drops.contains { $0 > 0 }, "\(sockets)")
        kill(lab.pid, SIGCONT)
        for last in [0, count - 1] {
            try lab.wait("route \(last)", seconds: 60) {
                try lab.run("ovs-appctl", ["ovs/route/lookup", "20.\(last >> 8).\(last & 255).9"]).text.contains("gateway 172.31.1.2\n")
            }
        }
        // What comes after that is heard of as ever.
        try lab.ip("", "route", "del", "20.0.0.0/24")
        try lab.wait("the end of a route") { try lab.run("ovs-appctl", ["ovs/route/lookup", "20.0.0.9"]).status != 0 }
    }

    /// A tunnel whose packets leave by its own bridge asks for the neighbour through itself.
    @Test func tunnelThroughItsOwnBridgeEnds() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.ip("", "addr", "add", "172.31.1.1/24", "dev", "br0")
        try lab.ip("", "link", "set", "br0", "up")
        try lab.vsctl("add-port", "br0", "t", "--", "set", "interface", "t", "type=vxlan", "options:remote_ip=172.31.1.2")
        #expect(try lab.ping("a", "198.18.0.2", count: 1) == 0)
        #expect(try lab.appctl("version").contains("Open vSwitch"))
    }
}
