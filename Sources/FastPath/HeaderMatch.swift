// A megaflow as bytes: the first 64 bytes of the packets that it covers, under a mask.
//
// Where each field of a FlowKey lies in a packet of a given shape is said here, once, for matching and for rewriting. A megaflow that
// looks at something which such bytes do not hold cannot be had on the fast path; its packets go by the main thread.

import Flow

/// 64 bytes of a packet.
public typealias HeaderBytes = SIMD8<UInt64>

/// What a packet's first bytes must be.
public struct HeaderMatch {
    public var bytes = HeaderBytes()
    public var mask = HeaderBytes()
    public let shape: HeaderShape
    /// True when the bytes alone decide, whatever else is or is not true of the shape: nothing behind the fragment bits is looked at.
    public private(set) var isPrefixOnly = false

    /// Where a field lies in packets of a shape: the byte, the number of bytes, and how far its bits are shifted up there.
    struct Place {
        let at: Int
        let size: Int
        var shift = 0
    }

    /// The place of a field, nil when packets of the shape do not have it or its place depends on more than the shape.
    static func place(_ l: FieldLocation, _ shape: HeaderShape) -> Place? {
        let n = shape.networkOffset
        switch l {
        case Location.ethDst: return Place(at: 0, size: 6)
        case Location.ethSrc: return Place(at: 6, size: 6)
        case Location.ethType: return Place(at: n - 2, size: 2)
        case Location.vlanTPID: return shape.isTagged ? Place(at: 12, size: 2) : nil
        case Location.vlanTCI: return shape.isTagged ? Place(at: 14, size: 2) : nil
        default: break
        }
        switch shape.untagged {
        case .ipv4, .ipv4Transport:
            switch l {
            case Location.nwTOS: return Place(at: n + 1, size: 1)
            case Location.nwFrag: return nil
            case Location.nwTTL: return Place(at: n + 8, size: 1)
            case Location.nwProto: return Place(at: n + 9, size: 1)
            case Location.nwSrc: return Place(at: n + 12, size: 4)
            case Location.nwDst: return Place(at: n + 16, size: 4)
            default: return shape.untagged == .ipv4Transport ? transportPlace(l, n + 20) : nil
            }
        case .ipv6, .ipv6Transport:
            switch l {
            case Location.ipv6Label: return Place(at: n, size: 4)
            case Location.nwTOS: return Place(at: n, size: 4, shift: 20)
            case Location.nwProto: return Place(at: n + 6, size: 1)
            case Location.nwTTL: return Place(at: n + 7, size: 1)
            case Location.ipv6Src: return Place(at: n + 8, size: 16)
            case Location.ipv6Dst: return Place(at: n + 24, size: 16)
            default: return shape.untagged == .ipv6Transport ? transportPlace(l, n + 40) : nil
            }
        default: return nil
        }
    }

    private static func transportPlace(_ l: FieldLocation, _ at: Int) -> Place? {
        switch l {
        case Location.tpSrc: Place(at: at, size: 2)
        case Location.tpDst: Place(at: at + 2, size: 2)
        case Location.tcpFlags: Place(at: at + 12, size: 2)
        default: nil
        }
    }

    /// The fields that a mask on a packet's key may look at here; all others must be such that every packet of the shape agrees.
    private static let fields = [
        Location.ethDst, Location.ethSrc, Location.nwTOS, Location.nwTTL, Location.nwProto, Location.nwSrc, Location.nwDst,
        Location.ipv6Label, Location.ipv6Src, Location.ipv6Dst,
    ]

    /// The bytes that packets of `shape` have exactly when they are covered by a megaflow that covers one of them already; nil when that
    /// cannot be told from 64 bytes.
    ///
    /// - Parameter key: of a packet of that shape. What it has of metadata is not looked at here.
    public init?(key: borrowing FlowKey, mask flowMask: borrowing FlowMask, shape: HeaderShape) {
        guard shape != .slow, key.packetType == 0 else { return nil }
        self.shape = shape
        let n = shape.networkOffset
        for location in Self.fields {
            let bits = location.value(in: flowMask.bits)
            guard bits != 0 else { continue }
            // A field that no packet of the shape has is zero in all of them.
            guard let place = Self.place(location, shape) else { continue }
            put(location.value(in: key), bits, place)
        }
        // The shape itself: type and tag.
        put(UInt128(key.ethType), 0xffff, Place(at: n - 2, size: 2))
        if shape.isTagged {
            put(UInt128(key.vlanTPID), 0xffff, Place(at: 12, size: 2))
            // The bit that says "present" in the key is another one in the packet.
            put(UInt128(key.vlanTCI & ~0x1000), UInt128(flowMask.bits.vlanTCI & ~0x1000), Place(at: 14, size: 2))
        }
        var looksFurther = mask != HeaderBytes() && looksBehind(n)
        if shape.isIP {
            switch shape.untagged {
            case .ipv4, .ipv4Transport:
                put(5, 0x0f, Place(at: n, size: 1))
                put(0, 0x3fff, Place(at: n + 6, size: 2))
            default: break
            }
            guard putTransport(key, flowMask, &looksFurther) else { return nil }
        }
        // IPv6's fragments are told by a header behind, so its shape must be seen whole.
        isPrefixOnly = !looksFurther && (!shape.isIP || shape.untagged == .ipv4 || shape.untagged == .ipv4Transport)
    }

    /// The same for another packet of the shape, which has the same protocol; `packet` are its bytes, which begin with those that are
    /// matched.
    public func with(_ packet: UnsafeRawBufferPointer) -> HeaderMatch {
        var match = self
        match.bytes = HeaderBytes(packet) & mask
        return match
    }

    private mutating func putTransport(
        _ key: borrowing FlowKey, _ flowMask: borrowing FlowMask, _ looksFurther: inout Bool
    ) -> Bool {
        let bits = (
            tpSrc: flowMask.bits.tpSrc, tpDst: flowMask.bits.tpDst, tcpFlags: flowMask.bits.tcpFlags, nwProto: flowMask.bits.nwProto
        )
        guard bits.tpSrc != 0 || bits.tpDst != 0 || bits.tcpFlags != 0 else { return true }
        let isWhole = shape.untagged == .ipv4Transport || shape.untagged == .ipv6Transport
        guard isWhole else { return true }
        guard bits.nwProto == 0xff else { return false }
        looksFurther = true
        let at = shape.networkOffset + (shape.untagged == .ipv4Transport ? 20 : 40)
        switch key.nwProto {
        case 6, 17, 132:
            put(UInt128(key.tpSrc), UInt128(bits.tpSrc), Place(at: at, size: 2))
            put(UInt128(key.tpDst), UInt128(bits.tpDst), Place(at: at + 2, size: 2))
            if key.nwProto == 6, bits.tcpFlags != 0 {
                guard at + 14 <= 64 else { return false }
                put(UInt128(key.tcpFlags), UInt128(bits.tcpFlags & 0xfff), Place(at: at + 12, size: 2))
            }
        default:
            // Type and code.
            put(UInt128(key.tpSrc), UInt128(bits.tpSrc & 0xff), Place(at: at, size: 1))
            put(UInt128(key.tpDst), UInt128(bits.tpDst & 0xff), Place(at: at + 1, size: 1))
        }
        return true
    }

    private mutating func put(_ value: UInt128, _ bits: UInt128, _ place: Place) {
        let (value, bits) = (value << UInt128(place.shift), bits << UInt128(place.shift))
        if place.size <= 8 {
            put(UInt64(truncatingIfNeeded: value), UInt64(truncatingIfNeeded: bits), at: place.at, size: place.size)
        } else {
            put(UInt64(truncatingIfNeeded: value >> 64), UInt64(truncatingIfNeeded: bits >> 64), at: place.at, size: place.size - 8)
            put(UInt64(truncatingIfNeeded: value), UInt64(truncatingIfNeeded: bits), at: place.at + place.size - 8, size: 8)
        }
    }

    private mutating func put(_ value: UInt64, _ bits: UInt64, at: Int, size: Int) {
        // The lanes are as a little-endian load makes them, so the first byte is the least significant.
        let up = UInt64(64 - 8 * size)
        let m = (bits << up).byteSwapped
        let v = (value << up).byteSwapped & m
        let lane = at / 8
        let within = UInt64(8 * (at % 8))
        mask[lane] |= m << within
        bytes[lane] |= v << within
        guard at % 8 + size > 8 else { return }
        mask[lane + 1] |= m >> (64 - within)
        bytes[lane + 1] |= v >> (64 - within)
    }

    /// Whether a byte from `n` on matters.
    private func looksBehind(_ n: Int) -> Bool {
        for lane in n / 8..<8 where mask[lane] >> (lane == n / 8 ? UInt64(8 * (n % 8)) : 0) != 0 { return true }
        return false
    }

    /// Whether packets that it covers may be TCP.
    var mayBeTCP: Bool {
        guard shape.isIP else { return false }
        let at = shape.networkOffset + (shape.untagged.rawValue < HeaderShape.ipv6.rawValue ? 9 : 6)
        let shift = UInt64(8 * (at % 8))
        let isKnown = mask[at / 8] >> shift & 0xff == 0xff
        return !isKnown || bytes[at / 8] >> shift & 0xff == 6
    }

    /// The least length of packets whose bytes can be compared.
    public var minimumLength: Int {
        for lane in (0..<8).reversed() where mask[lane] != 0 { return 8 * lane + 8 - mask[lane].leadingZeroBitCount / 8 }
        return 14
    }
}
