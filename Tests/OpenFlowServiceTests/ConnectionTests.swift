// Connections: agreeing on a version, errors by version, what a peer can make the switch hold.

import OpenFlow
import Testing

@testable import OpenFlowService

@Suite struct ConnectionTests {
    @Test(arguments: OFVersion.allCases) func agreesOnEveryVersion(_ version: OFVersion) throws {
        let bench = try ServiceBench()
        let peer = try Peer(bench, version, purpose: .service)
        let hello = try #require(try peer.received().first)
        #expect(hello[0] == OFVersion.v15.rawValue)
        // All versions up to the header's need no bitmap.
        #expect(hello.count == 8)
        try peer.hello()
        #expect(peer.connection.version == version)
        let xid = try peer.send(version == .v10 ? 18 : 20)
        let answer = try #require(try peer.received().first)
        #expect(answer[0] == version.rawValue && WireReader(answer).peek32(4) == xid)
    }

    @Test func takesTheHighestCommonVersion() throws {
        let bench = try ServiceBench()
        let peer = try Peer(bench, .v13, purpose: .service)
        try peer.send(OFSimple.hello([.v10, .v13], xid: 1))
        #expect(peer.connection.version == .v13)
    }

    @Test func refusesWithoutACommonVersion() throws {
        let bench = try ServiceBench()
        var configuration = bench.service.configuration
        configuration.versions = [.v13]
        bench.service.configure(configuration)
        let peer = try Peer(bench, .v10, purpose: .service)
        try peer.hello()
        let errors = try peer.errors()
        #expect(errors.map(\.type) == [0] && errors.map(\.code) == [0])
        #expect(!peer.connection.isOpen)
    }

    /// A bad statistics type is BAD_STAT, and a message type that is not known BAD_TYPE, with each version's numbers.
    @Test(arguments: OFVersion.allCases) func errorsHaveTheVersionsNumbers(_ version: OFVersion) throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(version, purpose: .service)
        let first = try peer.send(99)
        let second = try peer.send(version == .v10 ? 16 : 18) { w in
            w.u16(0x7fff)
            w.zeros(version == .v10 ? 2 : 6)
        }
        let errors = try peer.errors()
        #expect(errors.map(\.xid) == [first, second])
        #expect(errors.map(\.type) == [1, 1])
        #expect(errors.map(\.code) == [1, 2])
    }

    @Test func anotherVersionEndsTheConnection() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13, purpose: .service)
        try peer.send(14, as: .v10) { $0.zeros(64) }
        #expect(!peer.connection.isOpen)
    }

    @Test func aTooShortLengthEndsTheConnection() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13, purpose: .service)
        try peer.send([4, 2, 0, 7, 0, 0, 0, 0])
        #expect(!peer.connection.isOpen)
    }

    @Test func messagesMayComeInPieces() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13, purpose: .service)
        for byte: UInt8 in [4, 2, 0, 9, 0, 0, 0, 7, 0xaa] { try peer.send([byte]) }
        let answers = try peer.received()
        #expect(answers == [[4, 3, 0, 9, 0, 0, 0, 7, 0xaa]])
    }

    @Test func partialMultipartRequestsTimeOut() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v15, purpose: .service)
        let xid = try peer.send(18) { w in
            w.u16(0)
            w.u16(1)
            w.u32(0)
        }
        bench.warp(999)
        #expect(try peer.received().isEmpty)
        bench.warp(1)
        let errors = try peer.errors()
        #expect(errors.map(\.xid) == [xid] && errors.map(\.type) == [1] && errors.map(\.code) == [14])
    }

    /// A peer that asks and does not read is not asked for more once a bounded amount waits for it.
    @Test func requestsWaitForASlowReader() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v13, purpose: .service)
        peer.valve.isShut = true
        let size = 60_000
        let requests = 200
        for _ in 0..<requests { try peer.send(2) { $0.zeros(size) } }
        #expect(peer.connection.backlog > 0)
        #expect(peer.connection.backlog <= (1 << 20) + size + 8)
        peer.valve.isShut = false
        #expect(try peer.received().count == requests)
        #expect(peer.connection.backlog == 0)
    }

    @Test func packetInsForASlowReaderAreDropped() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v10)
        peer.valve.isShut = true
        for _ in 0..<500 { try bench.receive() }
        #expect(peer.connection.queuedPacketIns == bench.service.configuration.packetQueueSize)
        peer.valve.isShut = false
        #expect(try peer.received().filter { $0[1] == 10 }.count == bench.service.configuration.packetQueueSize)
    }
}
