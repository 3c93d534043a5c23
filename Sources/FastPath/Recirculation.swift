// Packets that are looked up a second time, by their hash: what select groups and balance-tcp bonds make of the datapath
// (`hash`, `recirc`, then flows of that recirculation id with `dp_hash` under a mask).
//
// To the flow table such a packet is one that comes in by another port: a number that stands for the port and recirculation id together
// and has the masked hash in its low bits. So a second lookup is like the first, and flows that look at no other metadata need nothing of
// their own.

import Dpif
import Flow

/// A port and a recirculation id, as a polling thread knows them.
public struct Recirculation {
    /// Which hash its packets have.
    public struct Hash: Equatable, Sendable {
        public var algorithm: HashAlgorithm
        public var basis: UInt32

        public init(_ algorithm: HashAlgorithm, basis: UInt32) {
            self.algorithm = algorithm
            self.basis = basis
        }
    }
    var hash = Hash(.l4, basis: 0)
    /// The bits of the hash that its flows look at; only such as `port` has room for.
    var mask: UInt32 = 0

    /// How many a thread may know.
    public static let limit = 1 << 12
    private static let hashBits: UInt32 = 16

    /// Whether flows that look at these bits of the hash can be had.
    public static func admits(mask: UInt32) -> Bool { mask >> hashBits == 0 }

    /// The port that packets come by again. No port of a datapath has such a number.
    @inline(__always)
    public static func port(_ number: UInt32, maskedHash: UInt32) -> UInt32 { 1 << 31 | number << hashBits | maskedHash }
}

/// Hashes of packets in place.
public enum PacketHash {
    /// What `FlowKey.fiveTupleHash` says of a packet of a shape, which is not `slow`.
    @inline(__always)
    public static func fiveTuple(_ p: UnsafeRawPointer, _ shape: HeaderShape) -> UInt32 {
        var h = MurmurHash(0)
        let n = shape.networkOffset
        @inline(__always) func word(_ at: Int) -> UInt32 { p.loadUnaligned(fromByteOffset: at, as: UInt32.self).littleEndian }
        let addresses: Range<Int>
        let proto: UInt8
        switch shape.untagged {
        case .ipv4, .ipv4Transport:
            addresses = n + 12..<n + 20
            proto = p.load(fromByteOffset: n + 9, as: UInt8.self)
        case .ipv6, .ipv6Transport:
            addresses = n + 8..<n + 40
            proto = p.load(fromByteOffset: n + 6, as: UInt8.self)
        default: return h.finish(42)
        }
        var at = addresses.lowerBound
        while at < addresses.upperBound {
            h.add(word(at))
            at &+= 4
        }
        h.add(UInt32(proto))
        let hasPorts = shape.untagged == .ipv4Transport || shape.untagged == .ipv6Transport
        switch proto {
        case 6, 17, 132: h.add(hasPorts ? word(addresses.upperBound) : 0)
        case 1, 58:
            // Type and code stand where ports would, 16 bits each.
            let kind = hasPorts ? word(addresses.upperBound) : 0
            h.add((kind & 0xff) << 8 | (kind >> 8 & 0xff) << 24)
        default: break
        }
        return h.finish(42)
    }

    /// What `FlowKey.symmetricHash` without ports of UDP says of a packet of a shape, which is not `slow`.
    @inline(__always)
    public static func symmetric(_ p: UnsafeRawPointer, _ shape: HeaderShape, basis: UInt32) -> UInt32 {
        var h = MurmurHash(basis)
        let n = shape.networkOffset
        @inline(__always) func word(_ at: Int) -> UInt32 { p.loadUnaligned(fromByteOffset: at, as: UInt32.self).littleEndian }
        @inline(__always) func half(_ at: Int) -> UInt32 { UInt32(p.loadUnaligned(fromByteOffset: at, as: UInt16.self).littleEndian) }
        let proto: UInt8
        let transport: Int
        switch shape.untagged {
        case .ipv4, .ipv4Transport:
            h.add(word(n + 12) ^ word(n + 16))
            proto = p.load(fromByteOffset: n + 9, as: UInt8.self)
            transport = n + 20
        case .ipv6, .ipv6Transport:
            for i in 0..<4 { h.add(word(n + 8 + 4 * i) ^ word(n + 24 + 4 * i)) }
            proto = p.load(fromByteOffset: n + 6, as: UInt8.self)
            transport = n + 40
        default:
            // Type, VLAN, and both addresses.
            let vlan = shape.isTagged ? half(14) & 0xff0f : 0
            h.add(half(n - 2) | vlan << 16)
            h.add(word(0) ^ word(6))
            h.add(half(4) ^ half(10))
            return h.finish(basis)
        }
        h.add(UInt32(proto))
        // A packet of these has its ports, or it would be `slow`.
        if proto == 6 || proto == 132 { h.add(half(transport) ^ half(transport + 2)) }
        return h.finish(basis)
    }

    /// The hash that the datapath's `hash` action gives a packet; never 0.
    @inline(__always)
    static func dpHash(_ p: UnsafeRawPointer, _ shape: HeaderShape, _ hash: Recirculation.Hash) -> UInt32 {
        switch hash.algorithm {
        case .l4: max(1, MurmurHash.pair(fiveTuple(p, shape), hash.basis))
        case .symmetricL4: max(1, symmetric(p, shape, basis: hash.basis))
        }
    }
}
