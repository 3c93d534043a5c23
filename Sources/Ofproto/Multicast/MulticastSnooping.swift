// Multicast snooping: which ports want which groups, and where routers are, learned from IGMP and MLD (RFC 4541).

import Dpif
import Flow

/// What the database says of snooping (Bridge.mcast_snooping_enable and other_config).
public struct SnoopingSettings: Hashable, Sendable {
    /// Seconds until a group that nobody reports is forgotten.
    public var agingTime: Int64 = 300
    public var capacity = 2048
    /// Groups that nobody has asked for go everywhere.
    public var floodsUnregistered = true
    public init() {}
}

/// What an IGMP or MLD message says.
public enum MembershipMessage: Equatable, Sendable {
    /// IPv4 groups are IPv4-mapped addresses.
    case join([UInt128])
    case leave([UInt128])
    /// Some joined and some left (IGMPv3, MLDv2).
    case changes(joined: [UInt128], left: [UInt128])
    /// From a router.
    case query

    /// Reads the message of a frame; nil when it holds none, or a broken one.
    public static func parse(_ frame: [UInt8]) -> MembershipMessage? {
        func u16(_ at: Int) -> Int? { at + 2 <= frame.count ? Int(frame[at]) << 8 | Int(frame[at + 1]) : nil }
        var at = 12
        var type = u16(at)
        while type == 0x8100 || type == 0x88a8 {
            at += 4
            type = u16(at)
        }
        at += 2
        switch type {
        case 0x0800:
            guard at + 20 <= frame.count, frame[at + 9] == 2, let length = u16(at + 2) else { return nil }
            let header = Int(frame[at] & 15) * 4
            guard header >= 20, length >= header + 8, at + length <= frame.count else { return nil }
            let fromNobody = frame[(at + 12)..<(at + 16)].allSatisfy { $0 == 0 }
            return igmp(Array(frame[(at + header)..<(at + length)]), fromNobody: fromNobody)
        case 0x86dd:
            guard at + 40 <= frame.count, let length = u16(at + 4), at + 40 + length <= frame.count else { return nil }
            var payload = Array(frame[(at + 40)..<(at + 40 + length)])
            // MLD comes behind a hop-by-hop header with a router alert.
            var next = frame[at + 6]
            if next == 0, payload.count >= 8 {
                next = payload[0]
                payload.removeFirst(min(payload.count, 8 + Int(payload[1]) * 8))
            }
            guard next == 58 else { return nil }
            return mld(payload)
        default: return nil
        }
    }

    private static func igmp(_ b: [UInt8], fromNobody: Bool) -> MembershipMessage? {
        func address(_ at: Int) -> UInt128 {
            0xffff_0000_0000 | b[at..<(at + 4)].reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        }
        switch b[0] {
        case 0x11: return fromNobody ? nil : .query
        case 0x12, 0x16: return .join([address(4)])
        case 0x17: return .leave([address(4)])
        case 0x22: return records(b, addressSize: 4, address)
        default: return nil
        }
    }

    private static func mld(_ b: [UInt8]) -> MembershipMessage? {
        guard b.count >= 8 else { return nil }
        func address(_ at: Int) -> UInt128 { b[at..<(at + 16)].reduce(UInt128(0)) { $0 << 8 | UInt128($1) } }
        switch b[0] {
        case 130: return .query
        case 131: return b.count >= 24 ? .join([address(8)]) : nil
        case 132: return b.count >= 24 ? .leave([address(8)]) : nil
        case 143: return records(b, addressSize: 16, address)
        default: return nil
        }
    }

    /// Group records of IGMPv3 and MLDv2, which look alike.
    private static func records(_ b: [UInt8], addressSize: Int, _ address: (Int) -> UInt128) -> MembershipMessage? {
        var left = Int(b[6]) << 8 | Int(b[7])
        var at = 8
        var joins: [UInt128] = []
        var leaves: [UInt128] = []
        while left > 0, at + 4 + addressSize <= b.count {
            let sources = Int(b[at + 2]) << 8 | Int(b[at + 3])
            let size = 4 + addressSize + sources * addressSize + Int(b[at + 1]) * 4
            guard at + size <= b.count else { break }
            // IS_INCLUDE and TO_INCLUDE of nothing is leaving; the sources themselves are not told apart.
            if (b[at] == 1 || b[at] == 3) && sources == 0 {
                leaves.append(address(at + 4))
            } else if (1...5).contains(b[at]) {
                joins.append(address(at + 4))
            }
            at += size
            left -= 1
        }
        return .changes(joined: joins, left: leaves)
    }
}

extension OpenFlowSwitch {
    /// Turns snooping on with these settings, or off.
    public func setSnooping(_ settings: SnoopingSettings?) {
        guard settings != snooping?.settings else { return }
        if let settings {
            if let snooping { snooping.configure(settings) } else { snooping = MulticastSnooping(settings, time: time) }
        } else {
            snooping = nil
        }
        backer.changed()
    }

    /// Learns from a frame that translation took for IGMP or MLD.
    func snoop(_ frame: [UInt8], from bundle: PortBundle, vlan: UInt16) {
        guard let snooping, let message = MembershipMessage.parse(frame) else { return }
        if snooping.learn(message, from: bundle, vlan: vlan) { backer.changed() }
    }

    /// Forgets all that was snooped.
    public func flushSnooping() {
        guard let snooping else { return }
        snooping.flush()
        backer.changed()
    }
}

/// The multicast table of a switch. Confined to the main thread.
public final class MulticastSnooping {
    public struct Key: Hashable, Sendable {
        public let vlan: UInt16
        public let group: UInt128
    }
    /// Somebody at a port who wants a group, or a router there.
    public struct Listener {
        public fileprivate(set) weak var bundle: PortBundle?
        /// When it was last heard of, in milliseconds.
        public fileprivate(set) var heard: Int64
    }

    /// Seconds until a router that sends no queries is forgotten.
    private static let routerTime: Int64 = 300

    public private(set) var settings: SnoopingSettings
    public private(set) var groups: [Key: [Listener]] = [:]
    public private(set) var routers: [(vlan: UInt16, listener: Listener)] = []
    private let time: TimeSource

    init(_ settings: SnoopingSettings, time: TimeSource) {
        self.settings = settings
        self.time = time
    }

    func configure(_ new: SnoopingSettings) { settings = new }

    func listeners(_ group: UInt128, vlan: UInt16) -> [PortBundle]? {
        groups[Key(vlan: vlan, group: group)]?.compactMap(\.bundle)
    }

    func routers(vlan: UInt16) -> [PortBundle] { routers.filter { $0.vlan == vlan }.compactMap(\.listener.bundle) }

    /// Learns from a message. Returns true when packets may go elsewhere now.
    func learn(_ message: MembershipMessage, from bundle: PortBundle, vlan: UInt16) -> Bool {
        switch message {
        case .join(let wanted): return change(joined: wanted, left: [], bundle, vlan)
        case .leave(let unwanted): return change(joined: [], left: unwanted, bundle, vlan)
        case .changes(let joined, let left): return change(joined: joined, left: left, bundle, vlan)
        case .query:
            if let i = routers.firstIndex(where: { $0.vlan == vlan && $0.listener.bundle === bundle }) {
                routers[i].listener.heard = time.now
                return false
            }
            routers.append((vlan, Listener(bundle: bundle, heard: time.now)))
            return true
        }
    }

    private func change(joined: [UInt128], left: [UInt128], _ bundle: PortBundle, _ vlan: UInt16) -> Bool {
        var changed = false
        // What is local to a link is flooded anyway.
        for group in joined where !Self.isLinkLocal(group) {
            let key = Key(vlan: vlan, group: group)
            if let i = groups[key]?.firstIndex(where: { $0.bundle === bundle }) {
                groups[key]?[i].heard = time.now
                continue
            }
            if groups[key] == nil, groups.count >= settings.capacity { forgetOldest() }
            groups[key, default: []].append(Listener(bundle: bundle, heard: time.now))
            changed = true
        }
        for group in left {
            let key = Key(vlan: vlan, group: group)
            guard groups[key]?.contains(where: { $0.bundle === bundle }) == true else { continue }
            groups[key]?.removeAll { $0.bundle === bundle }
            if groups[key]?.isEmpty == true { groups[key] = nil }
            changed = true
        }
        return changed
    }

    /// 224.0.0.0/24, and ff02::1.
    static func isLinkLocal(_ group: UInt128) -> Bool {
        group >> 32 == 0xffff ? group >> 8 & 0xff_ffff == 0xe0_0000 : group == 0xff02_0000_0000_0000_0000_0000_0000_0001
    }

    private func forgetOldest() {
        let oldest = groups.min { ($0.value.map(\.heard).max() ?? 0) < ($1.value.map(\.heard).max() ?? 0) }
        if let oldest { groups[oldest.key] = nil }
    }

    /// Forgets what is too old, or at ports that are gone. Returns true when there was any.
    func expire() -> Bool {
        let limit = time.now - settings.agingTime * 1000
        var changed = false
        for (key, listeners) in groups {
            let kept = listeners.filter { $0.bundle != nil && $0.heard > limit }
            guard kept.count != listeners.count else { continue }
            groups[key] = kept.isEmpty ? nil : kept
            changed = true
        }
        let before = routers.count
        let routerLimit = time.now - Self.routerTime * 1000
        routers.removeAll { $0.listener.bundle == nil || $0.listener.heard <= routerLimit }
        return changed || routers.count != before
    }

    /// Forgets everything.
    func flush() {
        groups = [:]
        routers = []
    }

    /// Seconds since a listener was heard of.
    public func age(_ listener: Listener) -> Int64 { max(0, time.now - listener.heard) / 1000 }
}
