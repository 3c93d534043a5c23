// Connections as ctnetlink has them (linux/netfilter/nfnetlink_conntrack.h).

import CLinux
import Dpif
import Glibc
import Packet

enum ConntrackEntryCodec {
    private static func type(_ t: ctattr_type) -> Int { Int(t.rawValue) }

    /// Throws EINVAL for a message without both directions.
    static func entry(_ message: NetlinkMessage) throws(DpifError) -> ConntrackEntry {
        // struct nfgenmsg
        let attributes = try message.attributes(after: 4)
        guard let original = attributes[type(CTA_TUPLE_ORIG)], let reply = attributes[type(CTA_TUPLE_REPLY)] else {
            throw DpifError(EINVAL, "connection without its directions")
        }
        var entry = ConntrackEntry(
            original: try tuple(original.nested()), reply: try tuple(reply.nested()),
            zone: attributes[type(CTA_ZONE)]?.network(UInt16.self) ?? 0,
            timeout: Int64(attributes[type(CTA_TIMEOUT)]?.network(UInt32.self) ?? 0))
        entry.mark = attributes[type(CTA_MARK)]?.network(UInt32.self) ?? 0
        entry.label = attributes[type(CTA_LABELS)]?.host(UInt128.self) ?? 0
        if let master = attributes[type(CTA_TUPLE_MASTER)] { entry.parent = try tuple(master.nested()) }
        if let help = attributes[type(CTA_HELP)] { entry.helper = try help.nested()[Int(CTA_HELP_NAME.rawValue)]?.string }
        if let info = attributes[type(CTA_PROTOINFO)], let tcp = try info.nested()[Int(CTA_PROTOINFO_TCP.rawValue)] {
            entry.tcp = try tcpEnds(tcp.nested())
        }
        return entry
    }

    private static func tuple(_ attributes: AttributeList) throws(DpifError) -> ConntrackEntry.Tuple {
        var t = ConntrackEntry.Tuple()
        for address in try attributes[Int(CTA_TUPLE_IP.rawValue)]?.nested().all ?? [] {
            switch address.type {
            case Int(CTA_IP_V4_SRC.rawValue): t.source = UInt128(address.network(UInt32.self) ?? 0)
            case Int(CTA_IP_V4_DST.rawValue): t.destination = UInt128(address.network(UInt32.self) ?? 0)
            case Int(CTA_IP_V6_SRC.rawValue):
                t.source = address.network(UInt128.self) ?? 0
                t.isIPv6 = true
            case Int(CTA_IP_V6_DST.rawValue):
                t.destination = address.network(UInt128.self) ?? 0
                t.isIPv6 = true
            default: break
            }
        }
        for part in try attributes[Int(CTA_TUPLE_PROTO.rawValue)]?.nested().all ?? [] {
            switch part.type {
            case Int(CTA_PROTO_NUM.rawValue): t.proto = part.payload.first ?? 0
            case Int(CTA_PROTO_SRC_PORT.rawValue): t.sourcePort = part.network(UInt16.self) ?? 0
            case Int(CTA_PROTO_DST_PORT.rawValue): t.destinationPort = part.network(UInt16.self) ?? 0
            case Int(CTA_PROTO_ICMP_ID.rawValue), Int(CTA_PROTO_ICMPV6_ID.rawValue): t.icmpID = part.network(UInt16.self) ?? 0
            case Int(CTA_PROTO_ICMP_TYPE.rawValue), Int(CTA_PROTO_ICMPV6_TYPE.rawValue): t.icmpType = part.payload.first ?? 0
            case Int(CTA_PROTO_ICMP_CODE.rawValue), Int(CTA_PROTO_ICMPV6_CODE.rawValue): t.icmpCode = part.payload.first ?? 0
            default: break
            }
        }
        return t
    }

    /// TCP_CONNTRACK_* of linux/netfilter/nf_conntrack_tcp.h.
    private static let states = [
        "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT_1", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
    ]

    private static func tcpEnds(_ attributes: AttributeList) throws(DpifError) -> (ConntrackEntry.TCPEnd, ConntrackEntry.TCPEnd) {
        let state = attributes[Int(CTA_PROTOINFO_TCP_STATE.rawValue)]?.payload.first ?? 0
        func end(_ shift: ctattr_protoinfo_tcp, _ flags: ctattr_protoinfo_tcp) -> ConntrackEntry.TCPEnd {
            // struct nf_ct_tcp_flags: IP_CT_TCP_FLAG_WINDOW_SCALE 1, IP_CT_TCP_FLAG_BE_LIBERAL 8.
            let bits = attributes[Int(flags.rawValue)]?.payload.first ?? 0
            return ConntrackEntry.TCPEnd(
                state: Int(state) < states.count ? states[Int(state)] : String(state), rank: state,
                windowShift: bits & 1 != 0 ? attributes[Int(shift.rawValue)]?.payload.first ?? 0 : nil, isLiberal: bits & 8 != 0)
        }
        return (
            end(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL),
            end(CTA_PROTOINFO_TCP_WSCALE_REPLY, CTA_PROTOINFO_TCP_FLAGS_REPLY)
        )
    }

    /// Writes the direction that names a connection.
    static func write(_ t: ConntrackEntry.Tuple, to w: inout NetlinkMessageWriter) {
        w.flaggedNest(type(CTA_TUPLE_ORIG)) {
            $0.flaggedNest(Int(CTA_TUPLE_IP.rawValue)) {
                if t.isIPv6 {
                    $0.attribute(Int(CTA_IP_V6_SRC.rawValue), network: t.source)
                    $0.attribute(Int(CTA_IP_V6_DST.rawValue), network: t.destination)
                } else {
                    $0.attribute(Int(CTA_IP_V4_SRC.rawValue), network: UInt32(truncatingIfNeeded: t.source))
                    $0.attribute(Int(CTA_IP_V4_DST.rawValue), network: UInt32(truncatingIfNeeded: t.destination))
                }
            }
            $0.flaggedNest(Int(CTA_TUPLE_PROTO.rawValue)) {
                $0.attribute(Int(CTA_PROTO_NUM.rawValue), host: t.proto)
                switch t.proto {
                case IPProtocol.icmp, IPProtocol.icmpv6:
                    let (id, kind, code) =
                        t.proto == IPProtocol.icmp
                        ? (CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE)
                        : (CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE)
                    $0.attribute(Int(id.rawValue), network: t.icmpID)
                    $0.attribute(Int(kind.rawValue), host: t.icmpType)
                    $0.attribute(Int(code.rawValue), host: t.icmpCode)
                default:
                    $0.attribute(Int(CTA_PROTO_SRC_PORT.rawValue), network: t.sourcePort)
                    $0.attribute(Int(CTA_PROTO_DST_PORT.rawValue), network: t.destinationPort)
                }
            }
        }
    }
}
