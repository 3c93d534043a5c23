// The `ct` action and its address translation (OVS_CT_ATTR_*, OVS_NAT_ATTR_*).

import CLinux
import Dpif

enum ConntrackActionCodec {
    private static func type(_ t: ovs_ct_attr) -> Int { Int(t.rawValue) }
    private static func type(_ t: ovs_nat_attr) -> Int { Int(t.rawValue) }

    static func write(_ ct: DpConntrack, to w: inout NetlinkMessageWriter) {
        w.nest(Int(OVS_ACTION_ATTR_CT.rawValue)) {
            if ct.commit { $0.flag(type(ct.force ? OVS_CT_ATTR_FORCE_COMMIT : OVS_CT_ATTR_COMMIT)) }
            if ct.zone != 0 { $0.attribute(type(OVS_CT_ATTR_ZONE), host: ct.zone) }
            if let mark = ct.mark {
                $0.attribute(type(OVS_CT_ATTR_MARK)) {
                    $0.host(mark.value)
                    $0.host(mark.mask)
                }
            }
            if let label = ct.label {
                $0.attribute(type(OVS_CT_ATTR_LABELS)) {
                    $0.host(label.value)
                    $0.host(label.mask)
                }
            }
            if let helper = ct.helper { $0.attribute(type(OVS_CT_ATTR_HELPER), string: helper) }
            if let events = ct.eventMask { $0.attribute(type(OVS_CT_ATTR_EVENTMASK), host: events) }
            if let policy = ct.timeoutPolicy { $0.attribute(type(OVS_CT_ATTR_TIMEOUT), string: policy) }
            if let nat = ct.nat { $0.nest(type(OVS_CT_ATTR_NAT)) { write(nat, to: &$0) } }
        }
    }

    private static func write(_ nat: DpNAT, to w: inout NetlinkMessageWriter) {
        switch nat.kind {
        case .none: return
        case .source: w.flag(type(OVS_NAT_ATTR_SRC))
        case .destination: w.flag(type(OVS_NAT_ATTR_DST))
        }
        if let range = nat.addresses {
            for (t, address) in [(OVS_NAT_ATTR_IP_MIN, range.lowerBound), (OVS_NAT_ATTR_IP_MAX, range.upperBound)]
            where t == OVS_NAT_ATTR_IP_MIN || range.upperBound != range.lowerBound {
                if nat.isIPv6 {
                    w.attribute(type(t), network: address)
                } else {
                    w.attribute(type(t), network: UInt32(truncatingIfNeeded: address))
                }
            }
        }
        if let ports = nat.ports {
            w.attribute(type(OVS_NAT_ATTR_PROTO_MIN), host: ports.lowerBound)
            if ports.upperBound != ports.lowerBound { w.attribute(type(OVS_NAT_ATTR_PROTO_MAX), host: ports.upperBound) }
        }
        if nat.persistent { w.flag(type(OVS_NAT_ATTR_PERSISTENT)) }
        if nat.hashPorts { w.flag(type(OVS_NAT_ATTR_PROTO_HASH)) }
        if nat.random { w.flag(type(OVS_NAT_ATTR_PROTO_RANDOM)) }
    }

    static func read(_ attributes: AttributeList) throws(DpifError) -> DpConntrack {
        var ct = DpConntrack()
        for a in attributes {
            func take<T: FixedWidthInteger>(_: T.Type, _ offset: Int = 0) throws(DpifError) -> T {
                guard let value = T(host: a.payload.dropFirst(offset)) else {
                    throw DpifError(EINVAL_, "ct attribute \(a.type) of \(a.payload.count) bytes")
                }
                return value
            }
            switch a.type {
            case type(OVS_CT_ATTR_COMMIT): ct.commit = true
            case type(OVS_CT_ATTR_FORCE_COMMIT):
                ct.commit = true
                ct.force = true
            case type(OVS_CT_ATTR_ZONE): ct.zone = try take(UInt16.self)
            case type(OVS_CT_ATTR_MARK): ct.mark = .init(try take(UInt32.self), try take(UInt32.self, 4))
            case type(OVS_CT_ATTR_LABELS): ct.label = .init(try take(UInt128.self), try take(UInt128.self, 16))
            case type(OVS_CT_ATTR_HELPER): ct.helper = a.string
            case type(OVS_CT_ATTR_EVENTMASK): ct.eventMask = try take(UInt32.self)
            case type(OVS_CT_ATTR_TIMEOUT): ct.timeoutPolicy = a.string
            case type(OVS_CT_ATTR_NAT): ct.nat = try readNAT(a.nested())
            default: break
            }
        }
        return ct
    }

    private static func readNAT(_ attributes: AttributeList) throws(DpifError) -> DpNAT {
        var nat = DpNAT()
        func address(_ t: ovs_nat_attr) throws(DpifError) -> UInt128? {
            guard let a = attributes[type(t)] else { return nil }
            guard a.payload.count == 4 || a.payload.count == 16 else { throw DpifError(EINVAL_, "nat address of \(a.payload.count) bytes") }
            nat.isIPv6 = a.payload.count == 16
            return a.payload.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        }
        if attributes[type(OVS_NAT_ATTR_SRC)] != nil { nat.kind = .source }
        if attributes[type(OVS_NAT_ATTR_DST)] != nil { nat.kind = .destination }
        if let low = try address(OVS_NAT_ATTR_IP_MIN) {
            let high = try address(OVS_NAT_ATTR_IP_MAX) ?? low
            guard low <= high else { throw DpifError(EINVAL_, "nat address range") }
            nat.addresses = low...high
        }
        if let low = attributes[type(OVS_NAT_ATTR_PROTO_MIN)]?.host(UInt16.self) {
            let high = attributes[type(OVS_NAT_ATTR_PROTO_MAX)]?.host(UInt16.self) ?? low
            guard low <= high else { throw DpifError(EINVAL_, "nat port range") }
            nat.ports = low...high
        }
        nat.persistent = attributes[type(OVS_NAT_ATTR_PERSISTENT)] != nil
        nat.hashPorts = attributes[type(OVS_NAT_ATTR_PROTO_HASH)] != nil
        nat.random = attributes[type(OVS_NAT_ATTR_PROTO_RANDOM)] != nil
        return nat
    }
}
