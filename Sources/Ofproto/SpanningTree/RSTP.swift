// The rapid spanning tree protocol of one bridge (IEEE 802.1D-2004, section 17): like STP, but neighbours agree on who forwards
// instead of waiting, so that a tree forms in a moment.
//
// The standard describes a set of machines for each port and one for the bridge. `settle` lets each in turn go as far as it can,
// until none can.

import Dpif

/// What the database says of RSTP on a bridge.
public struct RSTPSettings: Hashable, Sendable {
    /// The Ethernet address of the bridge identifier.
    public var address: UInt64
    /// A multiple of 4096.
    public var priority: UInt16 = 0x8000
    /// 0 STP, 2 RSTP.
    public var version = 2
    // Seconds.
    public var maxAge = 20
    public var forwardDelay = 15
    /// How many messages a port sends in a second.
    public var transmitHoldCount = 6

    public init(address: UInt64) { self.address = address }

    var bridgeID: UInt64 { UInt64(priority & 0xf000) << 48 | address & 0xffff_ffff_ffff }
    public var times: RSTPTimes {
        var t = RSTPTimes()
        t.maxAge = maxAge
        t.forwardDelay = forwardDelay
        return t
    }
}

/// RSTP of one bridge. Confined to the main thread.
public final class RSTP {
    public let name: String
    public private(set) var settings: RSTPSettings
    /// By number.
    public private(set) var ports: [RSTPPort] = []
    public private(set) var rootPriority: RSTPVector
    public private(set) var rootPort: RSTPPort?
    public private(set) var rootTimes: RSTPTimes
    private var lastTick: Int64
    private let time: TimeSource
    private let send: (SwitchPort, BPDU) -> Void
    /// Told when a port's state changed or addresses are to be forgotten.
    var onChange: ((_ flush: Bool) -> Void)?
    var portStateChanged = false
    /// What is sent when the machines have settled: an answer may come at once.
    var outbox: [(SwitchPort, BPDU)] = []
    private var isSettling = false
    /// More rounds than any set of messages leads to; a bound, for what the standard's machines may have that tests did not find.
    private static let maxRounds = 100_000

    init(name: String, settings: RSTPSettings, time: TimeSource, send: @escaping (SwitchPort, BPDU) -> Void) {
        self.name = name
        self.settings = settings
        self.time = time
        self.send = send
        rootPriority = RSTPVector(root: settings.bridgeID, bridge: settings.bridgeID)
        rootTimes = settings.times
        lastTick = time.now
    }

    public var bridgeID: UInt64 { settings.bridgeID }
    public var isRoot: Bool { rootPriority.root == bridgeID }
    public func port(_ port: SwitchPort) -> RSTPPort? { ports.first { $0.port === port } }

    // MARK: Management

    func configure(_ new: RSTPSettings) {
        guard new != settings else { return }
        let versionChanged = new.version != settings.version
        settings = new
        for port in ports {
            if versionChanged { port.begin() }
            port.txCount = 0
        }
        reselect()
    }

    /// Makes the ports these.
    func configure(ports wanted: [(port: SwitchPort, settings: RSTPPortSettings)]) {
        var changed = ports.count != wanted.count
        let gone = ports.filter { old in !wanted.contains { $0.port === old.port } }
        if gone.contains(where: \.forwarding) { onChange?(true) }
        ports = wanted.map { entry in
            guard let known = ports.first(where: { $0.port === entry.port }) else {
                changed = true
                return RSTPPort(entry.port, entry.settings, self)
            }
            let old = known.settings
            guard old != entry.settings else { return known }
            known.settings = entry.settings
            if entry.settings.mcheck, !old.mcheck, settings.version >= 2 { known.mcheck = true }
            changed = true
            return known
        }.sorted { $0.settings.number < $1.settings.number }
        if changed { reselect() }
    }

    private func reselect() {
        for port in ports {
            port.reselect = true
            port.selected = false
        }
        checkLinks()
        settle()
    }

    private func checkLinks() {
        for port in ports where port.portEnabled != port.port.isOperational {
            port.portEnabled = port.port.isOperational
            port.uptime = 0
            portStateChanged = true
        }
    }

    /// `rstp/tcn`: as if the topology had changed.
    public func forceTopologyChange() {
        for port in ports { port.rcvdTcn = true }
        settle()
    }

    // MARK: Events

    /// A BPDU's bytes came in on a port.
    func receive(_ payload: ArraySlice<UInt8>, on switchPort: SwitchPort) {
        guard let port = port(switchPort), port.portEnabled else { return }
        guard let message = try? BPDU(payload) else {
            port.errors += 1
            return
        }
        // One's own message, looped back.
        port.received += 1
        port.message = message
        port.rcvdBPDU = true
        settle()
    }

    /// Does what is due.
    func run() {
        let changed = ports.contains { $0.portEnabled != $0.port.isOperational }
        if changed { checkLinks() }
        // A clock that was set far ahead has long since let every timer run out.
        if time.now - lastTick > 100_000 || time.now < lastTick { lastTick = time.now - 1000 }
        guard changed || time.now - lastTick >= 1000 else { return }
        while time.now - lastTick >= 1000 {
            lastTick += 1000
            for port in ports { port.tick() }
            settle()
        }
        if changed { settle() }
    }

    private static let machines = [
        RSTPPort.stepReceive, RSTPPort.stepDetection, RSTPPort.stepInformation, RSTPPort.stepTransition, RSTPPort.stepState,
        RSTPPort.stepTopologyChange, RSTPPort.stepTransmit, RSTPPort.stepMigration,
    ]

    private func settle() {
        guard !isSettling else { return }
        isSettling = true
        var rounds = 0
        var flush = false
        while rounds < Self.maxRounds {
            rounds += 1
            var moved = selectRoles()
            for port in ports {
                for machine in Self.machines {
                    while rounds < Self.maxRounds, machine(port)() {
                        moved = true
                        rounds += 1
                    }
                }
                if port.fdbFlush {
                    port.fdbFlush = false
                    flush = true
                }
            }
            if !moved { break }
        }
        isSettling = false
        if portStateChanged || flush { onChange?(flush) }
        portStateChanged = false
        let messages = outbox
        outbox = []
        for (port, message) in messages { send(port, message) }
    }

    // MARK: Port role selection (section 17.28)

    private func selectRoles() -> Bool {
        guard ports.contains(where: \.reselect) else { return false }
        for port in ports { port.reselect = false }
        updateRoles()
        for port in ports { port.selected = !port.reselect }
        return true
    }

    /// updtRolesTree (section 17.21.25).
    private func updateRoles() {
        let own = RSTPVector(root: bridgeID, bridge: bridgeID)
        func path(_ port: RSTPPort) -> RSTPVector {
            var vector = port.portPriority
            vector.cost = vector.cost &+ port.settings.pathCost
            return vector
        }
        rootPort = ports.filter { $0.infoIs == .received && $0.portPriority.bridge != bridgeID && path($0) < own }
            .min { (path($0), $0.id) < (path($1), $1.id) }
        rootPriority = rootPort.map(path) ?? own
        rootTimes = settings.times
        if let rootPort {
            rootTimes = rootPort.portTimes
            rootTimes.messageAge += 1
        }
        for port in ports {
            port.designatedPriority = RSTPVector(root: rootPriority.root, cost: rootPriority.cost, bridge: bridgeID, port: port.id)
            port.designatedTimes = rootTimes
            port.designatedTimes.helloTime = settings.times.helloTime
            switch port.infoIs {
            case .disabled: port.selectedRole = .disabled
            case .aged:
                port.updtInfo = true
                port.selectedRole = .designated
            case .mine:
                port.selectedRole = .designated
                if port.portPriority != port.designatedPriority || port.portTimes != port.designatedTimes { port.updtInfo = true }
            case .received:
                if port === rootPort {
                    port.selectedRole = .root
                    port.updtInfo = false
                } else if port.designatedPriority < port.portPriority {
                    port.selectedRole = .designated
                    port.updtInfo = true
                } else {
                    port.selectedRole = port.portPriority.bridge == bridgeID ? .backup : .alternate
                    port.updtInfo = false
                }
            }
        }
    }

    // MARK: What the machines ask of all ports (sections 17.20.3, 17.20.10, 17.21.14 to 17.21.18)

    var allSynced: Bool { ports.allSatisfy { $0.selected && $0.role == $0.selectedRole && ($0.synced || $0.role == .root) } }
    func isReRooted(except port: RSTPPort) -> Bool { ports.allSatisfy { $0 === port || $0.rrWhile == 0 } }
    func setSyncTree() { for port in ports { port.sync = true } }
    func setReRootTree() { for port in ports { port.reRoot = true } }
    func setTcPropTree(from source: RSTPPort) { for port in ports where port !== source { port.tcProp = true } }
}
