// BFD: packets, and sessions that come up and go down.

import Dpif
import Flow
import Netdev
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct BFDTests {
    @Test func packetsSurviveTheWire() throws {
        var packet = BFDPacket()
        packet.state = .up
        packet.poll = true
        packet.diagnostic = 3
        packet.mine = 0xe1ff_3088
        packet.yours = 0x8cca_99aa
        packet.minTX = 300_000
        packet.minRX = 400_000
        #expect(packet.bytes.count == 24)
        #expect(BFDPacket(packet.bytes) == packet)
        let frame = packet.frame(from: 0xaa55_aa55_0003, sourcePort: 49152)
        #expect(BFDPacket.payload(of: frame).flatMap { BFDPacket($0) } == packet)
        // The IP header's checksum, as the real daemon's.
        #expect(Array(frame[24..<26]) == [0x64, 0xfb])
    }

    /// RFC 5880, section 6.8.6, and RFC 5881, section 5.
    @Test func whatIsWrongIsDiscarded() {
        var packet = BFDPacket()
        packet.mine = 1
        let good = packet.bytes
        #expect(BFDPacket(good) != nil)
        for length in 0..<24 { #expect(BFDPacket(Array(good.prefix(length))) == nil) }
        for (at, value) in [(0, UInt8(0x40)), (1, 0x41), (1, 0x44), (2, 0), (3, 23), (3, 25), (7, 0), (1, 0xc0)] {
            var bytes = good
            bytes[at] = value
            #expect(BFDPacket(bytes) == nil)
        }
        var frame = packet.frame(from: 1, sourcePort: 49152)
        frame[22] = 254
        #expect(BFDPacket.payload(of: frame) == nil)
        for length in 0..<42 { #expect(BFDPacket.payload(of: Array(frame.prefix(length))) == nil) }
    }

    @Test func sessionsComeUpAndGoDown() throws {
        let benches = [try SwitchBench(), try SwitchBench()]
        var settings = BFDSettings()
        settings.minTX = 300
        settings.minRX = 300
        var sessions: [BFD] = []
        for (i, bench) in benches.enumerated() {
            let port = try #require(bench.bridge.port(OFPort(1)))
            bench.bridge.setBFD(settings, on: port)
            sessions.append(try #require(port.bfd))
            let other = benches[1 - i]
            bench.devices[0].onTransmit = { [unowned other] in other.devices[0].receive(Packet(Array($0))) }
        }
        func run(_ milliseconds: Int) {
            for _ in 0..<milliseconds / 50 {
                for bench in benches {
                    bench.time.warp(50)
                    bench.bridge.run()
                }
            }
        }
        run(3000)
        #expect(sessions.map(\.state) == [.up, .up])
        #expect(sessions.allSatisfy { $0.isForwarding && $0.flapCount == 1 && $0.transmitInterval == 300 })
        benches[0].devices[0].onTransmit = nil
        run(1500)
        // Who hears nothing goes down, and says so.
        #expect(sessions[1].state == .down && sessions[1].diagnostic == 1)
        // The other end is told, and goes on from there by itself.
        #expect(sessions[0].state != .up)
        #expect(sessions.allSatisfy { !$0.isForwarding })
        #expect(benches.allSatisfy { $0.datapath.refused.isEmpty })
    }
}
