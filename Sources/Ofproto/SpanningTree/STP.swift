// The spanning tree protocol of one bridge (IEEE 802.1D-1998, section 8): bridges tell each other the best root that they know
// of, and block the ports that would close a loop.
//
// The words are the standard's: a bridge has a root port towards the root, a port is designated when it is the one by which its
// network reaches the root, and what is neither blocks. Times that bridges exchange count 1/256 s, the clock milliseconds.

import Dpif

/// What the database says of STP on a bridge.
public struct STPSettings: Hashable, Sendable {
    /// The Ethernet address of the bridge identifier.
    public var systemID: UInt64
    public var priority: UInt16 = 0x8000
    // Milliseconds; brought into the standard's ranges, and into its relations to each other.
    public var helloTime = 2000
    public var maxAge = 20_000
    public var forwardDelay = 15_000

    public init(systemID: UInt64) { self.systemID = systemID }

    var bridgeID: UInt64 { UInt64(priority) << 48 | systemID & 0xffff_ffff_ffff }
}

/// What the database says of STP on a port.
public struct STPPortSettings: Hashable, Sendable {
    /// 1 to 255, different for each port of the bridge.
    public var number: UInt8
    public var priority: UInt8 = 0x80
    public var pathCost: UInt16

    public init(number: UInt8, pathCost: UInt16) {
        self.number = number
        self.pathCost = pathCost
    }
}

/// STP of one bridge. Confined to the main thread.
public final class STP {
    public enum State: String, Sendable { case disabled, listening, learning, forwarding, blocking }
    public enum Role: String, Sendable { case root, designated, alternate, disabled }

    /// Times in force, in 1/256 s.
    public struct Times: Hashable, Sendable {
        public var maxAge: UInt16
        public var helloTime: UInt16
        public var forwardDelay: UInt16

        init(_ settings: STPSettings) {
            func clamp(_ value: Int, _ low: Int, _ high: Int) -> Int { min(max(value, low), high) }
            let hello = clamp(settings.helloTime, 1000, 10_000)
            let age = clamp(settings.maxAge, max(2 * (hello + 1000), 6000), 40_000)
            let delay = clamp(settings.forwardDelay, age / 2 + 1000, 30_000)
            helloTime = STP.units(hello)
            maxAge = STP.units(age)
            forwardDelay = STP.units(delay)
        }
        init(_ message: BPDU) {
            maxAge = message.maxAge
            helloTime = message.helloTime
            forwardDelay = message.forwardDelay
        }
    }

    public final class Port {
        public let port: SwitchPort
        public fileprivate(set) var settings: STPPortSettings
        public fileprivate(set) var state = State.disabled {
            didSet { if state != oldValue { stateChanged = time.now } }
        }
        fileprivate(set) var stateChanged: Int64
        // What the designated bridge of the port's network says.
        fileprivate(set) var designatedRoot: UInt64 = 0
        fileprivate(set) var designatedCost: UInt32 = 0
        fileprivate(set) var designatedBridge: UInt64 = 0
        fileprivate(set) var designatedPort: UInt16 = 0
        /// A notification is to be acknowledged.
        fileprivate var acknowledges = false
        /// A configuration is to be sent when the hold time is over.
        fileprivate var isConfigurationPending = false
        /// The age of the information, in 1/256 s, and when it was of that age; nil: the information is the bridge's own.
        fileprivate var messageAge: (age: Int, at: Int64)?
        fileprivate var forwardDelayStarted: Int64?
        fileprivate var holdStarted: Int64?
        public fileprivate(set) var transmitted = 0
        public fileprivate(set) var received = 0
        public fileprivate(set) var errors = 0
        private let time: TimeSource

        fileprivate init(_ port: SwitchPort, _ settings: STPPortSettings, _ time: TimeSource) {
            self.port = port
            self.settings = settings
            self.time = time
            stateChanged = time.now
        }

        /// Priority and number.
        public var id: UInt16 { UInt16(settings.priority) << 8 | UInt16(settings.number) }
        /// Milliseconds.
        public var timeInState: Int64 { max(0, time.now - stateChanged) }

        var permissions: SpanningTreePermissions {
            var p = SpanningTreePermissions()
            p.learns = state == .learning || state == .forwarding || state == .disabled
            p.forwards = state == .forwarding || state == .disabled
            p.passesBPDUs = state != .blocking
            p.openFlowState =
                switch state {
                case .disabled, .listening: 0
                case .learning: 1
                case .forwarding: 2
                case .blocking: 3
                }
            return p
        }
    }

    public let name: String
    public private(set) var settings: STPSettings
    /// By number.
    public private(set) var ports: [Port] = []
    public private(set) var designatedRoot: UInt64
    public private(set) var rootPathCost: UInt32 = 0
    public private(set) var rootPort: Port?
    /// The bridge's own, and the root's.
    public private(set) var ownTimes: Times
    public private(set) var times: Times
    private var topologyChangeDetected = false
    private var topologyChange = false
    private var helloStarted: Int64?
    private var notificationStarted: Int64?
    private var topologyChangeStarted: Int64?
    private let time: TimeSource
    private let send: (SwitchPort, BPDU) -> Void
    /// Told when a port's state changed or addresses are to be forgotten.
    var onChange: ((_ flush: Bool) -> Void)?
    /// What is sent when everything is decided: an answer may come at once.
    private var outbox: [(SwitchPort, BPDU)] = []

    init(name: String, settings: STPSettings, time: TimeSource, send: @escaping (SwitchPort, BPDU) -> Void) {
        self.name = name
        self.settings = settings
        self.time = time
        self.send = send
        designatedRoot = settings.bridgeID
        ownTimes = Times(settings)
        times = ownTimes
        helloStarted = time.now
    }

    fileprivate static func units(_ milliseconds: Int) -> UInt16 { UInt16(clamping: milliseconds * 256 / 1000) }
    private static func milliseconds(_ units: UInt16) -> Int64 { Int64(units) * 1000 / 256 }
    /// The shortest time between two configurations on a port, in milliseconds.
    private static let holdTime: Int64 = 1000

    public var bridgeID: UInt64 { settings.bridgeID }
    public var isRoot: Bool { designatedRoot == bridgeID }
    public func isDesignated(_ port: Port) -> Bool { port.designatedBridge == bridgeID && port.designatedPort == port.id }
    public func port(_ port: SwitchPort) -> Port? { ports.first { $0.port === port } }

    public func role(_ port: Port) -> Role {
        if port.state == .disabled { return .disabled }
        if port === rootPort { return .root }
        return isDesignated(port) ? .designated : .alternate
    }

    private func deliver() {
        let messages = outbox
        outbox = []
        for (port, message) in messages { send(port, message) }
    }

    // MARK: Management

    func configure(_ new: STPSettings) {
        guard new != settings else { return }
        defer { deliver() }
        let old = settings
        let wasRoot = isRoot
        settings = new
        ownTimes = Times(new)
        if wasRoot { times = ownTimes }
        guard new.bridgeID != old.bridgeID else { return }
        // Section 8.8.4.
        for port in ports where port.designatedBridge == old.bridgeID && port.designatedPort == port.id {
            port.designatedBridge = bridgeID
        }
        if wasRoot { designatedRoot = bridgeID }
        update(wasRoot)
    }

    /// Makes the ports these, by number.
    func configure(ports wanted: [(port: SwitchPort, settings: STPPortSettings)]) {
        defer { deliver() }
        for port in ports where !wanted.contains(where: { $0.port === port.port }) { disable(port) }
        ports = wanted.map { entry in
            guard let known = ports.first(where: { $0.port === entry.port }) else { return Port(entry.port, entry.settings, time) }
            if known.settings != entry.settings {
                // Sections 8.8.5 and 8.8.6.
                let wasDesignated = isDesignated(known)
                known.settings = entry.settings
                if wasDesignated { known.designatedPort = known.id }
                if known.state != .disabled { update(isRoot) }
            }
            return known
        }.sorted { $0.settings.number < $1.settings.number }
        checkLinks()
    }

    /// Ports take part while they have a link.
    private func checkLinks() {
        for port in ports where port.port.canCarry == (port.state == .disabled) {
            if port.port.canCarry { enable(port) } else { disable(port) }
        }
    }

    private func enable(_ port: Port) {
        becomeDesignated(port)
        port.state = .blocking
        port.acknowledges = false
        port.isConfigurationPending = false
        port.messageAge = nil
        port.forwardDelayStarted = nil
        port.holdStarted = nil
        chooseStates()
    }

    private func disable(_ port: Port) {
        guard port.state != .disabled else { return }
        let wasRoot = isRoot
        let flushes = port.state == .forwarding || port.state == .learning
        becomeDesignated(port)
        port.state = .disabled
        port.acknowledges = false
        port.isConfigurationPending = false
        port.messageAge = nil
        port.forwardDelayStarted = nil
        onChange?(flushes)
        update(wasRoot)
    }

    /// `stp/tcn`: as if the topology had changed.
    public func forceTopologyChange() {
        detectTopologyChange()
        deliver()
    }

    // MARK: Messages

    /// A BPDU's bytes came in on a port.
    func receive(_ payload: ArraySlice<UInt8>, on switchPort: SwitchPort) {
        guard let port = port(switchPort), port.state != .disabled else { return }
        guard let message = try? BPDU(payload), message.kind != .rapid else {
            port.errors += 1
            return
        }
        port.received += 1
        defer { deliver() }
        if message.kind == .topologyChangeNotification {
            guard isDesignated(port) else { return }
            detectTopologyChange()
            port.acknowledges = true
            transmitConfiguration(port)
            return
        }
        guard supersedes(message, port) else {
            if isDesignated(port) { transmitConfiguration(port) }
            return
        }
        let wasRoot = isRoot
        port.designatedRoot = message.root
        port.designatedCost = message.rootPathCost
        port.designatedBridge = message.bridge
        port.designatedPort = message.port
        port.messageAge = (Int(message.messageAge), time.now)
        chooseRoles()
        if wasRoot, !isRoot {
            helloStarted = nil
            if topologyChangeDetected {
                topologyChangeStarted = nil
                transmitNotification()
                notificationStarted = time.now
            }
        }
        guard port === rootPort else { return }
        times = Times(message)
        let changes = message.flags.contains(.topologyChange)
        if changes { onChange?(true) }
        topologyChange = changes
        generateConfigurations()
        if message.flags.contains(.acknowledgement) {
            topologyChangeDetected = false
            notificationStarted = nil
        }
    }

    private func supersedes(_ m: BPDU, _ port: Port) -> Bool {
        if (m.root, m.rootPathCost, m.bridge) != (port.designatedRoot, port.designatedCost, port.designatedBridge) {
            return (m.root, m.rootPathCost, m.bridge) < (port.designatedRoot, port.designatedCost, port.designatedBridge)
        }
        return m.bridge != bridgeID || m.port <= port.designatedPort
    }

    private func transmitConfiguration(_ port: Port) {
        guard port.holdStarted == nil else {
            port.isConfigurationPending = true
            return
        }
        var message = BPDU(.configuration)
        if let source = rootPort, !isRoot {
            let age = age(source) + 1
            guard age < Int(times.maxAge) else { return }
            message.messageAge = UInt16(clamping: age)
        }
        if port.acknowledges { message.flags.insert(.acknowledgement) }
        if topologyChange { message.flags.insert(.topologyChange) }
        message.root = designatedRoot
        message.rootPathCost = rootPathCost
        message.bridge = bridgeID
        message.port = port.id
        message.maxAge = times.maxAge
        message.helloTime = times.helloTime
        message.forwardDelay = times.forwardDelay
        port.acknowledges = false
        port.isConfigurationPending = false
        port.holdStarted = time.now
        port.transmitted += 1
        outbox.append((port.port, message))
    }

    private func transmitNotification() {
        guard let port = rootPort else { return }
        port.transmitted += 1
        outbox.append((port.port, BPDU(.topologyChangeNotification)))
    }

    private func generateConfigurations() {
        for port in ports where port.state != .disabled && isDesignated(port) { transmitConfiguration(port) }
    }

    // MARK: Choices

    private func becomeDesignated(_ port: Port) {
        port.designatedRoot = designatedRoot
        port.designatedCost = rootPathCost
        port.designatedBridge = bridgeID
        port.designatedPort = port.id
    }

    /// Chooses roles and states after something changed here, and becomes the root where there is no other.
    private func update(_ wasRoot: Bool) {
        chooseRoles()
        guard isRoot, !wasRoot else { return }
        times = ownTimes
        detectTopologyChange()
        notificationStarted = nil
        generateConfigurations()
        helloStarted = time.now
    }

    private func chooseRoles() {
        func vector(_ p: Port) -> (UInt64, UInt32, UInt64, UInt16, UInt16) {
            (p.designatedRoot, p.designatedCost &+ UInt32(p.settings.pathCost), p.designatedBridge, p.designatedPort, p.id)
        }
        rootPort = ports.filter { $0.state != .disabled && !isDesignated($0) && $0.designatedRoot < bridgeID }
            .min { vector($0) < vector($1) }
        designatedRoot = rootPort?.designatedRoot ?? bridgeID
        rootPathCost = rootPort.map { vector($0).1 } ?? 0
        for port in ports where port.state != .disabled {
            let isBetter = (rootPathCost, bridgeID, port.id) <= (port.designatedCost, port.designatedBridge, port.designatedPort)
            if isDesignated(port) || port.designatedRoot != designatedRoot || isBetter { becomeDesignated(port) }
        }
        chooseStates()
    }

    private func chooseStates() {
        for port in ports where port.state != .disabled {
            if port === rootPort {
                port.isConfigurationPending = false
                port.acknowledges = false
                makeForwarding(port)
            } else if isDesignated(port) {
                port.messageAge = nil
                makeForwarding(port)
            } else {
                port.isConfigurationPending = false
                port.acknowledges = false
                makeBlocking(port)
            }
        }
    }

    private func makeForwarding(_ port: Port) {
        guard port.state == .blocking else { return }
        port.state = .listening
        port.forwardDelayStarted = time.now
        onChange?(false)
    }

    private func makeBlocking(_ port: Port) {
        guard port.state != .blocking else { return }
        let wasUsed = port.state == .forwarding || port.state == .learning
        port.state = .blocking
        port.forwardDelayStarted = nil
        if wasUsed { detectTopologyChange() }
        onChange?(wasUsed)
    }

    private func detectTopologyChange() {
        if isRoot {
            topologyChange = true
            topologyChangeStarted = time.now
        } else if !topologyChangeDetected {
            transmitNotification()
            notificationStarted = time.now
        }
        topologyChangeDetected = true
        onChange?(true)
    }

    // MARK: Time

    /// The age of what a port was told, in 1/256 s.
    private func age(_ port: Port) -> Int {
        guard let (age, at) = port.messageAge else { return 0 }
        return age + Int(clamping: max(0, time.now - at)) * 256 / 1000
    }

    private func isDue(_ started: Int64?, _ milliseconds: Int64) -> Bool { started.map { time.now >= $0 + milliseconds } ?? false }

    /// Does what is due.
    func run() {
        defer { deliver() }
        checkLinks()
        let now = time.now
        if isDue(helloStarted, Self.milliseconds(times.helloTime)) {
            generateConfigurations()
            helloStarted = now
        }
        if isDue(notificationStarted, Self.milliseconds(ownTimes.helloTime)) {
            transmitNotification()
            notificationStarted = now
        }
        if isDue(topologyChangeStarted, Self.milliseconds(ownTimes.maxAge) + Self.milliseconds(ownTimes.forwardDelay)) {
            topologyChangeDetected = false
            topologyChange = false
            topologyChangeStarted = nil
        }
        for port in ports where port.messageAge != nil && age(port) >= Int(times.maxAge) {
            let wasRoot = isRoot
            port.messageAge = nil
            becomeDesignated(port)
            update(wasRoot)
        }
        for port in ports {
            if isDue(port.forwardDelayStarted, Self.milliseconds(times.forwardDelay)) { advance(port) }
            if isDue(port.holdStarted, Self.holdTime) {
                port.holdStarted = nil
                if port.isConfigurationPending { transmitConfiguration(port) }
            }
        }
    }

    private func advance(_ port: Port) {
        port.forwardDelayStarted = nil
        switch port.state {
        case .listening:
            port.state = .learning
            port.forwardDelayStarted = time.now
        case .learning:
            port.state = .forwarding
            if ports.contains(where: { $0.designatedBridge == bridgeID }) { detectTopologyChange() }
        case .disabled, .forwarding, .blocking: return
        }
        onChange?(false)
    }
}
