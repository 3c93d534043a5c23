// Packets to and from controllers.

import Flow

/// OFPT_PACKET_OUT.
public struct PacketOut: Sendable {
    public var bufferID: UInt32 = .max
    public var inPort: OFPort = .none
    /// The metadata to start with (OpenFlow 1.5 has a whole match).
    public var match = Match()
    public var actions: [OFAction] = []
    public var data: [UInt8] = []

    public static func decode(_ message: OFMessage, tunnelOptions: TunnelOptionMap?) throws(OFError) -> PacketOut {
        var r = message.body
        var p = PacketOut()
        let v = message.version
        p.bufferID = try r.u32()
        let length: Int
        switch v {
        case .v10:
            p.inPort = OFPort(UInt32(try r.u16()))
            length = Int(try r.u16())
        case .v15:
            length = Int(try r.u16())
            try r.skip(2)
            try MatchCodec.decode11(&r, into: &p.match, tunnelOptions: tunnelOptions, ofPipeline: true)
            guard !p.match.mask.isWild(Location.inPort) else { throw .brcBadPort }
            p.inPort = OFPort(p.match.key.inPort)
        default:
            guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
            p.inPort = port
            length = Int(try r.u16())
            try r.skip(6)
        }
        guard p.inPort < .max || p.inPort == .local || p.inPort == .none || p.inPort == .controller else {
            throw .brcBadPort
        }
        p.match.set(Location.inPort, UInt128(p.inPort.rawValue))
        p.actions = try ActionCodec.decodeActionList(
            &r, length: length, ActionContext(version: v, tunnelOptions: tunnelOptions))
        if p.bufferID == .max { p.data = r.rest() }
        return p
    }
}

/// How a controller wants packet-ins.
public enum PacketInFormat: UInt32, Hashable, Sendable {
    case standard = 0, nxt, nxt2
}

/// A packet on its way to controllers.
public struct PacketIn: Sendable {
    public var data: [UInt8] = []
    /// Of the packet as it was; `data` may be less.
    public var totalLength = 0
    public var bufferID: UInt32 = .max
    public var reason: PacketInReason = .noMatch
    public var table: UInt8 = 0
    public var cookie: UInt64 = .max
    /// in_port, registers, tunnel and what else of the key the controller gets.
    public var metadata = Match()
    public var userdata: [UInt8] = []
    /// What NXT_RESUME must give back, as properties of NXT_PACKET_IN2; empty: no continuation.
    public var continuation: [UInt8] = []

    public init() {}

    /// The number of the reason in a version.
    public func wireReason(_ v: OFVersion) -> UInt8 {
        switch reason {
        case .explicitMiss: return v >= .v13 ? 0 : 1
        case .implicitMiss: return 0
        case .actionSet, .group, .packetOut: return v >= .v14 ? reason.rawValue : 1
        case .invalidTTL: return v >= .v12 ? 2 : 1
        default: return reason.rawValue
        }
    }

    public func encode(version v: OFVersion, format: PacketInFormat, tunnelOptions: TunnelOptionMap?) -> [UInt8] {
        let length = UInt16(truncatingIfNeeded: min(totalLength, 0xffff))
        switch format {
        case .nxt2: return encodeNXT2(v, tunnelOptions)
        case .nxt:
            var w = WireWriter.experimenter(v, 17, xid: 0)
            w.u32(bufferID)
            w.u16(length)
            w.u8(wireReason(v))
            w.u8(table)
            w.u64(cookie)
            let at = w.count
            w.u16(0)
            w.zeros(6)
            w.patch16(MatchCodec.encodeNXM(metadata, to: &w, tunnelOptions: tunnelOptions), at: at)
            w.zeros(2)
            w.array(data)
            return w.finish()
        case .standard: break
        }
        var w = WireWriter.message(v, 10, xid: 0, capacity: 80 + data.count)
        w.u32(bufferID)
        switch v {
        case .v10:
            w.u16(length)
            w.u16(OFPort(metadata.key.inPort).wire16)
            w.u8(wireReason(v))
            w.u8(0)
        case .v11:
            let port = OFPort(metadata.key.inPort).wire32
            w.u32(port)
            w.u32(port)
            w.u16(length)
            w.u8(wireReason(v))
            w.u8(table)
        default:
            w.u16(length)
            w.u8(wireReason(v))
            w.u8(table)
            if v >= .v13 { w.u64(cookie) }
            MatchCodec.encode11(metadata, version: v, to: &w, tunnelOptions: tunnelOptions)
            w.zeros(2)
        }
        w.array(data)
        return w.finish()
    }

    private func encodeNXT2(_ v: OFVersion, _ tunnelOptions: TunnelOptionMap?) -> [UInt8] {
        var w = WireWriter.experimenter(v, 30, xid: 0)
        func property(_ type: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void) {
            let start = w.count
            w.u16(type)
            w.u16(0)
            body(&w)
            w.patch16(w.count - start, at: start + 2)
            w.pad8(from: start)
        }
        property(0, &w) { $0.array(data) }
        if totalLength != data.count { property(1, &w) { $0.u32(UInt32(truncatingIfNeeded: totalLength)) } }
        if bufferID != .max { property(2, &w) { $0.u32(bufferID) } }
        property(3, &w) { $0.u8(table) }
        if cookie != .max {
            property(4, &w) { w in
                w.u32(0)
                w.u64(cookie)
            }
        }
        property(5, &w) { $0.u8(wireReason(.v14)) }
        property(6, &w) { w in
            // NXM or OXM entries.
            MatchCodec.encodeTLVs(
                metadata, version: v == .v10 || v == .v11 ? .v12 : v, to: &w, tunnelOptions: tunnelOptions)
        }
        if !continuation.isEmpty {
            property(8, &w) { w in
                w.u32(0)
                w.array(continuation)
            }
        }
        if !userdata.isEmpty { property(7, &w) { $0.array(userdata) } }
        return w.finish()
    }
}

/// NXT_RESUME: a packet-in that comes back, with its continuation.
public struct Resume: Sendable {
    public var data: [UInt8] = []
    public var table: UInt8 = 0
    public var cookie: UInt64 = .max
    public var metadata = Match()
    public var userdata: [UInt8] = []
    public var continuation: [UInt8] = []

    public static func decode(_ message: OFMessage, tunnelOptions: TunnelOptionMap?) throws(OFError) -> Resume {
        var r = message.body
        var p = Resume()
        while !r.isEmpty {
            var (type, b) = try r.property()
            switch type {
            case 0: p.data = b.rest()
            case 1, 2, 5: break
            case 3: p.table = try b.u8()
            case 4:
                try b.skip(4)
                p.cookie = try b.u64()
            case 6:
                try MatchCodec.decodeTLVs(&b, into: &p.metadata, loose: true, tunnelOptions: tunnelOptions)
            case 7: p.userdata = b.rest()
            case 8:
                try b.skip(4)
                p.continuation = b.rest()
            default: throw .unknownProperty(type)
            }
        }
        guard !p.data.isEmpty else { throw .brcBadLen }
        return p
    }
}

/// OFPT_FLOW_REMOVED and NXT_FLOW_REMOVED.
public struct FlowRemoved: Sendable {
    public enum Reason: UInt8, Hashable, Sendable {
        case idleTimeout = 0, hardTimeout, delete, groupDelete, meterDelete, eviction
    }

    public var match = Match()
    public var priority: UInt16 = 0
    public var cookie: UInt64 = 0
    public var reason: Reason = .idleTimeout
    public var table: UInt8 = 0
    public var durationSeconds: UInt32 = 0
    public var durationNanoseconds: UInt32 = 0
    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    public var packetCount: UInt64 = 0
    public var byteCount: UInt64 = 0

    public init() {}

    /// `nicira`: the connection uses NXM. Nil when the version has no such reason.
    public func encode(version v: OFVersion, nicira: Bool, tunnelOptions: TunnelOptionMap?) -> [UInt8] {
        var code = reason.rawValue
        if v < .v14, code > 3 { code = 2 }
        if v == .v10, code > 2 { code = 2 }
        if v >= .v11 {
            var w = WireWriter.message(v, 11, xid: 0, capacity: 128)
            w.u64(cookie)
            w.u16(priority)
            w.u8(code)
            w.u8(table)
            if v < .v15 {
                w.u32(durationSeconds)
                w.u32(durationNanoseconds)
            }
            w.u16(idleTimeout)
            w.u16(v >= .v12 ? hardTimeout : 0)
            if v < .v15 {
                w.u64(packetCount)
                w.u64(byteCount)
            }
            MatchCodec.encode11(match, version: v, to: &w, tunnelOptions: tunnelOptions)
            if v >= .v15 { FlowStats.encodeOXS(self, to: &w) }
            return w.finish()
        }
        if nicira {
            var w = WireWriter.experimenter(v, 14, xid: 0)
            w.u64(cookie)
            w.u16(priority)
            w.u8(code)
            w.u8(table &+ 1)
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
            w.u16(idleTimeout)
            let at = w.count
            w.u16(0)
            w.u64(packetCount)
            w.u64(byteCount)
            w.patch16(MatchCodec.encodeNXM(match, to: &w, tunnelOptions: tunnelOptions), at: at)
            return w.finish()
        }
        var w = WireWriter.message(v, 11, xid: 0, capacity: 88)
        MatchCodec.encode10(match, to: &w)
        w.u64(cookie)
        w.u16(priority)
        w.u8(code)
        w.u8(0)
        w.u32(durationSeconds)
        w.u32(durationNanoseconds)
        w.u16(idleTimeout)
        w.zeros(2)
        w.u64(packetCount)
        w.u64(byteCount)
        return w.finish()
    }
}
