// Executing OpenFlow actions on the packet's key.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    /// Executes a list in order. Stops at `exit`, at an error, and where translation has to freeze.
    ///
    /// - Returns: false when an action ended the list: a TTL that ran out, a group that does not exist.
    @discardableResult
    func execute(_ list: [OFAction]) -> Bool {
        if list.isEmpty, trace != nil { report(.action, "drop") }
        for (i, action) in list.enumerated() {
            if error != nil { return true }
            freezeForMPLS(action)
            if isFreezing {
                freeze(list[i...])
                return true
            }
            if exit { return true }
            if trace != nil { report(.action, OFAction.text([action], ports: owner.portNames)) }
            if let record, !record.allows(action, flow) { self.record = nil }
            if case .checkPacketLarger(let size, let destination) = action, capabilities.checkPacketLength {
                branch(on: size, destination) { execute(Array(list[(i + 1)...])) }
                return true
            }
            let wasLast = isLastAction
            isLastAction = wasLast && i == list.count - 1 && actionSet.isEmpty
            defer { isLastAction = wasLast }
            if case .group(let id) = action {
                if !executeGroup(id) { return false }
            } else {
                execute(action)
            }
            if endsList {
                endsList = false
                return false
            }
            if isFreezing {
                freeze(list[(freezesCurrentAction ? i : i + 1)...])
                freezesCurrentAction = false
                return true
            }
        }
        return true
    }

    private func freeze(_ rest: ArraySlice<OFAction>) {
        // Applied when the packet comes back; what can only be decided now has been.
        frozenSteps.take(rest.lazy.map { FrozenState.Step.action($0) }, table: table, cookie: ruleCookie)
    }

    /// Behind a popped MPLS label the datapath has to look again before what lies there is used. What plainly does not use it
    /// goes on; within a group each bucket sees to that for itself.
    private func freezeForMPLS(_ action: OFAction) {
        guard wasMPLS, !exit else { return }
        switch action {
        case .output, .outputTruncated, .outputRegister, .enqueue, .group, .setVLANVID, .setVLANPCP, .setEthSrc, .setEthDst,
            .setTunnel, .setQueue:
            break
        case .setField(let set) where set.field.rawValue < FieldID.mplsLabel.rawValue: break
        default: isFreezing = true
        }
    }

    private func execute(_ action: OFAction) {
        switch action {
        // Output.
        case .output(let port, let maxLength): output(port, maxLength: maxLength)
        case .outputRegister(let source, let maxLength):
            source.match(in: &wildcards)
            let value = source.value(in: flow)
            if value <= 0xffff {
                if trace != nil { report(.detail, "output port is \(value)") }
                output(OFPort(UInt32(value)), maxLength: maxLength)
            } else {
                report(.warning, "output port \(AddressText.hex(value)) is out of range, ignoring")
            }
        case .outputTruncated(let port, let maxLength): outputTruncated(port, maxLength)
        case .controller(let controller): sendToController(controller)
        case .enqueue(let port, let queue): enqueue(port, queue)
        case .group: break
        case .bundle(let bundle): executeBundle(bundle)

        // Headers.
        case .setVLANVID(let vid, let context):
            wildcards.bits.vlanTCI |= 0x1fff
            if flow.vlanTCI & 0x1000 != 0 || context.pushIfNeeded {
                if flow.vlanTPID == 0 { flow.vlanTPID = EtherType.vlan }
                flow.vlanTCI = flow.vlanTCI & 0xe000 | 0x1000 | vid & 0xfff
            }
        case .setVLANPCP(let pcp, let context):
            wildcards.bits.vlanTCI |= 0xf000
            if flow.vlanTCI & 0x1000 != 0 || context.pushIfNeeded {
                if flow.vlanTPID == 0 { flow.vlanTPID = EtherType.vlan }
                flow.vlanTCI = flow.vlanTCI & 0xfff | 0x1000 | UInt16(pcp & 7) << 13
            }
        case .stripVLAN:
            if flow.vlanCount > 1 {
                wildcards.setExact(Location.innerVLANTPID)
                wildcards.setExact(Location.innerVLANTCI)
            }
            flow.popVLAN()
        case .pushVLAN(let type):
            if flow.vlanCount > 0 {
                wildcards.setExact(Location.vlanTPID)
                wildcards.setExact(Location.vlanTCI)
            }
            if flow.vlanCount > 1 {
                wildcards.setExact(Location.innerVLANTPID)
                wildcards.setExact(Location.innerVLANTCI)
            }
            flow.pushVLANUninitialised()
            flow.vlanTPID = type
            flow.vlanTCI = 0x1000
        case .setEthSrc(let address): set(Location.ethSrc, UInt128(address))
        case .setEthDst(let address): set(Location.ethDst, UInt128(address))
        case .setIPv4Src(let address) where flow.ethType == EtherType.ipv4:
            wildcards.setExact(Location.nwProto)
            set(Location.nwSrc, UInt128(address))
        case .setIPv4Dst(let address) where flow.ethType == EtherType.ipv4:
            wildcards.setExact(Location.nwProto)
            set(Location.nwDst, UInt128(address))
        case .setIPDSCP(let tos) where flow.isIP:
            wildcards.setExact(Location.nwProto)
            wildcards.bits.nwTOS |= 0xfc
            flow.nwTOS = flow.nwTOS & 3 | tos & 0xfc
        case .setIPECN(let ecn) where flow.isIP:
            wildcards.setExact(Location.nwProto)
            wildcards.bits.nwTOS |= 3
            flow.nwTOS = flow.nwTOS & 0xfc | ecn & 3
        case .setIPTTL(let ttl) where flow.isIP:
            wildcards.setExact(Location.nwProto)
            set(Location.nwTTL, UInt128(ttl))
        case .setL4SrcPort(let port, _) where hasTransportPorts:
            wildcards.setExact(Location.nwProto)
            set(Location.tpSrc, UInt128(port))
        case .setL4DstPort(let port, _) where hasTransportPorts:
            wildcards.setExact(Location.nwProto)
            set(Location.tpDst, UInt128(port))
        case .setIPv4Src, .setIPv4Dst, .setIPDSCP, .setIPECN, .setIPTTL, .setL4SrcPort, .setL4DstPort: break
        case .setField(let set): setField(set)
        case .regMove(let from, let to): move(from, to)
        case .stackPush(let source):
            source.match(in: &wildcards)
            stack.append((source.value(in: flow), source.count))
        case .stackPop(let destination):
            if let top = stack.popLast() {
                store(destination, top.value & destination.ones)
            } else {
                report(.error, "stack underflow")
            }
        case .decTTL(let controllers): decrementTTL(controllers)
        case .setMPLSLabel(let label) where EtherType.isMPLS(flow.ethType): set(Location.mplsLabel, UInt128(label))
        case .setMPLSTC(let tc) where EtherType.isMPLS(flow.ethType): set(Location.mplsTC, UInt128(tc))
        case .setMPLSTTL(let ttl) where EtherType.isMPLS(flow.ethType): set(Location.mplsTTL, UInt128(ttl))
        case .setMPLSLabel, .setMPLSTC, .setMPLSTTL: break
        case .decMPLSTTL: decrementMPLSTTL()
        case .pushMPLS(let type): pushMPLS(type)
        case .popMPLS(let type): popMPLS(type)
        case .decNSHTTL: decrementNSHTTL()
        case .deleteField(let field):
            field.set(0, in: &flow)
            if trace != nil { report(.detail, "delete \(field.name)") }
        case .encap(let encap): encapsulate(encap)
        case .decap(let type): decapsulate(type)

        // Metadata.
        case .setTunnel(let id, _): flow.tunID = id
        case .setQueue(let queue): setQueue(queue)
        case .popQueue:
            flow.skbPriority = originalQueue
            if trace != nil { report(.detail, "queue = \(AddressText.hex(flow.skbPriority))") }
        case .finTimeout(let idle, let hard):
            wildcards.setExact(Location.nwProto)
            guard flow.isIP, flow.nwProto == IPProtocol.tcp, let rule else { break }
            targets.append(.finTimeout(rule, idle: idle, hard: hard))
            if let packet, packet.tcpFlags & 5 != 0 { owner.reduceTimeouts(rule, idle: idle, hard: hard) }

        // Processing.
        case .resubmit(let resubmit):
            // With IN_PORT the packet's own port stays.
            let inPort = resubmit.inPort == .inPort ? flow.inPort : resubmit.inPort.rawValue
            var mayPacketIn = false
            var next = resubmit.table
            if next == 255 {
                next = table
            } else {
                mayPacketIn = false
            }
            if inPort != flow.inPort, resubmit.inPort != .inPort {
                let saved = flow.inPort
                self.resubmit(
                    inPort: inPort, table: next, mayPacketIn: mayPacketIn, honorMiss: false, withCT: resubmit.withCT)
                flow.inPort = saved
            } else {
                self.resubmit(
                    inPort: inPort, table: next, mayPacketIn: mayPacketIn, honorMiss: false, withCT: resubmit.withCT)
            }
        case .learn(let learn): executeLearn(learn)
        case .conjunction: report(.detail, "conjunction actions do nothing by themselves")
        case .multipath(let multipath): executeMultipath(multipath)
        case .note: break
        case .exit: exit = true
        case .sample(let sample): executeSample(sample)
        case .clone(let list): executeClone(list)
        case .checkPacketLarger(let size, let destination): checkPacketLarger(size, destination)
        case .ct(let ct): executeConntrack(ct)
        case .ctClear: executeConntrackClear()
        case .nat: conntrackNAT = action
        case .debugRecirc: isFreezing = true
        case .debugSlow: slowPath.insert(.action)

        // Instructions.
        case .meter(let id): executeMeter(id)
        case .clearActions:
            if trace != nil { reportActionSet("was") }
            actionSet = []
            flow.actsetOutput = OFPort.unset.rawValue
        case .writeActions(let list): writeActions(list)
        case .writeMetadata(let value, let mask):
            flow.metadata = flow.metadata & ~mask | value & mask
        case .gotoTable(let next): resubmit(inPort: flow.inPort, table: next, mayPacketIn: true, honorMiss: true)
        }
    }

    // MARK: Fields

    private var hasTransportPorts: Bool {
        flow.isIP && flow.nwFrag & IPFragment.later == 0
            && (flow.nwProto == IPProtocol.tcp || flow.nwProto == IPProtocol.udp || flow.nwProto == IPProtocol.sctp)
    }

    private func set(_ location: FieldLocation, _ value: UInt128) {
        wildcards.setExact(location)
        flow[location] = value
    }

    /// Looks at what a field's prerequisite looks at, whether it holds or not.
    func consultPrerequisites(of field: FieldID) {
        switch field.row.prerequisite {
        case .vlanVID: wildcards.bits.vlanTCI |= 0x1000
        case .tcp, .udp, .sctp: if flow.isIP { wildcards.setExact(Location.nwProto) }
        case .icmpv4: if flow.ethType == EtherType.ipv4 { wildcards.setExact(Location.nwProto) }
        case .icmpv6, .nd, .ndSolicit, .ndAdvert:
            guard flow.ethType == EtherType.ipv6 else { break }
            wildcards.setExact(Location.nwProto)
            if field.row.prerequisite != .icmpv6, flow.nwProto == IPProtocol.icmpv6 {
                wildcards.bits.tpSrc = .max
                wildcards.bits.tpDst = .max
            }
        default: break
        }
    }

    /// A field of the network header can be rewritten only where the protocol is known.
    private func consultProtocol(_ field: FieldID) {
        guard field != .ipDSCPShifted, let word = field.location?.word,
            FlowStage.l3.words.contains(word) || FlowStage.l4.words.contains(word)
        else { return }
        if flow.isIP || flow.ethType == EtherType.arp {
            wildcards.setExact(Location.nwProto)
        }
    }

    private func setTunnelOption(_ index: Int, _ set: SetFieldAction) {
        guard let map = owner.tunnelOptions, let entry = map.entries[index] else { return }
        let old = map.bytes(entry, in: flow)
        func aligned(_ bytes: [UInt8]) -> [UInt8] {
            (0..<entry.length).map { i in
                let from = bytes.count - entry.length + i
                return bytes.indices.contains(from) ? bytes[from] : 0
            }
        }
        let value = aligned(set.wideValue)
        let mask = set.wideMask.isEmpty ? [UInt8](repeating: 0xff, count: entry.length) : aligned(set.wideMask)
        map.set(old.indices.map { old[$0] & ~mask[$0] | value[$0] & mask[$0] }, entry, in: &flow)
        map.setPresent(true, entry, in: &flow)
    }

    private func setField(_ set: SetFieldAction) {
        let field = set.field
        if let index = field.tunnelOptionIndex {
            setTunnelOption(index, set)
            return
        }
        if field == .vlanVID, flow.vlanTCI & 0x1000 == 0, !set.flowHasVLAN { return }
        consultPrerequisites(of: field)
        guard field.prerequisitesHold(flow) || field == .vlanTCI else { return }
        consultProtocol(field)
        field.match(set.mask, in: &wildcards)
        field.set(set.value, mask: set.mask, in: &flow)
        if field == .vlanTCI || field == .vlanVID || field == .vlanPCP || field == .dlVLAN || field == .dlVLANPCP {
            if flow.vlanTCI & 0x1000 != 0, flow.vlanTPID == 0 { flow.vlanTPID = EtherType.vlan }
            if flow.vlanTCI & 0x1000 == 0 { flow.vlanTPID = 0 }
        }
    }

    private func move(_ from: Subfield, _ to: Subfield) {
        for field in [from.field, to.field] { consultPrerequisites(of: field) }
        guard from.field.prerequisitesHold(flow), to.field.prerequisitesHold(flow) else { return }
        from.match(in: &wildcards)
        store(to, from.value(in: flow))
    }

    /// Writes a subfield and says so.
    func store(_ destination: Subfield, _ value: UInt128) {
        destination.match(in: &wildcards)
        destination.set(value, in: &flow)
        guard trace != nil else { return }
        var text = "\(destination) is now "
        if destination.isWholeField {
            FieldText.write(destination.field, destination.value(in: flow), mask: destination.field.row.allOnes, to: &text)
        } else {
            text += AddressText.hex(destination.value(in: flow))
        }
        report(.detail, text)
    }

    // MARK: Processing

    private func setQueue(_ queue: UInt32) {
        wildcards.setExact(Location.skbPriority)
        self.queue = queue
        flow.skbPriority = owner.backer.dpif.priority(ofQueue: queue)
    }

    private func enqueue(_ port: OFPort, _ queue: UInt32) {
        let saved = flow.skbPriority
        wildcards.setExact(Location.skbPriority)
        flow.skbPriority = owner.backer.dpif.priority(ofQueue: queue)
        switch port {
        case .inPort: composeOutput(OFPort(flow.inPort))
        case OFPort(flow.inPort): break
        default: composeOutput(port)
        }
        flow.skbPriority = saved
    }

    /// What is done to the datapath's packet cannot be undone for what follows.
    private static func isIrreversible(_ action: OFAction) -> Bool {
        switch action {
        case .ct, .meter, .nat, .outputTruncated, .encap, .decap, .decNSHTTL: true
        default: false
        }
    }

    private func executeClone(_ list: [OFAction]) {
        // What is done to the copy shows neither here nor in the datapath's packet; but where the copy ends with `exit`, all does, as in the
        // real daemon.
        var saved = (flow, base, stack, actionSet, wasMPLS, conntracked)
        var before = encapsulation
        let wasInGroup = inGroup
        inGroup = false
        defer {
            inGroup = wasInGroup
            encapsulation.leaveCopy(before)
        }
        let needsClone = !isLastAction && list.contains(where: Self.isIrreversible)
        if needsClone, capabilities.clone {
            commit()
            saved.1 = base
            before = encapsulation
            let outer = actions
            actions = []
            executeCopy(list)
            let isFrozen = isFreezing
            if isFreezing { finishFreezing() }
            let inner = actions
            actions = outer + (inner.isEmpty ? [] : [.clone(inner)])
            (flow, base, stack, actionSet, wasMPLS, conntracked) = saved
            if isFrozen { exit = true }
            return
        }
        if needsClone { slowPath.insert(.action) }
        executeCopy(list)
        let isFrozen = isFreezing
        if isFreezing { finishFreezing() }
        // A label that was popped stays noted here: the real daemon has no copy then, and forgets to forget.
        (flow, _, stack, actionSet, _, conntracked) = saved
        // Without a copy the packet is gone with its recirculation.
        if isFrozen { exit = true }
    }

    /// The copy goes through the action set, too, as far as it has been written.
    private func executeCopy(_ list: [OFAction]) {
        execute(list)
        if !isFreezing, hasActionSet { executeActionSet() }
    }

    /// The datapath decides by the packet's length which of two translations of what follows applies.
    func branch(on size: UInt16, _ destination: Subfield, _ rest: () -> Void) {
        commit()
        let before = actions
        let saved = (flow, base, stack, actionSet, wasMPLS, conntracked, exit, trace)
        let encapsulated = encapsulation
        var left = (stack, actionSet)
        func translate(_ value: UInt128) -> [DpAction] {
            actions = []
            // What the first branch took from the stack and the action set, the second does not find, as in the real daemon.
            (stack, actionSet) = left
            destination.set(value, in: &flow)
            rest()
            if !isFreezing, hasActionSet { executeActionSet() }
            if isFreezing { finishFreezing() }
            let result = actions
            left = (stack, actionSet)
            (flow, base, stack, actionSet, wasMPLS, conntracked, exit, trace) = saved
            encapsulation.leaveCopy(encapsulated)
            return result
        }
        let greater = translate(1)
        let less = translate(0)
        actions = before + [.checkPacketLength(size, greater: greater, lessOrEqual: less)]
    }

    /// Without the datapath's help every packet is looked at here.
    private func checkPacketLarger(_ size: UInt16, _ destination: Subfield) {
        slowPath.insert(.action)
        store(destination, (packetLength ?? 0) > Int(size) ? 1 : 0)
    }

    private func executeMeter(_ id: UInt32) {
        guard let inDatapath = owner.datapathMeter(id), capabilities.meters else { return }
        actions.append(.meter(inDatapath))
    }

    // MARK: The action set

    private func writeActions(_ list: [OFAction]) {
        actionSet.append(contentsOf: list)
        if case .output(let port, _)? = Self.ordered(actionSet, complete: true).last { flow.actsetOutput = port.rawValue }
        if trace != nil { reportActionSet("is") }
    }

    private func reportActionSet(_ verb: String) {
        let set = Self.ordered(actionSet)
        let text = OFAction.text(set, ports: owner.portNames)
        report(.detail, set.isEmpty ? "action set \(verb) empty" : verb == "is" ? "action set is: \(text)" : "action set was: \(text)")
    }

    /// Executes the action set in the order of OpenFlow 1.3 section 5.10.
    func executeActionSet() {
        guard error == nil else { return }
        let list = Self.ordered(actionSet)
        actionSet = []
        guard !list.isEmpty else { return }
        let oldTrace = trace
        if let trace { self.trace = trace.add(.table, "--. Executing action set:") }
        inActionSet = true
        execute(list)
        inActionSet = false
        trace = oldTrace
    }

    /// One action of each kind, the last that was written, in the set's order.
    ///
    /// - Parameter complete: also when it has no output, and so does nothing.
    static func ordered(_ written: [OFAction], complete: Bool = false) -> [OFAction] {
        func rank(_ action: OFAction) -> Int? {
            switch action {
            case .decTTL: 7
            case .decMPLSTTL: 6
            case .decNSHTTL: 8
            case .stripVLAN, .popMPLS, .decap: 1
            case .encap: 2
            case .pushMPLS: 3
            case .pushVLAN: 4
            case .setField, .regMove, .setEthSrc, .setEthDst, .setIPv4Src, .setIPv4Dst, .setIPDSCP, .setIPECN, .setIPTTL,
                .setL4SrcPort, .setL4DstPort, .setVLANVID, .setVLANPCP, .setMPLSLabel, .setMPLSTC, .setMPLSTTL, .setTunnel:
                9
            case .setQueue: 10
            // What becomes of the packet: only the highest of these counts.
            case .ct: 11
            case .ctClear: 12
            case .resubmit: 13
            case .output, .outputRegister, .outputTruncated, .controller, .enqueue, .bundle: 14
            case .group: 15
            default: nil
            }
        }
        var singles: [Int: OFAction] = [:]
        var sets: [OFAction] = []
        for action in written {
            guard let r = rank(action) else { continue }
            if r == 9 { sets.append(action) } else { singles[r] = action }
        }
        let last = (11...15).last { singles[$0] != nil }
        // Otherwise the packet is dropped, and nothing else matters.
        guard complete || last != nil else { return [] }
        return (0..<9).compactMap { singles[$0] } + sets + [singles[10], last.flatMap { singles[$0] }].compactMap { $0 }
    }
}
