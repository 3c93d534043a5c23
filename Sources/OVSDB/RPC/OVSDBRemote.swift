// Addresses of database servers in the syntax of ovsdb(7): unix:, tcp:, and the passive punix:, ptcp:.
import NIOCore

/// Where a database server is.
public enum OVSDBRemote: Sendable, Hashable, CustomStringConvertible {
    case unix(path: String)
    case tcp(host: String, port: Int)
    /// Listens on a socket file.
    case passiveUnix(path: String)
    /// Listens on TCP; host empty for every address.
    case passiveTCP(host: String, port: Int)

    /// An address that is not understood.
    public struct Invalid: Error, Sendable, CustomStringConvertible {
        public let text: String
        public var description: String { "\(text): unknown or malformed remote (expected unix:, tcp:, punix: or ptcp:)" }
    }

    public init(_ text: String) throws(Invalid) {
        guard let colon = text.firstIndex(of: ":") else { throw Invalid(text: text) }
        let rest = String(text[text.index(after: colon)...])
        switch text[..<colon] {
        case "unix" where !rest.isEmpty: self = .unix(path: rest)
        case "punix" where !rest.isEmpty: self = .passiveUnix(path: rest)
        case "tcp":
            let (host, port) = OVSDBRemote.hostAndPort(rest)
            guard let host, let port = port.isEmpty ? 6640 : Int(port), (1...65535).contains(port) else { throw Invalid(text: text) }
            self = .tcp(host: host, port: port)
        case "ptcp":
            // PORT[:IP]
            let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let port = rest.isEmpty ? 6640 : Int(parts[0]), (0...65535).contains(port) else { throw Invalid(text: text) }
            let host = parts.count > 1 ? String(parts[1]) : ""
            self = .passiveTCP(host: host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host, port: port)
        default: throw Invalid(text: text)
        }
    }

    /// Splits `HOST[:PORT]`, where HOST may be a bracketed IPv6 address.
    private static func hostAndPort(_ text: String) -> (host: String?, port: String) {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            return (host.isEmpty || !rest.isEmpty && !rest.hasPrefix(":") ? nil : host, String(rest.dropFirst()))
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let host = parts.first, !host.isEmpty else { return (nil, "") }
        return (String(host), parts.count == 2 ? String(parts[1]) : "")
    }

    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .passiveUnix(let path): "punix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "tcp:[\(host)]:\(port)" : "tcp:\(host):\(port)"
        case .passiveTCP(let host, let port): host.isEmpty ? "ptcp:\(port)" : "ptcp:\(port):\(host.contains(":") ? "[\(host)]" : host)"
        }
    }

    public var isPassive: Bool {
        switch self {
        case .passiveUnix, .passiveTCP: true
        case .unix, .tcp: false
        }
    }
}
