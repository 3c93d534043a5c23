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

/// The answer to a request for flow statistics: of the flows that were there when it came, each as it is when its turn comes.
struct FlowDump: LongRequest {
    /// About two milliseconds' worth.
    private static let flowsPerStep = 2000

    private let selected: [SelectedFlows]
    /// Whose turn it is: a table of `selected`, and a flow of it.
    private var table = 0
    private var next = 0
    private var reply: MultipartReply
    private let version: OFVersion
    private let isNicira: Bool
    private let now: Int64
    /// How flows of the mask at hand are written.
    private var template: MatchTemplate?

    init(_ selected: [SelectedFlows], for request: OFMessage, now: Int64) {
        self.selected = selected
        reply = MultipartReply(to: request)
        version = request.version
        isNicira = request.kind == .nxFlowStats
        self.now = now
    }

    mutating func step(for connection: OpenFlowConnection) -> Bool {
        let options = connection.tunnelOptions
        var left = Self.flowsPerStep
        while table < selected.count {
            let rules = selected[table].rules
            while next < rules.count, left > 0 {
                append(rules[next], options)
                next += 1
                left -= 1
            }
            guard next == rules.count else {
                for message in reply.takeWhole() { connection.send(message) }
                return false
            }
            table += 1
            next = 0
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
