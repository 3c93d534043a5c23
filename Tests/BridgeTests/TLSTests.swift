// OpenFlow over TLS, with Debian's tools as the other end.

import Testing

@Suite(
    .enabled(
        if: isInstalled("openssl") && isInstalled("ovs-ofctl") && isInstalled("ovsdb-server"),
        "openssl and Open vSwitch's tools are needed"))
struct TLSTests {
    /// Keys and certificates: two authorities, a switch and a controller of the first, and a stranger of the second.
    private func makeKeys(_ lab: DaemonUnderTest) throws {
        func openssl(_ arguments: [String]) throws {
            let done = try lab.run("openssl", arguments)
            try #require(done.status == 0, "openssl: \(done.output)")
        }
        for (name, authority) in [("ca", nil), ("other", nil), ("switch", "ca"), ("controller", "ca"), ("stranger", "other")] {
            var request = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "\(name).key", "-subj", "/CN=\(name)"]
            guard let authority else {
                try openssl(request + ["-x509", "-days", "2", "-out", "\(name).pem"])
                continue
            }
            request += ["-out", "\(name).csr"]
            try openssl(request)
            try openssl([
                "x509", "-req", "-in", "\(name).csr", "-CA", "\(authority).pem", "-CAkey", "\(authority).key", "-CAcreateserial", "-days",
                "2", "-out", "\(name).pem",
            ])
        }
    }

    @Test func onlyThoseWhomTheAuthorityKnowsMayTalk() throws {
        let lab = try DaemonUnderTest(ownDatabase: false)
        try makeKeys(lab)
        try lab.startDaemon()
        let port = Int.random(in: 20_000..<30_000)
        func show(_ name: String, trusting authority: String) throws -> Output {
            try lab.run(
                "ovs-ofctl", ["-p", "\(name).key", "-c", "\(name).pem", "-C", "\(authority).pem", "show", "ssl:127.0.0.1:\(port)"])
        }
        let directory = lab.directory
        _ = try lab.vsctl("add-br", "br0", "--", "set-controller", "br0", "pssl:\(port):127.0.0.1")
        // Without keys nobody gets in.
        #expect(try show("controller", trusting: "ca").status != 0)
        _ = try lab.vsctl("set-ssl", "\(directory)/switch.key", "\(directory)/switch.pem", "\(directory)/ca.pem")
        let answer = try show("controller", trusting: "ca")
        #expect(answer.output.contains("OFPT_FEATURES_REPLY"))
        #expect(try show("stranger", trusting: "ca").output.contains("OFPT_FEATURES_REPLY") == false)
        // The switch shows what it has; who does not know its authority goes away.
        #expect(try show("controller", trusting: "other").output.contains("OFPT_FEATURES_REPLY") == false)
        // Keys are replaced under the running daemon.
        for (from, to) in [("stranger.key", "switch.key"), ("stranger.pem", "switch.pem"), ("other.pem", "ca-new.pem")] {
            _ = try lab.run("cp", [from, to])
        }
        _ = try lab.run("cp", ["ca-new.pem", "trusted.pem"])
        _ = try lab.vsctl("set-ssl", "\(directory)/switch.key", "\(directory)/switch.pem", "\(directory)/trusted.pem")
        #expect(try show("stranger", trusting: "other").output.contains("OFPT_FEATURES_REPLY"))
        #expect(try show("controller", trusting: "other").output.contains("OFPT_FEATURES_REPLY") == false)
    }

    @Test func aControllerThatCannotBeTrustedIsNamedInTheDatabase() throws {
        let lab = try DaemonUnderTest(ownDatabase: false)
        try lab.startDaemon()
        _ = try lab.vsctl("add-br", "br0", "--", "set-controller", "br0", "ssl:127.0.0.1:1")
        try lab.wait("an error") {
            (try? lab.vsctl("get", "controller", ".", "status").contains("Protocol not available")) == true
        }
    }
}
