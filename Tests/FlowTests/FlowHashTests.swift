// Hashes that other implementations compute too. The numbers are what Open vSwitch 3.1 answers.

import Flow
import Testing

@Suite struct FlowHashTests {
    private func key(_ text: String) throws -> FlowKey { try ODPFlow(parsing: text).key }
    private let ethernet = "in_port(1),eth(src=00:00:00:00:00:00,dst=00:00:00:00:00:00)"

    @Test func scoresOfBuckets() throws {
        // A packet without anything but its type, in buckets 0 and 1.
        let hash = try key("\(ethernet),eth_type(0x0804)").symmetricL4Hash(basis: 0)
        #expect([0, 1].map { MurmurHash.pair($0, hash) & 0xffff } == [24926, 57536])
    }

    @Test func fieldsOneByOne() {
        var hash = MurmurHash.number(0)
        for field: [UInt8] in [[10, 0, 0, 0], [10, 0, 0, 2], [0, 5]] { hash = MurmurHash.bytes(field, basis: hash) }
        #expect([0, 1].map { (MurmurHash.pair($0, hash) & 0xffff) * 5 } == [231290, 73870])
    }

    @Test func datapathHashOfWhatIsNotIP() throws {
        let hash = try key("\(ethernet),eth_type(0x1234)").fiveTupleHash(basis: 0)
        #expect(MurmurHash.pair(hash, 0) == 0x15d7_a4ff)
    }

    @Test func bothDirectionsAgree() throws {
        func packet(_ a: Int, _ b: Int) throws -> FlowKey {
            try key(
                "\(ethernet),eth_type(0x86dd),ipv6(src=2001::\(a),dst=2001::\(b),label=0,proto=6,tclass=0,hlimit=64,frag=no),tcp(src=\(a),dst=\(b))"
            )
        }
        let there = try packet(1, 2)
        let back = try packet(2, 1)
        #expect(there.symmetricL4Hash(basis: 7) == back.symmetricL4Hash(basis: 7))
        #expect(
            there.symmetricHash(basis: 7, udpPorts: false)
                == back.symmetricHash(basis: 7, udpPorts: false))
        #expect(there.fiveTupleHash(basis: 0) != back.fiveTupleHash(basis: 0))
    }
}
