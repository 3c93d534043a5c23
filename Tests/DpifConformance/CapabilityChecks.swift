// What is advertised is what is offered: each optional action works where it is advertised and is refused where it is not.

import Dpif
import Flow
import Packet

extension ConformanceCheck {
    /// An action and what a packet becomes by it.
    private static func action(
        _ name: String, needs: @escaping @Sendable (DpifCapabilities) -> [(String, Bool)],
        _ actions: @escaping @Sendable (ConformanceBench) -> [DpAction],
        works: @escaping @Sendable (ConformanceBench) throws -> Void
    ) -> [ConformanceCheck] {
        [
            ConformanceCheck("\(name) works where it is advertised", needs: needs) { b in
                try b.put(b.flow(actions(b), type: EtherType.ipv4))
                try works(b)
            },
            ConformanceCheck("\(name) is refused where it is not advertised") { b in
                guard b.subject.isStrict, needs(b.dpif.capabilities).contains(where: { !$0.1 }) else { return }
                try b.refuses(22, name) { () throws(DpifError) in try b.put(b.flow(actions(b), type: EtherType.ipv4)) }
            },
        ]
    }

    static let capabilityChecks: [ConformanceCheck] =
        action(
            "trunc", needs: { [("truncate", $0.truncate)] }, { [.truncate(60), $0.output(1), $0.output(2)] }
        ) { b in
            try b.inject()
            try b.require(try b.sent(1).map(\.count) == [60] && b.sent(2).map(\.count) == [100], "not one copy was cut")
        }
        + action(
            "clone", needs: { [("clone", $0.clone), ("VLAN", $0.maxVLANHeaders > 0)] },
            { [.clone([.pushVLAN(tpid: 0x8100, tci: 0x1005), $0.output(1)]), $0.output(2)] }
        ) { b in
            try b.inject()
            try b.require(try b.sent(1).map(\.count) == [104] && b.sent(2).map(\.count) == [100], "the clone's changes show outside")
        }
        + action(
            "sample", needs: { [("sample nesting", $0.sampleNesting > 0)] }, { [.sample(probability: .max, [$0.output(1)]), $0.output(2)] }
        ) { b in
            try b.inject()
            try b.require(try b.sent(1).count == 1 && b.sent(2).count == 1, "a certain sample was not taken")
        }
        + action(
            "check_pkt_len", needs: { [("check_pkt_len", $0.checkPacketLength)] },
            { [.checkPacketLength(99, greater: [$0.output(1)], lessOrEqual: [$0.output(2)])] }
        ) { b in
            try b.inject()
            try b.inject(0, try ConformanceBench.udp(size: 99))
            try b.require(try b.sent(1).map(\.count) == [100] && b.sent(2).map(\.count) == [99], "the wrong branch")
        }
        + action("recirc", needs: { [("recirculation", $0.recirculation)] }, { _ in [.recirc(7)] }) { b in
            try b.put(b.flow([b.output(2)], recirculation: 7))
            try b.inject()
            try b.require(try b.sent(2).count == 1 && b.upcalls.isEmpty, "the packet did not come round")
        }
        + action("meter", needs: { [("meters", $0.meters)] }, { [.meter(1), $0.output(1)] }) { b in
            try b.dpif.meters?.setMeter(1, DpMeter(inPackets: true, bands: [.init(rate: 1, burst: 2)]))
            for _ in 0..<10 { try b.inject() }
            let count = try b.sent(1).count
            try b.require((1..<10).contains(count), "\(count) of 10 packets passed")
            try b.require(b.dpif.meters?.meterStats(1)?.packets == 10, "the meter did not count")
        }
        + action("drop", needs: { [("explicit drop", $0.explicitDrop)] }, { [.drop(1), $0.output(1)] }) { b in
            try b.inject()
            try b.require(try b.sent(1).isEmpty, "the packet went on")
        }
        + action(
            "push_mpls", needs: { [("MPLS", $0.maxMPLSDepth > 0)] },
            { [.pushMPLS(lse: 5 << 12 | 0x100 | 64, ethType: 0x8847), $0.output(1), .popMPLS(ethType: 0x0800), $0.output(2)] }
        ) { b in
            try b.inject()
            try b.require(try b.sent(1).first.map { Array($0[12..<18]) } == [0x88, 0x47, 0, 0, 0x51, 64], "no label 5")
            try b.require(try b.sent(2) == [try ConformanceBench.udp()], "the label did not go")
        }
        + action("ct_clear", needs: { [("ct_clear", $0.ctClear)] }, { [.ctClear, $0.output(1)] }) { b in
            try b.inject()
            try b.require(try b.sent(1).count == 1, "the packet was lost")
        }
        + [
            ConformanceCheck("meters are there exactly when they are advertised") { b in
                try b.require(
                    (b.dpif.meters != nil) == b.dpif.capabilities.meters, "meters \(b.dpif.meters == nil ? "missing" : "not advertised")")
            },
            ConformanceCheck("VLAN tags beyond those advertised cannot be matched") { b in
                guard b.subject.isStrict, b.dpif.capabilities.maxVLANHeaders < 2 else { return }
                var flow = b.flow([])
                flow.mask.bits.innerVLANTCI = 0x1fff
                flow.ufid = UFID(key: flow.key, mask: flow.mask)
                try b.refuses(22, "a second VLAN tag") { () throws(DpifError) in try b.put(flow) }
            },
            ConformanceCheck("TCP flags are matched", needs: { [("tcp_flags", $0.tcpFlags)] }) { b in
                var flow = b.flow([b.output(1)])
                flow.key.ethType = 0x0800
                flow.key.nwProto = 6
                flow.key.tcpFlags = 2
                for l in [Location.ethType, Location.nwProto] { flow.mask.setExact(l) }
                flow.mask.bits.tcpFlags = 0x12
                flow.ufid = UFID(key: flow.key, mask: flow.mask)
                try b.put(flow)
                for flags in ["syn", "syn|ack"] {
                    let text =
                        "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=5,dst=6),tcp_flags(\(flags))"
                    try b.inject(0, try ODPFlow(parsing: text).key.composePacket(size: 0).array)
                }
                try b.require(try b.sent(1).count == 1 && b.upcalls.count == 1, "a SYN and a SYN with ACK were not told apart")
            },
        ]
}
