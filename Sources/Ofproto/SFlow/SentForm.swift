// What a flow's actions put around its packets before these leave: a tunnel's header, MPLS labels.

import Dpif
import Flow
import Packet

/// The outer header of a tunnel as far as collectors are told of it.
struct OuterHeader: Equatable {
    var ipProtocol: UInt8
    var source: UInt32
    var destination: UInt32
    var sourcePort: UInt16
    var destinationPort: UInt16
    var tos: UInt8
    var id: UInt64

    /// Of a packet that came out of a tunnel or goes into one, as its key says.
    init(_ key: FlowKey, ipProtocol: UInt8) {
        self.ipProtocol = ipProtocol
        source = key.tunSrc
        destination = key.tunDst
        sourcePort = UInt16(truncatingIfNeeded: key[Location.tunTpSrc])
        destinationPort = UInt16(truncatingIfNeeded: key[Location.tunTpDst])
        tos = key.tunTOS
        id = key.tunID
    }

    /// Of a header that `tunnelPush` adds, whose lengths are not filled in yet; nil: it is not IPv4.
    init?(_ header: TunnelHeader) {
        func number(_ at: Int, _ size: Int) -> UInt64? {
            let bytes = header.header.dropFirst(at).prefix(size)
            return bytes.count == size ? bytes.reduce(0) { $0 << 8 | UInt64($1) } : nil
        }
        let ip = 14
        guard number(12, 2) == UInt64(EtherType.ipv4), let first = number(ip, 1), let tos = number(ip + 1, 1),
            let proto = number(ip + 9, 1),
            let source = number(ip + 12, 4), let destination = number(ip + 16, 4)
        else { return nil }
        ipProtocol = UInt8(proto)
        self.source = UInt32(source)
        self.destination = UInt32(destination)
        self.tos = UInt8(tos)
        let l4 = ip + Int(first & 15) * 4
        let isUDP = ipProtocol == IPProtocol.udp
        sourcePort = isUDP ? UInt16(number(l4, 2) ?? 0) : 0
        destinationPort = isUDP ? UInt16(number(l4 + 2, 2) ?? 0) : 0
        switch header.type {
        case "vxlan", "geneve": id = number(l4 + 12, 3) ?? 0
        case "gtpu": id = number(l4 + 12, 4) ?? 0
        case "gre":
            // The key follows the checksum, where there are such (RFC 2890).
            let flags = number(l4, 2) ?? 0
            id = flags & 0x2000 == 0 ? 0 : number(l4 + (flags & 0x8000 == 0 ? 4 : 8), 4) ?? 0
        default: id = 0
        }
    }
}

/// What becomes of a packet around its payload.
struct SentForm {
    /// The header of the one tunnel that it goes into; nil: none, or more than one.
    private(set) var tunnel: OuterHeader?
    /// The labels of a packet whose labels change, the outermost first; nil: more are popped than were known of.
    private(set) var labels: [UInt32]? = []
    private var tunnels = 0
    private var arriving: [UInt32] = []
    private var changesLabels = false

    /// - Parameter key: the packet as it comes in.
    init(_ actions: [DpAction], _ key: FlowKey) {
        if EtherType.isMPLS(key.ethType) {
            for i in 0..<maxMPLSLabels {
                arriving.append(key.mplsLSE(i))
                if key.mplsLSE(i) & 0x100 != 0 { break }
            }
        }
        read(actions)
        if !changesLabels { labels = [] }
        if tunnels != 1 { tunnel = nil }
    }

    private mutating func beginLabels() {
        guard !changesLabels else { return }
        changesLabels = true
        labels = arriving
    }

    private mutating func read(_ actions: [DpAction]) {
        for action in actions {
            switch action {
            case .tunnelPush(let header):
                tunnels += 1
                tunnel = OuterHeader(header)
            case .set(let set) where set.kind == .tunnel:
                tunnels += 1
                var key = FlowKey()
                for field in set.fields { key[field.location] = field.value }
                // Tunnels with ports are those over UDP.
                let isUDP = key[Location.tunTpDst] != 0
                tunnel = key.tunDst == 0 ? nil : OuterHeader(key, ipProtocol: isUDP ? IPProtocol.udp : 47)
            case .pushMPLS(let label, _), .addMPLS(let label, _):
                beginLabels()
                labels?.insert(label, at: 0)
            case .popMPLS:
                beginLabels()
                if labels?.isEmpty == false { labels?.removeFirst() } else { labels = nil }
            case .clone(let inner): read(inner)
            default: break
            }
        }
    }
}
