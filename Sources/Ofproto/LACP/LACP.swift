// LACP on a bond: which members have a partner that bundles them alike (IEEE 802.1AX-2008, section 5.4).
//
// A member is current while its partner is heard from, expired for three seconds after it was last, and defaulted from then
// on. Among those that are not defaulted the most important one leads, and members whose partner is the leader's are attached.

import Dpif

/// What the database says of LACP: Port.lacp, its other_config, and that of its interfaces.
public struct LACPSettings: Hashable, Sendable {
    public struct Member: Hashable, Sendable {
        /// 0: by the OpenFlow port number.
        public var portID: UInt16 = 0
        public var portPriority: UInt16 = 65535
        /// 0: the first member's port id.
        public var key: UInt16 = 0
        public init() {}
    }
    public var isActive = true
    public var isFast = false
    public var systemPriority: UInt16 = 65534
    public var systemID: UInt64 = 0
    /// By interface name.
    public var members: [String: Member] = [:]
    public init() {}

    /// What of an end's state is a matter of settings.
    var state: LACPInfo.State {
        var state = LACPInfo.State.aggregation
        if isActive { state.insert(.activity) }
        if isFast { state.insert(.timeout) }
        return state
    }
}

/// LACP of one bond. Confined to the main thread.
public final class LACP {
    public enum Status: String, Sendable { case current, expired, defaulted }

    public final class Member {
        public let port: SwitchPort
        public fileprivate(set) var settings: LACPSettings.Member
        public fileprivate(set) var status = Status.expired
        public fileprivate(set) var isAttached = false
        public fileprivate(set) var partner = LACPInfo()
        /// What the partner was told last.
        fileprivate var told = LACPInfo()
        fileprivate var receiveDeadline: Int64 = 0
        fileprivate var nextTransmission: Int64 = 0
        fileprivate var wasUp: Bool
        public fileprivate(set) var transmitted = 0
        public fileprivate(set) var received = 0
        public fileprivate(set) var bad = 0
        public fileprivate(set) var markers = 0
        public fileprivate(set) var expirations = 0
        public fileprivate(set) var defaults = 0
        public fileprivate(set) var carrierChanges = 0

        fileprivate init(_ port: SwitchPort, _ settings: LACPSettings.Member) {
            self.port = port
            self.settings = settings
            wasUp = port.device.isLinkUp
        }
        public var portID: UInt16 { settings.portID != 0 ? settings.portID : UInt16(truncatingIfNeeded: port.number.rawValue) }
    }

    private static let fast: Int64 = 1000
    private static let slow: Int64 = 30_000
    /// A partner is given up after so many frames that did not come.
    private static let multiplier: Int64 = 3

    public let name: String
    public private(set) var settings: LACPSettings
    public private(set) var members: [Member] = []
    public private(set) var isNegotiated = false
    private let time: TimeSource
    private let send: (SwitchPort, [UInt8]) -> Void

    init(name: String, settings: LACPSettings, time: TimeSource, send: @escaping (SwitchPort, [UInt8]) -> Void) {
        self.name = name
        self.settings = settings
        self.time = time
        self.send = send
    }

    func configure(_ new: LACPSettings, ports: [SwitchPort]) {
        settings = new
        members = ports.map { port in
            let wanted = new.members[port.name] ?? .init()
            if let known = members.first(where: { $0.port === port }) {
                if known.settings != wanted {
                    known.settings = wanted
                    expire(known)
                }
                return known
            }
            let member = Member(port, wanted)
            member.partner.state = .timeout
            member.receiveDeadline = time.now + Self.multiplier * Self.fast
            return member
        }
        choose()
    }

    /// The key by which members are told to belong together.
    public var key: UInt16 {
        guard let first = members.first else { return 0 }
        return first.settings.key != 0 ? first.settings.key : first.portID
    }

    public var status: LACPStatus { isNegotiated ? .negotiated : .configured }

    public func member(_ port: SwitchPort) -> Member? { members.first { $0.port === port } }

    /// Whether a port may carry traffic.
    public func allows(_ port: SwitchPort) -> Bool {
        guard let member = member(port) else { return true }
        return member.isAttached && member.partner.state.contains(.synchronized)
    }

    /// What the partner is told of this end.
    public func actor(_ member: Member) -> LACPInfo {
        var info = LACPInfo()
        info.state = settings.state
        if member.status == .expired { info.state.insert(.expired) }
        if member.status == .defaulted { info.state.insert(.defaulted) }
        if member.isAttached { info.state.insert(.synchronized) }
        if member.isAttached || !isNegotiated { info.state.formUnion([.collecting, .distributing]) }
        info.systemPriority = settings.systemPriority
        info.systemID = settings.systemID
        info.key = member.settings.key != 0 ? member.settings.key : key
        info.portPriority = member.settings.portPriority
        info.portID = member.portID
        return info
    }

    /// A slow-protocols frame came in.
    func receive(_ payload: ArraySlice<UInt8>, on port: SwitchPort) {
        guard let member = member(port) else { return }
        member.received += 1
        switch LACPDU.parse(payload) {
        case .bad: member.bad += 1
        case .markerRequest: member.markers += 1
        case .pdu(let pdu):
            member.status = .current
            member.receiveDeadline = time.now + Self.multiplier * (settings.isFast ? Self.fast : Self.slow)
            member.partner = pdu.actor
            // A partner that has an old picture of this end is told at once.
            if !pdu.partner.agrees(with: actor(member)) { member.nextTransmission = 0 }
            choose()
        }
    }

    private func expire(_ member: Member) {
        member.status = .expired
        member.expirations += 1
        member.partner.state.insert(.timeout)
        member.partner.state.remove(.synchronized)
        member.receiveDeadline = time.now + Self.multiplier * Self.fast
    }

    /// Finds the leader, and attaches those whose partner is the leader's.
    private func choose() {
        func precedence(_ m: Member) -> (UInt16, UInt64, UInt16, UInt16) {
            let own = actor(m)
            // The more important of both systems decides.
            let ours = (own.systemPriority, own.systemID)
            let theirs = (m.partner.systemPriority, m.partner.systemID)
            return m.partner.systemID != 0 && theirs < ours ? m.partner.precedence : own.precedence
        }
        let candidates = members.filter { m in
            m.status != .defaulted
                // One's own frames, coming back.
                && !(m.partner.systemID == settings.systemID && m.partner.systemID != 0)
        }
        let heard = candidates.filter { $0.status == .current }
        let leader = (heard.isEmpty ? candidates : heard).min { precedence($0) < precedence($1) }
        isNegotiated = leader != nil
        for member in members {
            member.isAttached =
                leader.map { lead in
                    candidates.contains { $0 === member } && member.partner.systemID == lead.partner.systemID
                        && member.partner.key == lead.partner.key
                } ?? false
        }
    }

    /// Does what is due. Returns true when members may have become usable or unusable.
    func run() -> Bool {
        let now = time.now
        let before = members.map { ($0.isAttached, $0.partner.state, $0.status) }
        let wasNegotiated = isNegotiated
        for member in members {
            if member.port.device.isLinkUp != member.wasUp {
                member.wasUp.toggle()
                member.carrierChanges += 1
                if member.wasUp { member.nextTransmission = 0 } else if member.status == .current { expire(member) }
            }
            guard now >= member.receiveDeadline else { continue }
            switch member.status {
            case .current: expire(member)
            case .expired:
                member.status = .defaulted
                member.defaults += 1
                member.partner = LACPInfo()
            case .defaulted: break
            }
        }
        choose()
        for member in members where member.port.device.isLinkUp {
            // Two passive ends say nothing.
            guard settings.isActive || member.partner.state.contains(.activity) else { continue }
            let own = actor(member)
            guard now >= member.nextTransmission || !own.agrees(with: member.told) else { continue }
            var pdu = LACPDU()
            pdu.actor = own
            pdu.partner = member.partner
            member.transmitted += 1
            member.told = own
            member.nextTransmission = now + (member.partner.state.contains(.timeout) ? Self.fast : Self.slow)
            // Last, because the answer may come at once.
            send(member.port, pdu.frame(from: member.port.device.macAddress))
        }
        return wasNegotiated != isNegotiated
            || !before.elementsEqual(members.map { ($0.isAttached, $0.partner.state, $0.status) }, by: ==)
    }
}
