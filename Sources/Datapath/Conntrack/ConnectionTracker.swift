// The connection tracker of the userspace datapaths: what the `ct` action does.
//
//     packet ─▶ key ─▶ look up ─┬─ found ────▶ follow its state ─▶ translate ─▶ ct_state, ct_mark, ct_label
//                               └─ not found ▶ new; committed only when asked ─▶ (choose translation) ─▶ ...
//
// Threads. Polling threads track packets at the same time. A connection is found by two keys, one for each direction,
// which lie in shards by their hashes; each shard is a dictionary behind a lock. Locks are leaves: whoever holds one takes
// no other, except that an expiry wheel lies in its shard. Both keys of a connection are entered one after the other, the
// reply's first, whose absence is what makes a translated address free; who loses a race takes his entry back. A
// connection that is removed is marked so under its own lock first, so that one thread alone counts it out.
//
// Memory is bounded by `maxConnections` and by the fragment and expectation limits. Time is given by the caller.

import Dpif
import Flow
import Packet
import Synchronization

public final class ConnectionTracker: Sendable {
    private struct Entry {
        let connection: Connection
        let isReply: Bool
        /// Connections that looked alike before this one, which is found in their place while it lasts; the latest first.
        var hidden: [Entry] = []
    }
    private struct Shard: ~Copyable {
        var entries: [ConnectionKey: Entry] = [:]
        var wheel = ExpiryWheel()
    }
    /// A mutex that can be kept in an array.
    private final class LockedShard: Sendable {
        let state = Mutex(Shard())
    }
    private struct Limits {
        var maximum: UInt32 = 3_000_000
        var checksSequence = true
        var defaultZone: UInt32 = 0
        var zones: [UInt16: UInt32] = [:]
        /// How many connections each zone has.
        var counts: [UInt16: UInt32] = [:]
        var total = 0
        var policies: [String: [String: UInt32]] = [:]
    }

    private static let shardCount = 64
    /// Milliseconds after which what retired connections left is taken away.
    private static let sweepInterval: Int64 = 5_000
    private let shards: [LockedShard]
    private let limits = Mutex(Limits())
    let expectations = Mutex(ExpectationTable())
    let reassembly = Mutex(FragmentReassembly())

    public init() { shards = (0..<Self.shardCount).map { _ in LockedShard() } }

    private func shard(_ key: ConnectionKey) -> LockedShard { shards[key.hashValue & (Self.shardCount - 1)] }

    // MARK: Tables

    private func find(_ key: ConnectionKey, now: Int64) -> (Connection, isReply: Bool)? {
        let entry = shard(key).state.withLock { $0.entries[key] }
        guard let entry else { return nil }
        guard entry.connection.isExpired(now) else { return (entry.connection, entry.isReply) }
        remove(entry.connection)
        // What it hid shows again.
        guard let next = shard(key).state.withLock({ $0.entries[key] }), !next.connection.isExpired(now) else { return nil }
        return (next.connection, next.isReply)
    }

    /// Enters a connection. False: its key is taken, or that of its answers where addresses are translated. Without translation
    /// answers to both are those of the connection that was last.
    private func insert(_ connection: Connection, now: Int64) -> Bool {
        let reply = connection.replyKey
        let hasOwnReply = reply != connection.key
        if hasOwnReply {
            let isEntered = shard(reply).state.withLock { s in
                guard connection.nat == nil || s.entries[reply] == nil else { return false }
                var entry = Entry(connection: connection, isReply: true)
                if var old = s.entries[reply] {
                    entry.hidden = old.hidden
                    old.hidden = []
                    entry.hidden.insert(old, at: 0)
                }
                s.entries[reply] = entry
                return true
            }
            guard isEntered else { return false }
        }
        let key = connection.key
        let deadline = connection.state.withLock { s in
            s.slot = s.deadline
            return s.deadline
        }
        let isNew = shard(key).state.withLock { s in
            if s.entries[key] != nil { return false }
            s.entries[key] = Entry(connection: connection, isReply: false)
            s.wheel.add(connection, at: deadline, now: now)
            return true
        }
        if !isNew {
            if hasOwnReply { release(reply, of: connection) }
            return false
        }
        limits.withLock {
            $0.counts[key.zone, default: 0] += 1
            $0.total += 1
        }
        return true
    }

    private func remove(_ connection: Connection) { if end(connection) { release(connection.replyKey, of: connection) } }

    /// Removes a connection before its time. Where it was translated, nobody else gets what answers to it looked like before the next sweep,
    /// and such answers belong to no connection, as in the real daemon.
    private func retire(_ connection: Connection, now: Int64) {
        guard connection.nat != nil else { return remove(connection) }
        guard end(connection) else { return }
        shard(connection.key).state.withLock { $0.wheel.add(connection, at: now + Self.sweepInterval, now: now) }
    }

    /// Takes a connection out of the tables and counts, but for the key of its answers. False: it is out already.
    private func end(_ connection: Connection) -> Bool {
        let isFirst = connection.state.withLock { s in
            if s.isRemoved { return false }
            s.isRemoved = true
            return true
        }
        guard isFirst else { return false }
        release(connection.key, of: connection)
        limits.withLock {
            $0.total -= 1
            let left = ($0.counts[connection.key.zone] ?? 1) - 1
            $0.counts[connection.key.zone] = left > 0 ? left : nil
        }
        if connection.helper != nil { expectations.withLock { $0.remove(of: connection.key) } }
        return true
    }

    private func release(_ key: ConnectionKey, of connection: Connection) {
        shard(key).state.withLock { s in
            guard var entry = s.entries[key] else { return }
            guard entry.connection === connection else {
                entry.hidden.removeAll { $0.connection === connection }
                s.entries[key] = entry
                return
            }
            guard var next = entry.hidden.first else {
                s.entries[key] = nil
                return
            }
            next.hidden = Array(entry.hidden.dropFirst())
            s.entries[key] = next
        }
    }

    /// Whether answers to a connection that was retired look like this.
    private func isRetired(_ key: ConnectionKey) -> Bool {
        guard let entry = shard(key).state.withLock({ $0.entries[key] }), entry.isReply else { return false }
        return entry.connection.state.withLock { $0.isRemoved }
    }

    /// Moves a connection in the expiry wheel when it now ends much sooner than it was to be looked at.
    private func hasten(_ connection: Connection, now: Int64) {
        let deadline: Int64? = connection.state.withLock { s in
            guard s.deadline + 2_000 < s.slot else { return nil }
            s.slot = s.deadline
            return s.deadline
        }
        guard let deadline else { return }
        shard(connection.key).state.withLock { $0.wheel.add(connection, at: deadline, now: now) }
    }

    /// Ends connections whose time has come. Does a bounded amount of work; call it every now and then.
    public func expire(now: Int64) {
        for shard in shards {
            let due = shard.state.withLock { $0.wheel.due(now: now, limit: 1024) }
            for connection in due {
                // Nil: it is gone, or stands elsewhere by now.
                let deadline: Int64? = connection.state.withLock { s in
                    guard !s.isRemoved, s.slot <= now else { return nil }
                    s.slot = s.deadline
                    return s.deadline
                }
                guard let deadline else {
                    if connection.state.withLock({ $0.isRemoved }) { release(connection.replyKey, of: connection) }
                    continue
                }
                if now >= deadline {
                    remove(connection)
                } else {
                    shard.state.withLock { $0.wheel.add(connection, at: deadline, now: now) }
                }
            }
        }
        expectations.withLock { $0.expire(now: now) }
        reassembly.withLock { $0.expire(now: now) }
    }

    // MARK: Packets

    /// What happened to the packet.
    public enum Outcome {
        case tracked
        /// A fragment that waits for the others.
        case held
        /// The packet was the last missing fragment: these are all of them, each with the metadata it goes on with.
        case released([(packet: [UInt8], key: FlowKey)])
    }

    /// Tracks a packet whose layers have been found.
    ///
    /// - Parameters:
    ///   - key: the packet's metadata; its connection fields are set.
    ///   - parsed: the key of its headers as they are now.
    public func track(
        _ packet: inout Packet, key: inout FlowKey, parsed: FlowKey, _ action: DpConntrack, now: Int64
    ) -> Outcome {
        if parsed.nwFrag & IPFragment.any != 0, parsed.isIPv4 || parsed.isIPv6 {
            let verdict = reassembly.withLock { $0.add(packet, parsed, zone: action.zone, now: now) }
            switch verdict {
            case .notTaken: break
            case .held: return .held
            case .complete(let whole, let pieces):
                return trackReassembled(whole, pieces, key: key, action, now: now)
            }
        }
        process(&packet, key: &key, parsed: parsed, action, now: now)
        return .tracked
    }

    private func trackReassembled(
        _ whole: [UInt8], _ pieces: [FragmentReassembly.Piece], key: FlowKey, _ action: DpConntrack, now: Int64
    ) -> Outcome {
        var packet = Packet(whole)
        var metadata = key
        var parsed = key.metadataOnly
        parsed.extract(from: &packet)
        process(&packet, key: &metadata, parsed: parsed, action, isReassembled: true, now: now)
        // The fragments take over what translation changed in the whole.
        return .released(pieces.map { ($0.rewritten(from: packet), metadata) })
    }

    private func process(
        _ packet: inout Packet, key md: inout FlowKey, parsed: FlowKey, _ action: DpConntrack, isReassembled: Bool = false, now: Int64
    ) {
        var state = md.ctZone == action.zone ? md.ctState : 0
        let wasTracked = packet.connectionZone == action.zone
        packet.connectionZone = nil
        guard var seen = TrackedPacket(packet, parsed, zone: action.zone) else {
            md.setConnection(state: CTState.invalid | CTState.tracked, zone: action.zone, mark: 0, label: 0, tuple: nil)
            return
        }
        let mayTranslate = state & (CTState.sourceNAT | CTState.destinationNAT) == 0 || md.ctZone != action.zone
        var found = lookup(&seen, wasTranslated: state & (CTState.sourceNAT | CTState.destinationNAT) != 0, now: now)
        var hasRetired = false
        if let (connection, isReply) = found, isReply, action.force, action.commit || action.force {
            // The connection is to start from this side.
            retire(connection, now: now)
            hasRetired = true
            found = nil
        } else if let (connection, _) = found, action.force, connection.nat != nil,
            state & (CTState.sourceNAT | CTState.destinationNAT) != 0
        {
            // The real daemon takes what was translated before for an answer here, and keeps the connection all the same.
            guard action.nat == nil else {
                // Then it opens none, since there is one.
                md.setConnection(state: state | CTState.tracked, zone: action.zone, mark: 0, label: 0, tuple: seen.key)
                return
            }
            found = (connection, true)
        }
        if found == nil, isRetired(seen.key) {
            md.setConnection(state: CTState.invalid | CTState.tracked, zone: action.zone, mark: 0, label: 0, tuple: seen.key)
            return
        }
        var opens = false
        var expectation: Expectation?
        if found != nil, wasTracked, !action.force, action.helper == nil {
            // The connection has been told of this packet already; its state stands.
        } else if let (connection, isReply) = found {
            if seen.isRelated {
                state |= CTState.related
                if isReply { state |= CTState.reply }
            } else {
                if connection.parent != nil { state |= CTState.related }
                let checks = limits.withLock { $0.checksSequence }
                let verdict = connection.update(
                    seen, packet, reply: isReply, translated: action.nat != nil && mayTranslate, checksSequence: checks, now: now)
                hasten(connection, now: now)
                switch verdict {
                case .valid:
                    state |= CTState.established
                    state &= ~CTState.new
                    if isReply { state |= CTState.reply }
                case .validNew: state |= CTState.new
                case .invalid: state = CTState.invalid
                case .reopened:
                    retire(connection, now: now)
                    hasRetired = true
                    found = nil
                    opens = true
                }
            }
        } else if seen.isRelated {
            // An error about nothing that is known.
            state = CTState.invalid
        } else if state & CTState.invalid != 0 {
            // What an earlier action found to be no connection's packet opens none now.
        } else {
            opens = true
        }
        if opens, hasRetired {
            var again = seen
            if lookup(&again, wasTranslated: false, now: now) != nil {
                // Another connection has these addresses and ports too. The real daemon opens none then, and takes the packet for no one's.
                md.setConnection(state: state | CTState.tracked, zone: action.zone, mark: 0, label: 0, tuple: seen.key)
                return
            }
        }
        if opens {
            let sought = seen.key
            expectation = expectations.withLock { $0.find(sought, now: now) }
            if !seen.mayOpen(packet) {
                state = CTState.invalid
            } else {
                state = CTState.new
                if expectation != nil { state |= CTState.related }
                if action.commit, let made = open(seen, packet, action, expectation, now: now) { found = (made, false) }
            }
        }
        // Addresses.
        var translates = false
        if let (connection, isReply) = found, let kind = connection.nat, action.nat != nil || opens,
            state & CTState.invalid == 0, mayTranslate || state & (CTState.sourceNAT | CTState.destinationNAT) == 0
        {
            translates = true
            // What is done to answers is the other way round.
            state |= (kind == .source) != isReply ? CTState.sourceNAT : CTState.destinationNAT
            let from = isReply ? connection.replyKey : connection.key
            let to = isReply ? connection.key.reversed : connection.replyKey.reversed
            if from != to { packet.translate(seen, from: from, to: to) }
        }
        write(&md, state: state | CTState.tracked, zone: action.zone, found?.0, seen.key, expectation)
        // After translation the next action looks the connection up, and tells it of the packet, once more.
        if found != nil, action.nat == nil { packet.connectionZone = action.zone }
        if let (connection, _) = found { setMarks(connection, action, &md) }
        if let (connection, isReply) = found, state & CTState.invalid == 0, !seen.isRelated,
            !followApplication(
                &packet, seen, connection, isReply: isReply, action, translates: translates, mayGrow: !isReassembled, now: now)
        {
            md.ctState |= CTState.invalid
        }
    }

    /// Finds the packet's connection. Packets that were translated before are known by where they go.
    private func lookup(_ seen: inout TrackedPacket, wasTranslated: Bool, now: Int64) -> (Connection, isReply: Bool)? {
        if wasTranslated, let (connection, isReply) = find(seen.key.reversed, now: now) {
            seen.key = isReply ? connection.key : connection.replyKey
            return (connection, !isReply)
        }
        return find(seen.key, now: now)
    }

    /// Makes and enters a connection. Nil: a limit forbids it, or no address is free.
    private func open(
        _ seen: TrackedPacket, _ packet: borrowing Packet, _ action: DpConntrack, _ expectation: Expectation?, now: Int64
    ) -> Connection? {
        let zone = seen.key.zone
        let (isFull, timeouts) = limits.withLock { l in
            let limit = l.zones[zone] ?? l.defaultZone
            let isFull = l.total >= Int(l.maximum) || limit != 0 && l.counts[zone, default: 0] >= limit
            return (isFull, action.timeoutPolicy.flatMap { l.policies[$0] } ?? [:])
        }
        guard !isFull else { return nil }
        let helper = action.helper
        let nat = action.nat.flatMap { $0.kind == .none ? nil : $0 }
        // What was announced is translated as it was announced.
        let announced = action.nat == nil ? nil : expectation?.translation
        let choices =
            announced.map { [$0.replies(to: seen.key)] }
            ?? nat?.candidates(for: seen.key, hash: Self.place(seen.key, persistent: nat?.persistent ?? false))
            ?? [seen.key.reversed]
        for reply in choices {
            let connection = Connection(
                key: seen.key, replyKey: reply, nat: announced?.kind ?? nat?.kind, parent: expectation?.parent, helper: helper,
                timeouts: timeouts, progress: Connection.opening(seen, packet), now: now)
            connection.state.withLock { s in
                connection.prolong(&s, now: now)
                s.mark = expectation?.mark ?? 0
                s.label = expectation?.label ?? 0
            }
            if insert(connection, now: now) { return connection }
            // An entry in the way may have ended.
            _ = find(reply, now: now)
            if insert(connection, now: now) { return connection }
        }
        return nil
    }

    /// Where in a range of addresses and ports to begin. `persistent`: by the client's address alone.
    private static func place(_ key: ConnectionKey, persistent: Bool) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(key.source)
        if !persistent {
            hasher.combine(key.destination)
            hasher.combine(key.sourcePort)
            hasher.combine(key.destinationPort)
        }
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    private func write(
        _ md: inout FlowKey, state: UInt16, zone: UInt16, _ connection: Connection?, _ key: ConnectionKey,
        _ expectation: Expectation?
    ) {
        let (mark, label) = connection?.state.withLock { ($0.mark, $0.label) } ?? (expectation?.mark ?? 0, expectation?.label ?? 0)
        let tuple = connection?.parent ?? connection?.key ?? expectation?.parent ?? key
        md.setConnection(state: state, zone: zone, mark: mark, label: label, tuple: state & CTState.invalid == 0 ? tuple : key)
    }

    private func setMarks(_ connection: Connection, _ action: DpConntrack, _ md: inout FlowKey) {
        guard action.mark != nil || action.label != nil else { return }
        connection.state.withLock { s in
            if let mark = action.mark { s.mark = s.mark & ~mark.mask | mark.value & mark.mask }
            if let label = action.label { s.label = s.label & ~label.mask | label.value & label.mask }
            md.ctMark = s.mark
            md.ctLabel = s.label
        }
    }

    private var all: [Connection] {
        shards.flatMap { shard in
            shard.state.withLock { s in
                s.entries.values.flatMap { $0.hidden.isEmpty ? [$0] : [$0] + $0.hidden }.filter { !$0.isReply }.map(\.connection)
            }
        }
    }
}

extension FlowKey {
    /// The packet is not tracked any more.
    mutating func clearConnection() { setConnection(state: 0, zone: 0, mark: 0, label: 0, tuple: nil) }

    /// Sets the fields that matches on connections look at. `tuple` is the original direction.
    mutating func setConnection(state: UInt16, zone: UInt16, mark: UInt32, label: UInt128, tuple: ConnectionKey?) {
        ctState = state
        ctZone = zone
        ctMark = mark
        ctLabel = label
        ctNwProto = 0
        for l in [
            Location.ctNwSrc, Location.ctNwDst, Location.ctIPv6Src, Location.ctIPv6Dst, Location.ctTpSrc, Location.ctTpDst,
        ] { self[l] = 0 }
        guard let tuple else { return }
        ctNwProto = tuple.proto
        self[tuple.isIPv6 ? Location.ctIPv6Src : Location.ctNwSrc] = tuple.source
        self[tuple.isIPv6 ? Location.ctIPv6Dst : Location.ctNwDst] = tuple.destination
        // Of ICMP the type and the code.
        self[Location.ctTpSrc] = UInt128(tuple.isICMP ? tuple.sourcePort >> 8 : tuple.sourcePort)
        self[Location.ctTpDst] = UInt128(tuple.isICMP ? tuple.sourcePort & 0xff : tuple.destinationPort)
    }
}

// MARK: - What others see

extension ConnectionTracker {
    public func connections(zone: UInt16?, now: Int64) -> [ConntrackEntry] {
        all.filter { (zone == nil || $0.key.zone == zone) && !$0.isExpired(now) }.map { $0.entry(now) }
    }

    public func flush(zone: UInt16?) { for c in all where zone == nil || c.key.zone == zone { remove(c) } }

    public func flush(_ tuple: ConntrackEntry.Tuple, zone: UInt16?, now: Int64) throws(DpifError) {
        guard let (connection, isReply) = find(ConnectionKey(tuple, zone: zone ?? 0), now: now), !isReply else {
            throw DpifError(2, "connection")
        }
        remove(connection)
    }

    public var connectionCount: Int { limits.withLock { $0.total } }
    public var maxConnections: UInt32 {
        get { limits.withLock { $0.maximum } }
        set { limits.withLock { $0.maximum = newValue } }
    }
    public var checksTCPSequence: Bool {
        get { limits.withLock { $0.checksSequence } }
        set { limits.withLock { $0.checksSequence = newValue } }
    }
    public var defaultZoneLimit: UInt32 {
        get { limits.withLock { $0.defaultZone } }
        set { limits.withLock { $0.defaultZone = newValue } }
    }
    public var zoneLimits: [ConntrackZoneLimit] {
        limits.withLock { l in
            l.zones.map { ConntrackZoneLimit(zone: $0.key, limit: $0.value, count: l.counts[$0.key] ?? 0) }
        }.sorted { $0.zone < $1.zone }
    }
    public func zoneLimit(_ zone: UInt16) -> ConntrackZoneLimit {
        limits.withLock { l in
            // Zones without a limit of their own are not counted for others to see.
            ConntrackZoneLimit(zone: zone, limit: l.zones[zone] ?? l.defaultZone, count: l.zones[zone] == nil ? 0 : l.counts[zone] ?? 0)
        }
    }
    public func setZoneLimit(_ zone: UInt16, _ limit: UInt32?) { limits.withLock { $0.zones[zone] = limit } }
    public func setTimeoutPolicy(_ name: String, _ timeouts: [String: UInt32]?) {
        limits.withLock { $0.policies[name] = timeouts }
    }
}
