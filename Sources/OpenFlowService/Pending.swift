import Flow
import OpenFlow
import Ofproto
struct MessageBundle {}
struct FlowMonitor {}
struct GroupStore {}
struct MeterStore {}
struct TLVState { var map: TunnelOptionMap? { nil } }
extension OpenFlowConnection {
    func groupMod(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func meterMod(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func bundleControl(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func bundleAdd(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func tlvTableMod(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func tlvTableRequest(_ m: OFMessage) { }
    func tableFeatures(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func groupStats(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func groupDescription(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func groupFeatures(_ m: OFMessage)  {}
    func meterStats(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func meterConfig(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func meterFeatures(_ m: OFMessage)  {}
    func flowMonitor(_ m: OFMessage) throws(OFError) { throw .brcBadType }
    func cancelFlowMonitor(_ m: OFMessage) throws(OFError) { throw .brcBadType }
}
enum MonitorEvent { case added, modified, deleted }
extension OpenFlowService {
    func monitorFlow(_ rule: Rule, _ event: MonitorEvent, _ cause: FlowRemovedCause?) {}
    func changeFlows(_ mod: FlowMod, by connection: OpenFlowConnection, xid: UInt32) throws(OFError) {
        try owner.modifyFlows(mod)
    }
}
