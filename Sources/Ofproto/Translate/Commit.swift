// Turns the difference between the packet as the datapath has it (`base`) and as translation wants it (`flow`) into
// datapath actions, just before something looks at the packet: an output, a recirculation, a controller.

import Dpif
import Flow
import Packet

extension FlowKey {
    /// How many tags the key has, 0 to 2.
    var vlanCount: Int {
        vlanTCI & 0x1000 == 0 ? 0 : innerVLANTCI & 0x1000 == 0 ? 1 : 2
    }

    /// How many labels the key has, 0 to 3.
    var mplsCount: Int {
        guard EtherType.isMPLS(ethType) else { return 0 }
        var count = 0
        for i in 0..<maxMPLSLabels {
            if mplsLSE(i) & 0x100 != 0 { return i + 1 }
            if mplsLSE(i) != 0 { count = i + 1 }
        }
        return count
    }

    mutating func pushVLANUninitialised() {
        innerVLANTPID = vlanTPID
        innerVLANTCI = vlanTCI
        vlanTPID = 0
        vlanTCI = 0
    }

    mutating func popVLAN() {
        vlanTPID = innerVLANTPID
        vlanTCI = innerVLANTCI
        innerVLANTPID = 0
        innerVLANTCI = 0
    }

    var isIP: Bool { ethType == EtherType.ipv4 || ethType == EtherType.ipv6 }

    /// Zeroes what lies above layer 2, when the packet's type changes under it.
    mutating func clearUpperLayers() {
        for i in FlowStage.l3.words.lowerBound..<FlowKey.wordCount where i != Location.ctNwSrc.word { words[i] = 0 }
    }

    /// Takes the tags away, when the packet becomes what another carries.
    mutating func clearTags() {
        for l in [Location.vlanTPID, Location.vlanTCI, Location.innerVLANTPID, Location.innerVLANTCI] { self[l] = 0 }
    }

    /// - Parameter keepsLayers: what lies below the first label stays as it was known.
    mutating func pushMPLS(ethType type: UInt16, count n: Int, keepsLayers: Bool = false) {
        for i in stride(from: min(n, maxMPLSLabels - 1), to: 0, by: -1) { setMPLSLSE(i, mplsLSE(i - 1)) }
        if n > 0 {
            // The new label starts as a copy of the outermost one, not at the bottom.
            setMPLSLSE(0, mplsLSE(1) & ~0x100)
        } else {
            let label: UInt32 = ethType == EtherType.ipv6 ? 2 : 0
            let ttl = isIP && nwTTL != 0 ? UInt32(nwTTL) : 64
            let tc = isIP ? UInt32(nwTOS >> 2 & 7) : 0
            setMPLSLSE(0, label << 12 | tc << 9 | 0x100 | ttl)
            if !keepsLayers {
                clearUpperLayers()
                // What was hashed is below the label now.
                dpHash = 0
            }
        }
        ethType = type
    }

    mutating func popMPLS(ethType type: UInt16, count n: Int) {
        for i in 0..<(maxMPLSLabels - 1) { setMPLSLSE(i, i + 1 < n ? mplsLSE(i + 1) : 0) }
        setMPLSLSE(maxMPLSLabels - 1, 0)
        ethType = type
    }
}

extension Translation {
    /// Emits the actions that make the datapath's packet what `flow` says. Fields that change are matched exactly.
    func commit() {
        // Mostly there is nothing to do.
        if encapsulation.pending == nil, !isChanged, !carriesServiceHeader { return }
        commitEncapsulation()
        if flow.packetType == 0, base.packetType == 0 { commitSet(.eth, [Location.ethSrc, Location.ethDst]) }
        var mplsDone = false
        if EtherType.isMPLS(base.ethType), !EtherType.isMPLS(flow.ethType) {
            commitMPLS()
            mplsDone = true
        }
        commitNSH()
        commitNetwork()
        commitTransport()
        if !mplsDone { commitMPLS() }
        commitVLANs()
        commitSet(.skbPriority, [Location.skbPriority])
        commitSet(.skbMark, [Location.pktMark])
    }

    /// Whether the datapath's packet is not what it should be.
    private var isChanged: Bool {
        let word = Location.skbPriority.word
        var difference = flow.words[word] ^ base.words[word]
        for i in FlowStage.l2.words.lowerBound..<FlowKey.wordCount { difference |= flow.words[i] ^ base.words[i] }
        return difference != 0
    }

    /// Emits one `set` for the fields that differ, and takes them over into `base`.
    /// - Returns: true when something differed.
    @discardableResult
    private func commitSet(_ kind: DpSetKind, _ locations: [FieldLocation]) -> Bool {
        var changed = locations.filter { flow[$0] != base[$0] }
        guard !changed.isEmpty else { return false }
        // These come whole, or with all that was looked at.
        if kind == .icmp || kind == .icmpv6 { changed = locations }
        if kind == .nsh { changed = locations.filter { flow[$0] != base[$0] || !wildcards.isWild($0) } }
        if capabilities.maskedSet {
            // Only the bits that were looked at or written. What differs otherwise was lost with a header.
            switch kind {
            case .skbPriority, .skbMark, .icmp, .icmpv6: for l in changed where wildcards.isWild(l) { wildcards.setExact(l) }
            default: break
            }
            var fields = changed.filter { !wildcards.isWild($0) }.map { DpSet.Field($0, flow[$0], mask: wildcards.bits[$0]) }
            if kind == .nsh, flow[Location.nshMDType] != 1 {
                // Seen in flows as zeros that rewrite nothing.
                fields += (0..<4).map { DpSet.Field(Location.nshC($0), 0, mask: 0) }
            }
            actions.append(.set(DpSet(kind, fields)))
        } else {
            let all = Set(locations + ODPSetText.locations(kind.rawValue)).sorted { ($0.word, -$0.shift) < ($1.word, -$1.shift) }
            for l in all { wildcards.setExact(l) }
            actions.append(.set(DpSet(kind, all.map { DpSet.Field($0, flow[$0]) })))
        }
        for l in changed { base[l] = flow[l] }
        return true
    }

    private func commitNetwork() {
        // A packet without a transport protocol has no layer 3 that could be changed.
        guard flow.nwProto != 0 else { return }
        switch base.ethType {
        case EtherType.ipv4:
            commitSet(.ipv4, [Location.nwSrc, Location.nwDst, Location.nwTOS, Location.nwTTL])
        case EtherType.ipv6:
            commitSet(
                .ipv6, [Location.ipv6Src, Location.ipv6Dst, Location.ipv6Label, Location.nwTOS, Location.nwTTL])
            if isNeighborDiscovery {
                let changed = commitSet(.nd, [Location.ndTarget, Location.arpSHA, Location.arpTHA])
                if changed {
                    slowPath.insert(.action)
                    wildcards.bits.tpSrc = .max
                    wildcards.bits.tpDst = .max
                }
            }
        case EtherType.arp:
            if commitSet(
                .arp, [Location.nwSrc, Location.nwDst, Location.nwProto, Location.arpSHA, Location.arpTHA])
            {
                slowPath.insert(.action)
            }
        default: break
        }
    }

    private var isNeighborDiscovery: Bool {
        base.nwProto == IPProtocol.icmpv6 && base.tpDst == 0 && (base.tpSrc == 135 || base.tpSrc == 136)
    }

    private func commitTransport() {
        guard flow.isIP, base.ethType == flow.ethType else { return }
        switch flow.nwProto {
        case IPProtocol.tcp: commitPorts(.tcp)
        case IPProtocol.udp: commitPorts(.udp)
        case IPProtocol.sctp: commitPorts(.sctp)
        case IPProtocol.icmp where flow.ethType == EtherType.ipv4: commitICMP(.icmp)
        case IPProtocol.icmpv6 where flow.ethType == EtherType.ipv6: commitICMP(.icmpv6)
        default: break
        }
    }

    private func commitPorts(_ kind: DpSetKind) {
        // Ports of 0 and 0 are no ports: the packet is too short or a later fragment.
        guard base.tpSrc != 0 || base.tpDst != 0 || flow.tpSrc != 0 || flow.tpDst != 0 else { return }
        commitSet(kind, [Location.tpSrc, Location.tpDst])
    }

    private func commitICMP(_ kind: DpSetKind) {
        guard commitSet(kind, [FieldLocation(82, 48, 8), FieldLocation(82, 32, 8)]) else { return }
        slowPath.insert(.action)
        // The datapath's type and code are of eight bits, and so is what was looked at of them.
        wildcards.bits.tpSrc &= 0xff
        wildcards.bits.tpDst &= 0xff
    }

    private func commitMPLS() {
        var baseCount = base.mplsCount
        let flowCount = flow.mplsCount
        var common = 0
        while common < min(baseCount, flowCount),
            flow.mplsLSE(flowCount - 1 - common) == base.mplsLSE(baseCount - 1 - common)
        { common += 1 }
        while baseCount > common {
            if baseCount - 1 == common, flowCount > common {
                let lse = flow.mplsLSE(flowCount - baseCount)
                var wanted = FlowKey()
                wanted.setMPLSLSE(0, lse)
                let locations = [Location.mplsLabel, Location.mplsTC, Location.mplsBOS, Location.mplsTTL]
                // Labels are set whole.
                actions.append(.set(DpSet(.mpls, locations.map { DpSet.Field($0, wanted[$0]) })))
                base.setMPLSLSE(0, lse)
                common += 1
            } else {
                actions.append(.popMPLS(ethType: baseCount > 1 ? EtherType.mpls : flow.ethType))
                base.popMPLS(ethType: baseCount > 1 ? EtherType.mpls : flow.ethType, count: baseCount)
                baseCount -= 1
            }
        }
        while baseCount < flowCount {
            let lse = flow.mplsLSE(flowCount - baseCount - 1)
            actions.append(.pushMPLS(lse: lse, ethType: flow.ethType))
            base.pushMPLS(ethType: flow.ethType, count: baseCount, keepsLayers: true)
            base.setMPLSLSE(0, lse)
            baseCount += 1
        }
    }

    private func commitVLANs() {
        var baseCount = base.vlanCount
        var flowCount = flow.vlanCount
        func tag(_ key: FlowKey, _ i: Int) -> (UInt16, UInt16) {
            i == 0 ? (key.vlanTPID, key.vlanTCI) : (key.innerVLANTPID, key.innerVLANTCI)
        }
        // Tags that agree from the inside stay.
        while baseCount > 0, flowCount > 0, tag(base, baseCount - 1) == tag(flow, flowCount - 1) {
            baseCount -= 1
            flowCount -= 1
        }
        // What is taken away is matched, and what becomes the outermost tag by that; not what stays below another one.
        let uncovers = base.vlanCount > 1 && flow.vlanCount < base.vlanCount
        for i in 0..<baseCount {
            actions.append(.popVLAN)
            wildcards.setExact(Location.vlanTPID)
            wildcards.setExact(Location.vlanTCI)
            if i > 0 || uncovers {
                wildcards.setExact(Location.innerVLANTPID)
                wildcards.setExact(Location.innerVLANTCI)
            }
            base.popVLAN()
        }
        for i in stride(from: flowCount - 1, through: 0, by: -1) {
            let (tpid, tci) = tag(flow, i)
            actions.append(.pushVLAN(tpid: tpid, tci: tci & ~0x1000))
            base.pushVLANUninitialised()
            base.vlanTPID = tpid
            base.vlanTCI = tci
        }
    }

    private func commitEncapsulation() {
        guard let pending = encapsulation.pending ?? (carriesServiceHeader ? .popNSH : nil) else { return }
        encapsulation.commit()
        switch pending {
        case .pushEthernet:
            actions.append(.pushEthernet(source: flow.ethSrc, destination: flow.ethDst))
            base.packetType = flow.packetType
            base.ethSrc = flow.ethSrc
            base.ethDst = flow.ethDst
        case .popEthernet:
            actions.append(.popEthernet)
            base.packetType = flow.packetType
            base.ethSrc = 0
            base.ethDst = 0
        case .pushNSH(var header):
            header.flags = UInt8(truncatingIfNeeded: flow[Location.nshFlags])
            header.ttl = UInt8(truncatingIfNeeded: flow[Location.nshTTL])
            header.path = UInt32(truncatingIfNeeded: flow[Location.nshSPI] << 8 | flow[Location.nshSI])
            if header.mdType == 1 {
                header.context = (0..<4).flatMap { i in
                    (0..<4).map { UInt8(truncatingIfNeeded: flow[Location.nshC(i)] >> UInt128(24 - 8 * $0)) }
                }
            }
            actions.append(.pushNSH(header))
            base.packetType = flow.packetType
            base.ethType = flow.ethType
            for i in Location.nshFlags.word...Location.nshC(3).word { base.words[i] = flow.words[i] }
            base.clearTags()
            base.ethSrc = 0
            base.ethDst = 0
        case .addMPLS:
            actions.append(.addMPLS(lse: flow.mplsLSE(0), ethType: flow.ethType))
            // All that was is carried now.
            for i in FlowStage.l2.words.lowerBound..<FlowKey.wordCount { base.words[i] = flow.words[i] }
            base.packetType = flow.packetType
        case .popMPLS:
            // Labels are taken off as those within Ethernet.
            base.packetType = flow.packetType
        case .popNSH:
            // What is below is not known before the packet comes back. Where others follow that go out as the packet was, the real daemon
            // takes the header off again for each.
            actions.append(.popNSH)
        }
    }

    /// The packet has a service header in front that it should not have, put there for others than those that follow.
    private var carriesServiceHeader: Bool {
        base.packetType == 1 << 16 | UInt32(EtherType.nsh) && flow.packetType != base.packetType
    }

    private func commitNSH() {
        guard flow.ethType == EtherType.nsh, base.ethType == EtherType.nsh else { return }
        commitSet(
            .nsh,
            [Location.nshFlags, Location.nshTTL, Location.nshSPI, Location.nshSI]
                + (flow[Location.nshMDType] == 1 ? (0..<4).map(Location.nshC) : []))
    }
}

/// What is to be put around the packet or taken off before it goes out.
struct EncapsulationState {
    var pending: Encapsulation?
    private var commits = 0

    mutating func commit() {
        pending = nil
        commits += 1
    }

    /// Goes back to what was to be done when a copy was made of the packet, unless it has been done for the copy already.
    mutating func leaveCopy(_ before: EncapsulationState) {
        pending = commits == before.commits ? before.pending : nil
    }
}

/// A header that was pushed or popped around the packet and not yet committed.
enum Encapsulation {
    case pushEthernet, popEthernet
    case pushNSH(DpNSH)
    case popNSH
    case addMPLS
    case popMPLS
}
