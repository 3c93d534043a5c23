// DPDK devices under the daemon: packets from a capture, rewritten on a polling thread, into a capture. Ordinary memory serves for that.

import Foundation
import Testing

/// One at a time: each polls on processors of its own.
@Suite(.serialized) struct DPDKTests {
    private static let canMakePorts = access("/dev/net/tun", R_OK | W_OK) == 0

    /// A daemon with DPDK in ordinary memory, and one polling thread.
    private static func daemon(_ settings: String...) throws -> DaemonUnderTest {
        let daemon = try DaemonUnderTest(ownDatabase: false)
        _ = try daemon.run(
            "ovs-vsctl",
            [
                "--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", "other_config:pmd-cpu-mask=0x1",
                "other_config:dpdk-extra=--no-huge --no-pci --no-telemetry -m 512",
            ] + settings)
        try daemon.startDaemon()
        try daemon.wait("DPDK") { (try? daemon.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized")) == "true" }
        return daemon
    }

    private static func packet(_ flow: UInt8) -> [UInt8] {
        var b: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]
        b += [10, 0, 0, flow, 10, 0, 1, 1] + [4, 0, 0, 53, 0, 26, 0, 0] + [UInt8](repeating: flow, count: 18)
        var sum = stride(from: 14, to: 34, by: 2).reduce(UInt32(0)) { $0 + UInt32(b[$1]) << 8 + UInt32(b[$1 + 1]) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        b[24] = ~UInt8(sum >> 8)
        b[25] = ~UInt8(sum & 255)
        return b
    }

    /// What the flow of the test makes of a packet: a tag, and a smaller time to live.
    private static func expected(_ flow: UInt8) -> [UInt8] {
        var b = packet(flow)
        b[22] = 63
        let sum = (UInt32(b[24]) << 8 | UInt32(b[25])) + 0x100
        let folded = sum > 0xffff ? sum - 0xffff : sum
        b[24] = UInt8(folded >> 8 & 255)
        b[25] = UInt8(folded & 255)
        b.insert(contentsOf: [0x81, 0, 0, 7], at: 12)
        return b
    }

    private static func capture(_ packets: [[UInt8]]) -> Data {
        func word(_ v: UInt32) -> [UInt8] { withUnsafeBytes(of: v.littleEndian) { Array($0) } }
        var bytes = word(0xa1b2_c3d4) + [2, 0, 4, 0] + word(0) + word(0) + word(65535) + word(1)
        for p in packets { bytes += word(0) + word(0) + word(UInt32(p.count)) + word(UInt32(p.count)) + p }
        return Data(bytes)
    }

    private static func records(_ data: Data, limit: Int) -> [[UInt8]] {
        var list: [[UInt8]] = []
        let bytes = [UInt8](data)
        var at = 24
        while at + 16 <= bytes.count, list.count < limit {
            let size = Int(bytes[at + 8]) | Int(bytes[at + 9]) << 8
            guard at + 16 + size <= bytes.count else { break }
            list.append(Array(bytes[at + 16..<at + 16 + size]))
            at += 16 + size
        }
        return list
    }

    @Test(.enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"))
    func pollingThreadsForwardAndRewrite() throws {
        let daemon = try Self.daemon()
        #expect(try daemon.vsctl("get", "Open_vSwitch", ".", "dpdk_version").contains("DPDK"))
        #expect(try daemon.vsctl("get", "Open_vSwitch", ".", "iface_types").contains("dpdk"))

        let input = "\(daemon.directory)/in.pcap"
        let output = "\(daemon.directory)/out.pcap"
        try Self.capture((1...3).map { Self.packet($0) }).write(to: URL(fileURLWithPath: input))
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        _ = try daemon.vsctl(
            "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", "--", "add-port", bridge, "out",
            "--", "set", "interface", "out", "type=dpdk", "ofport_request=2", "options:dpdk-devargs=\"net_pcap1,tx_pcap=\(output)\"")
        #expect(try daemon.vsctl("get", "interface", "out", "error") == "[]")
        _ = try daemon.run(
            "ovs-ofctl",
            ["-O", "OpenFlow13", "add-flow", bridge, "in_port=1,ip,actions=dec_ttl,push_vlan:0x8100,set_field:4103->vlan_vid,output:2"])
        let failed = try daemon.vsctl(
            "add-port", bridge, "bad", "--", "set", "interface", "bad", "type=dpdk", "options:dpdk-devargs=net_nonsense0")
        #expect(failed.contains("Error attaching device 'net_nonsense0' to DPDK"))
        _ = try daemon.vsctl(
            "add-port", bridge, "in", "--", "set", "interface", "in", "type=dpdk", "ofport_request=1",
            "options:dpdk-devargs=\"net_pcap0,rx_pcap=\(input),infinite_rx=1\"")
        func forwarded() throws -> Int {
            let text = try daemon.run("ovs-appctl", ["dpctl/show", "netdev@ovs-netdev"]).output
            let hits = text.split(separator: "\n").first { $0.contains("lookups:") }?.split(separator: " ").first { $0.hasPrefix("hit:") }
            return Int(hits?.dropFirst(4) ?? "") ?? 0
        }
        try daemon.wait("packets on the polling thread") { ((try? forwarded()) ?? 0) > 20_000 }
        _ = try daemon.vsctl("del-port", "in")
        let counted = try daemon.run("ovs-ofctl", ["-O", "OpenFlow13", "dump-flows", bridge]).output
        _ = try daemon.vsctl("del-port", "out")

        let data = try Data(contentsOf: URL(fileURLWithPath: output))
        let packets = Self.records(data, limit: 5000)
        #expect(packets.count == 5000)
        let wanted = Set((1...3).map { Self.expected($0) })
        #expect(Set(packets) == wanted)
        // 16 bytes of record head and 64 of packet.
        let sent = (data.count - 24) / 80
        #expect((data.count - 24) % 80 == 0)
        let count = counted.split(separator: " ").first { $0.hasPrefix("n_packets=") }.flatMap {
            Int($0.dropFirst(10).prefix { $0.isNumber })
        }
        #expect(count == sent, "the flow counted \(count ?? -1) packets, the capture has \(sent)")

        // Without any port of the kind left, and with one again.
        _ = try daemon.vsctl(
            "add-port", bridge, "null", "--", "set", "interface", "null", "type=dpdk", "options:dpdk-devargs=\"net_null0,no-rx=1\"")
        #expect(try daemon.vsctl("get", "interface", "null", "error") == "[]")
        #expect(try daemon.appctl("exit") == "")
        #expect(try daemon.waitForEnd() == 0)
    }

    /// Batches in which all packets are of one flow are counted as others are: packets, bytes and TCP flags.
    @Test(
        .enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"),
        arguments: ["in_port=1", "tcp,in_port=1,nw_src=10.0.0.0/24,tp_dst=53"], ["output:2", "drop"])
    func wholeBatchesAreCounted(match: String, actions: String) throws {
        let daemon = try Self.daemon()
        let input = "\(daemon.directory)/in.pcap"
        // TCP with SYN, and with FIN.
        let packets = [UInt8(0x02), 0x01].map { flags in
            var b = Self.packet(1)
            b[23] = 6
            b[46] = 0x50
            b[47] = flags
            return b
        }
        try Self.capture(packets).write(to: URL(fileURLWithPath: input))
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        _ = try daemon.vsctl(
            "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", "--", "add-port", bridge, "out",
            "--", "set", "interface", "out", "type=dpdk", "ofport_request=2", "options:dpdk-devargs=\"net_null0,no-rx=1\"")
        _ = try daemon.run("ovs-ofctl", ["add-flow", bridge, "\(match),actions=\(actions)"])
        _ = try daemon.vsctl(
            "add-port", bridge, "in", "--", "set", "interface", "in", "type=dpdk", "ofport_request=1",
            "options:dpdk-devargs=\"net_pcap0,rx_pcap=\(input),infinite_rx=1\"")
        func number(_ name: String, in text: String) -> Int? {
            text.split { " ,\n".contains($0) }.first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) }
        }
        var flow = ""
        try daemon.wait("packets on the polling thread") {
            flow = (try? daemon.run("ovs-appctl", ["dpctl/dump-flows", "netdev@ovs-netdev"]).output) ?? ""
            return (number("packets:", in: flow) ?? 0) > 20_000
        }
        #expect(flow.contains("flags:SF"), "\(flow)")
        let bytes = number("bytes:", in: flow) ?? 0
        // Between two counts some may come.
        #expect(bytes % 60 == 0 && bytes >= 60 * (number("packets:", in: flow) ?? 0), "\(flow)")
        _ = try daemon.vsctl("del-port", "in")
        let counted = try daemon.run("ovs-ofctl", ["dump-flows", bridge]).output
        let count = try #require(number("n_packets=", in: counted))
        #expect(number("n_bytes=", in: counted) == 60 * count)
        if actions != "drop" {
            let sent = try daemon.vsctl("get", "interface", "out", "statistics:tx_packets")
            #expect(sent == "\(count)")
        }
        #expect(try daemon.appctl("exit") == "")
        #expect(try daemon.waitForEnd() == 0)
    }

    /// A group that selects by a hash: polling threads look its packets up a second time by themselves.
    @Test(
        .enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"),
        arguments: ["dp_hash", "dp_hash,selection_method_param=7"])
    func pollingThreadsSelect(_ method: String) throws {
        let daemon = try Self.daemon()
        let input = "\(daemon.directory)/in.pcap"
        let outputs = (2...3).map { "\(daemon.directory)/out\($0).pcap" }
        let flows = 40
        try Self.capture((1...flows).map { Self.packet(UInt8($0)) }).write(to: URL(fileURLWithPath: input))
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        _ = try daemon.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure")
        for (i, output) in outputs.enumerated() {
            _ = try daemon.vsctl(
                "add-port", bridge, "out\(i + 2)", "--", "set", "interface", "out\(i + 2)", "type=dpdk", "ofport_request=\(i + 2)",
                "options:dpdk-devargs=\"net_pcap\(i + 2),tx_pcap=\(output)\"")
        }
        let added = try daemon.run(
            "ovs-ofctl",
            [
                "-O", "OpenFlow15", "add-group", bridge,
                "group_id=1,type=select,selection_method=\(method),bucket=bucket_id=1,actions=output:2,bucket=bucket_id=2,actions=dec_ttl,output:3",
            ])
        #expect(added.status == 0, "\(added.output)")
        _ = try daemon.run("ovs-ofctl", ["-O", "OpenFlow15", "add-flow", bridge, "in_port=1,ip,actions=group:1"])
        _ = try daemon.vsctl(
            "add-port", bridge, "in", "--", "set", "interface", "in", "type=dpdk", "ofport_request=1",
            "options:dpdk-devargs=\"net_pcap0,rx_pcap=\(input),infinite_rx=1\"")
        func hits() throws -> Int {
            let stats = try daemon.appctl("dpif-netdev/pmd-stats-show")
            let thread = stats.components(separatedBy: "main thread").first { $0.contains("pmd thread") } ?? ""
            return thread.split(separator: "\n").filter { $0.contains("hits:") }.reduce(0) {
                $0 + (Int($1.split(separator: " ").last ?? "") ?? 0)
            }
        }
        // So many the main thread would not get done.
        try daemon.wait("packets on the polling thread") { ((try? hits()) ?? 0) > 400_000 }
        let thread = try daemon.appctl("dpif-netdev/pmd-stats-show").components(separatedBy: "main thread")[0]
        #expect(!thread.contains("packet recirculations: 0\n"))
        _ = try daemon.vsctl("del-port", "in")
        let rule = try daemon.run("ovs-ofctl", ["-O", "OpenFlow15", "dump-flows", bridge]).output
        let group = try daemon.run("ovs-ofctl", ["-O", "OpenFlow15", "dump-group-stats", bridge]).output
        for i in 2...3 { _ = try daemon.vsctl("del-port", "out\(i)") }

        func count(_ text: String, _ word: String) -> [Int] {
            text.components(separatedBy: word).dropFirst().compactMap { Int($0.prefix { $0.isNumber }) }
        }
        let files = try outputs.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
        let sent = files.map { ($0.count - 24) / 76 }
        #expect(files.allSatisfy { ($0.count - 24) % 76 == 0 })
        // Of the rule, of the group, and of its buckets.
        #expect(count(rule, "n_packets=") == [sent[0] + sent[1]])
        #expect(count(group, "packet_count=") == [sent[0] + sent[1]] + sent)
        // Each flow has one bucket, and both have some.
        let chosen = files.map { Set(Self.records($0, limit: 100_000).map { $0[29] }) }
        #expect(!chosen[0].isEmpty && !chosen[1].isEmpty && chosen[0].isDisjoint(with: chosen[1]))
        #expect(chosen[0].union(chosen[1]) == Set((1...flows).map { UInt8($0) }))
        #expect(Set(Self.records(files[1], limit: 1000).map { $0[22] }) == [63])
    }

    /// Packets that wait for others leave in time though none follow; no flow is put into the cache; each port has packet memory of its own.
    @Test(.enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"))
    func settingsOfThreadsAndMemory() throws {
        let daemon = try Self.daemon(
            "other_config:tx-flush-interval=20000", "other_config:emc-insert-inv-prob=0", "other_config:per-port-memory=true")
        let input = "\(daemon.directory)/in.pcap"
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        let packets = 20_011
        try Self.capture((0..<packets).map { Self.packet(UInt8($0 % 5)) }).write(to: URL(fileURLWithPath: input))
        _ = try daemon.vsctl(
            "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", "--", "add-port", bridge, "out",
            "--", "set", "interface", "out", "type=dpdk", "ofport_request=2", "options:dpdk-devargs=\"net_null2,no-rx=1\"")
        _ = try daemon.run("ovs-ofctl", ["add-flow", bridge, "in_port=1,ip,nw_src=10.0.0.0/30,actions=output:2"])
        _ = try daemon.run("ovs-ofctl", ["add-flow", bridge, "in_port=1,actions=output:2"])
        _ = try daemon.vsctl(
            "add-port", bridge, "in", "--", "set", "interface", "in", "type=dpdk", "ofport_request=1",
            "options:dpdk-devargs=\"net_pcap0,rx_pcap=\(input)\"")
        func counted() throws -> Int {
            let ports = try daemon.run("ovs-ofctl", ["dump-ports", bridge, "2"]).output
            let sent = ports.components(separatedBy: "tx pkts=").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) }
            let stats = try daemon.appctl("dpif-netdev/pmd-stats-show").components(separatedBy: "main thread")[0]
            let lost = stats.components(separatedBy: "failed upcall: ").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) }
            return (sent ?? 0) + (lost ?? 0)
        }
        // Nothing is told to the thread meanwhile, which would send what waits.
        try daemon.wait("all packets, sent or lost") { (try? counted()) == packets }
        #expect(try daemon.appctl("dpif-netdev/pmd-stats-show").contains("emc hits: 0\n"))
        let pools = try ["in", "out"].map { try daemon.appctl("netdev-dpdk/get-mempool-info", $0).split(separator: ">")[0] }
        #expect(pools[0].hasPrefix("mempool <ovs") && pools[1].hasPrefix("mempool <ovs") && pools[0] != pools[1])
    }

    /// Packet memory is made for the MTUs that are asked for, and ports share what will do for them.
    @Test(.enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"))
    func portsShareThePoolsThatAreAskedFor() throws {
        let daemon = try Self.daemon("other_config:shared-mempool-config=\"3000:0,many\"")
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        _ = try daemon.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        for (name, mtu) in [("small", 1500), ("large", 2500)] {
            _ = try daemon.vsctl(
                "add-port", bridge, name, "--", "set", "interface", name, "type=dpdk", "mtu_request=\(mtu)",
                "options:dpdk-devargs=\"net_null_\(name),no-rx=1\"")
            #expect(try daemon.vsctl("get", "interface", name, "mtu", "error") == "\(mtu)\n[]")
        }
        let pools = try ["small", "large"].map { try daemon.appctl("netdev-dpdk/get-mempool-info", $0).split(separator: ">")[0] }
        // 3,000 bytes and headers, in steps of 1,024.
        #expect(pools[0].hasPrefix("mempool <ovs4224-") && pools[0] == pools[1])
        let log = try String(contentsOfFile: "\(daemon.directory)/ovs-vswitchd.log", encoding: .utf8)
        #expect(log.contains("shared-mempool-config: 'many' is no MTU"))
    }

    /// Threads come and go, and queues move between them, while packets flow: none is lost, and each is counted once.
    @Test(
        .enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"),
        .enabled(if: ProcessInfo.processInfo.processorCount > 1, "needs two processors"))
    func threadsComeAndGoUnderTraffic() throws {
        let daemon = try Self.daemon()
        let input = "\(daemon.directory)/in.pcap"
        let output = "\(daemon.directory)/out.pcap"
        try Self.capture((1...3).map { Self.packet($0) }).write(to: URL(fileURLWithPath: input))
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        _ = try daemon.vsctl(
            "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", "--", "add-port", bridge, "out",
            "--", "set", "interface", "out", "type=dpdk", "ofport_request=2", "options:dpdk-devargs=\"net_pcap1,tx_pcap=\(output)\"")
        _ = try daemon.run("ovs-ofctl", ["add-flow", bridge, "in_port=1,actions=output:2"])
        _ = try daemon.vsctl(
            "add-port", bridge, "in", "--", "set", "interface", "in", "type=dpdk", "ofport_request=1",
            "options:dpdk-devargs=\"net_pcap0,rx_pcap=\(input),infinite_rx=1\"")
        func polled() throws -> String { try daemon.appctl("dpif-netdev/pmd-rxq-show") }
        func received() throws -> Int {
            try daemon.appctl("dpif-netdev/pmd-stats-show").split(separator: "\n").filter { $0.contains("packets received:") }
                .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
        }
        func flow(_ what: String) throws {
            let before = try received()
            try daemon.wait("packets \(what)") { (try? received() > before + 1000 || received() < before) == true }
        }
        try flow("on one thread")
        _ = try daemon.vsctl("set", "Open_vSwitch", ".", "other_config:pmd-cpu-mask=0x3")
        #expect(try polled().contains("core_id 1"))
        _ = try daemon.vsctl("set", "interface", "in", "other_config:pmd-rxq-affinity=0:1")
        try daemon.wait("the queue on its own thread") {
            guard let text = try? polled(), let second = text.range(of: "core_id 1:") else { return false }
            return text[second.upperBound...].contains("isolated : true") && text[second.upperBound...].contains("port: in")
        }
        try flow("on the other thread")
        _ = try daemon.vsctl("set", "Open_vSwitch", ".", "other_config:pmd-cpu-mask=0x1")
        #expect(try !polled().contains("core_id 1"))
        try flow("on one thread again")
        #expect(try daemon.appctl("dpif-netdev/pmd-rxq-rebalance") == "pmd rxq rebalance requested.")
        _ = try daemon.vsctl("set", "Open_vSwitch", ".", "other_config:pmd-cpu-mask=0x2", "other_config:pmd-maxsleep=50")
        #expect(try !polled().contains("core_id 0"))
        try flow("on a thread that is all new")
        _ = try daemon.vsctl("del-port", "in")
        let counted = try daemon.run("ovs-ofctl", ["dump-flows", bridge]).output
        _ = try daemon.vsctl("del-port", "out")
        let size = try Data(contentsOf: URL(fileURLWithPath: output)).count
        let count = counted.split(separator: " ").first { $0.hasPrefix("n_packets=") }.flatMap {
            Int($0.dropFirst(10).prefix { $0.isNumber })
        }
        #expect((size - 24) % 76 == 0)
        #expect(count == (size - 24) / 76, "counted and sent")
        #expect(try daemon.appctl("exit") == "")
    }

    /// A virtual machine's device at both kinds of vhost-user ports: testpmd's virtio-user is the machine, and sends in circles.
    @Test(
        .enabled(if: canMakePorts, "needs /dev/net/tun for the bridge's local port"),
        .enabled(if: isInstalled("dpdk-testpmd"), "needs dpdk-testpmd"))
    func virtualMachinesConnectAndComeBack() throws {
        let daemon = try Self.daemon("other_config:pmd-maxsleep=100")
        let bridge = "br\(UInt16.random(in: 1000...9999))"
        let path = "\(daemon.directory)/client.sock"
        _ = try daemon.vsctl(
            "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure", "--", "add-port", bridge, "c1",
            "--", "set", "interface", "c1", "type=dpdkvhostuserclient", "ofport_request=1", "options:vhost-server-path=\(path)", "--",
            "add-port", bridge, "s1", "--", "set", "interface", "s1", "type=dpdkvhostuser", "ofport_request=2")
        #expect(try daemon.vsctl("get", "interface", "c1", "error") == "[]")
        #expect(try daemon.vsctl("get", "interface", "s1", "error") == "[]")
        for (from, to) in [(1, 2), (2, 1)] { _ = try daemon.run("ovs-ofctl", ["add-flow", bridge, "in_port=\(from),actions=\(to)"]) }
        func packets() -> Int {
            ((try? daemon.run("ovs-ofctl", ["dump-flows", bridge]).output) ?? "").split(separator: " ")
                .filter { $0.hasPrefix("n_packets=") }.compactMap { Int($0.dropFirst(10).prefix { $0.isNumber }) }.min() ?? 0
        }
        func isUp(_ port: String) -> Bool { (try? daemon.vsctl("get", "interface", port, "link_state")) == "up" }
        // The machine comes, goes, and comes again.
        for round in 1...2 {
            let machine = try daemon.startMachine(client: path, server: "\(daemon.directory)/s1")
            defer { machine.end() }
            try daemon.wait("the machine's links, round \(round)") { isUp("c1") && isUp("s1") }
            let before = packets()
            try daemon.wait("packets in circles, round \(round)") { packets() > before + 1000 }
            machine.end()
            try daemon.wait("the links' end") { !isUp("c1") && !isUp("s1") }
        }
        #expect(try daemon.vsctl("get", "interface", "c1", "status:mode", "status:status") == "client\ndisconnected")
        // The switch goes and comes, under a machine that stays.
        let machine = try daemon.startMachine(client: path, server: nil)
        defer { machine.end() }
        try daemon.wait("the machine's link") { isUp("c1") }
        #expect(try daemon.appctl("exit") == "")
        #expect(try daemon.waitForEnd() == 0)
        try daemon.startDaemon()
        try daemon.wait("the link to the new daemon") { isUp("c1") }
    }
}
