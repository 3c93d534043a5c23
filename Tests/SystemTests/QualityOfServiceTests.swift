// Policing and shaping of the userspace datapath on real packets: how much of a flood arrives.

import class Foundation.FileManager
import Testing

@Suite(.serialized, .enabled(if: obstacle == nil, "\(obstacle ?? "")"))
struct QualityOfServiceTests {
    private static let seconds = 4

    /// A switch with two hosts.
    private func lab() throws -> Lab {
        let lab = try Lab()
        try lab.addHost("a", "198.18.0.1/24")
        try lab.addHost("b", "198.18.0.2/24")
        try lab.vsctl("set", "interface", "a", "ofport_request=1", "--", "set", "interface", "b", "ofport_request=2")
        #expect(try lab.ping("a", "198.18.0.2", count: 2) == 2)
        return lab
    }

    /// How many kbit/s arrive at b of what a sends, in packets of 1000 bytes.
    /// - Parameter sender: the host, or "" for the switch's own.
    private func arriving(_ lab: Lab, from sender: String = "a", of kbps: Int) throws -> Int {
        let begun = "\(lab.directory)/begun-\(UInt32.random(in: 0...UInt32.max))"
        let script = Self.traffic
        try lab.keepRunning(
            "ip",
            [
                "netns", "exec", lab.namespace(sender), "python3", "-c", script, "flood", "198.18.0.2", "\(kbps)", "\(Self.seconds + 2)",
                begun,
            ])
        try lab.wait("the flood") { FileManager.default.fileExists(atPath: begun) }
        let output = try lab.run("ip", ["netns", "exec", lab.namespace("b"), "python3", "-c", script, "count", "\(Self.seconds)"])
        let bytes = Int(output.text.split(separator: "\n").last ?? "") ?? 0
        return bytes * 8 / 1000 / Self.seconds
    }

    private static let traffic = """
        import socket, sys, time
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if sys.argv[1] == "flood":
            gap = 8000 / (float(sys.argv[3]) * 1000)
            begin = due = time.time()
            marked = False
            while due - begin < float(sys.argv[4]):
                s.sendto(bytes(972), (sys.argv[2], 9))
                due += gap
                time.sleep(max(0, due - time.time()))
                # What limits let through at first is over by then.
                if not marked and due - begin > 1.5:
                    marked = True
                    open(sys.argv[5], "w").close()
        else:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            s.bind(("0.0.0.0", 9))
            s.settimeout(10)
            s.recv(65536)
            total, end = 0, time.time() + float(sys.argv[2])
            while time.time() < end:
                s.settimeout(max(0.01, end - time.time()))
                try:
                    total += len(s.recv(65536)) + 28
                except OSError:
                    pass
            print(total)
        """

    private func isWithin(_ rate: Int, _ wanted: Int) -> Bool { abs(rate - wanted) * 10 <= wanted }

    /// Checks that `wanted` kbit/s arrive of `kbps`, give or take a tenth. A machine that is busy with other things may fall behind with
    /// sending and counting, and is given more chances then; more than is let through must never arrive.
    private func expectArrival(_ lab: Lab, of kbps: Int, wanted: Int, from sender: String = "a", _ comment: Comment? = nil) throws {
        var rates: [Int] = []
        while rates.count < 6, rates.last.map({ $0 < wanted && !isWithin($0, wanted) }) ?? true {
            rates.append(try arriving(lab, from: sender, of: kbps))
        }
        #expect(isWithin(rates.last ?? 0, wanted), "\(rates) kbit/s of \(wanted): \(comment ?? "")")
    }

    @Test func whatEntersIsPoliced() throws {
        let lab = try lab()
        try lab.vsctl("set", "interface", "a", "ingress_policing_rate=2000", "ingress_policing_burst=400")
        try expectArrival(lab, of: 8000, wanted: 2000)
        try lab.vsctl("set", "interface", "a", "ingress_policing_rate=0", "ingress_policing_kpkts_rate=1", "ingress_policing_kpkts_burst=1")
        try expectArrival(lab, of: 24_000, wanted: 8000, "1000 packets a second")
        try lab.vsctl("set", "interface", "a", "ingress_policing_kpkts_rate=0")
        try expectArrival(lab, of: 8000, wanted: 8000)
    }

    @Test func whatTheHostSendsThroughATapIsPoliced() throws {
        let lab = try lab()
        try lab.ip("", "link", "set", "br0", "up")
        try lab.ip("", "addr", "add", "198.18.0.254/24", "dev", "br0")
        try lab.vsctl("set", "interface", "br0", "ingress_policing_rate=2000", "ingress_policing_burst=400")
        try expectArrival(lab, of: 8000, wanted: 2000, from: "")
    }

    @Test func whatLeavesIsShaped() throws {
        let lab = try lab()
        try lab.vsctl(
            "--", "--id=@q0", "create", "queue", "other_config:max-rate=3000000", "--", "--id=@q1", "create", "queue",
            "other_config:max-rate=1000000", "--", "--id=@qos", "create", "qos", "type=linux-htb", "other_config:max-rate=4000000",
            "queues:0=@q0", "queues:1=@q1", "--", "set", "port", "b", "qos=@qos")
        try expectArrival(lab, of: 8000, wanted: 3000, "queue 0")
        _ = try lab.ofctl("add-flow", "br0", "priority=50000,udp,in_port=1,actions=set_queue:1,output:2")
        try expectArrival(lab, of: 8000, wanted: 1000, "queue 1")
        let queues = try lab.ofctl("queue-stats", "br0", "b")
        for queue in 0...1 {
            let line = queues.split(separator: "\n").first { $0.contains("queue \(queue):") }
            #expect(line.map { !$0.contains("pkts=0,") } ?? false, "\(queues)")
        }
        try lab.vsctl("clear", "port", "b", "qos")
        try expectArrival(lab, of: 8000, wanted: 8000)
    }
}
