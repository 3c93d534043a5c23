// One OpenFlow connection: framing, negotiation of the version, and bounds on what a peer can make us hold.
//
// The channel's bytes are cut into messages by the length in their headers. The first message either way is a hello; the
// highest version that both sides offer is spoken from then on. A request is answered before the next one is looked at,
// so a barrier has nothing to wait for, and one that takes long is answered in steps. While more than `pauseBacklog` bytes wait to be sent, neither are further
// requests handled nor is more read.

import NIOCore
import OpenFlow
import Vlog

/// An OpenFlow connection of a switch. Confined to the event loop.
public final class OpenFlowConnection {
    /// What the connection is for.
    enum Purpose {
        /// A configured controller that the switch obeys and whose absence means failure.
        case primary
        /// A tool, or a controller that comes and goes.
        case service
        /// Only watches what controllers and the switch tell each other.
        case snoop
    }

    /// Unsent bytes at which requests wait.
    private static let pauseBacklog = 1 << 20
    static let log = Vlog.module("rconn")
    static let wireLog = Vlog.module("vconn")

    let service: OpenFlowService
    let purpose: Purpose
    /// As log messages name the peer.
    let name: String
    private let channel: any Channel
    private let allowed: Set<OFVersion>
    /// Spoken since the hellos; nil before.
    private(set) var version: OFVersion?
    private(set) var isOpen = true

    // State of the protocol.
    var role = ControllerRole.equal
    var usesNXM = false
    var flowModHasTable = false
    var packetInFormat = PacketInFormat.standard
    var controllerID: UInt16 = 0
    var missSendLength: UInt16
    var sendsInvalidTTL = false
    var async = AsyncConfig()
    var bundles: [UInt32: MessageBundle] = [:]
    var monitors = FlowMonitors()
    /// The request that is being answered, and those behind it wait for.
    private var ongoing: (any LongRequest)?
    private var willCarryOn = false
    /// Multipart requests that are not complete.
    var multipart = MultipartAssembler()
    private var nextXID: UInt32 = 1
    var limiters: [PacketInLimiter?] = [nil, nil]

    // Flow control.
    private let outlet: Outlet
    /// Bytes that are no whole message yet, or whose turn has not come.
    private var input = ByteBuffer()
    private var isReading = true
    private var isHandling = false

    /// When bytes came last, in milliseconds of the switch's clock.
    private(set) var lastReceived: Int64
    var onVersion: (() -> Void)?
    var onClose: ((_ reason: String) -> Void)?
    private var closeReason: String?

    init(_ service: OpenFlowService, channel: any Channel, name: String, purpose: Purpose) throws {
        self.service = service
        self.channel = channel
        self.name = name
        self.purpose = purpose
        outlet = Outlet(channel, isEncrypted: TLSIdentity.protects(channel))
        allowed = service.configuration.versions
        missSendLength = purpose == .primary ? 128 : 0
        lastReceived = service.owner.time.now
        try channel.pipeline.syncOperations.addHandler(OpenFlowHandler(self))
        outlet.onProgress = { [unowned self] in sent() }
    }

    /// Bytes that wait to be sent.
    var backlog: Int { outlet.backlog }
    var queuedPacketIns: Int { outlet.queuedPacketIns }

    /// Sends the hello. Call once the channel is active.
    func start() {
        // OpenFlow versions before 1.4 have no bundles, yet the hello names all.
        write(OFSimple.hello(allowed, xid: takeXID()))
        flush()
    }

    func takeXID() -> UInt32 {
        defer { nextXID &+= 1 }
        return nextXID
    }

    // MARK: Output

    /// Queues a message.
    func send(_ message: [UInt8]) {
        guard isOpen else { return }
        write(message)
        if !isHandling { flush() }
    }

    /// Queues a packet-in, unless too many wait already.
    func sendPacketIn(_ message: [UInt8]) {
        guard isOpen, queuedPacketIns < service.configuration.packetQueueSize else { return }
        write(message, isPacketIn: true)
        if !isHandling { flush() }
    }

    private func write(_ message: [UInt8], isPacketIn: Bool = false) {
        outlet.write(message, isPacketIn: isPacketIn)
        service.snoop(message, of: self)
    }

    private func flush() {
        outlet.flush()
        if backlog > Self.pauseBacklog { setReading(false) }
    }

    private func sent() {
        if backlog == 0, monitors.isPaused { resumeMonitors() }
        guard isOpen, !isReading, backlog <= Self.pauseBacklog / 2 else { return }
        setReading(true)
        if ongoing == nil { handleInput() } else { carryOn() }
    }

    private func setReading(_ on: Bool) {
        guard isReading != on else { return }
        isReading = on
        _ = channel.setOption(ChannelOptions.autoRead, value: on)
        if on { channel.read() }
    }

    func close(_ reason: String) {
        guard isOpen else { return }
        flush()
        isOpen = false
        closeReason = reason
        channel.close(promise: nil)
    }

    // MARK: Input

    fileprivate func received(_ buffer: ByteBuffer) {
        guard isOpen else { return }
        lastReceived = service.owner.time.now
        if input.readableBytes == 0 { input = buffer } else { input.writeImmutableBuffer(buffer) }
        handleInput()
        service.stayAwake()
    }

    /// Handles what messages are complete.
    private func handleInput() {
        guard !isHandling else { return }
        isHandling = true
        while isOpen, isReading, ongoing == nil, let length = nextLength() {
            guard length >= OFHeader.size else {
                Self.wireLog.err("\(name): received too-short ofp_header (\(length) bytes)")
                close("Protocol error")
                break
            }
            guard let message = input.readBytes(length: length) else { break }
            handle(message)
            if backlog > Self.pauseBacklog { flush() }
        }
        isHandling = false
        // The channel can use its buffer again.
        if input.readableBytes == 0 { input = ByteBuffer() } else { input.discardReadBytes() }
        flush()
    }

    /// As the next message's header says; nil when that is not there yet.
    private func nextLength() -> Int? {
        guard input.readableBytes >= OFHeader.size else { return nil }
        return input.getInteger(at: input.readerIndex + 2, as: UInt16.self).map(Int.init)
    }

    /// Starts to answer a request that may take long.
    func begin(_ request: some LongRequest) {
        var request = request
        guard !request.step(for: self) else { return }
        ongoing = request
        carryOnLater()
    }

    /// How long the loop has for its sockets between two steps of a long request: it carries out all that is due before it looks at them,
    /// so that a step which follows at once would keep it from them.
    private static let pause = TimeAmount.microseconds(50)

    private func carryOnLater() {
        guard !willCarryOn else { return }
        willCarryOn = true
        channel.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in
            willCarryOn = false
            carryOn()
        }
    }

    /// Answers another part of the request at hand, unless the peer must read first.
    private func carryOn() {
        guard isOpen, isReading, !isHandling, ongoing != nil else { return }
        isHandling = true
        if ongoing?.step(for: self) == true { ongoing = nil }
        isHandling = false
        flush()
        if ongoing == nil { handleInput() } else if isReading { carryOnLater() }
    }

    private func handle(_ bytes: [UInt8]) {
        service.snoop(bytes, of: self)
        guard purpose != .snoop else { return }
        guard let version else {
            negotiate(bytes)
            return
        }
        // Anything but what keeps the connection must be of the version agreed on.
        guard bytes[0] == version.rawValue || bytes[1] <= 3 else {
            Self.wireLog.err(
                "\(name): received OpenFlow version 0x\(Self.hex(bytes[0])) != expected \(Self.hex(version.rawValue))")
            close("Protocol error")
            return
        }
        dispatch(bytes)
    }

    private static func hex(_ v: UInt8) -> String { (v < 16 ? "0" : "") + String(v, radix: 16) }

    private func negotiate(_ bytes: [UInt8]) {
        guard bytes[1] == 0 else {
            Self.wireLog.warn("\(name): received message while expecting hello")
            close("Protocol error")
            return
        }
        let theirs = OFSimple.helloVersions(bytes)
        let ours = allowed.reduce(UInt32(0)) { $0 | $1.bit }
        let common = theirs & ours
        guard common != 0, let agreed = OFVersion(rawValue: UInt8(31 - common.leadingZeroBitCount)) else {
            let text = "We support \(Self.names(ours)), you support \(Self.names(theirs)), no common versions."
            Self.wireLog.warn("\(name): version negotiation failed (\(text))")
            let highest = allowed.max() ?? .v10
            write(OFSimple.helloFailed(highest, xid: takeXID(), text: text))
            close("Protocol error")
            return
        }
        version = agreed
        service.negotiated(self)
        onVersion?()
    }

    /// "version 0x01", "versions 0x01, 0x04": a bitmap of versions in words.
    private static func names(_ bitmap: UInt32) -> String {
        let list = (0..<32).filter { bitmap & 1 << UInt32($0) != 0 }.map { "0x" + hex(UInt8($0)) }
        switch list.count {
        case 0: return "no versions"
        case 1: return "version \(list[0])"
        default: return "versions \(list.joined(separator: ", "))"
        }
    }

    fileprivate func closed(_ error: (any Error)?) {
        isOpen = false
        outlet.onProgress = nil
        ongoing = nil
        let callback = onClose
        onClose = nil
        service.closed(self)
        callback?(closeReason ?? (error == nil ? "End of file" : "Connection reset by peer"))
    }
}

/// The pipeline end of a connection; keeps it alive while the channel is open.
private final class OpenFlowHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let connection: OpenFlowConnection
    private var failure: (any Error)?
    private var isClosed = false

    init(_ connection: OpenFlowConnection) { self.connection = connection }

    func channelActive(context: ChannelHandlerContext) { connection.start() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { connection.received(unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { finish() }

    func handlerRemoved(context: ChannelHandlerContext) { finish() }

    private func finish() {
        guard !isClosed else { return }
        isClosed = true
        connection.closed(failure)
    }
}
