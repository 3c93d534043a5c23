// Encoding Nicira's larger actions, which are the same in every version.

import Flow

extension ActionCodec {
    static func encodeStructured(_ action: OFAction, _ v: OFVersion, _ w: inout WireWriter) {
        switch action {
        case .finTimeout(let idle, let hard):
            extended(19, &w) { w in
                w.u16(idle)
                w.u16(hard)
            }
        case .note(let bytes):
            extended(8, &w) { $0.array(bytes) }
        case .exit: extended(17, &w)
        case .debugRecirc: extended(255, &w)
        case .debugSlow: extended(254, &w)
        case .ctClear: extended(43, &w)
        case .conjunction(let id, let clause, let count):
            extended(34, &w) { w in
                w.u8(clause)
                w.u8(count)
                w.u32(id)
            }
        case .multipath(let a):
            extended(10, &w) { w in
                w.u16(a.fields.rawValue)
                w.u16(a.basis)
                w.u16(0)
                w.u16(a.algorithm.rawValue)
                w.u16(a.maxLink)
                w.u32(a.argument)
                w.u16(0)
                w.u16(ofsNBits(a.destination))
                w.oxmHeader(a.destination.field, version: 0)
            }
        case .sample(let a):
            let subtype: UInt16 =
                a.form == .sample3 || a.direction != .unspecified
                ? 41 : a.form == .sample2 || a.samplingPort != .none ? 38 : 29
            extended(subtype, &w) { w in
                w.u16(a.probability)
                w.u32(a.collectorSet)
                w.u32(a.observationDomain)
                w.u32(a.observationPoint)
                guard subtype != 29 else { return }
                w.u16(a.samplingPort.wire16)
                if subtype == 41 { w.u8(a.direction.rawValue) }
            }
        case .checkPacketLarger(let size, let s):
            extended(49, &w) { w in
                w.u16(size)
                w.u16(UInt16(truncatingIfNeeded: s.low))
                w.oxmHeader(s.field, version: 0)
                w.zeros(6)
            }
        case .learn(let a): encodeLearn(a, &w)
        case .ct(let a):
            extended(35, &w) { w in
                w.u16((a.commit ? 1 : 0) | (a.force ? 2 : 0))
                if let s = a.zoneSource {
                    w.oxmHeader(s.field, version: 0)
                    w.u16(ofsNBits(s))
                } else {
                    w.u32(0)
                    w.u16(a.zone)
                }
                w.u8(a.recircTable)
                w.zeros(3)
                w.u16(a.alg)
                encodeActions(a.actions, version: v, to: &w)
            }
        case .nat(let a): encodeNAT(a, &w)
        case .encap(let a):
            extended(46, &w) { w in
                w.u16(a.headerSize)
                w.u32(a.packetType)
                for p in a.properties {
                    let start = w.count
                    w.u16(4)
                    switch p.kind {
                    case .nshMDType(let type):
                        w.u8(1)
                        w.u8(5)
                        w.u8(type)
                    case .nshTLV(let tlvClass, let type, let value):
                        w.u8(2)
                        w.u8(UInt8(truncatingIfNeeded: (8 + value.count + 7) / 8 * 8))
                        w.u16(tlvClass)
                        w.u8(type)
                        w.u8(UInt8(truncatingIfNeeded: value.count))
                        w.array(value)
                    }
                    w.pad8(from: start)
                }
            }
        case .decap(let type):
            extended(47, &w) { w in
                w.u16(0)
                w.u32(type)
            }
        default: break
        }
    }

    private static func encodeNAT(_ a: NATAction, _ w: inout WireWriter) {
        extended(36, &w) { w in
            w.u16(0)
            w.u16(a.flags.rawValue)
            var present: UInt16 = 0
            switch a.addresses {
            case .none: break
            case .ipv4(_, let high): present |= high != 0 ? 3 : 1
            case .ipv6(_, let high): present |= high != 0 ? 12 : 4
            }
            if a.portMin != 0 { present |= a.portMax != 0 ? 48 : 16 }
            w.u16(present)
            switch a.addresses {
            case .none: break
            case .ipv4(let low, let high):
                w.u32(low)
                if high != 0 { w.u32(high) }
            case .ipv6(let low, let high):
                w.u128(low)
                if high != 0 { w.u128(high) }
            }
            if a.portMin != 0 {
                w.u16(a.portMin)
                if a.portMax != 0 { w.u16(a.portMax) }
            }
        }
    }

    private static func encodeLearn(_ a: LearnAction, _ w: inout WireWriter) {
        let isLearn2 = a.isLearn2 || a.limit != 0 || a.flags.contains(.writeResult)
        extended(isLearn2 ? 45 : 16, &w) { w in
            w.u16(a.idleTimeout)
            w.u16(a.hardTimeout)
            w.u16(a.priority)
            w.u64(a.cookie)
            w.u16(a.flags.rawValue)
            w.u8(a.table)
            w.u8(0)
            w.u16(a.finIdleTimeout)
            w.u16(a.finHardTimeout)
            if isLearn2 {
                w.u32(a.limit)
                w.u16(UInt16(truncatingIfNeeded: a.result?.low ?? 0))
                w.u16(0)
                if let s = a.result { w.oxmHeader(s.field, version: 0) }
            }
            for spec in a.specs {
                var header = UInt16(truncatingIfNeeded: spec.bits & 0x7ff)
                if case .immediate = spec.source { header |= 0x2000 }
                switch spec.destination {
                case .match: break
                case .load: header |= 1 << 11
                case .output: header |= 2 << 11
                }
                w.u16(header)
                switch spec.source {
                case .field(let s):
                    w.oxmHeader(s.field, version: 0)
                    w.u16(UInt16(truncatingIfNeeded: s.low))
                case .immediate(let value):
                    let size = (spec.bits + 15) / 16 * 2
                    w.zeros(size - 16)
                    w.uint(value, size: min(size, 16))
                }
                switch spec.destination {
                case .match(let s), .load(let s):
                    w.oxmHeader(s.field, version: 0)
                    w.u16(UInt16(truncatingIfNeeded: s.low))
                case .output: break
                }
            }
        }
    }
}
