// Hashes of packets in place against those of their keys.

import Flow
import Packet
import TestSupport
import Testing

@testable import FastPath

@Suite struct PacketHashTests {
    @Test func packetsHashAsTheirKeysDo() throws {
        var g = SeededGenerator(for: "packet hashes")
        var shapes: Set<UInt8> = []
        for _ in 0..<20_000 {
            let bytes = RandomPacket.make(&g)
            var packet = Packet(bytes)
            var key = FlowKey()
            key.extract(from: &packet, vlanLimit: 1)
            let basis = g.chance(50) ? 0 : UInt32.random(in: 0 ... .max, using: &g)
            bytes.withUnsafeBytes { b in
                guard let start = b.baseAddress else { return }
                let shape = HeaderShape.of(start, readable: b.count, length: b.count, acceptsTag: true)
                guard shape != .slow else { return }
                shapes.insert(shape.rawValue)
                #expect(PacketHash.fiveTuple(start, shape) == key.fiveTupleHash(basis: 0), "seed \(g.seed): five-tuple of \(bytes)")
                #expect(
                    PacketHash.symmetric(start, shape, basis: basis) == key.symmetricHash(basis: basis, udpPorts: false),
                    "seed \(g.seed): symmetric hash of \(bytes) from \(basis)")
            }
        }
        // Five kinds, without a tag and behind one of either kind.
        #expect(shapes.count == 15)
    }
}
