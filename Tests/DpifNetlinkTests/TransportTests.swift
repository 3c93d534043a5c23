// Requests and answers against a kernel that the test plays: lost, cut, late and wrong answers.

import CLinux
import Dpif
import Glibc
import Testing

@testable import DpifNetlink

/// A kernel: answers what was sent by a script.
private final class ScriptedChannel: NetlinkChannel {
    enum Event {
        case datagram([UInt8])
        case failure(Int32)
    }
    let portID: UInt32 = 42
    var sent: [[NetlinkMessage]] = []
    var sendFailure: Int32?
    /// How many calls a signal interrupts before the next succeeds.
    var interruptions = 0
    var interruptionsLeft = 0
    private var events: [Event] = []
    /// What one call gives, made from the requests in it.
    var respond: ([NetlinkMessage]) -> [Event] = { _ in [] }

    func send(_ bytes: [UInt8]) throws(DpifError) {
        if let sendFailure { throw DpifError(sendFailure, "test") }
        try interrupt()
        let messages = try NetlinkMessage.split(bytes[...])
        sent.append(messages)
        events += respond(messages)
    }

    private func interrupt() throws(DpifError) {
        guard interruptionsLeft > 0 else {
            interruptionsLeft = interruptions
            return
        }
        interruptionsLeft -= 1
        throw DpifError(EINTR, "test")
    }

    func receive() throws(DpifError) -> [UInt8]? {
        try interrupt()
        guard !events.isEmpty else { return nil }
        switch events.removeFirst() {
        case .datagram(let bytes): return bytes
        case .failure(let error): throw DpifError(error, "test")
        }
    }
}

/// A message of the kernel's.
private func message(_ type: Int32, _ sequence: UInt32, flags: Int32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    var w = NetlinkMessageWriter(type: UInt16(type), flags: UInt16(flags))
    w.raw(payload)
    try? w.finish(sequence: sequence, port: 42)
    return w.bytes
}

private func acknowledgement(_ sequence: UInt32, _ error: Int32 = 0) -> [UInt8] {
    message(NLMSG_ERROR, sequence, withUnsafeBytes(of: -error) { Array($0) } + Array(repeating: 0, count: 16))
}

private func data(_ sequence: UInt32, _ byte: UInt8, flags: Int32 = 0) -> [UInt8] { message(30, sequence, flags: flags, [byte, 0, 0, 0]) }
private func end(_ sequence: UInt32, _ error: Int32 = 0, flags: Int32 = 0) -> [UInt8] {
    message(NLMSG_DONE, sequence, flags: flags, withUnsafeBytes(of: -error) { Array($0) })
}

private let request = NetlinkMessageWriter(type: 30, flags: 0)

struct TransportTests {
    private func transport(_ respond: @escaping ([NetlinkMessage]) -> [ScriptedChannel.Event]) -> (NetlinkTransport, ScriptedChannel) {
        let channel = ScriptedChannel()
        channel.respond = respond
        return (NetlinkTransport(channel), channel)
    }

    @Test func answersBelongToTheirRequests() throws {
        // Out of order, all in one datagram, with one left over from before.
        let (transport, channel) = transport { requests in
            let late = data(7, 99) + acknowledgement(7)
            return [
                .datagram(
                    late + requests.reversed().flatMap { data($0.sequence, UInt8($0.sequence & 0xff)) + acknowledgement($0.sequence) })
            ]
        }
        let answers = transport.batch([request, request, request])
        #expect(channel.sent.count == 1 && channel.sent[0].count == 3)
        for (answer, sent) in zip(answers, channel.sent[0]) {
            #expect(try answer.get().map { $0.payload.first } == [UInt8(sent.sequence & 0xff)])
        }
    }

    @Test(arguments: [EBUSY, ENODEV, EINVAL, EEXIST]) func errorsAreOfOneRequest(_ error: Int32) throws {
        let (transport, _) = transport { requests in
            requests.enumerated().map { .datagram(acknowledgement($1.sequence, $0 == 1 ? error : 0)) }
        }
        let answers = transport.batch([request, request, request])
        #expect(throws: Never.self) { try answers[0].get() }
        #expect(throws: Never.self) { try answers[2].get() }
        #expect { try answers[1].get() } throws: { ($0 as? DpifError)?.errno == error }
    }

    @Test func signalsInterruptNothing() throws {
        let (transport, channel) = transport { $0.map { .datagram(acknowledgement($0.sequence)) } }
        channel.interruptions = 3
        channel.interruptionsLeft = 3
        for answer in transport.batch([request, request]) { #expect(throws: Never.self) { try answer.get() } }
        #expect(channel.sent.count == 1)
        channel.respond = { requests in [.datagram(data(requests[0].sequence, 1)), .datagram(end(requests[0].sequence))] }
        var bytes: [UInt8] = []
        try transport.dump(request, "dump") { bytes.append($0.payload.first ?? 0) }
        #expect(bytes == [1])
        // One that never gets through is told.
        channel.interruptions = 1000
        channel.interruptionsLeft = 1000
        #expect { try transport.transact(request, "request") } throws: { ($0 as? DpifError)?.errno == EINTR }
    }

    @Test func lostAnswersAreErrors() throws {
        let (transport, _) = transport { requests in [.datagram(acknowledgement(requests[0].sequence)), .failure(ENOBUFS)] }
        let answers = transport.batch([request, request])
        #expect(throws: Never.self) { try answers[0].get() }
        #expect { try answers[1].get() } throws: { ($0 as? DpifError)?.errno == ENOBUFS }
        #expect(transport.overflows == 1)
    }

    @Test func cutAnswersAreErrors() throws {
        let (first, _) = transport { requests in [.datagram(Array(data(requests[0].sequence, 1).dropLast(2)))] }
        #expect(throws: DpifError.self) { try first.transact(request, "cut") }
        let (second, _) = transport { _ in [.failure(EMSGSIZE)] }
        #expect { try second.transact(request, "long") } throws: { ($0 as? DpifError)?.errno == EMSGSIZE }
        let (third, channel) = transport { _ in [] }
        channel.sendFailure = EPERM
        #expect { try third.transact(request, "sent") } throws: { ($0 as? DpifError)?.errno == EPERM }
    }

    @Test func requestsThatDoNotFitAreRefusedAlone() throws {
        var long = request
        long.attribute(1, [UInt8](repeating: 0, count: 70_000))
        let (transport, _) = transport { $0.map { .datagram(acknowledgement($0.sequence)) } }
        let answers = transport.batch([long, request])
        #expect { try answers[0].get() } throws: { ($0 as? DpifError)?.errno == EMSGSIZE }
        #expect(throws: Never.self) { try answers[1].get() }
    }

    @Test func manyRequestsGoInParts() throws {
        let (transport, channel) = transport { $0.map { .datagram(acknowledgement($0.sequence)) } }
        let answers = transport.batch(Array(repeating: request, count: 1000))
        #expect(answers.count == 1000)
        #expect(channel.sent.allSatisfy { $0.count <= NetlinkTransport.batchLimit })
        #expect(Set(channel.sent.joined().map(\.sequence)).count == 1000)
    }

    /// What a dump gives, and how often it was asked for.
    private func dump(_ respond: @escaping (UInt32, Int) -> [ScriptedChannel.Event]) throws -> (
        bytes: [UInt8], asked: Int, NetlinkTransport
    ) {
        var asked = 0
        let (transport, _) = transport { requests in
            asked += 1
            return respond(requests[0].sequence, asked)
        }
        var bytes: [UInt8] = []
        try transport.dump(request, "dump") { bytes.append($0.payload.first ?? 0) }
        return (bytes, asked, transport)
    }

    @Test func dumpsAreWhole() throws {
        let once = try dump { n, _ in [.datagram(data(n, 1) + data(n, 2)), .datagram(data(n, 3)), .datagram(end(n))] }
        #expect(once.bytes == [1, 2, 3] && once.asked == 1)
        // Changed meanwhile, said by a flag; lost; cut short; the kernel is busy: asked again, and nothing is given twice.
        for trouble: @Sendable (UInt32) -> [ScriptedChannel.Event] in [
            { n in [.datagram(data(n, 1, flags: NLM_F_DUMP_INTR)), .datagram(end(n))] },
            { n in [.datagram(data(n, 1)), .datagram(end(n, flags: NLM_F_DUMP_INTR))] },
            { n in [.datagram(data(n, 1)), .failure(ENOBUFS), .datagram(end(n))] },
            { n in [.datagram(data(n, 1))] },
            { n in [.datagram(acknowledgement(n, EBUSY))] },
            { n in [.datagram(data(n, 1)), .datagram(end(n, EINTR))] },
        ] {
            let again = try dump { n, asked in asked == 1 ? trouble(n) : [.datagram(data(n, 5)), .datagram(end(n))] }
            #expect(again.bytes == [5] && again.asked == 2)
            #expect(again.2.interruptions == 1)
        }
    }

    @Test func dumpsEndInErrors() throws {
        #expect { try dump { n, _ in [.datagram(acknowledgement(n, ENODEV))] } } throws: { ($0 as? DpifError)?.errno == ENODEV }
        #expect { try dump { n, _ in [.datagram(end(n, EINVAL))] } } throws: { ($0 as? DpifError)?.errno == EINVAL }
        // One that never comes to rest is given up.
        #expect { try dump { n, _ in [.datagram(end(n, flags: NLM_F_DUMP_INTR))] } } throws: { ($0 as? DpifError)?.errno == EINTR }
    }

    @Test func statisticsComeInPieces() throws {
        func flow(_ id: UInt128?, packets: UInt64, sequence: UInt32 = 1) -> [UInt8] {
            var w = NetlinkMessageWriter(family: 30, command: 1, version: 1, flags: 0, datapath: 5)
            if let id { w.attribute(Int(OVS_FLOW_ATTR_UFID.rawValue), network: id) }
            w.attribute(Int(OVS_FLOW_ATTR_STATS.rawValue)) {
                $0.host(packets)
                $0.host(packets * 100)
            }
            try? w.finish(sequence: sequence, port: 42)
            return w.bytes
        }
        let channel = ScriptedChannel()
        channel.interruptions = 1
        channel.respond = { _ in
            [
                .datagram(flow(1, packets: 10) + flow(2, packets: 20)), .datagram(flow(nil, packets: 1) + flow(9, packets: 9, sequence: 7)),
                .datagram(flow(3, packets: 30)), .datagram(end(1)),
            ]
        }
        let walk = try FlowWalk(request, on: channel) { 0 }
        #expect(channel.sent.first?.first?.flags == UInt16(NLM_F_REQUEST) | UInt16(NLM_F_DUMP))
        let first = try #require(walk.next(about: 1))
        #expect(first.map(\.ufid) == [UFID(1), UFID(2)] && first.map(\.stats.packets) == [10, 20])
        let second = try #require(walk.next(about: 100))
        #expect(second.map(\.ufid) == [UFID(3)] && second.map(\.stats.bytes) == [3000])
        #expect(walk.next(about: 1) == nil)
        // Cut off, and refused: what came before is given.
        channel.respond = { _ in [.datagram(flow(1, packets: 10)), .failure(ENOBUFS)] }
        let lost = try FlowWalk(request, on: channel) { 0 }
        #expect(lost.next(about: 10)?.count == 1)
        #expect(lost.next(about: 10) == nil)
        channel.respond = { _ in [.datagram(acknowledgement(1, EBUSY))] }
        #expect(try FlowWalk(request, on: channel) { 0 }.next(about: 10) == nil)
    }
}
