// Bundles: messages collected first, and carried out together or not at all.

import OpenFlow
import Ofproto

/// A bundle that is being filled.
struct MessageBundle {
    var flags: UInt16
    var isClosed = false
    var messages: [OFMessage] = []
}

extension OpenFlowConnection {
    /// The most bundles of a connection, and messages of a bundle.
    private static var maxBundles: Int { 64 }
    private static var maxMessages: Int { 1 << 20 }

    func bundleControl(_ m: OFMessage) throws(OFError) {
        let request = try BundleControl.decode(m)
        var reply = request
        reply.flags = 0
        switch request.kind {
        case .openRequest:
            guard bundles[request.id] == nil else {
                bundles[request.id] = nil
                throw .bfcBadId
            }
            guard bundles.count < Self.maxBundles else { throw .bfcOutOfBundles }
            bundles[request.id] = MessageBundle(flags: request.flags)
            reply.kind = .openReply
        case .closeRequest:
            guard let bundle = bundles[request.id] else { throw .bfcBadId }
            guard !bundle.isClosed else {
                bundles[request.id] = nil
                throw .bfcBundleClosed
            }
            guard bundle.flags == request.flags else {
                bundles[request.id] = nil
                throw .bfcBadFlags
            }
            bundles[request.id]?.isClosed = true
            reply.kind = .closeReply
        case .commitRequest:
            guard let bundle = bundles.removeValue(forKey: request.id) else { throw .bfcBadId }
            guard bundle.flags == request.flags else { throw .bfcBadFlags }
            try service.attributing(to: self, xid: m.xid) { () throws(OFError) in try commit(bundle) }
            reply.kind = .commitReply
        case .discardRequest:
            guard bundles.removeValue(forKey: request.id) != nil else { throw .bfcBadId }
            reply.kind = .discardReply
        case .openReply, .closeReply, .commitReply, .discardReply: throw .bfcBadType
        }
        send(reply.encode(version: m.version, xid: m.xid))
    }

    func bundleAdd(_ m: OFMessage) throws(OFError) {
        let request = try BundleAdd.decode(m)
        // What cannot be understood is refused right away.
        _ = try Step(request.message, self)
        if bundles[request.id] == nil {
            guard bundles.count < Self.maxBundles else { throw .bfcOutOfBundles }
            bundles[request.id] = MessageBundle(flags: request.flags)
        }
        guard let bundle = bundles[request.id] else { throw .bfcBadId }
        guard !bundle.isClosed else {
            bundles[request.id] = nil
            throw .bfcBundleClosed
        }
        guard bundle.flags == request.flags else {
            bundles[request.id] = nil
            throw .bfcBadFlags
        }
        guard bundle.messages.count < Self.maxMessages else { throw .bfcMsgTooMany }
        bundles[request.id]?.messages.append(request.message)
    }

    /// One message of a bundle, taken apart.
    private enum Step {
        case flows(FlowMod)
        case group(GroupMod)
        case port(PortMod)
        case packet(PacketOut)

        init(_ m: OFMessage, _ c: OpenFlowConnection) throws(OFError) {
            switch m.kind {
            case .groupMod: self = .group(try GroupMod.decode(m, tunnelOptions: c.tunnelOptions))
            case .portMod: self = .port(try PortMod.decode(m))
            case .packetOut: self = .packet(try PacketOut.decode(m, tunnelOptions: c.tunnelOptions))
            default:
                self = .flows(
                    try FlowMod.decode(m, tableID: c.flowModHasTable, tunnelOptions: c.tunnelOptions))
            }
        }
    }

    /// Carries a bundle out. The message that fails is named by an error of its own.
    private func commit(_ bundle: MessageBundle) throws(OFError) {
        let groups = service.groups
        var failed: (OFMessage, OFError)?
        var ports: [(PortMod, SwitchPort)] = []
        var packets: [(PacketOut, OFVersion)] = []
        do throws(OFError) {
            try owner.atomically { () throws(OFError) in
                for m in bundle.messages {
                    do throws(OFError) {
                        switch try Step(m, self) {
                        case .flows(let mod): try service.changeFlows(mod, by: self, xid: m.xid)
                        case .group(let mod): try service.changeGroup(mod, version: m.version)
                        case .port(let mod): ports.append((mod, try portForMod(mod)))
                        case .packet(let request):
                            try owner.checkPacketOut(request, version: m.version)
                            packets.append((request, m.version))
                        }
                    } catch {
                        failed = (m, error)
                        throw error
                    }
                }
            }
        } catch {
            service.groups = groups
            if let (m, error) = failed { fail(error, xid: m.xid, about: m.bytes) }
            throw .bfcMsgFailed
        }
        for (mod, port) in ports { apply(mod, to: port) }
        for (request, version) in packets { try? owner.packetOut(request, version: version) }
    }
}
