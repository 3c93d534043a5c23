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

    /// The switch said hello: the header of a message of OpenFlow 1.5 that has nothing else, among what a controller was told.
    private func hello(_ lab: DaemonUnderTest, _ file: String) -> Bool {
        (try? lab.run("cat", [file]))?.output.contains("\u{6}\0\0\u{8}") == true
    }

    /// A TLS server in the place of a controller: it asks for the switch's certificate, shows its own and its authority's, and prints what
    /// it is told.
    private func startController(_ lab: DaemonUnderTest, _ name: String, authority: String, port: Int, output: String) throws {
        try lab.background(
            "openssl",
            [
                "s_server", "-quiet", "-accept", "127.0.0.1:\(port)", "-key", "\(name).key", "-cert", "\(name).pem", "-cert_chain",
                "\(authority).pem", "-CAfile", "ca.pem", "-Verify", "2",
            ], output: output)
    }

    private func checkBootstrap(_ configure: (DaemonUnderTest, _ trusted: String) throws -> Void) throws {
        let lab = try DaemonUnderTest(ownDatabase: false)
        try makeKeys(lab)
        let port = Int.random(in: 20_000..<30_000)
        try startController(lab, "controller", authority: "ca", port: port, output: "known.out")
        try startController(lab, "stranger", authority: "other", port: port + 1, output: "stranger.out")
        let trusted = "\(lab.directory)/trusted.pem"
        try configure(lab, trusted)
        _ = try lab.vsctl(
            "add-br", "br0", "--", "set-controller", "br0", "ssl:127.0.0.1:\(port)", "--", "set", "controller", "br0", "max_backoff=1000")
        try lab.wait("the authority's certificate") { lab.file("trusted.pem") }
        // Only what was shown was taken, and the connection that it came by was given up for one that verifies.
        let expected = try lab.run("openssl", ["x509", "-in", "ca.pem", "-noout", "-fingerprint"])
        #expect(try lab.run("openssl", ["x509", "-in", "trusted.pem", "-noout", "-fingerprint"]).output == expected.output)
        try lab.wait("the switch's hello") { hello(lab, "known.out") }
        // From now on nobody else is believed.
        _ = try lab.vsctl("set-controller", "br0", "ssl:127.0.0.1:\(port + 1)", "--", "set", "controller", "br0", "max_backoff=1000")
        try lab.wait("a refusal") { (try? lab.vsctl("get", "controller", ".", "status").contains("last_error")) == true }
        #expect(!hello(lab, "stranger.out"))
        #expect(try lab.run("openssl", ["x509", "-in", "trusted.pem", "-noout", "-fingerprint"]).output == expected.output)
    }

    @Test func theFirstControllersAuthorityIsTakenByOption() throws {
        try checkBootstrap { lab, trusted in
            let directory = lab.directory
            try lab.startDaemon([
                "-p", "\(directory)/switch.key", "-c", "\(directory)/switch.pem", "--bootstrap-ca-cert", trusted,
            ])
        }
    }

    @Test func theFirstControllersAuthorityIsTakenBySSLTable() throws {
        try checkBootstrap { lab, trusted in
            let directory = lab.directory
            try lab.startDaemon()
            _ = try lab.vsctl("--", "--bootstrap", "set-ssl", "\(directory)/switch.key", "\(directory)/switch.pem", trusted)
        }
    }
}
