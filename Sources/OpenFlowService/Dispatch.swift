// From a message's kind to what handles it.

import Flow
import OpenFlow
import Ofproto

extension OpenFlowConnection {
    var owner: OpenFlowSwitch { service.owner }
    var spoken: OFVersion { version ?? .v10 }
    /// Without mappings no tunnel option can be named.
    var tunnelOptions: TunnelOptionMap? { service.tlv.map ?? TunnelOptionMap() }

    /// Handles one whole message and answers it, or says what is wrong with it.
    func dispatch(_ bytes: [UInt8]) {
        guard let header = OFHeader(bytes) else { return }
        do throws(OFError) {
            let isContinuation = multipart.isContinuation(xid: header.xid)
            let message = try OFMessage(bytes, isContinuation: isContinuation)
            if isContinuation || message.hasMore, message.kind.isMultipart, message.version >= .v13 {
                guard let parts = try multipart.add(message, now: owner.time.now) else { return }
                answer(parts)
            } else {
                try handle(message)
            }
        } catch {
            fail(error, xid: header.xid, about: bytes)
        }
    }

    /// Handles a request whose parts are all there.
    private func answer(_ parts: [OFMessage]) {
        guard let first = parts.first else { return }
        owner.settle()
        do throws(OFError) {
            guard first.isWhole(with: parts.dropFirst()) else { throw .brcBadLen }
            if first.kind == .tableFeatures {
                try tableFeatures(first, parts)
            } else {
                // Only requests that are lists have anything to say in later parts.
                guard parts.dropFirst().allSatisfy({ $0.body.isEmpty }) else { throw .brcBadStat }
                try handle(first)
            }
        } catch {
            fail(error, xid: first.xid, about: first.bytes)
        }
    }

    /// Answers requests whose last part did not come in time.
    func expirePartialRequests(_ now: Int64) {
        guard !multipart.isEmpty else { return }
        for part in multipart.expire(now: now) { fail(.brcMultipartRequestTimeout, xid: part.xid, about: part.bytes) }
    }

    /// Sends an error.
    func fail(_ error: OFError, xid: UInt32, about bytes: [UInt8]) {
        OpenFlowService.log.info("\(name): sending \(error) error reply to message")
        let version = OFVersion(rawValue: bytes[0]) ?? spoken
        send(OFSimple.error(error, version: version, xid: xid, about: bytes))
    }

    private func requirePrimary() throws(OFError) {
        if role == .secondary { throw .brcIsSecondary }
    }

    private func handle(_ m: OFMessage) throws(OFError) {
        switch m.kind {
        case .hello, .error, .echoReply, .echoRequest, .barrierRequest, .bundleAdd: break
        // Another connection's bundle may be under way.
        default: owner.settle()
        }
        switch m.kind {
        case .hello, .error, .echoReply: break
        // An old wish to hear of flows that age, which the real daemon does not mind either.
        case .nxFlowAge: break
        case .echoRequest: send(OFSimple.echoReply(to: m))
        case .barrierRequest: send(OFSimple.barrierReply(m.version, xid: m.xid))
        case .featuresRequest: features(m)
        case .getConfigRequest: getConfig(m)
        case .setConfig: try setConfig(m)
        case .roleRequest, .nxRoleRequest: try roleRequest(m)
        case .getAsyncRequest: send(async.reply(version: m.version, xid: m.xid))
        case .setAsync, .nxSetAsync, .nxSetAsync2: try async.apply(m)
        case .nxSetFlowFormat: try setFlowFormat(m)
        case .nxFlowModTableID: try setFlowModTableID(m)
        case .nxSetPacketInFormat: try setPacketInFormat(m)
        case .nxSetControllerID: try setControllerID(m)
        case .packetOut:
            try requirePrimary()
            try packetOut(m)
        case .flowMod, .nxFlowMod:
            try requirePrimary()
            try flowMod(m)
        case .portMod:
            try requirePrimary()
            try portMod(m)
        case .tableMod:
            try requirePrimary()
            try tableMod(m)
        case .groupMod:
            try requirePrimary()
            try groupMod(m)
        case .meterMod:
            try requirePrimary()
            try meterMod(m)
        case .bundleControl:
            try requirePrimary()
            try bundleControl(m)
        case .bundleAdd:
            try requirePrimary()
            try bundleAdd(m)
        case .nxTLVTableMod:
            try requirePrimary()
            try tlvTableMod(m)
        case .nxTLVTableRequest: tlvTableRequest(m)
        case .queueGetConfigRequest, .queueDesc: try queueConfig(m)
        case .descStats: describe(m)
        case .flowStats, .nxFlowStats: try flowStats(m)
        case .aggregateStats, .nxAggregateStats: try aggregateStats(m)
        case .tableStats: tableStats(m)
        case .tableFeatures: try tableFeatures(m, [m])
        case .tableDesc: tableDescription(m)
        case .portStats: try portStats(m)
        case .portDesc: try portDescription(m)
        case .queueStats: try queueStats(m)
        case .groupStats: try groupStats(m)
        case .groupDesc: try groupDescription(m)
        case .groupFeatures: groupFeatures(m)
        case .meterStats: try meterStats(m)
        case .meterConfig: try meterConfig(m)
        case .meterFeatures: meterFeatures(m)
        case .flowMonitor, .nxFlowMonitor, .onfFlowMonitor: try flowMonitor(m)
        case .nxFlowMonitorCancel: try cancelFlowMonitor(m)
        case .nxIPFIXBridge: try ipfixBridgeStats(m)
        case .nxIPFIXFlow: try ipfixFlowStats(m)
        case .nxResume: try resume(m)
        case .nxCTFlushZone, .nxCTFlush: try flushConntrack(m)
        }
    }
}
