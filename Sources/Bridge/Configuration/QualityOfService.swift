// QoS: what the QoS and Queue rows of ports and the policing columns of interfaces say, given to whoever shapes interfaces.

import Dpif
import Netdev
import Ofproto
import OVSDB
import Vlog

/// Applies shaping and policing when rows change. Confined to the main thread.
final class QualityOfService {
    private static let log = Vlog.module("bridge")
    private let shaper: any TrafficShaping
    /// What interfaces were given, so that a discipline is not made anew, and its packets lost, without need.
    private var shaped: [String: ShapingSettings] = [:]
    private var policed: [String: PolicingSettings] = [:]
    /// When interfaces were given their disciplines.
    private var shapedAt: [String: Int64] = [:]
    private let time: TimeSource

    init(_ shaper: any TrafficShaping, time: TimeSource) {
        self.shaper = shaper
        self.time = time
    }

    /// What the rows say of one interface.
    func configure(_ device: any PortDevice, port: OVSDBRow?, interface: OVSDBRow?, client: OVSDBClient) {
        if let device = device as? InterfaceDevice { shape(device, port, client) }
        police(device, interface)
    }

    private func shape(_ device: InterfaceDevice, _ port: OVSDBRow?, _ client: OVSDBClient) {
        let name = device.name
        var shaping: ShapingSettings?
        if let id = port?.optionalUUID("qos"), let qos = client.row("QoS", id) {
            var queues: [UInt32: [String: String]] = [:]
            for (number, id) in qos.uuidMap("queues") {
                guard let number = UInt32(exactly: number), let row = client.row("Queue", id) else { continue }
                queues[number] = row.map("other_config")
            }
            shaping = ShapingSettings(type: qos.string("type"), options: qos.map("other_config"), queues: queues)
        }
        device.queueReader = shaping == nil ? nil : { [weak self] in self?.queues(of: name) ?? [:] }
        guard shaping != shaped[name] else { return }
        shaped[name] = shaping
        shapedAt[name] = time.now
        report(name, "QoS") { () throws(DpifError) in try shaper.setShaping(shaping, on: name) }
    }

    private func queues(of name: String) -> [UInt32: QueueCounters] {
        shaper.queues(of: name).mapValues {
            var queue = $0
            queue.created = shapedAt[name]
            return queue
        }
    }

    private func police(_ device: any PortDevice, _ row: OVSDBRow?) {
        let name = device.name
        func number(_ column: String) -> UInt32 { UInt32(clamping: row?.integer(column) ?? 0) }
        var policing = PolicingSettings(rate: number("ingress_policing_rate"), burst: number("ingress_policing_burst"))
        policing.packetRate = number("ingress_policing_kpkts_rate")
        policing.packetBurst = number("ingress_policing_kpkts_burst")
        let wanted = policing.isUnlimited ? nil : policing
        if let own = (device as? any PolicedDevice)?.policer {
            // Goes with the device.
            own.set(wanted)
        } else if device is InterfaceDevice, wanted != policed[name] {
            policed[name] = wanted
            report(name, "policing") { () throws(DpifError) in try shaper.setPolicing(wanted, on: name) }
        }
    }

    /// The discipline that an interface was given.
    func shaping(of name: String) -> ShapingSettings? { shaped[name] }

    private func report(_ name: String, _ what: String, _ body: () throws(DpifError) -> Void) {
        do throws(DpifError) { try body() } catch { Self.log.warn("interface \(name): \(what): \(error)") }
    }

    /// Takes along what an interface was given, when it is no port any more.
    func forget(except names: Set<String>) {
        for name in Set(shaped.keys).union(policed.keys) where !names.contains(name) {
            shapedAt[name] = nil
            if shaped.removeValue(forKey: name) != nil { try? shaper.setShaping(nil, on: name) }
            if policed.removeValue(forKey: name) != nil { try? shaper.setPolicing(nil, on: name) }
        }
    }
}
