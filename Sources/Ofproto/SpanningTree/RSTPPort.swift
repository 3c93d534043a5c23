// What the rapid spanning tree protocol keeps for a port, and the machines that look at nothing but that port: receiving, edge
// detection, protocol migration, port states (IEEE 802.1D-2004, sections 17.19, 17.23 to 17.25, 17.30).
//
// Names are the standard's, so that each line can be held against it. Timers count seconds.

import Dpif

/// What the database says of RSTP on a port.
public struct RSTPPortSettings: Hashable, Sendable {
    /// 1 to 4095.
    public var number: UInt16
    /// The upper four bits count.
    public var priority: UInt8 = 128
    public var pathCost: UInt32
    public var adminEdge = false
    public var autoEdge = true
    /// Going from false to true asks whether there are STP bridges left.
    public var mcheck = false

    public init(number: UInt16, pathCost: UInt32) {
        self.number = number
        self.pathCost = pathCost
    }
}

/// The times that bridges tell each other, in seconds.
public struct RSTPTimes: Hashable, Sendable {
    public var messageAge = 0
    public var maxAge = 20
    public var helloTime = 2
    public var forwardDelay = 15
    public init() {}
}

/// What bridges compare: smaller is better (section 17.5).
public struct RSTPVector: Hashable, Comparable, Sendable {
    public var root: UInt64 = 0
    public var cost: UInt32 = 0
    public var bridge: UInt64 = 0
    public var port: UInt16 = 0

    public static func < (a: Self, b: Self) -> Bool { (a.root, a.cost, a.bridge, a.port) < (b.root, b.cost, b.bridge, b.port) }

    /// Whether a message of this vector takes the place of another (section 17.6): a better one, or news from the same port.
    func isSuperior(to old: Self) -> Bool {
        self < old
            || bridge & 0xffff_ffff_ffff == old.bridge & 0xffff_ffff_ffff && port & 0xfff == old.port & 0xfff && self != old
    }
}

/// RSTP on one port. Confined to the main thread.
public final class RSTPPort {
    public enum Role: String, Sendable {
        case disabled = "Disabled"
        case root = "Root"
        case designated = "Designated"
        case alternate = "Alternate"
        case backup = "Backup"
    }
    enum InfoIs { case received, mine, aged, disabled }
    enum ReceivedInfo { case superiorDesignated, repeatedDesignated, inferiorDesignated, inferiorRootAlternate, other }

    public let port: SwitchPort
    public internal(set) var settings: RSTPPortSettings
    unowned let bridge: RSTP

    // Section 17.19.
    var agree = false
    var agreed = false
    var disputed = false
    var fdbFlush = false
    var forward = false
    public internal(set) var forwarding = false
    var infoIs = InfoIs.disabled
    var learn = false
    public internal(set) var learning = false
    var mcheck = false
    var newInfo = false
    var operEdge = false
    var portEnabled = false
    var proposed = false
    var proposing = false
    var rcvdBPDU = false
    var rcvdInfo = ReceivedInfo.other
    var rcvdMsg = false
    var rcvdRSTP = false
    var rcvdSTP = false
    var rcvdTc = false
    var rcvdTcAck = false
    var rcvdTcn = false
    var reRoot = false
    var reselect = false
    public internal(set) var role = Role.disabled
    var selected = false
    var selectedRole = Role.disabled
    var sendRSTP = true
    var sync = false
    var synced = false
    var tcAck = false
    var tcProp = false
    var updtInfo = false
    var designatedPriority = RSTPVector()
    var designatedTimes = RSTPTimes()
    var msgPriority = RSTPVector()
    var msgTimes = RSTPTimes()
    public internal(set) var portPriority = RSTPVector()
    var portTimes = RSTPTimes()

    // Section 17.17.
    var edgeDelayWhile = 0
    var fdWhile = 0
    var helloWhen = 0
    var mdelayWhile = 0
    var rbWhile = 0
    var rcvdInfoWhile = 0
    var rrWhile = 0
    var tcWhile = 0
    var txCount = 0

    enum Receive { case discard, receive }
    enum Detection { case edge, notEdge }
    enum Migration { case checkingRSTP, sensing, selectingSTP }
    enum StateMachine { case discarding, learning, forwarding }
    enum Information { case disabled, aged, update, current, receive, decided }
    enum Transition { case initPort, disablePort, disabledPort, rootPort, designatedPort, blockPort, alternatePort }
    enum TopologyChange { case inactive, learning, detected, active, notified, propagating, acknowledged }
    enum Transmit { case initialise, idle, sent }
    var receiveState = Receive.discard
    var detectionState = Detection.notEdge
    var migrationState = Migration.checkingRSTP
    var stateMachine = StateMachine.discarding
    var informationState = Information.disabled
    var transitionState = Transition.initPort
    var topologyChangeState = TopologyChange.inactive
    var transmitState = Transmit.initialise

    /// The message that is being received.
    var message = BPDU(.rapid)
    public internal(set) var transmitted = 0
    public internal(set) var received = 0
    public internal(set) var errors = 0
    /// Seconds.
    public internal(set) var uptime = 0

    init(_ port: SwitchPort, _ settings: RSTPPortSettings, _ bridge: RSTP) {
        self.port = port
        self.settings = settings
        self.bridge = bridge
        begin()
    }

    public var id: UInt16 { UInt16(settings.priority & 0xf0) << 8 | settings.number & 0xfff }
    /// Disabled, Discarding, Learning or Forwarding.
    public var stateName: String { forwarding ? "Forwarding" : learning ? "Learning" : "Discarding" }

    var permissions: SpanningTreePermissions {
        var p = SpanningTreePermissions()
        p.learns = learning
        p.forwards = forwarding
        p.passesBPDUs = portEnabled
        p.openFlowState = forwarding ? 2 : learning ? 1 : 0
        return p
    }

    // Sections 17.13 and 17.20.
    static let migrateTime = 3
    var helloTime: Int { designatedTimes.helloTime }
    var maxAge: Int { designatedTimes.maxAge }
    var fwdDelay: Int { designatedTimes.forwardDelay }
    var forwardDelay: Int { sendRSTP ? helloTime : fwdDelay }
    /// Links are taken for point-to-point.
    var edgeDelay: Int { Self.migrateTime }
    private var rstpVersion: Bool { bridge.settings.version >= 2 }

    /// Brings every machine into its first state.
    func begin() {
        (rcvdBPDU, rcvdRSTP, rcvdSTP, rcvdMsg) = (false, false, false, false)
        edgeDelayWhile = Self.migrateTime
        receiveState = .discard
        operEdge = settings.adminEdge
        detectionState = settings.adminEdge ? .edge : .notEdge
        mcheck = false
        sendRSTP = rstpVersion
        mdelayWhile = Self.migrateTime
        migrationState = .checkingRSTP
        (learning, forwarding) = (false, false)
        stateMachine = .discarding
        (proposing, proposed, agree, agreed) = (false, false, false, false)
        rcvdInfoWhile = 0
        infoIs = .disabled
        (reselect, selected) = (true, false)
        informationState = .disabled
        (role, learn, forward, synced, sync, reRoot) = (.disabled, false, false, false, true, true)
        (rrWhile, fdWhile, rbWhile) = (fwdDelay, maxAge, 0)
        transitionState = .initPort
        (tcWhile, tcAck, fdbFlush) = (0, false, false)
        topologyChangeState = .inactive
        (newInfo, txCount) = (true, 0)
        transmitState = .initialise
    }

    /// A second has passed.
    func tick() {
        for timer in [
            \RSTPPort.edgeDelayWhile, \.fdWhile, \.helloWhen, \.mdelayWhile, \.rbWhile, \.rcvdInfoWhile, \.rrWhile, \.tcWhile, \.txCount,
        ] where self[keyPath: timer] > 0 { self[keyPath: timer] -= 1 }
        uptime += 1
    }

    // MARK: Machines; each makes one step, and says whether it did

    /// Port receive (section 17.23).
    func stepReceive() -> Bool {
        if rcvdBPDU || edgeDelayWhile != Self.migrateTime, !portEnabled {
            receiveState = .discard
            (rcvdBPDU, rcvdRSTP, rcvdSTP, rcvdMsg) = (false, false, false, false)
            edgeDelayWhile = Self.migrateTime
            return true
        }
        guard rcvdBPDU, portEnabled, receiveState == .discard || !rcvdMsg else { return false }
        receiveState = .receive
        if message.kind == .rapid { rcvdRSTP = true } else { rcvdSTP = true }
        (operEdge, rcvdBPDU, rcvdMsg) = (false, false, true)
        edgeDelayWhile = Self.migrateTime
        return true
    }

    /// Bridge detection (section 17.25).
    func stepDetection() -> Bool {
        switch detectionState {
        case .edge:
            guard !portEnabled && !settings.adminEdge || !operEdge else { return false }
            detectionState = .notEdge
            operEdge = false
        case .notEdge:
            let isEdge = edgeDelayWhile == 0 && settings.autoEdge && sendRSTP && proposing
            guard !portEnabled && settings.adminEdge || isEdge else { return false }
            detectionState = .edge
            operEdge = true
        }
        return true
    }

    /// Port protocol migration (section 17.24).
    func stepMigration() -> Bool {
        func check() {
            migrationState = .checkingRSTP
            mcheck = false
            sendRSTP = rstpVersion
            mdelayWhile = Self.migrateTime
        }
        func sense() {
            migrationState = .sensing
            (rcvdRSTP, rcvdSTP) = (false, false)
        }
        switch migrationState {
        case .checkingRSTP:
            if mdelayWhile != Self.migrateTime, !portEnabled { check() } else if mdelayWhile == 0 { sense() } else { return false }
        case .sensing:
            if !portEnabled || mcheck || rstpVersion && !sendRSTP && rcvdRSTP {
                check()
            } else if sendRSTP, rcvdSTP {
                migrationState = .selectingSTP
                sendRSTP = false
                mdelayWhile = Self.migrateTime
            } else {
                return false
            }
        case .selectingSTP:
            guard mdelayWhile == 0 || !portEnabled || mcheck else { return false }
            sense()
        }
        return true
    }

    /// Port state transition (section 17.30).
    func stepState() -> Bool {
        switch stateMachine {
        case .discarding:
            guard learn else { return false }
            stateMachine = .learning
            learning = true
        case .learning where !learn, .forwarding where !forward:
            stateMachine = .discarding
            (learning, forwarding) = (false, false)
        case .learning:
            guard forward else { return false }
            stateMachine = .forwarding
            forwarding = true
        case .forwarding: return false
        }
        bridge.portStateChanged = true
        return true
    }
}
