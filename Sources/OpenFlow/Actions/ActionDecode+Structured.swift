// Decoding Nicira's actions that have parts of their own: learn, ct, nat, encap.

import Flow

extension LearnAction {
    static func decode(_ r: inout WireReader, _ c: ActionContext, extended: Bool) throws(OFError) -> LearnAction {
        guard r.remaining >= (extended ? 30 : 22) else { throw .bacBadLen }
        var a = LearnAction()
        a.isLearn2 = extended
        a.idleTimeout = try r.u16()
        a.hardTimeout = try r.u16()
        a.priority = try r.u16()
        a.cookie = try r.u64()
        a.flags = Flags(rawValue: try r.u16())
        a.table = try r.u8()
        guard try r.u8() == 0 else { throw .bacBadArgument }
        a.finIdleTimeout = try r.u16()
        a.finHardTimeout = try r.u16()
        let known: UInt16 = extended ? 7 : 3
        guard a.flags.rawValue & ~known == 0, a.table != 255 else { throw .bacBadArgument }
        if extended {
            a.limit = try r.u32()
            let low = Int(try r.u16())
            guard try r.u16() == 0 else { throw .nxbacMustBeZero }
            if a.flags.contains(.writeResult) {
                let s = Subfield(try r.oxmFieldHeader(c.tunnelOptions, isOXM: true).field, low: low, count: 1)
                try ActionCodec.checkDestination(s)
                a.result = s
            } else if low != 0 {
                throw .bacBadArgument
            }
        }
        while r.remaining >= 2 {
            let header = try r.u16()
            if header == 0 { break }
            a.specs.append(try spec(header, &r, c))
        }
        guard r.isZero() else { throw .bacBadArgument }
        return a
    }

    private static func spec(_ header: UInt16, _ r: inout WireReader, _ c: ActionContext) throws(OFError) -> Spec {
        let bits = Int(header & 0x7ff)
        let immediate = header & 0x2000 != 0
        let kind = header >> 11 & 3
        guard kind < 2 || kind == 2 && !immediate else { throw .bacBadArgument }
        // What the shortest of its kind needs.
        let least = (immediate ? (bits + 15) / 16 * 2 : 6) + (kind < 2 ? 6 : 0)
        guard r.remaining >= least else { throw .bacBadLen }
        guard header & 0xc000 == 0, bits > 0 else { throw .bacBadArgument }
        func subfield(_ r: inout WireReader) throws(OFError) -> Subfield {
            let field = try r.oxmFieldHeader(c.tunnelOptions).field
            return Subfield(field, low: Int(try r.u16()), count: bits)
        }
        r.shortError = .bacBadLen
        let source: Spec.Source
        if immediate {
            // Padded in front to a multiple of 16 bits.
            let size = (bits + 15) / 16 * 2
            let skipped = max(0, size - 16)
            try r.skip(skipped)
            source = .immediate(try r.uint(size: size - skipped))
        } else {
            let s = try subfield(&r)
            try ActionCodec.checkSource(s)
            source = .field(s)
        }
        switch kind {
        case 0:
            let s = try subfield(&r)
            try ActionCodec.checkSource(s)
            return Spec(bits: bits, source: source, destination: .match(s))
        case 1:
            let s = try subfield(&r)
            try ActionCodec.checkDestination(s)
            return Spec(bits: bits, source: source, destination: .load(s))
        default: return Spec(bits: bits, source: source, destination: .output)
        }
    }
}

extension CTAction {
    static func decode(_ r: inout WireReader, _ c: ActionContext) throws(OFError) -> CTAction {
        guard r.remaining >= 14 else { throw .bacBadLen }
        var a = CTAction()
        let flags = try r.u16()
        a.commit = flags & 1 != 0
        a.force = flags & 2 != 0
        let source = try r.u32()
        let range = try r.u16()
        if source != 0 {
            guard
                let field = FieldRow.find(
                    oxmClass: UInt16(source >> 16), experimenter: 0, number: UInt8(source >> 9 & 0x7f)),
                Int(source & 0x1ff) == field.row.bytes
            else { throw .bacBadSetType }
            let s = Subfield(field, low: Int(range >> 6), count: Int(range & 63) + 1)
            try ActionCodec.checkSource(s)
            guard s.count == 16 else { throw .bacBadSetLen }
            a.zoneSource = s
        } else {
            a.zone = range
        }
        a.recircTable = try r.u8()
        try r.skip(3)
        a.alg = try r.u16()
        a.actions = try ActionCodec.decodeActions(&r, try c.nested(inConntrack: true))
        guard !a.force || a.commit else { throw .bacBadArgument }
        for action in a.actions {
            switch action {
            case .nat: break
            case .setField(let s) where s.field == .ctMark || s.field == .ctLabel: break
            case .regMove(_, let to) where to.field == .ctMark || to.field == .ctLabel: break
            default: throw .bacBadSetArgument
            }
            // Plain nat only undoes what was done to the connection.
            if case .nat(let nat) = action, nat.flags.isEmpty { continue }
            guard a.commit else { throw .bacBadArgument }
        }
        return a
    }
}

extension NATAction {
    static func decode(_ r: inout WireReader) throws(OFError) -> NATAction {
        guard r.remaining >= 6 else { throw .bacBadLen }
        var a = NATAction()
        try r.skip(2)
        let flags = try r.u16()
        let present = try r.u16()
        a.flags = Flags(rawValue: flags)
        guard flags & ~0x1f == 0 else { throw .bacBadArgument }
        guard !a.flags.isSuperset(of: [.source, .destination]),
            !a.flags.isSuperset(of: [.protocolHash, .protocolRandom])
        else { throw .bacBadArgument }
        r.shortError = .bacBadArgument
        let hasV4 = present & 1 != 0
        let hasV6 = present & 4 != 0
        guard !(present & 3 != 0 && present & 12 != 0), present & 2 == 0 || hasV4, present & 8 == 0 || hasV6,
            present & 32 == 0 || present & 16 != 0, present & 16 == 0 || hasV4 || hasV6
        else { throw .bacBadArgument }
        if hasV4 {
            let low = try r.u32()
            let high = present & 2 != 0 ? try r.u32() : 0
            guard low != 0, present & 2 == 0 || high >= low else { throw .bacBadArgument }
            a.addresses = .ipv4(min: low, max: high)
        } else if hasV6 {
            let low = try r.u128()
            let high = present & 8 != 0 ? try r.u128() : 0
            guard low != 0, present & 8 == 0 || high >= low else { throw .bacBadArgument }
            a.addresses = .ipv6(min: low, max: high)
        }
        if present & 16 != 0 {
            a.portMin = try r.u16()
            if present & 32 != 0 { a.portMax = try r.u16() }
            guard a.portMin != 0, present & 32 == 0 || a.portMax >= a.portMin else { throw .bacBadArgument }
        }
        return a
    }
}

extension EncapAction {
    static func decode(_ r: inout WireReader) throws(OFError) -> EncapAction {
        guard r.remaining >= 6 else { throw .bacBadLen }
        let size = try r.u16()
        var a = EncapAction(packetType: try r.u32())
        a.headerSize = size
        guard [0, 0x1894f, 0x18847, 0x18848].contains(a.packetType) else { throw .nxbacBadHeaderType }
        while !r.isEmpty {
            let propClass = try r.u16()
            let type = try r.u8()
            let length = Int(try r.u8())
            guard length >= 4, length - 4 <= r.remaining else { throw .bacBadLen }
            // Padding is looked into, too.
            let behind = r
            var p = try r.part(length - 4, error: .nxbacBadEdProp)
            try r.skip(min((8 - length % 8) % 8, r.remaining))
            guard propClass == 4 else { throw .nxbacUnknownEdProp }
            switch type {
            case 1:
                p = behind
                a.properties.append(.nshMDType(try p.u8()))
            case 2:
                let tlvClass = try p.u16()
                let type = try p.u8()
                let size = Int(try p.u8())
                guard length == (8 + size + 7) / 8 * 8 else { throw .nxbacBadEdProp }
                a.properties.append(.nshTLV(tlvClass: tlvClass, type: type, value: try p.array(size)))
            default: throw .nxbacUnknownEdProp
            }
        }
        return a
    }
}
