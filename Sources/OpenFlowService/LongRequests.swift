// Requests whose answer takes long: given in steps, between which the daemon looks after everything else, and which wait for a peer
// that reads slowly, so that an answer is never held in memory whole.

import Flow
import OpenFlow
import Ofproto

/// A request that is being answered.
protocol LongRequest {
    /// Answers a part. Returns true when that was the last.
    mutating func step(for connection: OpenFlowConnection) -> Bool
}

/// How many flows or groups a step looks at: about two milliseconds' worth.
private let flowsPerStep = 2000

/// The answer to a request for flow statistics: of the flows that were there when it came, each as it is when its turn comes.
struct FlowDump: LongRequest {
    private var selected: FlowSelection
    private var reply: MultipartReply
    private let version: OFVersion
    private let isNicira: Bool
    private let now: Int64
    /// How flows of the mask at hand are written.
    private var template: MatchTemplate?

    init(_ selected: FlowSelection, for request: OFMessage, now: Int64) {
        self.selected = selected
        reply = MultipartReply(to: request)
        version = request.version
        isNicira = request.kind == .nxFlowStats
        self.now = now
    }

    mutating func step(for connection: OpenFlowConnection) -> Bool {
        let options = connection.tunnelOptions
        var budget = flowsPerStep
        while let rule = selected.next(&budget) { append(rule, options) }
        guard selected.isOver else {
            for message in reply.takeWhole() { connection.send(message) }
            return false
        }
        connection.sendAll(&reply)
        return true
    }

    private mutating func append(_ rule: Rule, _ options: TunnelOptionMap?) {
        let stats = FlowStats(rule, now: now)
        if template == nil || template?.mask !== rule.mask || template?.covers(rule.values) == false {
            template = MatchTemplate(rule.mask, values: rule.values, version: isNicira ? .v10 : version, tunnelOptions: options)
        }
        let (version, isNicira) = (version, isNicira)
        let template = template
        reply.append { w in
            func encode(_ match: some EncodableMatch) {
                stats.encode(match, version: version, nicira: isNicira, tunnelOptions: options, to: &w)
            }
            if let template { encode(TemplateMatch(template, rule.values)) } else { encode(rule.match) }
        }
    }
}

/// The answer to a request for aggregate flow statistics.
struct FlowCount: LongRequest {
    private var selected: FlowSelection
    private let request: OFMessage
    private var flows: UInt32 = 0
    private var packets: UInt64 = 0
    private var bytes: UInt64 = 0

    init(_ selected: FlowSelection, for request: OFMessage) {
        self.selected = selected
        self.request = request
    }

    mutating func step(for connection: OpenFlowConnection) -> Bool {
        var budget = 10 * flowsPerStep
        while let rule = selected.next(&budget) {
            flows += 1
            packets &+= rule.packetCount
            bytes &+= rule.byteCount
        }
        guard selected.isOver else { return false }
        var reply = MultipartReply(to: request)
        reply.aggregate(version: request.version, flows: flows, packets: packets, bytes: bytes)
        connection.sendAll(&reply)
        return true
    }
}

/// The answer to a request for groups' descriptions or statistics: of the groups that were there when it came.
struct GroupDump: LongRequest {
    /// Writes what was asked for about a group.
    typealias Item = (GroupStore.Entry, inout WireWriter) -> Void

    private let entries: [UInt32: GroupStore.Entry]
    private var left: ArraySlice<UInt32>
    private var reply: MultipartReply
    private let write: Item

    /// - Parameter ids: of the groups to tell of, in order.
    init(_ ids: [UInt32], of store: GroupStore, for request: OFMessage, _ write: @escaping Item) {
        entries = store.entries
        left = ids[...]
        reply = MultipartReply(to: request)
        self.write = write
    }

    mutating func step(for connection: OpenFlowConnection) -> Bool {
        for id in left.prefix(flowsPerStep) {
            guard let entry = entries[id] else { continue }
            reply.append { write(entry, &$0) }
        }
        left = left.dropFirst(flowsPerStep)
        guard left.isEmpty else {
            for message in reply.takeWhole() { connection.send(message) }
            return false
        }
        connection.sendAll(&reply)
        return true
    }
}
