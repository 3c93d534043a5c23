// Changes of flows on their way to those who watch them.
//
// Every change makes one update for a connection, however many of its watches cover the flow. What one request changes is
// told in one message after it. A connection that does not read fast enough is paused: additions and modifications are not
// told then, which bounds what waits for it, but rules remember when they changed, and once what waited has gone out the
// connection is told of those that changed since, and that it is resumed. Deletions of flows that it knows of are told all
// the while.

import Flow
import OpenFlow
import Ofproto

/// One watch on a bridge's flows.
struct FlowMonitor {
    var flags: FlowMonitorFlags
    var outPort: OFPort
    var outGroup: UInt32
    var table: UInt8
    var match: Match

    init(_ request: FlowMonitorRequest) {
        flags = request.flags
        outPort = request.outPort
        outGroup = request.outGroup
        table = request.table
        match = request.match
    }

    /// Whether a rule is of those watched; `old` are the actions that it had before a change.
    func covers(_ rule: Rule, old: [OFAction]?) -> Bool {
        if table == 255 ? rule.isHidden : table != rule.tableID { return false }
        if outPort != .none, !rule.actions.outputs(to: outPort), !(old?.outputs(to: outPort) ?? false) { return false }
        if outGroup != .max, !rule.actions.outputs(toGroup: outGroup), !(old?.outputs(toGroup: outGroup) ?? false) { return false }
        return rule.isWithin(match)
    }
}

/// All watches of a connection.
struct FlowMonitors {
    /// Unsent bytes at which the connection is paused.
    static let pauseBacklog = 128 << 10

    var byID: [UInt32: FlowMonitor] = [:]
    /// As the watches were asked for.
    var form = FlowUpdate.Form.standard
    /// What the current request has changed, in order.
    fileprivate var updates: [FlowUpdate] = []
    /// The current request has an abbreviation already.
    fileprivate var abbreviated: UInt32?
    /// Rules that changed after this are told on resuming; nil while not paused.
    fileprivate(set) var pausedAt: UInt64?

    var isPaused: Bool { pausedAt != nil }
}

enum MonitorEvent { case added, modified, deleted }

extension OpenFlowConnection {
    func flowMonitor(_ m: OFMessage) throws(OFError) {
        var reader = m.body
        var requests: [FlowMonitorRequest] = []
        while !reader.isEmpty {
            requests.append(try FlowMonitorRequest.decode(&reader, kind: m.kind, tunnelOptions: tunnelOptions))
        }
        // Whole or not at all.
        var changed = monitors
        switch m.kind {
        case .nxFlowMonitor: changed.form = .nicira
        case .onfFlowMonitor: changed.form = .foundation
        default: changed.form = .standard
        }
        var new: [FlowMonitor] = []
        for request in requests {
            switch request.command {
            case .add:
                guard request.table == 255 || request.table <= 254 else { throw .mofcBadTableId }
                guard changed.byID[request.id] == nil else { throw .mofcMonitorExists }
                changed.byID[request.id] = FlowMonitor(request)
                new.append(FlowMonitor(request))
            case .modify:
                guard changed.byID[request.id] != nil else { throw .mofcUnknownMonitor }
                changed.byID[request.id] = FlowMonitor(request)
            case .delete:
                guard changed.byID.removeValue(forKey: request.id) != nil else { throw .mofcUnknownMonitor }
            case nil: break
            }
        }
        monitors = changed
        var reply = MultipartReply(to: m)
        let now = owner.time.now
        let wanted = new.filter { $0.flags.contains(.initial) }
        for rule in watchedRules(wanted, { _ in true }) {
            let withActions = wanted.contains { $0.flags.contains(.actions) && $0.covers(rule, old: nil) }
            let update = FlowUpdate.full(.initial, reason: 0, rule.match, FlowStats(rule, now: now), withActions: withActions)
            reply.append { update.encode(changed.form, version: m.version, tunnelOptions: tunnelOptions, to: &$0) }
        }
        sendAll(&reply)
    }

    /// Rules that are watched, each once, table by table.
    private func watchedRules(_ watches: [FlowMonitor], _ condition: (Rule) -> Bool) -> [Rule] {
        var found: [Rule] = []
        for table in owner.tables.used where watches.contains(where: { $0.table == table.id || $0.table == 255 }) {
            table.forEach { rule in
                if condition(rule), watches.contains(where: { $0.covers(rule, old: nil) }) { found.append(rule) }
            }
        }
        return found
    }

    func cancelFlowMonitor(_ m: OFMessage) throws(OFError) {
        var r = m.body
        guard monitors.byID.removeValue(forKey: try r.u32()) != nil else { throw .mofcUnknownMonitor }
    }

    /// Notes a change for the end of the current request.
    fileprivate func watch(
        _ rule: Rule, _ event: MonitorEvent, reason: UInt8, old: [OFAction]?, requester: (connection: OpenFlowConnection, xid: UInt32)?
    ) {
        guard !monitors.byID.isEmpty else { return }
        let flag: FlowMonitorFlags = event == .added ? .add : event == .modified ? .modify : .delete
        var wanted: FlowMonitorFlags = []
        for watch in monitors.byID.values where watch.flags.contains(flag) && watch.covers(rule, old: old) {
            wanted.formUnion(watch.flags)
        }
        guard !wanted.isEmpty else { return }
        if let pausedAt = monitors.pausedAt {
            // Of what it was not told of it needs no end either.
            guard event == .deleted, rule.addedAt <= pausedAt else { return }
        }
        if let requester, requester.connection === self, !wanted.contains(.own) {
            if monitors.abbreviated != requester.xid {
                monitors.abbreviated = requester.xid
                monitors.updates.append(.abbreviated(xid: requester.xid))
            }
            return
        }
        let kind: FlowUpdate.Event = event == .added ? .added : event == .modified ? .modified : .deleted
        monitors.updates.append(
            .full(kind, reason: reason, rule.match, FlowStats(rule, now: owner.time.now), withActions: wanted.contains(.actions)))
    }

    /// Sends what was noted, and pauses when too much waits already.
    fileprivate func flushUpdates() {
        monitors.abbreviated = nil
        guard !monitors.updates.isEmpty else { return }
        if monitors.pausedAt == nil, backlog > FlowMonitors.pauseBacklog {
            // The updates at hand still go out.
            sendUpdates()
            monitors.pausedAt = owner.changeSequence
            tellPause(resumed: false)
        } else {
            sendUpdates()
        }
    }

    private func sendUpdates() {
        guard let version else { return }
        var message = MultipartReply(flowUpdates: monitors.form, version: version)
        for update in monitors.updates {
            message.append { update.encode(monitors.form, version: version, tunnelOptions: tunnelOptions, to: &$0) }
        }
        monitors.updates = []
        sendAll(&message)
    }

    private func tellPause(resumed: Bool) {
        guard let version else { return }
        if monitors.form == .standard {
            monitors.updates.append(resumed ? .resumed : .paused)
            sendUpdates()
        } else {
            send(FlowUpdate.pauseMessage(version, resumed: resumed))
        }
    }

    /// Goes on with a connection that was paused, once nothing waits to be sent any more.
    func resumeMonitors() {
        guard let pausedAt = monitors.pausedAt, backlog == 0, isOpen else { return }
        let watches = Array(monitors.byID.values)
        let now = owner.time.now
        for rule in watchedRules(watches, { $0.changedAt > pausedAt }) {
            let event: FlowUpdate.Event = rule.addedAt > pausedAt ? .added : .modified
            let flag: FlowMonitorFlags = event == .added ? .add : .modify
            let wanted = watches.filter { $0.flags.contains(flag) && $0.covers(rule, old: nil) }
            guard !wanted.isEmpty else { continue }
            monitors.updates.append(
                .full(event, reason: 0, rule.match, FlowStats(rule, now: now), withActions: wanted.contains { $0.flags.contains(.actions) })
            )
        }
        monitors.pausedAt = nil
        sendUpdates()
        tellPause(resumed: true)
    }
}

extension OpenFlowService {
    /// A flow was added, changed or deleted. Told at the end of the request that did it, or at once when none did.
    func monitorFlow(_ rule: Rule, _ event: MonitorEvent, cause: FlowRemovedCause? = nil, old: [OFAction]? = nil) {
        for connection in connections {
            connection.watch(rule, event, reason: cause?.rawValue ?? 0, old: old, requester: requester)
            if requester == nil { connection.flushUpdates() }
        }
    }

    /// Runs what changes flows for a request of a connection.
    func attributing<Result>(
        to connection: OpenFlowConnection, xid: UInt32, _ body: () throws(OFError) -> Result
    ) throws(OFError) -> Result {
        let outer = requester
        requester = (connection, xid)
        defer {
            requester = outer
            if outer == nil { for watcher in connections { watcher.flushUpdates() } }
        }
        return try body()
    }

    /// Carries a flow_mod out.
    func changeFlows(_ change: FlowChange, by connection: OpenFlowConnection, xid: UInt32) throws(OFError) {
        guard owner.tellsOfFlows else { return try owner.carryOut(change) }
        try attributing(to: connection, xid: xid) { () throws(OFError) in try owner.carryOut(change) }
    }
}
