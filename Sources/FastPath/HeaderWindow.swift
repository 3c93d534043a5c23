// The part of a packet that decides: 32 bytes in a row, wherever they begin. The addresses of Ethernet lie in such a window, and so do
// type, addresses and ports of IPv4; a mask that looks at nothing outside of one is compared there, with half of what 64 bytes cost.

/// Where a mask looks at packets.
struct HeaderWindow {
    typealias Bytes = SIMD4<UInt64>
    static var size: Int { 32 }

    /// The part of the mask that lies in the window.
    var mask = Bytes()
    /// The window's first byte, from the packet's; at most 32, so that the window is among the first 64.
    var at: UInt8 = 0
    /// Nothing outside is looked at.
    var isAll = true

    init() {}

    /// The window of a mask: it begins with the first byte that is looked at.
    init(_ whole: HeaderBytes) {
        guard whole != HeaderBytes() else { return }
        var (first, last) = (0, 7)
        while whole[first] == 0 { first += 1 }
        while whole[last] == 0 { last -= 1 }
        let firstByte = 8 * first + whole[first].trailingZeroBitCount / 8
        let lastByte = 8 * last + 7 - whole[last].leadingZeroBitCount / 8
        at = UInt8(min(firstByte, HeaderBytes.byteCount - Self.size))
        isAll = lastByte < Int(at) + Self.size
        mask = bytes(of: whole)
    }

    /// What 64 bytes have in the window.
    func bytes(of whole: HeaderBytes) -> Bytes { withUnsafeBytes(of: whole) { $0.loadUnaligned(fromByteOffset: Int(at), as: Bytes.self) } }

    /// Whether a packet has these bytes in the window, which are masked.
    /// - Parameter p: its first byte; 64 may be read.
    @inline(__always)
    func agrees(_ p: UnsafeRawPointer, _ key: Bytes) -> Bool {
        let d = (p.loadUnaligned(fromByteOffset: Int(at), as: Bytes.self) ^ key) & mask
        let d2 = d.lowHalf | d.highHalf
        return d2[0] | d2[1] == 0
    }
}

extension HeaderBytes {
    static var byteCount: Int { 64 }

    /// The first bytes of a packet, with zeros behind a short one.
    init(_ packet: UnsafeRawBufferPointer) {
        self.init()
        withUnsafeMutableBytes(of: &self) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: packet.prefix(Self.byteCount))) }
    }

    /// Whether a packet has these bytes under a mask.
    @inline(__always)
    func agrees(_ p: UnsafeRawPointer, under mask: HeaderBytes) -> Bool {
        let d = (p.loadUnaligned(as: HeaderBytes.self) ^ self) & mask
        let d4 = d.lowHalf | d.highHalf
        let d2 = d4.lowHalf | d4.highHalf
        return d2[0] | d2[1] == 0
    }
}
