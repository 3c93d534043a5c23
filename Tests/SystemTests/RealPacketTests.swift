// The userspace datapath on real packets: namespaces joined by the built daemon.
import Glibc
import Testing

@Suite(.serialized, .enabled(if: obstacle == nil, "\(obstacle ?? "")"))
struct RealPacketTests {
    @Test func pingsAndShowsMegaflows() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2", count: 5) == 5)
        let flows = try lab.appctl("dpctl/dump-flows").split(separator: "\n").filter { $0.contains("eth_type(0x0800)") }
        #expect(flows.contains { $0.contains("in_port(2)") && $0.contains("actions:3") })
        #expect(flows.contains { $0.contains("in_port(3)") && $0.contains("actions:2") })
        #expect(flows.allSatisfy { !$0.contains("ipv4(src=") }, "NORMAL looks at no address of IP")
        #expect(flows.allSatisfy { !$0.contains("packets:0,") && !$0.contains("used:never") })
        try lab.wait("statistics of the rule") {
            try lab.ofctl("dump-flows", "br0").split(separator: "\n").contains { line in
                guard let at = line.range(of: "n_packets=") else { return false }
                return (Int(line[at.upperBound...].prefix(while: \.isNumber)) ?? 0) >= 10
            }
        }
        #expect(try lab.appctl("fdb/show", "br0").split(separator: "\n").count >= 3)
        #expect(try lab.appctl("dpif/show").contains("a 1/2: (system)"))
    }

    @Test func separatesVLANs() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24", port: ["tag=10"])
        try lab.addHost("b", "198.18.0.2/24", port: ["tag=10"])
        try lab.addHost("c", "198.18.0.3/24", port: ["tag=20"])
        try lab.addHost("t", "198.18.0.9/24", port: ["trunks=10,20"])
        #expect(try lab.resolveTagged("t", "198.18.0.1", vlan: 10) == 10, "a trunk and an access port of its VLAN")
        #expect(try lab.resolveTagged("t", "198.18.0.3", vlan: 20) == 20)
        #expect(try lab.resolveTagged("t", "198.18.0.3", vlan: 10) == nil, "a port of another VLAN")
        #expect(try lab.resolveTagged("t", "198.18.0.1", vlan: 30) == nil, "a VLAN that the trunk lacks")
        #expect(try lab.ping("a", "198.18.0.2") == 3, "access ports of one VLAN")
        #expect(try lab.ping("a", "198.18.0.3", count: 1) == 0, "access ports of two VLANs")
        try lab.vsctl("set", "port", "c", "tag=10")
        #expect(try lab.ping("a", "198.18.0.3") == 3, "after the port moved to the VLAN")
    }

    @Test func internalPortsReachTheHost() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.vsctl("add-port", "br0", "i1", "--", "set", "interface", "i1", "type=internal")
        for (device, address) in [("br0", "198.18.0.254/24"), ("i1", "198.18.1.254/24")] {
            try lab.ip("", "link", "set", device, "up")
            try lab.ip("", "addr", "add", address, "dev", device)
        }
        try lab.ip("a", "addr", "add", "198.18.1.1/24", "dev", "eth0")
        #expect(try lab.ping("", "198.18.0.1") == 3)
        #expect(try lab.ping("", "198.18.1.1") == 3)
        #expect(try lab.ping("a", "198.18.1.254") == 3)
        try lab.vsctl("del-port", "i1")
        #expect(
            try lab.run("ip", ["-n", lab.home, "link", "show", "dev", "i1"]).status != 0,
            "an internal port goes with its row")
        try lab.vsctl("del-br", "br0")
        #expect(try lab.run("ip", ["-n", lab.home, "link", "show", "dev", "br0"]).status != 0)
        #expect(
            try lab.run("ip", ["-n", lab.home, "link", "show", "dev", "a"]).status == 0,
            "an interface of the system stays")
    }

    @Test func obeysNewRulesAtOnce() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2") == 3)
        _ = try lab.ofctl("add-flow", "br0", "priority=9,icmp,in_port=1,actions=drop")
        try lab.wait("the drop to take hold", seconds: 3) { try lab.ping("a", "198.18.0.2", count: 1) == 0 }
        _ = try lab.ofctl("--strict", "del-flows", "br0", "priority=9,icmp,in_port=1")
        try lab.wait("pings to pass again", seconds: 3) { try lab.ping("a", "198.18.0.2", count: 1) == 1 }
        try lab.vsctl("del-port", "b")
        #expect(try lab.ping("a", "198.18.0.2", count: 1) == 0)
    }

    /// The controller is behind a router that is behind the bridge, whose flows drop everything.
    @Test func controllersAreReachedThroughTheBridge() throws {
        let lab = try Lab()
        try lab.addHost("r", "198.18.0.254/24")
        try lab.ip("r", "addr", "add", "198.18.9.9/32", "dev", "lo")
        try lab.ip("", "link", "set", "br0", "up")
        try lab.ip("", "addr", "add", "198.18.0.1/24", "dev", "br0")
        try lab.ip("", "route", "add", "198.18.9.0/24", "via", "198.18.0.254")
        try lab.vsctl("set-fail-mode", "br0", "secure")
        _ = try lab.ofctl("add-flow", "br0", "priority=65535,actions=drop")
        let listen = "import socket; s = socket.create_server(('198.18.9.9', 6653)); c = s.accept()[0]; c.recv(8); c.recv(1)"
        try lab.keepRunning("ip", ["netns", "exec", lab.namespace("r"), "python3", "-c", listen])
        try lab.vsctl("set-controller", "br0", "tcp:198.18.9.9:6653")
        let mac = try lab.must("ip", ["netns", "exec", lab.namespace("r"), "cat", "/sys/class/net/eth0/address"]).filter { $0 != "\n" }
        try lab.wait("the flows of the next hop") {
            let flows = try lab.appctl("bridge/dump-flows", "br0")
            return flows.contains("priority=180003,arp,dl_dst=\(mac),arp_op=2,actions=NORMAL")
                && flows.contains("priority=180004,arp,dl_src=\(mac),arp_op=1,actions=NORMAL")
        }
        try lab.wait("packets of the connection") {
            try lab.appctl("bridge/dump-flows", "br0").split(separator: "\n").contains {
                $0.contains("priority=180008,tcp,nw_src=198.18.9.9,tp_src=6653") && !$0.contains("n_packets=0,")
            }
        }
        #expect(try lab.ping("r", "198.18.0.1", count: 1) == 0, "what is not control is dropped")
    }

    @Test func noticesChangesOfInterfaces() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        func state(_ column: String) throws -> String {
            try lab.must("ovs-vsctl", ["get", "interface", "a", column]).trimmingPrefix { $0 == "\"" }
                .prefix { $0 != "\n" && $0 != "\"" }.description
        }
        try lab.wait("the link to be up") { try state("link_state") == "up" }
        try lab.ip("a", "link", "set", "dev", "eth0", "down")
        try lab.wait("the link to go down") { try state("link_state") == "down" }
        try lab.ip("a", "link", "set", "dev", "eth0", "up")
        try lab.wait("the link to come up") { try state("link_state") == "up" }
        try lab.ip("", "link", "set", "dev", "a", "address", "02:00:00:00:00:77")
        try lab.wait("the new address") { try state("mac_in_use") == "02:00:00:00:00:77" }
        try lab.ip("", "link", "set", "dev", "a", "down")
        try lab.wait("the interface to be down") { try state("admin_state") == "down" }
    }

    @Test func patchPortsJoinBridges() throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        try lab.vsctl("del-port", "b", "--", "add-br", "br1", "--", "add-port", "br1", "b")
        #expect(try lab.ping("a", "198.18.0.2", count: 1) == 0)
        try lab.vsctl(
            "add-port", "br0", "p0", "--", "set", "interface", "p0", "type=patch", "options:peer=p1",
            "--", "add-port", "br1", "p1", "--", "set", "interface", "p1", "type=patch", "options:peer=p0")
        #expect(try lab.ping("a", "198.18.0.2") == 3)
    }

    /// A stream over TCP: checksums that the sender's kernel left to the network card, packets of full size, and with
    /// segmentation offload larger ones.
    @Test(arguments: [false, true])
    func carriesTCP(offload: Bool) throws {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        if !offload {
            for host in ["a", "b"] { try lab.ip(host, "link", "set", "eth0", "gso_max_segs", "1") }
        }
        try lab.keepRunning(
            "ip",
            ["netns", "exec", lab.namespace("b"), "python3", "-m", "http.server", "8080", "--directory", lab.directory])
        try lab.must("sh", ["-c", "head -c 2000000 /dev/urandom > \(lab.directory)/data"])
        let fetch = """
            import sys, time, urllib.request
            for attempt in range(50):
                try:
                    data = urllib.request.urlopen("http://198.18.0.2:8080/data", timeout=15).read()
                    break
                except OSError: time.sleep(0.1)
            print(data == open(sys.argv[1], "rb").read())
            """
        let answer = try lab.run(
            "ip", ["netns", "exec", lab.namespace("a"), "python3", "-c", fetch, "\(lab.directory)/data"])
        #expect(answer.text == "True\n")
    }

    @Test(.enabled(if: access("/sys/module/openvswitch", F_OK) != 0, "the kernel has the module"))
    func aMissingModuleIsTold() throws {
        let lab = try Lab()
        let reply = try lab.run("ovs-vsctl", ["add-br", "br9", "--", "set", "bridge", "br9", "datapath_type=system"])
        #expect(reply.text.contains("Error detected while setting up 'br9': could not create bridge br9:"))
        #expect(try lab.must("ovs-vsctl", ["get", "interface", "br9", "error"]).contains("modprobe openvswitch"))
        #expect(lab.log.contains("could not open datapath ovs-system: the kernel's openvswitch module is not loaded (modprobe openvswitch"))
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2") == 3)
    }

    @Test func missingProviderStopsOnlyItsBridge() throws {
        let lab = try Lab()
        let reply = try lab.run("ovs-vsctl", ["add-br", "br9", "--", "set", "bridge", "br9", "datapath_type=nonsense"])
        #expect(reply.text.contains("Error detected while setting up 'br9'"))
        #expect(lab.log.contains("could not create datapath br9 of unknown type nonsense"))
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        #expect(try lab.ping("a", "198.18.0.2") == 3)
    }
}
