// Completes a transport checksum that the sender left to hardware which the packet never met.

import Packet

enum TransportChecksum {
    /// Computes the checksum of a TCP or UDP packet over IPv4 or IPv6 without extension headers. Other packets, and those
    /// too short to have one, are left as they are.
    static func complete(_ bytes: UnsafeMutableRawBufferPointer) {
        func u16(_ at: Int) -> UInt16 { UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) }
        guard bytes.count >= 34 else { return }
        var l3 = 14
        var type = u16(12)
        if type == EtherType.vlan || type == EtherType.vlanService {
            guard bytes.count >= 38 else { return }
            l3 = 18
            type = u16(16)
        }
        let l4: Int
        let proto: UInt8
        let length: Int
        let addresses: Range<Int>
        switch type {
        case EtherType.ipv4:
            let header = Int(bytes[l3] & 0xf) * 4
            let total = Int(u16(l3 + 2))
            guard header >= 20, total >= header, l3 + total <= bytes.count, u16(l3 + 6) & 0x3fff == 0 else { return }
            l4 = l3 + header
            length = total - header
            proto = bytes[l3 + 9]
            addresses = (l3 + 12)..<(l3 + 20)
        case EtherType.ipv6:
            guard bytes.count >= l3 + 40 else { return }
            length = Int(u16(l3 + 4))
            l4 = l3 + 40
            guard l4 + length <= bytes.count else { return }
            proto = bytes[l3 + 6]
            addresses = (l3 + 8)..<(l3 + 40)
        default: return
        }
        let place: Int
        switch proto {
        case IPProtocol.tcp where length >= HeaderSize.tcp: place = l4 + 16
        case IPProtocol.udp where length >= HeaderSize.udp: place = l4 + 6
        default: return
        }
        bytes[place] = 0
        bytes[place + 1] = 0
        let readOnly = UnsafeRawBufferPointer(bytes)
        var sum = InternetChecksum.partial(
            UnsafeRawBufferPointer(rebasing: readOnly[addresses]), UInt64(proto) + UInt64(length))
        sum = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: readOnly[l4..<(l4 + length)]), sum)
        var checksum = InternetChecksum.finish(sum)
        if checksum == 0, proto == IPProtocol.udp { checksum = 0xffff }
        bytes[place] = UInt8(checksum >> 8)
        bytes[place + 1] = UInt8(checksum & 0xff)
    }
}
