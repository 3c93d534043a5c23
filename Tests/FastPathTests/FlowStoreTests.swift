// The flow store of a polling thread: what is put in is found, through the subtables first and through the cache afterwards.

import Flow
import Packet
import Testing

@testable import FastPath

func udp(source: UInt32, destination: UInt32, port: UInt16 = 53) -> [UInt8] {
    func bytes<T: FixedWidthInteger>(_ v: T) -> [UInt8] { withUnsafeBytes(of: v.bigEndian) { Array($0) } }
    var b: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
    b += [0x45, 0] + bytes(UInt16(46)) + [0, 0, 0, 0, 64, 17, 0, 0] + bytes(source) + bytes(destination)
    b += bytes(UInt16(1024)) + bytes(port) + bytes(UInt16(26)) + [UInt8](repeating: 0, count: 22)
    return b
}

func key(_ bytes: [UInt8], port: UInt32 = 1) -> FlowKey {
    var packet = Packet(bytes)
    var key = FlowKey()
    key.inPort = port
    key.extract(from: &packet, vlanLimit: 1)
    return key
}

extension HeaderBytes {
    init(_ bytes: [UInt8]) {
        self = (bytes + [UInt8](repeating: 0xa5, count: Swift.max(0, 64 - bytes.count))).withUnsafeBytes {
            $0.loadUnaligned(as: HeaderBytes.self)
        }
    }
}

extension FlowStore {
    func hash(of bytes: HeaderBytes, inPort: UInt32 = 1) -> UInt64 {
        withUnsafePointer(to: bytes) { hash(UnsafeRawPointer($0), HeaderShape.ipv4Transport.rawValue, inPort) }
    }

    mutating func find(_ bytes: HeaderBytes, inPort: UInt32 = 1) -> UInt32 {
        let hash = hash(of: bytes, inPort: inPort)
        return withUnsafePointer(to: bytes) { find(UnsafeRawPointer($0), hash, inPort, 60, .ipv4Transport) }
    }
}

@Suite struct FlowStoreTests {
    /// What is said of fields in constants.
    @Test func entryIsALine() {
        #expect(FlowEntry.size == 64 && MemoryLayout<FlowPattern>.stride == 64)
        #expect(MemoryLayout<HeaderWindow>.offset(of: \.mask) == 0 && MemoryLayout<FlowPattern>.offset(of: \.window) == 0)
        #expect(MemoryLayout<FlowStore.Relevant>.offset(of: \.window) == HeaderBytes.byteCount)
        #expect(MemoryLayout<FlowEntry>.offset(of: \.tcpFlags) == FlowEntry.tcpFlagsOffset)
        #expect(MemoryLayout<FlowEntry>.offset(of: \.used) == FlowEntry.usedOffset)
        #expect(MemoryLayout<FlowEntry>.offset(of: \.packets) == FlowEntry.packetsOffset)
        #expect(MemoryLayout<FlowEntry>.offset(of: \.bytes) == FlowEntry.bytesOffset)
    }

    @Test func countsAndAges() throws {
        let match = try #require(HeaderMatch(key: key(udp(source: 1, destination: 2)), mask: FlowMask(), shape: .ipv4Transport))
        var entry = FlowEntry(NewFlow(match, inPort: 1, kind: .output), key: HeaderWindow.Bytes(), subtable: (1 << 20) - 1)
        #expect(entry.kind == .output && entry.countsFlags && entry.subtable == (1 << 20) - 1)
        let tick = UInt64(1) << FlowEntry.tickBits
        withUnsafeMutablePointer(to: &entry) { e in
            let counters = FlowCounters(e)
            // The clock of ticks wraps, and the thread may be ahead of who reads.
            for start in [UInt64(0), 7, UInt64(UInt32.max)] {
                FlowEntry.count(e, 3, 180, ticks: UInt32(truncatingIfNeeded: start))
                #expect(counters.age(now: start * tick) == 0)
                #expect(counters.age(now: (start + 5) * tick) == 5 * tick)
                if start > 0 { #expect(counters.age(now: (start - 1) * tick) == 0) }
            }
            FlowEntry.add(e, tcpFlags: 0x10)
            FlowEntry.add(e, tcpFlags: 0x802)
            #expect(counters.packets == 9 && counters.bytes == 540 && counters.tcpFlags == 0x812)
            e.pointee.free()
            #expect(e.pointee.kind == .free && e.pointee.inPort == .max && counters.packets == 9)
            counters.clear()
            #expect(counters.packets == 0 && counters.bytes == 0 && counters.tcpFlags == 0)
        }
    }

    /// Flows that look beside a window are told apart there.
    @Test func looksBesideTheWindow() throws {
        guard var store = FlowStore() else {
            Issue.record("no memory for flows")
            return
        }
        // From the first byte of the first address to the last of the ports: 38 bytes.
        var mask = FlowMask()
        for l in [Location.ethType, Location.ethDst, Location.nwProto, Location.tpDst] { mask.setExact(l) }
        for i in 0..<300 {
            let match = try #require(
                HeaderMatch(key: key(udp(source: 1, destination: 2, port: UInt16(i))), mask: mask, shape: .ipv4Transport))
            store.insert(NewFlow(match, inPort: 1, kind: .drop), at: UInt32(i + 1))
        }
        #expect(store.wholeCount == 300 && store.subtableCount == 1)
        for _ in 0..<2 {
            for i in 0..<300 {
                #expect(store.find(HeaderBytes(udp(source: 3, destination: 4, port: UInt16(i)))) == UInt32(i + 1))
                #expect(store.find(HeaderBytes(udp(source: 3, destination: 4, port: UInt16(i + 300)))) == 0)
            }
        }
        for i in (0..<300).reversed() {
            _ = store.remove(UInt32(i + 1))
            #expect(store.find(HeaderBytes(udp(source: 3, destination: 4, port: UInt16(i)))) == 0)
        }
        #expect(store.wholeCount == 0 && store.flowCount == 0 && store.subtableCount == 0)
    }

    @Test func findsByCacheWhatSubtablesFound() throws {
        guard var store = FlowStore() else {
            Issue.record("no memory for flows")
            return
        }
        for i in 0..<200 {
            let packet = udp(source: 0x0a00_0000, destination: 0x0a80_0000 + UInt32(i) << 8)
            var mask = FlowMask()
            mask.setExact(Location.ethType)
            mask.bits[Location.nwDst] = 0xffff_ff00
            let match = try #require(HeaderMatch(key: key(packet), mask: mask, shape: .ipv4Transport))
            store.insert(NewFlow(match, inPort: 1, kind: .drop), at: UInt32(i + 1))
        }
        #expect(store.subtableCount == 1 && store.flowCount == 200 && store.wholeCount == 0)
        for round in 0..<2 {
            for i in 0..<200 {
                let bytes = HeaderBytes(udp(source: 0x0b00_0000 + UInt32(i), destination: 0x0a80_0007 + UInt32(i) << 8))
                if round > 0 { #expect(store.hints.candidate(store.hash(of: bytes)) == UInt32(i + 1)) }
                #expect(store.find(bytes) == UInt32(i + 1))
                #expect(store.find(bytes, inPort: 2) == 0)
            }
        }
        for i in 0..<200 { _ = store.remove(UInt32(i + 1)) }
        #expect(store.subtableCount == 0)
    }

    /// More masks than there are subtables: nothing is lost, and what was hinted at is found.
    @Test func masksWithoutEnd() throws {
        guard var store = FlowStore() else {
            Issue.record("no memory for flows")
            return
        }
        let count: UInt32 = 6000
        func packet(_ i: UInt32) -> [UInt8] { udp(source: 0x0a00_0000 + i, destination: 0x0a80_0001) }
        for i in 1...count {
            var mask = FlowMask()
            mask.setExact(Location.ethType)
            mask.setExact(Location.nwSrc)
            // Another mask for each.
            mask.bits[Location.ethDst] = UInt128(i)
            let match = try #require(HeaderMatch(key: key(packet(i)), mask: mask, shape: .ipv4Transport))
            store.insert(NewFlow(match, inPort: 1, kind: .drop), at: i)
        }
        #expect(store.subtableCount < count)
        let match = try #require(HeaderMatch(key: key(packet(1)), mask: FlowMask(), shape: .ipv4Transport))
        for i in [1, 70, count] {
            let bytes = HeaderBytes(packet(i))
            store.hint(i, bytes, .ipv4Transport)
            #expect(store.find(bytes) == i)
        }
        // What only hints lead to is found however many buckets there are.
        #expect(store.hints.bucketCount == 1024)
        for i in 1...7000 { store.insert(NewFlow(match, inPort: 2, kind: .drop), at: count + UInt32(i)) }
        #expect(store.hints.bucketCount == 2048)
        for i in [1, 70, count] { #expect(store.find(HeaderBytes(packet(i))) == i) }
        for i in 1...7000 { _ = store.remove(count + UInt32(i)) }
        for i in 2000...count where i != count { _ = store.remove(i) }
        for _ in 0..<200 { store.maintain() }
        #expect(store.hints.bucketCount == 256)
        for i in [1, 70, count] { #expect(store.find(HeaderBytes(packet(i))) == i) }
        for i in 1...count { _ = store.remove(i) }
        #expect(store.subtableCount == 0)
    }
}
