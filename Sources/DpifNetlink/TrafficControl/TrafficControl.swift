// QoS by the kernel's traffic control (tc(8), rtnetlink(7)): disciplines and their classes for what leaves an interface, a policer for what
// enters it.

import CLinux
import CMnl
import Dpif
import Glibc
import Vlog

/// Sets disciplines. Confined to the main thread.
public final class TrafficControl: TrafficShaping {
    static let log = Vlog.module("netdev_linux")
    private let transport: NetlinkTransport

    /// Throws what opening a netlink socket does.
    public init() throws(DpifError) { transport = NetlinkTransport(try MnlChannel(NETLINK_ROUTE)) }

    public var types: [String] { Discipline.types }

    // MARK: Requests

    private static let root = UInt32.max
    private static let ingressParent: UInt32 = 0xffff_fff1
    private static let ingressHandle: UInt32 = 0xffff_0000
    private static let rootHandle: UInt32 = 1 << 16

    /// A message with its struct tcmsg.
    private func request(_ type: Int, _ flags: Int32, _ interface: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0)
        -> NetlinkMessageWriter
    {
        var w = NetlinkMessageWriter(type: UInt16(type), flags: UInt16(flags))
        w.raw([UInt8(AF_UNSPEC), 0, 0, 0])
        w.host(interface)
        w.host(handle)
        w.host(parent)
        w.host(info)
        return w
    }

    private func index(_ interface: String) throws(DpifError) -> Int32 {
        let n = if_nametoindex(interface)
        guard n != 0 else { throw DpifError(ENODEV, "interface \(interface)") }
        return Int32(n)
    }

    /// Removes a discipline; that there is none is no error.
    private func remove(_ interface: Int32, handle: UInt32, parent: UInt32) {
        _ = try? transport.transact(request(RTM_DELQDISC, 0, interface, handle: handle, parent: parent), "qdisc")
    }

    // MARK: Shaping

    public func setShaping(_ settings: ShapingSettings?, on interface: String) throws(DpifError) {
        let index = try index(interface)
        remove(index, handle: 0, parent: Self.root)
        guard let settings, settings.type != "linux-noop", settings.type != "" else { return }
        guard let discipline = Discipline(settings, mtu: 1500) else {
            throw DpifError(EOPNOTSUPP, "QoS type \(settings.type) of \(interface)")
        }
        var w = request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index, handle: Self.rootHandle, parent: Self.root)
        w.attribute(Int(TCA_KIND), string: discipline.kind)
        discipline.writeOptions(to: &w)
        try transport.transact(w, "QoS type \(settings.type) of \(interface)")
        for item in discipline.classes {
            var w = request(
                RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL, index, handle: Self.rootHandle | item.minor,
                parent: item.parent.map { Self.rootHandle | $0 } ?? Self.rootHandle)
            w.attribute(Int(TCA_KIND), string: discipline.kind)
            w.flaggedNest(Int(TCA_OPTIONS)) { discipline.write(item, to: &$0) }
            try transport.transact(w, "queue \(Int(item.minor) - 1) of \(interface)")
        }
    }

    public func queues(of interface: String) -> [UInt32: QueueCounters] {
        guard let index = try? index(interface) else { return [:] }
        var found: [UInt32: QueueCounters] = [:]
        try? transport.dump(request(RTM_GETTCLASS, 0, index, handle: 0, parent: 0), "queues of \(interface)") { message in
            guard let attributes = try? message.attributes(after: 20), let handle = UInt32(host: message.payload.dropFirst(8)),
                handle & 0xffff_0000 == Self.rootHandle, case let minor = handle & 0xffff, minor > 0, minor <= 0xf000
            else { return }
            var counters = QueueCounters()
            for part in (try? attributes[Int(TCA_STATS2)]?.nested().all) ?? [] {
                switch part.type {
                case Int(TCA_STATS_BASIC):
                    counters.bytes = UInt64(host: part.payload) ?? 0
                    counters.packets = UInt64(UInt32(host: part.payload.dropFirst(8)) ?? 0)
                case Int(TCA_STATS_QUEUE): counters.dropped = UInt64(UInt32(host: part.payload.dropFirst(8)) ?? 0)
                default: break
                }
            }
            found[minor - 1] = counters
        }
        return found
    }

    // MARK: Policing

    public func setPolicing(_ settings: PolicingSettings?, on interface: String) throws(DpifError) {
        let index = try index(interface)
        remove(index, handle: Self.ingressHandle, parent: Self.ingressParent)
        guard let settings, !settings.isUnlimited else { return }
        var w = request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index, handle: Self.ingressHandle, parent: Self.ingressParent)
        w.attribute(Int(TCA_KIND), string: "ingress")
        try transport.transact(w, "policing of \(interface)")
        // Every packet, of whatever protocol: ETH_P_ALL in network order, and the priority that the real daemon takes.
        w = request(
            RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, index, handle: 0, parent: Self.ingressHandle,
            info: 49 << 16 | UInt32(UInt16(ETH_P_ALL).bigEndian))
        w.attribute(Int(TCA_KIND), string: "matchall")
        w.flaggedNest(Int(TCA_OPTIONS)) {
            $0.flaggedNest(Int(TCA_MATCHALL_ACT)) {
                // The kernel has no policer of both; what the first lets through, the second looks at.
                if settings.rate > 0 {
                    Self.policer(1, to: &$0) { Self.writeLimit(settings, isLast: settings.packetRate == 0, to: &$0) }
                }
                if settings.packetRate > 0 { Self.policer(settings.rate > 0 ? 2 : 1, to: &$0) { Self.writePacketLimit(settings, to: &$0) } }
            }
        }
        try transport.transact(w, "policing of \(interface)")
    }

    /// One action of a filter's list, whose places have no gaps.
    private static func policer(_ place: Int, to w: inout NetlinkMessageWriter, _ fill: (inout NetlinkMessageWriter) -> Void) {
        w.flaggedNest(place) {
            $0.attribute(Int(TCA_ACT_KIND), string: "police")
            $0.flaggedNest(Int(TCA_ACT_OPTIONS), fill)
        }
    }

    /// A limit of bytes: what is beyond the rate is dropped.
    private static func writeLimit(_ settings: PolicingSettings, isLast: Bool, to w: inout NetlinkMessageWriter) {
        let clock = SchedulerClock.shared
        let rate = UInt64(settings.rate) * 125
        w.attribute(Int(TCA_POLICE_TBF)) {
            writePolice(rate: rate, burst: clock.ticks(UInt64(settings.effectiveBurst) * 125, at: rate), to: &$0)
        }
        w.attribute(Int(TCA_POLICE_RATE)) { clock.writeTable(rate, to: &$0) }
        // What is within the rate goes on.
        w.attribute(Int(TCA_POLICE_RESULT), host: Int32(isLast ? TC_ACT_UNSPEC : TC_ACT_PIPE))
    }

    /// A limit of packets, for kernels since 5.11.
    private static func writePacketLimit(_ settings: PolicingSettings, to w: inout NetlinkMessageWriter) {
        let rate = UInt64(settings.packetRate) * 1000
        w.attribute(Int(TCA_POLICE_TBF)) { writePolice(rate: 0, burst: 0, to: &$0) }
        w.attribute(Int(TCA_POLICE_PKTRATE64), host: rate)
        let burst = SchedulerClock.shared.ticks(UInt64(settings.effectivePacketBurst) * 1000, at: rate)
        w.attribute(Int(TCA_POLICE_PKTBURST64), host: UInt64(burst))
        w.attribute(Int(TCA_POLICE_RESULT), host: Int32(TC_ACT_UNSPEC))
    }

    /// struct tc_police
    private static func writePolice(rate: UInt64, burst: UInt32, to w: inout NetlinkMessageWriter) {
        w.host(UInt32(0))
        w.host(Int32(TC_ACT_SHOT))
        w.host(UInt32(0))
        w.host(burst)
        w.host(UInt32(65_535))
        if rate > 0 { SchedulerClock.shared.writeRate(rate, to: &w) } else { w.zeros(12) }
        // No peak rate; then counts that are the kernel's.
        w.zeros(12)
        w.zeros(12)
    }
}
