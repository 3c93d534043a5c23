// Statistics and multipart replies: cut into messages of at most 64 KiB, each item whole.

import Flow

/// Collects the items of a reply, in as many messages as they need.
public struct MultipartReply {
    private let version: OFVersion
    private let xid: UInt32
    private let type: UInt16
    private let experimenter: Experimenter?
    private var done: [[UInt8]] = []
    private var current: WireWriter
    private let headSize: Int

    private typealias Experimenter = (vendor: UInt32, subtype: UInt32)

    /// The reply to a request, with the numbers of its kind.
    public init(to request: OFMessage) {
        version = request.version
        xid = request.xid
        type = WireReader(request.bytes).peek16(8) ?? 0
        let reader = WireReader(request.bytes)
        let at = request.version == .v10 ? 12 : 16
        experimenter = type == 0xffff ? (reader.peek32(at) ?? 0, reader.peek32(at + 4) ?? 0) : nil
        current = Self.head(version, xid, type, experimenter)
        headSize = current.count
    }

    /// Updates for those who watch flows, which answer no request.
    public init(flowUpdates form: FlowUpdate.Form, version: OFVersion) {
        self.version = version
        xid = 0
        type = form == .standard ? 16 : 0xffff
        switch form {
        case .nicira: experimenter = (0x2320, 2)
        case .foundation: experimenter = (0x4f4e_4600, 1870)
        case .standard: experimenter = nil
        }
        current = Self.head(version, xid, type, experimenter)
        headSize = current.count
    }

    /// Whether nothing was appended.
    public var isEmpty: Bool { done.isEmpty && current.count == headSize }

    private static func head(
        _ v: OFVersion, _ xid: UInt32, _ type: UInt16, _ experimenter: Experimenter?, capacity: Int = 4096
    ) -> WireWriter {
        var w = WireWriter.message(v, v == .v10 ? 17 : 19, xid: xid, capacity: capacity)
        w.u16(type)
        w.u16(0)
        if v > .v10 { w.u32(0) }
        if let experimenter {
            w.u32(experimenter.vendor)
            w.u32(experimenter.subtype)
            if v == .v10 { w.u32(0) }
        }
        return w
    }

    /// Appends one item, written by `body`.
    public mutating func append(_ body: (inout WireWriter) -> Void) {
        let start = current.count
        body(&current)
        if current.count > 0xffff, start > headSize {
            let item = Array(current.bytes[start...])
            current.bytes.removeLast(current.count - start)
            // OFPMPF_REPLY_MORE.
            current.bytes[11] |= 1
            done.append(current.finish())
            current = Self.head(version, xid, type, experimenter, capacity: 0xffff)
            current.array(item)
        }
    }

    /// The messages that are complete so far, which more follow.
    public mutating func takeWhole() -> [[UInt8]] {
        defer { done = [] }
        return done
    }

    /// The messages, or those that were not taken yet.
    public mutating func finish() -> [[UInt8]] {
        done.append(current.finish())
        return done
    }
}

/// The requests for flow and aggregate statistics.
public struct FlowStatsRequest: Sendable {
    public var isAggregate = false
    public var match = Match()
    public var cookie: UInt64 = 0
    public var cookieMask: UInt64 = 0
    public var outPort: OFPort = .none
    public var outGroup: UInt32 = .max
    /// 255: all.
    public var table: UInt8 = 255

    public static func decode(_ message: OFMessage, tunnelOptions: TunnelOptionMap?) throws(OFError) -> FlowStatsRequest {
        var r = message.body
        var f = FlowStatsRequest()
        f.isAggregate = message.kind == .aggregateStats || message.kind == .nxAggregateStats
        if message.kind == .nxFlowStats || message.kind == .nxAggregateStats {
            f.outPort = OFPort(UInt32(try r.u16()))
            let length = Int(try r.u16())
            f.table = try r.u8()
            try r.skip(3)
            let cookie = try MatchCodec.decodeNXM(&r, into: &f.match, length: length, allowCookie: true, tunnelOptions: tunnelOptions)
            f.cookie = cookie.value
            f.cookieMask = cookie.mask
            guard r.isEmpty else { throw .brcBadLen }
            return f
        }
        if message.version == .v10 {
            f.match = try MatchCodec.decode10(&r)
            f.table = try r.u8()
            try r.skip(1)
            f.outPort = OFPort(UInt32(try r.u16()))
            return f
        }
        f.table = try r.u8()
        try r.skip(3)
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        f.outPort = port
        f.outGroup = try r.u32()
        try r.skip(4)
        f.cookie = try r.u64()
        f.cookieMask = try r.u64()
        try MatchCodec.decode11(&r, into: &f.match, tunnelOptions: tunnelOptions)
        return f
    }
}

/// One flow in a reply, but for its match.
public struct FlowStats: Sendable {
    public var table: UInt8 = 0
    public var priority: UInt16 = 0
    public var cookie: UInt64 = 0
    public var durationSeconds: UInt32 = 0
    public var durationNanoseconds: UInt32 = 0
    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    /// Seconds since the flow was last used and changed; -1 when that is not known.
    public var idleAge = -1
    public var hardAge = -1
    public var packetCount: UInt64 = .max
    public var byteCount: UInt64 = .max
    public var flags: FlowMod.Flags = []
    public var importance: UInt16 = 0
    public var actions: [OFAction] = []

    public init() {}

    /// Appends the item. `nicira`: in an NXST_FLOW reply.
    public func encode(
        _ match: some EncodableMatch, version v: OFVersion, nicira: Bool, tunnelOptions: TunnelOptionMap?, to w: inout WireWriter
    ) {
        let start = w.count
        w.u16(0)
        if nicira {
            w.u8(table)
            w.u8(0)
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
            w.u16(priority)
            w.u16(idleTimeout)
            w.u16(hardTimeout)
            let at = w.count
            w.u16(0)
            // Ages are stored plus one; 0 is unknown.
            w.u16(idleAge < 0 ? 0 : UInt16(truncatingIfNeeded: min(idleAge + 1, 0xffff)))
            w.u16(hardAge < 0 ? 0 : UInt16(truncatingIfNeeded: min(hardAge + 1, 0xffff)))
            w.u64(cookie)
            w.u64(packetCount)
            w.u64(byteCount)
            w.patch16(MatchCodec.encodeNXM(match, to: &w, tunnelOptions: tunnelOptions), at: at)
        } else if v == .v10 {
            w.u8(table)
            w.u8(0)
            match.writeFixed(to: &w)
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
            w.u16(priority)
            w.u16(idleTimeout)
            w.u16(hardTimeout)
            w.zeros(6)
            w.u64(cookie)
            w.u64(packetCount)
            w.u64(byteCount)
        } else if v >= .v15 {
            w.zeros(2)
            w.u8(table)
            w.u8(0)
            w.u16(priority)
            w.u16(idleTimeout)
            w.u16(hardTimeout)
            w.u16(wireFlags(v))
            w.u16(importance)
            w.u64(cookie)
            MatchCodec.encode11(match, version: v, to: &w, tunnelOptions: tunnelOptions)
            Self.encodeOXS(
                seconds: durationSeconds, nanoseconds: durationNanoseconds, idle: idleAge, packets: packetCount,
                bytes: byteCount, to: &w)
        } else {
            w.u8(table)
            w.u8(0)
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
            w.u16(priority)
            w.u16(idleTimeout)
            w.u16(hardTimeout)
            w.u16(wireFlags(v))
            w.u16(v >= .v14 ? importance : 0)
            w.zeros(2)
            w.u64(cookie)
            w.u64(packetCount)
            w.u64(byteCount)
            MatchCodec.encode11(match, version: v, to: &w, tunnelOptions: tunnelOptions)
        }
        ActionCodec.encodeFlowActions(actions, version: v, to: &w)
        w.patch16(w.count - start, at: start)
    }

    private func wireFlags(_ v: OFVersion) -> UInt16 {
        flags.rawValue & (v <= .v11 ? 3 : v == .v12 ? 7 : 31)
    }

    /// ofp_stats of OpenFlow 1.5.
    static func encodeOXS(
        seconds: UInt32, nanoseconds: UInt32, idle: Int, packets: UInt64, bytes: UInt64, to w: inout WireWriter
    ) {
        let start = w.count
        w.u16(0)
        w.u16(0)
        func pair(_ number: UInt32, _ a: UInt32, _ b: UInt32, _ w: inout WireWriter) {
            w.u32(0x8002_0000 | number << 9 | 8)
            w.u32(a)
            w.u32(b)
        }
        pair(0, seconds, nanoseconds, &w)
        if idle >= 0 { pair(1, UInt32(truncatingIfNeeded: idle), 0, &w) }
        if packets != .max {
            w.u32(0x8002_0000 | 4 << 9 | 8)
            w.u64(packets)
        }
        if bytes != .max {
            w.u32(0x8002_0000 | 5 << 9 | 8)
            w.u64(bytes)
        }
        w.patch16(w.count - start, at: start + 2)
        w.pad8(from: start)
    }

    static func encodeOXS(_ r: FlowRemoved, to w: inout WireWriter) {
        encodeOXS(
            seconds: r.durationSeconds, nanoseconds: r.durationNanoseconds, idle: -1, packets: r.packetCount,
            bytes: r.byteCount, to: &w)
    }
}

extension MultipartReply {
    /// The body of an aggregate reply.
    public mutating func aggregate(version v: OFVersion, flows: UInt32, packets: UInt64, bytes: UInt64) {
        append { w in
            if v >= .v15 {
                let start = w.count
                w.u16(0)
                w.u16(0)
                w.u32(0x8002_0000 | 4 << 9 | 8)
                w.u64(packets)
                w.u32(0x8002_0000 | 5 << 9 | 8)
                w.u64(bytes)
                w.u32(0x8002_0000 | 3 << 9 | 4)
                w.u32(flows)
                w.patch16(w.count - start, at: start + 2)
                w.pad8(from: start)
                return
            }
            w.u64(packets)
            w.u64(bytes)
            w.u32(flows)
            w.u32(0)
        }
    }

    /// The body of a desc reply.
    public mutating func describe(
        manufacturer: String, hardware: String, software: String, serial: String, datapath: String
    ) {
        append { w in
            w.string(manufacturer, size: 256)
            w.string(hardware, size: 256)
            w.string(software, size: 256)
            w.string(serial, size: 32)
            w.string(datapath, size: 256)
        }
    }
}
