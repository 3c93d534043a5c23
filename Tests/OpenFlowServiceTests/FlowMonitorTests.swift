// Watching flows.

import OpenFlow
import Testing

@testable import OpenFlowService

@Suite struct FlowMonitorTests {
    /// OFPMP_FLOW_MONITOR of OpenFlow 1.4 and later.
    private func watch(_ peer: Peer, id: UInt32 = 1, flags: UInt16, command: UInt8 = 0) throws {
        try peer.send(18) { w in
            w.u16(16)
            w.zeros(6)
            w.u32(id)
            w.u32(.max)
            w.u32(.max)
            w.u16(flags)
            w.u8(255)
            w.u8(command)
            w.u16(1)
            w.u16(4)
            w.u32(0)
        }
    }

    /// The events of the updates among what has come: 0 initial, 1 added, 2 removed, 3 modified, 4 abbreviated, 5 paused, 6 resumed.
    private func events(_ peer: Peer) throws -> [UInt16] {
        var events: [UInt16] = []
        for message in try peer.received() where message[1] == 19 && WireReader(message).peek16(8) == 16 {
            var r = WireReader(Array(message[16...]))
            while let length = r.peek16().map(Int.init), length >= 8, let event = r.peek16(2) {
                events.append(event)
                try r.skip(length)
            }
        }
        return events
    }

    @Test func tellsOfFlowsThatAreThereAndOfChanges() throws {
        let bench = try ServiceBench()
        let other = try bench.connect(.v15)
        let peer = try bench.connect(.v15)
        try other.addFlow(priority: 1)
        try watch(peer, flags: 0x1f)
        #expect(try events(peer) == [0])
        try other.addFlow(priority: 2)
        try other.addFlow(priority: 2)
        #expect(try events(peer) == [1, 1])
        try other.addFlow(priority: 0, command: 1)
        #expect(try events(peer) == [3, 3])
        try other.addFlow(priority: 0, command: 3)
        #expect(try events(peer) == [2, 2])
    }

    @Test func oneRequestOfOnesOwnIsOneAbbreviation() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v15)
        try watch(peer, flags: 0x1e)
        _ = try peer.received()
        try peer.addFlow(priority: 1)
        try peer.addFlow(priority: 2)
        try peer.addFlow(priority: 0, command: 3)
        #expect(try events(peer) == [4, 4, 4])
    }

    @Test func expiryIsTold() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v15)
        try watch(peer, flags: 0x5e)
        try peer.addFlow(priority: 1, idle: 2)
        _ = try peer.received()
        bench.warp(2000)
        #expect(try events(peer) == [2])
    }

    @Test func anIdIsTakenOnlyOnce() throws {
        let bench = try ServiceBench()
        let peer = try bench.connect(.v15)
        try watch(peer, flags: 0xe)
        try watch(peer, flags: 0xe)
        try watch(peer, id: 2, flags: 0xe, command: 2)
        try watch(peer, id: 3, flags: 0)
        let errors = try peer.errors()
        // OFPET_FLOW_MONITOR_FAILED: MONITOR_EXISTS, UNKNOWN_MONITOR, BAD_FLAGS.
        #expect(errors.map(\.type) == [16, 16, 16] && errors.map(\.code) == [1, 3, 5])
    }

    /// A watcher that does not read is paused, and told afterwards what has become of the flows.
    @Test func aSlowWatcherIsPausedAndResumed() throws {
        let bench = try ServiceBench()
        let other = try bench.connect(.v15)
        let peer = try bench.connect(.v15)
        try other.addFlow(priority: 1)
        try watch(peer, flags: 0x1f)
        _ = try peer.received()
        peer.valve.isShut = true
        for priority in UInt16(2)..<4000 { try other.addFlow(priority: priority) }
        let backlog = peer.connection.backlog
        #expect(backlog < 256 << 10)
        // What the watcher knows is told to be gone, what it does not know is not.
        try other.addFlow(priority: 1, command: 4)
        try other.addFlow(priority: 3999, command: 4)
        peer.valve.isShut = false
        let seen = try events(peer)
        let paused = try #require(seen.firstIndex(of: 5))
        #expect(seen[..<paused].allSatisfy { $0 == 1 })
        #expect(seen[paused + 1] == 2)
        #expect(seen.last == 6)
        #expect(seen.filter { $0 == 1 }.count == 3997)
        #expect(seen.filter { $0 == 2 }.count == 1)
    }
}
