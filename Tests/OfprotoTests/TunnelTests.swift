// Tunnels: what is put before a packet can be taken off again, over IPv4 and IPv6, and options say what they should.

import Dpif
import Flow
import Netdev
import OpenFlow
import Packet
import Testing

@testable import Datapath
@testable import Ofproto

@Suite struct TunnelTests {
    /// Sends a packet through a tunnel of a kind and checks what comes out.
    private func roundTrip(_ type: String, _ options: [String: String] = [:], isIPv6: Bool = false) throws {
        var all = options
        all["remote_ip"] = isIPv6 ? "2001:db8::2" : "192.0.2.2"
        all["key"] = "123"
        let settings = try #require(TunnelSettings(type: type, options: all))
        var flow = FlowKey()
        flow.tunID = 123
        flow.tunTTL = 64
        flow.tunFlags = TunnelFlag.key | TunnelFlag.dontFragment | (settings.checksum ? TunnelFlag.checksum : 0)
        let inner = try ODPFlow(
            parsing:
                "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=5,dst=6)"
        ).key
        var packet = inner.composePacket()
        if settings.layer == .legacyL3 {
            packet.remove(14, at: 0)
            flow.packetType = 1 << 16 | 0x0800
        }
        let before = packet.array
        let (a, b) =
            try isIPv6
            ? (#require(IPAddress(text: "2001:db8::1")), #require(IPAddress(text: "2001:db8::2")))
            : (#require(IPAddress(text: "192.0.2.1")), #require(IPAddress(text: "192.0.2.2")))
        let encoding = TunnelEncoding(
            settings: settings, flow: flow, source: a, destination: b, sourceMAC: 1, destinationMAC: 2, options: nil)
        packet.push(
            TunnelHeader(tunnelPort: 1, outPort: 2, header: encoding.header, type: settings.kind.rawValue, number: encoding.typeNumber),
            hash: 77, now: 1
        ) { 9 }
        var outer = FlowKey()
        outer.extract(from: &packet)
        #expect(outer.nwProto == settings.ipProtocol)
        #expect(isIPv6 ? outer.ipv6Dst == b.value : outer.nwDst == UInt32(truncatingIfNeeded: b.value))
        var key = FlowKey()
        #expect(packet.popTunnel(settings.kind.rawValue, options: nil, key: &key))
        #expect(packet.array == before)
        #expect(key.tunID == 123)
        #expect(key.packetType == flow.packetType)
        #expect(isIPv6 ? key[Location.tunIPv6Src] == a.value : key.tunSrc == UInt32(truncatingIfNeeded: a.value))
        // Whatever is cut off, nothing traps.
        let whole = encoding.header + before
        for size in 0..<whole.count {
            var cut = Packet(Array(whole[..<size]))
            var scratch = FlowKey()
            scratch.extract(from: &cut)
            var tunnel = FlowKey()
            _ = cut.popTunnel(settings.kind.rawValue, options: nil, key: &tunnel)
        }
    }

    @Test func vxlan() throws {
        try roundTrip("vxlan")
        try roundTrip("vxlan", ["csum": "true", "exts": "gpe"])
    }
    @Test func vxlanOverIPv6() throws { try roundTrip("vxlan", isIPv6: true) }
    @Test func geneve() throws { try roundTrip("geneve") }
    @Test func geneveOverIPv6() throws { try roundTrip("geneve", isIPv6: true) }
    @Test func gre() throws {
        try roundTrip("gre")
        try roundTrip("gre", ["csum": "true", "seq": "true"])
        try roundTrip("gre", ["packet_type": "legacy_l3"])
    }
    @Test func greOverIPv6() throws { try roundTrip("gre", isIPv6: true) }
    @Test func erspan() throws {
        try roundTrip("erspan", ["erspan_ver": "1", "erspan_idx": "3"])
        try roundTrip("erspan", ["erspan_ver": "2", "erspan_hwid": "7", "erspan_dir": "1"])
    }
    @Test func erspanOverIPv6() throws { try roundTrip("erspan", isIPv6: true) }
    @Test func gtpu() throws { try roundTrip("gtpu") }

    /// A bridge with an address by which tunnels reach the one host behind its port.
    private final class Underlay {
        let bridge: OpenFlowSwitch
        let cable: DummyDevice
        private(set) var sent: [[UInt8]] = []

        init(_ bench: SwitchBench, id: Int, address: UInt32, peer: UInt32) throws {
            bridge = OpenFlowSwitch(id: id, name: "br\(id)", backer: bench.backer)
            cable = DummyDevice(name: "q\(id)", type: "dummy")
            let local = DummyDevice(name: "br\(id)", type: "dummy-internal")
            local.setIPv4(address, prefix: 24)
            try local.setMAC(0xaa55_aa55_0000 | UInt64(id))
            for (device, number) in [(local, OFPort.local), (cable, OFPort(1))] {
                let port = try bridge.addPort(device, requested: number, datapathPort: try bench.datapath.addPort(device, requested: nil))
                bridge.setBundle(BundleSettings(name: device.name), ports: [port])
            }
            cable.onTransmit = { [unowned self] in sent.append(Array($0)) }
            var mod = FlowMod()
            mod.newCookie = 0
            mod.actions = [.output(.normal, maxLength: 0)]
            try bridge.modifyFlows(mod)
            bench.backer.routing.add(
                HostRoute(
                    network: IPAddress(peer), length: 24, mark: 0, device: bridge.name, gateway: nil, source: IPAddress(address),
                    origin: .user))
            _ = bench.backer.routing.setNeighbor(IPAddress(peer), 0xf8bc_1244_34b6, on: bridge.name, now: bench.time.now)
        }
    }

    @Test func multipleVTEPs() throws {
        let bench = try SwitchBench()
        let ends: [(local: UInt32, remote: UInt32)] = [(0x0101_0258, 0x0101_025c), (0x0101_0358, 0x0101_035c)]
        var underlays: [Underlay] = []
        for (i, end) in ends.enumerated() {
            underlays.append(try Underlay(bench, id: 2 + i, address: end.local, peer: end.remote))
            let options = [
                "remote_ip": IPAddress(end.remote).text, "local_ip": IPAddress(end.local).text, "key": "7",
            ]
            let settings = try #require(TunnelSettings(type: "vxlan", options: options))
            let number = try bench.backer.openTunnel(settings) { TunnelDevice(name: $0, type: $1) }
            _ = try bench.bridge.addPort(
                TunnelDevice(name: "v\(i)", type: "vxlan"), requested: OFPort(UInt32(11 + i)), datapathPort: number, tunnel: settings)
            // One way and the other.
            try bench.add({ $0.set(Location.inPort, UInt128(i + 1)) }, [.output(OFPort(UInt32(11 + i)), maxLength: 0)])
            try bench.add({ $0.set(Location.inPort, UInt128(11 + i)) }, [.output(OFPort(UInt32(i + 1)), maxLength: 0)])
        }
        defer { for underlay in underlays { underlay.bridge.destroy() } }
        // Both share the one port of the datapath.
        #expect(bench.datapath.ports.count { $0.name == "vxlan_sys_4789" } == 1)
        for (i, end) in ends.enumerated() {
            try bench.receive(SwitchBench.udp, port: i + 1)
            let frame = try #require(underlays[i].sent.last)
            func address(_ at: Int) -> UInt32 { frame[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) } }
            #expect(address(26) == end.local && address(30) == end.remote)
            // The answer: the same, from there to here.
            var answer = frame
            answer.replaceSubrange(0..<12, with: frame[6..<12] + frame[0..<6])
            answer.replaceSubrange(26..<34, with: frame[30..<34] + frame[26..<30])
            let before = bench.sent[i].count
            underlays[i].cable.receive(Packet(answer))
            #expect(bench.sent[i].count == before + 1 && bench.sent[i].last?.count == frame.count - 50)
            // From where no tunnel leads.
            answer.replaceSubrange(26..<30, with: [1, 1, 9, 9])
            underlays[i].cable.receive(Packet(answer))
            #expect(bench.sent[i].count == before + 1)
        }
        #expect(bench.datapath.refused.isEmpty)
    }

    @Test func routesByLongestPrefix() throws {
        let routing = TunnelRouting()
        func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text: text)) }
        for (network, length, bridge) in [("10.0.0.0", 8, "a"), ("10.1.0.0", 16, "b"), ("0.0.0.0", 0, "c")] {
            routing.add(
                HostRoute(
                    network: try ip(network), length: length, mark: 0, device: bridge, gateway: nil, source: try ip("10.0.0.1"),
                    origin: .user))
        }
        #expect(routing.lookup(try ip("10.1.2.3"))?.device == "b")
        #expect(routing.lookup(try ip("10.2.2.3"))?.device == "a")
        #expect(routing.lookup(try ip("192.0.2.1"))?.device == "c")
        #expect(routing.lookup(try ip("2001:db8::1")) == nil)
        #expect(routing.remove(try ip("10.1.0.0"), 16, mark: 0))
        #expect(routing.lookup(try ip("10.1.2.3"))?.device == "a")
        #expect(routing.setNeighbor(try ip("10.1.2.3"), 5, on: "a", now: 0))
        #expect(routing.neighbor(try ip("10.1.2.3"), on: "a", now: 100) == 5)
        #expect(routing.neighbor(try ip("10.1.2.3"), on: "a", now: routing.aging + 1) == nil)
    }
}
