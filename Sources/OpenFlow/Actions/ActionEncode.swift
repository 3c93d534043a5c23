// Encoding actions for each version: what a version has no action for becomes a field set or a Nicira extension.

import Flow

extension ActionCodec {
    /// Appends actions, leaving out instructions.
    public static func encodeActions(_ actions: [OFAction], version: OFVersion, to w: inout WireWriter) {
        for a in actions { encode(a, version, &w) }
    }

    private static func standard(_ type: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void = { _ in }) {
        let start = w.count
        w.u16(type)
        w.u16(0)
        body(&w)
        w.pad8(from: start)
        w.patch16(w.count - start, at: start + 2)
    }

    static func extended(_ subtype: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void = { _ in }) {
        standard(0xffff, &w) { w in
            w.u32(nicira)
            w.u16(subtype)
            body(&w)
        }
    }

    private static func encode(_ action: OFAction, _ v: OFVersion, _ w: inout WireWriter) {
        let is10 = v == .v10
        switch action {
        case .output(let port, let maxLength):
            standard(0, &w) { w in
                if is10 { w.u16(port.wire16) } else { w.u32(port.wire32) }
                w.u16(maxLength)
            }
        case .outputRegister(let s, let maxLength):
            let isLong = (s.field.row.header(version: v.rawValue)?.size ?? 4) > 4
            extended(isLong ? 32 : 15, &w) { w in
                w.u16(ofsNBits(s))
                if isLong { w.u16(maxLength) }
                w.oxmHeader(s.field, version: v.rawValue)
                if !isLong { w.u16(maxLength) }
            }
        case .outputTruncated(let port, let maxLength):
            extended(39, &w) { w in
                w.u16(port.wire16)
                w.u32(maxLength)
            }
        case .controller(let a): encodeController(a, v, &w)
        case .enqueue(let port, let queue):
            if is10 {
                standard(11, &w) { w in
                    w.u16(port.wire16)
                    w.zeros(6)
                    w.u32(queue)
                }
            } else {
                standard(21, &w) { $0.u32(queue) }
                standard(0, &w) { w in
                    w.u32(port.wire32)
                    w.u16(0xffff)
                }
                extended(5, &w)
            }
        case .group(let id):
            if is10 {
                extended(40, &w) { w in
                    w.u16(0)
                    w.u32(id)
                }
            } else {
                standard(22, &w) { $0.u32(id) }
            }
        case .bundle(let a):
            extended(a.destination == nil ? 12 : 13, &w) { w in
                w.u16(a.algorithm.rawValue)
                w.u16(a.fields.rawValue)
                w.u16(a.basis)
                w.u32(2)
                w.u16(UInt16(truncatingIfNeeded: a.members.count))
                w.u16(a.destination.map(ofsNBits) ?? 0)
                if let s = a.destination { w.oxmHeader(s.field, version: 0) } else { w.u32(0) }
                w.u32(0)
                for m in a.members { w.u16(m.wire16) }
            }
        case .setVLANVID(let vid, let context):
            if v >= .v11, context.pushIfNeeded, !context.flowHasVLAN { standard(17, &w) { $0.u16(0x8100) } }
            if v <= .v11 {
                standard(1, &w) { $0.u16(vid) }
            } else {
                setField(SetFieldAction(.vlanVID, UInt128(vid | 0x1000), mask: 0x1fff), v, &w)
            }
        case .setVLANPCP(let pcp, let context):
            if v >= .v11, context.pushIfNeeded, !context.flowHasVLAN { standard(17, &w) { $0.u16(0x8100) } }
            if v <= .v11 {
                standard(2, &w) { $0.u8(pcp) }
            } else {
                setField(SetFieldAction(.vlanPCP, UInt128(pcp)), v, &w)
            }
        case .stripVLAN: standard(is10 ? 3 : 18, &w)
        case .pushVLAN(let type):
            // OpenFlow 1.0 has nothing for it.
            if !is10 { standard(17, &w) { $0.u16(type) } }
        case .setEthSrc(let a): legacy(4, 3, .ethSrc, UInt128(a), v, &w) { $0.mac(a) }
        case .setEthDst(let a): legacy(5, 4, .ethDst, UInt128(a), v, &w) { $0.mac(a) }
        case .setIPv4Src(let a): legacy(6, 5, .ipv4Src, UInt128(a), v, &w) { $0.u32(a) }
        case .setIPv4Dst(let a): legacy(7, 6, .ipv4Dst, UInt128(a), v, &w) { $0.u32(a) }
        case .setIPDSCP(let tos): legacy(8, 7, .ipDSCPShifted, UInt128(tos >> 2), v, &w) { $0.u8(tos) }
        case .setIPECN(let ecn):
            if v == .v11 { standard(8, &w) { $0.u8(ecn) } } else { setField(SetFieldAction(.ipECN, UInt128(ecn)), v, &w) }
        case .setIPTTL(let ttl):
            if is10 {
                setField(SetFieldAction(.ipTTL, UInt128(ttl)), v, &w)
            } else {
                standard(23, &w) { $0.u8(ttl) }
            }
        case .setL4SrcPort(let port, let proto):
            let field: FieldID = proto == 17 ? .udpSrc : proto == 132 ? .sctpSrc : .tcpSrc
            legacy(9, 9, field, UInt128(port), v, &w) { $0.u16(port) }
        case .setL4DstPort(let port, let proto):
            let field: FieldID = proto == 17 ? .udpDst : proto == 132 ? .sctpDst : .tcpDst
            legacy(10, 10, field, UInt128(port), v, &w) { $0.u16(port) }
        case .setField(let a): setField(a, v, &w)
        case .regMove(let from, let to):
            func body(_ w: inout WireWriter) {
                w.u16(UInt16(truncatingIfNeeded: to.count))
                w.u16(UInt16(truncatingIfNeeded: from.low))
                w.u16(UInt16(truncatingIfNeeded: to.low))
            }
            if v >= .v15 {
                standard(28, &w) { w in
                    body(&w)
                    w.u16(0)
                    w.oxmHeader(from.field, version: v.rawValue)
                    w.oxmHeader(to.field, version: v.rawValue)
                }
            } else {
                extended(6, &w) { w in
                    body(&w)
                    w.oxmHeader(from.field, version: 0)
                    w.oxmHeader(to.field, version: 0)
                }
            }
        case .stackPush(let s): stack(27, s, &w)
        case .stackPop(let s): stack(28, s, &w)
        case .decTTL(let a):
            if a.hasIDs {
                extended(21, &w) { w in
                    w.u16(UInt16(truncatingIfNeeded: a.controllers.count))
                    w.zeros(4)
                    for id in a.controllers { w.u16(id) }
                }
            } else if is10 {
                extended(18, &w)
            } else {
                standard(24, &w)
            }
        case .setMPLSLabel(let label):
            if is10 {
                extended(30, &w) { w in
                    w.u16(0)
                    w.u32(label)
                }
            } else if v == .v11 {
                standard(13, &w) { $0.u32(label) }
            } else {
                setField(SetFieldAction(.mplsLabel, UInt128(label)), v, &w)
            }
        case .setMPLSTC(let tc):
            if is10 {
                extended(31, &w) { $0.u8(tc) }
            } else if v == .v11 {
                standard(14, &w) { $0.u8(tc) }
            } else {
                setField(SetFieldAction(.mplsTC, UInt128(tc)), v, &w)
            }
        case .setMPLSTTL(let ttl):
            if is10 { extended(25, &w) { $0.u8(ttl) } } else { standard(15, &w) { $0.u8(ttl) } }
        case .decMPLSTTL: if is10 { extended(26, &w) } else { standard(16, &w) }
        case .pushMPLS(let type):
            if is10 { extended(23, &w) { $0.u16(type) } } else { standard(19, &w) { $0.u16(type) } }
        case .popMPLS(let type):
            if is10 { extended(24, &w) { $0.u16(type) } } else { standard(20, &w) { $0.u16(type) } }
        case .decNSHTTL: extended(48, &w)
        case .deleteField(let field):
            extended(50, &w) { w in
                w.oxmHeader(field, version: v.rawValue)
                w.zeros(10)
            }
        case .setTunnel(let id, let wide):
            if v >= .v13 {
                setField(SetFieldAction(.tunID, UInt128(id)), v, &w)
            } else if wide || id > 0xffff_ffff {
                extended(9, &w) { w in
                    w.zeros(6)
                    w.u64(id)
                }
            } else if v == .v12 {
                setField(SetFieldAction(.tunID, UInt128(id)), v, &w)
            } else {
                extended(2, &w) { w in
                    w.u16(0)
                    w.u32(UInt32(truncatingIfNeeded: id))
                }
            }
        case .setQueue(let queue):
            if is10 {
                extended(4, &w) { w in
                    w.u16(0)
                    w.u32(queue)
                }
            } else {
                standard(21, &w) { $0.u32(queue) }
            }
        case .popQueue: extended(5, &w)
        case .resubmit(let a):
            extended(a.withCT ? 44 : a.table == 255 && a.form == .resubmit ? 1 : 14, &w) { w in
                w.u16(a.inPort.wire16)
                if !(a.table == 255 && a.form == .resubmit) { w.u8(a.table) }
            }
        case .gotoTable(let table) where v == .v10:
            // 1.0 has no instructions; going on elsewhere is a resubmit there.
            extended(14, &w) { w in
                w.u16(OFPort.inPort.wire16)
                w.u8(table)
            }
        case .clone(let inner):
            extended(42, &w) { w in
                w.zeros(6)
                encodeActions(inner, version: v, to: &w)
            }
        case .meter(let id) where v >= .v15: standard(29, &w) { $0.u32(id) }
        case .writeMetadata(let value, let mask) where is10:
            extended(22, &w) { w in
                w.zeros(6)
                w.u64(value)
                w.u64(mask)
            }
        case .meter, .clearActions, .writeActions, .writeMetadata, .gotoTable: break
        default: encodeStructured(action, v, &w)
        }
    }

    static func ofsNBits(_ s: Subfield) -> UInt16 { UInt16(truncatingIfNeeded: s.low << 6 | (s.count - 1) & 63) }

    /// An action of 1.0 and 1.1 that later versions write as a field set.
    private static func legacy(
        _ type10: UInt16, _ type11: UInt16, _ field: FieldID, _ value: UInt128, _ v: OFVersion, _ w: inout WireWriter,
        _ body: (inout WireWriter) -> Void
    ) {
        switch v {
        case .v10: standard(type10, &w, body)
        case .v11: standard(type11, &w, body)
        default: setField(SetFieldAction(field, value), v, &w)
        }
    }

    private static func stack(_ subtype: UInt16, _ s: Subfield, _ w: inout WireWriter) {
        extended(subtype, &w) { w in
            w.u16(UInt16(truncatingIfNeeded: s.low))
            w.oxmHeader(s.field, version: 0)
            w.u16(UInt16(truncatingIfNeeded: s.count))
            w.zeros(max(0, 6 - ((s.field.row.header(version: 0)?.size ?? 4) - 4)))
        }
    }

    /// A field set in a version's own way: before 1.5, a masked one becomes register loads.
    static func setField(_ a: SetFieldAction, _ v: OFVersion, _ w: inout WireWriter) {
        let row = a.field.row
        if a.field.isTunnelOption {
            let size = a.wideValue.count
            let exact = a.wideMask.allSatisfy { $0 == 0xff }
            let body: (inout WireWriter) -> Void = { w in
                w.oxmHeader(a.field, version: v.rawValue, hasMask: !exact, size: size)
                w.array(a.wideValue)
                if !exact { w.array(a.wideMask) }
            }
            if v >= .v15 || (v >= .v12 && exact) {
                standard(25, &w, body)
            } else {
                extended(33, &w, body)
            }
            return
        }
        if a.mask == 0 { return }
        let full: UInt128 = a.field == .vlanVID ? 0x1fff : a.field == .ipDSCP ? 0xfc : row.allOnes
        let exact = a.mask & full == full
        if v >= .v15 || (v >= .v12 && exact && !a.fromLoad) {
            standard(25, &w) { w in
                w.oxmHeader(a.field, version: v.rawValue, hasMask: !exact)
                w.uint(a.value, size: row.bytes)
                if !exact { w.uint(a.mask, size: row.bytes) }
            }
            return
        }
        if v <= .v11, !a.fromLoad, legacySet(a, v, &w) { return }
        // One load for each run of bits, 64 at most.
        if row.header(version: 0)?.size == 8 {
            extended(33, &w) { w in
                w.oxmHeader(a.field, version: v.rawValue, hasMask: !exact)
                w.uint(a.value, size: row.bytes)
                if !exact { w.uint(a.mask, size: row.bytes) }
            }
            return
        }
        var mask = a.mask & row.allOnes
        while mask != 0 {
            let low = mask.trailingZeroBitCount
            let count = min((~(mask >> UInt128(low))).trailingZeroBitCount, 64, row.bits - low)
            let ones: UInt128 = (1 << UInt128(count)) - 1
            extended(7, &w) { w in
                w.u16(UInt16(low << 6 | (count - 1)))
                w.oxmHeader(a.field, version: v <= .v11 ? 0 : v.rawValue)
                w.u64(UInt64(truncatingIfNeeded: (a.value >> UInt128(low)) & ones))
            }
            mask &= ~(ones << UInt128(low))
        }
    }

    /// Writes a whole-field set as the action that 1.0 and 1.1 have for it.
    private static func legacySet(_ a: SetFieldAction, _ v: OFVersion, _ w: inout WireWriter) -> Bool {
        let n = UInt64(truncatingIfNeeded: a.value)
        let action: OFAction
        switch a.field {
        case .vlanTCI, .tunID: return false
        case .vlanVID, .dlVLAN:
            action = .setVLANVID(
                UInt16(n & 0xfff), VLANContext(pushIfNeeded: false, flowHasVLAN: a.flowHasVLAN))
        case .vlanPCP, .dlVLANPCP:
            action = .setVLANPCP(UInt8(n & 7), VLANContext(pushIfNeeded: false, flowHasVLAN: a.flowHasVLAN))
        case .ethSrc: action = .setEthSrc(n)
        case .ethDst: action = .setEthDst(n)
        case .ipv4Src: action = .setIPv4Src(UInt32(truncatingIfNeeded: n))
        case .ipv4Dst: action = .setIPv4Dst(UInt32(truncatingIfNeeded: n))
        case .ipDSCP: action = .setIPDSCP(UInt8(n & 0xfc))
        case .ipDSCPShifted: action = .setIPDSCP(UInt8(n & 0x3f) << 2)
        case .ipECN where v == .v11: action = .setIPECN(UInt8(n & 3))
        case .tcpSrc, .udpSrc: action = .setL4SrcPort(UInt16(truncatingIfNeeded: n), ipProto: 0)
        case .tcpDst, .udpDst: action = .setL4DstPort(UInt16(truncatingIfNeeded: n), ipProto: 0)
        default: return false
        }
        encode(action, v, &w)
        return true
    }

    private static func encodeController(_ a: ControllerAction, _ v: OFVersion, _ w: inout WireWriter) {
        if a.userdata.isEmpty, !a.pause, a.meterID == .max {
            if !a.extended, a.controllerID == 0, a.reason == .action {
                encode(.output(.controller, maxLength: a.maxLength), v, &w)
                return
            }
            extended(20, &w) { w in
                w.u16(a.maxLength)
                w.u16(a.controllerID)
                w.u8(a.reason.rawValue)
            }
            return
        }
        extended(37, &w) { w in
            w.zeros(6)
            // Numbers are padded within their property, texts after it.
            func property(_ type: UInt16, _ w: inout WireWriter, _ body: (inout WireWriter) -> Void) {
                let start = w.count
                w.u16(type)
                w.u16(0)
                body(&w)
                w.patch16(w.count - start, at: start + 2)
                w.pad8(from: start)
            }
            if a.maxLength != 0xffff { property(0, &w) { $0.u32(UInt32(a.maxLength) << 16) } }
            if a.controllerID != 0 { property(1, &w) { $0.u32(UInt32(a.controllerID) << 16) } }
            if a.reason != .action { property(2, &w) { $0.u32(UInt32(a.reason.rawValue) << 24) } }
            if !a.userdata.isEmpty { property(3, &w) { $0.array(a.userdata) } }
            if a.pause { property(4, &w) { _ in } }
            if a.meterID != .max { property(5, &w) { $0.u32(a.meterID) } }
        }
    }
}
