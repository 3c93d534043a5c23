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
    /// How the names of connections begin.
    private let scheme: String
    private var accepted = 0
    private(set) var failure: String?

    /// Listens on a socket file, in place of one that is left over.
    init(unix path: String, eventLoop: any EventLoop, accept: @escaping (any Channel, String) throws -> Void) {
        self.path = path
        self.eventLoop = eventLoop
        self.accept = accept
        isUnix = true
        scheme = "unix"
        // Bound and listening when this returns: whoever is told of the bridge may connect at once.
        guard let descriptor = Self.listen(path) else {
            failure = String(cString: strerror(errno))
            Self.log.err("\(path): listening failed (\(failure ?? ""))")
            return
        }
        bootstrap().withBoundSocket(descriptor).assumeIsolated().whenComplete { self.finish($0) }
    }

    /// A socket that listens on a file, in place of one that is left over.
    private static func listen(_ path: String) -> CInt? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count < room else {
            errno = ENAMETOOLONG
            return nil
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        unlink(path)
        let previous = umask(0o007)
        defer { umask(previous) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, Glibc.listen(descriptor, 64) == 0 else {
            let reason = errno
            Glibc.close(descriptor)
            errno = reason
            return nil
        }
        return descriptor
    }

    /// Listens on TCP; an empty host is every address.
    init(host: String, port: Int, scheme: String = "tcp", eventLoop: any EventLoop, accept: @escaping (any Channel, String) throws -> Void)
    {
        path = "\(host):\(port)"
        self.eventLoop = eventLoop
        self.accept = accept
        isUnix = false
        self.scheme = scheme
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
        try accept(channel, isUnix ? "unix#\(accepted)" : "\(scheme):\(peer?.ipAddress ?? ""):\(peer?.port ?? 0)")
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
