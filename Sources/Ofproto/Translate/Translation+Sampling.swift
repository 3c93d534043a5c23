// Sampling: which packets the datapath sends up, beside what else becomes of them, so that sFlow and IPFIX can tell of them.
//
// A bridge's sFlow and IPFIX sample packets as they come in, before all other actions; its IPFIX also samples them where they leave; and
// `sample` actions sample where they stand. The packets come back to `DatapathBacker.export`.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    /// Begins the actions with what samples packets that come in.
    func sampleInput() {
        guard OFPort(flow.inPort) != .none else { return }
        let bridge = UInt32(truncatingIfNeeded: owner.id)
        if let settings = owner.sFlow?.settings, settings.probability > 0 {
            // Completed when it is known what becomes of the packet.
            sample(settings.probability, .sFlow(bridge: bridge, vid: 0, pcp: 0, output: SFlowOutput.dropped))
            hasSFlowSample = true
        }
        if let settings = owner.ipfix?.bridgeExporter?.settings, settings.samplesInput {
            sample(settings.probability, .ipfix(bridge: bridge, output: .max, tunnel: nil))
        }
    }

    /// Samples packets that leave by a port of the datapath.
    func sampleOutput(_ number: UInt32, isTunnel: Bool) {
        guard let settings = owner.ipfix?.bridgeExporter?.settings, settings.samplesOutput else { return }
        sample(
            settings.probability,
            .ipfix(bridge: UInt32(truncatingIfNeeded: owner.id), output: number, tunnel: isTunnel && settings.samplesTunnels ? number : nil)
        )
    }

    /// The packet leaves by a port, as sFlow counts.
    func countOutput(_ port: SwitchPort) {
        sFlowOutput.count += 1
        sFlowOutput.port = port
    }

    /// Tells sFlow's sample what became of the packet.
    func completeSFlowSample() {
        guard hasSFlowSample, !actions.isEmpty else { return }
        // Ports of other bridges are not this agent's to name.
        let port = sFlowOutput.port.flatMap { $0.owner === firstOwner ? $0 : nil }
        let index = port.map { UInt32(truncatingIfNeeded: $0.device.interfaceIndex) } ?? 0
        let action = UserspaceAction.sFlow(
            bridge: UInt32(truncatingIfNeeded: firstOwner.id), vid: base.vlanTCI & 0xfff, pcp: UInt8(base.vlanTCI >> 13),
            output: SFlowOutput.value(count: sFlowOutput.count, index: index))
        switch actions[0] {
        case .sample(let probability, let inner): actions[0] = .sample(probability: probability, inner.dropLast() + [.userspace(action)])
        default: actions[0] = .userspace(action)
        }
    }

    /// OpenFlow's `sample`.
    func executeSample(_ action: SampleAction) {
        guard let exporters = owner.ipfix else { return }
        var flowSample = FlowSample()
        var tunnel: TunnelSettings?
        if action.samplingPort != .none, action.samplingPort.rawValue != flow.inPort {
            guard let port = owner.port(action.samplingPort), let number = port.datapathPort else {
                report(.error, "can't use unknown port \(action.samplingPort.rawValue) in flow sample action")
                return
            }
            flowSample.output = number
            if port.tunnel != nil, exporters.flowExporters[action.collectorSet]?.settings.samplesTunnels == true {
                flowSample.tunnel = number
                tunnel = port.tunnel
            }
        }
        flowSample.bridge = UInt32(truncatingIfNeeded: owner.id)
        flowSample.probability = action.probability
        flowSample.collectorSet = action.collectorSet
        flowSample.domain = action.observationDomain
        flowSample.point = action.observationPoint
        flowSample.direction = UserspaceAction.Direction(rawValue: action.direction.rawValue) ?? .unspecified
        commit()
        // A datapath that puts the header on by itself has to know it to tell of it.
        if let tunnel, !capabilities.tunnelPushPop { describeTunnel(tunnel) }
        sample(UInt32(action.probability) << 16 | UInt32(action.probability), .flowSample(flowSample))
    }

    /// Sends packets up, all of them or by chance.
    private func sample(_ probability: UInt32, _ action: UserspaceAction) {
        guard probability > 0 else { return }
        let meter = owner.datapathMeter(MeterMod.slowPath).flatMap { capabilities.meters ? DpAction.meter($0) : nil }
        if probability == .max, meter == nil {
            actions.append(.userspace(action))
        } else {
            actions.append(.sample(probability: probability, (meter.map { [$0] } ?? []) + [.userspace(action)]))
        }
    }
}

extension DatapathBacker {
    /// A packet that was sampled came up.
    func export(_ action: UserspaceAction, _ upcall: Upcall, _ packet: borrowing Packet) {
        let key = upcall.key
        let number: UInt32
        switch action {
        case .sFlow(let bridge, _, _, _), .ipfix(let bridge, _, _): number = bridge
        case .flowSample(let sample): number = sample.bridge
        case .slowPath, .controller: return
        }
        guard let owner = openFlowSwitch(id: Int(number)) else { return }
        let input = port(of: key)
        if case .sFlow(_, let vid, let pcp, let output) = action {
            owner.sFlow?.sample(packet.array, key, input: input, tag: (vid: vid, pcp: pcp), output: output, upcall.actions)
            return
        }
        let sampled = SampledPacket(
            owner: owner, key: key, size: packet.count, input: input?.owner === owner ? input : nil, actions: upcall.actions,
            egressTunnel: upcall.egressTunnel)
        switch action {
        case .ipfix(_, let output, _): owner.ipfix?.sampleBridge(sampled, output: output)
        case .flowSample(let sample): owner.ipfix?.sampleFlow(sampled, sample)
        case .sFlow, .slowPath, .controller: break
        }
    }
}
