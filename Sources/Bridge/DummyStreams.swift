// The wires between dummy devices: `pstream` listens, `stream` connects, and frames go to all who are connected, each behind
// its length in two bytes, big-endian.

import Glibc
import NIOCore
import NIOPosix
import Netdev
import Packet
import Vlog

/// Where a wire goes.
private enum WireAddress: Equatable {
    case unix(String)
    case tcp(host: String, port: Int)

    /// `unix:PATH`, `tcp:HOST:PORT`, or with a `p` before them, where TCP has its port first.
    init?(_ text: String, passive: Bool) {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let rest = String(text[text.index(after: colon)...])
        switch (text[..<colon], passive) {
        case ("unix", false), ("punix", true):
            guard !rest.isEmpty else { return nil }
            self = .unix(rest)
        case ("tcp", false), ("ptcp", true):
            let parts = rest.split(separator: ":", maxSplits: 1).map(String.init)
            guard let port = Int(passive ? parts.first ?? "" : parts.last ?? ""), (0...65535).contains(port) else { return nil }
            let host = passive ? (parts.count > 1 ? parts[1] : "0.0.0.0") : parts[0]
            guard passive || parts.count == 2 else { return nil }
            self = .tcp(host: host, port: port)
        default: return nil
        }
    }
}

/// The wires of one dummy device. Confined to the event loop.
final class DummyStreams {
    private static let log = Vlog.module("netdev_dummy")
    /// Milliseconds between attempts to connect.
    private static let retry: Int64 = 200
    /// Bytes that may wait for a peer; what comes then is lost.
    private static let maxBacklog = 1 << 20

    private unowned let device: DummyDevice
    private let eventLoop: any EventLoop
    private var options: (pstream: String?, stream: String?) = (nil, nil)
    private var listener: (any Channel)?
    private var socketPath: String?
    private var peers: [ObjectIdentifier: DummyPeer] = [:]
    /// Rises with every change of the options, so that what was begun before is given up.
    private var generation = 0
    private var isClosed = false
    /// Whether the connection that `stream` asks for is there; nil when none is asked for.
    private(set) var isConnected: Bool?

    init(_ device: DummyDevice, eventLoop: any EventLoop) {
        self.device = device
        self.eventLoop = eventLoop
        device.onTransmit = { [weak self] in self?.transmit($0) }
    }

    /// Takes `pstream` and `stream` of Interface.options; the former goes first.
    func configure(_ new: [String: String]) {
        guard new["pstream"] != options.pstream || new["stream"] != options.stream else { return }
        options = (new["pstream"], new["stream"])
        reset()
        if let text = options.pstream {
            guard let address = WireAddress(text, passive: true) else {
                Self.log.err("\(device.name): \(text): not a stream to listen on")
                return
            }
            listen(address)
        } else if let text = options.stream {
            isConnected = false
            guard let address = WireAddress(text, passive: false) else {
                Self.log.err("\(device.name): \(text): not a stream to connect to")
                return
            }
            connect(address, generation)
        }
    }

    /// Takes the device off all wires.
    func close() {
        isClosed = true
        reset()
    }

    private func reset() {
        generation += 1
        isConnected = nil
        listener?.close(promise: nil)
        listener = nil
        if let socketPath { unlink(socketPath) }
        socketPath = nil
        for peer in peers.values { peer.channel.close(promise: nil) }
        peers = [:]
    }

    private func listen(_ address: WireAddress) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let current = generation
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value.attach(channel, current) }
            }
        let future: EventLoopFuture<any Channel>
        switch address {
        case .unix(let path):
            unlink(path)
            socketPath = path
            future = bootstrap.bind(unixDomainSocketPath: path)
        case .tcp(let host, let port): future = bootstrap.bind(host: host, port: port)
        }
        future.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                if self.generation == current { self.listener = channel } else { channel.close(promise: nil) }
            case .failure(let error): Self.log.err("\(self.device.name): cannot listen (\(error))")
            }
        }
    }

    private func connect(_ address: WireAddress, _ current: Int) {
        guard current == generation, !isClosed else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ClientBootstrap(group: eventLoop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try bound.value.attach(channel, current) }
        }
        let future: EventLoopFuture<any Channel>
        switch address {
        case .unix(let path): future = bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let port): future = bootstrap.connect(host: host, port: port)
        }
        future.assumeIsolated().whenComplete { result in
            guard current == self.generation else { return }
            switch result {
            case .success(let channel):
                self.isConnected = true
                channel.closeFuture.assumeIsolated().whenComplete { _ in
                    guard current == self.generation else { return }
                    self.isConnected = false
                    self.connectLater(address, current)
                }
            case .failure: self.connectLater(address, current)
            }
        }
    }

    private func connectLater(_ address: WireAddress, _ current: Int) {
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Self.retry)) { [weak self] in self?.connect(address, current) }
    }

    private func attach(_ channel: any Channel, _ current: Int) throws {
        guard current == generation, !isClosed else { throw ChannelError.ioOnClosedChannel }
        let peer = DummyPeer(channel) { [weak self] frame in self?.device.receive(Packet(frame)) }
        try channel.pipeline.syncOperations.addHandler(peer)
        peers[ObjectIdentifier(peer)] = peer
        peer.onClose = { [weak self, unowned peer] in self?.peers[ObjectIdentifier(peer)] = nil }
    }

    private func transmit(_ frame: UnsafeRawBufferPointer) {
        guard !peers.isEmpty, frame.count <= 0xffff else { return }
        for peer in peers.values where peer.backlog <= Self.maxBacklog { peer.send(frame) }
    }
}

/// One end of a wire.
private final class DummyPeer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    let channel: any Channel
    private let deliver: ([UInt8]) -> Void
    private var input = ByteBuffer()
    private(set) var backlog = 0
    var onClose: (() -> Void)?

    init(_ channel: any Channel, deliver: @escaping ([UInt8]) -> Void) {
        self.channel = channel
        self.deliver = deliver
    }

    func send(_ frame: UnsafeRawBufferPointer) {
        var buffer = channel.allocator.buffer(capacity: frame.count + 2)
        buffer.writeInteger(UInt16(frame.count))
        buffer.writeBytes(frame)
        backlog += frame.count
        let count = frame.count
        channel.writeAndFlush(buffer).assumeIsolated().whenComplete { [weak self] _ in self?.backlog -= count }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        input.writeBuffer(&buffer)
        while let length = input.getInteger(at: input.readerIndex, as: UInt16.self), input.readableBytes >= 2 + Int(length) {
            input.moveReaderIndex(forwardBy: 2)
            guard let frame = input.readBytes(length: Int(length)) else { break }
            // What is no Ethernet frame is dropped.
            if frame.count >= 14 { deliver(frame) }
        }
        input.discardReadBytes()
    }

    func channelInactive(context: ChannelHandlerContext) {
        let callback = onClose
        onClose = nil
        callback?()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
