// Bundles of OpenFlow 1.4, which the ONF extension brings to 1.3.

/// OFPT_BUNDLE_CONTROL.
public struct BundleControl: Hashable, Sendable {
    public enum Kind: UInt16, Hashable, Sendable {
        case openRequest = 0, openReply, closeRequest, closeReply, commitRequest, commitReply, discardRequest, discardReply
    }
    public var id: UInt32
    /// nil: none that is known.
    public var kind: Kind?
    /// 1 atomic, 2 ordered; others count for nothing.
    public var flags: UInt16

    public static func decode(_ message: OFMessage) throws(OFError) -> BundleControl {
        var r = message.body
        return BundleControl(id: try r.u32(), kind: Kind(rawValue: try r.u16()), flags: try r.u16() & 3)
    }

    public func encode(version: OFVersion, xid: UInt32) -> [UInt8] {
        var w =
            version >= .v14
            ? WireWriter.message(version, 33, xid: xid)
            : WireWriter.experimenter(version, 2300, vendor: 0x4f4e_4600, xid: xid)
        w.u32(id)
        w.u16(kind?.rawValue ?? 0)
        w.u16(flags)
        return w.finish()
    }
}

/// OFPT_BUNDLE_ADD_MESSAGE.
public struct BundleAdd: Sendable {
    public var id: UInt32
    public var flags: UInt16
    /// The message to be carried out.
    public var message: OFMessage

    public static func decode(_ outer: OFMessage) throws(OFError) -> BundleAdd {
        var r = outer.body
        let id = try r.u32()
        try r.skip(2)
        let flags = try r.u16()
        let start = r.position
        guard let header = OFHeader(outer.bytes, at: start) else { throw .bfcMsgBadLen }
        guard header.version == outer.version.rawValue else { throw .bfcBadVersion }
        guard Int(header.length) >= 8, Int(header.length) <= r.remaining else { throw .bfcMsgBadLen }
        guard header.xid == outer.xid else { throw .bfcMsgBadXid }
        guard let message = try? OFMessage(Array(outer.bytes[start..<start + Int(header.length)])) else { throw .bfcMsgUnsup }
        switch message.kind {
        case .flowMod, .nxFlowMod, .groupMod, .portMod, .packetOut: break
        default: throw .bfcMsgUnsup
        }
        return BundleAdd(id: id, flags: flags & 3, message: message)
    }
}
