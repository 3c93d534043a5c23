// Requests to the kernel and their answers. The kernel works on a request while it is being sent, so answers wait when `send` returns:
// nothing here blocks.
//
// Answers are found by their sequence numbers, since what is left of an earlier request that failed half-way may come first. What a full
// socket buffer dropped (ENOBUFS) and what changed under a dump (NLM_F_DUMP_INTR) is asked for again where that is harmless.

import CLinux
import Dpif
import Glibc

/// How a request of a batch ended: the messages that answered, or the error.
typealias NetlinkAnswer = Result<[NetlinkMessage], DpifError>

/// A socket with its sequence numbers. Confined to the main thread.
final class NetlinkTransport {
    private let channel: any NetlinkChannel
    private var sequence: UInt32
    /// How often the kernel had no room for an answer.
    private(set) var overflows = 0
    /// How often a dump was started again because something changed.
    private(set) var interruptions = 0
    /// Requests that one call carries at most, so that their answers fit into the socket's buffer.
    static let batchLimit = 64
    private static let attempts = 16

    init(_ channel: any NetlinkChannel) {
        self.channel = channel
        sequence = UInt32.random(in: 1...0xffff)
    }

    var portID: UInt32 { channel.portID }

    private func next() -> UInt32 {
        sequence &+= 1
        if sequence == 0 { sequence = 1 }
        return sequence
    }

    /// Sends a request and returns what answered. Throws the kernel's errno.
    @discardableResult
    func transact(_ request: NetlinkMessageWriter, _ what: @autoclosure () -> String) throws(DpifError) -> [NetlinkMessage] {
        let answer = batch([request])[0]
        do { return try answer.get() } catch { throw DpifError(error.errno, what()) }
    }

    /// Sends requests together. Each one is acknowledged and so has its own answer; one that fails does not stop the others.
    func batch(_ requests: [NetlinkMessageWriter]) -> [NetlinkAnswer] {
        var answers: [NetlinkAnswer] = []
        answers.reserveCapacity(requests.count)
        var start = 0
        while start < requests.count {
            let end = min(start + Self.batchLimit, requests.count)
            answers += exchange(Array(requests[start..<end]))
            start = end
        }
        return answers
    }

    private func exchange(_ requests: [NetlinkMessageWriter]) -> [NetlinkAnswer] {
        var answers = [NetlinkAnswer?](repeating: nil, count: requests.count)
        var found = [[NetlinkMessage]](repeating: [], count: requests.count)
        var indices: [UInt32: Int] = [:]
        var bytes: [UInt8] = []
        for (i, request) in requests.enumerated() {
            var request = request
            request.addFlags(UInt16(NLM_F_REQUEST) | UInt16(NLM_F_ACK))
            let number = next()
            do throws(DpifError) {
                try request.finish(sequence: number, port: channel.portID)
                indices[number] = i
                bytes += request.bytes
            } catch {
                answers[i] = .failure(error)
            }
        }
        var waiting = indices.count
        func fail(_ error: DpifError) {
            for i in answers.indices where answers[i] == nil { answers[i] = .failure(error) }
        }
        do throws(DpifError) {
            if waiting > 0 { try channel.persistently { () throws(DpifError) in try channel.send(bytes) } }
            while waiting > 0 {
                let datagram: [UInt8]?
                do throws(DpifError) {
                    datagram = try channel.persistently { () throws(DpifError) in try channel.receive() }
                } catch {
                    guard error.errno == ENOBUFS else { throw error }
                    // Some answers are gone. The rest are read, and those that miss one fail.
                    overflows += 1
                    continue
                }
                guard let datagram else { throw DpifError(ENOBUFS, "answers that were lost") }
                for message in try NetlinkMessage.split(datagram[...]) {
                    guard let i = indices[message.sequence], answers[i] == nil else { continue }
                    if let code = message.errorCode {
                        answers[i] = code == 0 ? .success(found[i]) : .failure(DpifError(code, "netlink request"))
                        waiting -= 1
                    } else {
                        found[i].append(message)
                    }
                }
            }
        } catch {
            fail(error)
        }
        return answers.map { $0 ?? .failure(DpifError(EPROTO, "netlink request")) }
    }

    /// Everything that a request with NLM_F_DUMP gives, in one consistent pass where the kernel can tell. `body` is called for each message,
    /// after the whole dump was read. Throws the kernel's errno; EINTR when it changed again and again meanwhile.
    func dump(_ request: NetlinkMessageWriter, _ what: @autoclosure () -> String, _ body: (NetlinkMessage) throws(DpifError) -> Void)
        throws(DpifError)
    {
        var messages: [NetlinkMessage] = []
        for attempt in 1...Self.attempts {
            var request = request
            request.addFlags(UInt16(NLM_F_REQUEST) | UInt16(NLM_F_DUMP))
            let number = next()
            try request.finish(sequence: number, port: channel.portID)
            switch try dumpOnce(request.bytes, number, what(), &messages) {
            case .whole:
                for message in messages { try body(message) }
                return
            case .interrupted where attempt == Self.attempts:
                throw DpifError(EINTR, what())
            case .interrupted:
                interruptions += 1
                messages.removeAll(keepingCapacity: true)
            }
        }
    }

    private enum DumpEnd { case whole, interrupted }

    private func dumpOnce(_ bytes: [UInt8], _ number: UInt32, _ what: String, _ messages: inout [NetlinkMessage]) throws(DpifError)
        -> DumpEnd
    {
        try channel.persistently { () throws(DpifError) in try channel.send(bytes) }
        var isInterrupted = false
        while true {
            let datagram: [UInt8]?
            do throws(DpifError) {
                datagram = try channel.persistently { () throws(DpifError) in try channel.receive() }
            } catch {
                guard error.errno == ENOBUFS else { throw error }
                overflows += 1
                isInterrupted = true
                continue
            }
            // The rest of the dump was lost.
            guard let datagram else { return .interrupted }
            for message in try NetlinkMessage.split(datagram[...]) where message.sequence == number {
                if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { isInterrupted = true }
                if let code = message.errorCode {
                    if code == EBUSY || code == EINTR { return .interrupted }
                    guard code != 0 else { continue }
                    throw DpifError(code, what)
                }
                if Int32(message.type) == NLMSG_DONE {
                    if let code = Int32(host: message.payload.prefix(4)), code < 0 {
                        if code == -EINTR { return .interrupted }
                        throw DpifError(code == .min ? EINVAL : -code, what)
                    }
                    return isInterrupted ? .interrupted : .whole
                }
                messages.append(message)
            }
        }
    }
}
