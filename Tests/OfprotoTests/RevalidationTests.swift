import OpenFlow
import Testing

@testable import Ofproto

/// When statistics are up to date and what changed is heeded.
@Suite struct RevalidationTests {
    @Test func whoWaitsIsToldAfterAPassOfItsOwn() throws {
        let bench = try SwitchBench()
        try bench.add([.output(OFPort(2), maxLength: 0)])
        try bench.receive(SwitchBench.udp)
        // Any number of flows is very many.
        bench.backer.synchronousLimit = 0
        var told = 0
        bench.backer.synchronise { told += 1 }
        try bench.receive(SwitchBench.udp)
        bench.backer.synchronise { told += 1 }
        #expect(told == 0)
        bench.backer.run()
        #expect(told == 2)
        #expect(bench.installed.map(\.stats.packets) == [1])
        #expect(bench.bridge.tables[0].matchedCount == 2)
        // Where flows are few nobody waits.
        bench.backer.synchronousLimit = 10
        bench.backer.synchronise { told += 1 }
        #expect(told == 3)
    }

    @Test func whoWaitsIsToldWhenTheDatapathGoes() throws {
        var told = 0
        do {
            let bench = try SwitchBench()
            bench.backer.synchronousLimit = -1
            bench.backer.synchronise { told += 1 }
        }
        #expect(told == 1)
    }
}
