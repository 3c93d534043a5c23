// For each capability: what Ofproto does without it, and that a datapath without it never hears of it. Each is a case of a
// table, which must name every capability there is.

import Datapath
import Dpif
import DpifDummy
import Flow
import Netdev
import OpenFlow
import TestSupport
import Testing

@testable import Ofproto

@Suite struct CapabilityTests {
    /// Each capability by its title, with what shows that it is heeded.
    static let cases: [(titles: [String], prove: @Sendable () throws -> Void)] = [
        (["Masked set action"], withoutMaskedSetWholeAttributesAreSet),
        (["Truncate action"], withoutTruncateOutputsTakeTheSlowPath),
        (["Check pkt length action"], withoutCheckPacketLengthPacketsTakeTheSlowPath),
        (
            [
                "CT state", "CT state NAT", "CT zone", "CT mark", "CT label", "CT orig tuple", "CT orig tuple for IPv6", "CT NAT", "Recirc",
            ], withoutConntrackItsFieldsAndActionsAreRefused
        ),
        (["Conntrack clear"], withoutCtClearTheStateIsForgottenInTranslationOnly),
        (["Meters"], withoutMetersTheInstructionDoesNothingToTheDatapath),
        (["TCP flags"], withoutTCPFlagsAMatchOfThemIsRefused),
        (["Megaflows"], withoutMegaflowsEveryFlowIsExact),
        (["IPv6 ND Extension"], withoutNDExtensionsAMatchOfThemIsRefused),
        (["Clone action"], withoutCloneWhatCannotBeUndoneTakesTheSlowPath),
        (["Sample nesting"], deeperSamplesTakeTheSlowPath),
        (["Conntrack eventmask"], withoutEventMasksNoneIsGiven),
        (["Max dp_hash algorithm"], groupsUseTheAlgorithmsThatThereAre),
        (["Explicit Drop action"], withoutExplicitDropNothingIsInstalledForIt),
        (["Max VLAN headers"], tagsThatCannotBeMatchedTakeTheSlowPath),
        (["Max MPLS depth"], labelsThatCannotBeMatchedTakeTheSlowPath),
        (["MPLS Label add"], withoutAddMPLSBarePacketsTakeTheSlowPath),
        (["SCTP"], withoutSCTPItsPortsTakeTheSlowPath),
        (["Optimized Balance TCP mode"], withoutLbOutputBondsRecirculate),
        (["Conntrack timeout policy"], withoutTimeoutPoliciesNoneIsNamed),
        (["Tunnel push pop"], withoutTunnelPushPopTunnelsAreSet),
        (["Multiple datapaths"], withoutMultipleDatapathsASecondIsRefused),
    ]

    /// Those that are heeded elsewhere, with the place.
    static let elsewhere = [
        "Ufid": "BridgeTests.CapabilityCommandTests",
        "CT zone limit": "BridgeTests.CapabilityCommandTests",
        "Conntrack all-zero IP SNAT": "told to orchestrators only",
    ]

    @Test func everyCapabilityIsHere() {
        let named = Set(Self.cases.flatMap(\.titles)).union(Self.elsewhere.keys)
        #expect(Set(CapabilityRow.all.map(\.title)) == named)
    }

    @Test(arguments: cases.indices) func isHeeded(_ index: Int) throws { try Self.cases[index].prove() }

    @Sendable private static func withoutMaskedSetWholeAttributesAreSet() throws {
        let bench = try SwitchBench { $0.maskedSet = false }
        try bench.add([.setEthSrc(0x0102_0304_0506), .output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        let flow = try #require(bench.installed.first)
        #expect(flow.mask.isExact(Location.ethDst))
        #expect(bench.sent[1].first.map { Array($0[6..<12]) } == [1, 2, 3, 4, 5, 6])
    }

    @Sendable private static func withoutTruncateOutputsTakeTheSlowPath() throws {
        let bench = try SwitchBench { $0.truncate = false }
        try bench.add([.outputTruncated(OFPort(2), maxLength: 40)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        #expect(bench.installed.first?.actions == [.userspace(.slowPath(.action))])
        #expect(bench.sent[1].map(\.count) == [40])
    }

    @Sendable private static func withoutCheckPacketLengthPacketsTakeTheSlowPath() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.checkPacketLength = capable }
            let register = Subfield(.reg0, low: 0, count: 1)
            try bench.add([
                .checkPacketLarger(100, to: register), .resubmit(ResubmitAction(table: 1)),
            ])
            try bench.add({ $0.set(Location.reg(0), 1, mask: 1) }, table: 1, [.output(OFPort(2), maxLength: 0)])
            try bench.add({ $0.set(Location.reg(0), 0, mask: 1) }, table: 1, [.output(OFPort(3), maxLength: 0)])
            try bench.receive(SwitchBench.udp, size: 60)
            try bench.receive(SwitchBench.udp, size: 200)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].map(\.count) == [200])
            #expect(bench.sent[2].map(\.count) == [60])
            #expect((bench.installed.first?.actions == [.userspace(.slowPath(.action))]) == !capable)
        }
    }

    @Sendable private static func withoutConntrackItsFieldsAndActionsAreRefused() throws {
        func refused(_ change: (inout DpifCapabilities) -> Void, _ field: FieldLocation, _ mask: UInt128 = 1) throws -> OFError? {
            let bench = try SwitchBench(change)
            do throws(OFError) {
                try bench.add({ $0.set(field, mask, mask: mask) }, [])
                return nil
            } catch {
                return error
            }
        }
        #expect(try refused({ $0.ctState = false }, Location.ctState, 0x20) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctStateNAT = false }, Location.ctState, 0x40) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctStateNAT = false }, Location.ctState, 0x20) == nil)
        #expect(try refused({ $0.ctZone = false }, Location.ctZone) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctMark = false }, Location.ctMark) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctLabel = false }, Location.ctLabel) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctOrigTuple = false }, Location.ctNwSrc) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.ctOrigTuple6 = false }, Location.ctIPv6Src) == .nxbmcCtDatapathSupport)
        #expect(try refused({ $0.recirculation = false }, Location.recircID) == .bmcBadField)
        var ct = CTAction()
        ct.commit = true
        for change: (inout DpifCapabilities) -> Void in [{ $0.ctState = false }, { $0.recirculation = false }] {
            let bench = try SwitchBench(change)
            #expect(throws: OFError.nxbacCtDatapathSupport) { try bench.add([.ct(ct)]) }
        }
        var nat = ct
        nat.actions = [.nat(NATAction())]
        let bench = try SwitchBench { $0.ctNAT = false }
        #expect(throws: OFError.nxbacCtDatapathSupport) { try bench.add([.ct(nat)]) }
        try bench.add([.ct(ct)])
    }

    @Sendable private static func withoutCtClearTheStateIsForgottenInTranslationOnly() throws {
        let bench = try SwitchBench { $0.ctClear = false }
        try bench.add([.ctClear, .output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        #expect(bench.sent[1].count == 1)
    }

    @Sendable private static func withoutMetersTheInstructionDoesNothingToTheDatapath() throws {
        let bench = try SwitchBench { $0.meters = false }
        #expect(bench.datapath.meters == nil)
        #expect(throws: OFError.mmfcInvalidMeter) { try bench.add([.meter(1), .output(OFPort(2), maxLength: 0)]) }
    }

    @Sendable private static func withoutTCPFlagsAMatchOfThemIsRefused() throws {
        let bench = try SwitchBench { $0.tcpFlags = false }
        #expect(throws: OFError.bmcBadField) {
            try bench.add(
                {
                    $0.set(Location.ethType, 0x0800)
                    $0.set(Location.nwProto, 6)
                    $0.set(Location.tcpFlags, 2, mask: 2)
                }, [])
        }
    }

    @Sendable private static func withoutMegaflowsEveryFlowIsExact() throws {
        let bench = try SwitchBench { $0.megaflows = false }
        try bench.add([.output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        let flow = try #require(bench.installed.first)
        for l in [Location.ethSrc, Location.ethDst, Location.nwSrc, Location.nwDst, Location.tpSrc, Location.tpDst] {
            #expect(flow.mask.isExact(l))
        }
    }

    @Sendable private static func withoutNDExtensionsAMatchOfThemIsRefused() throws {
        let bench = try SwitchBench { $0.ndExtensions = false }
        #expect(throws: OFError.bmcBadField) {
            try bench.add(
                {
                    $0.set(Location.ethType, 0x86dd)
                    $0.set(Location.ndOptionsType, 1)
                }, [])
        }
    }

    @Sendable private static func withoutCloneWhatCannotBeUndoneTakesTheSlowPath() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.clone = capable }
            try bench.add([.clone([.outputTruncated(OFPort(2), maxLength: 40)]), .output(OFPort(3), maxLength: 0)])
            try bench.receive(SwitchBench.udp, size: 100)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].map(\.count) == [40])
            #expect(bench.sent[2].map(\.count) == [100])
            #expect((bench.installed.first?.actions == [.userspace(.slowPath(.action))]) == !capable)
        }
    }

    @Sendable private static func deeperSamplesTakeTheSlowPath() throws {
        var capabilities = DpifCapabilities()
        capabilities.sampleNesting = 1
        let check = CapabilityCheck(capabilities)
        #expect(check.problem(actions: [.sample(probability: .max, [.output(1)])]) == nil)
        #expect(check.problem(actions: [.sample(probability: .max, [.sample(probability: 1, [.output(1)])])]) != nil)
        // Whatever the check objects to becomes a flow of the slow path; sampling by OpenFlow is one level deep.
        for nesting in [0, 1] {
            let bench = try SwitchBench { $0.sampleNesting = nesting }
            var sample = SampleAction()
            sample.probability = 100
            try bench.add([.sample(sample), .output(OFPort(2), maxLength: 0)])
            try bench.receive(SwitchBench.udp)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count == 1)
        }
    }

    /// What a datapath is told to do with a packet whose connection is committed.
    private static func committed(_ bench: SwitchBench) throws -> DpConntrack {
        var ct = CTAction()
        ct.commit = true
        try bench.add([.ct(ct)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        return try #require(
            bench.installed.first?.actions.lazy.compactMap { action -> DpConntrack? in
                if case .ct(let ct) = action { ct } else { nil }
            }.first)
    }

    @Sendable private static func withoutEventMasksNoneIsGiven() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.ctEventMask = capable }
            let action = try committed(bench)
            #expect((action.eventMask != nil) == capable)
        }
    }

    @Sendable private static func groupsUseTheAlgorithmsThatThereAre() throws {
        for highest in [0, 1] {
            let bench = try SwitchBench { $0.maxHashAlgorithm = highest }
            let buckets = (2...3).map { Group.Bucket(id: $0, weight: 1, actions: [.output(OFPort($0), maxLength: 0)]) }
            bench.bridge.setGroup(
                Group(
                    id: 1, kind: .select, buckets: buckets, method: "dp_hash", parameter: 1 << 32,
                    maxHashAlgorithm: bench.backer.capabilities.maxHashAlgorithm), id: 1)
            try bench.add([.group(1)])
            try bench.receive(SwitchBench.udp)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count + bench.sent[2].count == 1)
            let algorithms = bench.installed.flatMap(\.actions).compactMap { action -> HashAlgorithm? in
                if case .hash(let algorithm, _) = action { algorithm } else { nil }
            }
            #expect(algorithms == [highest == 0 ? .l4 : .symmetricL4])
        }
    }

    @Sendable private static func withoutExplicitDropNothingIsInstalledForIt() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.explicitDrop = capable }
            try bench.add([])
            try bench.receive(SwitchBench.udp)
            try bench.receive(SwitchBench.udp)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.installed.first?.actions == (capable ? [.drop(DropCode.pipeline)] : []))
            let counted = bench.datapath.drops.first { $0.name == "drop_action_of_pipeline" }?.count
            #expect(counted == (capable ? 2 : 0))
        }
    }

    @Sendable private static func tagsThatCannotBeMatchedTakeTheSlowPath() throws {
        for depth in [1, 2] {
            let bench = try SwitchBench()
            bench.backer.vlanLimit = 2
            bench.backer.capabilities.maxVLANHeaders = depth
            // Popping the outer tag and matching what comes next looks at both.
            try bench.add(
                { $0.set(Location.vlanTCI, 0x1005, mask: 0x1fff) }, [.stripVLAN(isPop: true), .resubmit(ResubmitAction(table: 1))])
            try bench.add({ $0.set(Location.vlanTCI, 0x1006, mask: 0x1fff) }, table: 1, [.output(OFPort(2), maxLength: 0)])
            try bench.receive(
                "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6,pcp=0),encap(eth_type(0x1234)))",
                size: 64)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count == 1)
            #expect((bench.installed.first?.actions == [.userspace(.slowPath(.match))]) == (depth == 1))
        }
    }

    @Sendable private static func labelsThatCannotBeMatchedTakeTheSlowPath() throws {
        for depth in [1, 3] {
            let bench = try SwitchBench { $0.maxMPLSDepth = depth }
            // The second label shows only to who pops the first.
            try bench.add({ $0.set(Location.ethType, 0x8847) }, [.pushMPLS(etherType: 0x8847), .output(OFPort(2), maxLength: 0)])
            try bench.receive(
                "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8847),mpls(lse0=0x5040,lse1=0x6140,lse2=0)", size: 64)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count == 1)
            let check = CapabilityCheck(bench.backer.capabilities)
            for flow in bench.installed { #expect(check.problem(key: flow.key, mask: flow.mask, actions: flow.actions) == nil) }
        }
    }

    @Sendable private static func withoutAddMPLSBarePacketsTakeTheSlowPath() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.addMPLS = capable }
            try bench.add([
                .decap(packetType: 0x1fffe), .encap(EncapAction(packetType: 0x18847)), .encap(EncapAction(packetType: 0)),
                .output(OFPort(2), maxLength: 0),
            ])
            try bench.receive(SwitchBench.udp)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.installed.first.map { $0.actions == [.userspace(.slowPath(.action))] } == !capable)
        }
    }

    @Sendable private static func withoutSCTPItsPortsTakeTheSlowPath() throws {
        let packet =
            "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=132,tos=0,ttl=64,frag=no),sctp(src=5,dst=6)"
        for capable in [true, false] {
            let bench = try SwitchBench { $0.sctp = capable }
            try bench.add(
                {
                    $0.set(Location.ethType, 0x0800)
                    $0.set(Location.nwProto, 132)
                    $0.set(Location.tpDst, 6)
                }, [.output(OFPort(2), maxLength: 0)])
            try bench.receive(packet)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count == 1)
            #expect((bench.installed.first?.actions == [.userspace(.slowPath(.match))]) == !capable)
        }
    }

    @Sendable private static func withoutLbOutputBondsRecirculate() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.lbOutput = capable }
            var settings = BundleSettings(name: "bond0")
            settings.bond.mode = .balanceTCP
            settings.bond.usesLbOutput = true
            bench.bridge.setBundle(settings, ports: [2, 3].compactMap { bench.bridge.port(OFPort($0)) })
            bench.bridge.bundles["bond0"]?.bond?.lacpStatus = { .negotiated }
            try bench.add([.output(.normal, maxLength: 0)])
            bench.bridge.run()
            try bench.receive(SwitchBench.udp)
            #expect(bench.datapath.refused.isEmpty)
            #expect(bench.sent[1].count + bench.sent[2].count == 1)
            let first = bench.installed.filter { $0.key.recircID == 0 }.flatMap(\.actions)
            let hasLbOutput = first.contains { if case .lbOutput = $0 { true } else { false } }
            let recirculates = first.contains { if case .recirc = $0 { true } else { false } }
            #expect(hasLbOutput == capable && recirculates == !capable)
        }
    }

    @Sendable private static func withoutTimeoutPoliciesNoneIsNamed() throws {
        for capable in [true, false] {
            let bench = try SwitchBench { $0.ctTimeoutPolicy = capable }
            bench.backer.setTimeoutPolicies([0: ["udp_first": 3]])
            let action = try committed(bench)
            #expect((action.timeoutPolicy != nil) == capable)
        }
    }

    @Sendable private static func withoutTunnelPushPopTunnelsAreSet() throws {
        let bench = try SwitchBench { $0.tunnelPushPop = false }
        let settings = try #require(TunnelSettings(type: "vxlan", options: ["remote_ip": "192.0.2.2", "key": "7"]))
        let number = try bench.backer.openTunnel(settings) { DummyDevice(name: $0, type: $1) }
        _ = try bench.bridge.addPort(
            DummyDevice(name: "vx", type: "dummy"), requested: OFPort(9), datapathPort: number, tunnel: settings)
        try bench.add([.output(OFPort(9), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        #expect(bench.datapath.refused.isEmpty)
        let actions = bench.installed.first?.actions ?? []
        #expect(actions.contains { if case .set(let set) = $0 { set.kind == .tunnel } else { false } })
        #expect(actions.contains(.output(number)))
    }

    @Sendable private static func withoutMultipleDatapathsASecondIsRefused() throws {
        for capable in [true, false] {
            let registry = DpifRegistry()
            registry.register(try DummyProvider(time: TimeSource(), profile: capable ? nil : "hyper-v"))
            let first = try registry.open(type: "dummy", name: "one")
            #expect(try registry.open(type: "dummy", name: "one") === first)
            if capable {
                #expect(try registry.open(type: "dummy", name: "two") !== first)
            } else {
                #expect(throws: DpifError.self) { try registry.open(type: "dummy", name: "two") }
            }
        }
    }

    /// Whatever a datapath lacks, and whatever flows and packets there are: it is never asked for more than it advertised.
    @Test func noDatapathIsAskedForWhatItDidNotAdvertise() throws {
        var g = SeededGenerator(for: "capabilities")
        var installed = 0
        for _ in 0..<400 {
            let lacking = CapabilityRow.all.filter { _ in Int.random(in: 0..<3, using: &g) == 0 }
            let bench = try SwitchBench { capabilities in
                for row in lacking {
                    switch row.member {
                    case .flag(let path): if row.title != "Tunnel push pop" { capabilities[keyPath: path] = false }
                    case .count(let path): capabilities[keyPath: path] = Int.random(in: 0...capabilities[keyPath: path], using: &g)
                    }
                }
            }
            let buckets = (2...3).map { Group.Bucket(id: $0, weight: 1, actions: [.output(OFPort($0), maxLength: 0)]) }
            bench.bridge.setGroup(
                Group(
                    id: 1, kind: .select, buckets: buckets, method: "dp_hash", parameter: 1 << 32,
                    maxHashAlgorithm: bench.backer.capabilities.maxHashAlgorithm), id: 1)
            for table in [0, 1, 2] as [UInt8] {
                for _ in 0..<4 {
                    try? bench.add(
                        { RandomPipeline.match(&$0, &g) }, table: table, priority: UInt16.random(in: 1...5, using: &g),
                        RandomPipeline.actions(&g, table))
                }
            }
            for _ in 0..<8 { try bench.receive(RandomPipeline.packets.randomElement(using: &g) ?? "", size: 100) }
            bench.bridge.setGroup(nil, id: 1)
            bench.backer.revalidate()
            #expect(bench.datapath.refused.isEmpty, "seed \(g.seed), without \(lacking.map(\.title))")
            installed += bench.installed.count
        }
        #expect(installed > 300)
    }
}

/// Matches, actions and packets that touch what capabilities are about.
private enum RandomPipeline {
    static let packets = [
        SwitchBench.udp,
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=5,dst=6),tcp_flags(syn)",
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=132,tos=0,ttl=64,frag=no),sctp(src=5,dst=6)",
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8100),vlan(vid=5,pcp=1),encap(eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=1,frag=no),udp(src=5,dst=6))",
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6,pcp=0),encap(eth_type(0x1234)))",
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x8847),mpls(lse0=0x5040,lse1=0x6140,lse2=0)",
        "eth(src=50:54:00:00:00:01,dst=33:33:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0,proto=58,tclass=0,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=fe80::3,sll=50:54:00:00:00:01,tll=00:00:00:00:00:00)",
        "eth(src=50:54:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:01,tha=00:00:00:00:00:00)",
    ]

    static func match(_ m: inout Match, _ g: inout SeededGenerator) {
        switch Int.random(in: 0..<12, using: &g) {
        case 0: m.set(Location.ctState, 0x21, mask: 0x21)
        case 1: m.set(Location.ctState, 0, mask: 0x40)
        case 2: m.set(Location.ctMark, 0, mask: 3)
        case 3: m.set(Location.ctLabel, 0, mask: 1)
        case 4: m.set(Location.ctZone, 0)
        case 5:
            m.set(Location.ethType, 0x0800)
            m.set(Location.nwProto, 6)
            m.set(Location.tcpFlags, 2, mask: 2)
        case 6:
            m.set(Location.ethType, 0x0800)
            m.set(Location.nwProto, [6, 17, 132].randomElement(using: &g) ?? 6)
            m.set(Location.tpDst, 6)
        case 7: m.set(Location.vlanTCI, 0x1005, mask: 0x1fff)
        case 8: m.set(Location.ethType, 0x8847)
        case 9:
            m.set(Location.ethType, 0x86dd)
            m.set(Location.nwProto, 58)
            m.set(Location.tpSrc, 135)
            m.set(Location.ndOptionsType, 1)
        case 10: m.set(Location.recircID, 0)
        default: break
        }
    }

    static func actions(_ g: inout SeededGenerator, _ table: UInt8, depth: Int = 0) -> [OFAction] {
        (0..<Int.random(in: 1...4, using: &g)).flatMap { _ in action(&g, table, depth) }
    }

    private static func action(_ g: inout SeededGenerator, _ table: UInt8, _ depth: Int) -> [OFAction] {
        // Always further on, so that a walk ends soon.
        let next = OFAction.resubmit(ResubmitAction(table: table + 1))
        switch Int.random(in: 0..<20, using: &g) {
        case 0: return [.setEthSrc(UInt64.random(in: 0..<1 << 48, using: &g))]
        case 1: return [.outputTruncated(OFPort(2), maxLength: 40)]
        case 2 where depth < 2: return [.clone(actions(&g, table, depth: depth + 1))]
        case 3: return [.checkPacketLarger(90, to: Subfield(.reg0, low: 0, count: 1)), next]
        case 4:
            var ct = CTAction()
            ct.commit = Bool.random(using: &g)
            ct.zone = UInt16.random(in: 0...1, using: &g)
            if Bool.random(using: &g) { ct.recircTable = table + 1 }
            if ct.commit, Bool.random(using: &g) { ct.actions.append(.setField(SetFieldAction(.ctMark, 5))) }
            if ct.commit, Bool.random(using: &g) { ct.actions.append(.setField(SetFieldAction(.ctLabel, 5))) }
            if Bool.random(using: &g) {
                var nat = NATAction()
                nat.flags = .source
                nat.addresses = .ipv4(min: 0x0a00_0005, max: 0)
                ct.actions.append(.nat(nat))
            }
            return [.ct(ct)]
        case 5: return [.ctClear]
        case 6: return [.group(1)]
        case 7: return [.stripVLAN(isPop: true)]
        case 8: return [.pushVLAN(etherType: 0x8100), .setField(SetFieldAction(.vlanVID, 0x1007))]
        case 9: return [.pushMPLS(etherType: 0x8847)]
        case 10: return [.popMPLS(etherType: Bool.random(using: &g) ? 0x0800 : 0x8847), next]
        case 11: return [.setL4DstPort(UInt16.random(in: 1...9, using: &g), ipProto: 17)]
        case 12: return [.decTTL(DecTTLAction())]
        case 13: return [.output(.normal, maxLength: 0)]
        case 14: return [.output(.controller, maxLength: 100)]
        case 15: return [.setIPv4Dst(UInt32.random(in: 0...UInt32.max, using: &g))]
        case 16: return [.debugRecirc]
        default: return [Bool.random(using: &g) ? .output(OFPort(3), maxLength: 0) : next]
        }
    }
}
