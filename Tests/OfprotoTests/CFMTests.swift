// CFM: messages, and maintenance points that lose each other.

import Dpif
import Flow
import Netdev
import OpenFlow
import Packet
import Testing

@testable import Ofproto

@Suite struct CFMTests {
    @Test(arguments: [false, true]) func messagesSurviveTheWire(_ isExtended: Bool) {
        var message = CCM()
        message.isExtended = isExtended
        message.sequence = 4
        message.mpid = 7
        message.milliseconds = isExtended ? 300 : 0
        message.intervalCode = isExtended ? 0 : 4
        message.isDown = isExtended
        message.remoteDefect = true
        let bytes = message.bytes
        #expect(bytes.count == 75)
        #expect(CCM(bytes, isExtended: isExtended) == message)
        for length in 0..<74 { #expect(CCM(Array(bytes.prefix(length)), isExtended: isExtended) == nil) }
        #expect(message.frame(from: 1).count == 89)
    }

    @Test func intervalsAreRoundedDown() {
        #expect(CCM.milliseconds(CCM.code(300)) == 100)
        #expect(CCM.milliseconds(CCM.code(1000)) == 1000)
        #expect(CCM.milliseconds(CCM.code(1)) == 3)
        #expect(CCM.milliseconds(CCM.code(1_000_000)) == 600_000)
    }

    @Test func aSilentNeighbourIsAFault() throws {
        let benches = [try SwitchBench(), try SwitchBench()]
        var points: [CFM] = []
        for (i, bench) in benches.enumerated() {
            let port = try #require(bench.bridge.port(OFPort(1)))
            bench.bridge.setCFM(CFMSettings(mpid: UInt64(i + 1)), on: port)
            points.append(try #require(port.cfm))
            let other = benches[1 - i]
            bench.devices[0].onTransmit = { [unowned other] in other.devices[0].receive(Packet(Array($0))) }
        }
        func run(_ seconds: Int) {
            for _ in 0..<seconds * 4 {
                for bench in benches {
                    bench.time.warp(250)
                    bench.bridge.run()
                }
            }
        }
        run(10)
        #expect(points.map { Array($0.remotes.keys) } == [[2], [1]])
        #expect(points.allSatisfy { !$0.isFaulty })
        // One way is cut: who hears nothing is in fault, and tells the other, which is too then.
        benches[0].devices[0].onTransmit = nil
        run(12)
        #expect(points[1].faults == .receive && points[1].remotes.isEmpty)
        #expect(points[0].faults == .remoteDefect)
        #expect(points.allSatisfy { $0.flapCount == 1 })
        points[1].forcedFault = false
        #expect(!points[1].isFaulty)
        #expect(benches.allSatisfy { $0.datapath.refused.isEmpty })
    }
}
