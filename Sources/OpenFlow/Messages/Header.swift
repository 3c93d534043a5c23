// The head of every OpenFlow message, what kinds of message there are, and the ones that are hardly more than their head.

/// ofp_header: 8 bytes.
public struct OFHeader: Hashable, Sendable {
    public static let size = 8
    public var version: UInt8
    public var type: UInt8
    /// Of the whole message, in bytes.
    public var length: UInt16
    public var xid: UInt32

    /// Reads the header of the message at `offset`, which is not negative; nil when fewer than 8 bytes are there.
    public init?(_ bytes: [UInt8], at offset: Int = 0) {
        guard bytes.count - offset >= Self.size else { return nil }
        func byte(_ i: Int) -> UInt32 { UInt32(bytes[offset + i]) }
        version = bytes[offset]
        type = bytes[offset + 1]
        length = UInt16(byte(2) << 8 | byte(3))
        xid = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7)
    }
}

/// What a message is, whatever number its version gives it.
public enum OFKind: Hashable, Sendable {
    case hello, error, echoRequest, echoReply, featuresRequest, getConfigRequest, setConfig, packetOut, flowMod, groupMod
    case portMod, tableMod, barrierRequest, queueGetConfigRequest, roleRequest, getAsyncRequest, setAsync, meterMod
    case bundleControl, bundleAdd
    // Nicira.
    case nxRoleRequest, nxFlowAge, nxSetFlowFormat, nxFlowMod, nxFlowModTableID, nxSetPacketInFormat, nxSetControllerID
    case nxFlowMonitorCancel, nxSetAsync, nxSetAsync2, nxTLVTableMod, nxTLVTableRequest, nxResume, nxCTFlushZone
    case nxCTFlush
    // Statistics and multipart requests.
    case descStats, flowStats, aggregateStats, tableStats, portStats, queueStats, groupStats, groupDesc, groupFeatures
    case meterStats, meterConfig, meterFeatures, tableFeatures, portDesc, tableDesc, queueDesc, flowMonitor
    case nxFlowStats, nxAggregateStats, nxFlowMonitor, nxIPFIXBridge, nxIPFIXFlow
    // The Open Networking Foundation's, for OpenFlow 1.3.
    case onfFlowMonitor

    /// Whether it came as a statistics or multipart request.
    public var isMultipart: Bool {
        switch self {
        case .descStats, .flowStats, .aggregateStats, .tableStats, .portStats, .queueStats, .groupStats, .groupDesc,
            .groupFeatures, .meterStats, .meterConfig, .meterFeatures, .tableFeatures, .portDesc, .tableDesc,
            .queueDesc, .flowMonitor, .nxFlowStats, .nxAggregateStats, .nxFlowMonitor, .nxIPFIXBridge, .nxIPFIXFlow,
            .onfFlowMonitor:
            true
        default: false
        }
    }
}

/// A message that was taken apart as far as its body.
public struct OFMessage: Sendable {
    public let version: OFVersion
    public let xid: UInt32
    public let kind: OFKind
    /// The whole message, header included.
    public let bytes: [UInt8]
    /// Where the body starts: after the header, and after an experimenter's or multipart's own.
    public let bodyOffset: Int
    /// OFPMPF_REQ_MORE.
    public let hasMore: Bool

    private let form: MessageForm

    /// Whether the message is as long as it should be with the bodies of later parts.
    public func isWhole(with later: some Sequence<OFMessage>) -> Bool {
        form.admits(length: later.reduce(body.remaining) { $0 + $1.body.remaining })
    }

    /// A reader of the body.
    public var body: WireReader { WireReader(bytes, bodyOffset..<bytes.count) }

    /// Finds out what a message from a controller is. Throws what to answer when it is nothing that the switch takes.
    /// - Parameter isContinuation: a later part of a multipart request, which may be empty whatever its kind.
    public init(_ bytes: [UInt8], isContinuation: Bool = false) throws(OFError) {
        guard let header = OFHeader(bytes), Int(header.length) == bytes.count else { throw .brcBadLen }
        guard let version = OFVersion(rawValue: header.version) else { throw .brcBadVersion }
        self.version = version
        self.bytes = bytes
        xid = header.xid
        var r = WireReader(bytes)
        try r.skip(8)
        let is10 = version == .v10
        var more = false
        var isRequest = false
        let form: MessageForm
        switch header.type {
        case 4: form = try Self.experimenter(&r, version)
        case is10 ? 16 : 18, is10 ? 17 : 19:
            let type = try r.u16()
            more = try r.u16() & 1 != 0
            isRequest = header.type == (is10 ? 16 : 18)
            if !is10 { try r.skip(4) }
            form = try Self.multipart(type, isReply: !isRequest, &r, version)
        default:
            guard let found = MessageForm.of(type: header.type, version) else { throw .brcBadType }
            form = found
        }
        hasMore = more
        bodyOffset = r.position
        let length = bytes.count - bodyOffset
        // A part may have nothing to say; others make the request whole.
        let isEmptyPart = length == 0 && isRequest && (isContinuation || more && version >= .v13)
        guard isEmptyPart || form.admits(length: length) else { throw .brcBadLen }
        self.form = form
        guard let kind = form.kind else { throw .brcBadType }
        self.kind = kind
    }

    private static func experimenter(_ r: inout WireReader, _ v: OFVersion) throws(OFError) -> MessageForm {
        let vendor = try r.u32()
        let subtype = try r.u32()
        let form: MessageForm?
        switch vendor {
        case 0x2320: form = .nicira(subtype: subtype, v)
        case 0x4f4e_4600: form = .foundation(subtype: subtype, v)
        default: throw .brcBadVendor
        }
        guard let form else { throw .brcBadSubtype }
        return form
    }

    private static func multipart(_ type: UInt16, isReply: Bool, _ r: inout WireReader, _ v: OFVersion) throws(OFError) -> MessageForm {
        guard type == 0xffff else {
            guard let form = isReply ? MessageForm.reply(type, v) : .request(type, v) else { throw .brcBadStat }
            return form
        }
        let vendor = try r.u32()
        let subtype = try r.u32()
        guard vendor == 0x2320 || vendor == 0x4f4e_4600 else { throw .brcBadVendor }
        if vendor == 0x4f4e_4600 {
            guard v == .v13, subtype == 1870, !isReply else { throw .brcBadSubtype }
            return MessageForm(.onfFlowMonitor, 0, by: 8)
        }
        // Nicira's 1.0 header is padded to a multiple of 8.
        if v == .v10 { try r.skip(4) }
        guard let form = isReply ? MessageForm.niciraReply(subtype, v) : .niciraRequest(subtype, v) else { throw .brcBadSubtype }
        return form
    }
}

extension WireWriter {
    /// Starts a message; `finish` sets its length.
    public static func message(_ version: OFVersion, _ type: UInt8, xid: UInt32, capacity: Int = 64) -> WireWriter {
        var w = WireWriter(capacity: capacity)
        w.u8(version.rawValue)
        w.u8(type)
        w.u16(0)
        w.u32(xid)
        return w
    }

    /// Starts a Nicira or other experimenter message.
    public static func experimenter(
        _ version: OFVersion, _ subtype: UInt32, vendor: UInt32 = 0x2320, xid: UInt32
    ) -> WireWriter {
        var w = message(version, 4, xid: xid)
        w.u32(vendor)
        w.u32(subtype)
        return w
    }

    /// The message, with its length in its head.
    public mutating func finish() -> [UInt8] {
        patch16(bytes.count, at: 2)
        return bytes
    }
}

/// Messages without a body worth a type.
public enum OFSimple {
    public static func echoReply(to message: OFMessage) -> [UInt8] {
        var w = WireWriter.message(message.version, 3, xid: message.xid)
        w.array(Array(message.bytes[message.bodyOffset...]))
        return w.finish()
    }

    public static func echoRequest(_ version: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(version, 2, xid: xid)
        return w.finish()
    }

    public static func barrierReply(_ version: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(version, version == .v10 ? 19 : 21, xid: xid)
        return w.finish()
    }

    /// A hello that offers the versions.
    public static func hello(_ versions: Set<OFVersion>, xid: UInt32) -> [UInt8] {
        let highest = versions.max() ?? .v10
        var w = WireWriter.message(highest, 0, xid: xid)
        // Old peers fail on elements, so they are left out when the header's version says it all.
        let bitmap = versions.reduce(UInt32(0)) { $0 | $1.bit }
        if bitmap != (highest.bit << 1) &- 2 {
            w.u16(1)
            w.u16(8)
            w.u32(bitmap)
        }
        return w.finish()
    }

    /// The versions that a hello offers, as a bitmap by version number.
    public static func helloVersions(_ bytes: [UInt8]) -> UInt32 {
        guard let header = OFHeader(bytes) else { return 0 }
        var r = WireReader(bytes)
        do {
            try r.skip(8)
            while r.remaining >= 4 {
                guard let type = r.peek16(), let length = r.peek16(2).map(Int.init), length >= 4, length <= r.remaining
                else { break }
                if type == 1, length >= 8, let bitmap = r.peek32(4), bitmap & ~1 != 0 { return bitmap & ~1 }
                try r.skip(min((length + 7) / 8 * 8, r.remaining))
            }
        } catch {}
        // Without a bitmap: all up to the header's.
        let v = min(UInt32(header.version), 31)
        return ((1 << v) | ((1 << v) &- 1)) & ~1
    }

    /// An error in answer to a message, which goes along.
    public static func error(_ error: OFError, version: OFVersion, xid: UInt32, about request: [UInt8]) -> [UInt8] {
        var w = WireWriter.message(version, 1, xid: xid)
        var code = error.code(in: version)
        if code == nil { code = OFError.nxbrcUnencodableError.code(in: version) }
        guard let code else { return w.finish() }
        if code.experimenter == 0 {
            w.u16(code.type)
            w.u16(code.code)
        } else if version >= .v12 {
            w.u16(0xffff)
            w.u16(code.type)
            w.u32(code.experimenter)
        } else {
            // Nicira's way to say an experimenter's error before OpenFlow 1.2.
            w.u16(0xb0c2)
            w.u16(0)
            w.u32(code.experimenter)
            w.u16(code.type)
            w.u16(code.code)
        }
        w.array(Array(request.prefix(0xff00)))
        return w.finish()
    }

    /// The error that ends a negotiation without a common version.
    public static func helloFailed(_ version: OFVersion, xid: UInt32, text: String) -> [UInt8] {
        var w = WireWriter.message(version, 1, xid: xid)
        w.u16(0)
        w.u16(0)
        w.array(Array(text.utf8))
        return w.finish()
    }
}
