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

@Suite struct FlowStoreTests {
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
            var flow = FlowEntry(match, inPort: 1)
            flow.kind = .drop
            store.insert(flow, mask: match.mask, at: UInt32(i + 1))
        }
        #expect(store.subtableCount == 1 && FlowEntry.size == 128)
        for round in 0..<2 {
            for i in 0..<200 {
                let bytes = HeaderBytes(udp(source: 0x0b00_0000 + UInt32(i), destination: 0x0a80_0007 + UInt32(i) << 8))
                let hash = store.hash(bytes & store.relevant[Int(HeaderShape.ipv4Transport.rawValue)], 1)
                let candidate = store.candidate(hash)
                #expect(round == 0 || candidate == UInt32(i + 1))
                #expect(store.find(bytes, hash, 1, 60, .ipv4Transport) == UInt32(i + 1))
                #expect(store.find(bytes, hash, 2, 60, .ipv4Transport) == 0)
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
            var flow = FlowEntry(match, inPort: 1)
            flow.kind = .drop
            store.insert(flow, mask: match.mask, at: i)
        }
        #expect(store.subtableCount < count)
        for i in [1, 70, count] {
            let bytes = HeaderBytes(packet(i))
            store.hint(i, bytes)
            let hash = store.hash(bytes & store.relevant[Int(HeaderShape.ipv4Transport.rawValue)], 1)
            #expect(store.find(bytes, hash, 1, 60, .ipv4Transport) == i)
        }
        store.maintain()
        for i in 1...count { _ = store.remove(i) }
        #expect(store.subtableCount == 0)
    }
}
