// Cuts a large TCP segment, which a sender left to hardware to cut, into packets that fit an interface.

import Packet

enum Segmentation {
    /// Hands over the packets that a TCP segment over IPv4, or over IPv6 without extension headers, becomes on an interface of
    /// this MTU, in order. Returns false, with nothing handed over, when the packet is none that can be cut.
    static func cut(_ frame: UnsafeRawBufferPointer, mtu: Int, _ emit: (UnsafeMutableRawBufferPointer) -> Void) -> Bool {
        func u16(_ at: Int) -> Int { Int(frame[at]) << 8 | Int(frame[at + 1]) }
        guard frame.count >= 54 else { return false }
        var l3 = 14
        var type = UInt16(u16(12))
        if type == EtherType.vlan || type == EtherType.vlanService {
            l3 = 18
            type = UInt16(u16(16))
        }
        guard frame.count >= l3 + 40 else { return false }
        let l4: Int
        let end: Int
        switch type {
        case EtherType.ipv4:
            let header = Int(frame[l3] & 0xf) * 4
            guard header >= 20, u16(l3 + 6) & 0x3fff == 0, frame[l3 + 9] == IPProtocol.tcp else { return false }
            l4 = l3 + header
            end = l3 + u16(l3 + 2)
        case EtherType.ipv6:
            guard frame[l3 + 6] == IPProtocol.tcp else { return false }
            l4 = l3 + 40
            end = l4 + u16(l3 + 4)
        default: return false
        }
        guard end <= frame.count, end >= l4 + HeaderSize.tcp else { return false }
        let payload = l4 + Int(frame[l4 + 12] >> 4) * 4
        let most = mtu - (payload - l3)
        guard payload >= l4 + HeaderSize.tcp, payload < end, most > 0 else { return false }

        let identification = u16(l3 + 4)
        let sequence = UInt32(u16(l4 + 4)) << 16 | UInt32(u16(l4 + 6))
        let flags = frame[l4 + 13]
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: payload + min(most, end - payload), alignment: 8)
        defer { buffer.deallocate() }
        var at = payload
        while at < end {
            let size = min(most, end - at)
            let out = UnsafeMutableRawBufferPointer(rebasing: buffer[0..<(payload + size)])
            func put16(_ place: Int, _ value: Int) {
                out[place] = UInt8(truncatingIfNeeded: value >> 8)
                out[place + 1] = UInt8(truncatingIfNeeded: value)
            }
            out.copyBytes(from: frame[0..<payload])
            UnsafeMutableRawBufferPointer(rebasing: out[payload...]).copyBytes(from: frame[at..<(at + size)])
            if type == EtherType.ipv4 {
                put16(l3 + 2, out.count - l3)
                put16(l3 + 4, identification + (at - payload) / most)
                put16(l3 + 10, 0)
                put16(l3 + 10, Int(InternetChecksum.checksum(UnsafeRawBufferPointer(rebasing: out[l3..<l4]))))
            } else {
                put16(l3 + 4, out.count - l4)
            }
            let number = sequence &+ UInt32(at - payload)
            put16(l4 + 4, Int(number >> 16))
            put16(l4 + 6, Int(number & 0xffff))
            // FIN and PSH belong to the last, CWR to the first.
            var kept = flags
            if at + size < end { kept &= ~0x09 }
            if at > payload { kept &= ~0x80 }
            out[l4 + 13] = kept
            TransportChecksum.complete(out)
            emit(out)
            at += size
        }
        return true
    }
}
