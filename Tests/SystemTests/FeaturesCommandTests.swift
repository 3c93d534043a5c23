// `vswitchd features` as a user runs it: without database, without root.
import Testing

struct FeaturesCommandTests {
    @Test(arguments: ["text", "json", "markdown"])
    func printsTheMatrix(format: String) throws {
        let output = try execute(daemonPath, ["features", "--format", format, "--datapath", "dummy"])
        #expect(output.status == 0)
        #expect(output.text.contains("Conntrack NAT6"))
        #expect(output.text.contains("dummy"))
        #expect(!output.text.contains("netlink"))
    }

    @Test(arguments: [
        (["--format", "yaml"], "--format=yaml: expected text, json or markdown"),
        (["--datapath", "system"], "--datapath=system: expected netlink, netdev or dummy"),
        (["--wrong"], "Unknown option '--wrong'"),
    ])
    func refusesWhatItDoesNotKnow(arguments: [String], message: String) throws {
        let output = try execute(daemonPath, ["features"] + arguments)
        #expect(output.status == 1)
        #expect(output.text == "ovs-vswitchd: features: \(message)\n")
    }
}
