// Packets that are changed here because the module cannot do it, and what of their actions is left to the module.

import Flow
import Packet
import Testing

@testable import Dpif
@testable import DpifNetlink

struct UserspaceExecutionTests {
    private static let arp: [UInt8] =
        [0x50, 0x54, 0, 0, 0, 2, 0x50, 0x54, 0, 0, 0, 1, 0x08, 0x06]
        + [0, 1, 8, 0, 6, 4, 0, 1, 0x50, 0x54, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]

    private func run(_ text: String) throws -> [(bytes: [UInt8], key: FlowKey, actions: [DpAction])] {
        let actions = try DpAction.parse(text) { _ in nil }
        #expect(UserspaceExecution.isNeeded(actions))
        var sent: [([UInt8], FlowKey, [DpAction])] = []
        UserspaceExecution(vlanLimit: 2).run(actions, Packet(Self.arp), metadata: FlowKey()) { sent.append(($0, $1, $2)) }
        return sent
    }

    private static var reply: [UInt8] {
        var reply = arp
        reply[21] = 2
        return reply
    }

    @Test func whatIsLeftIsForThePacketAsItIsThen() throws {
        let sent = try run("1,set(arp(op=2)),trunc(100),2")
        #expect(sent.map(\.bytes) == [Self.arp, Self.reply])
        #expect(sent.map(\.actions) == [[.output(1)], [.truncate(100), .output(2)]])
    }

    @Test func headersArePutBeforeAllOthers() throws {
        let nsh = "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=2,c1=0x0,c2=0x0,c3=0x0,c4=0x0)"
        let sent = try run("set(arp(op=2)),\(nsh),push_eth(src=50:54:00:00:00:03,dst=50:54:00:00:00:04),2,pop_eth,3,pop_nsh(),4")
        let header: [UInt8] = [0x0f, 0xc6, 1, 3, 0, 0, 1, 2] + [UInt8](repeating: 0, count: 16)
        let ethernet: [UInt8] = [0x50, 0x54, 0, 0, 0, 4, 0x50, 0x54, 0, 0, 0, 3, 0x89, 0x4f]
        #expect(sent.map(\.bytes) == [ethernet + header + Self.reply, header + Self.reply, Self.reply])
        #expect(sent.map(\.key.packetType) == [0, 0x1894f, 0])
        #expect(sent.map(\.actions) == [[.output(2)], [.output(3)], [.output(4)]])
    }

    @Test func aPacketWithoutTheHeaderIsDropped() throws {
        // An ARP packet's first bytes give a length of NSH that is none.
        #expect(try run("set(arp(op=2)),1,pop_nsh(),2").map(\.actions) == [[.output(1)]])
    }

    @Test func labelsArePutBeforeAllOthers() throws {
        let sent = try run("set(arp(op=2)),add_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847),7")
        #expect(sent.map(\.bytes) == [[0, 0, 0x51, 64] + Self.reply])
        #expect(sent.map(\.key.packetType) == [0x18847])
    }
}
