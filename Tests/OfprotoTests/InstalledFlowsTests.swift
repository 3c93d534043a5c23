// The list of installed flows: a pass sees each flow that was there when it began, whatever comes and goes meanwhile.

import Dpif
import Flow
import TestSupport
import Testing

@testable import Ofproto

@Suite struct InstalledFlowsTests {
    private static func flow(_ n: Int, masks: Int) -> DpFlow {
        var key = FlowKey()
        key.nwSrc = UInt32(n)
        var mask = FlowMask()
        mask.bits.nwSrc = .max << UInt32(n % masks)
        return DpFlow(ufid: UFID(UInt128(n)), key: key, mask: mask, actions: [.output(1)])
    }

    @Test func aPassSeesEachFlowOnce() throws {
        let bench = try SwitchBench()
        let translation = Translation(bench.bridge, flow: FlowKey(), sideEffects: false)
        var g = SeededGenerator(for: "installed flows")
        var flows = InstalledFlows()
        var there: Set<UFID> = []
        var next = 0
        func add(_ flows: inout InstalledFlows, _ there: inout Set<UFID>) {
            let flow = Self.flow(next, masks: 5)
            next += 1
            let entry = flows.insert(flow.ufid, flow.key, flow.mask, flow.actions, translation, now: 0, generation: 0)
            #expect(entry.key == flow.key && entry.mask == flow.mask)
            there.insert(flow.ufid)
        }
        for _ in 0..<300 {
            for _ in 0..<Int.random(in: 0..<40, using: &g) { add(&flows, &there) }
            flows.beginPass()
            var due = there
            var seen: Set<UFID> = []
            while !flows.isPassComplete {
                // The datapath tells of some, old and new, seen before or not.
                for _ in 0..<Int.random(in: 0..<10, using: &g) {
                    guard let told = there.randomElement(using: &g) else { break }
                    let entry = flows.visit(told)
                    #expect(entry == nil ? seen.contains(told) || !due.contains(told) : entry?.ufid == told && seen.insert(told).inserted)
                }
                #expect(flows.visit(UFID(UInt128(next))) == nil)
                for case let entry as InstalledFlow in flows.visit(atMost: Int.random(in: 1...20, using: &g)) {
                    #expect(seen.insert(entry.ufid).inserted)
                    #expect(flows[entry.ufid] === entry)
                }
                for _ in 0..<Int.random(in: 0..<6, using: &g) {
                    if Bool.random(using: &g) {
                        add(&flows, &there)
                    } else if let gone = there.randomElement(using: &g) {
                        let entry = flows.remove(gone)
                        #expect(entry?.ufid == gone && entry?.isThere == false)
                        there.remove(gone)
                        due.remove(gone)
                    }
                }
                #expect(flows.count == there.count)
            }
            #expect(due.isSubset(of: seen))
            #expect(Set(flows.ids) == there)
        }
        #expect(next > 5000)
        for id in there { #expect(flows.remove(id) != nil) }
        #expect(flows.count == 0 && flows.isPassComplete && flows.remove(UFID(0)) == nil)
    }

    /// Each megaflow keeps some of these: what one takes is what a megaflow takes.
    @Test func targetsAreSmall() { #expect(MemoryLayout<TranslationTarget>.stride <= 24) }
}
