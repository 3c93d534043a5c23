// Connections as others are shown them, and as they name them: `dump-conntrack`, `flush-conntrack`.

import Dpif
import Flow
import Packet

extension ConnectionKey {
    init(_ t: ConntrackEntry.Tuple, zone: UInt16) {
        self.init(isIPv6: t.isIPv6, proto: t.proto, zone: zone, source: t.source, destination: t.destination)
        if isICMP {
            let answers: [UInt8: UInt8] = [8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 128: 129, 129: 128]
            sourcePort = UInt16(t.icmpType) << 8 | UInt16(t.icmpCode)
            destinationPort = UInt16(answers[t.icmpType] ?? 0) << 8 | UInt16(t.icmpCode)
            icmpID = t.icmpID
        } else if hasPorts {
            sourcePort = t.sourcePort
            destinationPort = t.destinationPort
        }
    }

    var tuple: ConntrackEntry.Tuple {
        var t = ConntrackEntry.Tuple()
        t.isIPv6 = isIPv6
        t.proto = proto
        t.source = source
        t.destination = destination
        if isICMP {
            t.icmpType = UInt8(sourcePort >> 8)
            t.icmpCode = UInt8(sourcePort & 0xff)
            t.icmpID = icmpID
        } else {
            t.sourcePort = sourcePort
            t.destinationPort = destinationPort
        }
        return t
    }
}

extension Connection {
    func entry(_ now: Int64) -> ConntrackEntry {
        let s = state.withLock { $0 }
        var e = ConntrackEntry(
            original: key.tuple, reply: replyKey.tuple, zone: key.zone, timeout: max(0, s.deadline - now) / 1000)
        e.parent = parent?.tuple
        e.mark = s.mark
        e.label = s.label
        e.helper = helper
        if case .tcp(let tcp) = s.progress {
            func end(_ end: TCPTracking.End) -> ConntrackEntry.TCPEnd {
                var shift: UInt8?
                if case .shift(let n) = end.scale { shift = n }
                return .init(
                    state: end.state.name, rank: end.state.rawValue, windowShift: shift, isLiberal: end.scale == .unknown)
            }
            e.tcp = (end(tcp.origin), end(tcp.peer))
        }
        return e
    }
}
