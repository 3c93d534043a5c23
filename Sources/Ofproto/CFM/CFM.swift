// Connectivity fault management on a port (IEEE 802.1ag): each maintenance point says at an interval that it is there, and
// is in fault when another that it knows falls silent for three and a half of them, or says so.

import Dpif
import Flow
import OpenFlow

/// What the database says of CFM (Interface.cfm_mpid and other_config).
public struct CFMSettings: Hashable, Sendable {
    public var mpid: UInt64
    /// Milliseconds.
    public var interval: Int64 = 1000
    public var isExtended = false
    /// What the neighbours are told of this end (`cfm_opstate`).
    public var isUp = true
    public init(mpid: UInt64) { self.mpid = mpid }
}

/// A maintenance point. Confined to the main thread.
public final class CFM {
    /// Why there is a fault, by the words of Interface.cfm_fault_status.
    public struct Faults: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let receive = Faults(rawValue: 1)
        public static let remoteDefect = Faults(rawValue: 2)
        public static let association = Faults(rawValue: 4)
        public static let loopback = Faults(rawValue: 8)
        public static let overflow = Faults(rawValue: 16)
        public static let override = Faults(rawValue: 32)
        public static let interval = Faults(rawValue: 64)
        public static let sequence = Faults(rawValue: 128)
        private static let names = ["recv", "rdi", "maid", "loopback", "overflow", "override", "interval", "sequence"]
        public var names: [String] { Self.names.indices.filter { rawValue >> UInt16($0) & 1 != 0 }.map { Self.names[$0] } }
    }

    /// Another maintenance point.
    public struct Remote: Sendable {
        public let mpid: UInt64
        /// Heard from since the last check.
        public fileprivate(set) var wasHeard = true
        public fileprivate(set) var isUp = true
        fileprivate var remoteDefect = false
    }

    private static let maxRemotes = 256

    public private(set) var settings: CFMSettings
    public private(set) var remotes: [UInt64: Remote] = [:]
    public private(set) var faults: Faults = []
    public private(set) var flapCount: UInt64 = 0
    /// Percent of the messages that should have come; nil while that is not known.
    public private(set) var health: Int?
    /// What `cfm/set-fault` says.
    public var forcedFault: Bool? { didSet { update(found) } }
    public private(set) var nextTransmission: Int64
    public private(set) var nextCheck: Int64
    /// Told when anything changes that others see.
    var onChange: (() -> Void)?
    /// What the last check and the messages since have found.
    private var found: Faults = []
    private var pending: Faults = []
    private var received = 0
    private var checks = 0
    private var sequence: UInt32 = 0
    private let time: TimeSource
    private let address: () -> UInt64
    private let send: ([UInt8]) -> Void

    init(_ settings: CFMSettings, time: TimeSource, address: @escaping () -> UInt64, send: @escaping ([UInt8]) -> Void) {
        self.settings = settings
        self.time = time
        self.address = address
        self.send = send
        nextTransmission = time.now
        nextCheck = time.now
        nextCheck = time.now + checkInterval
    }

    func configure(_ new: CFMSettings) {
        guard new != settings else { return }
        let old = settings
        settings = new
        if new.interval != old.interval || new.isExtended != old.isExtended {
            nextTransmission = time.now
            nextCheck = time.now + checkInterval
        }
    }

    /// Milliseconds.
    public var interval: Int64 { settings.isExtended ? settings.interval : CCM.milliseconds(CCM.code(settings.interval)) }
    private var checkInterval: Int64 { interval * 7 / 2 }

    public var remoteIsUp: Bool { remotes.values.allSatisfy(\.isUp) }
    public var isFaulty: Bool { !faults.isEmpty }

    private func update(_ new: Faults) {
        var all = new
        // An override says what is so, whatever else is.
        if let forcedFault { all = forcedFault ? .override : [] }
        guard all != faults else { return }
        if all.isEmpty != faults.isEmpty { flapCount += 1 }
        faults = all
        onChange?()
    }

    /// A message came in.
    func receive(_ message: CCM) {
        guard message.isOfAssociation else {
            pending.insert(.association)
            return
        }
        if message.isExtended ? Int64(message.milliseconds) != interval : message.intervalCode != CCM.code(settings.interval) {
            pending.insert(.interval)
        }
        guard message.mpid != settings.mpid else {
            pending.insert(.loopback)
            return
        }
        guard remotes[message.mpid] != nil || remotes.count < Self.maxRemotes else {
            pending.insert(.overflow)
            return
        }
        let isNew = remotes[message.mpid] == nil
        var remote = remotes[message.mpid] ?? Remote(mpid: message.mpid)
        remote.wasHeard = true
        remote.isUp = !message.isDown
        remote.remoteDefect = message.remoteDefect
        remotes[message.mpid] = remote
        received += 1
        if isNew { onChange?() }
    }

    /// Does what is due. Returns true when a fault came or went.
    func run() -> Bool {
        let now = time.now
        let wasFaulty = isFaulty
        if now >= nextCheck {
            nextCheck = now + checkInterval
            check()
        }
        if now >= nextTransmission {
            nextTransmission = now + interval
            sequence &+= 1
            var message = CCM()
            message.remoteDefect = found.contains(.receive) || found.contains(.association) || found.contains(.loopback)
            message.intervalCode = settings.isExtended ? 0 : CCM.code(settings.interval)
            message.sequence = sequence
            message.mpid = settings.mpid
            message.isExtended = settings.isExtended
            if settings.isExtended { message.milliseconds = UInt16(clamping: settings.interval) }
            message.isDown = !settings.isUp
            send(message.frame(from: address()))
        }
        return wasFaulty != isFaulty
    }

    private func check() {
        var new = pending
        pending = []
        checks += 1
        // Every six checks 21 messages should have come.
        if checks % 6 == 0 {
            health = remotes.count == 1 ? min(100, received * 100 / 21) : nil
            received = 0
        }
        for (mpid, remote) in remotes {
            if !remote.wasHeard {
                new.insert(.receive)
                remotes[mpid] = nil
                continue
            }
            if remote.remoteDefect { new.insert(.remoteDefect) }
            remotes[mpid]?.wasHeard = false
        }
        if remotes.isEmpty, found.contains(.receive) || new.contains(.receive) { new.insert(.receive) }
        found = new
        update(new)
    }
}

extension OpenFlowSwitch {
    /// Runs CFM on a port with these settings, or none.
    public func setCFM(_ settings: CFMSettings?, on port: SwitchPort) {
        guard let settings else {
            guard port.cfm != nil else { return }
            port.cfm = nil
            backer.changed()
            noteStatus()
            return
        }
        if let cfm = port.cfm {
            cfm.configure(settings)
            return
        }
        port.cfm = CFM(settings, time: time) { [unowned port] in
            port.device.macAddress
        } send: { [unowned self, unowned port] in
            self.sendFrame($0, on: port)
        }
        port.cfm?.onChange = { [unowned self] in self.noteStatus() }
        backer.changed()
        noteStatus()
    }
}
