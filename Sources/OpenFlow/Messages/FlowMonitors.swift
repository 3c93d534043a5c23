// Watching flows: NXST_FLOW_MONITOR of Nicira's extensions, its twin for OpenFlow 1.3 by the Open Networking Foundation, and
// OFPMP_FLOW_MONITOR of OpenFlow 1.4 (section A.3.5.17 there).

import Flow

/// What to be told about flows (bits that the forms have in common).
public struct FlowMonitorFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// The flows that are there already.
    public static let initial = FlowMonitorFlags(rawValue: 1)
    public static let add = FlowMonitorFlags(rawValue: 2)
    public static let delete = FlowMonitorFlags(rawValue: 4)
    public static let modify = FlowMonitorFlags(rawValue: 8)
    /// With their actions.
    public static let actions = FlowMonitorFlags(rawValue: 16)
    /// Changes of one's own in full, and not as an abbreviation. OpenFlow 1.4 has it one bit higher.
    public static let own = FlowMonitorFlags(rawValue: 32)

    public static let anyChange: FlowMonitorFlags = [.add, .delete, .modify]
}

/// A request to watch flows, or to stop.
public struct FlowMonitorRequest: Sendable {
    public enum Command: UInt8, Sendable { case add = 0, modify, delete }

    public var id: UInt32
    /// Before OpenFlow 1.4 always `add`; nil: none that there is.
    public var command: Command?
    public var flags: FlowMonitorFlags
    public var outPort: OFPort = .none
    public var outGroup: UInt32 = .max
    /// 255: all.
    public var table: UInt8
    public var match: Match

    /// Decodes the next of a message's requests.
    public static func decode(_ r: inout WireReader, kind: OFKind, tunnelOptions: TunnelOptionMap?) throws(OFError) -> FlowMonitorRequest {
        guard r.remaining >= 16 else { throw .brcBadLen }
        let id = try r.u32()
        var match = Match()
        if kind == .flowMonitor {
            guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
            let group = try r.u32()
            let bits = try r.u16()
            let table = try r.u8()
            let command = Command(rawValue: try r.u8())
            guard command == .delete || bits & ~0x5f == 0 && bits & 0xe != 0 else { throw .mofcBadFlags }
            try MatchCodec.decode11(&r, into: &match, tunnelOptions: tunnelOptions)
            return FlowMonitorRequest(
                id: id, command: command, flags: FlowMonitorFlags(rawValue: bits & 0x1f | (bits & 0x40) >> 1), outPort: port,
                outGroup: group, table: table, match: match)
        }
        let bits = try r.u16()
        guard bits & ~0x3f == 0, bits & 0xe != 0 else { throw .mofcBadFlags }
        let flags = FlowMonitorFlags(rawValue: bits)
        if kind == .nxFlowMonitor {
            let port = OFPort(UInt32(try r.u16()))
            let length = Int(try r.u16())
            let table = try r.u8()
            guard r.isZero(5) else { throw .nxbrcMustBeZero }
            try r.skip(5)
            _ = try MatchCodec.decodeNXM(&r, into: &match, length: length, allowCookie: false, tunnelOptions: tunnelOptions)
            return FlowMonitorRequest(id: id, command: .add, flags: flags, outPort: port, table: table, match: match)
        }
        try r.skip(2)
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        let table = try r.u8()
        try r.skip(3)
        try MatchCodec.decode11(&r, into: &match, tunnelOptions: tunnelOptions)
        return FlowMonitorRequest(id: id, command: .add, flags: flags, outPort: port, table: table, match: match)
    }
}

/// One item of what watchers are told.
public enum FlowUpdate: Sendable {
    /// The form, by the version that is spoken and by how the watch was asked for.
    public enum Form: Sendable { case nicira, foundation, standard }
    public enum Event: Sendable { case initial, added, deleted, modified }

    /// A flow. `actions` is nil where they are not asked for.
    case full(Event, reason: UInt8, Match, FlowStats, withActions: Bool)
    /// The watcher changed flows itself, by this request.
    case abbreviated(xid: UInt32)
    /// The watcher is too slow, and is told less for a while; only in the standard form.
    case paused
    case resumed

    public func encode(_ form: Form, version v: OFVersion, tunnelOptions: TunnelOptionMap?, to w: inout WireWriter) {
        let start = w.count
        w.u16(0)
        switch self {
        case .abbreviated(let xid):
            w.u16(form == .standard ? 4 : 3)
            w.u32(xid)
        case .paused, .resumed:
            if case .paused = self { w.u16(5) } else { w.u16(6) }
            w.u32(0)
        case .full(let event, let reason, let match, let flow, let withActions):
            if form == .standard {
                switch event {
                case .initial: w.u16(0)
                case .added: w.u16(1)
                case .deleted: w.u16(2)
                case .modified: w.u16(3)
                }
                w.u8(flow.table)
                w.u8(reason)
                w.u16(flow.idleTimeout)
                w.u16(flow.hardTimeout)
                w.u16(flow.priority)
                w.u32(0)
                w.u64(flow.cookie)
                MatchCodec.encode11(match, version: v, to: &w, tunnelOptions: tunnelOptions)
            } else {
                switch event {
                case .initial, .added: w.u16(0)
                case .deleted: w.u16(1)
                case .modified: w.u16(2)
                }
                w.u16(UInt16(reason))
                w.u16(flow.priority)
                w.u16(flow.idleTimeout)
                w.u16(flow.hardTimeout)
                let at = w.count
                w.u16(0)
                w.u8(flow.table)
                w.u8(0)
                w.u64(flow.cookie)
                if form == .nicira {
                    w.patch16(MatchCodec.encodeNXM(match, to: &w, tunnelOptions: tunnelOptions), at: at)
                } else {
                    let start = w.count
                    MatchCodec.encode11(match, version: v, to: &w, tunnelOptions: tunnelOptions)
                    // The length without its padding, as the match itself says.
                    w.patch16(Int(w.bytes[start + 2]) << 8 | Int(w.bytes[start + 3]), at: at)
                }
            }
            if withActions { ActionCodec.encodeFlowActions(flow.actions, version: form == .nicira ? .v10 : v, to: &w) }
        }
        w.patch16(w.count - start, at: start)
    }

    /// NXT_FLOW_MONITOR_PAUSED and _RESUMED, which say what `paused` and `resumed` do in forms that have no such items.
    public static func pauseMessage(_ v: OFVersion, resumed: Bool) -> [UInt8] {
        var w = WireWriter.experimenter(v, resumed ? 23 : 22, xid: 0)
        return w.finish()
    }
}
