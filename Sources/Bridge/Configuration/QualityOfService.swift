// QoS: what the QoS and Queue rows of ports and the policing columns of interfaces say, given to whoever shapes interfaces.

import Dpif
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

    init(_ shaper: any TrafficShaping) { self.shaper = shaper }

    /// What the rows say of one interface, whose device the kernel has.
    func configure(_ name: String, port: OVSDBRow?, interface: OVSDBRow?, client: OVSDBClient) {
        var shaping: ShapingSettings?
        if let id = port?.optionalUUID("qos"), let qos = client.row("QoS", id) {
            var queues: [UInt32: [String: String]] = [:]
            for (number, id) in qos.uuidMap("queues") {
                guard let number = UInt32(exactly: number), let row = client.row("Queue", id) else { continue }
                queues[number] = row.map("other_config")
            }
            shaping = ShapingSettings(type: qos.string("type"), options: qos.map("other_config"), queues: queues)
        }
        if shaping != shaped[name] {
            shaped[name] = shaping
            report(name, "QoS") { () throws(DpifError) in try shaper.setShaping(shaping, on: name) }
        }
        let rate = interface?.integer("ingress_policing_rate") ?? 0
        let burst = interface?.integer("ingress_policing_burst") ?? 0
        let policing = rate > 0 ? PolicingSettings(rate: UInt32(clamping: rate), burst: UInt32(clamping: burst)) : nil
        if policing != policed[name] {
            policed[name] = policing
            report(name, "policing") { () throws(DpifError) in try shaper.setPolicing(policing, on: name) }
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
            if shaped.removeValue(forKey: name) != nil { try? shaper.setShaping(nil, on: name) }
            if policed.removeValue(forKey: name) != nil { try? shaper.setPolicing(nil, on: name) }
        }
    }
}
