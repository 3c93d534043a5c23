// Walking the tables: lookups, misses, resubmits, and resuming after recirculation.

import Classifier
import Dpif
import Flow
import OpenFlow

extension Translation {
    /// Looks a table up for the current flow. What follows a miss is the table's choice.
    ///
    /// - Parameter honorMiss: continue in later tables where the table is configured to.
    /// - Parameter mayPacketIn: a miss may go to a controller.
    func lookup(table start: UInt8, inPort: UInt32, mayPacketIn: Bool, honorMiss: Bool) -> Rule {
        if flow.nwFrag & IPFragment.any != 0, flow.isIP {
            switch owner.fragmentHandling {
            case .normal:
                // Seen without ports for the time of the lookups.
                let ports = (flow.tpSrc, flow.tpDst)
                (flow.tpSrc, flow.tpDst) = (0, 0)
                defer { (flow.tpSrc, flow.tpDst) = ports }
                return lookUp(from: start, inPort: inPort, mayPacketIn: mayPacketIn, honorMiss: honorMiss)
            case .drop: return owner.dropFragmentsRule
            case .nxMatch: break
            }
        }
        return lookUp(from: start, inPort: inPort, mayPacketIn: mayPacketIn, honorMiss: honorMiss)
    }

    /// The lookups themselves, of the flow as it is, but for the port.
    private func lookUp(from start: UInt8, inPort: UInt32, mayPacketIn: Bool, honorMiss: Bool) -> Rule {
        let ownPort = flow.inPort
        flow.inPort = inPort
        defer { flow.inPort = ownPort }
        var miss = TableMiss.continueDefault
        var next = Int(start)
        while next < 255 {
            table = UInt8(next)
            let flowTable = owner.tables[next]
            record?.willLookUp(flowTable, flow, from: original, consulted: wildcards)
            let rule = lookupBeforeLearning(flowTable)
            record?.found(rule, consulted: wildcards)
            targets.append(.table(flowTable, matched: rule != nil))
            if packet != nil { flowTable.count(matched: rule != nil) }
            if let rule { return rule }
            guard honorMiss else { break }
            miss = flowTable.miss
            guard miss == .continue, next < 254 else { break }
            next += next == 253 ? 2 : 1
        }
        guard mayPacketIn else { return owner.noPacketInRule }
        switch miss {
        case .controller, .continue:
            if let port = owner.port(OFPort(inPort)), !port.config.contains(.noPacketIn) { return owner.missRule }
        case .continueDefault, .default:
            if owner.wantsPacketInOnMiss, let port = owner.port(OFPort(inPort)), !port.config.contains(.noPacketIn) {
                return owner.missRule
            }
        case .drop: break
        }
        return owner.noPacketInRule
    }

    /// Makes `rule` the one whose actions are executed, and credits it.
    func enter(_ rule: Rule, table: UInt8) {
        self.rule = rule
        ruleCookie = rule.cookie
        targets.append(.rule(rule))
        if let packet { rule.credit(packets: 1, bytes: UInt64(packet.bytes), used: now) }
        if let trace { self.trace = trace.add(.table, firstOwner.describe(rule, table: table)) }
    }

    /// Looks up and executes another table, then goes on here.
    func resubmit(
        inPort: UInt32, table next: UInt8, mayPacketIn: Bool, honorMiss: Bool, withCT: Bool = false
    ) {
        guard resourcesLeft() else { return }
        let oldTable = table
        table = next
        if withCT {
            // The original tuple was looked at as part of the conntrack state.
            swapConntrackTuple()
        }
        let found = lookup(table: next, inPort: inPort, mayPacketIn: mayPacketIn, honorMiss: honorMiss)
        if withCT { swapConntrackTuple() }
        let oldTrace = trace
        let oldRule = rule
        let oldCookie = ruleCookie
        let deepens = next <= oldTable
        enter(found, table: table)
        if deepens { depth += 1 }
        resubmits += 1
        let wasInGroup = inGroup
        inGroup = false
        execute(found.actions)
        inGroup = wasInGroup
        if deepens { depth -= 1 }
        rule = oldRule
        ruleCookie = oldCookie
        trace = oldTrace
        table = oldTable
    }

    private func swapConntrackTuple() {
        func swap(_ a: FieldLocation, _ b: FieldLocation) {
            let x = flow[a]
            flow[a] = flow[b]
            flow[b] = x
        }
        if flow.ethType == 0x86dd {
            swap(Location.ipv6Src, Location.ctIPv6Src)
            swap(Location.ipv6Dst, Location.ctIPv6Dst)
        } else {
            swap(Location.nwSrc, Location.ctNwSrc)
            swap(Location.nwDst, Location.ctNwDst)
        }
        swap(Location.nwProto, Location.ctNwProto)
        swap(Location.tpSrc, Location.ctTpSrc)
        swap(Location.tpDst, Location.ctTpDst)
    }

    func resourcesLeft() -> Bool {
        if depth >= Self.maxDepth {
            fail(.recursionTooDeep, "over max translation depth \(Self.maxDepth)")
        } else if resubmits >= Self.maxResubmits {
            fail(.tooManyResubmits, "over \(Self.maxResubmits) resubmit actions")
        } else if actions.count > 8000 {
            fail(.tooManyResubmits, "resubmits yielded over 64 kB of actions")
        } else if stack.count >= 4096 {
            fail(.stackTooDeep, "resubmits used over 64 kB of stack")
        } else {
            return true
        }
        return false
    }

    // MARK: Freezing

    /// Ends the datapath's pass: what is left is stored under a recirculation id.
    func finishFreezing() {
        guard isFreezing else { return }
        isFreezing = false
        if let pause = pauseAction {
            pauseAction = nil
            guard sideEffects || !isTracing else { return }
            let id = allocate(steps: frozenSteps.steps, controller: pause)
            commit()
            actions.append(
                .userspace(
                    .controller(
                        reason: pause.reason.rawValue, dontSend: !sideEffects && isTracing, continuation: true,
                        recircID: id, ruleCookie: ruleCookie, controllerID: pause.controllerID,
                        maxLength: pause.maxLength)))
            frozenSteps = FrozenSteps()
            return
        }
        let id = allocate(steps: frozenSteps.steps, controller: nil)
        frozenSteps = FrozenSteps()
        commit()
        if let hash = recirculationHash {
            actions.append(.hash(algorithm: hash.algorithm, basis: hash.basis))
            recirculationHash = nil
        }
        guard capabilities.recirculation else {
            slowPath.insert(.action)
            return
        }
        actions.append(.recirc(id))
        recirculationID = id
    }

    /// The id for what is left to do from here.
    func allocate(steps: [FrozenState.Step], controller: ControllerAction?) -> UInt32 {
        // A controller that does not send the packet back needs nothing to go on with.
        let isFinal = controller.map { !$0.pause } ?? false
        let state = FrozenState(
            switchID: owner.id, table: table, inPort: flow.inPort, metadata: flow.metadata,
            registers: (0..<16).map { flow.reg($0) }, tunnelID: flow.tunID, stack: stack.map(\.value), steps: steps,
            actionSet: isFinal ? [] : actionSet, conntracked: conntracked, wasMPLS: wasMPLS, userdata: controller?.userdata ?? [])
        let id = owner.backer.recirculation.id(for: state)
        recirculationIDs.append(id)
        return id
    }

    /// Goes on where a recirculated packet's translation stopped.
    func resume() {
        guard let state = owner.backer.recirculation.state(flow.recircID),
            let target = owner.backer.openFlowSwitch(id: state.switchID)
        else {
            fail(.noRecirculationContext, "Recirculation context not found for ID \(String(flow.recircID, radix: 16))")
            actions = []
            return
        }
        owner = target
        if let bond = state.bond {
            balance(bond)
            return
        }
        flow.inPort = state.inPort
        flow.metadata = state.metadata
        for (i, value) in state.registers.enumerated() { flow[Location.reg(i)] = UInt128(value) }
        flow.tunID = state.tunnelID
        base = flow
        stack = state.stack.map { ($0, 128) }
        actionSet = state.actionSet
        conntracked = state.conntracked
        if !state.conntracked { clearConntrack() }
        table = state.table
        ruleCookie = state.cookie
        if let trace {
            let thaw = trace.add(.thaw, "thaw")
            thaw.add(.thaw, "Resuming from table \(state.table)")
            let restored = state.steps.map { step in
                switch step {
                case .action(let action): OFAction.text([action], ports: owner.portNames)
                case .unroll(let table, let cookie): "unroll_xlate(table=\(table), cookie=\(AddressText.hex(cookie)))"
                }
            }
            if !restored.isEmpty { thaw.add(.thaw, "Restoring actions: \(restored.joined(separator: ","))") }
        }
        if state.steps.isEmpty, state.conntracked {
            let found = lookup(table: state.table, inPort: state.inPort, mayPacketIn: true, honorMiss: true)
            enter(found, table: table)
            execute(found.actions)
        } else {
            run(steps: state.steps[...])
        }
        if isFreezing {
            finishFreezing()
        } else if hasActionSet {
            executeActionSet()
        }
        if isFreezing { finishFreezing() }
        finish()
    }

    private func run(steps: ArraySlice<FrozenState.Step>) {
        let wasLast = isLastAction
        defer { isLastAction = wasLast }
        for (i, step) in zip(steps.indices, steps) {
            if error != nil { return }
            let rest = steps[(i + 1)...]
            isLastAction = wasLast && rest.isEmpty
            switch step {
            case .unroll where wasMPLS, .action(.checkPacketLarger) where wasMPLS:
                // None of those that plainly do not look behind a popped label; and whose actions follow is not known then.
                isFreezing = true
                frozenSteps.take(steps[i...], table: table, cookie: ruleCookie)
                return
            case .action(.checkPacketLarger(let size, let destination)) where capabilities.checkPacketLength:
                if let trace { trace.add(.action, OFAction.text([.checkPacketLarger(size, to: destination)], ports: owner.portNames)) }
                branch(on: size, destination) { run(steps: rest) }
                return
            case .action(let action): if !execute([action]) { return }
            case .unroll(let oldTable, let cookie):
                if let trace {
                    let state = "table=\(oldTable), cookie=\(AddressText.hex(cookie))"
                    trace.add(.action, "unroll_xlate(\(state))")
                    trace.add(.action, "restored state: \(state)")
                }
                table = oldTable
                ruleCookie = cookie
            }
            if isFreezing {
                frozenSteps.take(rest, table: table, cookie: ruleCookie)
                return
            }
            if exit { return }
        }
    }

    func clearConntrack() {
        flow.ctState = 0
        flow.ctZone = 0
        flow.ctMark = 0
        flow.ctLabel = 0
        flow.ctNwProto = 0
        for l in [
            Location.ctNwSrc, Location.ctNwDst, Location.ctIPv6Src, Location.ctIPv6Dst, Location.ctTpSrc, Location.ctTpDst,
        ] { flow[l] = 0 }
    }
}

extension Continuation.Step {
    /// Whether it may send a packet to a controller, which is told the flow's cookie, or asks which table it is in.
    var needsCookie: Bool {
        guard case .action(let action) = self else { return false }
        switch action {
        case .output, .outputRegister, .outputTruncated, .group, .controller, .decTTL, .decMPLSTTL, .decNSHTTL: return true
        case .resubmit(let resubmit): return resubmit.table == 255
        default: return false
        }
    }
}
