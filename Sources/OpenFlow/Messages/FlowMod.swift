// Flow modifications, in every version's form and Nicira's.

import Flow

public struct FlowMod: Sendable {
    public enum Command: UInt8, Hashable, Sendable { case add = 0, modify, modifyStrict, delete, deleteStrict }

    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let sendFlowRemoved = Flags(rawValue: 1)
        public static let checkOverlap = Flags(rawValue: 2)
        /// OFPFF_EMERG, 1.0 only.
        public static let resetCounts = Flags(rawValue: 4)
        public static let noPacketCounts = Flags(rawValue: 8)
        public static let noByteCounts = Flags(rawValue: 16)
    }

    public var command: Command = .add
    /// 255: every table, or whichever the switch picks.
    public var table: UInt8 = 255
    public var match = Match()
    public var priority: UInt16 = 0x8000
    /// Of flows to modify or delete.
    public var cookie: UInt64 = 0
    public var cookieMask: UInt64 = 0
    public var newCookie: UInt64 = 0
    /// Modifications change the cookie too.
    public var modifyCookie = false
    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    public var bufferID: UInt32 = .max
    public var outPort: OFPort = .none
    /// 0xffffffff: any.
    public var outGroup: UInt32 = .max
    public var flags: Flags = []
    public var importance: UInt16 = 0
    public var actions: [OFAction] = []

    public init() {}

    /// Decodes a flow_mod or NXT_FLOW_MOD. `tableID`: NXT_FLOW_MOD_TABLE_ID is on, so that the upper byte of a command
    /// of OpenFlow 1.0 is the table.
    public static func decode(
        _ message: OFMessage, tableID: Bool, tunnelOptions: TunnelOptionMap?, tableCount: Int = 255
    ) throws(OFError) -> FlowMod {
        var r = message.body
        var f = FlowMod()
        let v = message.version
        var rawFlags: UInt16
        var command: UInt16
        func known(_ command: UInt16) throws(OFError) -> Command {
            guard let known = UInt8(exactly: command).flatMap({ Command(rawValue: $0) }) else { throw .fmfcBadCommand }
            return known
        }
        if v >= .v11, message.kind == .flowMod {
            f.cookie = try r.u64()
            f.cookieMask = try r.u64()
            f.table = try r.u8()
            command = UInt16(try r.u8())
            f.idleTimeout = try r.u16()
            f.hardTimeout = try r.u16()
            f.priority = try r.u16()
            f.bufferID = try r.u32()
            let outPort = try r.u32()
            let outGroup = try r.u32()
            rawFlags = try r.u16()
            f.importance = try r.u16()
            if v < .v14 { f.importance = 0 }
            try MatchCodec.decode11(&r, into: &f.match, tunnelOptions: tunnelOptions)
            let isDelete = command == 3 || command == 4
            guard f.table != 255 || isDelete else { throw .fmfcBadTableId }
            guard let port = OFPort(wire32: outPort) else { throw .bacBadOutPort }
            if isDelete {
                f.outPort = port
                f.outGroup = outGroup
            }
            if command == 0 {
                f.newCookie = f.cookie
                f.cookie = 0
                f.cookieMask = 0
                // Modifying a table that is "all" has no sense, and adding neither.
            } else if command == 1 || command == 2 {
                f.newCookie = .max
                // In 1.1 a modification without a mask to select by adds, with this cookie.
                if v == .v11, f.cookieMask == 0 { f.newCookie = f.cookie }
            } else {
                f.newCookie = .max
            }
            f.modifyCookie = v == .v11 && f.cookieMask == 0 && (command == 1 || command == 2) && f.cookie != .max
            f.command = try known(command)
            f.actions = try ActionCodec.decodeFlowActions(&r, ActionContext(version: v, tunnelOptions: tunnelOptions))
            let knownFlags: UInt16 = v == .v11 ? 3 : v == .v12 ? 7 : 31
            guard rawFlags & ~knownFlags == 0 else { throw .fmfcBadFlags }
            // OpenFlow 1.1 always resets the counts of a flow that is replaced.
            if v == .v11, command == 0 { rawFlags |= 4 }
        } else {
            if message.kind == .flowMod {
                f.match = try MatchCodec.decode10(&r)
                f.newCookie = try r.u64()
                command = try r.u16()
                f.idleTimeout = try r.u16()
                f.hardTimeout = try r.u16()
                f.priority = try r.u16()
                f.bufferID = try r.u32()
                f.outPort = OFPort(UInt32(try r.u16()))
                rawFlags = try r.u16()
                if f.match.isExactInOpenFlow10 { f.priority = 0xffff }
            } else {
                f.newCookie = try r.u64()
                command = try r.u16()
                f.idleTimeout = try r.u16()
                f.hardTimeout = try r.u16()
                f.priority = try r.u16()
                f.bufferID = try r.u32()
                f.outPort = OFPort(UInt32(try r.u16()))
                rawFlags = try r.u16()
                let length = Int(try r.u16())
                try r.skip(6)
                let cookie = try MatchCodec.decodeNXM(
                    &r, into: &f.match, length: length, allowCookie: true, tunnelOptions: tunnelOptions)
                f.cookie = cookie.value
                f.cookieMask = cookie.mask
                if command & 0xff == 0, f.cookieMask != 0 { throw .nxbrcNxmInvalid }
            }
            f.modifyCookie = f.newCookie != .max
            if tableID {
                f.table = UInt8(command >> 8)
                command &= 0xff
            }
            f.command = try known(command)
            f.actions = try ActionCodec.decodeFlowActions(&r, ActionContext(version: v, tunnelOptions: tunnelOptions))
            guard rawFlags & ~7 == 0 else { throw .fmfcBadFlags }
            // OFPFF_EMERG: there is no table for emergencies.
            guard rawFlags & 4 == 0 else { throw f.idleTimeout | f.hardTimeout == 0 ? .fmfcTableFull : .fmfcBadEmergTimeout }
            rawFlags |= command == 0 ? 4 : 0
        }
        f.flags = Flags(rawValue: rawFlags)
        // Without a table the switch chooses the first, so that no flow may go on to that.
        let table = message.kind == .nxFlowMod && f.table == 255 ? 0 : f.table
        var checker = ActionChecker(version: v, match: f.match, table: table, tableCount: tableCount)
        try checker.check(&f.actions)
        return f
    }
}

extension Match {
    /// True when no field that OpenFlow 1.0 knows is wildcarded: such flows have the highest priority there.
    var isExactInOpenFlow10: Bool {
        for l in [
            Location.inPort, Location.ethSrc, Location.ethDst, Location.ethType, Location.vlanTCI, Location.nwTOS,
            Location.nwProto, Location.nwSrc, Location.nwDst, Location.tpSrc, Location.tpDst,
        ] where mask.bits[l] & (l == Location.nwTOS ? 0xfc : .max) != l.allOnes & (l == Location.nwTOS ? 0xfc : .max) {
            return false
        }
        return true
    }
}
