// The control socket that ovs-appctl talks to: JSON-RPC requests whose method is a command name and
// whose parameters are its arguments (ovs-appctl(8)).
import Glibc
import NIOCore
import NIOPosix
import OVSDB
import Vlog

/// A running command: its reply may come now or later, once. Confined to the server's event loop.
public final class UnixctlCommand {
    private static let log = Vlog.module("unixctl")
    private let session: JSONRPCSession
    private let id: JSON
    private var isReplied = false

    init(session: JSONRPCSession, id: JSON) {
        self.session = session
        self.id = id
    }

    /// Ends the command with its output. A missing final newline is added.
    public func reply(_ text: String = "") { finish(.reply(result: .string(UnixctlCommand.line(text)), id: id), "success", text) }

    /// Ends the command with an error text.
    public func replyError(_ text: String) { finish(.error(.string(UnixctlCommand.line(text)), id: id), "error", text) }

    private func finish(_ message: JSONRPCMessage, _ outcome: String, _ text: String) {
        guard !isReplied else { return }
        isReplied = true
        UnixctlCommand.log.dbg("replying with \(outcome), id=\(id): \"\(text)\"")
        session.send(message)
    }

    private static func line(_ text: String) -> String { text.isEmpty || text.hasSuffix("\n") ? text : text + "\n" }
}

/// What a command answers.
public enum UnixctlReply: Sendable, Equatable {
    case ok(String)
    case error(String)
    /// The command object was kept and will be replied to later.
    case deferred
}

/// The registry of commands and the socket they come through. Confined to one event loop; not thread-safe.
public final class UnixctlServer {
    private struct Command {
        let usage: String
        let minArgs: Int
        let maxArgs: Int
        let run: ([String], UnixctlCommand) -> UnixctlReply
        /// One of the server's own, which look at nothing else.
        let isOwn: Bool
    }

    private static let log = Vlog.module("unixctl")
    private let eventLoop: any EventLoop
    private var commands: [String: Command] = [:]
    private var listener: (any Channel)?
    private var sessions: [ObjectIdentifier: JSONRPCSession] = [:]
    private var connections = 0
    private var hasOwnCommands = false
    /// Called before every command but the server's own.
    public var prepare: (() -> Void)?
    /// The socket's path while listening.
    public private(set) var path: String?

    /// - Parameter version: what the `version` command prints, such as "ovs-vswitchd (Open vSwitch) 3.1.0".
    public init(eventLoop: any EventLoop, version: String) {
        self.eventLoop = eventLoop
        register("list-commands", "", 0, 0) { [unowned self] _ in .ok(self.listCommands()) }
        register("version", "", 0, 0) { _ in .ok(version) }
        registerVlogCommands()
        hasOwnCommands = true
    }

    /// Adds a command, in place of one of that name.
    /// - Parameters:
    ///   - usage: its arguments, as `list-commands` prints them.
    ///   - maxArgs: `Int.max` for any number.
    public func register(
        _ name: String, _ usage: String, _ minArgs: Int, _ maxArgs: Int,
        _ run: @escaping (_ args: [String]) -> UnixctlReply
    ) {
        register(name, usage, minArgs, maxArgs, deferred: { args, _ in run(args) })
    }

    /// As ``register(_:_:_:_:_:)-(_,_,_,_,([String])->UnixctlReply)`` for a command that may keep its
    /// command object, return `.deferred`, and reply later.
    public func register(
        _ name: String, _ usage: String, _ minArgs: Int, _ maxArgs: Int,
        deferred run: @escaping (_ args: [String], _ command: UnixctlCommand) -> UnixctlReply
    ) {
        commands[name] = Command(usage: usage, minArgs: minArgs, maxArgs: maxArgs, run: run, isOwn: !hasOwnCommands)
    }

    /// Whether there is a command of that name.
    public func isRegistered(_ name: String) -> Bool { commands[name] != nil }

    private func listCommands() -> String {
        var text = "The available commands are:\n"
        for (name, command) in commands.sorted(by: { $0.key < $1.key }) {
            text += "  " + name + String(repeating: " ", count: max(0, 23 - name.utf8.count)) + " " + command.usage + "\n"
        }
        return text
    }

    /// Runs a command as if it had come through the socket. For commands that are never deferred.
    public func run(_ name: String, _ args: [String], _ command: UnixctlCommand) {
        switch dispatch(name, args, command) {
        case .ok(let text): command.reply(text)
        case .error(let text): command.replyError(text)
        case .deferred: break
        }
    }

    private func dispatch(_ name: String, _ args: [String], _ reply: UnixctlCommand) -> UnixctlReply {
        guard let command = commands[name] else {
            return .error("\"\(name)\" is not a valid command (use \"list-commands\" to see a list of valid commands)")
        }
        if args.count < command.minArgs { return .error("\"\(name)\" command requires at least \(command.minArgs) arguments") }
        if args.count > command.maxArgs { return .error("\"\(name)\" command takes at most \(command.maxArgs) arguments") }
        if !command.isOwn { prepare?() }
        return command.run(args, reply)
    }

    /// Listens on a socket file, replacing one that nobody listens on any more. `completion` gets nil, or
    /// the error. The file may be used by its owner and group only.
    public func listen(path: String, completion: @escaping ((any Error)?) -> Void = { _ in }) {
        let server = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(ChannelOptions.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try server.value.accept(channel) }
            }
        let previous = umask(0o007)
        let bound = bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
        bound.assumeIsolated().whenComplete { result in
            umask(previous)
            switch result {
            case .success(let channel):
                self.listener = channel
                self.path = path
                completion(nil)
            case .failure(let error):
                UnixctlServer.log.err("\(path): could not create control socket (\(error))")
                completion(error)
            }
        }
    }

    /// Stops listening, closes every connection and removes the socket file.
    public func close() {
        listener?.close(promise: nil)
        listener = nil
        for session in sessions.values { session.close(reason: "closing") }
        if let path { unlink(path) }
        path = nil
    }

    private func accept(_ channel: any Channel) throws {
        connections += 1
        var limits = JSONRPCSession.Limits()
        limits.maximumMessage = 64 << 20
        let session = try JSONRPCSession(channel: channel, name: "unix#\(connections)", limits: limits)
        // "echo" is no command here, and every request is one.
        session.answersEcho = false
        let key = ObjectIdentifier(session)
        sessions[key] = session
        session.onClose = { [weak self] _ in self?.sessions[key] = nil }
        session.onMessage = { [weak self, unowned session] message in self?.received(message, session) }
    }

    private func received(_ message: JSONRPCMessage, _ session: JSONRPCSession) {
        guard case .request(let method, let params, let id) = message else {
            UnixctlServer.log.warn("\(session.name): received unexpected message")
            return session.close(reason: "Protocol error")
        }
        UnixctlServer.log.dbg("received request \(method)\(JSON.array(params)), id=\(id)")
        let command = UnixctlCommand(session: session, id: id)
        var args: [String] = []
        for param in params {
            guard let arg = param.stringValue else {
                // Counts are checked first, as the real daemon does.
                if let known = commands[method], params.count >= known.minArgs, params.count <= known.maxArgs {
                    return command.replyError("\"\(method)\" command has non-string argument")
                }
                args.append("")
                continue
            }
            args.append(arg)
        }
        run(method, args, command)
    }
}
