// IPFIX of a bridge: an exporter for all of its packets, and one for each set of collectors that `sample` actions name.

import Dpif
import Flow
import OpenFlow
import Packet
import Synchronization

/// The exporters of one bridge. Confined to the main thread.
public final class IPFIX {
    private static let lastID = Atomic<UInt32>(0)

    private static func newID() -> UInt32 { lastID.add(1, ordering: .relaxed).newValue }

    /// Kept for the exporter of the bridge, whether there is one or not.
    fileprivate let bridgeID = IPFIX.newID()
    fileprivate(set) var bridgeExporter: IPFIXExporter?
    fileprivate(set) var flowExporters: [UInt32: IPFIXExporter] = [:]

    fileprivate var isEmpty: Bool { bridgeExporter == nil && flowExporters.isEmpty }

    fileprivate func setFlowExporters(
        _ wanted: [UInt32: IPFIXSettings], time: TimeSource, send: @escaping (UInt32?) -> ([UInt8]) -> (sent: Int, failed: Int)
    ) {
        for (id, exporter) in flowExporters where wanted[id] == nil {
            exporter.end()
            flowExporters[id] = nil
        }
        for (id, settings) in wanted.sorted(by: { $0.key < $1.key }) {
            if let exporter = flowExporters[id] {
                exporter.update(settings)
            } else {
                flowExporters[id] = IPFIXExporter(settings, id: Self.newID(), time: time, send: send(id))
            }
        }
    }

    fileprivate func setBridgeExporter(_ settings: IPFIXSettings?, time: TimeSource, send: @escaping ([UInt8]) -> (sent: Int, failed: Int))
    {
        if let settings, let bridgeExporter {
            bridgeExporter.update(settings)
        } else {
            bridgeExporter?.end()
            bridgeExporter = settings.map { IPFIXExporter($0, id: bridgeID, time: time, send: send) }
        }
    }

    /// What the bridge's exporter did; nil: there is none.
    public var bridgeStatistics: IPFIXStatistics? { bridgeExporter?.statistics }
    /// What the exporters of sets of collectors did, by the sets' numbers.
    public var flowStatistics: [(set: UInt32, statistics: IPFIXStatistics)] {
        flowExporters.sorted { $0.key > $1.key }.map { ($0.key, $0.value.statistics) }
    }

    /// Does what is due.
    func run() {
        bridgeExporter?.run()
        for exporter in flowExporters.values { exporter.run() }
    }

    /// A packet that a `sample` of translation's own sent up.
    func sampleBridge(_ packet: SampledPacket, output: UInt32) {
        guard let exporter = bridgeExporter, !packet.isBFD else { return }
        let settings = exporter.settings
        exporter.add(
            packet.sample(
                output: output, direction: .unspecified, domain: settings.domain, point: settings.point,
                weight: UInt64(UInt32.max / max(1, settings.probability)), tunnels: settings.samplesTunnels))
    }

    /// A packet that a flow's `sample` sent up.
    func sampleFlow(_ packet: SampledPacket, _ flow: FlowSample) {
        guard let exporter = flowExporters[flow.collectorSet] else { return }
        exporter.add(
            packet.sample(
                output: flow.output, direction: flow.direction, domain: flow.domain, point: flow.point,
                weight: UInt64(UInt16.max / max(1, flow.probability)), tunnels: exporter.settings.samplesTunnels))
    }
}

extension IPFIXExporter {
    /// Takes other settings; flows that wait go as they were counted.
    fileprivate func update(_ settings: IPFIXSettings) {
        guard settings != self.settings else { return }
        end()
        self.settings = settings
    }
}

/// A packet that came up to be told of, with what was found out about it.
struct SampledPacket {
    let owner: OpenFlowSwitch
    let key: FlowKey
    let size: Int
    /// Nil: it is a port of another bridge.
    let input: SwitchPort?
    /// Its flow's; empty where they are not known.
    let actions: [DpAction]
    /// The header that a tunnel puts before it, where the datapath says so.
    let egressTunnel: FlowKey?

    /// Bidirectional forwarding detection looks after links, and is no traffic.
    var isBFD: Bool { key.ethType == EtherType.ipv4 && key.nwProto == IPProtocol.udp && key.tpDst == 3784 }

    func sample(
        output number: UInt32, direction: UserspaceAction.Direction, domain: UInt32, point: UInt32, weight: UInt64, tunnels: Bool
    ) -> IPFIXSample {
        let output = number == .max ? nil : owner.portsInOrder.first { $0.datapathPort == number }
        var tunnel: (OuterHeader, TunnelSettings)?
        if tunnels, number == .max, key.tunDst != 0, let settings = input?.tunnel {
            tunnel = (OuterHeader(key, ipProtocol: settings.ipProtocol), settings)
        } else if tunnels, number != .max, let header = egressTunnel, header.tunDst != 0, let settings = output?.tunnel {
            tunnel = (OuterHeader(header, ipProtocol: settings.ipProtocol), settings)
        }
        return IPFIXSample(
            key: key, size: size, input: input, output: output, isOutput: number != .max, direction: direction, domain: domain,
            point: point,
            weight: weight, isDropped: !actions.isEmpty && !actions.contains(where: \.sends), tunnel: tunnel)
    }
}

extension DpAction {
    /// Packets leave by it, or may.
    fileprivate var sends: Bool {
        switch self {
        case .output, .lbOutput, .recirc, .tunnelPush, .tunnelPop: true
        case .clone(let inner), .sample(_, let inner): inner.contains(where: \.sends)
        case .checkPacketLength(_, let greater, let less): (greater + less).contains(where: \.sends)
        default: false
        }
    }
}

extension OpenFlowSwitch {
    /// Exports with these settings, or not at all.
    /// - Parameter sets: the exporters of flows, by the numbers of sets of collectors.
    /// - Parameter send: makes what gets the datagrams of an exporter, nil for the bridge's; only used when exporting begins.
    public func setIPFIX(
        bridge: IPFIXSettings?, sets: [UInt32: IPFIXSettings], send: @escaping (UInt32?) -> ([UInt8]) -> (sent: Int, failed: Int)
    ) {
        let before = (ipfix?.bridgeExporter?.settings, ipfix?.flowExporters.mapValues(\.settings) ?? [:])
        guard before != (bridge, sets) else { return }
        let exporters = ipfix ?? IPFIX()
        exporters.setBridgeExporter(bridge, time: time, send: send(nil))
        exporters.setFlowExporters(sets, time: time, send: send)
        ipfix = exporters.isEmpty ? nil : exporters
        backer.changed()
    }
}
