// Requests about groups and meters.

import Dpif
import Flow
import OpenFlow
import Ofproto

/// Groups as controllers made them.
struct GroupStore {
    /// A class, so that a walk over thousands takes a reference to each instead of a copy.
    final class Entry {
        let description: GroupDescription
        let created: Int64

        init(description: GroupDescription, created: Int64) {
            self.description = description
            self.created = created
        }
    }
    var entries: [UInt32: Entry] = [:]
}

/// Meters as controllers made them.
struct MeterStore {
    struct Entry {
        var config: MeterConfig
        var created: Int64
    }
    var entries: [UInt32: Entry] = [:]
    static let maxMeters: UInt32 = 262_144
    static let maxBands: UInt8 = 8
    static let maxID: UInt32 = 0xffff_0000
}

extension OpenFlowService {
    /// Carries a group_mod out.
    func changeGroup(_ mod: GroupMod, version: OFVersion) throws(OFError) {
        var buckets = mod.buckets
        for i in buckets.indices { try owner.checkBucket(&buckets[i].actions, version: version) }
        let old = groups.entries[mod.id]
        switch mod.command {
        case .add, .addOrModify, .modify:
            if mod.command == .add, old != nil { throw .gmfcGroupExists }
            if mod.command == .modify, old == nil { throw .gmfcUnknownGroup }
            var d = GroupDescription(id: mod.id, type: mod.type, buckets: buckets)
            d.selection = mod.selection
            store(d, created: old?.created ?? owner.time.now)
        case .delete:
            if mod.id == GroupMod.all {
                let gone = groups
                groups = GroupStore()
                for id in gone.entries.keys { owner.removeFlows(toGroup: id) }
                owner.removeAllGroups()
                Reclaimer.release(gone)
            } else if old != nil {
                groups.entries[mod.id] = nil
                owner.removeFlows(toGroup: mod.id)
                owner.setGroup(nil, id: mod.id)
            }
        case .insertBucket:
            guard let old else { throw .gmfcUnknownGroup }
            var description = old.description
            let type = description.type
            for bucket in buckets where description.buckets.contains(where: { $0.id == bucket.id }) {
                throw .gmfcBucketExists
            }
            if type == 2 { throw .gmfcBadBucket }
            switch mod.bucketID {
            case GroupMod.bucketFirst, GroupMod.bucketAll: description.buckets.insert(contentsOf: buckets, at: 0)
            case GroupMod.bucketLast: description.buckets.append(contentsOf: buckets)
            default:
                guard let at = description.buckets.firstIndex(where: { $0.id == mod.bucketID }) else {
                    throw .gmfcUnknownBucket
                }
                description.buckets.insert(contentsOf: buckets, at: at + 1)
            }
            store(description, created: old.created)
        case .removeBucket:
            guard let old else { throw .gmfcUnknownGroup }
            var description = old.description
            switch mod.bucketID {
            case GroupMod.bucketAll: description.buckets = []
            case GroupMod.bucketFirst: if !description.buckets.isEmpty { description.buckets.removeFirst() }
            case GroupMod.bucketLast: if !description.buckets.isEmpty { description.buckets.removeLast() }
            default:
                guard let at = description.buckets.firstIndex(where: { $0.id == mod.bucketID }) else {
                    throw .gmfcUnknownBucket
                }
                description.buckets.remove(at: at)
            }
            store(description, created: old.created)
        }
    }

    private func store(_ d: GroupDescription, created: Int64) {
        groups.entries[d.id] = GroupStore.Entry(description: d, created: created)
        let kind = Group.Kind(rawValue: d.type) ?? .all
        let buckets = d.buckets.map {
            Group.Bucket(id: $0.id, weight: $0.weight, watchPort: $0.watchPort, watchGroup: $0.watchGroup, actions: $0.actions)
        }
        owner.setGroup(
            Group(
                id: d.id, kind: kind, buckets: buckets, method: d.selection.method, parameter: d.selection.parameter,
                fields: d.selection.hashedFields, maxHashAlgorithm: owner.backer.capabilities.maxHashAlgorithm),
            id: d.id)
    }
}

extension OpenFlowConnection {
    func groupMod(_ m: OFMessage) throws(OFError) {
        let mod = try GroupMod.decode(m, tunnelOptions: tunnelOptions)
        try service.changeGroup(mod, version: m.version)
        service.forward(m, from: self, isMeter: false)
    }

    /// The numbers of the groups that a request selects, in order.
    private func selectGroups(_ m: OFMessage) throws(OFError) -> [UInt32] {
        var wanted = GroupMod.all
        if m.kind == .groupStats || m.version >= .v15 || m.version == .v10 {
            var r = m.body
            wanted = try r.u32()
        }
        let all = service.groups.entries
        return wanted == GroupMod.all || wanted == .max ? all.keys.sorted() : all[wanted] == nil ? [] : [wanted]
    }

    func groupStats(_ m: OFMessage) throws(OFError) {
        let ids = try selectGroups(m)
        owner.backer.synchronise()
        let (owner, now, version) = (owner, owner.time.now, m.version)
        begin(
            GroupDump(ids, of: service.groups, for: m) { entry, w in
                let id = entry.description.id
                var stats = GroupStats(id: id)
                stats.references = owner.referenceCount(group: id)
                let age = max(0, now - entry.created)
                stats.durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
                stats.durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
                let counted = owner.group(id)
                stats.packets = counted?.total.packets ?? 0
                stats.bytes = counted?.total.bytes ?? 0
                stats.buckets = counted?.bucketCounters.map { ($0.packets, $0.bytes) } ?? []
                stats.encode(version: version, to: &w)
            })
    }

    func groupDescription(_ m: OFMessage) throws(OFError) {
        let version = m.version
        begin(
            GroupDump(try selectGroups(m), of: service.groups, for: m) { entry, w in
                entry.description.encode(version: version, to: &w)
            })
    }

    func groupFeatures(_ m: OFMessage) {
        var reply = MultipartReply(to: m)
        reply.groupFeatures(m.version)
        sendAll(&reply)
    }

    // MARK: Meters

    func meterMod(_ m: OFMessage) throws(OFError) {
        let mod = try MeterMod.decode(m)
        let id = mod.meter.id
        let old = service.meters.entries[id]
        guard let meters = owner.backer.dpif.meters else { throw mod.command == .delete ? .mmfcUnknownMeter : .mmfcOutOfMeters }
        switch mod.command {
        case .add, .modify:
            let isVirtual = id == MeterMod.controller || id == MeterMod.slowPath
            guard isVirtual || id > 0 && id <= MeterStore.maxID else { throw .mmfcInvalidMeter }
            guard mod.meter.bands.count <= Int(MeterStore.maxBands) else { throw .mmfcOutOfBands }
            if mod.command == .add, old != nil { throw .mmfcMeterExists }
            if mod.command == .modify, old == nil { throw .mmfcUnknownMeter }
            if let problem = mod.problem { throw problem }
            guard !mod.meter.bands.isEmpty else { throw .mmfcOutOfBands }
            var config = mod.meter
            // Without a size of bursts, userspace allows what the rate lets pass in a second, and says so.
            if owner.backer.dpif.type != "system" {
                for i in config.bands.indices where config.bands[i].burst == 0 { config.bands[i].burst = config.bands[i].rate }
            }
            let settings = DpMeter(inPackets: config.flags & 2 != 0, bands: config.bands.map { .init(rate: $0.rate, burst: $0.burst) })
            if !isVirtual {
                let inDatapath = owner.datapathMeter(id) ?? owner.freeDatapathMeter
                guard inDatapath < MeterStore.maxMeters else { throw .mmfcOutOfMeters }
                do throws(DpifError) { try meters.setMeter(inDatapath, settings) } catch { throw .mmfcOutOfMeters }
                owner.setMeter(id, datapathID: inDatapath)
            }
            service.meters.entries[id] = MeterStore.Entry(config: config, created: old?.created ?? owner.time.now)
        case .delete:
            let gone = id == MeterMod.all ? Array(service.meters.entries.keys) : old == nil ? [] : [id]
            for id in gone {
                owner.removeFlows(usingMeter: id)
                service.meters.entries[id] = nil
                if let inDatapath = owner.datapathMeter(id) { try? meters.deleteMeter(inDatapath) }
                owner.setMeter(id, datapathID: nil)
            }
        }
        service.forward(m, from: self, isMeter: true)
    }

    private func selectMeters(_ m: OFMessage) throws(OFError) -> [MeterStore.Entry] {
        let wanted = try MeterMod.decodeRequest(m)
        let all = service.meters.entries
        if wanted == MeterMod.all { return all.keys.sorted().compactMap { all[$0] } }
        guard let one = all[wanted] else { throw .mmfcUnknownMeter }
        return [one]
    }

    func meterStats(_ m: OFMessage) throws(OFError) {
        let entries = try selectMeters(m)
        owner.backer.synchronise()
        var reply = MultipartReply(to: m)
        for entry in entries {
            let id = entry.config.id
            var stats = MeterStats(id: id)
            stats.flows = owner.referenceCount(meter: id)
            let age = max(0, owner.time.now - entry.created)
            stats.durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
            stats.durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
            let counted = owner.datapathMeter(id).flatMap { owner.backer.dpif.meters?.meterStats($0) }
            stats.packets = counted?.packets ?? 0
            stats.bytes = counted?.bytes ?? 0
            for i in entry.config.bands.indices {
                let band = counted.flatMap { i < $0.bands.count ? $0.bands[i] : nil }
                stats.bands.append(band ?? (0, 0))
            }
            reply.append { stats.encode(to: &$0) }
        }
        sendAll(&reply)
    }

    func meterConfig(_ m: OFMessage) throws(OFError) {
        let entries = try selectMeters(m)
        var reply = MultipartReply(to: m)
        for entry in entries { reply.append { entry.config.encode(to: &$0) } }
        sendAll(&reply)
    }

    func meterFeatures(_ m: OFMessage) {
        var reply = MultipartReply(to: m)
        let has = owner.backer.dpif.meters != nil
        reply.meterFeatures(maxMeters: has ? MeterStore.maxMeters : 0, maxBands: has ? MeterStore.maxBands : 0)
        sendAll(&reply)
    }
}

extension OpenFlowService {
    /// OFPT_REQUESTFORWARD (1.4 and later): tells the others of a group_mod or meter_mod.
    func forward(_ m: OFMessage, from sender: OpenFlowConnection, isMeter: Bool) {
        for connection in connections where connection !== sender {
            guard let version = connection.version, version >= .v14, version == m.version,
                connection.wantsAsync(.requestForward, reason: isMeter ? 1 : 0)
            else { continue }
            var w = WireWriter.message(version, 32, xid: 0)
            w.array(m.bytes)
            connection.send(w.finish())
        }
    }
}
