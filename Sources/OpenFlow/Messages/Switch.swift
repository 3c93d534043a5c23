// Messages about the switch and its ports: features, configuration, ports and their statistics, queues.

import Flow

/// One port, as features, port descriptions and port status tell it.
public struct PortDescription: Hashable, Sendable {
    public struct Config: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let portDown = Config(rawValue: 1)
        /// 1.0 only: 802.1D frames are not received.
        public static let noSTP = Config(rawValue: 2)
        public static let noReceive = Config(rawValue: 4)
        public static let noReceiveSTP = Config(rawValue: 8)
        public static let noFlood = Config(rawValue: 16)
        public static let noForward = Config(rawValue: 32)
        public static let noPacketIn = Config(rawValue: 64)
    }

    public struct State: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let linkDown = State(rawValue: 1)
        public static let blocked = State(rawValue: 2)
        public static let live = State(rawValue: 4)
        /// OFPPS_STP_*, 1.0 only: the state is (raw >> 8) & 3.
        public static let stpMask = State(rawValue: 0x300)
    }

    public var port: OFPort
    /// 48 bits.
    public var address: UInt64 = 0
    public var name = ""
    public var config: Config = []
    public var state: State = []
    /// NETDEV_F_* bits as OpenFlow 1.1 numbers them (OFPPF_*): current, advertised, supported, peer's.
    public var current: UInt32 = 0
    public var advertised: UInt32 = 0
    public var supported: UInt32 = 0
    public var peer: UInt32 = 0
    /// Kbit/s.
    public var currentSpeed: UInt32 = 0
    public var maxSpeed: UInt32 = 0

    public init(port: OFPort) { self.port = port }

    /// OFPPF_* of 1.0 lack the speeds above 10 Gbit/s, and the bits of copper and so on stand lower.
    private static func features10(_ f: UInt32) -> UInt32 { f & 0x7f | (f >> 4) & 0xf80 }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let start = w.count
        if v == .v10 {
            w.u16(port.wire16)
            w.mac(address)
            w.string(name, size: 16)
            w.u32(config.rawValue)
            w.u32(state.rawValue & 0x301)
            for f in [current, advertised, supported, peer] { w.u32(Self.features10(f)) }
            return
        }
        w.u32(port.wire32)
        if v >= .v14 {
            w.u16(0)
            w.zeros(2)
        } else {
            w.u32(0)
        }
        w.mac(address)
        w.zeros(2)
        w.string(name, size: 16)
        w.u32(config.rawValue & 0x65)
        w.u32(state.rawValue & 7)
        if v >= .v14 {
            // The Ethernet property.
            w.u16(0)
            w.u16(32)
            w.u32(0)
        }
        for f in [current, advertised, supported, peer, currentSpeed, maxSpeed] { w.u32(f) }
        if v >= .v14 { w.patch16(w.count - start, at: start + 4) }
    }

    /// OFPT_PORT_STATUS; reason 0 added, 1 deleted, 2 changed.
    public func status(version v: OFVersion, reason: UInt8) -> [UInt8] {
        var w = WireWriter.message(v, 12, xid: 0, capacity: 96)
        w.u8(reason)
        w.zeros(7)
        encode(version: v, to: &w)
        return w.finish()
    }
}

/// OFPT_FEATURES_REPLY.
public struct SwitchFeatures: Sendable {
    public struct Capabilities: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let flowStats = Capabilities(rawValue: 1)
        public static let tableStats = Capabilities(rawValue: 2)
        public static let portStats = Capabilities(rawValue: 4)
        /// STP in 1.0, group statistics later.
        public static let groupStats = Capabilities(rawValue: 8)
        public static let ipReassembly = Capabilities(rawValue: 32)
        public static let queueStats = Capabilities(rawValue: 64)
        /// ARP_MATCH_IP, 1.0 and 1.1.
        public static let arpMatchIP = Capabilities(rawValue: 128)
        public static let portBlocked = Capabilities(rawValue: 256)
        /// 1.4: bundles, and flow monitoring.
        public static let bundles = Capabilities(rawValue: 512)
        public static let flowMonitoring = Capabilities(rawValue: 1024)
    }

    public var datapathID: UInt64
    public var bufferCount: UInt32 = 0
    public var tableCount: UInt8 = 254
    public var auxiliaryID: UInt8 = 0
    public var capabilities: Capabilities = []
    /// Bits of OFPAT_*, 1.0 and 1.1.
    public var actions: UInt32 = 0
    public var ports: [PortDescription] = []

    public init(datapathID: UInt64) { self.datapathID = datapathID }

    public func encode(version v: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(v, 6, xid: xid, capacity: 32 + 64 * ports.count)
        w.u64(datapathID)
        w.u32(bufferCount)
        w.u8(tableCount)
        w.u8(v >= .v13 ? auxiliaryID : 0)
        w.zeros(2)
        w.u32(capabilities.rawValue)
        w.u32(v <= .v11 ? actions : 0)
        if v < .v13 {
            let size = v == .v10 ? 48 : 64
            // What does not fit is left to port descriptions.
            for p in ports.prefix((0xffff - 32) / size) { p.encode(version: v, to: &w) }
        }
        return w.finish()
    }
}

/// OFPT_SET_CONFIG and OFPT_GET_CONFIG_REPLY.
public struct SwitchConfig: Hashable, Sendable {
    /// OFPC_FRAG_*: 0 normal, 1 drop, 2 reassemble, 3 Nicira's match; bit 2: invalid TTL to the controller (1.1, 1.2).
    public var flags: UInt16
    public var missSendLength: UInt16

    public init(flags: UInt16, missSendLength: UInt16) {
        self.flags = flags
        self.missSendLength = missSendLength
    }

    public static func decode(_ message: OFMessage) throws(OFError) -> SwitchConfig {
        var r = message.body
        let flags = try r.u16()
        let known: UInt16 = message.version == .v11 || message.version == .v12 ? 7 : 3
        guard flags & ~known == 0 else { throw .scfcBadFlags }
        return SwitchConfig(flags: flags, missSendLength: try r.u16())
    }

    public func reply(version: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(version, 8, xid: xid)
        w.u16(flags)
        w.u16(missSendLength)
        return w.finish()
    }
}

/// OFPT_PORT_MOD.
public struct PortMod: Hashable, Sendable {
    public var port: OFPort
    public var address: UInt64
    public var config: PortDescription.Config
    public var mask: PortDescription.Config
    public var advertise: UInt32 = 0

    public static func decode(_ message: OFMessage) throws(OFError) -> PortMod {
        var r = message.body
        let v = message.version
        if v == .v10 {
            guard r.remaining == 24 else { throw .brcBadLen }
            let port = OFPort(UInt32(try r.u16()))
            let address = try r.mac()
            let config = try r.u32()
            let mask = try r.u32()
            let advertise = try r.u32()
            return PortMod(
                port: port, address: address, config: .init(rawValue: config & 0x7f),
                mask: .init(rawValue: mask & 0x7f), advertise: advertise)
        }
        guard v >= .v14 ? r.remaining >= 24 : r.remaining == 32 else { throw .brcBadLen }
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        try r.skip(4)
        let address = try r.mac()
        try r.skip(2)
        let config = try r.u32()
        let mask = try r.u32()
        var m = PortMod(
            port: port, address: address, config: .init(rawValue: config & 0x65), mask: .init(rawValue: mask & 0x65))
        if v < .v14 {
            m.advertise = try r.u32()
            return m
        }
        while !r.isEmpty {
            var (type, p) = try r.property()
            guard type == 0 else { throw .unknownProperty(type) }
            m.advertise = try p.u32()
        }
        return m
    }
}

/// A port's counters; .max is what cannot be told.
public struct PortStats: Sendable {
    public var port: OFPort
    public var rxPackets: UInt64 = .max, txPackets: UInt64 = .max, rxBytes: UInt64 = .max, txBytes: UInt64 = .max
    public var rxDropped: UInt64 = .max, txDropped: UInt64 = .max, rxErrors: UInt64 = .max, txErrors: UInt64 = .max
    public var rxFrameErrors: UInt64 = .max, rxOverErrors: UInt64 = .max, rxCRCErrors: UInt64 = .max
    public var collisions: UInt64 = .max
    public var durationSeconds: UInt32 = .max
    public var durationNanoseconds: UInt32 = .max
    /// Counters of the device's own, which only OpenFlow 1.4 and later can tell.
    public var custom: [(name: String, value: UInt64)] = []

    public init(port: OFPort) { self.port = port }

    /// The experimenter properties of OpenFlow 1.4 and later: the counters of RFC 2819, none of which are known, and
    /// the device's own.
    private func encodeExperimenterProperties(to w: inout WireWriter) {
        w.u16(0xffff)
        w.u16(184)
        w.u32(0xaa01)
        w.u32(1)
        w.u32(0)
        for _ in 0..<21 { w.u64(.max) }
        guard !custom.isEmpty else { return }
        let start = w.count
        w.u16(0xffff)
        w.u16(0)
        w.u32(0xaa01)
        w.u32(2)
        w.u16(0)
        w.u16(UInt16(truncatingIfNeeded: custom.count))
        for counter in custom {
            let name = Array(counter.name.utf8.prefix(255))
            w.u8(UInt8(name.count))
            w.array(name)
            w.u64(counter.value)
        }
        w.patch16(w.count - start, at: start + 2)
        w.pad8(from: start)
    }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let counters = [
            rxPackets, txPackets, rxBytes, txBytes, rxDropped, txDropped, rxErrors, txErrors,
        ]
        let ethernet = [rxFrameErrors, rxOverErrors, rxCRCErrors, collisions]
        switch v {
        case .v10:
            w.u16(port.wire16)
            w.zeros(6)
            for c in counters + ethernet { w.u64(c) }
        case .v14, .v15:
            let start = w.count
            w.u16(0)
            w.zeros(2)
            w.u32(port.wire32)
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
            for c in counters { w.u64(c) }
            w.u16(0)
            w.u16(40)
            w.u32(0)
            for c in ethernet { w.u64(c) }
            encodeExperimenterProperties(to: &w)
            w.patch16(w.count - start, at: start)
        default:
            w.u32(port.wire32)
            w.u32(0)
            for c in counters + ethernet { w.u64(c) }
            if v >= .v13 {
                w.u32(durationSeconds)
                w.u32(durationNanoseconds)
            }
        }
    }

    /// The port that a port statistics or description request asks about; `.none`: all.
    public static func decodeRequest(_ message: OFMessage) throws(OFError) -> OFPort {
        var r = message.body
        if message.kind == .portDesc, message.version < .v15 { return .none }
        if message.version == .v10 { return OFPort(UInt32(try r.u16())) }
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        return port
    }
}

/// Queue statistics.
public struct QueueStats: Sendable {
    public var port: OFPort
    public var queue: UInt32
    public var txBytes: UInt64 = .max
    public var txPackets: UInt64 = .max
    public var txErrors: UInt64 = .max
    public var durationSeconds: UInt32 = .max
    public var durationNanoseconds: UInt32 = .max

    public init(port: OFPort, queue: UInt32) {
        self.port = port
        self.queue = queue
    }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        if v >= .v14 {
            w.u16(48)
            w.zeros(6)
            w.u32(port.wire32)
            w.u32(queue)
            for c in [txBytes, txPackets, txErrors] { w.u64(c) }
        } else {
            if v == .v10 {
                w.u16(port.wire16)
                w.u16(0)
            } else {
                w.u32(port.wire32)
            }
            w.u32(queue)
            for c in [txBytes, txPackets, txErrors] { w.u64(c) }
        }
        if v >= .v13 {
            w.u32(durationSeconds)
            w.u32(durationNanoseconds)
        }
    }

    /// Port (`.none`: all) and queue (.max: all) asked about.
    public static func decodeRequest(_ message: OFMessage) throws(OFError) -> (port: OFPort, queue: UInt32) {
        var r = message.body
        if message.version == .v10 {
            let port = OFPort(UInt32(try r.u16()))
            try r.skip(2)
            // OFPP_ALL is what 1.0 calls any port.
            return (port == .all ? .none : port, try r.u32())
        }
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        return (port, try r.u32())
    }
}

/// Queues of a port: OFPT_QUEUE_GET_CONFIG_REPLY, and OFPMP_QUEUE_DESC of OpenFlow 1.4 and later.
public struct QueueDescription: Sendable {
    public var port: OFPort
    public var queue: UInt32
    /// In tenths of a percent of the port's speed; nil: not configured.
    public var minRate: UInt16?
    public var maxRate: UInt16?

    public init(port: OFPort, queue: UInt32) {
        self.port = port
        self.queue = queue
    }

    public func encode(version v: OFVersion, to w: inout WireWriter) {
        let start = w.count
        let lengthAt: Int
        switch v {
        case .v10, .v11:
            w.u32(queue)
            lengthAt = w.count
            w.u16(0)
            w.zeros(2)
        case .v12, .v13:
            w.u32(queue)
            w.u32(port.wire32)
            lengthAt = w.count
            w.u16(0)
            w.zeros(6)
        default:
            w.u32(port.wire32)
            w.u32(queue)
            lengthAt = w.count
            w.u16(0)
            w.zeros(6)
        }
        for (type, rate) in [(UInt16(1), minRate), (2, maxRate)] {
            guard let rate else { continue }
            w.u16(type)
            w.u16(v >= .v14 ? 8 : 16)
            if v < .v14 { w.u32(0) }
            w.u16(rate)
            w.zeros(v >= .v14 ? 2 : 6)
        }
        w.patch16(w.count - start, at: lengthAt)
    }

    /// The port (`.none`: all) and queue (.max: all) that a request asks about.
    public static func decodeRequest(_ message: OFMessage) throws(OFError) -> (port: OFPort, queue: UInt32) {
        var r = message.body
        if message.version == .v10 {
            let port = OFPort(UInt32(try r.u16()))
            guard r.remaining == 2 else { throw .brcBadLen }
            return (port == .all ? .none : port, .max)
        }
        guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
        let queue = try r.u32()
        guard r.isEmpty else { throw .brcBadLen }
        return (port, message.version >= .v14 ? queue : .max)
    }

    /// OFPT_QUEUE_GET_CONFIG_REPLY, before OpenFlow 1.4.
    public static func reply(_ queues: [QueueDescription], port: OFPort, version v: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(v, v == .v10 ? 21 : 23, xid: xid)
        if v == .v10 {
            w.u16(port.wire16)
            w.zeros(6)
        } else {
            w.u32(port.wire32)
            w.u32(0)
        }
        for queue in queues { queue.encode(version: v, to: &w) }
        return w.finish()
    }
}
