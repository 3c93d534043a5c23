// The records that samples of sFlow consist of: sflow_version_5.txt, sflow_tunnels.txt, sflow_openflow.txt, sflow_host.txt and
// what Open vSwitch has of its own.

import Dpif
import Flow
import Glibc
import OpenFlow

enum SFlowRecords {
    struct Record {
        let type: UInt32
        var body = WireWriter()

        init(_ type: UInt32, _ fill: (inout WireWriter) -> Void) {
            self.type = type
            fill(&body)
        }
    }

    // MARK: Packets

    /// What is told of a packet.
    static func flow(
        _ packet: [UInt8], _ key: FlowKey, input: SwitchPort?, tag: (vid: UInt16, pcp: UInt8), output: UInt32, _ actions: [DpAction],
        headerSize: Int
    ) -> [Record] {
        var records = [
            Record(1001) { w in
                w.u32(UInt32(key.vlanTCI & 0xfff))
                w.u32(UInt32(key.vlanTCI >> 13))
                w.u32(UInt32(tag.vid))
                w.u32(UInt32(tag.pcp))
            },
            Record(1) { w in
                let header = packet.prefix(headerSize)
                // Ethernet, whose checksum counts for the length and is not there.
                w.u32(1)
                w.u32(UInt32(packet.count) + 4)
                w.u32(4)
                w.u32(UInt32(header.count))
                w.array(Array(header))
                w.zeros(-header.count & 3)
            },
        ]
        if SFlowOutput.count(output) == 1 {
            let form = SentForm(actions, key)
            if let labels = form.labels, !labels.isEmpty { records.append(mpls(labels)) }
            if let tunnel = form.tunnel { records += self.tunnel(tunnel, vni: 1029, addresses: 1023) }
        }
        if key.tunDst != 0 {
            let tunnel = OuterHeader(key, ipProtocol: input?.tunnel?.ipProtocol ?? 0)
            records += self.tunnel(tunnel, vni: 1030, addresses: 1024)
        }
        return records
    }

    /// The labels that a packet gets, the outermost first.
    private static func mpls(_ labels: [UInt32]) -> Record {
        Record(1006) { w in
            // The next hop, which is not known.
            w.u32(1)
            w.u32(0)
            w.u32(0)
            w.u32(UInt32(labels.count))
            for (i, label) in labels.enumerated() { w.u32(label & ~0x100 | (i == labels.count - 1 ? 0x100 : 0)) }
        }
    }

    private static func tunnel(_ tunnel: OuterHeader, vni: UInt32, addresses: UInt32) -> [Record] {
        let outer = Record(addresses) { w in
            // The length is not known.
            w.u32(0)
            w.u32(UInt32(tunnel.ipProtocol))
            w.u32(tunnel.source)
            w.u32(tunnel.destination)
            // As the real daemon writes them on the machines that there are: least significant byte first.
            w.u32(UInt32(tunnel.sourcePort.byteSwapped))
            w.u32(UInt32(tunnel.destinationPort.byteSwapped))
            w.u32(0)
            w.u32(UInt32(tunnel.tos))
        }
        guard tunnel.id != 0 else { return [outer] }
        return [Record(vni) { $0.u32(UInt32(truncatingIfNeeded: tunnel.id)) }, outer]
    }

    // MARK: Counters

    /// A counter that is not kept.
    private static let unknown = UInt32.max

    private static func counter(_ value: UInt64?) -> UInt32 { value.map { UInt32(truncatingIfNeeded: $0) } ?? unknown }

    static func interfaceCounters(_ port: SwitchPort) -> [Record] {
        let stats = port.stats
        let current = port.device.features.current.fastest
        var records = [
            Record(2) { w in
                w.u32(counter(stats.rxFrameErrors))
                w.u32(counter(stats.rxCRCErrors))
                for _ in 0..<11 { w.u32(unknown) }
            },
            Record(1004) { w in
                w.u64(port.owner.datapathID)
                w.u32(port.number == .local ? 65534 : port.number.rawValue)
            },
        ]
        records.append(
            Record(1005) { w in
                let name = Array(port.name.utf8)
                w.u32(UInt32(name.count))
                w.array(name)
                w.zeros(-name.count & 3)
            })
        records.append(
            Record(1) { w in
                w.u32(UInt32(truncatingIfNeeded: port.device.interfaceIndex))
                // Ethernet.
                w.u32(6)
                w.u64(current?.bitsPerSecond ?? 100_000_000)
                w.u32(current.map { $0.isFull ? 1 : 2 } ?? 0)
                w.u32((port.config.contains(.down) ? 0 : 1) | (port.device.isLinkUp ? 2 : 0))
                w.u64(stats.rxBytes ?? .max)
                w.u32(counter(stats.rxPackets))
                w.u32(counter(stats.multicast))
                w.u32(unknown)
                w.u32(counter(stats.rxDropped))
                w.u32(counter(stats.rxErrors))
                w.u32(unknown)
                w.u64(stats.txBytes ?? .max)
                w.u32(counter(stats.txPackets))
                w.u32(unknown)
                w.u32(unknown)
                w.u32(counter(stats.txDropped))
                w.u32(counter(stats.txErrors))
                w.u32(0)
            })
        return records
    }

    static func datapathCounters(_ stats: DpStats) -> [Record] {
        [
            Record(2203) { w in
                var usage = rusage()
                getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
                func milliseconds(_ t: timeval) -> UInt32 { UInt32(truncatingIfNeeded: t.tv_sec * 1000 + t.tv_usec / 1000) }
                var files = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
                w.u32(milliseconds(usage.ru_utime))
                w.u32(milliseconds(usage.ru_stime))
                w.u64(UInt64(clamping: usage.ru_maxrss) * 1024)
                w.u64(0)
                w.u32(unknown)
                w.u32(UInt32(clamping: files.rlim_cur))
                w.u32(0)
                w.u32(0)
            },
            Record(2207) { w in
                w.u32(UInt32(truncatingIfNeeded: stats.hit))
                w.u32(UInt32(truncatingIfNeeded: stats.missed))
                w.u32(UInt32(truncatingIfNeeded: stats.lost))
                w.u32(counter(stats.maskHits))
                w.u32(UInt32(truncatingIfNeeded: stats.flows))
                w.u32(stats.masks ?? unknown)
            },
        ]
    }
}
