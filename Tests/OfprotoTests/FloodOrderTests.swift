// Floods visit ports in the real daemon's order.

import Dpif
import Netdev
import OpenFlow
import Testing

@testable import Ofproto

@Suite struct FloodOrderTests {
    @Test func portsAreVisitedAsInTheRealDaemon() throws {
        let bench = try SwitchBench()
        var added: [SwitchPort] = []
        for number in UInt32(4)...6 {
            let device = DummyDevice(name: "p\(number)", type: "dummy")
            let datapathPort = try bench.datapath.addPort(device, requested: number)
            added.append(try bench.bridge.addPort(device, requested: OFPort(number), datapathPort: datapathPort))
        }
        func order() -> [UInt32] { bench.bridge.floodOrder.ports.map(\.number.rawValue) }
        #expect(order() == [6, 4, 1, 5, 2, 3])
        bench.bridge.removePort(added[0])
        #expect(order() == [6, 1, 5, 2, 3])
    }
}
