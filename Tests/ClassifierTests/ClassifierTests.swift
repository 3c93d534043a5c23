import Flow
import TestSupport
import Testing

@testable import Classifier

/// Random matches over few values, so that rules and packets meet.
private func randomMatch(_ g: inout SeededGenerator) -> Match {
    var m = Match()
    if Bool.random(using: &g) { m.set(Location.inPort, UInt128(Int.random(in: 1...3, using: &g))) }
    if Bool.random(using: &g) { m.set(Location.ethSrc, UInt128(Int.random(in: 1...3, using: &g))) }
    if Int.random(in: 0..<4, using: &g) > 0 {
        m.set(Location.ethType, 0x0800)
        let length = [0, 8, 9, 16, 24, 32].randomElement(using: &g)!
        if length > 0 {
            let mask = AddressText.prefixMask(length, width: 32)
            m.set(Location.nwDst, UInt128(randomAddress(&g)), mask: mask)
        }
        if Bool.random(using: &g) { m.set(Location.nwProto, [6, 17].randomElement(using: &g)!) }
        if Bool.random(using: &g) {
            m.set(Location.tpDst, UInt128(Int.random(in: 0...7, using: &g)), mask: [0xffff, 0xfffe, 0xfffc].randomElement(using: &g)!)
        }
    }
    return m
}

private func randomAddress(_ g: inout SeededGenerator) -> UInt32 {
    [0x0a00_0000, 0x0a80_0000, 0x0a81_0001, 0xc0a8_0000, 0xc0a8_0001].randomElement(using: &g)! ^ UInt32.random(in: 0...1, using: &g)
}

private func randomKey(_ g: inout SeededGenerator) -> FlowKey {
    var k = FlowKey()
    k.inPort = UInt32.random(in: 1...3, using: &g)
    k.ethSrc = UInt64.random(in: 1...3, using: &g)
    k.ethType = [0x0800, 0x0806].randomElement(using: &g)!
    if k.ethType == 0x0800 {
        k.nwDst = randomAddress(&g)
        k.nwProto = [6, 17].randomElement(using: &g)!
        k.tpDst = UInt16.random(in: 0...7, using: &g)
    }
    return k
}

@Suite struct ClassifierTests {
    /// Against a linear list: the same rule is found, and any packet that agrees in the consulted bits finds it too.
    @Test func agreesWithALinearSearchAndItsMasksAreSound() {
        var g = SeededGenerator(for: "classifier")
        for round in 0..<8 {
            var classifier = Classifier()
            var list: [ClassifierRule] = []
            for step in 0..<200 {
                if step % 5 == 4, let victim = list.indices.randomElement(using: &g) {
                    classifier.remove(list[victim])
                    list.remove(at: victim)
                } else {
                    let match = randomMatch(&g)
                    let priority = Int.random(in: 0...20, using: &g)
                    guard classifier.find(match, priority: priority) == nil else { continue }
                    let rule = ClassifierRule(match: match, priority: priority)
                    classifier.insert(rule)
                    list.append(rule)
                }
            }
            #expect(classifier.count == list.count)
            func expected(_ key: FlowKey) -> Int? { list.filter { $0.match.matches(key) }.map(\.priority).max() }
            for _ in 0..<100 {
                let key = randomKey(&g)
                var mask = FlowMask()
                let found = classifier.lookup(key, consulted: &mask)
                #expect(found?.priority == expected(key), "seed \(g.seed), round \(round)")
                // Megaflow soundness: change what was not looked at.
                for _ in 0..<10 {
                    let other = randomKey(&g)
                    var mixed = other
                    for i in 0..<FlowKey.wordCount {
                        mixed.words[i] = key.words[i] & mask.bits.words[i] | other.words[i] & ~mask.bits.words[i]
                    }
                    // Only keys that a packet can have.
                    guard mixed.ethType == 0x0800 || mixed.nwDst == 0 else { continue }
                    #expect(expected(mixed) == found?.priority, "seed \(g.seed), round \(round): mask not sound")
                }
            }
        }
    }

    @Test func aSnapshotDoesNotChange() {
        var classifier = Classifier()
        var match = Match()
        match.set(Location.inPort, 1)
        let rule = ClassifierRule(match: match, priority: 5)
        classifier.insert(rule)
        let snapshot = classifier
        classifier.remove(rule)
        var key = FlowKey()
        key.inPort = 1
        var mask = FlowMask()
        #expect(snapshot.lookup(key, consulted: &mask) === rule)
        #expect(classifier.lookup(key, consulted: &mask) == nil)
    }

    /// Threads look rules up in snapshots, without a lock, while the classifier that these are of goes on changing.
    @Test func otherThreadsReadSnapshots() async {
        var g = SeededGenerator(for: "snapshots")
        var classifier = Classifier()
        func change() {
            for _ in 0..<50 {
                let match = randomMatch(&g)
                let priority = Int.random(in: 0...20, using: &g)
                if let old = classifier.find(match, priority: priority) {
                    classifier.remove(old)
                } else {
                    classifier.insert(ClassifierRule(match: match, priority: priority))
                }
            }
        }
        change()
        let keys = (0..<200).map { _ in randomKey(&g) }
        for _ in 0..<10 {
            // What lookups read of a snapshot does not change any more: the classifier copies what it shares before it writes.
            nonisolated(unsafe) let snapshot = classifier
            let lookUp: @Sendable () -> [Int?] = {
                keys.map { key in
                    var mask = FlowMask()
                    return snapshot.lookup(key, consulted: &mask)?.priority
                }
            }
            let expected = lookUp()
            let readers = (0..<3).map { _ in Task.detached { lookUp() } }
            change()
            for reader in readers { #expect(await reader.value == expected, "seed \(g.seed)") }
        }
    }

    @Test func conjunctionsNeedEveryClause() {
        var classifier = Classifier()
        func add(_ location: FieldLocation, _ value: UInt128, clause: UInt8) {
            var m = Match()
            m.set(location, value)
            classifier.insert(
                ClassifierRule(match: m, priority: 10, conjunctions: [.init(id: 7, clause: clause, count: 2)]))
        }
        add(Location.nwSrc, 1, clause: 0)
        add(Location.nwSrc, 2, clause: 0)
        add(Location.nwDst, 3, clause: 1)
        var m = Match()
        m.set(Location.conjID, 7)
        let target = ClassifierRule(match: m, priority: 10)
        classifier.insert(target)
        var key = FlowKey()
        key.nwSrc = 2
        key.nwDst = 3
        var mask = FlowMask()
        #expect(classifier.lookup(key, consulted: &mask) === target)
        #expect(mask.bits.conjID == 0)
        key.nwDst = 4
        #expect(classifier.lookup(key, consulted: &mask) == nil)
    }

    @Test func triesKeepMasksNarrow() {
        var classifier = Classifier()
        func add(_ address: UInt32, _ length: Int, _ priority: Int) {
            var m = Match()
            m.set(Location.ethType, 0x0800)
            m.set(Location.nwDst, UInt128(address), mask: AddressText.prefixMask(length, width: 32))
            classifier.insert(ClassifierRule(match: m, priority: priority))
        }
        add(0x0a01_0203, 32, 30)
        add(0xc0a8_0000, 16, 20)
        var key = FlowKey()
        key.ethType = 0x0800
        key.nwDst = 0xc0a8_0101
        var mask = FlowMask()
        #expect(classifier.lookup(key, consulted: &mask)?.priority == 20)
        // The first bit shows that it is not 10.1.2.3.
        #expect(mask.bits.nwDst == 0xffff_0000)
    }
}
