// The disciplines that QoS.type names, as traffic control wants them: ovs-vswitchd.conf.db(5), tables QoS and Queue; linux/pkt_sched.h.

import CLinux
import Dpif

/// A discipline with its classes.
struct Discipline {
    /// One class; a queue is the class of its number and one.
    struct Class {
        let minor: UInt32
        /// Nil: right below the discipline.
        let parent: UInt32?
        /// Bytes per second.
        let minimum: UInt64
        let maximum: UInt64
        let burst: UInt64
        let priority: UInt32
    }
    private enum Kind: String { case htb, hfsc, sfq, codel, fq_codel, netem }

    private let type: Kind
    private let options: [String: String]
    private let mtu: UInt64
    let classes: [Class]

    var kind: String { type.rawValue }

    static let types = ["linux-codel", "linux-fq_codel", "linux-hfsc", "linux-htb", "linux-netem", "linux-noop", "linux-sfq"]
    /// The class that bounds all queues together.
    private static let top: UInt32 = 0xfffe

    /// Nil for types that traffic control has none of.
    init?(_ settings: ShapingSettings, mtu: UInt64) {
        guard settings.type.hasPrefix("linux-"), let kind = Kind(rawValue: String(settings.type.dropFirst(6))) else { return nil }
        type = kind
        options = settings.options
        self.mtu = mtu
        guard kind == .htb || kind == .hfsc else {
            classes = []
            return
        }
        func bytes(_ map: [String: String], _ key: String) -> UInt64? { map[key].flatMap { UInt64($0) }.map { $0 / 8 } }
        // Without a rate, that of a card of 100 Mbit/s.
        let total = max(bytes(settings.options, "max-rate") ?? 0, 0) == 0 ? 12_500_000 : bytes(settings.options, "max-rate") ?? 0
        var list = [Class(minor: Self.top, parent: nil, minimum: total, maximum: total, burst: Self.burst(0, total, mtu), priority: 0)]
        var queues = settings.queues
        // Packets that are sent to no queue are queue 0's.
        if queues[0] == nil { queues[0] = [:] }
        for (number, config) in queues.sorted(by: { $0.key < $1.key }) where number < 0xf000 {
            let minimum = min(max(bytes(config, "min-rate") ?? 0, 1500), total)
            let maximum = max(minimum, min(bytes(config, "max-rate") ?? total, total))
            list.append(
                Class(
                    minor: number + 1, parent: Self.top, minimum: minimum, maximum: maximum,
                    burst: Self.burst(bytes(config, "burst") ?? 0, maximum, mtu), priority: config["priority"].flatMap { UInt32($0) } ?? 0))
        }
        classes = list
    }

    /// At least what a tick of the kernel's slowest clock lets through, and a packet.
    private static func burst(_ wanted: UInt64, _ rate: UInt64, _ mtu: UInt64) -> UInt64 { max(wanted, rate / 100, mtu + 64) }

    private func number(_ key: String) -> UInt32? { options[key].flatMap { UInt32($0) } }

    /// TCA_OPTIONS of the discipline.
    func writeOptions(to w: inout NetlinkMessageWriter) {
        switch type {
        case .htb:
            w.flaggedNest(Int(TCA_OPTIONS)) {
                // struct tc_htb_glob: version 3, rate2quantum 10, queue 0's class for all that has none.
                $0.attribute(Int(TCA_HTB_INIT)) { w in for value: UInt32 in [3, 10, 1, 0, 0] { w.host(value) } }
            }
        case .hfsc: w.attribute(Int(TCA_OPTIONS), host: UInt16(1))
        case .sfq:
            // struct tc_sfq_qopt: quantum, perturb_period, limit, divisor, flows.
            w.attribute(Int(TCA_OPTIONS)) {
                for value in [number("quantum") ?? 0, number("perturb") ?? 10, 0, 0, 0] { $0.host(value) }
            }
        case .codel, .fq_codel:
            let isFair = type == .fq_codel
            let rows: [(String, Int, UInt32)] =
                isFair
                ? [
                    ("target", Int(TCA_FQ_CODEL_TARGET), 5000), ("limit", Int(TCA_FQ_CODEL_LIMIT), 10_240),
                    ("interval", Int(TCA_FQ_CODEL_INTERVAL), 100_000), ("flows", Int(TCA_FQ_CODEL_FLOWS), 1024),
                    ("quantum", Int(TCA_FQ_CODEL_QUANTUM), 1514),
                ]
                : [
                    ("target", Int(TCA_CODEL_TARGET), 5000), ("limit", Int(TCA_CODEL_LIMIT), 1000),
                    ("interval", Int(TCA_CODEL_INTERVAL), 100_000),
                ]
            w.flaggedNest(Int(TCA_OPTIONS)) { for (key, attribute, usual) in rows { $0.attribute(attribute, host: number(key) ?? usual) } }
        case .netem:
            let clock = SchedulerClock.shared
            let loss = Double(options["loss"] ?? "0") ?? 0
            // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
            w.attribute(Int(TCA_OPTIONS)) {
                $0.host(clock.ticks(microseconds: number("latency") ?? 0))
                $0.host(number("limit") ?? 1000)
                $0.host(UInt32(min(max(loss, 0), 100) / 100 * Double(UInt32.max)))
                $0.host(UInt32(0))
                $0.host(UInt32(0))
                $0.host(clock.ticks(microseconds: number("jitter") ?? 0))
            }
        }
    }

    /// TCA_OPTIONS of a class.
    func write(_ item: Class, to w: inout NetlinkMessageWriter) {
        let clock = SchedulerClock.shared
        if type == .hfsc {
            // struct tc_service_curve: m1, d, m2.
            func curve(_ attribute: Int, _ rate: UInt64) {
                w.attribute(attribute) { for v in [0, 0, UInt32(clamping: rate)] { $0.host(v) } }
            }
            if item.parent != nil { curve(Int(TCA_HFSC_RSC), item.minimum) }
            curve(Int(TCA_HFSC_FSC), item.minimum)
            curve(Int(TCA_HFSC_USC), item.maximum)
            return
        }
        // struct tc_htb_opt
        w.attribute(Int(TCA_HTB_PARMS)) {
            clock.writeRate(item.minimum, to: &$0)
            clock.writeRate(item.maximum, to: &$0)
            $0.host(clock.ticks(item.burst, at: item.minimum))
            $0.host(clock.ticks(item.burst, at: item.maximum))
            $0.host(UInt32(clamping: mtu + 64))
            $0.host(UInt32(0))
            $0.host(item.priority)
        }
        w.attribute(Int(TCA_HTB_RTAB)) { clock.writeTable(item.minimum, to: &$0) }
        w.attribute(Int(TCA_HTB_CTAB)) { clock.writeTable(item.maximum, to: &$0) }
        if item.minimum > UInt64(UInt32.max) { w.attribute(Int(TCA_HTB_RATE64), host: item.minimum) }
        if item.maximum > UInt64(UInt32.max) { w.attribute(Int(TCA_HTB_CEIL64), host: item.maximum) }
    }
}
