// What tables can do: OFPMP_TABLE_FEATURES.

import Flow
import OpenFlow
import Ofproto

extension OpenFlowConnection {
    func tableFeatures(_ m: OFMessage) throws(OFError) {
        // Tables are as they are; a request with a body wants them otherwise.
        guard m.body.isEmpty, partialRequest.isEmpty else { throw .brcBadLen }
        var reply = MultipartReply(to: m)
        for table in owner.tables.dropLast() {
            let features = TableFeatures(
                table: table.id, name: table.name, maxEntries: UInt32(clamping: table.maxFlows ?? 1_000_000))
            reply.append { features.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }
}
