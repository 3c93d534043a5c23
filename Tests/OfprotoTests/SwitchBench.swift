// A bridge on a dummy datapath with three ports, for tests of Ofproto.

import Datapath
import Dpif
import DpifDummy
import Flow
import Netdev
import OpenFlow
import Packet

@testable import Ofproto

/// Fails the test when the datapath is asked for what it did not advertise.
final class StrictDatapath: UserspaceDatapath {
    private(set) var refused: [String] = []

    override func check(_ key: borrowing FlowKey, _ mask: MiniMask, _ actions: [DpAction]) throws(DpifError) {
        if let problem = CapabilityCheck(capabilities).problem(key: copy key, mask: mask.mask, actions: actions) {
            refused.append(problem)
            throw DpifError(22, problem)
        }
    }
}

final class SwitchBench {
    let time = TimeSource()
    let datapath: StrictDatapath
    let backer: DatapathBacker
    let bridge: OpenFlowSwitch
    let devices: [DummyDevice]
    /// Frames that each port sent.
    private(set) var sent: [[[UInt8]]] = [[], [], []]

    init(_ change: (inout DpifCapabilities) -> Void = { _ in }) throws {
        time.stop()
        var capabilities = DummyProfile.full
        change(&capabilities)
        datapath = StrictDatapath(type: "dummy", name: "ovs-dummy", capabilities: capabilities, time: time)
        backer = DatapathBacker(datapath, time: time)
        bridge = OpenFlowSwitch(id: 1, name: "br0", backer: backer)
        devices = (1...3).map { DummyDevice(name: "p\($0)", type: "dummy") }
        for (i, device) in devices.enumerated() {
            try device.setAdminUp(true)
            device.onTransmit = { [unowned self] bytes in self.sent[i].append(Array(bytes)) }
            let number = try datapath.addPort(device, requested: UInt32(i + 1))
            let port = try bridge.addPort(device, requested: OFPort(UInt32(i + 1)), datapathPort: number)
            bridge.setBundle(BundleSettings(name: device.name), ports: [port])
        }
    }

    deinit { bridge.destroy() }

    /// Adds a flow; `match` as in a trace, `actions` as ovs-ofctl takes them.
    func add(_ actions: [OFAction]) throws(OFError) { try add({ _ in }, actions) }

    func add(_ match: (inout Match) -> Void, table: UInt8 = 0, priority: UInt16 = 10, _ actions: [OFAction])
        throws(OFError)
    {
        var mod = FlowMod()
        match(&mod.match)
        mod.table = table
        mod.priority = priority
        mod.newCookie = 0
        mod.actions = actions
        try bridge.modifyFlows(mod)
    }

    func receive(_ flow: String, port: Int = 1, size: Int = 0) throws {
        let key = try ODPFlow(parsing: "in_port(\(port)),\(flow)").key
        devices[port - 1].receive(key.composePacket(size: size))
    }

    var installed: [DpFlow] {
        var out: [DpFlow] = []
        datapath.dumpFlows {
            out.append($0)
            return true
        }
        return out
    }

    static let udp =
        "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=5,dst=6)"
}
