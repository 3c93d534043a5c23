// The kernel's connection tracker: its connections by ctnetlink, its settings by sysctl, limits of zones by the openvswitch module
// (family ovs_ct_limit), timeout policies by cttimeout.

import CLinux
import Dpif
import Glibc
import Vlog

/// Connections of the kernel's tracker, which all of the network namespace share. Confined to the main thread.
final class KernelConntrack: DpifConntrack {
    private static let log = Vlog.module("netlink_conntrack")
    private let netfilter: NetlinkTransport
    private let generic: NetlinkTransport
    private let limitFamily: GenericFamily?
    private let datapath: Int32

    init(_ kernel: KernelConnection, datapath: Int32) {
        netfilter = kernel.netfilter
        generic = kernel.generic
        limitFamily = kernel.families.conntrackLimit
        self.datapath = datapath
    }

    /// A message of a subsystem of nfnetlink, with its header (struct nfgenmsg).
    static func request(_ subsystem: Int32, _ command: UInt32, family: Int32 = AF_UNSPEC, flags: Int32 = 0) -> NetlinkMessageWriter {
        var w = NetlinkMessageWriter(type: UInt16(subsystem) << 8 | UInt16(command), flags: UInt16(flags))
        w.raw([UInt8(family), UInt8(NFNETLINK_V0)])
        w.network(UInt16(0))
        return w
    }

    func connections(zone: UInt16?) -> [ConntrackEntry] {
        var list: [ConntrackEntry] = []
        do throws(DpifError) {
            let w = Self.request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET.rawValue)
            try netfilter.dump(w, "connections") { message in
                guard let entry = try? ConntrackEntryCodec.entry(message), zone == nil || entry.zone == zone else { return }
                list.append(entry)
            }
        } catch {
            Self.log.warn("\(error)")
        }
        return list
    }

    func flush(zone: UInt16?) {
        do throws(DpifError) {
            guard zone != nil else {
                try netfilter.transact(Self.request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE.rawValue), "connections")
                return
            }
            // There is no message for one zone alone.
            let doomed = connections(zone: zone)
            for case .failure(let error) in netfilter.batch(doomed.map { deletion($0.original, zone: $0.zone) }) where error.errno != ENOENT
            {
                throw error
            }
        } catch {
            Self.log.warn("flushing connections: \(error)")
        }
    }

    private func deletion(_ tuple: ConntrackEntry.Tuple, zone: UInt16) -> NetlinkMessageWriter {
        var w = Self.request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE.rawValue, family: tuple.isIPv6 ? AF_INET6 : AF_INET)
        ConntrackEntryCodec.write(tuple, to: &w)
        // Kernels without zones know no attribute for them.
        if zone != 0 { w.attribute(Int(CTA_ZONE.rawValue), network: zone) }
        return w
    }

    func flush(_ tuple: ConntrackEntry.Tuple, zone: UInt16?) throws(DpifError) {
        try netfilter.transact(deletion(tuple, zone: zone ?? 0), "connection")
    }

    // MARK: Settings

    private static func setting(_ name: String) -> UInt32? {
        guard let f = fopen("/proc/sys/net/netfilter/\(name)", "r") else { return nil }
        defer { fclose(f) }
        var buffer = [CChar](repeating: 0, count: 32)
        guard fgets(&buffer, 32, f) != nil else { return nil }
        return UInt32(String(decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    private static func set(_ name: String, _ value: UInt32) {
        guard let f = fopen("/proc/sys/net/netfilter/\(name)", "w") else {
            log.warn("net.netfilter.\(name): \(DpifError.reason(errno))")
            return
        }
        fputs("\(value)\n", f)
        fclose(f)
    }

    var connectionCount: Int { Int(Self.setting("nf_conntrack_count") ?? 0) }
    var maxConnections: UInt32 {
        get { Self.setting("nf_conntrack_max") ?? 0 }
        set { Self.set("nf_conntrack_max", newValue) }
    }
    var checksTCPSequence: Bool {
        get { Self.setting("nf_conntrack_tcp_be_liberal") == 0 }
        set { Self.set("nf_conntrack_tcp_be_liberal", newValue ? 0 : 1) }
    }

    // MARK: Limits

    private func limits(_ command: ovs_ct_limit_cmd, _ zones: [(zone: Int32, limit: UInt32)], _ what: String) throws(DpifError)
        -> [NetlinkMessage]
    {
        guard let limitFamily else { throw DpifError(EOPNOTSUPP, "\(what): the kernel has no limits of zones") }
        var w = NetlinkMessageWriter(
            family: limitFamily.id, command: command.rawValue, version: UInt8(OVS_CT_LIMIT_VERSION), flags: UInt16(NLM_F_ECHO),
            datapath: datapath)
        if !zones.isEmpty {
            w.nest(Int(OVS_CT_LIMIT_ATTR_ZONE_LIMIT.rawValue)) {
                for (zone, limit) in zones {
                    // struct ovs_zone_limit
                    $0.host(zone)
                    $0.host(limit)
                    $0.host(UInt32(0))
                }
            }
        }
        return try generic.transact(w, what)
    }

    /// Those of the zones, or all, with the default's zone as -1.
    private func readLimits(_ zones: [Int32] = []) -> [(zone: Int32, limit: UInt32, count: UInt32)] {
        guard let message = try? limits(OVS_CT_LIMIT_CMD_GET, zones.map { ($0, 0) }, "limits of zones").first,
            let bytes = try? message.attributes(after: 8)[Int(OVS_CT_LIMIT_ATTR_ZONE_LIMIT.rawValue)]?.payload
        else { return [] }
        var list: [(Int32, UInt32, UInt32)] = []
        var rest = bytes
        while let zone = Int32(host: rest.prefix(4)), let limit = UInt32(host: rest.dropFirst(4)),
            let count = UInt32(host: rest.dropFirst(8))
        {
            list.append((zone, limit, count))
            rest = rest.dropFirst(12)
        }
        return list
    }

    private func change(_ command: ovs_ct_limit_cmd, _ zone: Int32, _ limit: UInt32) {
        do throws(DpifError) { _ = try limits(command, [(zone, limit)], "limit of zone \(zone)") } catch { Self.log.warn("\(error)") }
    }

    var defaultZoneLimit: UInt32 {
        get { readLimits([OVS_ZONE_LIMIT_DEFAULT_ZONE]).first { $0.zone == OVS_ZONE_LIMIT_DEFAULT_ZONE }?.limit ?? 0 }
        set { change(OVS_CT_LIMIT_CMD_SET, OVS_ZONE_LIMIT_DEFAULT_ZONE, newValue) }
    }
    var zoneLimits: [ConntrackZoneLimit] {
        readLimits().compactMap { row in UInt16(exactly: row.zone).map { ConntrackZoneLimit(zone: $0, limit: row.limit, count: row.count) }
        }
    }
    func zoneLimit(_ zone: UInt16) -> ConntrackZoneLimit {
        let found = readLimits([Int32(zone)]).first { $0.zone == Int32(zone) }
        return ConntrackZoneLimit(zone: zone, limit: found?.limit ?? 0, count: found?.count ?? 0)
    }
    func setZoneLimit(_ zone: UInt16, _ limit: UInt32?) {
        if let limit { change(OVS_CT_LIMIT_CMD_SET, Int32(zone), limit) } else { change(OVS_CT_LIMIT_CMD_DEL, Int32(zone), 0) }
    }

    /// A policy of the kernel is of one protocol over IPv4 or IPv6, and has the name NAME_PROTOCOL.
    var hasPoliciesByProtocol: Bool { true }

    func setTimeoutPolicy(_ name: String, _ timeouts: [String: UInt32]?) {
        do throws(DpifError) {
            try TimeoutPolicies(transport: netfilter).set(name, timeouts)
        } catch {
            Self.log.warn("timeout policy \(name): \(error)")
        }
    }

    // MARK: Fragments

    /// The kernel puts fragments together by itself, and counts them elsewhere.
    var fragments: FragmentStatus { FragmentStatus() }
    func setFragmentReassembly(ipv6: Bool, enabled: Bool) {}
    func setMinimumFragment(ipv6: Bool, _ size: Int) throws(DpifError) {
        throw DpifError(EOPNOTSUPP, "minimum fragment size in the kernel")
    }
    func setMaximumFragments(_ count: Int) throws(DpifError) { throw DpifError(EOPNOTSUPP, "maximum fragments in the kernel") }
}
