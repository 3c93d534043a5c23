// What packets that the datapath hands up become: actions, and the megaflow that keeps the next ones in the datapath.

import Dpif
import Flow
import OpenFlow
import Packet

extension DatapathBacker {
    public func handle(_ upcall: Upcall, packet: borrowing Packet) -> UpcallVerdict {
        switch upcall.kind {
        case .miss: return handleMiss(upcall.key, packet: packet)
        case .action(let action): return handleAction(action, upcall, packet)
        }
    }

    public func handleMiss(_ key: borrowing FlowKey, packet: borrowing Packet) -> UpcallVerdict {
        guard let port = port(of: key) else {
            let number = key.inPort
            Self.log.info("received packet on unassociated datapath port \(number)")
            return UpcallVerdict(failed: ())
        }
        // Lookups see whole bundles, as a translation's do.
        port.owner.settle()
        if megaflowsEnabled, let known = precedents.outcome(of: key, on: port, generation: generation) {
            return follow(known, key, packetBytes: packet.count)
        }
        // What the packet teaches is news to its own flow, too.
        let before = generation
        let record = precedents.record(of: key, on: port)
        let translation = translate(key, on: port, packetBytes: packet.count, sideEffects: true, record: record)
        consume(packet, translation)
        let runtime = translation.actions
        guard !translation.avoidCaching, flows.count < settings.flowLimit, translation.error != .noRecirculationContext
        else { return UpcallVerdict(actions: runtime) }
        let (mask, wanted) = megaflow(translation, key)
        let ufid = UFID(key: key, mask: mask)
        // The datapath may have the flow and not have found it; then its counts go on.
        var credited = DpFlowStats()
        if let old = flows[ufid] {
            if dpif.flowStats(ufid) != nil { credited = old.credited }
            forget(ufid)
        }
        let entry = install(ufid, key, mask, wanted, translation, generation: before)
        entry.credited = credited
        let installed = entry.actions
        if megaflowsEnabled, translation.isPlain, installed.allSatisfy(\.isPlain), let record = translation.record {
            let outcome = Precedents.Outcome(mask: entry.miniMask, actions: installed, targets: entry.targets)
            precedents.note(record, key, outcome, generation: before)
        }
        // What the datapath drops with a reason it counts so for this packet, too.
        var now = runtime
        if case .drop? = installed.first { now = installed }
        return UpcallVerdict(
            actions: now,
            install: FlowInstallation(ufid, key: entry.miniKey, mask: entry.miniMask, actions: installed, record: entry))
    }

    /// What `handleMiss` does, with a packet of which it is known what translation would make of it.
    private func follow(_ known: Precedents.Outcome, _ key: borrowing FlowKey, packetBytes: Int) -> UpcallVerdict {
        let ufid = UFID(key: key, mask: known.mask)
        flows.prefetch(ufid)
        let now = time.now
        for target in known.targets {
            switch target {
            case .rule(let rule): rule.credit(packets: 1, bytes: UInt64(packetBytes), used: now)
            case .table(let table, let matched): table.count(matched: matched)
            default: break
            }
        }
        guard flows.count < settings.flowLimit else { return UpcallVerdict(actions: known.actions) }
        var credited = DpFlowStats()
        if let old = flows[ufid] {
            if dpif.flowStats(ufid) != nil { credited = old.credited }
            forget(ufid)
        }
        let entry = install(ufid, key, known, now: now)
        entry.credited = credited
        return UpcallVerdict(
            actions: known.actions,
            install: FlowInstallation(ufid, key: entry.miniKey, mask: known.mask, actions: known.actions, record: entry))
    }

    /// What a translation comes to as a flow of the datapath, within what that advertises. Packets that it cannot tell apart as the
    /// translation did, or to which it cannot do what is to be done, take the slow path.
    func megaflow(_ translation: Translation, _ key: borrowing FlowKey) -> (mask: FlowMask, actions: [DpAction]) {
        var slow = translation.slowPath
        var mask = translation.wildcards
        if fit.trim(&mask, key: key) { slow.insert(.match) }
        if slow.isEmpty, fit.problem(actions: translation.actions) != nil { slow.insert(.action) }
        if !megaflowsEnabled || !capabilities.megaflows {
            mask = Self.exactMask(key)
            _ = fit.trim(&mask, key: key)
        }
        // A datapath's key cannot leave open whether there is a tag.
        if mask.bits.vlanTCI == 0, capabilities.maxVLANHeaders > 0 { mask.bits.vlanTCI = 0x1fff }
        if !slow.isEmpty { return (mask, [.userspace(.slowPath(slow))]) }
        if translation.actions.isEmpty, capabilities.explicitDrop {
            return (mask, [.drop(translation.error?.dropCode ?? DropCode.pipeline)])
        }
        return (mask, translation.actions)
    }

    /// The mask that matches a packet exactly: every field that it can have.
    static func exactMask(_ key: borrowing FlowKey) -> FlowMask {
        var mask = FlowMask()
        for l in [
            Location.packetType, Location.inPort, Location.recircID, Location.dpHash, Location.skbPriority, Location.pktMark,
            Location.ethSrc, Location.ethDst, Location.ethType, Location.ctState, Location.ctZone, Location.ctMark,
            Location.ctLabel,
        ] { mask.setExact(l) }
        if key.vlanTPID != 0 {
            mask.setExact(Location.vlanTPID)
            mask.setExact(Location.vlanTCI)
        }
        if key.innerVLANTPID != 0 {
            mask.setExact(Location.innerVLANTPID)
            mask.setExact(Location.innerVLANTCI)
        }
        switch key.ethType {
        case EtherType.ipv4:
            for l in [Location.nwSrc, Location.nwDst] { mask.setExact(l) }
        case EtherType.ipv6:
            for l in [Location.ipv6Src, Location.ipv6Dst, Location.ipv6Label] { mask.setExact(l) }
        case EtherType.arp, EtherType.rarp:
            for l in [Location.nwSrc, Location.nwDst, Location.nwProto, Location.arpSHA, Location.arpTHA] { mask.setExact(l) }
        case EtherType.mpls, EtherType.mplsMulticast:
            for i in 0..<maxMPLSLabels { mask.setExact(Location.mplsLSE(i)) }
        default: break
        }
        if key.isIP {
            let proto = key.nwProto
            for l in [Location.nwProto, Location.nwTOS, Location.nwTTL, Location.nwFrag] { mask.setExact(l) }
            if key.nwFrag & IPFragment.later == 0 {
                if proto == IPProtocol.icmp || proto == IPProtocol.icmpv6 {
                    mask.bits.tpSrc = 0xff
                    mask.bits.tpDst = 0xff
                } else if [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp].contains(proto) {
                    mask.setExact(Location.tpSrc)
                    mask.setExact(Location.tpDst)
                }
                if proto == IPProtocol.tcp { mask.setExact(Location.tcpFlags) }
            }
        }
        return mask
    }

    /// Translates a packet's key with datapath ports.
    func translate(
        _ key: borrowing FlowKey, on port: SwitchPort, packetBytes: Int? = nil, packetLength: Int? = nil, sideEffects: Bool,
        trace: TraceNode? = nil, now: Int64? = nil, record: TranslationRecord? = nil
    ) -> Translation {
        let flags = key.tcpFlags
        let translation = Translation(
            port.owner, flow: key, inPort: port.number.rawValue, sideEffects: sideEffects,
            packet: packetBytes.map { ($0, flags) }, trace: trace, now: now)
        translation.packetLength = packetBytes ?? packetLength
        translation.record = record
        translation.run()
        return translation
    }

    /// Hands a packet of the slow path to the protocols that want to see it.
    func consume(_ packet: borrowing Packet, _ translation: Translation) {
        if let snooped = translation.snooped {
            snooped.owner.snoop(packet.array, from: snooped.bundle, vlan: snooped.vlan)
        }
        for (port, reasons) in translation.consumers { port.owner.consume(packet.array, for: reasons, on: port) }
    }

    private func handleAction(_ action: UserspaceAction, _ upcall: Upcall, _ packet: borrowing Packet) -> UpcallVerdict {
        let key = upcall.key
        switch action {
        case .slowPath:
            guard let port = port(of: key) else { return UpcallVerdict(actions: []) }
            // The datapath counts these packets, so they are credited with its flow.
            let translation = translate(key, on: port, packetLength: packet.count, sideEffects: true)
            consume(packet, translation)
            return UpcallVerdict(actions: translation.actions)
        case .controller(let reason, let dontSend, let isPaused, let recircID, let cookie, let controllerID, let maxLength):
            guard !dontSend, let state = recirculation.state(recircID),
                let target = openFlowSwitch(id: state.switchID)
            else { return UpcallVerdict(actions: []) }
            var flow = key
            flow.inPort = state.inPort
            flow.metadata = state.metadata
            for (i, value) in state.registers.enumerated() { flow[Location.reg(i)] = UInt128(value) }
            target.packetInReceiver?(
                PacketInEvent(
                    packet: packet.array, flow: flow, reason: PacketInReason(rawValue: reason) ?? .action,
                    table: state.table, cookie: cookie, controllerID: controllerID, maxLength: Int(maxLength),
                    userdata: state.userdata, continuation: isPaused ? continuation(of: state, key.inPort) : nil))
            return UpcallVerdict(actions: [])
        case .sFlow, .flowSample, .ipfix:
            export(action, upcall, packet)
            return UpcallVerdict(actions: [])
        }
    }

    /// What a controller is given to send back.
    private func continuation(of state: FrozenState, _ datapathPort: UInt32) -> Continuation {
        var rest = Continuation()
        rest.bridge = openFlowSwitch(id: state.switchID)?.identity ?? []
        rest.stack = state.stack
        rest.conntracked = state.conntracked
        rest.steps = state.steps
        rest.actionSet = state.actionSet
        rest.datapathPort = datapathPort
        return rest
    }
}

/// A packet for the controllers.
public struct PacketInEvent: Sendable {
    public var packet: [UInt8]
    /// The packet's fields with OpenFlow ports and metadata.
    public var flow: FlowKey
    public var reason: PacketInReason
    public var table: UInt8
    public var cookie: UInt64
    public var controllerID: UInt16
    public var maxLength: Int
    public var userdata: [UInt8]
    /// What is left to be done when the controller sends the packet back; nil: it is not waited for.
    public var continuation: Continuation?
}
