// A small blocking client of a control socket, for command-line tools and tests.
import Glibc
import OVSDB

/// Sends commands to a daemon's control socket, one at a time. Blocks the calling thread: not for the daemon's own loop.
public final class UnixctlClient {
    public enum Failure: Error, CustomStringConvertible {
        case system(operation: String, path: String, errno: Int32)
        case closed(path: String)
        case malformed(String)
        public var description: String {
            switch self {
            case .system(let operation, let path, let errno): "\(operation) \(path): \(String(cString: strerror(errno)))"
            case .closed(let path): "\(path): connection closed without a reply"
            case .malformed(let text): "malformed reply: \(text)"
            }
        }
    }

    private let path: String
    private let descriptor: Int32
    private var framer = JSONFramer(limit: 1 << 30)
    private var nextID: Int64 = 0

    /// Connects to the socket at `path`.
    public init(path: String) throws(Failure) {
        self.path = path
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .system(operation: "connect", path: path, errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system(operation: "socket", path: path, errno: errno) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else {
            let error = errno
            Glibc.close(descriptor)
            throw .system(operation: "connect", path: path, errno: error)
        }
    }

    deinit { Glibc.close(descriptor) }

    /// Runs one command and waits for its reply: `.ok` or `.error`.
    public func run(_ command: String, _ args: [String] = []) throws -> UnixctlReply {
        let id = nextID
        nextID += 1
        var request: [UInt8] = []
        JSONRPCMessage.request(method: command, params: args.map { .string($0) }, id: .integer(id)).write(to: &request)
        var offset = 0
        while offset < request.count {
            let count = request[offset...].withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 || errno == EINTR else { throw Failure.system(operation: "write", path: path, errno: errno) }
            offset += max(0, count)
        }
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            if let text = try framer.next() {
                switch try JSONRPCMessage(json: JSON(parsing: text)) {
                case .reply(.string(let result), _): return .ok(result)
                case .error(.string(let error), _): return .error(error)
                case let other: throw Failure.malformed("\(other)")
                }
            }
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { throw Failure.closed(path: path) }
            guard count > 0 || errno == EINTR else { throw Failure.system(operation: "read", path: path, errno: errno) }
            framer.append(buffer.prefix(max(0, count)))
        }
    }
}
