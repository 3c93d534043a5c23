// Controller roles and which asynchronous messages a controller gets.

/// OFPCR_ROLE_*, in OpenFlow 1.2's numbers.
public enum ControllerRole: UInt32, Hashable, Sendable {
    case noChange = 0, equal, primary, secondary
}

/// OFPT_ROLE_REQUEST and NXT_ROLE_REQUEST.
public struct RoleRequest: Hashable, Sendable {
    public var role: ControllerRole
    /// Not with `noChange` and `equal`, and never in Nicira's form.
    public var generation: UInt64?

    public static func decode(_ message: OFMessage) throws(OFError) -> RoleRequest {
        var r = message.body
        let number = try r.u32()
        if message.kind == .nxRoleRequest {
            // Nicira's numbers start with "other" at 0.
            guard number <= 2, let role = ControllerRole(rawValue: number + 1) else { throw .rrfcBadRole }
            return RoleRequest(role: role, generation: nil)
        }
        guard let role = ControllerRole(rawValue: number) else { throw .rrfcBadRole }
        try r.skip(4)
        let generation = try r.u64()
        return RoleRequest(role: role, generation: role == .noChange || role == .equal ? nil : generation)
    }

    /// The answer: the role in force, and the generation last seen.
    public static func reply(to message: OFMessage, role: ControllerRole, generation: UInt64?) -> [UInt8] {
        if message.kind == .nxRoleRequest {
            var w = WireWriter.experimenter(message.version, 11, xid: message.xid)
            w.u32(role.rawValue - (role == .noChange ? 0 : 1))
            return w.finish()
        }
        var w = WireWriter.message(message.version, 25, xid: message.xid)
        w.u32(role.rawValue)
        w.u32(0)
        w.u64(generation ?? .max)
        return w.finish()
    }

    /// OFPT_ROLE_STATUS (1.4 and later), or in 1.3 the Open Networking Foundation's extension of that; reason 0: another
    /// controller became primary, 1: configuration, 2: experimenter.
    public static func status(_ version: OFVersion, role: ControllerRole, reason: UInt8, generation: UInt64?) -> [UInt8] {
        var w =
            version >= .v14
            ? WireWriter.message(version, 30, xid: 0)
            : WireWriter.experimenter(version, 1911, vendor: 0x4f4e_4600, xid: 0)
        w.u32(role.rawValue)
        w.u8(reason)
        w.zeros(3)
        w.u64(generation ?? .max)
        return w.finish()
    }
}

/// Which reasons of each kind of asynchronous message a controller gets, by its role.
public struct AsyncConfig: Hashable, Sendable {
    /// Kinds in the order of OpenFlow 1.4's properties.
    public enum Kind: Int, CaseIterable, Hashable, Sendable {
        case packetIn = 0, portStatus, flowRemoved, roleStatus, tableStatus, requestForward
    }

    /// Bits by reason, indexed by kind.
    public var primary: [UInt32] = [0b111011, 7, 0x3f, 0, 0, 0]
    public var secondary: [UInt32] = [0, 7, 0, 0, 0, 0]

    public init() {}

    /// Nothing at all.
    public static var off: AsyncConfig {
        var c = AsyncConfig()
        c.primary = Array(repeating: 0, count: 6)
        c.secondary = c.primary
        return c
    }

    /// The reasons that exist in a version.
    static func known(_ kind: Kind, _ v: OFVersion) -> UInt32 {
        switch kind {
        case .packetIn: v >= .v14 ? 0x3f : v >= .v11 ? 7 : 3
        case .portStatus: 7
        case .flowRemoved: v >= .v14 ? 0x3f : v >= .v11 ? 15 : 7
        case .roleStatus: 7
        case .tableStatus: 0x18
        case .requestForward: 3
        }
    }

    public func wants(_ kind: Kind, reason: UInt8, role: ControllerRole) -> Bool {
        guard reason < 32 else { return false }
        return (role == .secondary ? secondary : primary)[kind.rawValue] & 1 << UInt32(reason) != 0
    }

    /// Applies OFPT_SET_ASYNC, NXT_SET_ASYNC_CONFIG or NXT_SET_ASYNC_CONFIG2.
    public mutating func apply(_ message: OFMessage) throws(OFError) {
        var r = message.body
        var new = self
        if message.kind == .nxSetAsync || message.kind == .setAsync && message.version < .v14 {
            guard r.remaining == 24 else { throw .brcBadLen }
            for kind in [Kind.packetIn, .portStatus, .flowRemoved] {
                new.primary[kind.rawValue] = Self.legacy(kind, try r.u32())
                new.secondary[kind.rawValue] = Self.legacy(kind, try r.u32())
            }
            self = new
            return
        }
        let isLoose = message.kind == .nxSetAsync2
        while !r.isEmpty {
            var (type, p) = try r.property(foreign: 0xfffe)
            guard let kind = Kind(rawValue: Int(type / 2)) else { throw type >= 0xfffe ? .bpcBadExpType : .acfcUnsupported }
            guard p.remaining == 4 else { throw .bpcBadLen }
            let mask = try p.u32()
            let known = Self.known(kind, .v14)
            guard isLoose || mask & ~known == 0 else { throw .acfcInvalid }
            if type % 2 == 0 { new.secondary[kind.rawValue] = mask & known } else { new.primary[kind.rawValue] = mask & known }
        }
        self = new
    }

    /// Before OpenFlow 1.4 some reasons had no number of their own and came as others.
    private static func legacy(_ kind: Kind, _ mask: UInt32) -> UInt32 {
        switch kind {
        case .packetIn: mask & 2 != 0 ? mask & 7 | 0b111000 : mask & 7
        case .flowRemoved: mask & 4 != 0 ? mask & 15 | 0x30 : mask & 15
        default: mask & 7
        }
    }

    /// OFPT_GET_ASYNC_REPLY.
    public func reply(version v: OFVersion, xid: UInt32) -> [UInt8] {
        var w = WireWriter.message(v, 27, xid: xid)
        guard v >= .v14 else {
            for kind in [Kind.packetIn, .portStatus, .flowRemoved] {
                w.u32(primary[kind.rawValue] & Self.known(kind, v))
                w.u32(secondary[kind.rawValue] & Self.known(kind, v))
            }
            return w.finish()
        }
        for kind in Kind.allCases {
            for (offset, mask) in [secondary, primary].enumerated() {
                w.u16(UInt16(kind.rawValue * 2 + offset))
                w.u16(8)
                w.u32(mask[kind.rawValue] & Self.known(kind, v))
            }
        }
        return w.finish()
    }
}
