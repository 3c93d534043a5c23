// Outputs: to ports, floods, controllers, and through patch ports into other bridges.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    func output(_ port: OFPort, maxLength: UInt16, reason: PacketInReason? = nil) {
        switch port {
        case .inPort: composeOutput(OFPort(flow.inPort))
        case .table:
            resubmit(inPort: flow.inPort, table: 0, mayPacketIn: true, honorMiss: true)
        case .normal: normal()
        case .flood: flood(all: false)
        case .all: flood(all: true)
        case .controller:
            var action = ControllerAction()
            action.maxLength = maxLength
            action.reason = reason ?? outputReason
            sendToController(action)
        case .none: break
        default:
            if port.rawValue != flow.inPort {
                composeOutput(port)
            } else {
                report(.warning, "skipping output to input port")
            }
        }
    }

    /// Why an output to the controller happens: a table-miss flow's is a miss.
    private var outputReason: PacketInReason {
        if inPacketOut { return .packetOut }
        if inActionSet { return .actionSet }
        if inGroup { return .group }
        if let rule, rule.priority == 0, rule.mask.words.isEmpty { return .explicitMiss }
        return .action
    }

    func outputTruncated(_ port: OFPort, _ maxLength: UInt32) {
        let target = port == .inPort ? OFPort(flow.inPort) : port
        let isInput = target.rawValue == flow.inPort
        switch port {
        case .table, .normal, .flood, .all, .controller, .none:
            report(.warning, "output_trunc does not support that port")
        default:
            guard port == .inPort || !isInput else {
                report(.warning, "skipping output to input port")
                return
            }
            if !capabilities.truncate { slowPath.insert(.action) }
            // The cut is measured before what the packet still becomes is done to it.
            let limit = DpAction.truncate(max(maxLength, 14))
            actions.append(limit)
            let count = actions.count
            composeOutput(target)
            if actions.count == count { actions.removeLast() }
        }
    }

    private func flood(all: Bool) {
        let wasLast = isLastAction
        isLastAction = false
        defer {
            isLastAction = wasLast
            netFlowOutput = NetFlowOutput.flood
        }
        for port in owner.floodOrder.ports where port.number.rawValue != flow.inPort {
            if all {
                composeOutput(port.number, checkSTP: false)
            } else if !port.config.contains(.noFlood) {
                composeOutput(port.number)
            }
        }
    }

    /// Sends the packet as it is now out of a port.
    func composeOutput(_ number: OFPort, checkSTP: Bool = true) {
        guard let port = owner.port(number) else {
            report(.warning, "Nonexistent output port")
            return
        }
        if port.config.contains(.noForward) {
            report(.detail, "OFPPC_NO_FWD set, skipping output")
            return
        }
        if checkSTP, !mayPassSpanningTree(port) { return }
        let bundle = port.bundle
        if let bundle, bundle.settings.isProtected, isInputProtected {
            report(.warning, "Flow is between protected ports, skipping output.")
            return
        }
        if port.isPatch || port.tunnel != nil || port.number == .local { record = nil }
        if port.isPatch {
            if let peer = port.peer { outputThroughPatch(port, peer) }
            return
        }
        guard let datapathPort = port.datapathPort else { return }
        if let tunnel = port.tunnel {
            if tunnel.layer == .legacyL3, flow.packetType == 0 {
                // What the tunnel carries has no Ethernet header.
                commit()
                let saved = (flow, base)
                flow.packetType = 1 << 16 | UInt32(flow.ethType)
                flow.ethSrc = 0
                flow.ethDst = 0
                encapsulation.pending = .popEthernet
                outputThroughTunnel(port, tunnel, datapathPort)
                (flow, base) = saved
                encapsulation.pending = nil
            } else {
                outputThroughTunnel(port, tunnel, datapathPort)
            }
            countOutput(port)
            if !owner.mirrors.isEmpty, let bundle { mirror(bundle, \.destinationPorts) }
            return
        }
        if flow.packetType != 0 {
            report(.warning, "Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.")
            return
        }
        if port.number == .local, outputFromTunnel(port) {
            countOutput(port)
            return
        }
        commit()
        netFlowOutput = NetFlowOutput.merge(netFlowOutput, port.number.wire16)
        countOutput(port)
        sampleOutput(datapathPort, isTunnel: false)
        if let limit = truncation {
            actions.append(.truncate(limit))
            truncation = nil
        }
        actions.append(.output(datapathPort))
        if !owner.mirrors.isEmpty, let bundle { mirror(bundle, \.destinationPorts) }
    }

    private func outputThroughTunnel(_ port: SwitchPort, _ tunnel: TunnelSettings, _ datapathPort: UInt32) {
        if capabilities.tunnelPushPop {
            outputToTunnel(port, tunnel, datapathPort: datapathPort)
        } else {
            outputToDatapathTunnel(port, tunnel, datapathPort: datapathPort)
        }
    }

    /// Whether a spanning tree lets the packet out of a port.
    private func mayPassSpanningTree(_ port: SwitchPort) -> Bool {
        guard owner.stp != nil || owner.rstp != nil else { return true }
        let protocolName = owner.rstp != nil ? "RSTP" : "STP"
        if base.ethDst == BPDU.group, base.ethType == BPDU.frameType {
            if port.spanningTree.passesBPDUs { return true }
            report(
                .warning,
                owner.rstp != nil
                    ? "RSTP not managing BPDU in this state, skipping bpdu output"
                    : "STP not in listening state, skipping bpdu output")
            return false
        }
        guard !port.spanningTree.forwards else { return true }
        report(.warning, "\(protocolName) not in forwarding state, skipping output")
        return false
    }

    private var isInputProtected: Bool { owner.port(OFPort(flow.inPort))?.bundle?.settings.isProtected ?? false }

    /// The packet enters the other bridge; what that does to it is not seen here.
    private func outputThroughPatch(_ out: SwitchPort, _ peer: SwitchPort) {
        guard resourcesLeft() else { return }
        targets.append(.patch(out: out, in: peer))
        if let packet {
            out.creditSent(packets: 1, bytes: UInt64(packet.bytes))
            peer.creditReceived(packets: 1, bytes: UInt64(packet.bytes))
        }
        enterBridge(peer, of: peer.owner)
    }

    /// Goes through another bridge's tables with the packet as it is, and comes back to this one's as if nothing had been.
    func enterBridge(_ peer: SwitchPort, of next: OpenFlowSwitch) {
        guard resourcesLeft() else { return }
        next.settle()
        let saved = (flow, owner, stack, actionSet, wasMPLS, conntracked, exit, table, rule, ruleCookie)
        let encapsulated = encapsulation
        let savedTrace = trace
        let savedSteps = frozenSteps
        frozenSteps = FrozenSteps()
        owner = next
        if let trace { self.trace = trace.add(.bridge, "bridge(\"\(next.name)\")") }
        flow.inPort = peer.number.rawValue
        flow.metadata = 0
        for n in 0..<16 { flow[Location.reg(n)] = 0 }
        flow.actsetOutput = OFPort.unset.rawValue
        clearConntrack()
        stack = []
        actionSet = []
        conntracked = false
        depth += 1
        resubmits += 1
        if !isConsumed(at: peer), !peer.config.contains(.noReceive), peer.spanningTree.learns {
            table = 0
            let found = lookup(table: 0, inPort: flow.inPort, mayPacketIn: true, honorMiss: true)
            enter(found, table: table)
            let before = (actions.count, base)
            execute(found.actions)
            if !peer.spanningTree.forwards {
                actions.removeLast(actions.count - before.0)
                base = before.1
            }
            if isFreezing { finishFreezing() } else if hasActionSet { executeActionSet() }
        }
        depth -= 1
        (flow, owner, stack, actionSet, wasMPLS, conntracked, exit, table, rule, ruleCookie) = saved
        encapsulation.leaveCopy(encapsulated)
        trace = savedTrace
        frozenSteps = savedSteps
        if error != nil, error != .recursionTooDeep, error != .tooManyResubmits { error = nil }
    }

    // MARK: Controllers

    func sendToController(_ action: ControllerAction) {
        if action.pause {
            pauseAction = action
            isFreezing = true
            return
        }
        commit()
        let id = allocate(steps: [], controller: action)
        actions.append(
            .userspace(
                .controller(
                    reason: action.reason.rawValue, dontSend: isTracing && !sideEffects, continuation: false,
                    recircID: id, ruleCookie: ruleCookie, controllerID: action.controllerID,
                    maxLength: action.maxLength)))
    }
}
