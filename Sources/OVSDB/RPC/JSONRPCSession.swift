// One JSON-RPC peer on a NIO channel: framing, echo, matching replies to requests, the inactivity
// probe, and bounds on what a fast or slow peer can make us hold.
import NIOCore
import Vlog

/// A JSON-RPC connection (RFC 7047 section 4). Confined to its channel's event loop; not thread-safe.
///
/// The session answers "echo" itself, unless told not to. While more than ``Limits/pauseReading`` bytes
/// wait to be sent it stops reading, so that a peer that sends requests without reading replies
/// is slowed down; past ``Limits/maximumBacklog`` it closes.
public final class JSONRPCSession {
    /// Bounds on a session, in bytes.
    public struct Limits: Sendable {
        /// Longest message accepted.
        public var maximumMessage = 256 << 20
        /// Unsent output at which reading pauses.
        public var pauseReading = 1 << 20
        /// Unsent output at which the connection is closed.
        public var maximumBacklog = 512 << 20
        public init() {}
    }

    public enum Outcome: Sendable {
        case result(JSON)
        case error(JSON)
        /// The connection closed before a reply came.
        case disconnected
    }

    private static let log = Vlog.module("jsonrpc")

    /// As log messages name the peer.
    public let name: String
    public let limits: Limits
    /// Requests, notifications, and replies to no request of ours.
    public var onMessage: ((JSONRPCMessage) -> Void)?
    /// Called once, when the connection has closed; the reason is for people.
    public var onClose: ((_ reason: String) -> Void)?
    /// Whether "echo" requests are answered here.
    public var answersEcho = true
    public private(set) var isOpen = true
    /// Bytes accepted by ``send(_:)`` that the socket has not taken yet.
    public private(set) var backlog = 0

    private let channel: any Channel
    private var framer: JSONFramer
    private var nextID: Int64 = 0
    private var waiting: [Int64: (Outcome) -> Void] = [:]
    private var closeReason: String?
    private var probeInterval: TimeAmount?
    private var probe: Scheduled<Void>?
    private var receivedSinceProbe = true
    private var probing = false

    /// Takes over an active channel whose pipeline has no handlers of its own. Call on its event loop.
    public init(channel: any Channel, name: String, limits: Limits = Limits()) throws {
        self.channel = channel
        self.name = name
        self.limits = limits
        framer = JSONFramer(limit: limits.maximumMessage)
        try channel.pipeline.syncOperations.addHandler(JSONRPCHandler(session: self))
    }

    /// Sends an "echo" after `interval` without input, and closes after one more. nil turns it off.
    public func setInactivityProbe(_ interval: TimeAmount?) {
        probe?.cancel()
        probeInterval = interval.flatMap { $0.nanoseconds > 0 ? $0 : nil }
        receivedSinceProbe = true
        probing = false
        scheduleProbe()
    }

    private func scheduleProbe() {
        guard let probeInterval, isOpen else { return }
        probe = channel.eventLoop.assumeIsolated().scheduleTask(in: probeInterval) { [weak self] in self?.probeExpired() }
    }

    private func probeExpired() {
        guard isOpen, let probeInterval else { return }
        if receivedSinceProbe {
            receivedSinceProbe = false
            probing = false
        } else if probing {
            let seconds = Double(probeInterval.nanoseconds) / 1e9
            close(reason: "no response to inactivity probe after \(JSON.text(of: seconds)) seconds, disconnecting")
            return
        } else {
            probing = true
            send(.request(method: "echo", params: [], id: "echo"))
        }
        scheduleProbe()
    }

    /// Queues `message`. Does nothing once closed.
    public func send(_ message: JSONRPCMessage) {
        guard isOpen else { return }
        var bytes: [UInt8] = []
        message.write(to: &bytes)
        JSONRPCSession.log.dbg("\(name): send \(String(decoding: bytes, as: UTF8.self))")
        backlog += bytes.count
        guard backlog <= limits.maximumBacklog else {
            close(reason: "peer does not read: \(backlog) bytes wait to be sent")
            return
        }
        let count = bytes.count
        let written = channel.writeAndFlush(channel.allocator.buffer(bytes: bytes))
        written.assumeIsolated().whenComplete { [weak self] _ in self?.sent(count) }
        if backlog > limits.pauseReading { setReading(false) }
    }

    private var isReading = true

    private func setReading(_ on: Bool) {
        guard isReading != on else { return }
        isReading = on
        _ = channel.setOption(ChannelOptions.autoRead, value: on)
        if on { channel.read() }
    }

    private func sent(_ count: Int) {
        backlog -= count
        if isOpen, backlog <= limits.pauseReading / 2 { setReading(true) }
    }

    /// Sends a request; `completion` is called with its outcome, from the event loop and exactly once.
    @discardableResult
    public func request(_ method: String, _ params: [JSON], completion: @escaping (Outcome) -> Void) -> JSON {
        let id = nextID
        nextID += 1
        guard isOpen else {
            channel.eventLoop.assumeIsolated().execute { completion(.disconnected) }
            return .integer(id)
        }
        waiting[id] = completion
        send(.request(method: method, params: params, id: .integer(id)))
        return .integer(id)
    }

    /// Closes the connection; `onClose` follows from the event loop.
    public func close(reason: String) {
        guard isOpen else { return }
        isOpen = false
        closeReason = reason
        channel.close(promise: nil)
    }

    /// Closes after what was queued has been sent.
    public func closeAfterSending(reason: String) {
        guard isOpen else { return }
        closeReason = reason
        channel.writeAndFlush(channel.allocator.buffer(capacity: 0)).assumeIsolated().whenComplete { [weak self] _ in
            self?.close(reason: reason)
        }
    }

    fileprivate func received(_ buffer: ByteBuffer) {
        guard isOpen else { return }
        receivedSinceProbe = true
        framer.append(buffer.readableBytesView)
        do {
            while isOpen, let text = try framer.next() { try received(text) }
        } catch {
            JSONRPCSession.log.warn("\(name): error parsing stream: \(error)")
            close(reason: "Protocol error")
        }
    }

    private func received(_ text: [UInt8]) throws {
        JSONRPCSession.log.dbg("\(name): received \(String(decoding: text, as: UTF8.self))")
        let message = try JSONRPCMessage(json: JSON(parsing: text))
        switch message {
        case .request(method: "echo", let params, let id) where answersEcho:
            send(.reply(result: .array(params), id: id))
            return
        case .reply(let result, let id):
            if id == "echo" { return }
            if let number = id.integerValue, let completion = waiting.removeValue(forKey: number) {
                completion(.result(result))
                return
            }
        case .error(let error, let id):
            if id == "echo" { return }
            if let number = id.integerValue, let completion = waiting.removeValue(forKey: number) {
                completion(.error(error))
                return
            }
        default: break
        }
        onMessage?(message)
    }

    fileprivate func closed(_ error: (any Error)?) {
        isOpen = false
        probe?.cancel()
        let failed = waiting
        waiting = [:]
        for key in failed.keys.sorted() { failed[key]?(.disconnected) }
        let reason = closeReason ?? error.map { "connection dropped (\($0))" } ?? "connection closed by peer"
        let onClose = onClose
        self.onClose = nil
        onMessage = nil
        onClose?(reason)
    }
}

/// The pipeline end of a session; keeps it alive while the channel is open.
private final class JSONRPCHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let session: JSONRPCSession
    private var failure: (any Error)?

    init(session: JSONRPCSession) { self.session = session }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { session.received(unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { session.closed(failure) }
}
