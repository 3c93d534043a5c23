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
            // Those that lie where a smaller cache put them are found there, and are where they belong then.
            var candidates = 0
            for (i, hash) in hashes.enumerated() where cache.first(hash, where: { $0 == UInt32(i + 1) }) != 0 {
                known += 1
                // But where another hash looks the same.
                if cache.candidate(hash) == UInt32(i + 1) { candidates += 1 }
            }
            // The others had to make room.
            #expect(known > 18_000 && candidates > known - 200, "seed \(g.seed): \(known), \(candidates)")
        }
    }

    @Test func theSameIsRememberedOnce() {
        withCache { cache in
            // The same bucket, seventeen times.
            for i in 0..<17 { cache.remember(5, UInt64(i) << 53) }
            for _ in 0..<1000 { cache.remember(7, 9 << 53) }
            let others = (0..<17).filter { i in cache.first(UInt64(i) << 53, where: { $0 == 5 }) == 5 }
            #expect(others.count == 15 && cache.first(9 << 53, where: { $0 == 7 }) == 7)
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
