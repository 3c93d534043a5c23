// The fast path's view of packets against the full one: what 64 bytes under a mask say must be what `FlowKey.extract` says, and rewriting
// by programs must be what the engine does. Random packets, hostile ones too.

import Datapath
import Dpif
import Flow
import Packet
import TestSupport
import Testing

@testable import FastPath

extension SeededGenerator {
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
    mutating func byte() -> UInt8 { UInt8.random(in: 0...255, using: &self) }
    mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: 0..<list.count, using: &self)] }
}

enum RandomPacket {
    static func be16(_ v: Int) -> [UInt8] { [UInt8(v >> 8 & 255), UInt8(v & 255)] }

    /// Mostly sound packets of few addresses and ports, so that they often agree; some are cut, and some lie.
    static func make(_ g: inout SeededGenerator) -> [UInt8] {
        var b: [UInt8] = [2, 0, 0, 0, 0, g.pick([1, 2]), 2, 0, 0, 0, 0, g.pick([1, 2])]
        for _ in 0..<g.pick([0, 0, 0, 1, 1, 2]) {
            b += g.pick([[0x81, 0x00], [0x88, 0xa8]]) + [g.pick([0, 0x10, 0x20]), g.pick([1, 2])]
        }
        let type = g.pick([0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x1234, 0x8847, 0x0040])
        b += be16(type)
        let proto: UInt8 = g.pick([6, 17, 17, 1, 58, 132, 2, 47, 0, 44])
        var transport = be16(g.pick([53, 80])) + be16(g.pick([0, 1000])) + (0..<g.pick([20, 20, 28, 4])).map { _ in g.byte() }
        if proto == 58 { transport[0] = g.pick([128, 135, 136]) }
        switch type {
        case 0x0800:
            let options = g.chance(8) ? 4 : 0
            var total = 20 + options + transport.count
            if g.chance(5) { total += g.pick([-30, -4, 3, 40]) }
            let fragment = g.chance(8) ? g.pick([0x2000, 0x0010, 0x4000]) : 0
            b += [UInt8(0x45 + options / 4), g.pick([0, 4])] + be16(Swift.max(0, total)) + [0, 1] + be16(fragment)
            b += [g.pick([1, 64]), proto, 0, 0, 10, 0, 0, g.pick([1, 2]), 10, 0, g.pick([0, 1]), g.pick([1, 2])]
            b += [UInt8](repeating: 1, count: options) + transport
        case 0x86dd:
            var length = transport.count
            if g.chance(5) { length += g.pick([-4, 8]) }
            b += [0x60, g.pick([0, 0x10]), 0, g.pick([0, 1])] + be16(Swift.max(0, length)) + [proto, g.pick([1, 64])]
            for _ in 0..<2 { b += [0x20, 1] + [UInt8](repeating: 0, count: 13) + [g.pick([1, 2])] }
            b += transport
        default: b += (0..<30).map { _ in g.byte() }
        }
        if g.chance(6) { b = Array(b.prefix(Int.random(in: 14...b.count, using: &g))) }
        if g.chance(20) { b += [UInt8](repeating: 0, count: g.pick([1, 6])) }
        return b
    }
}

@Suite struct HeaderMatchTests {
    /// A mask as translation makes them: the type always, fragments of IP, ports only with the protocol.
    private static func mask(_ key: FlowKey, _ g: inout SeededGenerator) -> FlowMask {
        var m = FlowMask()
        for l in [Location.inPort, Location.recircID, Location.packetType, Location.ethType] { m.setExact(l) }
        if key.vlanTPID != 0 || g.chance(80) { m.bits[Location.vlanTCI] = g.pick([0x1fff, 0x1000, 0xffff]) }
        if g.chance(30) { m.setExact(Location.ethDst) }
        if g.chance(20) { m.bits[Location.ethSrc] = 0xffff }
        if (key.ethType == 0x0800 || key.ethType == 0x86dd) {
            m.setExact(Location.nwFrag)
            if g.chance(40) { m.bits[Location.nwSrc] = g.pick([0xff00_0000, 0xffff_ffff, 0xffff_fff0]) }
            if g.chance(40) { m.bits[Location.nwDst] = g.pick([0xff00_0000, 0xffff_ffff, 0xffff_ff00]) }
            if g.chance(30) { m.bits[Location.ipv6Src] = g.pick([.max, UInt128.max << 64]) }
            if g.chance(30) { m.bits[Location.ipv6Dst] = .max }
            if g.chance(20) { m.setExact(Location.nwTOS) }
            if g.chance(20) { m.setExact(Location.nwTTL) }
            if g.chance(15) { m.setExact(Location.ipv6Label) }
            if g.chance(50) {
                m.setExact(Location.nwProto)
                if [6, 17, 132].contains(key.nwProto) {
                    if g.chance(50) { m.bits[Location.tpDst] = g.pick([0xffff, 0xfff0]) }
                    if g.chance(30) { m.bits[Location.tpSrc] = 0xffff }
                    if key.nwProto == 6, g.chance(30) { m.bits[Location.tcpFlags] = g.pick([0xfff, 2]) }
                }
                if key.nwProto == 1 || key.nwProto == 58, g.chance(50) { m.bits[Location.tpSrc] = 0xff }
            }
        }
        return m
    }

    @Test func bytesSayWhatTheKeySays() throws {
        var g = SeededGenerator(for: "header matches")
        guard var store = FlowStore() else {
            Issue.record("no memory for flows")
            return
        }
        var covered = 0
        var plains = 0
        for _ in 0..<3000 {
            let first = RandomPacket.make(&g)
            let shape = first.withUnsafeBytes { bytes in
                bytes.baseAddress.map { HeaderShape.of($0, readable: bytes.count, length: bytes.count, acceptsTag: true) } ?? .slow
            }
            guard shape != .slow else { continue }
            let firstKey = key(first)
            let mask = Self.mask(firstKey, &g)
            guard let match = HeaderMatch(key: firstKey, mask: mask, shape: shape) else { continue }
            store.insert(NewFlow(match, inPort: 1, kind: .drop), at: 1)
            defer { _ = store.remove(1) }
            for _ in 0..<30 {
                var second = g.chance(50) ? RandomPacket.make(&g) : first
                if g.chance(50) {
                    for _ in 0..<g.pick([1, 2]) {
                        let at = Int.random(in: 0..<second.count, using: &g)
                        second[at] ^= 1 << g.pick([0, 1, 4, 7])
                    }
                }
                let expected = key(second).equals(firstKey, in: mask)
                let itsShape = second.withUnsafeBytes { bytes in
                    bytes.baseAddress.map { HeaderShape.of($0, readable: bytes.count, length: bytes.count, acceptsTag: true) } ?? .slow
                }
                let got = withUnsafePointer(to: HeaderBytes(second)) {
                    store.lines.cover(1, UnsafeRawPointer($0), 1, second.count, itsShape)
                }
                #expect(!got || key(second).nwProto != 6 || match.mayBeTCP, "seed \(g.seed): \(second) is TCP")
                let plain = second.withUnsafeBytes { bytes in
                    bytes.baseAddress.map { HeaderShape.plainProtocol($0, readable: bytes.count, length: bytes.count) } ?? 0
                }
                if plain != 0 { plains += 1 }
                #expect(
                    plain == 0 || (itsShape == .ipv4Transport && key(second).nwProto == plain),
                    "seed \(g.seed): \(second) is no plain packet of \(plain)")
                if got { covered += 1 }
                #expect(!got || expected, "seed \(g.seed): \(first) under \(mask) covers \(second), whose key differs")
                #expect(got || !expected || itsShape != shape, "seed \(g.seed): \(first) does not cover \(second)")
                guard itsShape == shape, key(second).nwProto == firstKey.nwProto,
                    let anew = HeaderMatch(key: key(second), mask: mask, shape: shape)
                else { continue }
                let moved = second.withUnsafeBytes { match.with($0) }
                #expect(moved.bytes == anew.bytes && moved.mask == anew.mask, "seed \(g.seed): \(first) as \(second)")
            }
        }
        #expect(covered > 1000 && plains > 1000)
    }

    // MARK: Programs

    private final class Sink: PacketDevice {
        let name: String
        var type: String { "dummy" }
        var sent: [[UInt8]] = []
        var receiver: ((consuming Packet) -> Void)?
        init(_ name: String) { self.name = name }
        func transmit(_ packet: consuming Packet) { sent.append(packet.array) }
        var macAddress: UInt64 { 0 }
        var mtu: Int { 1500 }
        var isAdminUp: Bool { true }
        var isLinkUp: Bool { true }
        var linkResets: UInt64 { 0 }
        var changeCount: UInt64 { 0 }
        var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) { ([], [], [], []) }
        var stats: DeviceStats { DeviceStats() }
        func setAdminUp(_ up: Bool) {}
        func setMAC(_ address: UInt64) {}
        func setMTU(_ mtu: Int) {}
        var status: [String: String] { [:] }
    }

    /// What a program does, on plain bytes.
    private static func run(_ compiled: FlowProgram.Compiled, _ bytes: [UInt8]) -> [[[UInt8]]] {
        var out: [[[UInt8]]] = [[], [], []]
        var b = bytes
        switch compiled {
        case .drop, .unable, .recirculate: break
        case .output(let port): out[Int(port) - 1].append(b)
        case .program(let program):
            for i in 0..<program.count {
                let step = program.steps[i]
                switch step.kind {
                case .copyTo, .sendTo: out[Int(step.port) - 1].append(b)
                case .pushVLAN: b.insert(contentsOf: withUnsafeBytes(of: step.port) { Array($0) }, at: 12)
                case .popVLAN: b.removeSubrange(12..<16)
                default: b.withUnsafeMutableBytes { $0.baseAddress.map(step.rewrite) }
                }
            }
        }
        return out
    }

    private static func actions(_ key: FlowKey, _ g: inout SeededGenerator) -> [DpAction] {
        (0..<Int.random(in: 1...5, using: &g)).map { _ in
            func field(_ l: FieldLocation) -> DpSet.Field {
                let v = UInt128(g.next()) << 64 | UInt128(g.next())
                return DpSet.Field(l, v & l.allOnes, mask: g.chance(70) ? l.allOnes : UInt128(g.next()) & l.allOnes)
            }
            switch g.pick([0, 0, 1, 2, 3, 3, 4, 4, 5]) {
            case 0: return .output(g.pick([1, 2, 3]))
            case 1: return .pushVLAN(tpid: g.pick([0x8100, 0x88a8]), tci: UInt16(g.pick([5, 0x2005])))
            case 2: return .popVLAN
            case 3 where key.ethType == 0x0800:
                return .set(DpSet(.ipv4, [field(g.pick([Location.nwSrc, Location.nwDst, Location.nwTOS, Location.nwTTL]))]))
            case 3 where key.ethType == 0x86dd:
                return .set(DpSet(.ipv6, [field(g.pick([Location.ipv6Src, Location.ipv6Dst, Location.nwTTL, Location.nwTOS]))]))
            case 4 where key.nwProto == 6 && (key.ethType == 0x0800 || key.ethType == 0x86dd):
                return .set(DpSet(.tcp, [field(g.pick([Location.tpSrc, Location.tpDst]))]))
            case 4 where key.nwProto == 17 && (key.ethType == 0x0800 || key.ethType == 0x86dd):
                return .set(DpSet(.udp, [field(g.pick([Location.tpSrc, Location.tpDst]))]))
            default: return .set(DpSet(.eth, [field(g.pick([Location.ethSrc, Location.ethDst]))]))
            }
        }
    }

    @Test func programsDoWhatTheEngineDoes() throws {
        var g = SeededGenerator(for: "programs")
        var compared = 0
        for _ in 0..<4000 {
            let packet = RandomPacket.make(&g)
            let shape = packet.withUnsafeBytes { bytes in
                bytes.baseAddress.map { HeaderShape.of($0, readable: bytes.count, length: bytes.count, acceptsTag: true) } ?? .slow
            }
            guard shape != .slow else { continue }
            let actions = Self.actions(key(packet), &g)
            let compiled = FlowProgram.compile(actions, shape: shape) { $0 }
            if case .unable = compiled { continue }
            let engine = UserspaceDatapath(type: "test", name: "test", capabilities: DpifCapabilities(), time: TimeSource())
            let sinks = (1...3).map { Sink("p\($0)") }
            for (i, sink) in sinks.enumerated() { _ = try engine.addPort(sink, requested: UInt32(i + 1)) }
            var metadata = FlowKey()
            metadata.inPort = 9
            try engine.execute(Packet(packet), metadata: metadata, actions: actions)
            compared += 1
            #expect(Self.run(compiled, packet) == sinks.map(\.sent), "seed \(g.seed): \(actions) on \(packet)")
        }
        #expect(compared > 500)
    }
}
