// OFPP_NORMAL: what an Ethernet switch with VLANs does with the packet.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    func normal() {
        wildcards.setExact(Location.ethSrc)
        wildcards.setExact(Location.ethDst)
        wildcards.bits.vlanTCI |= 0x1fff

        guard let inPort = owner.port(OFPort(flow.inPort)), let input = inPort.bundle else {
            report(.warning, "no input bundle, dropping")
            return
        }
        if owner.isMirrorOutput(input) {
            report(.warning, "dropping packet received on port \(inPort.name), which is reserved exclusively for mirroring")
            return
        }
        if flow.ethType == EtherType.vlan, flow.vlanTCI & 0x1000 == 0 {
            report(.warning, "dropping packet with partial VLAN tag received on port \(inPort.name)")
            return
        }
        let vlans = currentTags
        guard isInputVLANValid(vlans.outer.vid, input) else {
            report(.warning, "disallowed VLAN VID for this input port, dropping")
            return
        }
        let internalVLANs = Self.translateInput(vlans, input.settings)
        let vlan = internalVLANs.outer.vid

        if !owner.forwardsBPDU, EthernetAddress.isReserved(flow.ethDst) {
            report(.detail, "packet has reserved destination MAC, dropping")
            return
        }
        if let bond = input.bond {
            switch bond.admits(inPort, destination: flow.ethDst) {
            case .accept: break
            case .drop:
                report(.detail, "bonding refused admissibility, dropping")
                return
            case .dropIfMoved:
                if let known = owner.macs.lookup(flow.ethSrc, vlan: vlan), known.bundle !== input,
                    !isGratuitousARP() || owner.macs.isLocked(known)
                {
                    report(.detail, "SLB bond thinks this packet looped back, dropping")
                    return
                }
            }
        }
        let gratuitous = isGratuitousARP()
        if flow.packetType == 0 {
            targets.append(
                .normal(owner, bundle: input, source: flow.ethSrc, vlan: vlan, gratuitousARP: gratuitous))
            if sideEffects, owner.macs.learn(flow.ethSrc, vlan: vlan, on: input, gratuitousARP: gratuitous) {
                report(
                    .detail, "learned that \(AddressText.mac(flow.ethSrc)) is on port \(input.name) in VLAN \(vlan)")
                owner.macTableChanged()
            }
        }
        if let snooping = owner.snooping, multicast(snooping, from: input, internalVLANs) { return }
        if let entry = owner.macs.lookup(flow.ethDst, vlan: vlan) {
            guard let output = entry.bundle else {
                report(.warning, "learned port is unknown, dropping")
                return
            }
            if output === input {
                report(.detail, "learned port is input port, dropping")
            } else {
                report(.detail, "forwarding to learned port")
                outputNormal(output, internalVLANs)
            }
            return
        }
        report(.detail, "no learned MAC for destination, flooding")
        flood(from: input, internalVLANs)
    }

    /// Sends to every port of the VLAN but the one that the packet came from.
    func flood(from input: PortBundle, _ internalVLANs: VLANStack) {
        for bundle in owner.bundlesInOrder
        where bundle !== input && bundle.includes(internalVLANs) && bundle.isFloodable && !owner.isMirrorOutput(bundle) {
            outputNormal(bundle, internalVLANs)
        }
        netFlowOutput = NetFlowOutput.flood
    }

    private var currentTags: VLANStack {
        VLANStack(
            outer: .init(tpid: flow.vlanTPID, vid: flow.vlanTCI & 0xfff, pcp: flow.vlanTCI & 0xe000),
            inner: .init(tpid: flow.innerVLANTPID, vid: flow.innerVLANTCI & 0xfff, pcp: flow.innerVLANTCI & 0xe000))
    }

    /// Sends copies to the mirrors that a bundle is a source or destination of.
    func mirror(_ bundle: PortBundle, _ role: KeyPath<MirrorSettings, Set<String>>) {
        guard !owner.mirrors.isEmpty else { return }
        let selected = owner.mirrors.filter {
            $0.settings[keyPath: role].contains(bundle.name) && !usedMirrors.contains(ObjectIdentifier($0))
        }
        guard !selected.isEmpty, isInputVLANValid(currentTags.outer.vid, bundle) else { return }
        var vlans = Self.translateInput(currentTags, bundle.settings)
        for mirror in selected where !usedMirrors.contains(ObjectIdentifier(mirror)) {
            if let wanted = mirror.settings.vlans {
                wildcards.bits.vlanTCI |= 0x1fff
                guard wanted.contains(vlans.outer.vid) else { continue }
            }
            // Mirrors with the same output send one copy.
            for other in owner.mirrors where other === mirror || other.sharesOutput(with: mirror) {
                usedMirrors.insert(ObjectIdentifier(other))
            }
            targets.append(.mirror(mirror))
            if let packet { mirror.credit(packets: 1, bytes: UInt64(packet.bytes)) }
            truncation = mirror.settings.snapLength
            if let name = mirror.settings.outputPort {
                if let output = owner.bundles[name] { outputNormal(output, vlans) }
            } else if let vlan = mirror.settings.outputVLAN, vlans.outer.vid != vlan,
                !EthernetAddress.isReserved(flow.ethDst)
            {
                let old = vlans.outer.vid
                vlans.outer.vid = vlan
                for output in owner.bundlesInOrder where output.includes(vlans) && !owner.isMirrorOutput(output) {
                    truncation = mirror.settings.snapLength
                    outputNormal(output, vlans)
                }
                vlans.outer.vid = old
            }
            truncation = nil
        }
    }

    private func isInputVLANValid(_ vid: UInt16, _ input: PortBundle) -> Bool {
        switch input.settings.vlanMode {
        case .access:
            guard vid != 0 else { return true }
            report(
                .error,
                "dropping VLAN \(vid) tagged packet received on port \(input.name) configured as VLAN \(input.settings.vlan ?? 0) access port"
            )
            return false
        case .nativeTagged, .nativeUntagged, .trunk:
            if vid == 0, input.settings.vlanMode != .trunk { return true }
            guard !input.trunks(vid) else { return true }
            report(
                .error,
                "dropping VLAN \(vid) packet received on port \(input.name) not configured for trunking VLAN \(vid)")
            return false
        case .dot1qTunnel:
            guard !input.allowsCustomerVLAN(vid) else { return true }
            report(
                .error,
                "dropping VLAN \(vid) packet received on dot1q-tunnel port \(input.name) that excludes this VLAN")
            return false
        }
    }

    private static func translateInput(_ vlans: VLANStack, _ settings: BundleSettings) -> VLANStack {
        var out = vlans
        switch settings.vlanMode {
        case .access:
            out = VLANStack()
            out.outer.tpid = vlans.outer.tpid
            out.outer.vid = settings.vlan ?? 0
            out.outer.pcp = vlans.outer.pcp
        case .trunk: break
        case .nativeTagged, .nativeUntagged:
            if vlans.outer.vid == 0 {
                out = VLANStack()
                out.outer.tpid = vlans.outer.tpid
                out.outer.vid = settings.vlan ?? 0
                out.outer.pcp = vlans.outer.pcp
            }
        case .dot1qTunnel:
            out.outer = .init(tpid: settings.qinqEtherType, vid: settings.vlan ?? 0, pcp: 0)
            out.inner = vlans.outer
        }
        return out
    }

    private static func translateOutput(_ vlans: VLANStack, _ settings: BundleSettings) -> VLANStack {
        switch settings.vlanMode {
        case .access:
            return VLANStack()
        case .trunk, .nativeTagged: return vlans
        case .nativeUntagged:
            // What is under the native tag comes to light.
            return vlans.outer.vid == settings.vlan ? VLANStack(outer: vlans.inner) : vlans
        case .dot1qTunnel: return VLANStack(outer: vlans.inner, inner: .init())
        }
    }

    /// The port of a bundle that a packet is to leave by.
    private func memberPort(of bundle: PortBundle, _ vlans: VLANStack) -> SwitchPort? {
        guard let bond = bundle.bond else { return bundle.ports.first }
        // The datapath chooses; here it only matters that there is something to choose.
        if bond.recirculationID != nil, bond.leavesChoiceToDatapath { return bond.members.first { $0.isEnabled }?.port }
        guard let (member, bucket) = bond.output(flow, vlan: vlans.outer.vid, consulted: consult) else {
            // No member is enabled.
            return nil
        }
        if let bucket {
            targets.append(.bond(bond, bucket: bucket))
            if let packet { bond.credit(bucket: bucket, bytes: UInt64(packet.bytes)) }
        }
        return member.port
    }

    func outputNormal(_ bundle: PortBundle, _ vlans: VLANStack) {
        var tags = Self.translateOutput(vlans, bundle.settings)
        guard let port = memberPort(of: bundle, vlans) else { return }
        let saved = flow.words[Location.vlanTCI.word]
        if bundle.settings.priorityTags != .never { tags.outer.pcp = flow.vlanTCI & 0xe000 }
        put(tags, keepsEmptyTag: bundle.settings.priorityTags == .always)
        if let bond = bundle.bond, let id = bond.recirculationID, bond.leavesChoiceToDatapath {
            outputToBond(bundle, bond, id, port)
        } else {
            composeOutput(port.number)
        }
        flow.words[Location.vlanTCI.word] = saved
    }

    /// Has the datapath choose a member of a bond by the connection that a packet belongs to.
    private func outputToBond(_ bundle: PortBundle, _ bond: Bond, _ id: UInt32, _ port: SwitchPort) {
        guard port.datapathPort != nil, flow.packetType == 0 else { return }
        commit()
        netFlowOutput = NetFlowOutput.merge(netFlowOutput, port.number.wire16)
        countOutput(port)
        if let limit = truncation {
            actions.append(.truncate(limit))
            truncation = nil
        }
        if bond.settings.usesLbOutput, capabilities.lbOutput {
            actions.append(.lbOutput(id))
        } else {
            actions.append(.hash(algorithm: .l4, basis: bond.settings.hashBasis))
            actions.append(.recirc(id))
        }
        mirror(bundle, \.destinationPorts)
    }

    /// Sends a packet that came back with its hash out of a bond's member, by the hidden flow of its bucket.
    func balance(_ name: String) {
        base = flow
        let found = lookup(table: UInt8(OpenFlowSwitch.internalTable), inPort: flow.inPort, mayPacketIn: false, honorMiss: false)
        enter(found, table: table)
        if let bond = owner.bundles[name]?.bond {
            let bucket = Int(flow.dpHash & UInt32(Bond.bucketCount - 1))
            targets.append(.bond(bond, bucket: bucket))
            if let packet { bond.credit(bucket: bucket, bytes: UInt64(packet.bytes)) }
        }
        execute(found.actions)
        finish()
    }

    /// Writes tags into the key. One of VLAN 0 and priority 0 is no tag, unless the packet came with it and the port is to
    /// keep it.
    private func put(_ vlans: VLANStack, keepsEmptyTag: Bool) {
        func encode(_ tag: VLANStack.Tag) -> (tpid: UInt16, tci: UInt16) {
            guard tag.vid | tag.pcp != 0 || keepsEmptyTag && tag.tpid != 0 else { return (0, 0) }
            return (tag.tpid == 0 ? EtherType.vlan : tag.tpid, 0x1000 | tag.pcp | tag.vid)
        }
        let outer = encode(vlans.outer)
        let inner = encode(vlans.inner)
        flow.vlanTPID = outer.tpid
        flow.vlanTCI = outer.tci
        flow.innerVLANTPID = inner.tpid
        flow.innerVLANTCI = inner.tci
    }

    /// An ARP that announces its sender's own address: a broadcast reply, or a request for itself.
    private func isGratuitousARP() -> Bool {
        guard flow.ethType == EtherType.arp else { return false }
        wildcards.setExact(Location.ethDst)
        guard EthernetAddress.isBroadcast(flow.ethDst) else { return false }
        wildcards.setExact(Location.nwProto)
        if flow.nwProto == 2 { return true }
        guard flow.nwProto == 1 else { return false }
        wildcards.setExact(Location.nwSrc)
        wildcards.setExact(Location.nwDst)
        return flow.nwSrc == flow.nwDst
    }
}
