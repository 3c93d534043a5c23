// Bonds: several ports that NORMAL treats as one (ovs-vswitchd.conf.db(5), "Bonding Configuration").
//
// A member is enabled while its link is up, and while LACP, where it is used, agrees; a change has to last for the up or down
// delay. One enabled member is the active one: it takes all multicast, and in active-backup everything. The balancing modes
// spread over the enabled members by 256 hash buckets, by source address and VLAN or by the connection.

import Dpif
import Flow
import OpenFlow
import Vlog

public enum BondMode: String, Hashable, Sendable {
    case activeBackup = "active-backup"
    case balanceSLB = "balance-slb"
    case balanceTCP = "balance-tcp"
}

/// What the database says of a Port row's bonding columns.
public struct BondSettings: Hashable, Sendable {
    public var mode = BondMode.activeBackup
    /// Milliseconds that a link must be up, or down, before the member follows.
    public var upDelay: Int64 = 0
    public var downDelay: Int64 = 0
    /// Changes which bucket a packet hashes to.
    public var hashBasis: UInt32 = 0
    /// Milliseconds; 0: never.
    public var rebalanceInterval: Int64 = 10_000
    /// The member that is active whenever it is enabled.
    public var primary: String?
    /// Until LACP has negotiated, be an active-backup bond.
    public var fallsBackToActiveBackup = false
    public var usesLbOutput = false
    /// All members take multicast.
    public var allMembersActive = false

    public init() {}
}

/// How far LACP is, as a bond's admission depends on it.
public enum LACPStatus: String, Sendable {
    case off, configured, negotiated
}

/// One port of a bond.
public final class BondMember {
    public let port: SwitchPort
    public fileprivate(set) var isEnabled: Bool
    /// When the member follows its link, in milliseconds; nil when it agrees with it.
    fileprivate var changesAt: Int64?
    public var name: String { port.name }

    init(_ port: SwitchPort) {
        self.port = port
        isEnabled = false
    }
}

/// A bond. Confined to the main thread.
public final class Bond {
    private static let log = Vlog.module("bond")
    static let bucketCount = 256

    /// A share of the bond's traffic.
    public struct Bucket {
        public fileprivate(set) weak var member: BondMember?
        /// Bytes, halved with each rebalancing.
        public fileprivate(set) var load: UInt64 = 0
    }

    public enum Verdict {
        case accept, drop
        /// Accept unless the source is known to be elsewhere.
        case dropIfMoved
    }

    public let name: String
    public private(set) var settings: BondSettings
    public private(set) var members: [BondMember] = []
    public private(set) var active: BondMember?
    public private(set) var buckets = [Bucket](repeating: Bucket(), count: Bond.bucketCount)
    public private(set) var nextRebalance: Int64
    private let time: TimeSource
    private var nextMember = 0
    private var isNew = true
    /// What LACP says of a member; nil: that it may be enabled.
    var lacpAllows: ((SwitchPort) -> Bool)?
    public var lacpStatus: () -> LACPStatus = { .off }

    init(name: String, settings: BondSettings, time: TimeSource) {
        self.name = name
        self.settings = settings
        self.time = time
        nextRebalance = time.now + settings.rebalanceInterval
    }

    /// Takes settings and ports; what stays keeps its state. Returns true when translations may differ now.
    func configure(_ new: BondSettings, ports: [SwitchPort]) -> Bool {
        var changed = new != settings
        if new.rebalanceInterval != settings.rebalanceInterval { nextRebalance = time.now + new.rebalanceInterval }
        if new.mode != settings.mode || new.hashBasis != settings.hashBasis {
            buckets = [Bucket](repeating: Bucket(), count: Self.bucketCount)
        }
        settings = new
        if !ports.elementsEqual(members.map(\.port), by: ===) {
            members = ports.map { port in members.first { $0.port === port } ?? BondMember(port) }
            if let current = active, !members.contains(where: { $0 === current }) { active = nil }
            changed = true
        }
        return run() || changed
    }

    private func mayEnable(_ member: BondMember) -> Bool {
        guard member.port.canCarry else { return false }
        if let bfd = member.port.bfd, !bfd.isForwarding { return false }
        if let cfm = member.port.cfm, cfm.isFaulty { return false }
        return lacpAllows?(member.port) ?? true
    }

    public func mayBeEnabled(_ member: BondMember) -> Bool { mayEnable(member) }

    /// Follows the links. Returns true when translations may differ now.
    func run() -> Bool {
        let now = time.now
        var changed = false
        for member in members {
            let wanted = mayEnable(member)
            guard wanted != member.isEnabled else {
                member.changesAt = nil
                continue
            }
            // At the start, and with LACP, which is slow enough, nothing is delayed.
            let delay = isNew || lacpStatus() != .off ? 0 : wanted ? settings.upDelay : settings.downDelay
            let due = member.changesAt ?? now + delay
            member.changesAt = due
            // The first link of a bond that has none is not made to wait.
            let isOnlyHope = wanted && !members.contains(where: \.isEnabled)
            guard now >= due || isOnlyHope else { continue }
            setEnabled(member, wanted)
            changed = true
        }
        isNew = false
        if chooseActive() { changed = true }
        if settings.rebalanceInterval > 0, now >= nextRebalance {
            nextRebalance = now + settings.rebalanceInterval
            if rebalance() { changed = true }
        }
        return changed
    }

    private func setEnabled(_ member: BondMember, _ on: Bool) {
        member.changesAt = nil
        guard member.isEnabled != on else { return }
        member.isEnabled = on
        Self.log.info("member \(member.name): \(on ? "enabled" : "disabled")")
        if !on { for i in buckets.indices where buckets[i].member === member { buckets[i].member = nil } }
    }

    /// The primary where it is enabled, else whichever is active, else any.
    private func chooseActive() -> Bool {
        let primary = settings.primary.flatMap { name in members.first { $0.name == name && $0.isEnabled } }
        let current = active.flatMap { $0.isEnabled ? $0 : nil }
        let chosen = primary ?? current ?? members.first(where: \.isEnabled)
        guard chosen !== active else { return false }
        active = chosen
        if let chosen {
            Self.log.info("bond \(name): active member is now \(chosen.name)")
        } else {
            Self.log.warn("bond \(name): all members disabled")
        }
        return true
    }

    // MARK: Commands

    public func member(named name: String) -> BondMember? { members.first { $0.name == name } }

    /// Makes a member the active one. False: it is already.
    public func setActive(_ member: BondMember) -> Bool {
        guard member !== active else { return false }
        active = member
        return true
    }

    /// Enables or disables a member until its link says otherwise.
    public func force(_ member: BondMember, enabled: Bool) { setEnabled(member, enabled) }

    public func migrate(bucket: Int, to member: BondMember) { buckets[bucket & (Self.bucketCount - 1)].member = member }

    // MARK: Traffic

    private var effectiveMode: BondMode {
        lacpStatus() == .configured && settings.fallsBackToActiveBackup ? .activeBackup : settings.mode
    }

    /// The bucket of a source address and VLAN.
    public static func hash(source: UInt64, vlan: UInt16, basis: UInt32) -> UInt32 {
        var h = MurmurHash(basis)
        h.add(source | UInt64(vlan) << 48)
        return h.finish(8)
    }

    /// The member for a packet to send, and its bucket where there are any.
    func output(_ flow: FlowKey, vlan: UInt16, consulted: (HashFields) -> Void) -> (member: BondMember, bucket: Int?)? {
        switch effectiveMode {
        case .activeBackup: return active.map { ($0, nil) }
        case .balanceSLB:
            let bucket = Int(Self.hash(source: flow.ethSrc, vlan: vlan, basis: settings.hashBasis) & 0xff)
            return member(of: bucket).map { ($0, bucket) }
        case .balanceTCP:
            // Without a partner that spreads its part of the connections alike, none of them is safe.
            guard lacpStatus() == .negotiated else { return nil }
            consulted(.symmetricL4)
            let bucket = Int(flow.hash(.symmetricL4, basis: settings.hashBasis) & 0xff)
            return member(of: bucket).map { ($0, bucket) }
        }
    }

    /// The datapath's name for the bond, under which it chooses members itself; nil: it does not.
    public internal(set) var recirculationID: UInt32?

    /// What the datapath was last told of the buckets.
    var toldPorts: [UInt32?] = []
    /// The hidden flow of each bucket, and the member's port that it names.
    var rules = [(port: OFPort, rule: Rule)?](repeating: nil, count: Bond.bucketCount)

    /// Translation sends packets to the bond, and the datapath to one of its members.
    var leavesChoiceToDatapath: Bool { effectiveMode == .balanceTCP && lacpStatus() == .negotiated }

    /// The ports of all buckets, each of which has one as long as any member is enabled.
    func bucketPorts() -> [UInt32?] { buckets.indices.map { member(of: $0)?.port.datapathPort } }

    func member(of bucket: Int) -> BondMember? {
        if let member = buckets[bucket].member, member.isEnabled { return member }
        let enabled = members.filter(\.isEnabled)
        guard !enabled.isEmpty else { return nil }
        let chosen = enabled[nextMember % enabled.count]
        nextMember &+= 1
        buckets[bucket].member = chosen
        return chosen
    }

    /// Whether a packet that came in at a member is taken.
    func admits(_ port: SwitchPort, destination: UInt64) -> Verdict {
        guard let member = members.first(where: { $0.port === port }) else { return .drop }
        let status = lacpStatus()
        switch status {
        case .negotiated: return member.isEnabled ? .accept : .drop
        case .configured: guard settings.fallsBackToActiveBackup else { return .drop }
        case .off: break
        }
        if destination >> 40 & 1 != 0, member !== active, !settings.allMembersActive { return .drop }
        switch effectiveMode {
        case .activeBackup: return member === active ? .accept : .drop
        case .balanceTCP: return .drop
        case .balanceSLB: return .dropIfMoved
        }
    }

    /// Credits what a bucket sent.
    func credit(bucket: Int, bytes: UInt64) { buckets[bucket].load &+= bytes }

    // MARK: Rebalancing

    /// Moves buckets from the busiest members to the idlest while that evens their loads out. Returns true when it moved any.
    private func rebalance() -> Bool {
        defer { for i in buckets.indices { buckets[i].load /= 2 } }
        guard effectiveMode != .activeBackup else { return false }
        let enabled = members.filter(\.isEnabled)
        guard enabled.count > 1 else { return false }
        var moved = false
        for _ in 0..<Self.bucketCount {
            let loads = enabled.map { member in
                (member: member, load: buckets.reduce(UInt64(0)) { $1.member === member ? $0 &+ $1.load : $0 })
            }
            guard let from = loads.max(by: { $0.load < $1.load }), let to = loads.min(by: { $0.load < $1.load }) else { break }
            let excess = from.load - to.load
            let total = loads.reduce(UInt64(0)) { $0 &+ $1.load }
            // A difference of about 3% or of 1 Mbit is none.
            guard excess > total >> 5, excess > 125_000 else { break }
            let candidates = buckets.indices.filter { buckets[$0].member === from.member && buckets[$0].load > 0 }
            // The bucket that brings both closest together; one alone stays.
            guard candidates.count > 1,
                let best = candidates.min(by: { distance(buckets[$0].load, excess) < distance(buckets[$1].load, excess) }),
                buckets[best].load < excess
            else { break }
            buckets[best].member = to.member
            moved = true
        }
        return moved
    }

    private func distance(_ load: UInt64, _ excess: UInt64) -> UInt64 {
        let half = excess / 2
        return load > half ? load - half : half - load
    }
}
