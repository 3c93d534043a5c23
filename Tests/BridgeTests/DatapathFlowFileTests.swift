// dpctl commands that take flows from a file: each line for itself, whatever becomes of the others.
import Testing

@Suite struct DatapathFlowFileTests {
    private func flow(_ source: String) -> String {
        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),"
            + "ipv4(src=\(source),dst=2.2.2.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)"
    }

    private func run(_ command: String, _ lines: [String], _ options: String...) throws -> [Substring] {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        let path = "\(daemon.directory)/flows.txt"
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return try daemon.run("ovs-appctl", ["dpctl/\(command)"] + options + [path]).output.split(separator: "\n")
    }

    @Test func linesAreCarriedOutInOrder() throws {
        let (a, b) = (flow("1.1.1.1"), flow("1.1.1.2"))
        let exists = "ovs-vswitchd: updating flow table (File exists)"
        #expect(
            try run(
                "add-flows", ["# first", "", "\(a) 1", "  add \(a) 1", "modify \(a) 2 # all", "delete \(a)", "\(a) 1", "add\t\(b)  1,2"])
                == [
                    Substring(exists)
                ])
    }

    @Test func whatIsWrongIsToldAndLeftOut() throws {
        let a = flow("1.1.1.1")
        #expect(
            try run("add-flows", ["garbage", "\(a)", "\(a) zz", "frob \(a) 2", "delete \(a)", "delete \(a) 2", "\(a) 2", "\(a) 2"]) == [
                "ovs-vswitchd: Failed parsing line number 1, skipped!", "ovs-vswitchd: Failed parsing line number 2, skipped!",
                "ovs-vswitchd: parsing actions (Invalid argument)",
                "ovs-vswitchd: parsing flow key (syntax error at frob) (Invalid argument)",
                "ovs-vswitchd: deleting flow (No such file or directory)", "Perhaps you need to specify a UFID?",
                "ovs-vswitchd: Failed parsing line number 6, skipped!", "ovs-vswitchd: updating flow table (File exists)",
            ])
    }

    @Test func theCommandDecidesWhatLinesWithoutAWordMean() throws {
        let a = flow("1.1.1.1")
        #expect(try run("mod-flows", ["\(a) 1"]) == ["ovs-vswitchd: updating flow table (No such file or directory)"])
        #expect(try run("del-flows", ["add \(a) 1", "\(a)", "add \(a) 1"]) == [])
        #expect(try run("add-flows", ["\(a) 1"], "-s") == ["packets:0, bytes:0, used:never"])
    }

    @Test func aFileMustBeThere() throws {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon()
        _ = try daemon.vsctl("add-br", "br0")
        for command in ["add-flows", "mod-flows", "del-flows"] {
            #expect(
                try daemon.appctl("dpctl/\(command)", "/nonexistent/x")
                    == "ovs-vswitchd: Opening file \"/nonexistent/x\" failed (No such file or directory)")
        }
    }
}
