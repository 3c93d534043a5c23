// The connection tracker: states, translation of addresses, fragments, limits and timeouts.

import Dpif
import Flow
import Packet
import Testing

@testable import Datapath

@Suite struct ConntrackTests {
    /// A tracker with a clock of its own.
    private final class Bench {
        let tracker = ConnectionTracker()
        var now: Int64 = 1_000

        /// Tracks a packet with these headers.
        func track(_ flow: FlowKey, _ action: DpConntrack = DpConntrack()) -> (key: FlowKey, bytes: [UInt8])? {
            track(packet: flow.composePacket(), action)
        }

        /// Tracks a packet and returns its key afterwards with its bytes, or nil when it is held.
        func track(packet: consuming Packet, _ action: DpConntrack) -> (key: FlowKey, bytes: [UInt8])? {
            var packet = packet
            var key = FlowKey()
            var parsed = key
            parsed.extract(from: &packet)
            guard case .tracked = tracker.track(&packet, key: &key, parsed: parsed, action, now: now) else { return nil }
            var after = key
            after.extract(from: &packet)
            return (after, packet.array)
        }
    }

    private static func key(
        _ source: String, _ destination: String, _ rest: String = ",udp(src=5,dst=6)", proto: Int = 17
    ) throws -> FlowKey {
        let isIPv6 = source.contains(":")
        let network =
            isIPv6
            ? "eth_type(0x86dd),ipv6(src=\(source),dst=\(destination),label=0,proto=\(proto),tclass=0,hlimit=64,frag=no)"
            : "eth_type(0x0800),ipv4(src=\(source),dst=\(destination),proto=\(proto),tos=0,ttl=64,frag=no)"
        return try ODPFlow(
            parsing: "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),\(network)\(rest)"
        ).key
    }

    private static func commit(zone: UInt16 = 0, _ change: (inout DpConntrack) -> Void = { _ in }) -> DpConntrack {
        var action = DpConntrack()
        action.commit = true
        action.zone = zone
        change(&action)
        return action
    }

    private static let new = CTState.tracked | CTState.new
    private static let reply = CTState.tracked | CTState.established | CTState.reply

    private func checkConversation(_ a: String, _ b: String) throws {
        let bench = Bench()
        let there = try Self.key(a, b)
        let back = try Self.key(b, a, ",udp(src=6,dst=5)")
        #expect(bench.track(back)?.key.ctState == Self.new)
        #expect(bench.track(there, Self.commit { $0.mark = .init(7, .max) })?.key.ctMark == 7)
        let answer = try #require(bench.track(back)?.key)
        #expect(answer.ctState == Self.reply)
        #expect(answer.ctMark == 7)
        #expect(bench.track(there)?.key.ctState == CTState.tracked | CTState.established)
        // In another zone nothing is known.
        var other = DpConntrack()
        other.zone = 3
        #expect(bench.track(there, other)?.key.ctState == Self.new)
        for _ in 0..<40 {
            bench.now += 1_000
            bench.tracker.expire(now: bench.now)
        }
        #expect(bench.tracker.connectionCount == 0)
    }

    @Test func connectionsAreFollowed() throws { try checkConversation("10.0.0.1", "10.0.0.2") }
    @Test func connectionsOverIPv6AreFollowed() throws { try checkConversation("2001:db8::1", "2001:db8::2") }

    private func checkTranslation(_ a: String, _ b: String, _ outside: String) throws {
        let bench = Bench()
        let there = try Self.key(a, b)
        let address = try Self.key(outside, b)
        let nat = Self.commit(zone: 1) {
            var n = DpNAT()
            n.kind = .source
            n.isIPv6 = a.contains(":")
            n.addresses = n.isIPv6 ? address.ipv6Src...address.ipv6Src : UInt128(address.nwSrc)...UInt128(address.nwSrc)
            n.ports = 4000...4000
            $0.nat = n
        }
        let sent = try #require(bench.track(there, nat))
        #expect(sent.key.tpSrc == 4000)
        #expect(sent.key.nwSrc == address.nwSrc && sent.key.ipv6Src == address.ipv6Src)
        #expect(sent.key.ctState == Self.new | CTState.sourceNAT)
        // What a packet built anew would have: the checksums are right.
        var expected = address
        expected.tpSrc = 4000
        #expect(sent.bytes == expected.composePacket().array)
        var back = DpConntrack()
        back.zone = 1
        back.nat = DpNAT()
        let answer = try #require(bench.track(try Self.key(b, outside, ",udp(src=6,dst=4000)"), back))
        #expect(answer.bytes == (try Self.key(b, a, ",udp(src=6,dst=5)")).composePacket().array)
        #expect(answer.key.ctState == Self.reply | CTState.destinationNAT)
        // The one address and port is taken: another client gets no connection.
        let second = try Self.key(a, b, ",udp(src=9,dst=6)")
        #expect(bench.track(second, nat)?.key.tpSrc == 9)
        #expect(bench.tracker.connectionCount == 1)
    }

    @Test func addressesAreTranslated() throws { try checkTranslation("10.0.0.1", "10.0.0.2", "192.0.2.1") }
    @Test func addressesOfIPv6AreTranslated() throws { try checkTranslation("2001:db8::1", "2001:db8::2", "2001:db8::99") }

    @Test func tcpWindowsAndHandshakes() throws {
        let bench = Bench()
        func segment(_ reply: Bool, _ flags: UInt16, _ sequence: UInt32, _ ack: UInt32) throws -> Packet {
            var key = try Self.key(
                reply ? "10.0.0.2" : "10.0.0.1", reply ? "10.0.0.1" : "10.0.0.2",
                reply ? ",tcp(src=80,dst=1000)" : ",tcp(src=1000,dst=80)", proto: 6)
            key.tcpFlags = flags
            var packet = key.composePacket(size: 54)
            for (at, value) in [(38, sequence), (42, ack)] {
                packet.store16(50, InternetChecksum.update(packet.load16(50), from: packet.load32(at), to: value))
                packet.store32(at, value)
            }
            return packet
        }
        func state(_ reply: Bool, _ flags: UInt16, _ sequence: UInt32, _ ack: UInt32) throws -> UInt16? {
            bench.track(packet: try segment(reply, flags, sequence, ack), Self.commit())?.key.ctState
        }
        #expect(try state(true, 0x12, 500, 101) == CTState.tracked | CTState.invalid)
        #expect(try state(false, 0x02, 100, 0) == Self.new)
        #expect(try state(true, 0x12, 500, 101) == Self.reply)
        #expect(try state(false, 0x10, 101, 501) == CTState.tracked | CTState.established)
        #expect(try state(false, 0x10, 101, 10_000_501) == CTState.tracked | CTState.invalid)
        #expect(try state(false, 0x03, 101, 501) == CTState.tracked | CTState.invalid)
        let entry = try #require(bench.tracker.connections(zone: nil, now: bench.now).first)
        #expect(entry.tcp?.original.state == "ESTABLISHED")
        bench.tracker.checksTCPSequence = false
        #expect(try state(false, 0x10, 101, 10_000_501) == CTState.tracked | CTState.established)
    }

    /// A connection that starts anew does not get the translated port that it had, until that is swept.
    @Test func translatedPortsOfRetiredConnectionsStayTaken() throws {
        let bench = Bench()
        let outside = try Self.key("192.0.2.1", "10.0.0.2")
        let nat = Self.commit {
            var n = DpNAT()
            n.kind = .source
            n.addresses = UInt128(outside.nwSrc)...UInt128(outside.nwSrc)
            $0.nat = n
        }
        func send(_ source: String, _ destination: String, _ ports: String, flags: UInt16) throws -> FlowKey {
            var key = try Self.key(source, destination, ",tcp(\(ports))", proto: 6)
            key.tcpFlags = flags
            return try #require(bench.track(packet: key.composePacket(size: 54), nat)?.key)
        }
        let first = try send("10.0.0.1", "10.0.0.2", "src=2000,dst=80", flags: 2)
        #expect(first.nwSrc == outside.nwSrc && first.tpSrc == 2000)
        _ = try send("10.0.0.1", "10.0.0.2", "src=2000,dst=80", flags: 4)
        let again = try send("10.0.0.1", "10.0.0.2", "src=2000,dst=80", flags: 2)
        #expect(again.ctState & CTState.new != 0 && again.tpSrc != 2000)
        #expect(bench.tracker.connectionCount == 1)
        #expect(try send("10.0.0.2", "192.0.2.1", "src=80,dst=2000", flags: 2).ctState == CTState.tracked | CTState.invalid)
        for _ in 0..<8 {
            bench.now += 1_000
            bench.tracker.expire(now: bench.now)
        }
        #expect(try send("10.0.0.2", "192.0.2.1", "src=80,dst=2000", flags: 2).ctState & CTState.new != 0)
    }

    private func checkFragments(_ a: String, _ b: String, header: Int) throws {
        let bench = Bench()
        let isIPv6 = a.contains(":")
        var datagram = try Self.key(a, b).composePacket(size: 3000)
        let l4 = 14 + header
        datagram.store16(l4 + 4, UInt16(datagram.count - l4))
        datagram.store16(l4 + 6, 0)
        var sum = UInt64(17 + datagram.count - l4)
        sum = InternetChecksum.partial(
            UnsafeRawBufferPointer(rebasing: datagram.bytes[(isIPv6 ? 22 : 26)..<(isIPv6 ? 54 : 34)]), sum)
        sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: datagram.bytes[l4...]), sum)
        datagram.store16(l4 + 6, InternetChecksum.finish(sum))
        let whole = datagram.array
        let network = Array(whole[14..<(14 + header)])
        let payload = Array(whole[(14 + header)...])
        func fragment(_ range: Range<Int>, more: Bool) -> Packet {
            var bytes = Array(whole[..<14]) + network
            if isIPv6 { bytes += [17, 0] + [0, 0, 0, 0, 0, 9] }
            bytes += payload[range]
            var packet = Packet(bytes)
            if isIPv6 {
                packet.store16(18, UInt16(8 + range.count))
                packet.store8(20, 44)
                packet.store16(56, UInt16(range.lowerBound) | (more ? 1 : 0))
            } else {
                packet.store16(16, UInt16(header + range.count))
                packet.store16(20, UInt16(range.lowerBound / 8) | (more ? 0x2000 : 0))
                packet.store16(24, 0)
                packet.store16(24, InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: packet.bytes[14..<34])))
            }
            return packet
        }
        let cuts = [(1400, 2800, true), (0, 1400, true), (2800, payload.count, false)]
        for (i, cut) in cuts.enumerated() {
            var packet = fragment(cut.0..<cut.1, more: cut.2)
            var key = FlowKey()
            var parsed = key
            parsed.extract(from: &packet)
            let outcome = bench.tracker.track(&packet, key: &key, parsed: parsed, Self.commit(), now: bench.now)
            switch outcome {
            case .held: #expect(i < 2)
            case .released(let pieces):
                #expect(i == 2)
                #expect(pieces.count == 3)
                #expect(pieces.allSatisfy { $0.key.ctState == Self.new })
                let sorted = cuts.sorted { $0.0 < $1.0 }
                for (piece, cut) in zip(pieces, sorted) {
                    #expect(piece.packet == fragment(cut.0..<cut.1, more: cut.2).array)
                }
            case .tracked: Issue.record("fragment \(i) was tracked by itself")
            }
        }
        #expect(bench.tracker.connectionCount == 1)
        // One alone is dropped after a while.
        var lonely = fragment(0..<1400, more: true)
        var key = FlowKey()
        var parsed = key
        parsed.extract(from: &lonely)
        _ = bench.tracker.track(&lonely, key: &key, parsed: parsed, Self.commit(), now: bench.now)
        bench.tracker.expire(now: bench.now + 15_000)
        #expect(bench.tracker.reassembly.withLock { $0.status.count } == 0)
    }

    @Test func fragmentsWaitForEachOther() throws { try checkFragments("10.0.0.1", "10.0.0.2", header: 20) }
    @Test func fragmentsOfIPv6WaitForEachOther() throws {
        try checkFragments("2001:db8::1", "2001:db8::2", header: 40)
    }

    @Test func zonesAreLimited() throws {
        let bench = Bench()
        bench.tracker.setZoneLimit(5, 2)
        for port in 1...4 {
            _ = bench.track(try Self.key("10.0.0.1", "10.0.0.2", ",udp(src=\(port),dst=6)"), Self.commit(zone: 5))
        }
        #expect(bench.tracker.zoneLimit(5).count == 2)
        bench.tracker.flush(zone: 5)
        #expect(bench.tracker.zoneLimit(5).count == 0)
        bench.tracker.maxConnections = 1
        for port in 1...4 {
            _ = bench.track(try Self.key("10.0.0.1", "10.0.0.2", ",udp(src=\(port),dst=6)"), Self.commit())
        }
        #expect(bench.tracker.connectionCount == 1)
    }

    @Test func policiesChangeTimeouts() throws {
        let bench = Bench()
        bench.tracker.setTimeoutPolicy("short", ["udp_first": 3])
        _ = bench.track(try Self.key("10.0.0.1", "10.0.0.2"), Self.commit { $0.timeoutPolicy = "short" })
        #expect(bench.tracker.connections(zone: nil, now: bench.now).first?.timeout == 3)
        bench.tracker.expire(now: bench.now + 2_000)
        #expect(bench.tracker.connectionCount == 1)
        bench.tracker.expire(now: bench.now + 5_000)
        #expect(bench.tracker.connectionCount == 0)
    }

    @Test func dataConnectionsOfFTPAreRelated() throws {
        let bench = Bench()
        func control(_ reply: Bool, _ text: String) throws -> Packet {
            var key = try Self.key(
                reply ? "10.0.0.2" : "10.0.0.1", reply ? "10.0.0.1" : "10.0.0.2",
                reply ? ",tcp(src=21,dst=1000)" : ",tcp(src=1000,dst=21)", proto: 6)
            key.tcpFlags = text.isEmpty ? 2 : 0x18
            var packet = key.composePacket(size: 54 + text.utf8.count)
            for (i, byte) in text.utf8.enumerated() { packet.store8(54 + i, byte) }
            packet.store16(50, 0)
            let l4 = packet.count - 34
            var sum = UInt64(6 + l4)
            sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: packet.bytes[26..<34]), sum)
            sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: packet.bytes[34...]), sum)
            packet.store16(50, InternetChecksum.finish(sum))
            return packet
        }
        bench.tracker.checksTCPSequence = false
        let action = Self.commit { $0.helper = "ftp" }
        _ = bench.track(packet: try control(false, ""), action)
        _ = bench.track(packet: try control(false, "PORT 10,0,0,1,4,1\r\n"), action)
        var data = try Self.key("10.0.0.2", "10.0.0.1", ",tcp(src=20,dst=1025)", proto: 6)
        data.tcpFlags = 2
        let first = try #require(bench.track(data, Self.commit()))
        #expect(first.key.ctState == Self.new | CTState.related)
        #expect(first.key[Location.ctTpDst] == 21)
    }

    /// Threads track packets of the same connections at the same time; run it with the thread sanitizer.
    @Test func threadsShareTheTracker() async throws {
        let tracker = ConnectionTracker()
        let keys = try (1...50).map { try Self.key("10.0.0.1", "10.0.0.2", ",udp(src=\($0),dst=6)") }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for round in 0..<20 {
                        for key in keys {
                            var packet = key.composePacket()
                            var metadata = FlowKey()
                            var parsed = metadata
                            parsed.extract(from: &packet)
                            _ = tracker.track(&packet, key: &metadata, parsed: parsed, Self.commit(), now: Int64(round))
                        }
                        if round % 7 == 6 { tracker.flush(zone: nil) }
                    }
                }
            }
        }
        tracker.flush(zone: nil)
        #expect(tracker.connectionCount == 0)
        #expect(tracker.connections(zone: nil, now: 100).isEmpty)
    }
}
