// Multipart requests in several parts.

import Testing

@testable import OpenFlow

@Suite struct MultipartAssemblerTests {
    /// A table features request of OpenFlow 1.5 with a body of so many bytes.
    private func part(xid: UInt32, type: UInt16 = 12, body: Int = 0, more: Bool) throws -> OFMessage {
        var w = WireWriter.message(.v15, 18, xid: xid)
        w.u16(type)
        w.u16(more ? 1 : 0)
        w.zeros(4 + body)
        return try OFMessage(w.finish(), isContinuation: true)
    }

    @Test func oneMessageIsWhole() throws {
        var assembler = MultipartAssembler()
        let parts = try assembler.add(part(xid: 1, more: false), now: 0)
        #expect(parts?.count == 1)
        #expect(assembler.isEmpty)
    }

    @Test func partsComeTogetherByTransaction() throws {
        var assembler = MultipartAssembler()
        #expect(try assembler.add(part(xid: 1, body: 8, more: true), now: 0) == nil)
        #expect(try assembler.add(part(xid: 2, body: 16, more: true), now: 0) == nil)
        #expect(assembler.isContinuation(xid: 1))
        #expect(try assembler.add(part(xid: 1, more: false), now: 0)?.map(\.body.remaining) == [8, 0])
        #expect(try assembler.add(part(xid: 2, body: 24, more: false), now: 0)?.map(\.body.remaining) == [16, 24])
        #expect(assembler.isEmpty)
    }

    @Test func anotherKindUnderTheSameIdIsRefused() throws {
        var assembler = MultipartAssembler()
        _ = try assembler.add(part(xid: 1, more: true), now: 0)
        #expect(throws: OFError.brcBadStat) { try assembler.add(part(xid: 1, type: 0, more: false), now: 0) }
        #expect(try assembler.add(part(xid: 1, more: false), now: 0)?.count == 2)
    }

    @Test func tooMuchIsRefused() throws {
        var assembler = MultipartAssembler()
        var refused = 0
        for _ in 0..<100 {
            do { _ = try assembler.add(part(xid: 1, body: 60000, more: true), now: 0) } catch OFError.brcMultipartBufferOverflow {
                refused += 1
            }
        }
        #expect(refused == 1)
    }

    @Test func theLastPartMustComeInTime() throws {
        var assembler = MultipartAssembler()
        _ = try assembler.add(part(xid: 1, more: true), now: 0)
        _ = try assembler.add(part(xid: 2, more: true), now: 500)
        #expect(assembler.expire(now: 999).isEmpty)
        #expect(assembler.expire(now: 1000).map(\.xid) == [1])
        #expect(!assembler.isEmpty)
    }
}
