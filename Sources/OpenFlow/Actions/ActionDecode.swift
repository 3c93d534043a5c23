// Decoding lists of actions from the wire. The standard actions of each version are here, Nicira's in ActionDecode+Nicira.swift.

import Flow

/// What decoding needs to know.
public struct ActionContext {
    public var version: OFVersion
    /// The bridge's TLV table; nil accepts every tunnel option.
    public var tunnelOptions: TunnelOptionMap?
    var depth = 0
    /// Within ct, where alone nat may stand.
    var isInConntrack = false

    public init(version: OFVersion, tunnelOptions: TunnelOptionMap? = nil) {
        self.version = version
        self.tunnelOptions = tunnelOptions
    }

    /// For a list within an action.
    func nested(inConntrack: Bool = false) throws(OFError) -> ActionContext {
        guard depth < 16 else { throw .bacTooMany }
        var c = self
        c.depth += 1
        c.isInConntrack = inConntrack
        return c
    }
}

public enum ActionCodec {
    static let nicira: UInt32 = 0x2320
    static let onf: UInt32 = 0x4f4e_4600

    /// Decodes actions to the end of the reader.
    static func decodeActions(_ reader: inout WireReader, _ context: ActionContext) throws(OFError) -> [OFAction] {
        var actions: [OFAction] = []
        while !reader.isEmpty {
            guard let type = reader.peek16(), let length = reader.peek16(2).map(Int.init), reader.remaining >= 8 else { throw .bacBadLen }
            // What is of no known type is that first, whatever its length.
            if type == 0xffff {
                try checkExperimenter(reader, context.version)
            } else if !isStandard(type, context.version) {
                throw .bacBadType
            }
            guard length >= 8, length % 8 == 0, length <= reader.remaining else { throw .bacBadLen }
            var body = try reader.part(length, error: .bacBadLen)
            try body.skip(4)
            if type == 0xffff {
                try decodeExperimenter(&body, context, into: &actions)
            } else {
                try decodeStandard(type, &body, context, into: &actions)
            }
        }
        return actions
    }

    /// Whether there is an action of a type. Those that set fields in OpenFlow 1.1 are taken in later versions, too.
    private static func isStandard(_ type: UInt16, _ version: OFVersion) -> Bool {
        switch (version, type) {
        case (.v10, 0...11), (.v11..., 0...10), (.v11..., 13...24), (.v12..., 25), (.v15, 28...29): true
        default: false
        }
    }

    private static func decodeStandard(
        _ type: UInt16, _ r: inout WireReader, _ c: ActionContext, into actions: inout [OFAction]
    ) throws(OFError) {
        switch (c.version, type) {
        case (.v10, 0):
            try fixed(r, 8)
            let port = OFPort(UInt32(try r.u16()))
            try checkOutput(port)
            actions.append(.output(port, maxLength: try r.u16()))
        case (.v10, 11):
            try fixed(r, 16)
            let port = OFPort(UInt32(try r.u16()))
            try r.skip(6)
            guard port < .max || port == .inPort || port == .local else { throw .bacBadOutPort }
            actions.append(.enqueue(port, queue: try r.u32()))
        case (.v10, 1), (.v11..., 1):
            try fixed(r, 8)
            let vid = try r.u16()
            guard vid & ~0xfff == 0 else { throw .bacBadArgument }
            actions.append(.setVLANVID(vid, VLANContext(pushIfNeeded: c.version == .v10, flowHasVLAN: false)))
        case (.v10, 2), (.v11..., 2):
            try fixed(r, 8)
            let pcp = try r.u8()
            guard pcp & ~7 == 0 else { throw .bacBadArgument }
            actions.append(.setVLANPCP(pcp, VLANContext(pushIfNeeded: c.version == .v10, flowHasVLAN: false)))
        case (.v10, 3):
            try fixed(r, 8)
            actions.append(.stripVLAN(isPop: false))
        case (.v10, 4), (.v11..., 3):
            try fixed(r, 16)
            actions.append(.setEthSrc(try r.mac()))
        case (.v10, 5), (.v11..., 4):
            try fixed(r, 16)
            actions.append(.setEthDst(try r.mac()))
        case (.v10, 6), (.v11..., 5):
            try fixed(r, 8)
            actions.append(.setIPv4Src(try r.u32()))
        case (.v10, 7), (.v11..., 6):
            try fixed(r, 8)
            actions.append(.setIPv4Dst(try r.u32()))
        case (.v10, 8), (.v11..., 7):
            try fixed(r, 8)
            let tos = try r.u8()
            guard tos & 3 == 0 else { throw .bacBadArgument }
            actions.append(.setIPDSCP(tos))
        case (.v10, 9), (.v11..., 9):
            try fixed(r, 8)
            actions.append(.setL4SrcPort(try r.u16(), ipProto: 0))
        case (.v10, 10), (.v11..., 10):
            try fixed(r, 8)
            actions.append(.setL4DstPort(try r.u16(), ipProto: 0))
        case (.v10, _):
            throw .bacBadType
        case (_, 0):
            try fixed(r, 16)
            guard let port = OFPort(wire32: try r.u32()) else { throw .bacBadOutPort }
            try checkOutput(port)
            actions.append(.output(port, maxLength: try r.u16()))
        case (_, 8):
            try fixed(r, 8)
            let ecn = try r.u8()
            guard ecn & ~3 == 0 else { throw .bacBadArgument }
            actions.append(.setIPECN(ecn))
        case (_, 13):
            try fixed(r, 8)
            actions.append(.setMPLSLabel(try r.u32()))
        case (_, 14):
            try fixed(r, 8)
            actions.append(.setMPLSTC(try r.u8()))
        case (_, 15):
            try fixed(r, 8)
            actions.append(.setMPLSTTL(try r.u8()))
        case (_, 16):
            try fixed(r, 8)
            actions.append(.decMPLSTTL)
        case (_, 17):
            try fixed(r, 8)
            let type = try r.u16()
            guard type == 0x8100 || type == 0x88a8 else { throw .bacBadArgument }
            actions.append(.pushVLAN(etherType: type))
        case (_, 18):
            try fixed(r, 8)
            actions.append(.stripVLAN(isPop: true))
        case (_, 19):
            try fixed(r, 8)
            actions.append(try pushMPLS(&r))
        case (_, 20):
            try fixed(r, 8)
            actions.append(.popMPLS(etherType: try r.u16()))
        case (_, 21):
            try fixed(r, 8)
            actions.append(.setQueue(try r.u32()))
        case (_, 22):
            try fixed(r, 8)
            actions.append(.group(try r.u32()))
        case (_, 23):
            try fixed(r, 8)
            actions.append(.setIPTTL(try r.u8()))
        case (_, 24):
            try fixed(r, 8)
            actions.append(.decTTL(DecTTLAction()))
        case (.v12..., 25):
            actions.append(try setField(&r, c, mayMask: c.version >= .v15, isStandard: true))
        case (.v15, 28):
            actions.append(try copyField(&r, c))
        case (.v15, 29):
            try fixed(r, 8)
            actions.append(.meter(try r.u32()))
        default: throw .bacBadType
        }
    }

    static func pushMPLS(_ r: inout WireReader) throws(OFError) -> OFAction {
        let type = try r.u16()
        guard type == 0x8847 || type == 0x8848 else { throw .bacBadArgument }
        return .pushMPLS(etherType: type)
    }

    /// The action must be `size` bytes in all; 4 have been read.
    static func fixed(_ r: WireReader, _ size: Int, read: Int = 4) throws(OFError) {
        guard r.remaining == size - read else { throw .bacBadLen }
    }

    /// A port that an action may send to.
    static func checkOutput(_ port: OFPort) throws(OFError) {
        guard port < .max || (port >= .inPort && port != .none) else { throw .bacBadOutPort }
    }

    static func setField(
        _ r: inout WireReader, _ c: ActionContext, mayMask: Bool, isStandard: Bool
    ) throws(OFError) -> OFAction {
        // Whose class is unknown, its length is said to be wrong.
        let isOfClass = [0, 1, 0x8000, 0x8001, 0xffff].contains(r.peek16())
        let isEmpty = r.peek16(2).map { $0 & 0xff == 0 || $0 & 0x1ff == 0x101 } ?? false
        guard case .field(var entry) = try r.oxmHeader() else { throw isOfClass ? .bacBadSetType : .bacBadSetLen }
        guard !isEmpty else { throw .bacBadSetType }
        guard entry.field.isTunnelOption || entry.size == entry.field.row.bytes else { throw .bacBadSetLen }
        if let index = entry.field.tunnelOptionIndex, let map = c.tunnelOptions, map.entries[index] == nil { throw .nxfmfcInvalidTlvField }
        try r.oxmPayload(&entry)
        guard mayMask || !entry.hasMask else { throw .bacBadSetMask }
        let field = entry.field
        let row = field.row
        let bits: UInt128 = entry.size >= 16 ? .max : (1 << UInt128(entry.size * 8)) - 1
        if !row.maskable, !field.isTunnelOption, entry.mask != bits { throw .bacBadSetMask }
        guard r.isZero() else { throw .bacBadSetArgument }
        guard row.writable, field != .inPortOXM || !isStandard else { throw .bacBadSetArgument }
        guard field.isValid(entry.value), field != .vlanVID || entry.value & 0x1000 != 0 else {
            throw .bacBadSetArgument
        }
        var action = SetFieldAction(field, entry.value, mask: entry.hasMask ? entry.mask : row.allOnes)
        if field == .ipDSCP { action.mask = 0xfc }
        if field == .vlanVID { action.mask = entry.hasMask ? entry.mask & 0x1fff : 0x1fff }
        if field.isTunnelOption {
            action.wideValue = entry.wideValue
            action.wideMask = entry.wideMask
        }
        return .setField(action)
    }

    /// OFPAT_COPY_FIELD and ONF's extension of it.
    static func copyField(_ r: inout WireReader, _ c: ActionContext) throws(OFError) -> OFAction {
        let bits = Int(try r.u16())
        let from = Int(try r.u16())
        let to = Int(try r.u16())
        try r.skip(2)
        return try move(&r, c, bits: bits, from: from, to: to)
    }

    static func move(
        _ r: inout WireReader, _ c: ActionContext, bits: Int, from: Int, to: Int
    ) throws(OFError) -> OFAction {
        let source = Subfield(try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field, low: from, count: bits)
        let destination = Subfield(try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field, low: to, count: bits)
        guard r.isZero() else { throw .nxbrcMustBeZero }
        try checkSource(source)
        try checkDestination(destination)
        return .regMove(from: source, to: destination)
    }

    /// The subfield lies within its field.
    static func checkSource(_ s: Subfield) throws(OFError) {
        guard s.count > 0, s.low + s.count <= s.field.row.bits else { throw .bacBadSetLen }
    }

    /// The same, and the field can be written.
    static func checkDestination(_ s: Subfield) throws(OFError) {
        try checkSource(s)
        guard s.field.row.writable else { throw .bacBadSetArgument }
    }
}
