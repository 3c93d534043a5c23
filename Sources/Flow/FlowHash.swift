// Hashes of a packet's headers, by which groups, bundles, multipath actions and the datapath's `hash` action choose among
// alternatives.
//
// They are of MurmurHash3's kind (32 bits; Austin Appleby, public domain) over the words of the headers as they lie on the wire, read
// in the machine's byte order, and lookup3's hashlittle (Bob Jenkins, public domain) over byte strings. Open vSwitch
// computes the same on x86-64, so that a bridge that takes another's place keeps spreading connections as before.

/// MurmurHash3 over 32-bit words.
public struct MurmurHash: Sendable {
    @usableFromInline var state: UInt32

    @inlinable public init(_ basis: UInt32) { self.init(state: basis) }
    @usableFromInline init(state: UInt32) { self.state = state }

    /// Adds a word.
    @inlinable @inline(__always)
    public mutating func add(_ word: UInt32) {
        let k = word &* 0xcc9e_2d51
        state ^= (k << 15 | k >> 17) &* 0x1b87_3593
        state = state << 13 | state >> 19
        state = state &* 5 &+ 0xe654_6b64
    }

    /// Adds the low word, then the high one.
    public mutating func add(_ word: UInt64) {
        add(UInt32(truncatingIfNeeded: word))
        add(UInt32(truncatingIfNeeded: word >> 32))
    }

    /// The hash; `final` is usually the number of bytes.
    @inlinable @inline(__always)
    public consuming func finish(_ final: UInt32) -> UInt32 {
        var h = state ^ final
        h = (h ^ h >> 16) &* 0x85eb_ca6b
        h = (h ^ h >> 13) &* 0xc2b2_ae35
        return h ^ h >> 16
    }

    /// The hash of two words.
    @inlinable @inline(__always)
    public static func pair(_ x: UInt32, _ y: UInt32) -> UInt32 {
        var h = MurmurHash(x)
        h.add(UInt32(0))
        h.add(y)
        return h.finish(8)
    }

    /// The hash of a 64-bit number.
    public static func number(_ x: UInt64) -> UInt32 {
        var h = MurmurHash(0)
        h.add(x)
        return h.finish(8)
    }

    /// The hash of bytes, four at a time in little-endian order.
    public static func bytes(_ bytes: [UInt8], basis: UInt32) -> UInt32 {
        var h = MurmurHash(basis)
        var i = 0
        while i + 4 <= bytes.count {
            h.add(littleEndian(bytes, i))
            i += 4
        }
        if i < bytes.count {
            var tail: UInt32 = 0
            for (n, byte) in bytes[i...].enumerated() { tail |= UInt32(byte) << UInt32(8 * n) }
            h.add(tail)
        }
        return h.finish(UInt32(truncatingIfNeeded: bytes.count))
    }

    fileprivate static func littleEndian(_ b: [UInt8], _ i: Int) -> UInt32 {
        UInt32(b[i]) | UInt32(b[i + 1]) << 8 | UInt32(b[i + 2]) << 16 | UInt32(b[i + 3]) << 24
    }
}

/// Bob Jenkins' lookup3 over bytes.
enum JenkinsHash {
    static func bytes(_ bytes: [UInt8], basis: UInt32) -> UInt32 {
        func rotate(_ x: UInt32, _ k: UInt32) -> UInt32 { x << k | x >> (32 - k) }
        let start = 0xdead_beef &+ UInt32(truncatingIfNeeded: bytes.count) &+ basis
        var (a, b, c) = (start, start, start)
        var i = 0
        // Missing bytes of the last block are zero.
        var block = bytes
        while block.count - i > 12 {
            a &+= MurmurHash.littleEndian(block, i)
            b &+= MurmurHash.littleEndian(block, i + 4)
            c &+= MurmurHash.littleEndian(block, i + 8)
            a = a &- c ^ rotate(c, 4)
            c &+= b
            b = b &- a ^ rotate(a, 6)
            a &+= c
            c = c &- b ^ rotate(b, 8)
            b &+= a
            a = a &- c ^ rotate(c, 16)
            c &+= b
            b = b &- a ^ rotate(a, 19)
            a &+= c
            c = c &- b ^ rotate(b, 4)
            b &+= a
            i += 12
        }
        guard block.count > i else { return c }
        while block.count - i < 12 { block.append(0) }
        a &+= MurmurHash.littleEndian(block, i)
        b &+= MurmurHash.littleEndian(block, i + 4)
        c &+= MurmurHash.littleEndian(block, i + 8)
        c = (c ^ b) &- rotate(b, 14)
        a = (a ^ c) &- rotate(c, 11)
        b = (b ^ a) &- rotate(a, 25)
        c = (c ^ b) &- rotate(b, 16)
        a = (a ^ c) &- rotate(c, 4)
        b = (b ^ a) &- rotate(a, 14)
        return (c ^ b) &- rotate(b, 24)
    }
}

extension FlowKey {
    private var isIPPacket: Bool { ethType == 0x0800 || ethType == 0x86dd }

    /// The four 32-bit words of an IPv6 address as they lie in memory.
    private static func words(_ address: UInt128) -> [UInt32] {
        (0..<4).map { UInt32(truncatingIfNeeded: address >> UInt128(96 - 32 * $0)).byteSwapped }
    }

    private static func bytes(_ value: UInt128, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (count - 1 - $0))) }
    }

    /// Addresses, protocol and ports, not the same in both directions: what network cards call RSS. Of packets that are
    /// neither IP nor ARP, of nothing.
    public func fiveTupleHash(basis: UInt32) -> UInt32 {
        var h = MurmurHash(basis)
        switch ethType {
        case 0x0800, 0x0806:
            h.add(nwSrc.byteSwapped)
            h.add(nwDst.byteSwapped)
        case 0x86dd:
            for w in Self.words(ipv6Src) { h.add(w) }
            for w in Self.words(ipv6Dst) { h.add(w) }
        default: return h.finish(42)
        }
        h.add(UInt32(nwProto))
        if [1, 6, 17, 58, 132].contains(nwProto) { h.add((UInt32(tpSrc) << 16 | UInt32(tpDst)).byteSwapped) }
        return h.finish(42)
    }

    /// Ethernet addresses, type and VLAN; the same in both directions.
    private func symmetricL2Hash(basis: UInt32) -> UInt32 {
        guard packetType == 0 else { return 0 }
        let addresses = Self.bytes(UInt128(ethSrc ^ ethDst), 6)
        let vlan = (vlanTCI ^ innerVLANTCI) & 0xfff
        let all =
            [UInt8(ethType >> 8), UInt8(ethType & 0xff), UInt8(vlan >> 8), UInt8(vlan & 0xff)] + addresses + [0, 0]
        var h = MurmurHash(basis)
        for i in stride(from: 0, to: 12, by: 4) { h.add(MurmurHash.littleEndian(all, i)) }
        return h.finish(basis)
    }

    /// IP addresses, protocol and ports, those of UDP where asked; the same in both directions. Of packets that are not IP, the
    /// Ethernet header instead.
    public func symmetricHash(basis: UInt32, udpPorts: Bool) -> UInt32 {
        var h = MurmurHash(basis)
        if ethType == 0x0800 {
            h.add((nwSrc ^ nwDst).byteSwapped)
        } else if ethType == 0x86dd {
            for w in Self.words(ipv6Src ^ ipv6Dst) { h.add(w) }
        } else {
            return symmetricL2Hash(basis: basis)
        }
        h.add(UInt32(nwProto))
        if nwProto == 6 || nwProto == 132 || udpPorts && nwProto == 17 { h.add(UInt32((tpSrc ^ tpDst).byteSwapped)) }
        return h.finish(basis)
    }

    /// Ethernet and IP addresses, VLAN, type, protocol, and the ports of TCP and SCTP; the same in both directions.
    public func symmetricL4Hash(basis: UInt32) -> UInt32 {
        var address: UInt128 = 0
        var proto: UInt8 = 0
        var port: UInt16 = 0
        if ethType == 0x0800 { address = UInt128(nwSrc ^ nwDst) << 96 }
        if ethType == 0x86dd { address = ipv6Src ^ ipv6Dst }
        if isIPPacket {
            proto = nwProto
            if proto == 6 || proto == 132 { port = tpSrc ^ tpDst }
        }
        let vlan = (vlanTCI ^ innerVLANTCI) & 0xfff
        var all = Self.bytes(address, 16)
        for half in [ethType, vlan, port] { all += [UInt8(half >> 8), UInt8(half & 0xff)] }
        all += Self.bytes(UInt128(ethSrc ^ ethDst), 6)
        all += [proto, 0, 0, 0]
        return JenkinsHash.bytes(all, basis: basis)
    }

    /// IP addresses and the Ethernet type; the same in both directions.
    public func symmetricL3Hash(basis: UInt32) -> UInt32 {
        let address = ethType == 0x0800 ? UInt128(nwSrc ^ nwDst) << 96 : ethType == 0x86dd ? ipv6Src ^ ipv6Dst : 0
        return JenkinsHash.bytes(Self.bytes(address, 16) + [UInt8(ethType >> 8), UInt8(ethType & 0xff), 0, 0], basis: basis)
    }

    public func ethSrcHash(basis: UInt32) -> UInt32 { JenkinsHash.bytes(Self.bytes(UInt128(ethSrc), 6), basis: basis) }

    /// Of the source or the destination IP address; packets that are not IP have the basis.
    public func addressHash(source: Bool, basis: UInt32) -> UInt32 {
        switch ethType {
        case 0x0800: JenkinsHash.bytes(Self.bytes(UInt128(source ? nwSrc : nwDst), 4), basis: basis)
        case 0x86dd: JenkinsHash.bytes(Self.bytes(source ? ipv6Src : ipv6Dst, 16), basis: basis)
        default: basis
        }
    }
}
