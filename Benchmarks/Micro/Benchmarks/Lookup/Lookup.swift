// Packet parse and classifier lookup: packets per second, at 1k, 10k and 100k rules under 1, 10 and 50 masks.

import Benchmark
import Classifier
import Flow
import Packet

/// A UDP packet of 64 bytes.
private func packet(source: UInt32, destination: UInt32) -> Packet {
    func bytes<T: FixedWidthInteger>(_ v: T) -> [UInt8] { withUnsafeBytes(of: v.bigEndian) { Array($0) } }
    var b: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
    b += [0x45, 0] + bytes(UInt16(46)) + [0, 0, 0, 0, 64, 17, 0, 0] + bytes(source) + bytes(destination)
    b += bytes(UInt16(1024)) + bytes(UInt16(53)) + bytes(UInt16(26)) + [UInt8](repeating: 0, count: 20)
    return Packet(b)
}

private final class TestRule: ClassifierRule {}

/// Rules on IPv4 five-tuples; the masks differ in their prefix lengths and in whether the ports count.
private func classifier(rules: Int, masks: Int) -> Classifier {
    var c = Classifier()
    for i in 0..<rules {
        var match = Match()
        match.set(Location.ethType, 0x0800)
        let kind = i % masks
        let length = 32 - kind % 25
        let prefix: UInt128 = 0xffff_ffff << UInt128(32 - length) & 0xffff_ffff
        match.set(Location.nwDst, UInt128(0x0a00_0000 + UInt32(truncatingIfNeeded: i * 7919)) & prefix, mask: prefix)
        match.set(Location.nwProto, 17)
        if kind >= 25 { match.set(Location.tpDst, 53) }
        if c.find(match, priority: 1) == nil { c.insert(TestRule(match: match, priority: 1)) }
    }
    return c
}

let benchmarks: @Sendable () -> Void = {
    let lookups = 1000
    let configuration = Benchmark.Configuration(
        metrics: [.throughput], scalingFactor: .kilo, maxDuration: .seconds(2))

    Benchmark("parse UDP", configuration: configuration) { benchmark in
        var p = packet(source: 0x0a00_0001, destination: 0x0a00_0002)
        for _ in benchmark.scaledIterations {
            var key = FlowKey()
            key.extract(from: &p)
            blackHole(key.nwDst)
        }
    }

    for rules in [1000, 10_000, 100_000] {
        for masks in [1, 10, 50] {
            Benchmark("lookup, \(rules) rules, \(masks) masks", configuration: configuration) { benchmark, input in
                let (classifier, keys): (Classifier, [FlowKey]) = input
                for i in benchmark.scaledIterations {
                    var consulted = FlowMask()
                    blackHole(classifier.lookup(keys[i % lookups], consulted: &consulted))
                }
            } setup: {
                let keys = (0..<lookups).map { i in
                    var p = packet(source: 0xc0a8_0001, destination: 0x0a00_0000 + UInt32(truncatingIfNeeded: i % rules * 7919))
                    var key = FlowKey()
                    key.extract(from: &p)
                    return key
                }
                return (classifier(rules: rules, masks: masks), keys)
            }
        }
    }
}
