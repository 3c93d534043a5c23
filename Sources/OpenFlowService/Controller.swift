// Connections to and from configured controllers: connecting with backoff, probing, and what the database is told.

import Flow
import Glibc
import NIOCore
import NIOPosix
import OpenFlow
import Vlog

/// One row of the Controller table. Confined to the event loop.
final class Controller {
    private static let log = Vlog.module("rconn")

    private enum State: String {
        case backoff = "BACKOFF"
        case connecting = "CONNECTING"
        case active = "ACTIVE"
        case idle = "IDLE"
        case void = "VOID"
    }

    private enum Address {
        case unix(String)
        case tcp(host: String, port: Int)
        case passiveUnix(String)
        case passiveTCP(host: String, port: Int)
        case tls(host: String, port: Int)
        case passiveTLS(host: String, port: Int)

        init?(_ target: String) {
            guard let colon = target.firstIndex(of: ":") else { return nil }
            let rest = String(target[target.index(after: colon)...])
            switch target[..<colon] {
            case "unix" where !rest.isEmpty: self = .unix(rest)
            case "punix" where !rest.isEmpty: self = .passiveUnix(rest)
            case "tcp", "ssl":
                guard let (host, port) = Self.split(rest) else { return nil }
                self = target.hasPrefix("tcp") ? .tcp(host: host, port: port) : .tls(host: host, port: port)
            case "ptcp", "pssl":
                let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                guard let port = rest.isEmpty ? 6653 : Int(parts[0]), (0...65535).contains(port) else { return nil }
                var host = parts.count > 1 ? String(parts[1]) : ""
                if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
                self = target.hasPrefix("ptcp") ? .passiveTCP(host: host, port: port) : .passiveTLS(host: host, port: port)
            default: return nil
            }
        }

        /// HOST[:PORT], where HOST may be a bracketed IPv6 address.
        private static func split(_ text: String) -> (String, Int)? {
            var host = text
            var port = "6653"
            if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
                host = String(text[text.index(after: text.startIndex)..<end])
                let rest = text[text.index(after: end)...]
                if rest.hasPrefix(":") { port = String(rest.dropFirst()) } else if !rest.isEmpty { return nil }
            } else if let colon = text.firstIndex(of: ":") {
                host = String(text[..<colon])
                port = String(text[text.index(after: colon)...])
            }
            guard !host.isEmpty, let number = Int(port), (1...65535).contains(number) else { return nil }
            return (host, number)
        }
    }

    unowned let service: OpenFlowService
    var settings: ControllerSettings
    private let address: Address
    private(set) var connection: OpenFlowConnection?
    private var listener: Listener?
    /// Connections that came in through the listener.
    private var incoming: [OpenFlowConnection] = []
    private var state = State.void
    private var stateSince: Int64 = 0
    private var backoff: Int64 = 0
    private var attempt = 0
    private var isStarted = false
    private var lastConnected: Int64?
    private var lastDisconnected: Int64?
    private var lastError: String?
    private var sentProbe = false
    /// When the switch was last under this controller's command.
    private(set) var disconnectedSince: Int64

    /// Nil when the target is none that can be connected to.
    init?(_ service: OpenFlowService, _ settings: ControllerSettings) {
        guard let address = Address(settings.target) else {
            Self.log.warn("\(service.owner.name): \(settings.target): not an OpenFlow connection method")
            return nil
        }
        self.service = service
        self.settings = settings
        self.address = address
        disconnectedSince = service.owner.time.now
    }

    var isPassive: Bool {
        switch address {
        case .unix, .tcp, .tls: false
        case .passiveUnix, .passiveTCP, .passiveTLS: true
        }
    }

    /// Where it is, when that is known without asking anybody.
    var remote: InBandControl.Remote? {
        let (host, port): (String, Int)
        switch address {
        case .tcp(let h, let p), .tls(let h, let p): (host, port) = (h, p)
        case .unix, .passiveUnix, .passiveTCP, .passiveTLS: return nil
        }
        guard let ip = AddressText.parseIPv4(host) else { return nil }
        return InBandControl.Remote(address: ip, port: UInt16(clamping: port))
    }

    /// Its absence lets the bridge fail over.
    var isPrimary: Bool { !isPassive && settings.isService != true }

    /// Connected, and the versions agreed on.
    var isAdmitted: Bool { connection?.version != nil }

    func start() {
        guard !isStarted else { return }
        isStarted = true
        switch address {
        case .passiveUnix(let path):
            listener = Listener(unix: path, eventLoop: service.eventLoop) { [unowned self] in try accept($0, $1) }
        case .passiveTCP(let host, let port):
            listener = Listener(host: host, port: port, eventLoop: service.eventLoop) { [unowned self] in try accept($0, $1) }
        case .passiveTLS(let host, let port):
            listener = Listener(host: host, port: port, scheme: "ssl", eventLoop: service.eventLoop) { [unowned self] in
                try service.tls.protectServer($0)
                try accept($0, $1)
            }
        case .unix, .tcp, .tls: connect()
        }
    }

    func stop() {
        isStarted = false
        attempt += 1
        listener?.close()
        for peer in incoming { peer.close("controller removed") }
        connection?.close("controller removed")
        connection = nil
    }

    func reconnect() {
        guard !isPassive else { return }
        backoff = 0
        connection?.close("user-requested reconnect")
    }

    private func accept(_ channel: any Channel, _ name: String) throws {
        let peer = try service.accept(channel, name: name, purpose: .service)
        if !settings.enableAsyncMessages { peer.async = .off }
        incoming.append(peer)
        peer.onClose = { [weak self, unowned peer] _ in self?.incoming.removeAll { $0 === peer } }
    }

    private func enter(_ new: State) {
        state = new
        stateSince = service.owner.time.now
        service.changeCount &+= 1
    }

    private var label: String { "\(service.owner.name)<->\(settings.target)" }

    private func connect() {
        attempt += 1
        let current = attempt
        enter(.connecting)
        Self.log.info("\(label): connecting...")
        let bound = NIOLoopBound(self, eventLoop: service.eventLoop)
        let bootstrap = ClientBootstrap(group: service.eventLoop)
            .connectTimeout(.milliseconds(max(1000, settings.maxBackoff)))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value.prepare(channel) }
            }
        let future: EventLoopFuture<any Channel>
        switch address {
        case .unix(let path): future = bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let port): future = bootstrap.connect(host: host, port: port)
        case .tls(let host, let port):
            do throws(TLSProblem) {
                try service.tls.check()
            } catch {
                failed(error.text)
                return
            }
            future = bootstrap.connect(host: host, port: port)
        case .passiveUnix, .passiveTCP, .passiveTLS: return
        }
        future.assumeIsolated().whenComplete { result in
            guard self.attempt == current, self.isStarted else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            if case .failure(let error) = result { self.failed(Self.describe(error)) }
        }
    }

    private func prepare(_ channel: any Channel) throws {
        if case .tls = address { try service.tls.protectClient(channel) }
        let peer = try service.accept(channel, name: settings.target, purpose: isPrimary ? .primary : .service)
        if !settings.enableAsyncMessages { peer.async = .off }
        peer.configureLimits(settings)
        peer.onVersion = { [weak self] in self?.connected() }
        peer.onClose = { [weak self, unowned peer] reason in
            guard let self, connection === peer || connection == nil else { return }
            connection = nil
            failed(reason)
        }
        connection = peer
        service.updateMissInterest()
    }

    private static func describe(_ error: any Error) -> String {
        if let io = error as? IOError { return String(cString: strerror(io.errnoCode)) }
        if let failure = error as? NIOConnectionError, let first = failure.connectionErrors.first {
            return describe(first.error)
        }
        if error is ChannelError { return "Connection timed out" }
        return "Connection refused"
    }

    private func connected() {
        Self.log.info("\(label): connected")
        lastConnected = service.owner.time.now
        backoff = 0
        sentProbe = false
        lastError = nil
        enter(.active)
    }

    private func failed(_ reason: String) {
        guard isStarted, state != .backoff else { return }
        let now = service.owner.time.now
        lastError = reason
        if state == .active || state == .idle {
            lastDisconnected = now
            disconnectedSince = now
            Self.log.info("\(label): connection closed by peer")
        } else {
            Self.log.info("\(label): connection failed (\(reason))")
        }
        backoff = backoff == 0 ? min(1000, settings.maxBackoff) : min(backoff * 2, settings.maxBackoff)
        enter(.backoff)
        service.updateMissInterest()
    }

    /// Reconnects and probes when it is time to.
    func run(_ now: Int64) {
        guard isStarted, !isPassive else { return }
        switch state {
        case .backoff:
            if now - stateSince >= backoff { connect() }
        case .active, .idle:
            guard let connection, settings.inactivityProbe > 0 else { return }
            disconnectedSince = now
            let quiet = now - max(connection.lastReceived, stateSince)
            if state == .active, now - connection.lastReceived >= settings.inactivityProbe {
                Self.log.dbg("\(label): idle \(quiet / 1000) seconds, sending inactivity probe")
                connection.send(OFSimple.echoRequest(connection.version ?? .v10, xid: connection.takeXID()))
                enter(.idle)
            } else if state == .idle {
                if connection.lastReceived >= stateSince {
                    enter(.active)
                } else if now - stateSince >= settings.inactivityProbe {
                    Self.log.err(
                        "\(label): no response to inactivity probe after "
                            + "\(settings.inactivityProbe / 1000) seconds, disconnecting")
                    connection.close("Connection timed out")
                }
            }
        case .connecting, .void: break
        }
    }

    func status(_ now: Int64) -> ConnectionStatus {
        var s = ConnectionStatus()
        let shown = isPassive ? incoming.first { $0.version != nil } : (isAdmitted ? connection : nil)
        s.isConnected = shown != nil
        if let shown {
            s.role = shown.role == .primary ? "primary" : shown.role == .secondary ? "secondary" : "other"
        }
        guard !isPassive else { return s }
        s.details["state"] = state.rawValue
        if let lastError { s.details["last_error"] = lastError }
        if let lastConnected { s.details["sec_since_connect"] = String(max(0, now - lastConnected) / 1000) }
        if let lastDisconnected { s.details["sec_since_disconnect"] = String(max(0, now - lastDisconnected) / 1000) }
        return s
    }
}
