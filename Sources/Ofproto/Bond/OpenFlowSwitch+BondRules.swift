// The hidden flows of balance-tcp bonds: a packet that the datapath sends back with its hash finds the member of its bucket by a flow of
// the internal table, which counts it, and which `bridge/dump-flows` shows.

import Flow
import OpenFlow

extension OpenFlowSwitch {
    /// Makes the flows of a bond what its buckets say.
    func updateRules(of bond: Bond) {
        let table = tables[Self.internalTable]
        let id = bond.leavesChoiceToDatapath ? bond.recirculationID : nil
        for bucket in bond.rules.indices {
            let port = id == nil ? nil : bond.member(of: bucket)?.port.number
            let old = bond.rules[bucket]
            guard old?.port != port else { continue }
            if let old { table.remove(old.rule) }
            bond.rules[bucket] = port.map { ($0, rule(bucket: bucket, recirculationID: id ?? 0, port: $0)) }
            if let new = bond.rules[bucket] { table.insert(new.rule) }
        }
    }

    private func rule(bucket: Int, recirculationID: UInt32, port: OFPort) -> Rule {
        var match = Match()
        match.set(Location.recircID, UInt128(recirculationID))
        match.set(Location.dpHash, UInt128(bucket), mask: UInt128(Bond.bucketCount - 1))
        return Rule(
            tableID: UInt8(Self.internalTable), match: match, priority: 20, flags: .hidden, actions: [.output(port, maxLength: 0)],
            now: time.now)
    }
}
