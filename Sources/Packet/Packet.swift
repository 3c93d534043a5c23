// A packet and the memory it lies in.
//
// A packet has one owner: the type is not copyable, sending consumes it, and whoever wants a second one says `clone()`.
// The bytes lie in one block with head room, so that pushing a header moves only the bytes before it:
//
//     block ┌──────────┬───────────────────────────┬───────────┐
//           │ headroom │ data: offset ..< +length  │ tail room │
//           └──────────┴───────────────────────────┴───────────┘
//
// Layer offsets are relative to the start of the data; parsing sets them, inserting and removing bytes keeps them.

#if canImport(Glibc)
    import Glibc
#endif

/// An Ethernet frame (or another packet type) owned by one place at a time. Not thread-safe; may be sent between threads.
public struct Packet: ~Copyable, @unchecked Sendable {
    // Invariant for Sendable: the block is reachable through this one value only.
    @usableFromInline let block: UnsafeMutableRawPointer
    @usableFromInline let capacity: Int
    @usableFromInline var offset: Int
    /// Bytes of data.
    public private(set) var count: Int

    /// Start of the MPLS label stack or of layer 3 when there is none; nil before parsing or when it is absent.
    public var l2_5: Int?
    /// Start of the network header, or nil.
    public var l3: Int?
    /// Start of the transport header, or nil.
    public var l4: Int?
    /// Bytes behind the end of the network packet (Ethernet padding).
    public var l2PadSize = 0
    /// The zone in which the packet was last found to belong to a connection, or nil.
    public var connectionZone: UInt16?

    /// The queue that the packet is to leave by (OFPAT_SET_QUEUE); 0: that of all that asked for none.
    public var priority: UInt32 = 0

    /// The hash of the addresses and ports that it came in with, as network cards tell (RSS); nil: nobody asked yet. It stays while headers
    /// change around it, until it leaves a tunnel or loses a label.
    public var receiveHash: UInt32?

    public static let defaultHeadroom = 128

    /// A packet of `count` zero bytes.
    public init(count: Int, headroom: Int = Packet.defaultHeadroom, tailroom: Int = 0) {
        capacity = headroom + count + tailroom
        block = UnsafeMutableRawPointer.allocate(byteCount: max(capacity, 1), alignment: 16)
        memset(block, 0, capacity)
        offset = headroom
        self.count = count
    }

    /// A packet with a copy of `bytes`.
    public init(_ bytes: UnsafeRawBufferPointer, headroom: Int = Packet.defaultHeadroom) {
        capacity = headroom + bytes.count
        block = UnsafeMutableRawPointer.allocate(byteCount: max(capacity, 1), alignment: 16)
        offset = headroom
        count = bytes.count
        if let from = bytes.baseAddress { memcpy(block + headroom, from, bytes.count) }
    }

    public init(_ bytes: [UInt8]) {
        self.init(count: bytes.count)
        let start = block + offset
        bytes.withUnsafeBytes { if let from = $0.baseAddress { memcpy(start, from, $0.count) } }
    }

    deinit { block.deallocate() }

    /// The first byte of data. Valid until the packet is changed in size, consumed or destroyed.
    @inlinable
    public var data: UnsafeMutableRawPointer { block + offset }

    /// The data. Valid until the packet is changed in size, consumed or destroyed.
    @inlinable
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: block + offset, count: count) }

    /// A copy of the data.
    public var array: [UInt8] { [UInt8](bytes) }

    /// A packet with the same data and layer offsets.
    public func clone() -> Packet {
        var copy = Packet(bytes)
        copy.l2_5 = l2_5
        copy.priority = priority
        copy.l3 = l3
        copy.l4 = l4
        copy.l2PadSize = l2PadSize
        copy.connectionZone = connectionZone
        copy.receiveHash = receiveHash
        return copy
    }

    /// Inserts `size` zero bytes before byte `at`; what was at `at` and behind it moves back.
    public mutating func insert(_ size: Int, at: Int) {
        precondition(size >= 0 && at >= 0 && at <= count)
        if offset >= size {
            memmove(block + offset - size, block + offset, at)
            offset -= size
            count += size
        } else {
            var larger = Packet(count: count + size, headroom: Packet.defaultHeadroom + size)
            memcpy(larger.data, data, at)
            memcpy(larger.data + at + size, data + at, count - at)
            larger.l2_5 = l2_5
            larger.l3 = l3
            larger.l4 = l4
            larger.l2PadSize = l2PadSize
            larger.connectionZone = connectionZone
            self = larger
        }
        memset(data + at, 0, size)
        l2_5 = l2_5.map { $0 >= at ? $0 + size : $0 }
        l3 = l3.map { $0 >= at ? $0 + size : $0 }
        l4 = l4.map { $0 >= at ? $0 + size : $0 }
    }

    /// Removes the bytes `at ..< at + size`.
    public mutating func remove(_ size: Int, at: Int) {
        precondition(size >= 0 && at >= 0 && at + size <= count)
        memmove(block + offset + size, block + offset, at)
        offset += size
        count -= size
        l2_5 = l2_5.map { $0 >= at + size ? $0 - size : min($0, at) }
        l3 = l3.map { $0 >= at + size ? $0 - size : min($0, at) }
        l4 = l4.map { $0 >= at + size ? $0 - size : min($0, at) }
    }

    /// Cuts the packet down to its first `size` bytes; larger sizes change nothing.
    public mutating func truncate(to size: Int) {
        if size < count { count = max(size, 0) }
    }

    // Access to header fields in network byte order. The caller has checked the offsets.

    @inlinable public func load8(_ at: Int) -> UInt8 {
        assert(at >= 0 && at < count)
        return data.load(fromByteOffset: at, as: UInt8.self)
    }
    @inlinable public func load16(_ at: Int) -> UInt16 {
        assert(at >= 0 && at + 2 <= count)
        return UInt16(bigEndian: data.loadUnaligned(fromByteOffset: at, as: UInt16.self))
    }
    @inlinable public func load32(_ at: Int) -> UInt32 {
        assert(at >= 0 && at + 4 <= count)
        return UInt32(bigEndian: data.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    }
    @inlinable public func load48(_ at: Int) -> UInt64 { UInt64(load16(at)) << 32 | UInt64(load32(at + 2)) }
    @inlinable public func load128(_ at: Int) -> UInt128 {
        assert(at >= 0 && at + 16 <= count)
        return UInt128(bigEndian: data.loadUnaligned(fromByteOffset: at, as: UInt128.self))
    }
    @inlinable public mutating func store8(_ at: Int, _ value: UInt8) {
        assert(at >= 0 && at < count)
        data.storeBytes(of: value, toByteOffset: at, as: UInt8.self)
    }
    @inlinable public mutating func store16(_ at: Int, _ value: UInt16) {
        assert(at >= 0 && at + 2 <= count)
        data.storeBytes(of: value.bigEndian, toByteOffset: at, as: UInt16.self)
    }
    @inlinable public mutating func store32(_ at: Int, _ value: UInt32) {
        assert(at >= 0 && at + 4 <= count)
        data.storeBytes(of: value.bigEndian, toByteOffset: at, as: UInt32.self)
    }
    @inlinable public mutating func store48(_ at: Int, _ value: UInt64) {
        store16(at, UInt16(truncatingIfNeeded: value >> 32))
        store32(at + 2, UInt32(truncatingIfNeeded: value))
    }
    @inlinable public mutating func store128(_ at: Int, _ value: UInt128) {
        assert(at >= 0 && at + 16 <= count)
        data.storeBytes(of: value.bigEndian, toByteOffset: at, as: UInt128.self)
    }
}
