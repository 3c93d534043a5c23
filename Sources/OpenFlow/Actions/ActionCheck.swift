// Whether what a flow does can be done to the packets that it matches ("Inconsistencies" in ovs-actions(7)).

import Flow

/// Checks a flow's actions against its match, following along how they change the packet.
public struct ActionChecker {
    /// Of the message: OpenFlow 1.0 allows actions that do not fit the match.
    public var version: OFVersion
    /// The flow's table; 255 when it is not known.
    public var table: UInt8
    public var tableCount: Int
    private var match: Match
    private var isInconsistent = false
    private var depth = 0

    public init(version: OFVersion, match: Match, table: UInt8 = 255, tableCount: Int = 255) {
        self.version = version
        self.match = match
        self.table = table
        self.tableCount = tableCount
    }

    /// Checks a list, completing what its actions remember of the match. Throws the error that the switch answers with.
    public mutating func check(_ actions: inout [OFAction]) throws(OFError) {
        try checkAll(&actions)
        if isInconsistent, version > .v10 { throw .bacMatchInconsistent }
    }

    private mutating func checkAll(_ actions: inout [OFAction]) throws(OFError) {
        depth += 1
        defer { depth -= 1 }
        guard depth < 20 else { throw .bacTooMany }
        var hasConjunction = false
        var hasOther = false
        for i in actions.indices {
            switch actions[i] {
            case .conjunction: hasConjunction = true
            case .note: break
            default: hasOther = true
            }
            try checkOne(&actions[i])
        }
        if hasConjunction, hasOther { throw .nxbacBadConjunction }
    }

    private var hasVLAN: Bool { match.key.vlanTCI & 0x1000 != 0 }
    private var isIP: Bool { match.key.ethType == 0x0800 || match.key.ethType == 0x86dd }
    private var isMPLS: Bool { match.key.ethType == 0x8847 || match.key.ethType == 0x8848 }

    private mutating func require(_ condition: Bool) { if !condition { isInconsistent = true } }

    private func readable(_ s: Subfield) throws(OFError) {
        guard s.field.prerequisitesHold(match) else { throw .bacMatchInconsistent }
    }

    private mutating func setType(_ type: UInt16) {
        match.set(Location.ethType, UInt128(type))
        match.set(Location.nwProto, 0, mask: 0)
    }

    private mutating func checkOne(_ action: inout OFAction) throws(OFError) {
        switch action {
        case .output(let port, _): try ActionCodec.checkOutput(port)
        case .enqueue(let port, _), .outputTruncated(let port, maxLength: _):
            guard port < .max || port == .inPort || port == .local else { throw .bacBadOutPort }
        case .outputRegister(let s, _): try readable(s)
        case .deleteField(let field):
            guard field.isTunnelOption else { throw .bacBadArgument }
        case .bundle(let a): if let s = a.destination { try readable(s) }
        case .multipath(let a): try readable(a.destination)
        case .setVLANVID(let vid, var context):
            context.flowHasVLAN = hasVLAN
            require(context.flowHasVLAN || context.pushIfNeeded)
            match.set(Location.vlanPresent, 1)
            action = .setVLANVID(vid, context)
        case .setVLANPCP(let pcp, var context):
            context.flowHasVLAN = hasVLAN
            require(context.flowHasVLAN || context.pushIfNeeded)
            match.set(Location.vlanPresent, 1)
            action = .setVLANPCP(pcp, context)
        case .stripVLAN:
            require(hasVLAN)
            match.set(Location.vlanTCI, UInt128(match.key.innerVLANTCI))
            match.set(Location.innerVLANTCI, 0)
        case .pushVLAN:
            guard match.key.innerVLANTCI & 0x1000 == 0 else { throw .bacBadTag }
            match.set(Location.innerVLANTCI, UInt128(match.key.vlanTCI))
            match.set(Location.vlanPresent, 1)
        case .setIPv4Src, .setIPv4Dst: require(match.key.ethType == 0x0800)
        case .setIPDSCP, .setIPECN, .setIPTTL, .decTTL: require(isIP)
        case .setL4SrcPort(let port, _): action = .setL4SrcPort(port, ipProto: transport())
        case .setL4DstPort(let port, _): action = .setL4DstPort(port, ipProto: transport())
        case .setField(var a):
            guard a.field.prerequisitesHold(match) else { throw .bacMatchInconsistent }
            switch a.field {
            case .vlanTCI, .vlanVID, .dlVLAN, .vlanPCP, .dlVLANPCP:
                a.flowHasVLAN = hasVLAN
                if a.field == .vlanTCI {
                    let m = match.mask.bits.vlanTCI | UInt16(truncatingIfNeeded: a.mask)
                    let v =
                        match.key.vlanTCI & ~UInt16(truncatingIfNeeded: a.mask)
                        | UInt16(truncatingIfNeeded: a.value)
                    match.set(Location.vlanTCI, UInt128(v), mask: UInt128(m))
                } else {
                    match.set(Location.vlanPresent, 1)
                }
                action = .setField(a)
            default: break
            }
        case .regMove(let from, let to):
            try readable(from)
            try readable(to)
        case .stackPush(let s), .stackPop(let s): try readable(s)
        case .setMPLSLabel, .setMPLSTC, .setMPLSTTL, .decMPLSTTL: require(isMPLS)
        case .pushMPLS(let type):
            require(match.key.packetType == 0)
            setType(type)
        case .popMPLS(let type):
            require(match.key.packetType == 0 && isMPLS)
            setType(type)
        case .decNSHTTL: require(match.key.ethType == 0x894f)
        case .encap(let a):
            match.set(Location.packetType, UInt128(a.packetType))
            if a.packetType >> 16 == 1 { setType(UInt16(truncatingIfNeeded: a.packetType)) }
        case .decap:
            if match.key.packetType == 0, !hasVLAN {
                match.set(Location.packetType, UInt128(0x10000 | UInt32(match.key.ethType)))
            } else if match.key.ethType == 0x894f {
                match.set(Location.packetType, 0)
                match.set(Location.ethType, 0, mask: 0)
            }
        case .resubmit(let a):
            if a.withCT { guard FieldID.ctNwProto.prerequisitesHold(match), isIP else { throw .bacMatchInconsistent } }
        case .finTimeout: require(isIP && match.key.nwProto == 6)
        case .learn(let a): try checkLearn(a)
        case .clone(var inner):
            let saved = match
            try checkAll(&inner)
            match = saved
            action = .clone(inner)
        case .ct(var a):
            guard isIP else { throw .bacMatchInconsistent }
            if let s = a.zoneSource { try readable(s) }
            // FTP is TCP's, TFTP is UDP's.
            if a.alg == 21 { require(match.key.nwProto == 6) }
            if a.alg == 69 { require(match.key.nwProto == 17) }
            var inner = a.actions
            try checkAll(&inner)
            a.actions = inner
            action = .ct(a)
        case .nat(let a):
            switch a.addresses {
            case .ipv4: guard match.key.ethType == 0x0800 else { throw .bacMatchInconsistent }
            case .ipv6: guard match.key.ethType == 0x86dd else { throw .bacMatchInconsistent }
            case .none: break
            }
        case .meter(let id):
            guard id != 0, id <= 0xffff_0000 else { throw .mmfcInvalidMeter }
        case .writeActions(var inner):
            // When they are carried out is not known, so only what is wrong in any case is refused.
            let saved = (match, isInconsistent)
            try checkAll(&inner)
            (match, isInconsistent) = saved
            action = .writeActions(inner)
        case .gotoTable(let next):
            // 255 stands for no table, and is taken.
            guard table == 255 || next > table, next == 255 || Int(next) < tableCount else { throw .bicBadTableId }
        default: break
        }
    }

    /// The transport protocol that the match says, after requiring one.
    private mutating func transport() -> UInt8 {
        let proto = match.key.nwProto
        require(
            isIP && match.key.nwFrag & IPFragment.later == 0 && (proto == 6 || proto == 17 || proto == 132))
        return proto
    }

    /// What is copied must be there, and what is learned must make a legal match.
    private func checkLearn(_ a: LearnAction) throws(OFError) {
        var learned = Match()
        for spec in a.specs {
            if case .field(let s) = spec.source { try readable(s) }
            switch spec.destination {
            case .match(let s):
                guard s.field.prerequisitesHold(learned) else { throw .bacMatchInconsistent }
                if case .immediate(let v) = spec.source { s.set(v, in: &learned) }
                if s.field.row.prerequisite != .none { learned.setDefaultPacketType() }
            case .load(let s):
                guard s.field.prerequisitesHold(learned) else { throw .bacMatchInconsistent }
            case .output: break
            }
        }
    }
}
