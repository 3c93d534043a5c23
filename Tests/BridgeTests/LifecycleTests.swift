// The daemon's life with Debian's tools: configuration, restarts, crashes, and the end, with either database.
import Glibc
import Testing

private let hasTools = ["ovs-vsctl", "ovs-appctl", "ovsdb-tool", "ovsdb-server"].allSatisfy(isInstalled)

@Suite(.serialized, .enabled(if: hasTools, "needs Debian's openvswitch-switch"))
struct LifecycleTests {
    @Test(arguments: [false, true])
    func configuresAndReports(ownDatabase: Bool) throws {
        let daemon = try DaemonUnderTest(ownDatabase: ownDatabase)
        try daemon.startDaemon()
        #expect(try daemon.vsctl("add-br", "br0") == "")
        #expect(try daemon.vsctl("add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=7") == "")
        #expect(try daemon.vsctl("get", "interface", "p1", "ofport", "admin_state", "mtu", "error") == "7\nup\n1500\n[]")
        #expect(try daemon.vsctl("get", "interface", "br0", "ofport") == "65534")
        #expect(try daemon.vsctl("get", "open_vswitch", ".", "cur_cfg") == daemon.vsctl("get", "open_vswitch", ".", "next_cfg"))
        #expect(try daemon.appctl("ofproto/list") == "br0")
        #expect(try daemon.vsctl("del-br", "br0") == "")
        #expect(try daemon.appctl("ofproto/list") == "")
    }

    @Test func reportsPortsThatCannotBeOpened() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        let reply = try daemon.vsctl("add-port", "br0", "q", "--", "set", "interface", "q", "type=nonsense")
        #expect(reply.contains("could not open network device q (Address family not supported by protocol)"))
        #expect(try daemon.vsctl("get", "interface", "q", "ofport") == "-1")
        _ = try daemon.vsctl("add-port", "br0", "pc", "--", "set", "interface", "pc", "type=patch")
        #expect(try daemon.vsctl("get", "interface", "pc", "error") == "\"pc: patch type requires valid 'peer' argument\"")
        #expect(try daemon.vsctl("add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy") == "")
        #expect(try daemon.vsctl("set", "interface", "q", "type=dummy") == "")
        #expect(try daemon.vsctl("get", "interface", "q", "ofport", "error") == "2\n[]")
    }

    /// What is configured in steps is seen whole, or not at all.
    @Test func commandsSeeWholeTransactions() throws {
        let daemon = try DaemonUnderTest(ownDatabase: false)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy")
        let names = (0..<400).map { "q\($0)" }
        func seen() throws -> Int { try daemon.appctl("dpif/show").split(separator: "\n").count { $0.contains("q") } }
        let added = names.flatMap { ["--", "add-port", "br0", $0, "--", "set", "interface", $0, "type=dummy"] }
        #expect(try daemon.run("ovs-vsctl", ["--no-wait"] + added).status == 0)
        try daemon.wait("the ports") {
            let count = (try? seen()) ?? -1
            #expect([0, 400].contains(count))
            return count == 400
        }
        #expect(try daemon.run("ovs-vsctl", names.flatMap { ["--", "del-port", $0] }).status == 0)
        #expect(try seen() == 0)
    }

    /// Two dummy ports of different bridges, joined by a socket.
    @Test func dummyPortsAreJoinedByStreams() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        let wire = "unix:\(daemon.directory)/wire"
        for (bridge, port, option) in [("br0", "a1", "pstream=p\(wire)"), ("br1", "b1", "stream=\(wire)")] {
            _ = try daemon.vsctl("add-br", bridge)
            _ = try daemon.vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=dummy", "options:\(option)")
            _ = try daemon.vsctl("add-port", bridge, "\(port)x", "--", "set", "interface", "\(port)x", "type=dummy")
        }
        try daemon.wait("the wire") { (try? daemon.appctl("netdev-dummy/conn-state", "b1")) == "b1: connected" }
        _ = try daemon.appctl("netdev-dummy/receive", "a1x", "ffffffffffff505400000001080000000000")
        try daemon.wait("the frame") { (try? daemon.appctl("fdb/show", "br1").contains("50:54:00:00:00:01")) == true }
        _ = try daemon.appctl("netdev-dummy/receive", "b1x", "505400000001505400000002080000000000")
        try daemon.wait("the answer") { (try? daemon.appctl("fdb/show", "br0").contains("50:54:00:00:00:02")) == true }
        _ = try daemon.vsctl("del-br", "br0")
        try daemon.wait("the wire's end") { (try? daemon.appctl("netdev-dummy/conn-state", "b1")) == "b1: disconnected" }
    }

    @Test func changesPortNumbersOnRequest() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        for (name, number) in [("p1", "5"), ("p2", "5")] {
            _ = try daemon.vsctl("add-port", "br0", name, "--", "set", "interface", name, "type=dummy", "ofport_request=\(number)")
        }
        #expect(try daemon.vsctl("get", "interface", "p1", "ofport") == "5")
        #expect(try daemon.vsctl("get", "interface", "p2", "ofport") == "1")
        _ = try daemon.vsctl("set", "interface", "p1", "ofport_request=9")
        #expect(try daemon.vsctl("get", "interface", "p1", "ofport") == "9")
        #expect(try daemon.vsctl("get", "interface", "p2", "ofport") == "5")
    }

    @Test(arguments: [false, true])
    func losesNothingWhenKilled(ownDatabase: Bool) throws {
        let daemon = try DaemonUnderTest(ownDatabase: ownDatabase)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "other-config:hwaddr=02:00:00:00:00:01")
        for name in ["a", "b", "c"] {
            #expect(try daemon.vsctl("add-port", "br0", name, "tag=10", "--", "set", "interface", name, "type=dummy") == "")
        }
        _ = try daemon.vsctl("del-port", "a")
        let numbers = try daemon.vsctl("get", "interface", "b", "ofport", "--", "get", "interface", "c", "ofport")
        #expect(numbers == "2\n3")
        daemon.killDaemon()
        try daemon.startDaemon()
        #expect(try daemon.vsctl("set", "open_vswitch", ".", "external_ids:again=1") == "")
        #expect(try daemon.vsctl("list-ports", "br0") == "b\nc")
        #expect(try daemon.vsctl("get", "interface", "b", "ofport", "--", "get", "interface", "c", "ofport") == numbers)
        #expect(try daemon.vsctl("get", "bridge", "br0", "datapath_id") == "\"0000020000000001\"")
        #expect(try daemon.vsctl("get", "port", "b", "tag") == "10")
    }

    @Test func followsADatabaseThatRestarts() throws {
        let daemon = try DaemonUnderTest(ownDatabase: false)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        daemon.killDatabase()
        #expect(try daemon.appctl("ofproto/list") == "br0")
        try daemon.startDatabase()
        #expect(try daemon.vsctl("add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy") == "")
        #expect(try daemon.vsctl("get", "interface", "p1", "ofport") == "1")
    }

    @Test func endsCleanly() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        let pid = try #require(daemon.pid)
        #expect(daemon.file("db.sock"))
        #expect(try daemon.run(daemonPath, ["--pidfile", "--no-chdir"]).output.contains("already running as pid \(pid), aborting"))
        kill(pid, SIGTERM)
        #expect(try daemon.waitForEnd() == 0)
        for name in ["db.sock", "br0.mgmt", "ovs-vswitchd.pid", "ovs-vswitchd.\(pid).ctl"] { #expect(!daemon.file(name)) }
        try daemon.startDaemon([])
        #expect(try daemon.appctl("exit") == "")
        #expect(try daemon.waitForEnd() == 0)
    }

    @Test func refusesWhatItDoesNotKnow() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        let dpdk = try daemon.run(daemonPath, ["--dpdk", "-c", "1"])
        #expect(dpdk.status == 1)
        #expect(dpdk.output == "ovs-vswitchd: Using --dpdk to configure DPDK is not supported.\n")
        #expect(try daemon.run(daemonPath, ["--nonsense"]).status == 1)
        #expect(try daemon.run(daemonPath, ["-vnonsense"]).output.contains("no destination, level, or module \"nonsense\""))
        #expect(try daemon.run(daemonPath, ["--version"]).output.hasPrefix("ovs-vswitchd (Open vSwitch) 3.1"))
    }
}
