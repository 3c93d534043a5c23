// Continuations and NXT_CT_FLUSH: what comes back from outside is checked.

import Flow
import OpenFlow
import Testing

@Suite struct ContinuationTests {
    private var sample: Continuation {
        var c = Continuation()
        c.bridge = (0..<16).map { UInt8($0) }
        c.stack = [7, 1 << 40, 1 << 100]
        c.conntracked = true
        c.steps = [
            .action(.resubmit(ResubmitAction(inPort: .inPort, table: 6))), .unroll(table: 5, cookie: 0x1234),
            .action(.output(OFPort(3), maxLength: 0)), .action(.setQueue(2)),
        ]
        c.actionSet = [.output(OFPort(2), maxLength: 0)]
        c.datapathPort = 9
        return c
    }

    @Test(arguments: [OFVersion.v10, .v13, .v15]) func surviveTheWire(_ version: OFVersion) throws {
        let context = ActionContext(version: version)
        #expect(try Continuation(sample.encode(version: version), context: context) == sample)
    }

    @Test func aTableThatIsGoneToIsResubmittedTo() throws {
        var c = sample
        c.steps = [.action(.gotoTable(9))]
        let back = try Continuation(c.encode(version: .v13), context: ActionContext(version: .v13))
        #expect(back.steps == [.action(.resubmit(ResubmitAction(inPort: .inPort, table: 9)))])
    }

    @Test func hostileBytesAreRefused() {
        let good = sample.encode(version: .v13)
        let context = ActionContext(version: .v13)
        for at in 0..<good.count {
            for value: UInt8 in [0, 0x7f, 0xff] {
                var bytes = good
                bytes[at] = value
                // Whatever it means, it does not trap, and what is taken can be written again.
                if let read = try? Continuation(bytes, context: context) { _ = read.encode(version: .v13) }
            }
        }
        #expect(throws: OFError.bpcBadLen) { try Continuation([0x80, 0, 0, 3], context: context) }
        #expect(throws: OFError.bpcBadValue) { try Continuation([], context: context) }
    }

    @Test func flushesAreReadAsTheToolWritesThem() throws {
        func bytes(_ text: String) -> [UInt8] {
            var text = Substring(text)
            var out: [UInt8] = []
            while let byte = UInt8(text.prefix(2), radix: 16) {
                out.append(byte)
                text = text.dropFirst(2)
            }
            return out
        }
        // ovs-ofctl ct-flush, captured.
        let tuple = try ConntrackFlush.decode(
            OFMessage(
                bytes(
                    "01040068000000020000232000000020060000000000000000000048000000000000001400000000000000000000ffff0102030400000000"
                        + "0001001400000000000000000000ffff0506070800000000000200080001000000030008000200000002000800050000")))
        #expect(tuple.proto == 6 && tuple.zone == 5 && tuple.reply == nil)
        #expect(tuple.original?.source == 0xffff_0102_0304 && tuple.original?.destination == 0xffff_0506_0708)
        #expect(tuple.original?.sourcePort == 1 && tuple.original?.destinationPort == 2)
        let all = try ConntrackFlush.decode(OFMessage(bytes("010400180000000200002320000000200000000000000000")))
        #expect(all == ConntrackFlush())
        // What it does not know the real daemon passes over.
        let unknown = try ConntrackFlush.decode(OFMessage(bytes("0104002000000002000023200000002000000000000000000009000800050000")))
        #expect(unknown == ConntrackFlush())
    }
}
