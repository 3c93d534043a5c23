// Tunnels: what is put before a packet can be taken off again, over IPv4 and IPv6, and options say what they should.

import Dpif
import Flow
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
