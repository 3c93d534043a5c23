// What the engine does with each action, with packets in and out.

import Dpif
import Flow
import Packet
import Testing

@testable import Datapath

/// An engine with three ports that keep what is sent to them.
private struct Bench {
    let time = TimeSource()
    let engine: UserspaceDatapath
    let sinks: [Sink]

    init() throws {
        time.stop()
        engine = UserspaceDatapath(type: "test", name: "test", capabilities: DpifCapabilities(), time: time)
        sinks = (1...3).map { Sink("p\($0)") }
        for (i, sink) in sinks.enumerated() { _ = try engine.addPort(sink, requested: UInt32(i + 1)) }
    }

    /// A flow for everything from port 1 with a recirculation id.
    func flow(_ actions: String, recirculation: UInt32 = 0) throws {
        var match = Match()
        match.set(Location.inPort, 1)
        match.set(Location.recircID, UInt128(recirculation))
        try engine.putFlow(
            DpFlowPut(
                .create,
                DpFlow(
                    ufid: UFID(key: match.key, mask: match.mask), key: match.key, mask: match.mask,
                    actions: try DpAction.parse(actions))))
    }

    static func udp(payload: Int = 64) throws -> [UInt8] {
        try ODPFlow(
            parsing:
                "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=5,dst=6)"
        ).key.composePacket(size: 42 + payload).array
    }
}

final class Sink: PacketDevice {
    let name: String
    var sent: [[UInt8]] = []
    var receiver: ((consuming Packet) -> Void)?
    init(_ name: String) { self.name = name }
    var type: String { "dummy" }
    var macAddress: UInt64 { 0 }
    var mtu: Int { 1500 }
    var isAdminUp: Bool { true }
    var isLinkUp: Bool { true }
    var linkResets: UInt64 { 0 }
    var changeCount: UInt64 { 1 }
    var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) { ([], [], [], []) }
    var stats: DeviceStats { DeviceStats() }
    var status: [String: String] { [:] }
    func setAdminUp(_ up: Bool) {}
    func setMAC(_ address: UInt64) {}
    func setMTU(_ mtu: Int) {}
    func transmit(_ packet: consuming Packet) { sent.append(packet.array) }
}

@Suite struct EngineTests {
    @Test func metersDrop() throws {
        let bench = try Bench()
        try bench.engine.meters?.setMeter(3, DpMeter(inPackets: true, bands: [.init(rate: 1, burst: 2)]))
        try bench.flow("meter(3),2")
        for _ in 0..<5 { bench.engine.receive(Packet(try Bench.udp()), on: 1) }
        #expect(bench.sinks[1].sent.count == 2)
        #expect(bench.engine.meters?.meterStats(3)?.packets == 5)
        bench.time.warp(1000)
        bench.engine.receive(Packet(try Bench.udp()), on: 1)
        #expect(bench.sinks[1].sent.count == 3)
    }

    @Test func checkPacketLengthBranches() throws {
        let bench = try Bench()
        try bench.flow("check_pkt_len(size=100,gt(2),le(3))")
        bench.engine.receive(Packet(try Bench.udp(payload: 20)), on: 1)
        bench.engine.receive(Packet(try Bench.udp(payload: 200)), on: 1)
        #expect(bench.sinks[1].sent.map(\.count) == [242])
        #expect(bench.sinks[2].sent.map(\.count) == [62])
    }

    @Test func mplsIsPushedAndPopped() throws {
        let bench = try Bench()
        try bench.flow("push_mpls(label=5,tc=1,ttl=3,bos=1,eth_type=0x8847),2,pop_mpls(eth_type=0x800),3")
        let packet = try Bench.udp()
        bench.engine.receive(Packet(packet), on: 1)
        let pushed = try #require(bench.sinks[1].sent.first)
        #expect(Array(pushed[12..<18]) == [0x88, 0x47, 0x00, 0x00, 0x53, 0x03])
        #expect(bench.sinks[2].sent == [packet])
    }

    @Test func flowsAreFoundByUFID() throws {
        let bench = try Bench()
        try bench.flow("2")
        var ids: [UFID] = []
        bench.engine.dumpFlows {
            ids.append($0.ufid)
            return true
        }
        let id = try #require(ids.first)
        #expect(bench.engine.flow(id)?.actions == [.output(2)])
        #expect(UFID(text: id.description) == id)
        try bench.engine.deleteFlow(id)
        #expect(bench.engine.flow(id) == nil)
        #expect(throws: DpifError.self) { try bench.engine.deleteFlow(id) }
    }

    @Test func recirculationLooksUpAgain() throws {
        let bench = try Bench()
        try bench.flow("push_vlan(vid=5,pcp=0),recirc(0x7)")
        try bench.flow("3", recirculation: 7)
        bench.engine.receive(Packet(try Bench.udp()), on: 1)
        #expect(bench.sinks[2].sent.first.map { Array($0[12..<16]) } == [0x81, 0x00, 0x00, 0x05])
    }

    @Test func truncationHoldsForOneOutput() throws {
        let bench = try Bench()
        try bench.flow("trunc(50),2,3")
        bench.engine.receive(Packet(try Bench.udp()), on: 1)
        #expect(bench.sinks[1].sent.map(\.count) == [50])
        #expect(bench.sinks[2].sent.map(\.count) == [106])
    }

    /// dp_hash is the hash of the packet as it came in, whatever was written since.
    @Test func hashIsOfThePacketThatCame() throws {
        let bench = try Bench()
        var came = FlowKey()
        var packet = Packet(try Bench.udp())
        came.extract(from: &packet)
        let hash = MurmurHash.pair(came.fiveTupleHash(basis: 0), 0)
        try bench.flow("set(ipv4(dst=10.0.0.9)),hash(l4(0)),recirc(0x7)")
        for (wanted, port) in [(hash, 3), (~hash, 2)] {
            let flow = try ODPFlow(parsing: "recirc_id(0x7),dp_hash(\(wanted)),in_port(1)")
            try bench.engine.putFlow(
                DpFlowPut(
                    .create,
                    DpFlow(
                        ufid: UFID(key: flow.key, mask: flow.mask), key: flow.key, mask: flow.mask, actions: [.output(UInt32(port))])))
        }
        bench.engine.receive(packet, on: 1)
        #expect(bench.sinks[2].sent.count == 1)
        #expect(bench.sinks[1].sent.isEmpty)
    }

    /// What is below a label may be an Ethernet frame.
    @Test func labelIsTakenOffOfAFrame() throws {
        let bench = try Bench()
        let inner = try Bench.udp()
        try bench.flow("add_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x6558),2")
        bench.engine.receive(Packet(inner), on: 1)
        #expect(bench.sinks[1].sent == [inner])
    }

    /// A label behind two tags is found as long as nobody looks at the packet anew, of which only one tag is seen then.
    @Test(arguments: [("", 64), ("userspace(pid=0,slow_path(action)),", 9)] as [(String, UInt8)])
    func labelBehindTwoTagsIsRewrittenWhereItIsSeen(_ look: String, _ ttl: UInt8) throws {
        let bench = try Bench()
        let tags = "push_vlan(vid=1,pcp=0),push_vlan(vid=2,pcp=0)"
        let label = "push_mpls(label=5,tc=0,ttl=9,bos=1,eth_type=0x8847)"
        try bench.flow("\(tags),\(label),\(look)set(mpls(label=5,tc=0,ttl=64,bos=1)),2")
        bench.engine.receive(Packet(try Bench.udp()), on: 1)
        let sent = try #require(bench.sinks[1].sent.first)
        #expect(Array(sent[12..<26]) == [0x81, 0, 0, 2, 0x81, 0, 0, 1, 0x88, 0x47, 0, 0, 0x51, ttl])
    }
}
