// FTP's control connections under translation of addresses: what their lines say, the numbers of what follows, and the data
// connections that they announce.

import Dpif
import Flow
import Packet
import Testing

@testable import Datapath

@Suite struct FTPTranslationTests {
    /// Two ends of connections through one tracker, each of which counts as it sends.
    private final class Bench {
        struct Seen {
            var key: FlowKey
            var text: String
            var sequence: UInt32
            var acknowledgement: UInt32
            /// The checksums and lengths are those of the packet built anew.
            var isSound: Bool
        }
        let tracker = ConnectionTracker()
        let nat: DpNAT

        init(_ kind: DpNAT.Kind, _ address: String) {
            var nat = DpNAT()
            nat.kind = kind
            nat.isIPv6 = address.contains(":")
            let value = nat.isIPv6 ? AddressText.parseIPv6(address) ?? 0 : UInt128(AddressText.parseIPv4(address) ?? 0)
            nat.addresses = value...value
            self.nat = nat
        }

        /// Sends a segment through `ct(commit,nat(...),alg=ftp)`.
        func send(
            _ source: (String, UInt16), _ destination: (String, UInt16), flags: UInt16 = 0x18, _ sequence: UInt32, _ ack: UInt32,
            _ text: String = "", helper: String? = "ftp"
        ) throws -> Seen {
            var packet = try segment(source, destination, flags, sequence, ack, Array(text.utf8))
            var action = DpConntrack()
            action.commit = true
            action.zone = 1
            action.helper = helper
            action.nat = nat
            var key = FlowKey()
            var parsed = key
            parsed.extract(from: &packet)
            guard case .tracked = tracker.track(&packet, key: &key, parsed: parsed, action, now: 1_000) else {
                throw DpifError(5, "held")
            }
            key.extract(from: &packet)
            let l4 = nat.isIPv6 ? 54 : 34
            let data = Array(packet.bytes[(l4 + 20)...])
            let address = { (a: UInt128) in self.nat.isIPv6 ? AddressText.ipv6(a) : AddressText.ipv4(UInt32(a)) }
            let ends = nat.isIPv6 ? (key.ipv6Src, key.ipv6Dst) : (UInt128(key.nwSrc), UInt128(key.nwDst))
            let anew = try segment(
                (address(ends.0), key.tpSrc), (address(ends.1), key.tpDst), flags, packet.load32(l4 + 4), packet.load32(l4 + 8), data)
            return Seen(
                key: key, text: String(decoding: data, as: UTF8.self), sequence: packet.load32(l4 + 4),
                acknowledgement: packet.load32(l4 + 8), isSound: anew.array == packet.array)
        }

        private func segment(
            _ source: (String, UInt16), _ destination: (String, UInt16), _ flags: UInt16, _ sequence: UInt32, _ ack: UInt32,
            _ data: [UInt8]
        ) throws -> Packet {
            let network =
                nat.isIPv6
                ? "eth_type(0x86dd),ipv6(src=\(source.0),dst=\(destination.0),label=0,proto=6,tclass=0,hlimit=64,frag=no)"
                : "eth_type(0x0800),ipv4(src=\(source.0),dst=\(destination.0),proto=6,tos=0,ttl=64,frag=no)"
            var key = try ODPFlow(
                parsing: "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),\(network),tcp(src=\(source.1),dst=\(destination.1))"
            ).key
            key.tcpFlags = flags
            let l3 = 14
            let l4 = nat.isIPv6 ? 54 : 34
            var packet = key.composePacket(size: l4 + 20 + data.count)
            packet.store32(l4 + 4, sequence)
            packet.store32(l4 + 8, ack)
            packet.store16(l4 + 14, 8192)
            for (i, octet) in data.enumerated() { packet.store8(l4 + 20 + i, octet) }
            packet.store16(l4 + 16, 0)
            var sum = UInt64(6 + packet.count - l4)
            sum = InternetChecksum.partial(
                UnsafeRawBufferPointer(rebasing: packet.bytes[(nat.isIPv6 ? l3 + 8 : l3 + 12)..<l4]), sum)
            sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: packet.bytes[l4...]), sum)
            packet.store16(l4 + 16, InternetChecksum.finish(sum))
            return packet
        }
    }

    private static let established = CTState.tracked | CTState.established

    /// A client behind another address asks for a connection to itself.
    private func checkActive(_ client: String, _ server: String, outside: String, _ line: (String, UInt16) -> String) throws {
        let bench = Bench(.source, outside)
        let (c, s, o) = ((client, UInt16(3000)), (server, UInt16(21)), (outside, UInt16(3000)))
        _ = try bench.send(c, s, flags: 2, 999, 0)
        _ = try bench.send(s, o, flags: 0x12, 4999, 1000)
        let said = line(client, 1025)
        let meant = line(outside, 1025)
        let growth = UInt32(truncatingIfNeeded: meant.utf8.count - said.utf8.count)
        let size = UInt32(said.utf8.count)
        // Twice: a line that is sent again counts once.
        for _ in 0..<2 {
            let sent = try bench.send(c, s, 1000, 5000, said)
            #expect(sent.text == meant)
            #expect(sent.sequence == 1000 && sent.acknowledgement == 5000)
            #expect(sent.isSound)
        }
        let answer = try bench.send(s, o, 5000, 1000 + size &+ growth, "200 fine\r\n")
        #expect(answer.acknowledgement == 1000 + size)
        #expect(answer.key.ctState == Self.established | CTState.reply | CTState.destinationNAT)
        #expect(answer.isSound)
        let next = try bench.send(c, s, 1000 + size, 5010, "LIST\r\n")
        #expect(next.sequence == 1000 + size &+ growth && next.isSound)
        // The data connection comes back to who asked for it.
        let data = try bench.send((server, 20), (outside, 1025), flags: 2, 1, 0, helper: nil)
        #expect(data.key.ctState & (CTState.new | CTState.related) == CTState.new | CTState.related)
        let inside = try bench.send((client, 1025), (server, 20), flags: 0x12, 1, 2, helper: nil)
        #expect(
            bench.nat.isIPv6 ? data.key.ipv6Dst == AddressText.parseIPv6(client) : data.key.nwDst == AddressText.parseIPv4(client))
        #expect(inside.key.ctState & CTState.reply != 0 && inside.isSound && data.isSound)
        // A second line moves what follows once more.
        let again = try bench.send(c, s, 1006 + size, 5010, line(client, 1026))
        #expect(again.text == line(outside, 1026) && again.sequence == 1006 + size &+ growth)
        let quit = try bench.send(c, s, 1006 + 2 * size, 5010, "QUIT\r\n")
        #expect(quit.sequence == 1006 + 2 * size &+ 2 &* growth && quit.isSound)
        // Nobody has connections sent to a third party.
        let odd = try bench.send(c, s, 1012 + 2 * size, 5010, line(server, 1027))
        #expect(odd.key.ctState & CTState.invalid != 0)
    }

    private static func port(_ address: String, _ port: UInt16) -> String {
        "PORT \(String(address.map { $0 == "." ? "," : $0 })),\(port >> 8),\(port & 0xff)\r\n"
    }

    @Test func activeBehindALongerAddress() throws {
        try checkActive("10.1.1.1", "10.1.1.2", outside: "192.168.100.240", Self.port)
    }
    @Test func activeBehindAShorterAddress() throws {
        try checkActive("192.168.100.100", "10.1.1.2", outside: "10.1.1.1", Self.port)
    }
    @Test func extendedActive() throws {
        try checkActive("10.1.1.1", "10.1.1.2", outside: "10.1.1.240") { "EPRT |1|\($0)|\($1)|\r\n" }
    }
    @Test func extendedActiveOverIPv6() throws {
        try checkActive("fc00::1", "fc00::2", outside: "2001:db8::240") { "EPRT |2|\($0)|\($1)|\r\n" }
    }

    /// A server behind another address says where it waits.
    @Test func passiveBehindAnotherAddress() throws {
        let bench = Bench(.destination, "10.1.1.2")
        let (c, o, s) = (("10.1.1.1", UInt16(3000)), ("192.168.100.250", UInt16(21)), ("10.1.1.2", UInt16(21)))
        _ = try bench.send(c, o, flags: 2, 999, 0)
        _ = try bench.send(s, c, flags: 0x12, 4999, 1000)
        _ = try bench.send(c, o, 1000, 5000, "PASV\r\n")
        let said = "227 Entering Passive Mode (10,1,1,2,8,2).\r\n"
        let meant = "227 Entering Passive Mode (192,168,100,250,8,2).\r\n"
        let answer = try bench.send(s, c, 5000, 1006, said)
        #expect(answer.text == meant && answer.isSound)
        let next = try bench.send(c, o, 1006, 5000 + UInt32(meant.utf8.count), "LIST\r\n")
        #expect(next.acknowledgement == 5000 + UInt32(said.utf8.count) && next.isSound)
        let data = try bench.send(("10.1.1.1", 3100), ("192.168.100.250", 2050), flags: 2, 1, 0, helper: nil)
        #expect(data.key.nwDst == AddressText.parseIPv4("10.1.1.2"))
        #expect(data.key.ctState & CTState.related != 0)
    }

    @Test func linesThatAnnounceNothing() {
        func read(_ text: String, isReply: Bool = false, isIPv6: Bool = false) -> String {
            switch FTPLine.read(Array(text.utf8), isReply: isReply, isIPv6: isIPv6) {
            case .other: "other"
            case .malformed: "malformed"
            case .announcement(let line): "\(line.port)"
            }
        }
        #expect(read("USER me\r\n") == "other" && read("") == "other" && read("PO") == "other")
        #expect(read("port 1,2,3,4,0,9") == "9")
        for bad in ["PORT", "PORT ", "PORT 1,2,3,4,5", "PORT 256,1,1,1,1,1", "PORT 1,,2,3,4,5", "PORT 1,2,3,4,5,x", "PORT ,,,,,"] {
            #expect(read(bad) == "malformed", "\(bad)")
        }
        for bad in ["EPRT", "EPRT |", "EPRT |2|fc00::1|0|", "EPRT |1|1.2.3.4|5|", "EPRT |2|fc00::1|65536|", "EPRT |2|x|5|", "EPRT |||||"] {
            #expect(read(bad, isIPv6: true) == "malformed", "\(bad)")
        }
        #expect(read("229 Extended (|||9|)", isReply: true, isIPv6: true) == "9")
        for bad in ["229 ", "229 (", "229 (|||)", "229 (||||)"] { #expect(read(bad, isReply: true, isIPv6: true) == "malformed", "\(bad)") }
        #expect(read("227 x (1,2,3,4,5,6)", isReply: true) == "1286" && read("227 x (1,2,3,4,5,6)") == "other")
    }

    @Test func numbersMoveBehindTheLineAndBack() {
        var shift = SequenceShift()
        #expect(shift.translated(7) == 7 && shift.original(7) == 7)
        shift.record(lineAt: .max - 3, longerBy: 10)
        // Up to the line nothing moves; behind it everything, beyond the end of the numbers, too.
        #expect(shift.translated(.max - 3) == .max - 3 && shift.translated(4) == 14)
        #expect(shift.original(.max - 3) == .max - 3 && shift.original(14) == 4)
        shift.record(lineAt: 50, longerBy: -4)
        #expect(shift.translated(50) == 60 && shift.translated(60) == 66)
        #expect(shift.original(60) == 50 && shift.original(66) == 60)
        // An older line that comes late changes nothing.
        shift.record(lineAt: .max - 3, longerBy: 10)
        #expect(shift.translated(60) == 66)
    }
}
