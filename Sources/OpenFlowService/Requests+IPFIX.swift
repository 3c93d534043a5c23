// Requests about the exporters of IPFIX.

import Ofproto
import OpenFlow

extension OpenFlowConnection {
    func ipfixBridgeStats(_ m: OFMessage) throws(OFError) {
        guard let statistics = owner.ipfix?.bridgeStatistics else { throw .nxstNotConfigured }
        var reply = MultipartReply(to: m)
        reply.append { statistics.encode(to: &$0) }
        sendAll(&reply)
    }

    func ipfixFlowStats(_ m: OFMessage) throws(OFError) {
        guard let all = owner.ipfix?.flowStatistics, !all.isEmpty else { throw .nxstNotConfigured }
        var reply = MultipartReply(to: m)
        for (set, statistics) in all {
            var entry = statistics
            entry.collectorSet = set
            reply.append { entry.encode(to: &$0) }
        }
        sendAll(&reply)
    }
}
