// Control commands that need what a datapath may lack: refused there, and carried out elsewhere.
import Testing

@Suite struct CapabilityCommandTests {
    private func daemon(_ profile: String) throws -> DaemonUnderTest {
        let daemon = try DaemonUnderTest(ownDatabase: true)
        try daemon.startDaemon(["--dummy-profile", profile])
        _ = try daemon.vsctl("add-br", "br0")
        return daemon
    }

    @Test(arguments: [("userspace", true), ("linux-upstream:4.17", false)])
    func zonesAreLimitedWhereTheDatapathCan(_ profile: String, _ isCapable: Bool) throws {
        let daemon = try daemon(profile)
        let reply = try daemon.appctl("dpctl/ct-set-limits", "zone=1,limit=5")
        #expect(reply.contains("Operation not supported") == !isCapable, "\(reply)")
    }

    @Test(arguments: [("userspace", true), ("linux-upstream:3.19", false)])
    func flowsHaveIdentifiersWhereTheDatapathKnowsThem(_ profile: String, _ isCapable: Bool) throws {
        let daemon = try daemon(profile)
        let reply = try daemon.appctl("dpctl/get-flow", "ufid:00000000-0000-0000-0000-000000000001")
        #expect(reply.contains("Operation not supported") == !isCapable, "\(reply)")
        #expect(reply.contains("No such file or directory") == isCapable, "\(reply)")
    }

    /// What the profile lacks shows as it does on a real datapath of that kind.
    @Test func featuresAreShown() throws {
        let features = try daemon("linux-upstream:4.17").appctl("dpif/show-dp-features", "br0")
        #expect(features.contains("Conntrack timeout policy: No"))
        #expect(features.contains("Conntrack clear: Yes"))
        #expect(features.contains("Max dp_hash algorithm: 0"))
    }
}
