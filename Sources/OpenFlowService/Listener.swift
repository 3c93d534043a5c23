// Sockets that OpenFlow connections come in through.

import Glibc
import NIOCore
import NIOPosix
import Vlog

/// A listening socket. Confined to the event loop.
final class Listener {
    private static let log = Vlog.module("stream")
    /// The socket file, or the address as text.
    let path: String
    private let eventLoop: any EventLoop
    private let accept: (any Channel, String) throws -> Void
    private var channel: (any Channel)?
    private var isClosed = false
    private var isUnix: Bool
    private var accepted = 0
    private(set) var failure: String?

    /// Listens on a socket file, in place of one that is left over.
    init(unix path: String, eventLoop: any EventLoop, accept: @escaping (any Channel, String) throws -> Void) {
        self.path = path
        self.eventLoop = eventLoop
        self.accept = accept
        isUnix = true
        let previous = umask(0o007)
        let bound = bootstrap().bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
        bound.assumeIsolated().whenComplete { result in
            umask(previous)
            self.finish(result)
        }
    }

    /// Listens on TCP; an empty host is every address.
    init(host: String, port: Int, eventLoop: any EventLoop, accept: @escaping (any Channel, String) throws -> Void) {
        path = "\(host):\(port)"
        self.eventLoop = eventLoop
        self.accept = accept
        isUnix = false
        let bound = bootstrap().bind(host: host.isEmpty ? "0.0.0.0" : host, port: port)
        bound.assumeIsolated().whenComplete { self.finish($0) }
    }

    private func bootstrap() -> ServerBootstrap {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return ServerBootstrap(group: eventLoop)
            .serverChannelOption(ChannelOptions.backlog, value: 64)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value.incoming(channel) }
            }
    }

    private func incoming(_ channel: any Channel) throws {
        guard !isClosed else { throw ChannelError.ioOnClosedChannel }
        accepted += 1
        let peer = channel.remoteAddress
        try accept(channel, isUnix ? "unix#\(accepted)" : "tcp:\(peer?.ipAddress ?? ""):\(peer?.port ?? 0)")
    }

    private func finish(_ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let channel):
            if isClosed { channel.close(promise: nil) } else { self.channel = channel }
        case .failure(let error):
            failure = "\(error)"
            Self.log.err("\(path): listening failed (\(error))")
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        channel?.close(promise: nil)
        channel = nil
        if isUnix { unlink(path) }
    }
}
