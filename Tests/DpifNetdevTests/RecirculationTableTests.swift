// Which recirculations polling threads know, and when they are forgotten.

import Dpif
import FastPath
import Flow
import Testing

@testable import DpifNetdev

@Suite struct RecirculationTableTests {
    private static let hash = Recirculation.Hash(.l4, basis: 0)

    private static func key(hash: UInt32, id: UInt32 = 7) -> FlowKey {
        var key = FlowKey()
        key.inPort = 3
        key.recircID = id
        key.dpHash = hash
        return key
    }

    private static func mask(hash: UInt32) -> FlowMask {
        var mask = FlowMask()
        for l in [Location.inPort, Location.recircID] { mask.setExact(l) }
        mask.bits.dpHash = hash
        return mask
    }

    @Test func flowsOfOneIDShareANumberAndAMask() throws {
        var table = RecirculationTable()
        var told: [UInt32] = []
        let first = try #require(table.place(of: Self.key(hash: 0x15), Self.mask(hash: 0xf)) { _, _, mask, _ in told.append(mask) })
        table.joined(.flow(first.entry))
        let second = try #require(table.place(of: Self.key(hash: 0x26), Self.mask(hash: 0xf)) { _, _, _, _ in })
        #expect(second.entry === first.entry)
        #expect(first.port == Recirculation.port(first.entry.number, maskedHash: 5))
        #expect(second.port == Recirculation.port(first.entry.number, maskedHash: 6))
        // Other bits of the hash only once none is left that looks at these.
        #expect(table.place(of: Self.key(hash: 1), Self.mask(hash: 0xff)) { _, _, _, _ in } == nil)
        #expect(table.number(7, of: 3, Self.hash, core: 0) { _, _, _ in true } === first.entry)
        table.joined(.sender(first.entry))
        table.left(.flow(first.entry))
        let wider = try #require(table.place(of: Self.key(hash: 1), Self.mask(hash: 0xff)) { _, _, mask, _ in told.append(mask) })
        #expect(wider.entry === first.entry && told == [0xff])
    }

    @Test func aNumberIsFreeWhenNobodyNeedsIt() throws {
        var table = RecirculationTable()
        var numbers: Set<UInt32> = []
        for id in 1...UInt32(Recirculation.limit * 2) {
            let place = try #require(table.place(of: Self.key(hash: 1, id: id), Self.mask(hash: 1)) { _, _, _, _ in })
            numbers.insert(place.entry.number)
            table.joined(.flow(place.entry))
            table.left(.flow(place.entry))
        }
        #expect(numbers.count == 1)
        for id in 1...UInt32(Recirculation.limit) {
            table.joined(.flow(try #require(table.place(of: Self.key(hash: 1, id: id), Self.mask(hash: 1)) { _, _, _, _ in }).entry))
        }
        #expect(table.place(of: Self.key(hash: 1, id: 1 << 20), Self.mask(hash: 1)) { _, _, _, _ in } == nil)
    }

    @Test func whatThreadsCannotTellApartTheyDoNotGet() {
        var table = RecirculationTable()
        // Not recirculated, more of the hash than there is room for, and other metadata, unless it is that of all packets.
        #expect(table.place(of: Self.key(hash: 1, id: 0), Self.mask(hash: 1)) { _, _, _, _ in } == nil)
        #expect(table.place(of: Self.key(hash: 1), Self.mask(hash: 0x1ffff)) { _, _, _, _ in } == nil)
        var mask = Self.mask(hash: 1)
        mask.bits.pktMark = 0xff
        var key = Self.key(hash: 1)
        #expect(table.place(of: key, mask) { _, _, _, _ in } != nil)
        key.pktMark = 4
        #expect(table.place(of: key, mask) { _, _, _, _ in } == nil)
    }

    @Test func threadsAreToldOnceAndSendersAgree() throws {
        var table = RecirculationTable()
        // Before its first flow there is none.
        #expect(table.number(7, of: 3, Self.hash, core: 0) { _, _, _ in true } == nil)
        let entry = try #require(table.place(of: Self.key(hash: 1), Self.mask(hash: 3)) { _, _, _, _ in }).entry
        table.joined(.flow(entry))
        var told = 0
        for core in [0, 0, 1, 1] {
            let found = table.number(7, of: 3, Self.hash, core: core) { number, mask, hash in
                told += 1
                return number == entry.number && mask == 3 && hash == Self.hash
            }
            #expect(found === entry)
        }
        #expect(told == 2)
        #expect(table.number(7, of: 3, Self.hash, core: 2) { _, _, _ in false } == nil)
        table.joined(.sender(entry))
        #expect(table.number(7, of: 3, Recirculation.Hash(.symmetricL4, basis: 0), core: 0) { _, _, _ in true } == nil)
        #expect(table.number(7, of: 4, Self.hash, core: 0) { _, _, _ in true } == nil)
        table.forget(0)
        _ = table.number(7, of: 3, Self.hash, core: 0) { _, _, _ in
            told += 1
            return true
        }
        #expect(told == 3)
    }
}
