// Decoding Nicira's actions (NXAST_*), and the one of the Open Networking Foundation.

import Flow

extension ActionCodec {
    /// Looks at the head of an experimenter's action, of which 8 bytes are there: there is such an action in this version.
    static func checkExperimenter(_ reader: WireReader, _ v: OFVersion) throws(OFError) {
        var r = reader
        try r.skip(4)
        let vendor = try r.u32()
        guard vendor == nicira || vendor == onf else { throw .bacBadVendor }
        guard r.remaining >= 2 else { throw .bacBadLen }
        let subtype = try r.u16()
        let isKnown: Bool
        if vendor == onf {
            isKnown = subtype == 3200 && (v == .v13 || v == .v14)
        } else {
            switch subtype {
            // Later versions have their own.
            case 4, 18, 23...26, 30, 31, 40: isKnown = v == .v10
            case 6, 7, 33: isKnown = v < .v15
            // Encapsulation came with OpenFlow 1.3.
            case 46...48: isKnown = v >= .v13
            case 1, 2, 5, 8...10, 12...17, 19...22, 27...29, 32, 34...39, 41...45, 49, 50, 254, 255: isKnown = true
            default: isKnown = false
            }
        }
        guard isKnown else { throw .bacBadVendorType }
    }

    static func decodeExperimenter(
        _ r: inout WireReader, _ c: ActionContext, into actions: inout [OFAction]
    ) throws(OFError) {
        let vendor = try r.u32()
        guard r.remaining >= 2 else { throw .bacBadLen }
        let subtype = try r.u16()
        if vendor == onf {
            try r.skip(2)
            actions.append(try copyField(&r, c))
            return
        }
        actions.append(try decodeNicira(subtype, &r, c))
    }

    /// The size in bytes of an action whose size never varies.
    private static let sizes: [UInt16: Int] = [
        1: 16, 2: 16, 4: 16, 5: 16, 7: 24, 9: 24, 10: 32, 14: 16, 15: 24, 17: 16, 18: 16, 19: 16, 20: 16, 22: 32,
        23: 16, 24: 16, 25: 16, 26: 16, 27: 24, 28: 24, 29: 24, 30: 16, 31: 16, 32: 24, 34: 16, 38: 32, 39: 16, 40: 16, 41: 32, 43: 16,
        44: 16,
        48: 16, 50: 24, 254: 16, 255: 16,
    ]

    private static func decodeNicira(
        _ subtype: UInt16, _ r: inout WireReader, _ c: ActionContext
    ) throws(OFError) -> OFAction {
        if let size = sizes[subtype] { try fixed(r, size, read: 10) }
        switch subtype {
        case 1:
            return .resubmit(ResubmitAction(inPort: OFPort(UInt32(try r.u16())), table: 255, form: .resubmit))
        case 2:
            try r.skip(2)
            return .setTunnel(UInt64(try r.u32()), wide: false)
        case 4:
            try r.skip(2)
            return .setQueue(try r.u32())
        case 5: return .popQueue
        case 6:
            let bits = Int(try r.u16())
            let from = Int(try r.u16())
            let to = Int(try r.u16())
            return try move(&r, c, bits: bits, from: from, to: to)
        case 7: return try load(&r, c)
        case 8: return .note(r.rest())
        case 9:
            try r.skip(6)
            return .setTunnel(try r.u64(), wide: true)
        case 10: return try multipath(&r, c)
        case 12, 13: return try bundle(&r, c, load: subtype == 13)
        case 14, 44:
            let port = OFPort(UInt32(try r.u16()))
            let table = try r.u8()
            guard r.isZero() else { throw .bacBadArgument }
            return .resubmit(
                ResubmitAction(inPort: port, table: table, form: subtype == 14 ? .resubmitTable : .resubmitTableCT))
        case 15, 32: return try outputRegister(&r, c, extended: subtype == 32)
        case 16, 45: return .learn(try LearnAction.decode(&r, c, extended: subtype == 45))
        case 17: return .exit
        case 18: return .decTTL(DecTTLAction())
        case 19: return .finTimeout(idle: try r.u16(), hard: try r.u16())
        case 20:
            var a = ControllerAction()
            a.maxLength = try r.u16()
            a.controllerID = try r.u16()
            a.reason = try reason(try r.u8())
            return .controller(a)
        case 21:
            let n = Int(try r.u16())
            guard r.isZero(4) else { throw .nxbrcMustBeZero }
            try r.skip(4)
            guard r.remaining >= 2 * n else { throw .bacBadLen }
            var ids: [UInt16] = []
            for _ in 0..<n { ids.append(try r.u16()) }
            return .decTTL(DecTTLAction(controllers: ids, hasIDs: true))
        case 22:
            guard r.isZero(6) else { throw .nxbrcMustBeZero }
            try r.skip(6)
            let value = try r.u64()
            return .writeMetadata(value: value, mask: try r.u64())
        case 23: return try pushMPLS(&r)
        case 24: return .popMPLS(etherType: try r.u16())
        case 25: return .setMPLSTTL(try r.u8())
        case 26: return .decMPLSTTL
        case 27, 28:
            let low = Int(try r.u16())
            let field = try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field
            let s = Subfield(field, low: low, count: Int(try r.u16()))
            guard r.isZero() else { throw .nxbrcMustBeZero }
            if subtype == 27 {
                try checkSource(s)
                return .stackPush(s)
            }
            try checkDestination(s)
            return .stackPop(s)
        case 29, 38, 41: return try sample(subtype, &r)
        case 30:
            try r.skip(2)
            return .setMPLSLabel(try r.u32())
        case 31: return .setMPLSTC(try r.u8())
        case 33:
            return try setField(&r, c, mayMask: true, isStandard: false)
        case 34:
            // Clauses are counted from 1 in text and from 0 on the wire.
            let clause = try r.u8()
            let count = try r.u8()
            guard count >= 2, count <= 64, clause < count else { throw .nxbacBadConjunction }
            return .conjunction(id: try r.u32(), clause: clause, count: count)
        case 35: return .ct(try CTAction.decode(&r, c))
        case 36:
            let nat = try NATAction.decode(&r)
            guard c.isInConntrack else { throw .bacBadSetArgument }
            return .nat(nat)
        case 37: return .controller(try controller2(&r))
        case 39:
            let port = OFPort(UInt32(try r.u16()))
            let length = try r.u32()
            // An Ethernet header is the least.
            guard length >= 14 else { throw .bacBadArgument }
            return .outputTruncated(port, maxLength: length)
        case 40:
            try r.skip(2)
            return .group(try r.u32())
        case 42:
            try r.skip(6)
            return .clone(try decodeActions(&r, try c.nested()))
        case 43: return .ctClear
        case 46: return .encap(try EncapAction.decode(&r))
        case 47:
            guard r.remaining >= 6 else { throw .bacBadLen }
            // No property of what is taken off is known.
            guard r.remaining == 6 else { throw .nxbacUnknownEdProp }
            try r.skip(2)
            return .decap(packetType: try r.u32())
        case 48: return .decNSHTTL
        case 49:
            guard r.remaining >= 14 else { throw .bacBadLen }
            let size = try r.u16()
            let low = Int(try r.u16())
            let s = Subfield(try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field, low: low, count: 1)
            guard r.isZero() else { throw .nxbrcMustBeZero }
            try checkDestination(s)
            return .checkPacketLarger(size, to: s)
        case 50:
            let field = try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field
            return .deleteField(field)
        case 254: return .debugSlow
        case 255: return .debugRecirc
        default: throw .bacBadVendorType
        }
    }

    private static func load(_ r: inout WireReader, _ c: ActionContext) throws(OFError) -> OFAction {
        let range = try r.u16()
        let field = try r.oxmFieldHeader(c.tunnelOptions).field
        let s = Subfield(field, low: Int(range >> 6), count: Int(range & 63) + 1)
        try checkDestination(s)
        let value = try r.u64()
        guard s.count == 64 || value >> UInt64(s.count) == 0 else { throw .bacBadArgument }
        return .setField(.load(UInt128(value), to: s))
    }

    private static func reason(_ n: UInt8) throws(OFError) -> PacketInReason {
        guard let reason = PacketInReason(rawValue: n), n <= 5 else { return .action }
        return reason
    }

    private static func controller2(_ r: inout WireReader) throws(OFError) -> ControllerAction {
        guard r.isZero(6) else { throw .nxbrcMustBeZero }
        try r.skip(6)
        var a = ControllerAction()
        while !r.isEmpty {
            var (type, p) = try r.property()
            switch type {
            case 0: a.maxLength = try p.u16()
            case 1: a.controllerID = try p.u16()
            case 2:
                let n = try p.u8()
                guard let reason = PacketInReason(rawValue: n), n <= 5 else { throw .nxbrcBadReason }
                a.reason = reason
            case 3: a.userdata = p.rest()
            case 4: a.pause = true
            case 5: a.meterID = try p.u32()
            default: throw .unknownProperty(type)
            }
        }
        return a
    }

    private static func outputRegister(
        _ r: inout WireReader, _ c: ActionContext, extended: Bool
    ) throws(OFError) -> OFAction {
        let range = try r.u16()
        let low = Int(range >> 6)
        let count = Int(range & 63) + 1
        if extended {
            let maxLength = try r.u16()
            let s = Subfield(try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field, low: low, count: count)
            guard r.isZero() else { throw .nxbrcMustBeZero }
            try checkSource(s)
            return .outputRegister(s, maxLength: maxLength)
        }
        var end = r
        try end.skip(6)
        guard end.isZero() else { throw .bacBadArgument }
        let s = Subfield(try r.oxmFieldHeader(c.tunnelOptions).field, low: low, count: count)
        let maxLength = try r.u16()
        try checkSource(s)
        return .outputRegister(s, maxLength: maxLength)
    }

    private static func multipath(_ r: inout WireReader, _ c: ActionContext) throws(OFError) -> OFAction {
        let fields = try r.u16()
        let basis = try r.u16()
        try r.skip(2)
        let algorithm = try r.u16()
        let maxLink = try r.u16()
        let argument = try r.u32()
        try r.skip(2)
        let range = try r.u16()
        let field = try r.oxmFieldHeader(c.tunnelOptions).field
        let s = Subfield(field, low: Int(range >> 6), count: Int(range & 63) + 1)
        guard let hash = HashFields(rawValue: fields), let kind = MultipathAction.Algorithm(rawValue: algorithm) else {
            throw .bacBadArgument
        }
        guard s.count >= 16 || Int(maxLink) < 1 << s.count else { throw .bacBadArgument }
        try checkDestination(s)
        return .multipath(
            MultipathAction(
                fields: hash, basis: basis, algorithm: kind, maxLink: maxLink, argument: argument, destination: s))
    }

    private static func bundle(_ r: inout WireReader, _ c: ActionContext, load: Bool) throws(OFError) -> OFAction {
        guard r.remaining >= 22 else { throw .bacBadLen }
        let algorithm = try r.u16()
        let fields = try r.u16()
        let basis = try r.u16()
        let memberType = try r.u32()
        let n = Int(try r.u16())
        let range = try r.u16()
        guard let hash = HashFields(rawValue: fields), let kind = BundleAlgorithm(rawValue: algorithm),
            memberType == 0x0000_0002, n <= 2048
        else { throw .bacBadArgument }
        var destination: Subfield?
        if load {
            let s = Subfield(
                try r.oxmFieldHeader(c.tunnelOptions).field, low: Int(range >> 6), count: Int(range & 63) + 1)
            guard s.count >= 16 else { throw .bacBadArgument }
            try checkDestination(s)
            destination = s
            try r.skip(4)
        } else {
            guard range == 0, r.isZero(8) else { throw .bacBadArgument }
            try r.skip(8)
        }
        guard r.remaining >= 2 * n else { throw .bacBadLen }
        var members: [OFPort] = []
        for _ in 0..<n {
            let port = OFPort(UInt32(try r.u16()))
            guard port < .max || (port >= .inPort && port != .none) else { throw .bacBadOutPort }
            members.append(port)
        }
        return .bundle(
            BundleAction(fields: hash, basis: basis, algorithm: kind, destination: destination, members: members))
    }

    private static func sample(_ subtype: UInt16, _ r: inout WireReader) throws(OFError) -> OFAction {
        var a = SampleAction()
        a.probability = try r.u16()
        a.collectorSet = try r.u32()
        a.observationDomain = try r.u32()
        a.observationPoint = try r.u32()
        guard a.probability != 0 else { throw .bacBadArgument }
        if subtype != 29 {
            a.form = subtype == 38 ? .sample2 : .sample3
            a.samplingPort = OFPort(UInt32(try r.u16()))
            if subtype == 41 {
                guard let direction = SampleAction.Direction(rawValue: try r.u8()) else { throw .bacBadArgument }
                a.direction = direction
                guard r.isZero() else { throw .nxbrcMustBeZero }
            }
        }
        return .sample(a)
    }
}

extension SetFieldAction {
    /// `load:value->subfield`.
    public static func load(_ value: UInt128, to s: Subfield) -> SetFieldAction {
        var a = SetFieldAction(s.field, s.low < 128 ? value << UInt128(s.low) : 0, mask: s.fieldMask, fromLoad: true)
        if s.field.isTunnelOption {
            // The bits at their place among the option's 124 bytes.
            a.wideValue = [UInt8](repeating: 0, count: s.field.row.bytes)
            a.wideMask = a.wideValue
            for i in 0..<s.count {
                let at = s.low + i
                let byte = a.wideValue.count - 1 - at / 8
                guard byte >= 0 else { break }
                a.wideMask[byte] |= 1 << UInt8(at % 8)
                if i < 128, value >> UInt128(i) & 1 != 0 { a.wideValue[byte] |= 1 << UInt8(at % 8) }
            }
        }
        return a
    }

    /// The run of bits that are set, if they are one run.
    public var subfield: Subfield? {
        if field.isTunnelOption {
            var low: Int?
            var count = 0
            for at in 0..<wideMask.count * 8 where wideMask[wideMask.count - 1 - at / 8] >> UInt8(at % 8) & 1 != 0 {
                if let low, at != low + count { return nil }
                if low == nil { low = at }
                count += 1
            }
            return low.map { Subfield(field, low: $0, count: count) }
        }
        guard mask != 0 else { return nil }
        let low = mask.trailingZeroBitCount
        let run = mask >> UInt128(low)
        guard run & (run &+ 1) == 0 else { return nil }
        return Subfield(field, low: low, count: min(run.nonzeroBitCount, field.row.bits - low))
    }
}
