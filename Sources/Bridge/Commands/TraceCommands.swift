// ofproto/trace: what would happen to a packet, table by table.

import Dpif
import Flow
import Ofproto
import OpenFlow
import Packet
import Unixctl

/// The arguments of a trace, understood.
private struct TraceRequest {
    var target: OpenFlowSwitch
    /// With OpenFlow ports.
    var flow: FlowKey
    var packet: [UInt8]?
    var generates = false
    var connectionStates: [UInt16] = []
}

private struct TraceFailure: Error {
    let text: String
}

extension ControlCommands {
    func registerTrace() {
        server.register(
            "ofproto/trace", "{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]", 1, Int.max
        ) { [unowned self] args in
            do throws(TraceFailure) {
                return .ok(trace(try parseTrace(args), actions: nil))
            } catch {
                return .error(error.text)
            }
        }
        server.register(
            "ofproto/trace-packet-out",
            "[-consistent] {[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet] actions", 2, Int.max
        ) { [unowned self] args in
            do throws(TraceFailure) {
                try checkPacket(args.dropLast().filter { !$0.hasPrefix("-") })
                let actions = try parseActions(args[args.count - 1])
                let request = try parseTrace(Array(args.dropLast()))
                return .ok(trace(request, actions: try check(actions, request)))
            } catch {
                return .error(error.text)
            }
        }
    }

    /// Of three words the last is a packet, which is looked at first.
    private func checkPacket(_ words: [String]) throws(TraceFailure) {
        if words.count == 3, parseHex(words[2]) == nil { throw TraceFailure(text: "Trailing garbage in packet data") }
    }

    private func parseActions(_ text: String) throws(TraceFailure) -> [OFAction] {
        let actions: [OFAction]
        do throws(ActionSyntaxError) {
            actions = try OFAction.parse(text, ports: { _ in nil })
        } catch {
            throw TraceFailure(text: "\(error)")
        }
        for action in actions {
            let name: String
            switch action {
            case .clearActions: name = "clear_actions"
            case .writeActions: name = "write_actions"
            case .writeMetadata: name = "write_metadata"
            case .gotoTable: name = "goto_table"
            default: continue
            }
            throw TraceFailure(text: "\(name) instruction not allowed here")
        }
        return actions
    }

    private func check(_ actions: [OFAction], _ request: TraceRequest) throws(TraceFailure) -> [OFAction] {
        var actions = actions
        do throws(OFError) {
            try request.target.checkActions(&actions, of: request.flow)
        } catch {
            throw TraceFailure(text: "Bad actions: \(error.name)")
        }
        return actions
    }

    private func parseTrace(_ args: [String]) throws(TraceFailure) -> TraceRequest {
        var words: [String] = []
        var generates = false
        var states: [UInt16] = []
        var i = 0
        while i < args.count {
            let argument = args[i]
            i += 1
            switch argument {
            case "-generate", "--generate": generates = true
            case "-consistent", "--consistent": break
            case "--l7", "--l7-len":
                guard i < args.count else { throw TraceFailure(text: "Missing argument for option \(argument)") }
                i += 1
            case "--ct-next":
                guard i < args.count else { throw TraceFailure(text: "Missing argument for option --ct-next") }
                states.append(try parseState(args[i]))
                i += 1
            default:
                guard !argument.hasPrefix("-") else { throw TraceFailure(text: "\(argument): unknown option") }
                words.append(argument)
            }
        }
        guard words.count <= 3 else { throw TraceFailure(text: "too many arguments") }
        if generates, words.count > 2 { throw TraceFailure(text: "too many arguments") }
        guard let first = words.first else { throw TraceFailure(text: "not enough arguments") }
        try checkPacket(words)

        // A datapath flow, with or without the datapath's name before it.
        let odpWord = words.count >= 2 && !words[0].contains("(") ? words[1] : words[0]
        var request: TraceRequest
        var packetWord: String?
        if let odp = try? ODPFlow(parsing: odpWord), odpWord.contains("(") {
            let named = odpWord != words[0]
            packetWord = words.dropFirst(named ? 2 : 1).first
            let backer: DatapathBacker
            if named {
                guard let dpif = datapath(named: first), let found = fabric.backers[dpif.type] else {
                    throw TraceFailure(text: "Cannot find the datapath")
                }
                backer = found
            } else {
                guard fabric.backers.count == 1, let only = fabric.backers.values.first else {
                    throw TraceFailure(text: "Must specify datapath name, there is more than one type of datapath")
                }
                backer = only
            }
            guard let port = backer.port(of: odp.key) else {
                throw TraceFailure(text: "no OpenFlow port for datapath port \(odp.key.inPort)")
            }
            var flow = odp.key
            flow.inPort = port.number.rawValue
            request = TraceRequest(target: port.owner, flow: flow)
        } else {
            guard words.count >= 2 else {
                throw TraceFailure(text: "syntax error at \(first) (or the bridge name was omitted)")
            }
            guard let target = findSwitch(first) else { throw TraceFailure(text: "\(first): unknown bridge") }
            let flow: FlowKey
            do throws(FlowSyntaxError) {
                flow = try FlowKey(parsing: words[1]) { name in target.port(named: name)?.number }
            } catch {
                throw TraceFailure(text: "Bad openflow flow syntax: \(words[1]): \(error)")
            }
            request = TraceRequest(target: target, flow: flow)
            packetWord = words.dropFirst(2).first
        }
        request.generates = generates
        request.connectionStates = states
        if let packetWord {
            guard let bytes = parseHex(packetWord) else { throw TraceFailure(text: "Trailing garbage in packet data") }
            guard bytes.count >= 14 else { throw TraceFailure(text: "Packet data too short for Ethernet") }
            var packet = Packet(bytes)
            // Registers and metadata belong to the pipeline, not to a packet.
            var flow = request.flow.metadataOnly
            for i in Location.metadata.word..<Location.skbPriority.word { flow.words[i] = 0 }
            flow.conjID = 0
            flow.actsetOutput = 0
            flow.extract(from: &packet, vlanLimit: request.target.backer.vlanLimit)
            request.flow = flow
            request.packet = bytes
        } else if generates {
            // What the headers of a generated packet say counts.
            request.packet = request.flow.composePacket(size: 0).array
        }
        return request
    }

    private func parseState(_ text: String) throws(TraceFailure) -> UInt16 {
        var state: UInt16 = 0
        for word in text.split(whereSeparator: { $0 == "," || $0 == " " }) {
            guard let row = FlagNames.ctState.first(where: { $0.name == word }) else {
                throw TraceFailure(text: "\(word): unknown connection tracking state flag")
            }
            state |= row.bit
        }
        var problems: [String] = []
        if state != 0, state & CTState.tracked == 0 { problems.append("If \"trk\" is unset, no other flags are set") }
        if state & CTState.invalid != 0, state & ~(CTState.tracked | CTState.invalid) != 0 {
            problems.append("when \"inv\" is set, only \"trk\" may also be set")
        }
        if state & CTState.new != 0, state & CTState.established != 0 {
            problems.append("\"new\" and \"est\" are mutually exclusive")
        }
        if state & CTState.new != 0, state & CTState.reply != 0 {
            problems.append("\"new\" and \"rpy\" are mutually exclusive")
        }
        guard problems.isEmpty else {
            let name = FlagNames.text(state, FlagNames.ctState)
            throw TraceFailure(text: problems.map { "\(name): invalid connection state: \($0)" }.joined(separator: "\n"))
        }
        return state
    }

    private func trace(_ request: TraceRequest, actions: [OFAction]?) -> String {
        let target = request.target
        var queue: [OpenFlowSwitch.TraceResult.Recirculation] = []
        var out = tracePass(target, request.flow, packet: request.packet, actions: actions, &queue)
        // Behind the connection tracker it goes on, one pass after the other in the order in which they were asked for.
        var states = request.connectionStates[...]
        var passes = 0
        while !queue.isEmpty, passes < 4096 {
            passes += 1
            let pass = queue.removeFirst()
            out += traceRecirculation(pass, request, actions, &states, &queue)
            target.finish(pass)
        }
        for pass in queue { target.finish(pass) }
        return out
    }

    /// One pass of the datapath.
    private func tracePass(
        _ target: OpenFlowSwitch, _ flow: FlowKey, packet: [UInt8]?, actions: [OFAction]?,
        _ queue: inout [OpenFlowSwitch.TraceResult.Recirculation]
    ) -> String {
        var out = "Flow: \(flow.traceText(ports: target.portNames))\n"
        let result = target.trace(flow, packet: packet, actions: actions)
        result.tree.print(to: &out)
        out += "\nFinal flow: "
        out += result.isUnchanged ? "unchanged" : result.finalFlow.traceText(ports: target.portNames)
        out += "\nMegaflow: \(result.megaflow.text(ports: target.portNames))\n"
        out += "Datapath actions: \(DpAction.text(result.actions))\n"
        if let error = result.error {
            out += "Translation failed (\(error)), packet is dropped.\n"
        } else if !result.slowPath.isEmpty {
            out += "This flow is handled by the userspace slow path because it:\n"
            for reason in result.slowPath.explanations { out += "  - \(reason).\n" }
        }
        queue += result.recirculations
        return out
    }

    private func traceRecirculation(
        _ pending: OpenFlowSwitch.TraceResult.Recirculation, _ request: TraceRequest, _ actions: [OFAction]?,
        _ states: inout ArraySlice<UInt16>, _ queue: inout [OpenFlowSwitch.TraceResult.Recirculation]
    ) -> String {
        let line = String(repeating: "=", count: 79)
        var flow = pending.flow
        var out = "\n\(line)\nrecirc(\(AddressText.hex(pending.id))) - resume conntrack with "
        if let state = states.popFirst() {
            flow.ctState = state
            out += "ct_state=\(FlagNames.text(state, FlagNames.ctState))\n"
        } else {
            flow.ctState = CTState.tracked | CTState.new
            out += "default ct_state=trk|new (use --ct-next to customize)\n"
        }
        flow.ctZone = pending.zone
        if let nat = pending.nat {
            out += "Replacing src/dst IP/ports to simulate NAT:\n Initial flow: "
            out += nat.kind == .none ? "" : addressesText(flow)
            simulate(nat, &flow)
            out += "\n Modified flow: \(nat.kind == .none ? "" : addressesText(flow))\n"
        }
        out += "\(line)\n\n"
        return out + tracePass(request.target, flow, packet: request.packet, actions: actions, &queue)
    }

    private func addressesText(_ flow: FlowKey) -> String {
        flow.ethType == EtherType.ipv6
            ? "ipv6_src=[\(AddressText.ipv6(flow.ipv6Src))],tp_src=\(flow.tpSrc),ipv6_dst=[\(AddressText.ipv6(flow.ipv6Dst))],tp_dst=\(flow.tpDst)"
            : "nw_src=\(AddressText.ipv4(flow.nwSrc)),tp_src=\(flow.tpSrc),nw_dst=\(AddressText.ipv4(flow.nwDst)),tp_dst=\(flow.tpDst)"
    }

    /// The first address and port of the ranges stand for what the tracker would choose.
    private func simulate(_ nat: DpNAT, _ flow: inout FlowKey) {
        if let address = nat.addresses?.lowerBound {
            switch (nat.kind, nat.isIPv6) {
            case (.source, false): flow.nwSrc = UInt32(truncatingIfNeeded: address)
            case (.source, true): flow.ipv6Src = address
            case (.destination, false): flow.nwDst = UInt32(truncatingIfNeeded: address)
            case (.destination, true): flow.ipv6Dst = address
            case (.none, _): break
            }
        }
        if let port = nat.ports?.lowerBound {
            if nat.kind == .source { flow.tpSrc = port } else if nat.kind == .destination { flow.tpDst = port }
        }
    }
}
