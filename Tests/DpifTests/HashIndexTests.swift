// The index of flows: it finds what is in it and nothing else, whatever comes and goes, good hashes or bad ones.

import Testing

@testable import Dpif

@Suite struct HashIndexTests {
    private final class Thing {
        let number: Int
        init(_ number: Int) { self.number = number }
    }

    /// A hash for each number: all different, few different, or all the same.
    private enum Hashing: CaseIterable { case good, poor, none }

    private static func hash(_ number: Int, _ hashing: Hashing) -> UInt64 {
        switch hashing {
        case .good: UInt64(number) &* 0x9e37_79b9_7f4a_7c15 ^ 0x1234_5678
        case .poor: UInt64(number % 40)
        case .none: 7
        }
    }

    @Test(arguments: Hashing.allCases) private func agreesWithADictionary(_ hashing: Hashing) {
        var g = SystemRandomNumberGenerator()
        let index = HashIndex<Thing>()
        var model: [Int: Thing] = [:]
        let numbers = hashing == .none ? 600 : 3000
        func check(_ number: Int) {
            let hash = Self.hash(number, hashing)
            #expect(index.find(hash) { $0.number == number } === model[number])
            var search = index.search(hash)
            var found: Thing?
            while let thing = index.next(&search) { if thing.number == number { found = thing } }
            #expect(found === model[number])
        }
        for round in 0..<20_000 {
            let number = Int.random(in: 0..<numbers, using: &g)
            let hash = Self.hash(number, hashing)
            // It grows for a while, then shrinks.
            if Int.random(in: 0..<10, using: &g) < (round / 5000 % 2 == 0 ? 8 : 3) {
                if model[number] == nil {
                    let thing = Thing(number)
                    index.insert(hash, thing)
                    model[number] = thing
                }
            } else if let thing = model.removeValue(forKey: number) {
                #expect(index.remove(hash, thing))
                #expect(!index.remove(hash, thing))
            } else {
                #expect(!index.remove(hash, Thing(number)))
            }
            #expect(index.count == model.count)
            if round % 50 == 0 { check(number) }
        }
        for number in 0..<numbers { check(number) }
        #expect(Set(index.all.map(\.number)) == Set(model.keys) && index.all.count == model.count)
        index.removeAll()
        #expect(index.count == 0 && index.all.isEmpty)
        index.insert(Self.hash(1, hashing), Thing(1))
        #expect(index.find(Self.hash(1, hashing)) { $0.number == 1 } != nil)
    }

    @Test func keepsWhatIsInItAndNothingElse() {
        weak var kept: Thing?
        weak var removed: Thing?
        weak var last: Thing?
        do {
            let index = HashIndex<Thing>()
            for i in 0..<1000 { index.insert(Self.hash(i, .good), Thing(i)) }
            kept = index.find(Self.hash(5, .good)) { $0.number == 5 }
            if let thing = index.find(Self.hash(6, .good), where: { $0.number == 6 }) {
                removed = thing
                index.remove(Self.hash(6, .good), thing)
            }
            #expect(kept != nil && removed == nil)
            index.removeAll()
            #expect(kept == nil)
            index.insert(1, Thing(1))
            last = index.all.first
            #expect(last != nil)
        }
        #expect(last == nil)
    }
}
