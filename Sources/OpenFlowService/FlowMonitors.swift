// Changes of flows on their way to those who watch them.

import Flow
import OpenFlow
import Ofproto

/// One watch on a bridge's flows.
struct FlowMonitor {}

enum MonitorEvent { case added, modified, deleted }

extension OpenFlowConnection {
    func flowMonitor(_ m: OFMessage) throws(OFError) { throw .brcBadStat }

    func cancelFlowMonitor(_ m: OFMessage) throws(OFError) {
        var r = m.body
        guard flowMonitors.removeValue(forKey: try r.u32()) != nil else { throw .mofcUnknownMonitor }
    }
}

extension OpenFlowService {
    /// A flow was added, changed or deleted.
    func monitorFlow(_ rule: Rule, _ event: MonitorEvent, _ cause: FlowRemovedCause?) {}

    /// Carries a flow_mod out.
    func changeFlows(_ mod: FlowMod, by connection: OpenFlowConnection, xid: UInt32) throws(OFError) {
        try owner.modifyFlows(mod)
    }
}
