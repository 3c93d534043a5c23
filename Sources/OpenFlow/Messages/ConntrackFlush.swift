// NXT_CT_FLUSH: which tracked connections to forget.

/// NXT_CT_FLUSH (and NXT_CT_FLUSH_ZONE, which has a zone only).
public struct ConntrackFlush: Hashable, Sendable {
    /// Some of one direction's fields; nil: any.
    public struct Tuple: Hashable, Sendable {
        /// IPv6, or IPv4 mapped into it (RFC 4291 section 2.5.5.2).
        public var source: UInt128?
        public var destination: UInt128?
        public var sourcePort: UInt16?
        public var destinationPort: UInt16?
        public var icmpID: UInt16?
        public var icmpType: UInt8?
        public var icmpCode: UInt8?
        public init() {}
    }

    /// 0: any.
    public var proto: UInt8 = 0
    public var original: Tuple?
    public var reply: Tuple?
    public var zone: UInt16?

    public init() {}

    public static func decode(_ message: OFMessage) throws(OFError) -> ConntrackFlush {
        var r = message.body
        var flush = ConntrackFlush()
        if message.kind == .nxCTFlushZone {
            guard r.isZero(6) else { throw .nxbrcMustBeZero }
            try r.skip(6)
            flush.zone = try r.u16()
            return flush
        }
        flush.proto = try r.u8()
        guard r.isZero(7) else { throw .nxbrcMustBeZero }
        try r.skip(7)
        try properties(&r) { (type, b) throws(OFError) in
            switch type {
            case 0: flush.original = try tuple(&b)
            case 1: flush.reply = try tuple(&b)
            case 2: flush.zone = try b.u16()
            // The real daemon does not mind what it does not know, here and below.
            default: break
            }
        }
        return flush
    }

    private static func tuple(_ r: inout WireReader) throws(OFError) -> Tuple {
        var t = Tuple()
        // The nested properties are aligned.
        try r.skip(4)
        try properties(&r) { (type, b) throws(OFError) in
            switch type {
            case 0: t.source = try b.u128()
            case 1: t.destination = try b.u128()
            case 2: t.sourcePort = try b.u16()
            case 3: t.destinationPort = try b.u16()
            case 4: t.icmpID = try b.u16()
            case 5: t.icmpType = try b.u8()
            case 6: t.icmpCode = try b.u8()
            default: break
            }
        }
        return t
    }

    private static func properties(
        _ r: inout WireReader, _ body: (UInt16, inout WireReader) throws(OFError) -> Void
    ) throws(OFError) {
        while !r.isEmpty {
            var (type, part) = try r.property()
            try body(type, &part)
        }
    }
}
