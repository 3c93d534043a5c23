// Choosing among alternatives: groups, bundles, multipath; and learning flows from packets.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    // MARK: Groups

    func executeGroup(_ id: UInt32) {
        guard let group = owner.group(id) else {
            report(.warning, "output to nonexistent group \(id)")
            return
        }
        guard resourcesLeft() else { return }
        let wasInGroup = inGroup
        inGroup = true
        depth += 1
        switch group.kind {
        case .all, .indirect:
            for bucket in group.buckets { executeBucket(bucket) }
        case .fastFailover:
            if let bucket = group.buckets.first(where: isLive) {
                executeBucket(bucket)
            } else {
                report(.warning, "no live bucket")
            }
        case .select:
            if let bucket = select(group) { executeBucket(bucket) } else { report(.warning, "no live bucket") }
        }
        depth -= 1
        inGroup = wasInGroup
    }

    private func isLive(_ bucket: Group.Bucket) -> Bool {
        if bucket.watchPort != .none {
            guard let port = owner.port(bucket.watchPort), port.device.isLinkUp else { return false }
        }
        if bucket.watchGroup != .max {
            guard let group = owner.group(bucket.watchGroup) else { return false }
            return group.buckets.contains { $0.watchGroup == .max && isLive($0) }
        }
        return true
    }

    private func executeBucket(_ bucket: Group.Bucket) {
        // Buckets are action sets on a packet of their own.
        let saved = (flow, stack, actionSet, wasMPLS, conntracked, exit)
        let oldTrace = trace
        if let trace { self.trace = trace.add(.bucket, "using bucket \(bucket.id)") }
        let list = Self.ordered(bucket.actions)
        execute(list)
        if isFreezing { finishFreezing() }
        trace = oldTrace
        (flow, stack, actionSet, wasMPLS, conntracked, exit) = saved
    }

    /// The live bucket with the highest weighted hash (highest random weight).
    private func select(_ group: Group) -> Group.Bucket? {
        consult(.symmetricL4)
        let hash = flow.hash(.symmetricL4, basis: 0)
        var best: (bucket: Group.Bucket, score: UInt64)?
        for bucket in group.buckets where isLive(bucket) && bucket.weight > 0 {
            let score = UInt64(Self.mix(bucket.id, hash) & 0xffff) * UInt64(bucket.weight)
            if best == nil || score >= best!.score { best = (bucket, score) }
        }
        return best?.bucket
    }

    // MARK: Hashes

    static func mix(_ a: UInt32, _ b: UInt32) -> UInt32 {
        var h = UInt64(a) << 32 | UInt64(b)
        h = (h ^ h >> 33) &* 0xff51_afd7_ed55_8ccd
        h = (h ^ h >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return UInt32(truncatingIfNeeded: h ^ h >> 33)
    }

    /// Marks the fields of a hash as looked at.
    func consult(_ fields: HashFields) {
        func exact(_ locations: [FieldLocation]) { for l in locations { wildcards.setExact(l) } }
        func addresses() {
            if flow.ethType == EtherType.ipv4 { exact([Location.nwSrc, Location.nwDst]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Src, Location.ipv6Dst]) }
        }
        func ports(udp: Bool) {
            guard flow.isIP else { return }
            exact([Location.nwProto])
            if flow.nwProto == IPProtocol.tcp || flow.nwProto == IPProtocol.sctp || udp && flow.nwProto == IPProtocol.udp {
                exact([Location.tpSrc, Location.tpDst])
            }
        }
        switch fields {
        case .ethSrc: exact([Location.ethSrc])
        case .symmetricL4:
            exact([Location.ethSrc, Location.ethDst])
            addresses()
            ports(udp: true)
            wildcards.bits.vlanTCI |= 0x1fff
        case .symmetricL3L4:
            addresses()
            ports(udp: false)
        case .symmetricL3L4UDP:
            addresses()
            ports(udp: true)
        case .nwSrc:
            if flow.ethType == EtherType.ipv4 { exact([Location.nwSrc]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Src]) }
        case .nwDst:
            if flow.ethType == EtherType.ipv4 { exact([Location.nwDst]) }
            if flow.ethType == EtherType.ipv6 { exact([Location.ipv6Dst]) }
        case .symmetricL3: addresses()
        }
    }

    // MARK: Bundles and multipath

    func executeBundle(_ bundle: BundleAction) {
        func isUp(_ port: OFPort) -> Bool { owner.port(port)?.device.isLinkUp ?? false }
        var chosen: OFPort?
        switch bundle.algorithm {
        case .activeBackup: chosen = bundle.members.first(where: isUp)
        case .highestRandomWeight:
            consult(bundle.fields)
            let hash = flow.hash(bundle.fields, basis: UInt32(bundle.basis))
            var best: UInt32 = 0
            for (i, member) in bundle.members.enumerated() where isUp(member) {
                let score = Self.mix(UInt32(i), hash)
                if chosen == nil || score > best {
                    chosen = member
                    best = score
                }
            }
        }
        if let destination = bundle.destination {
            store(destination, UInt128((chosen ?? .none).rawValue))
        } else if let chosen {
            output(chosen, maxLength: 0)
        }
    }

    func executeMultipath(_ multipath: MultipathAction) {
        consult(multipath.fields)
        let hash = flow.hash(multipath.fields, basis: UInt32(multipath.basis))
        let links = UInt32(multipath.maxLink) + 1
        let link: UInt32
        switch multipath.algorithm {
        case .moduloN: link = hash % links
        case .hashThreshold: link = links == 1 ? 0 : min(hash / (UInt32.max / links + 1), links - 1)
        case .highestRandomWeight:
            link = (0..<links).max { Self.mix($0, hash) < Self.mix($1, hash) } ?? 0
        case .iterativeHash:
            let modulus = max(UInt32(truncatingIfNeeded: multipath.argument), links)
            var h = hash
            var tries = 0
            while h % modulus >= links, tries < 64 {
                h = Self.mix(h, hash)
                tries += 1
            }
            link = h % modulus < links ? h % modulus : h % links
        }
        store(multipath.destination, UInt128(link))
    }

    // MARK: Learning

    func executeLearn(_ learn: LearnAction) {
        hasLearn = true
        var match = Match()
        var actions: [OFAction] = []
        for spec in learn.specs {
            let value: UInt128
            switch spec.source {
            case .field(let source):
                source.match(in: &wildcards)
                value = source.value(in: flow)
            case .immediate(let constant): value = constant
            }
            switch spec.destination {
            case .match(let destination): destination.set(value, in: &match)
            case .load(let destination):
                actions.append(
                    .setField(
                        SetFieldAction(
                            destination.field, value << UInt128(destination.low), mask: destination.fieldMask,
                            fromLoad: true)))
            case .output:
                if let port = UInt32(exactly: value), port <= 0xffff {
                    actions.append(.output(OFPort(port), maxLength: 0))
                }
            }
        }
        guard sideEffects else { return }
        owner.learn(learn, match: match, actions: actions)
    }
}

extension FlowKey {
    /// The hash that multipath and bundle actions use. Stable within a daemon.
    func hash(_ fields: HashFields, basis: UInt32) -> UInt32 {
        var h = Translation.mix(basis, UInt32(fields.rawValue))
        func mix(_ v: UInt64) {
            h = Translation.mix(h ^ UInt32(truncatingIfNeeded: v >> 32), UInt32(truncatingIfNeeded: v))
        }
        func fold(_ v: UInt128) -> UInt64 { UInt64(truncatingIfNeeded: v) ^ UInt64(truncatingIfNeeded: v >> 64) }
        let source = ethType == EtherType.ipv6 ? fold(ipv6Src) : ethType == EtherType.ipv4 ? UInt64(nwSrc) : 0
        let destination = ethType == EtherType.ipv6 ? fold(ipv6Dst) : ethType == EtherType.ipv4 ? UInt64(nwDst) : 0
        switch fields {
        case .ethSrc: mix(ethSrc)
        case .nwSrc: mix(source)
        case .nwDst: mix(destination)
        case .symmetricL3: mix(source ^ destination)
        case .symmetricL4, .symmetricL3L4, .symmetricL3L4UDP:
            if fields == .symmetricL4 {
                mix(ethSrc ^ ethDst)
                mix(UInt64(vlanTCI & 0xfff))
            }
            mix(source ^ destination)
            mix(UInt64(ethType))
            if isIP {
                mix(UInt64(nwProto))
                let hasPorts =
                    nwProto == IPProtocol.tcp || nwProto == IPProtocol.sctp
                    || nwProto == IPProtocol.udp && fields != .symmetricL3L4
                if hasPorts { mix(UInt64(tpSrc ^ tpDst)) }
            }
        }
        return h
    }
}
