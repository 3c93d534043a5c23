// Taking over a datapath that forwards already: what an earlier daemon installed there stays where this one would install the same.

import Dpif
import Flow
import OpenFlow

extension DatapathBacker {
    /// Looks through the flows that the datapath had before, once bridges and ports are there, and goes on with those that are right.
    /// Nothing happens for a datapath that is this daemon's own, or was taken over before.
    public func adopt() {
        guard isHolding else { return }
        var found: [DpFlow] = []
        dpif.dumpFlows {
            found.append($0)
            return true
        }
        // Where addresses are is learned first, from flows that packets used, so that NORMAL gives what it gave.
        for flow in found where flow.stats.packets > 0 && flow.key.recircID == 0 {
            guard let port = port(of: flow.key) else { continue }
            for case .normal(let owner, let bundle, let source, let vlan, let gratuitous) in translate(
                flow.key, on: port, sideEffects: false
            ).targets {
                _ = owner.macs.learn(source, vlan: vlan, on: bundle, gratuitousARP: gratuitous)
            }
        }
        var doomed: [DpFlow] = []
        for flow in found {
            // What recirculation ids stood for is not known any more.
            guard flow.key.recircID == 0, let port = port(of: flow.key) else {
                doomed.append(flow)
                continue
            }
            let translation = translate(flow.key, on: port, sideEffects: false)
            let (mask, wanted) = megaflow(translation, flow.key)
            guard translation.error == nil, !translation.avoidCaching, translation.recirculationIDs.isEmpty, wanted == flow.actions,
                UFID(key: flow.key, mask: mask) == flow.ufid
            else {
                doomed.append(flow)
                continue
            }
            var own = flow
            own.mask = mask
            take(own, translation)
        }
        _ = dpif.operate(doomed.map { .delete($0.ufid, $0.key, $0.mask) })
        Self.log.info("\(dpif.name): took over \(found.count - doomed.count) of \(found.count) flows")
        endHolding()
        dpif.endAdoption()
        changed()
    }
}
