// Bundles: messages collected first, and carried out together or not at all.

import OpenFlow
import Ofproto

/// A bundle that is being filled. Confined to the main thread.
final class MessageBundle {
    let flags: UInt16
    var isClosed = false
    var steps: [BundleStep] = []

    /// Nothing is left of it then.
    func takeSteps() -> [BundleStep] {
        defer { steps = [] }
        return steps
    }

    init(flags: UInt16) { self.flags = flags }

    /// How many changes of flows are carried out in steps.
    private static let longSize = 2000

    /// Whether it takes long enough that others are to be looked after meanwhile. Flows that are modified count packets meanwhile, which
    /// undoing would lose; what else than flows a bundle can hold comes in small numbers.
    var isLong: Bool {
        steps.count >= Self.longSize
            && steps.allSatisfy {
                switch $0.request {
                case .flows(.add): true
                case .flows(.other(let mod)): mod.command == .delete || mod.command == .deleteStrict
                default: false
                }
            }
    }
}

/// A long bundle of flow changes that is being carried out. Confined to the main thread.
final class BundleCommit: LongRequest {
    /// One or two milliseconds' worth.
    private static let changesPerStep = 800

    private let bundle: MessageBundle
    private let request: OFMessage
    private let reply: [UInt8]
    private let connection: OpenFlowConnection
    private let service: OpenFlowService
    private var next = 0
    private var isRunning = false
    private var isOver = false

    init(_ bundle: MessageBundle, request: OFMessage, reply: [UInt8], by connection: OpenFlowConnection) {
        self.bundle = bundle
        self.request = request
        self.reply = reply
        self.connection = connection
        service = connection.service
        service.owner.changeInSteps { [self] in carryOut(bundle.steps.count) }
    }

    func step(for connection: OpenFlowConnection) -> Bool {
        carryOut(Self.changesPerStep)
        return isOver
    }

    /// Makes the next changes, and after the last of them answers.
    private func carryOut(_ count: Int) {
        guard !isOver, !isRunning else { return }
        isRunning = true
        defer { isRunning = false }
        do throws(OFError) {
            try service.attributing(to: connection, xid: request.xid) { () throws(OFError) in
                for i in next..<min(next + count, bundle.steps.count) {
                    guard case .flows(let change) = bundle.steps[i].request else { continue }
                    do throws(OFError) {
                        try service.changeFlows(change, by: connection, xid: bundle.steps[i].message.xid)
                    } catch {
                        isOver = true
                        service.owner.abandonChanges()
                        let message = bundle.steps[i].message
                        connection.fail(error, xid: message.xid, about: message.bytes)
                        throw .bfcMsgFailed
                    }
                    next += 1
                }
                guard next == bundle.steps.count else { return }
                isOver = true
                service.owner.completeChanges()
            }
        } catch {
            connection.fail(error, xid: request.xid, about: request.bytes)
            return
        }
        guard isOver else { return }
        connection.send(reply)
        // So many messages take a while to be freed, and the answer waits for that.
        Reclaimer.release(bundle.takeSteps())
    }
}

/// One message of a bundle: what it asks for, taken from it when it comes, and the message for errors that turn up later.
struct BundleStep {
    enum Request {
        case flows(FlowChange)
        indirect case group(GroupMod)
        indirect case port(PortMod)
        indirect case packet(PacketOut)
    }
    let request: Request
    let message: OFMessage

    /// - Parameter previous: of the step before.
    init(_ m: OFMessage, of connection: OpenFlowConnection, after previous: Request?) throws(OFError) {
        message = m
        let options = connection.tunnelOptions
        switch m.kind {
        case .groupMod: request = .group(try GroupMod.decode(m, tunnelOptions: options))
        case .portMod: request = .port(try PortMod.decode(m))
        case .packetOut: request = .packet(try PacketOut.decode(m, tunnelOptions: options))
        default:
            let before: FlowChange? = if case .flows(let change) = previous { change } else { nil }
            let mod = try FlowMod.decode(m, tableID: connection.flowModHasTable, tunnelOptions: options)
            request = .flows(FlowChange(mod, after: before))
        }
    }
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
            bundle.isClosed = true
            reply.kind = .closeReply
        case .commitRequest:
            guard let bundle = bundles.removeValue(forKey: request.id) else { throw .bfcBadId }
            guard bundle.flags == request.flags else { throw .bfcBadFlags }
            guard !bundle.isLong else {
                reply.kind = .commitReply
                begin(BundleCommit(bundle, request: m, reply: reply.encode(version: m.version, xid: m.xid), by: self))
                return
            }
            try service.attributing(to: self, xid: m.xid) { () throws(OFError) in try commit(bundle) }
            reply.kind = .commitReply
        case .discardRequest:
            guard bundles.removeValue(forKey: request.id) != nil else { throw .bfcBadId }
            reply.kind = .discardReply
        case .openReply, .closeReply, .commitReply, .discardReply: throw .bfcBadType
        // As the real daemon answers what it does not know.
        case nil: break
        }
        send(reply.encode(version: m.version, xid: m.xid))
    }

    func bundleAdd(_ m: OFMessage) throws(OFError) {
        let request = try BundleAdd.decode(m)
        let known = bundles[request.id]
        // What cannot be understood is refused right away.
        let step = try BundleStep(request.message, of: self, after: known?.steps.last?.request)
        let bundle = known ?? MessageBundle(flags: request.flags)
        if known == nil {
            guard bundles.count < Self.maxBundles else { throw .bfcOutOfBundles }
            bundles[request.id] = bundle
        }
        guard !bundle.isClosed else {
            bundles[request.id] = nil
            throw .bfcBundleClosed
        }
        guard bundle.flags == request.flags else {
            bundles[request.id] = nil
            throw .bfcBadFlags
        }
        guard bundle.steps.count < Self.maxMessages else { throw .bfcMsgTooMany }
        bundle.steps.append(step)
    }

    /// Carries a bundle out. The message that fails is named by an error of its own.
    private func commit(_ bundle: MessageBundle) throws(OFError) {
        let groups = service.groups
        var failed: (OFMessage, OFError)?
        var ports: [(PortMod, SwitchPort)] = []
        var packets: [(PacketOut, OFVersion)] = []
        do throws(OFError) {
            try owner.atomically { () throws(OFError) in
                for step in bundle.steps {
                    let m = step.message
                    do throws(OFError) {
                        switch step.request {
                        case .flows(let change): try service.changeFlows(change, by: self, xid: m.xid)
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
