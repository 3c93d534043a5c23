// Network address translation: choosing what a connection's addresses become, and rewriting packets accordingly.

import Dpif
import Flow
import Packet

extension DpNAT {
    /// The keys that answers may have after translation, in the order of preference. The sequence is bounded.
    ///
    /// A port range is walked from a place that depends on the hash; without one a port stays what it was when that is
    /// free, else another of its class is taken (RFC 4787: below 512, below 1024, others).
    func candidates(for key: ConnectionKey, hash: UInt64) -> [ConnectionKey] {
        guard kind != .none else { return [key.reversed] }
        let base = key.reversed
        var out: [ConnectionKey] = []
        let limit = 4096
        let range = addresses ?? (kind == .source ? key.source...key.source : key.destination...key.destination)
        // All zero: nothing is translated unless there is a collision.
        let keepsAddress = addresses == nil || range.upperBound == 0
        let span = range.upperBound - range.lowerBound
        let width = span == .max ? UInt128.max : span + 1
        let start = range.lowerBound + UInt128(hash) % width
        var address = start
        repeat {
            var candidate = base
            if !keepsAddress {
                if kind == .source { candidate.destination = address } else { candidate.source = address }
            }
            if candidate.hasPorts {
                appendPorts(of: candidate, key: key, hash: hash, limit: limit, to: &out)
            } else {
                out.append(candidate)
            }
            address = address == range.upperBound ? range.lowerBound : address + 1
        } while address != start && out.count < limit && !keepsAddress
        return out
    }

    private func appendPorts(
        of candidate: ConnectionKey, key: ConnectionKey, hash: UInt64, limit: Int, to out: inout [ConnectionKey]
    ) {
        func walk(_ range: ClosedRange<UInt16>, from start: UInt16, _ set: (inout ConnectionKey, UInt16) -> Void) {
            var port = start
            repeat {
                guard out.count < limit else { return }
                var c = candidate
                set(&c, port)
                out.append(c)
                port = port == range.upperBound ? range.lowerBound : port + 1
            } while port != start
        }
        func place(_ range: ClosedRange<UInt16>) -> UInt16 {
            range.lowerBound + UInt16(truncatingIfNeeded: hash >> 32 % (UInt64(range.count)))
        }
        let classOfPort: ClosedRange<UInt16> =
            key.sourcePort < 512 ? 1...511 : key.sourcePort < 1024 ? 600...1023 : 1024...65535
        if kind == .source {
            if let ports {
                walk(ports, from: place(ports)) { $0.destinationPort = $1 }
            } else {
                let start = classOfPort.contains(key.sourcePort) ? key.sourcePort : classOfPort.lowerBound
                walk(classOfPort, from: start) { $0.destinationPort = $1 }
            }
        } else {
            if let ports {
                walk(ports, from: place(ports)) { $0.sourcePort = $1 }
            } else {
                out.append(candidate)
            }
            // The destination is wanted as it is; what can still give is the client's port.
            var fixed = candidate
            if let ports { fixed.sourcePort = place(ports) }
            let start = classOfPort.contains(key.sourcePort) ? key.sourcePort : classOfPort.lowerBound
            walk(classOfPort, from: start) {
                $0 = fixed
                $0.destinationPort = $1
            }
        }
    }
}

extension Packet {
    /// Rewrites a packet that goes `key`'s way so that the other side sees it as the reverse of `other`.
    ///
    /// - Parameters:
    ///   - from: the packet's direction as it is.
    ///   - to: the direction as it is to be.
    mutating func translate(_ seen: TrackedPacket, from: ConnectionKey, to: ConnectionKey) {
        guard let l3 else { return }
        if seen.isRelated {
            translateError(seen, from: from, to: to, l3)
            return
        }
        setAddresses(l3, seen.l4, to.source, to.destination, from)
        if to.hasPorts { setPorts(seen.l4, proto: to.proto, to.sourcePort, to.destinationPort) }
    }

    private mutating func setAddresses(
        _ l3: Int, _ l4: Int, _ source: UInt128, _ destination: UInt128, _ key: ConnectionKey, proto: UInt8? = nil
    ) {
        var metadata = FlowKey()
        var parsed = FlowKey()
        parsed.nwProto = proto ?? key.proto
        if key.isIPv6 {
            apply(
                DpSet(.ipv6, [.init(Location.ipv6Src, source), .init(Location.ipv6Dst, destination)]), key: &metadata,
                parsed: parsed)
        } else {
            apply(
                DpSet(.ipv4, [.init(Location.nwSrc, source), .init(Location.nwDst, destination)]), key: &metadata,
                parsed: parsed)
        }
    }

    private mutating func setPorts(_ l4: Int, proto: UInt8, _ source: UInt16, _ destination: UInt16) {
        var metadata = FlowKey()
        apply(
            DpSet(
                proto == IPProtocol.tcp ? .tcp : .udp,
                [.init(Location.tpSrc, UInt128(source)), .init(Location.tpDst, UInt128(destination))]),
            key: &metadata, parsed: FlowKey())
    }

    /// An ICMP error: the addresses of the packet that it is about are translated as well, which is what its receiver
    /// knows; then the checksums are right again.
    private mutating func translateError(_ seen: TrackedPacket, from: ConnectionKey, to: ConnectionKey, _ l3: Int) {
        guard let inner = seen.inner else { return }
        // Within the error the packet goes the other way.
        let size = from.isIPv6 ? 16 : 4
        let sourceAt = inner.l3 + (from.isIPv6 ? 8 : 12)
        func put(_ at: Int, _ value: UInt128) {
            if size == 16 { store128(at, value) } else { store32(at, UInt32(truncatingIfNeeded: value)) }
        }
        put(sourceAt, to.destination)
        put(sourceAt + size, to.source)
        // The transport checksum, where so much of the packet is quoted.
        let checksumAt = inner.l4 + (from.proto == IPProtocol.udp ? 6 : 16)
        if from.hasPorts, checksumAt + 2 <= seen.l4 + seen.l4Length, load16(checksumAt) != 0 || from.proto == IPProtocol.tcp {
            var sum = load16(checksumAt)
            sum = InternetChecksum.update(sum, from: from.destination, to: to.destination)
            sum = InternetChecksum.update(sum, from: from.source, to: to.source)
            sum = InternetChecksum.update(sum, from: from.destinationPort, to: to.destinationPort)
            sum = InternetChecksum.update(sum, from: from.sourcePort, to: to.sourcePort)
            store16(checksumAt, sum == 0 && from.proto == IPProtocol.udp ? 0xffff : sum)
        }
        if from.hasPorts {
            store16(inner.l4, to.destinationPort)
            store16(inner.l4 + 2, to.sourcePort)
        }
        if !from.isIPv6 {
            store16(inner.l3 + 10, 0)
            store16(inner.l3 + 10, InternetChecksum.checksum(slice(inner.l3, Int(load8(inner.l3) & 0xf) * 4)))
        }
        // The outer header: who is told stays told; an address that was translated is translated here too.
        let outerAt = l3 + (from.isIPv6 ? 8 : 12)
        let outerSource = from.isIPv6 ? load128(outerAt) : UInt128(load32(outerAt))
        let newSource = outerSource == from.source ? to.source : outerSource
        setAddresses(
            l3, seen.l4, newSource, to.destination, from, proto: from.isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp)
        if !from.isIPv6 {
            store16(seen.l4 + 2, 0)
            store16(seen.l4 + 2, InternetChecksum.checksum(slice(seen.l4, seen.l4Length)))
        } else {
            store16(seen.l4 + 2, 0)
            var sum = UInt64(IPProtocol.icmpv6) + UInt64(seen.l4Length)
            sum = InternetChecksum.partial(slice(l3 + 8, 32), sum)
            store16(seen.l4 + 2, InternetChecksum.finish(InternetChecksum.partial(slice(seen.l4, seen.l4Length), sum)))
        }
    }
}
