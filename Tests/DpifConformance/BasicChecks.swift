// Ports, flows and packets: what no datapath may lack.

import Dpif
import Flow
import Packet

extension ConformanceCheck {
    static let portChecks: [ConformanceCheck] = [
        ConformanceCheck("ports are found by number and by name") { b in
            for (port, number) in zip(b.ports, b.numbers) {
                try b.require(b.dpif.port(number)?.name == port.device.name, "port \(number) is not \(port.device.name)")
                try b.require(b.dpif.port(named: port.device.name)?.number == number, "no port named \(port.device.name)")
                try b.require(b.dpif.device(number) === port.device, "another device at \(number)")
            }
            let listed = b.dpif.ports.map(\.number)
            try b.require(listed == listed.sorted() && Set(b.numbers).isSubset(of: listed), "ports lists \(listed)")
        },
        ConformanceCheck("a name or number is taken once") { b in
            try b.refuses(17, "a second port of a name") { () throws(DpifError) in
                _ = try b.dpif.addPort(b.ports[0].device, requested: nil)
            }
            let other = try b.subject.makePort("c9")
            try b.refuses(16, "a number in use") { () throws(DpifError) in
                _ = try b.dpif.addPort(other.device, requested: b.numbers[0])
            }
        },
        ConformanceCheck("ports come and go, and that is counted") { b in
            let before = b.dpif.portChangeCount
            try b.dpif.deletePort(b.numbers[1])
            try b.require(b.dpif.port(b.numbers[1]) == nil, "a deleted port is there")
            try b.require(b.dpif.portChangeCount != before, "a deletion is not counted")
            try b.refuses(19, "deleting a port twice") { () throws(DpifError) in try b.dpif.deletePort(b.numbers[1]) }
            let again = try b.dpif.addPort(b.ports[1].device, requested: b.numbers[1])
            try b.require(again == b.numbers[1], "a free number is not given")
        },
    ]

    static let flowChecks: [ConformanceCheck] = [
        ConformanceCheck("flows are created once, modified and deleted") { b in
            let flow = b.flow([b.output(1)])
            try b.refuses(2, "modifying a flow that is not there") { () throws(DpifError) in try b.put(flow, .modify) }
            try b.put(flow)
            try b.refuses(17, "creating a flow twice") { () throws(DpifError) in try b.put(flow) }
            try b.require(b.dpif.flow(flow.ufid)?.actions == flow.actions, "the flow has other actions")
            try b.put(b.flow([b.output(2)]), .modify)
            try b.require(b.dpif.flow(key: flow.key, mask: flow.mask)?.actions == [b.output(2)], "the flow was not modified")
            try b.dpif.deleteFlow(flow.ufid)
            try b.refuses(2, "deleting a flow twice") { () throws(DpifError) in _ = try b.dpif.deleteFlow(flow.ufid) }
            try b.put(flow, .createOrModify)
            try b.put(flow, .createOrModify)
            b.dpif.flushFlows()
            try b.require(b.dpif.flow(flow.ufid) == nil && b.dpif.stats.flows == 0, "flows are left after a flush")
        },
        ConformanceCheck("a dump visits every flow and may stop") { b in
            for i in 0..<10 {
                var flow = b.flow([])
                flow.key[Location.ethSrc] = UInt128(i)
                flow.mask.setExact(Location.ethSrc)
                flow.ufid = UFID(key: flow.key, mask: flow.mask)
                try b.put(flow)
            }
            var seen: Set<UFID> = []
            b.dpif.dumpFlows { flow in
                seen.insert(flow.ufid)
                return true
            }
            try b.require(seen.count == 10, "\(seen.count) of 10 flows dumped")
            var visits = 0
            b.dpif.dumpFlows { _ in
                visits += 1
                return visits < 3
            }
            try b.require(visits == 3, "a dump did not stop")
        },
        ConformanceCheck("statistics count packets, bytes and time") { b in
            let flow = b.flow([b.output(1)])
            try b.put(flow)
            try b.require(b.dpif.flow(flow.ufid)?.stats.used == nil, "a new flow was used")
            for _ in 0..<3 { try b.inject() }
            let size = UInt64(try ConformanceBench.udp().count)
            let stats = b.dpif.flow(flow.ufid)?.stats
            try b.require(
                stats?.packets == 3 && stats?.bytes == 3 * size && stats?.used != nil, "statistics are \(String(describing: stats))")
            try b.put(b.flow([b.output(2)]), .modify)
            try b.require(b.dpif.flow(flow.ufid)?.stats.packets == 3, "a modification lost the counters")
            let last = try b.dpif.deleteFlow(flow.ufid)
            try b.require(last.packets == 3, "the last statistics are \(last)")
        },
        ConformanceCheck("a batch goes on after an operation that fails") { b in
            let flow = b.flow([b.output(1)])
            let results = b.dpif.operate([
                .get(flow.ufid), .put(DpFlowPut(.create, flow)), .put(DpFlowPut(.create, flow)), .get(flow.ufid),
                .delete(flow.ufid, flow.key, flow.mask),
            ])
            let succeeded = results.map { if case .failed = $0 { false } else { true } }
            try b.require(succeeded == [false, true, false, true, true], "the batch gave \(results)")
        },
    ]

    static let packetChecks: [ConformanceCheck] = [
        ConformanceCheck("a miss goes up, and its verdict is carried out and installed") { b in
            let flow = b.flow([b.output(1)])
            b.verdict = { upcall in
                let wanted = FlowInstallation(flow.ufid, key: MiniKey(upcall.key), mask: MiniMask(flow.mask), actions: flow.actions)
                return UpcallVerdict(actions: [b.output(1), b.output(2)], install: wanted)
            }
            try b.inject()
            try b.require(b.upcalls.count == 1, "\(b.upcalls.count) upcalls")
            try b.require(
                b.upcalls[0].key.inPort == b.numbers[0] && b.upcalls[0].key.nwDst == 0x0a00_0002, "the key is \(b.upcalls[0].key)")
            try b.require(try b.sent(1).count == 1 && b.sent(2).count == 1, "the packet itself was not sent as decided")
            try b.inject()
            try b.require(b.upcalls.count == 1, "a second upcall for a flow that is installed")
            try b.require(try b.sent(1).count == 1 && b.sent(2).isEmpty, "the flow does not do what was installed")
            try b.require(b.dpif.stats.hit == 1 && b.dpif.stats.missed == 1, "hits and misses are \(b.dpif.stats)")
        },
        ConformanceCheck("without a handler misses are dropped") { b in
            b.dpif.upcallHandler = nil
            try b.inject()
            try b.require(try b.sent(1).isEmpty, "a packet was sent")
        },
        ConformanceCheck("output sends the packet as it came") { b in
            try b.put(b.flow([b.output(1), b.output(2)]))
            try b.inject()
            let frame = try ConformanceBench.udp()
            try b.require(try b.sent(1) == [frame] && b.sent(2) == [frame], "another frame was sent")
        },
        ConformanceCheck("no actions drop") { b in
            try b.put(b.flow([]))
            try b.inject()
            try b.require(b.upcalls.isEmpty, "an upcall")
            try b.require(try b.sent(0).isEmpty && b.sent(1).isEmpty && b.sent(2).isEmpty, "a packet was sent")
        },
        ConformanceCheck("an output to nowhere does not stop the others") { b in
            try b.put(b.flow([.output(54321), b.output(1)]))
            try b.inject()
            try b.require(try b.sent(1).count == 1, "nothing was sent")
        },
        ConformanceCheck("execute runs actions on a packet from outside") { b in
            let frame = try ConformanceBench.udp()
            try b.dpif.execute(Packet(frame), metadata: FlowKey(), actions: [b.output(1)])
            try b.require(try b.sent(1) == [frame], "the packet was not sent")
        },
        ConformanceCheck("userspace sends the packet up") { b in
            try b.put(b.flow([.userspace(.slowPath(.action)), b.output(1)]))
            try b.inject()
            guard b.upcalls.count == 1, case .action(.slowPath) = b.upcalls[0].kind else {
                throw ConformanceFailure(description: "upcalls \(b.upcalls.count)")
            }
            try b.require(try b.sent(1).count == 1, "the rest of the actions was not carried out")
        },
        ConformanceCheck("a VLAN tag is pushed and popped", needs: { [("VLAN", $0.maxVLANHeaders > 0)] }) { b in
            try b.put(b.flow([.pushVLAN(tpid: 0x8100, tci: 0x1005), b.output(1), .popVLAN, b.output(2)]))
            try b.inject()
            let frame = try ConformanceBench.udp()
            try b.require(try b.sent(1) == [Array(frame[..<12]) + [0x81, 0, 0, 5] + frame[12...]], "no tag of VLAN 5")
            try b.require(try b.sent(2) == [frame], "the tag did not go")
        },
        ConformanceCheck("garbage does no harm") { b in
            for length in [0, 1, 13, 14, 15, 20, 33, 40] {
                try b.inject(0, Array(try ConformanceBench.udp().prefix(length)))
            }
            b.upcalls = []
            try b.inject()
            try b.require(b.upcalls.count == 1, "a whole packet no longer goes up")
        },
    ]
}
