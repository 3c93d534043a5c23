// The engine against a naive model: a list of flows, and obvious code that edits bytes. Random tables and packets,
// hostile ones too, must come out the same.

import Dpif
import Flow
import Packet
import TestSupport
import Testing

@testable import Datapath

/// The model: what each action does to the bytes, one after the other.
private enum Model {
    static func run(_ actions: [DpAction], _ input: [UInt8]) -> [(port: UInt32, bytes: [UInt8])] {
        var bytes = input
        var out: [(UInt32, [UInt8])] = []
        // What a truncation cuts is measured where it stands, and cut at the next output.
        var cut = 0
        for action in actions {
            switch action {
            case .output(let port):
                out.append((port, Array(bytes.prefix(max(0, bytes.count - cut)))))
                cut = 0
            case .truncate(let n): cut = max(0, bytes.count - Int(n))
            case .pushVLAN(let tpid, let tci):
                guard bytes.count >= 14 else { continue }
                bytes.insert(contentsOf: [UInt8(tpid >> 8), UInt8(tpid & 255), UInt8(tci >> 8), UInt8(tci & 255)], at: 12)
            case .popVLAN:
                guard bytes.count >= 18 else { continue }
                let type = UInt16(bytes[12]) << 8 | UInt16(bytes[13])
                if type == 0x8100 || type == 0x88a8 { bytes.removeSubrange(12..<16) }
            case .set(let set) where set.kind == .eth:
                guard bytes.count >= 14 else { continue }
                for f in set.fields {
                    let at = f.location == Location.ethDst ? 0 : 6
                    for i in 0..<6 {
                        let m = UInt8(f.mask >> UInt128(40 - 8 * i) & 255)
                        let v = UInt8(f.value >> UInt128(40 - 8 * i) & 255)
                        bytes[at + i] = bytes[at + i] & ~m | v
                    }
                }
            case .clone(let list): out += run(list, bytes)
            default: Issue.record("the model does not know \(action)")
            }
        }
        return out
    }
}

@Suite struct ReferenceModelTests {
    private static func randomActions(_ g: inout SeededGenerator, depth: Int = 0) -> [DpAction] {
        (0..<Int.random(in: 0...5, using: &g)).map { _ in
            switch Int.random(in: 0...(depth < 2 ? 6 : 5), using: &g) {
            case 0, 1: .output(UInt32.random(in: 1...3, using: &g))
            case 2: .pushVLAN(tpid: [0x8100, 0x88a8].randomElement(using: &g)!, tci: UInt16.random(in: 0...0xfff, using: &g))
            case 3: .popVLAN
            case 4:
                .set(
                    DpSet(
                        .eth,
                        [
                            .init(
                                [Location.ethSrc, Location.ethDst].randomElement(using: &g)!,
                                UInt128(UInt64.random(in: 0...0xffff_ffff_ffff, using: &g)),
                                mask: UInt128(UInt64.random(in: 0...0xffff_ffff_ffff, using: &g)))
                        ]))
            case 5: .truncate(UInt32.random(in: 14...60, using: &g))
            default: .clone(randomActions(&g, depth: depth + 1))
            }
        }
    }

    @Test func randomTablesAndPackets() throws {
        var g = SeededGenerator(for: "reference model")
        for round in 0..<300 {
            let engine = UserspaceDatapath(type: "test", name: "test", capabilities: DpifCapabilities(), time: TimeSource())
            let sinks = (1...3).map { Sink("p\($0)") }
            for (i, sink) in sinks.enumerated() { _ = try engine.addPort(sink, requested: UInt32(i + 1)) }
            // Flows that do not overlap: by input port and type.
            var flows: [(port: UInt32, type: UInt16, actions: [DpAction])] = []
            for port: UInt32 in 1...3 {
                for type: UInt16 in [0x0800, 0x0806, 0x1234] where Bool.random(using: &g) {
                    let actions = Self.randomActions(&g)
                    var match = Match()
                    match.set(Location.inPort, UInt128(port))
                    match.set(Location.ethType, UInt128(type))
                    try engine.putFlow(
                        DpFlowPut(
                            .create,
                            DpFlow(ufid: UFID(key: match.key, mask: match.mask), key: match.key, mask: match.mask, actions: actions)))
                    flows.append((port, type, actions))
                }
            }
            var counts: [Int: UInt64] = [:]
            for _ in 0..<30 {
                for sink in sinks { sink.sent = [] }
                let port = UInt32.random(in: 1...3, using: &g)
                let type: UInt16 = [0x0800, 0x0806, 0x1234, 0x5678].randomElement(using: &g)!
                var bytes = (0..<Int.random(in: 12...80, using: &g)).map { _ in UInt8.random(in: 0...255, using: &g) }
                if bytes.count >= 14 {
                    bytes[12] = UInt8(type >> 8)
                    bytes[13] = UInt8(type & 255)
                }
                engine.receive(Packet(bytes), on: port)
                let index = bytes.count < 14 ? nil : flows.firstIndex { $0.port == port && $0.type == type }
                if let index { counts[index, default: 0] += 1 }
                let expected = index.map { Model.run(flows[$0].actions, bytes) } ?? []
                for (i, sink) in sinks.enumerated() {
                    #expect(
                        sink.sent == expected.filter { $0.port == UInt32(i + 1) }.map(\.bytes),
                        "seed \(g.seed), round \(round)")
                }
            }
            for (i, flow) in flows.enumerated() {
                var match = Match()
                match.set(Location.inPort, UInt128(flow.port))
                match.set(Location.ethType, UInt128(flow.type))
                #expect(engine.flow(key: match.key, mask: match.mask)?.stats.packets == counts[i] ?? 0, "seed \(g.seed)")
            }
        }
    }

    /// Rewrites keep checksums right: a packet with all its fields set has the checksums of one composed that way.
    @Test func rewritesKeepChecksums() throws {
        var from = FlowKey()
        from.ethType = EtherType.ipv4
        from.nwProto = IPProtocol.tcp
        from.nwSrc = 0x0a00_0001
        from.nwDst = 0x0a00_0002
        from.nwTTL = 64
        from.tpSrc = 1000
        from.tpDst = 80
        for proto in [IPProtocol.tcp, IPProtocol.udp] {
            from.nwProto = proto
            var to = from
            to.nwSrc = 0xc0a8_0101
            to.nwDst = 0xc0a8_0102
            to.nwTTL = 63
            to.nwTOS = 0x10
            to.tpSrc = 4321
            to.tpDst = 8080
            var packet = from.composePacket()
            var key = FlowKey()
            key.extract(from: &packet)
            packet.apply(
                DpSet(
                    .ipv4,
                    [
                        .init(Location.nwSrc, UInt128(to.nwSrc)), .init(Location.nwDst, UInt128(to.nwDst)), .init(Location.nwTTL, 63),
                        .init(Location.nwTOS, 0x10),
                    ]),
                key: &key, parsed: key)
            let kind: DpSetKind = proto == IPProtocol.tcp ? .tcp : .udp
            packet.apply(DpSet(kind, [.init(Location.tpSrc, 4321), .init(Location.tpDst, 8080)]), key: &key, parsed: key)
            #expect(packet.array == to.composePacket().array)
        }
    }

    /// The same for SCTP, whose checksum is a CRC.
    @Test func rewritingSCTPPortsKeepsTheCRC() {
        var flow = FlowKey()
        flow.ethType = EtherType.ipv4
        flow.nwProto = IPProtocol.sctp
        flow.tpSrc = 1
        flow.tpDst = 2
        func crc(_ segment: ArraySlice<UInt8>) -> [UInt8] {
            var bytes = Array(segment)
            bytes.replaceSubrange(8..<12, with: [0, 0, 0, 0])
            let value = bytes.withUnsafeBytes { CRC32C.checksum($0) }
            return withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) }
        }
        var bytes = flow.composePacket(size: 80).array
        bytes.replaceSubrange(42..<46, with: crc(bytes[34...]))
        var packet = Packet(bytes)
        var key = FlowKey()
        key.extract(from: &packet)
        packet.apply(DpSet(.sctp, [.init(Location.tpSrc, 4321), .init(Location.tpDst, 8080)]), key: &key, parsed: key)
        let changed = packet.array
        #expect(Array(changed[34..<38]) == [0x10, 0xe1, 0x1f, 0x90])
        #expect(Array(changed[42..<46]) == crc(changed[34...]))
    }
}
