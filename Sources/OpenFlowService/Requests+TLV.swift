// The map from tunnel options (Geneve) to tun_metadata fields: NXT_TLV_TABLE_MOD and NXT_TLV_TABLE_REQUEST.

import Flow
import OpenFlow
import Ofproto

/// The bridge's map.
struct TLVState {
    struct Mapping: Hashable {
        var optionClass: UInt16
        var type: UInt8
        var length: UInt8
        var index: UInt16
    }
    private(set) var mappings: [Mapping] = []
    private var table = TunnelOptionMap()
    /// Nil while nothing is mapped.
    var map: TunnelOptionMap? { mappings.isEmpty ? nil : table }

    mutating func add(_ new: [Mapping]) throws(OFError) {
        var changed = self
        for m in new {
            guard m.index < 64 else { throw .nxttmfcBadFieldIdx }
            guard m.length <= 124, m.length % 4 == 0 else { throw .nxttmfcBadOptLen }
            if changed.mappings.contains(where: { $0.index == m.index }) { throw .nxttmfcAlreadyMapped }
            if changed.mappings.contains(where: { $0.optionClass == m.optionClass && $0.type == m.type }) {
                throw .nxttmfcDupEntry
            }
            guard
                changed.table.add(
                    index: Int(m.index), optionClass: m.optionClass, optionType: m.type, length: Int(m.length))
            else { throw .nxttmfcTableFull }
            changed.mappings.append(m)
        }
        self = changed
    }

    mutating func remove(_ old: [Mapping]) {
        for m in old {
            mappings.removeAll { $0.index == m.index }
            table.remove(index: Int(m.index))
        }
    }

    mutating func clear() {
        mappings = []
        table.removeAll()
    }
}

extension OpenFlowConnection {
    func tlvTableMod(_ m: OFMessage) throws(OFError) {
        var r = m.body
        let command = try r.u16()
        try r.skip(6)
        guard command <= 2 else { throw .nxttmfcBadCommand }
        var mappings: [TLVState.Mapping] = []
        while !r.isEmpty {
            let optionClass = try r.u16()
            let type = try r.u8()
            let length = try r.u8()
            let index = try r.u16()
            try r.skip(2)
            mappings.append(TLVState.Mapping(optionClass: optionClass, type: type, length: length, index: index))
        }
        switch command {
        case 0: try service.tlv.add(mappings)
        case 1:
            try checkUnused()
            service.tlv.remove(mappings)
        default:
            try checkUnused()
            service.tlv.clear()
        }
        owner.tunnelOptions = service.tlv.map
    }

    /// Options that flows match stay mapped.
    private func checkUnused() throws(OFError) {
        let words = Location.tunOptionsFirstWord..<(Location.tunOptionsFirstWord + Location.tunOptionWords)
        for table in owner.tables.used where table.count > 0 {
            var isUsed = false
            table.forEach { rule in
                let mask = rule.match.mask
                isUsed = isUsed || !mask.isWild(Location.tunOptionsPresent) || words.contains { mask.bits.words[$0] != 0 }
            }
            if isUsed { throw .nxttmfcInvalidTlvDel }
        }
    }

    func tlvTableRequest(_ m: OFMessage) {
        var w = WireWriter.experimenter(m.version, 26, xid: m.xid)
        w.u32(256)
        w.u16(64)
        w.zeros(10)
        for mapping in service.tlv.mappings {
            w.u16(mapping.optionClass)
            w.u8(mapping.type)
            w.u8(mapping.length)
            w.u16(mapping.index)
            w.u16(0)
        }
        send(w.finish())
    }
}
