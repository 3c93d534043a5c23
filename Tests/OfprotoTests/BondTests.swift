// Bonds: which member is active, what is sent where, and what is taken.

import Dpif
import Flow
import Netdev
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct BondTests {
    /// A bench whose ports 2 and 3 are one bond, with NORMAL for everything.
    private func bench(_ change: (inout BondSettings) -> Void = { _ in }) throws -> (SwitchBench, Bond) {
        let bench = try SwitchBench()
        var settings = BundleSettings(name: "bond0")
        change(&settings.bond)
        let ports = [2, 3].compactMap { bench.bridge.port(OFPort(UInt32($0))) }
        bench.bridge.setBundle(settings, ports: ports)
        try bench.add([.output(.normal, maxLength: 0)])
        return (bench, try #require(bench.bridge.bundles["bond0"]?.bond))
    }

    private func warp(_ bench: SwitchBench, _ milliseconds: Int64) {
        bench.time.warp(milliseconds)
        bench.bridge.run()
        bench.backer.revalidate()
    }

    @Test func activeBackupFailsOver() throws {
        let (bench, bond) = try bench()
        #expect(bond.active?.name == "p2")
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.map(\.count) == [0, 1, 0])
        try bench.devices[1].setAdminUp(false)
        warp(bench, 1)
        #expect(bond.active?.name == "p3")
        try bench.receive(SwitchBench.udp)
        #expect(bench.sent.map(\.count) == [0, 1, 1])
        // What was active does not become so again by itself.
        try bench.devices[1].setAdminUp(true)
        warp(bench, 1)
        #expect(bond.active?.name == "p3")
    }

    @Test func thePrimaryTakesOverAgain() throws {
        let (bench, bond) = try bench { $0.primary = "p3" }
        #expect(bond.active?.name == "p3")
        try bench.devices[2].setAdminUp(false)
        warp(bench, 1)
        #expect(bond.active?.name == "p2")
        try bench.devices[2].setAdminUp(true)
        warp(bench, 1)
        #expect(bond.active?.name == "p3")
    }

    @Test func delaysHoldMembersBack() throws {
        let (bench, bond) = try bench {
            $0.upDelay = 200
            $0.downDelay = 100
        }
        let second = try #require(bond.member(named: "p3"))
        try bench.devices[2].setAdminUp(false)
        warp(bench, 1)
        #expect(second.isEnabled)
        warp(bench, 100)
        #expect(!second.isEnabled)
        try bench.devices[2].setAdminUp(true)
        warp(bench, 1)
        warp(bench, 150)
        #expect(!second.isEnabled)
        warp(bench, 60)
        #expect(second.isEnabled)
    }

    @Test func theBackupTakesNothingIn() throws {
        let (bench, _) = try bench()
        try bench.receive(SwitchBench.udp, port: 3)
        #expect(bench.sent.map(\.count) == [0, 0, 0])
        try bench.receive(SwitchBench.udp, port: 2)
        #expect(bench.sent.map(\.count) == [1, 0, 0])
    }

    @Test func sourcesAreSpread() throws {
        let (bench, bond) = try bench { $0.mode = .balanceSLB }
        for i in 1...32 {
            try bench.receive(
                "eth(src=50:54:00:00:01:\(String(i + 16, radix: 16)),dst=50:54:00:00:00:02),eth_type(0x1234)")
        }
        #expect(bench.sent[1].count + bench.sent[2].count == 32)
        #expect(bench.sent[1].count > 4 && bench.sent[2].count > 4)
        #expect(bond.buckets.contains { $0.load > 0 })
    }

    /// One busy member gives buckets away after the interval.
    @Test func loadIsRebalanced() throws {
        let (bench, bond) = try bench { $0.mode = .balanceSLB }
        let (first, second) = (bond.members[0], bond.members[1])
        for bucket in 0..<4 {
            bond.migrate(bucket: bucket, to: first)
            bond.credit(bucket: bucket, bytes: 1_000_000)
        }
        warp(bench, 10_000)
        #expect(bond.buckets.filter { $0.member === first }.count == 2)
        #expect(bond.buckets.filter { $0.member === second }.count == 2)
        #expect(bond.buckets[0].load == 500_000)
    }

    /// The real daemon's numbers.
    /// A negotiated balance-tcp bond.
    private func balanced(lbOutput: Bool) throws -> (SwitchBench, Bond) {
        let (bench, bond) = try bench {
            $0.mode = .balanceTCP
            $0.usesLbOutput = lbOutput
        }
        bond.lacpStatus = { .negotiated }
        bench.bridge.runBonds()
        return (bench, bond)
    }

    private func udp(_ port: Int) -> String { SwitchBench.udp.replacing("udp(src=5", with: "udp(src=\(port)") }

    @Test func theDatapathChoosesByHash() throws {
        let (bench, bond) = try balanced(lbOutput: false)
        let id = try #require(bond.recirculationID)
        for port in 1...40 { try bench.receive(udp(port)) }
        #expect(bench.sent[1].count + bench.sent[2].count == 40)
        #expect(bench.sent[1].count > 5 && bench.sent[2].count > 5)
        // One flow leads to the hash, and looks at no ports.
        let first = bench.installed.filter { $0.key.recircID == 0 }
        #expect(first.count == 1 && first.first?.mask.isWild(Location.tpSrc) == true)
        #expect(first.first?.actions.contains(.recirc(id)) == true)
        #expect(bench.installed.filter { $0.key.recircID == id }.allSatisfy { $0.mask.bits.dpHash == 0xff })
        bench.backer.revalidate()
        #expect(bond.buckets.reduce(0) { $0 + $1.load } > 0)
        #expect(bench.datapath.refused.isEmpty)
        // The hidden flows have counted the packets; they go with the mode.
        let hidden = { bond.rules.compactMap { $0?.rule } }
        #expect(hidden().count == Bond.bucketCount && hidden().reduce(0) { $0 + $1.packetCount } == 40)
        bond.lacpStatus = { .off }
        bench.bridge.runBonds()
        #expect(hidden().isEmpty)
    }

    @Test func lbOutputIsOneFlow() throws {
        let (bench, bond) = try balanced(lbOutput: true)
        bench.bridge.run()
        for port in 1...40 { try bench.receive(udp(port)) }
        #expect(bench.installed.count == 1)
        #expect(bench.sent[1].count > 5 && bench.sent[2].count > 5 && bench.sent[1].count + bench.sent[2].count == 40)
        // A member that goes takes no more.
        try bench.devices[1].setAdminUp(false)
        warp(bench, 1)
        let before = bench.sent[1].count
        for port in 1...40 { try bench.receive(udp(port)) }
        #expect(bench.sent[1].count == before)
        #expect(bond.buckets.reduce(0) { $0 + $1.load } > 0)
        #expect(bench.datapath.refused.isEmpty)
    }

    @Test func hashes() {
        #expect(Bond.hash(source: 0x5054_0000_0001, vlan: 0, basis: 0) & 0xff == 144)
        #expect(Bond.hash(source: 0x5054_0000_0001, vlan: 5, basis: 0) & 0xff == 109)
        #expect(Bond.hash(source: 0x5054_0000_0001, vlan: 5, basis: 7) & 0xff == 53)
        #expect(Bond.hash(source: 0, vlan: 0, basis: 0) & 0xff == 252)
    }
}
