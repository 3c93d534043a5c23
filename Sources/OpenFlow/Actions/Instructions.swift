// The instructions of OpenFlow 1.1 and later, around the lists of actions; and the actions alone of OpenFlow 1.0.

import Flow

extension ActionCodec {
    /// Decodes what a flow does, to the end of the reader: actions in OpenFlow 1.0, instructions in later versions.
    public static func decodeFlowActions(
        _ reader: inout WireReader, _ context: ActionContext
    ) throws(OFError) -> [OFAction] {
        if context.version == .v10 {
            let actions = try decodeActions(&reader, context)
            return try verifyOrder(actions)
        }
        return try decodeInstructions(&reader, context)
    }

    /// Decodes a list of `length` bytes of actions, as in packet-out and buckets.
    public static func decodeActionList(
        _ reader: inout WireReader, length: Int, _ context: ActionContext
    ) throws(OFError) -> [OFAction] {
        guard length % 8 == 0 else { throw .brcBadLen }
        var part = try reader.part(length, error: .brcBadLen)
        return try decodeActions(&part, context)
    }

    /// The actions that may stand in an action set.
    static func checkActionSet(_ actions: [OFAction]) throws(OFError) {
        for a in actions {
            switch a {
            case .output, .group, .setVLANVID, .setVLANPCP, .stripVLAN, .pushVLAN, .setEthSrc, .setEthDst, .setIPv4Src,
                .setIPv4Dst, .setIPDSCP, .setIPECN, .setIPTTL, .setL4SrcPort, .setL4DstPort, .setField, .regMove,
                .decTTL, .setMPLSLabel, .setMPLSTC, .setMPLSTTL, .decMPLSTTL, .pushMPLS, .popMPLS, .decNSHTTL,
                .deleteField, .encap, .decap, .setTunnel, .setQueue, .resubmit, .ct, .ctClear, .nat:
                break
            default: throw .bacBadType
            }
        }
    }

    /// Nicira's write_metadata comes last, in OpenFlow 1.0.
    private static func verifyOrder(_ actions: [OFAction]) throws(OFError) -> [OFAction] {
        var ended = false
        for a in actions {
            if ended { throw .bacUnsupportedOrder }
            if case .writeMetadata = a { ended = true }
        }
        return actions
    }

    /// The size of an instruction, or of its head where actions follow. Throws when there is none of the type.
    private static func size(ofInstruction type: UInt16) throws(OFError) -> (bytes: Int, hasActions: Bool) {
        switch type {
        case 1, 5, 6: return (8, false)
        case 2: return (24, false)
        case 3, 4: return (8, true)
        case 0xffff: throw .bicBadExperimenter
        default: throw .bicUnknownInst
        }
    }

    private static func decodeInstructions(
        _ reader: inout WireReader, _ context: ActionContext
    ) throws(OFError) -> [OFAction] {
        // All are found to be in order before any is looked into.
        var bodies = InlineArray<7, WireReader?>(repeating: nil)
        while !reader.isEmpty {
            guard let type = reader.peek16(), let length = reader.peek16(2).map(Int.init), length >= 8, length % 8 == 0,
                length <= reader.remaining
            else { throw .bicBadLen }
            let size = try size(ofInstruction: type)
            guard size.hasActions || length == size.bytes else { throw .bicBadLen }
            guard type != 6 || context.version < .v15 else { throw .bicUnknownInst }
            var body = try reader.part(length, error: .bicBadLen)
            try body.skip(4)
            guard bodies[Int(type)] == nil else { throw .bicDupInst }
            bodies[Int(type)] = body
        }
        var meter: OFAction?
        var apply: [OFAction]?
        var write: OFAction?
        var metadata: OFAction?
        if var r = bodies[6] { meter = .meter(try r.u32()) }
        if var r = bodies[4] {
            try r.skip(4)
            apply = try decodeActions(&r, context)
        }
        if var r = bodies[3] {
            try r.skip(4)
            let actions = try decodeActions(&r, context)
            try checkActionSet(actions)
            write = .writeActions(actions)
        }
        if var r = bodies[2] {
            try r.skip(4)
            let value = try r.u64()
            metadata = .writeMetadata(value: value, mask: try r.u64())
        }
        let clear = bodies[5] != nil
        var next: OFAction?
        if var r = bodies[1] { next = .gotoTable(try r.u8()) }
        var all: [OFAction] = []
        if let meter { all.append(meter) }
        if let apply { all += apply }
        if clear { all.append(.clearActions) }
        if let write { all.append(write) }
        if let metadata { all.append(metadata) }
        if let next { all.append(next) }
        return all
    }

    /// Appends what a flow does, in a version's form.
    public static func encodeFlowActions(_ actions: [OFAction], version v: OFVersion, to w: inout WireWriter) {
        if v == .v10 {
            encodeActions(actions, version: v, to: &w)
            return
        }
        if v >= .v13, v < .v15 {
            for case .meter(let id) in actions {
                w.u16(6)
                w.u16(8)
                w.u32(id)
            }
        }
        func list(_ type: UInt16, _ list: [OFAction], _ w: inout WireWriter, always: Bool) {
            let start = w.count
            w.u16(type)
            w.u16(0)
            w.u32(0)
            encodeActions(list, version: v, to: &w)
            if w.count == start + 8, !always {
                w.bytes.removeLast(8)
            } else {
                w.patch16(w.count - start, at: start + 2)
            }
        }
        list(4, actions, &w, always: false)
        for a in actions {
            switch a {
            case .clearActions:
                w.u16(5)
                w.u16(8)
                w.u32(0)
            case .writeActions(let inner): list(3, inner, &w, always: true)
            case .writeMetadata(let value, let mask):
                w.u16(2)
                w.u16(24)
                w.u32(0)
                w.u64(value)
                w.u64(mask)
            case .gotoTable(let table):
                w.u16(1)
                w.u16(8)
                w.u8(table)
                w.zeros(3)
            default: break
            }
        }
    }
}
