// The cache of hints: it keeps what it is told, grows with flows and with hashes, and shrinks when nothing needs its size.

import Glibc
import TestSupport
import Testing

@testable import FastPath

@Suite struct HintCacheTests {
    /// A cache in memory of its own.
    func withCache(_ body: (inout HintCache) -> Void) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: HintCache.size, alignment: 64)
        memset(memory, 0, HintCache.size)
        defer { memory.deallocate() }
        var cache = HintCache(memory.bindMemory(to: UInt32.self, capacity: HintCache.size / 4))
        body(&cache)
    }

    @Test func growsWithFlowsAndKeepsMost() {
        var g = SeededGenerator(for: "hints")
        let hashes = (0..<20_000).map { _ in g.next() }
        withCache { cache in
            var known = 0
            for (i, hash) in hashes.enumerated() {
                cache.makeRoom(flows: i + 1)
                cache.remember(UInt32(i + 1), hash)
            }
            #expect(cache.bucketCount == 4096)
            // Growing leaves some where they are not looked for; told again, nearly all are there.
            for (i, hash) in hashes.enumerated() where cache.first(hash, where: { $0 == UInt32(i + 1) }) == 0 {
                cache.remember(UInt32(i + 1), hash)
            }
            for (i, hash) in hashes.enumerated() where cache.first(hash, where: { $0 == UInt32(i + 1) }) != 0 {
                known += 1
                #expect(cache.candidate(hash) == UInt32(i + 1), "seed \(g.seed)")
            }
            #expect(known > 19_000, "seed \(g.seed)")
        }
    }

    @Test func growsWithHashesAndShrinks() {
        var g = SeededGenerator(for: "hashes")
        withCache { cache in
            let fewest = cache.bucketCount
            // One flow, and more hashes than there are hints.
            for _ in 0..<100_000 { cache.remember(1, g.next()) }
            let most = cache.bucketCount
            #expect(most >= 16 * fewest, "seed \(g.seed)")
            // The second in which they came, and a minute without any.
            for _ in 0...60 { cache.maintain(flows: 1) }
            #expect(cache.bucketCount == most / 2)
            // That was too early, so it takes longer the next time.
            while cache.bucketCount < most { cache.remember(1, g.next()) }
            for _ in 0...100 { cache.maintain(flows: 1) }
            #expect(cache.bucketCount == most)
            for _ in 0..<100_000 { cache.maintain(flows: 1) }
            #expect(cache.bucketCount == fewest)
            // Flows keep it.
            cache.makeRoom(flows: 10_000)
            for _ in 0..<1000 { cache.maintain(flows: 10_000) }
            #expect(cache.bucketCount == 2048)
        }
    }
}
