// Meters of a kernel datapath (family ovs_meter).

import CLinux
import Dpif
import Glibc

/// Meters by their datapath numbers. Confined to the main thread.
final class KernelMeters: DpifMeters {
    private let transport: NetlinkTransport
    private let family: GenericFamily
    private let datapath: Int32

    init(_ transport: NetlinkTransport, _ family: GenericFamily, datapath: Int32) {
        self.transport = transport
        self.family = family
        self.datapath = datapath
    }

    private func request(_ command: ovs_meter_cmd, _ id: UInt32, flags: UInt16 = 0) -> NetlinkMessageWriter {
        var w = NetlinkMessageWriter(
            family: family.id, command: command.rawValue, version: UInt8(OVS_METER_VERSION), flags: flags, datapath: datapath)
        w.attribute(Int(OVS_METER_ATTR_ID.rawValue), host: id)
        return w
    }

    func setMeter(_ id: UInt32, _ meter: DpMeter) throws(DpifError) {
        var w = request(OVS_METER_CMD_SET, id)
        if !meter.inPackets { w.flag(Int(OVS_METER_ATTR_KBPS.rawValue)) }
        w.nest(Int(OVS_METER_ATTR_BANDS.rawValue)) { w in
            for band in meter.bands {
                w.nest(0) {
                    $0.attribute(Int(OVS_BAND_ATTR_TYPE.rawValue), host: OVS_METER_BAND_TYPE_DROP.rawValue)
                    $0.attribute(Int(OVS_BAND_ATTR_RATE.rawValue), host: band.rate)
                    // Without a burst the module would let nothing through.
                    $0.attribute(Int(OVS_BAND_ATTR_BURST.rawValue), host: band.burst == 0 ? band.rate : band.burst)
                }
            }
        }
        try transport.transact(w, "meter \(id)")
    }

    func deleteMeter(_ id: UInt32) throws(DpifError) { try transport.transact(request(OVS_METER_CMD_DEL, id), "meter \(id)") }

    func meterStats(_ id: UInt32) -> DpMeterStats? {
        guard let message = try? transport.transact(request(OVS_METER_CMD_GET, id), "meter \(id)").first,
            let attributes = try? message.attributes(after: 8)
        else { return nil }
        // struct ovs_flow_stats
        func counts(_ bytes: ArraySlice<UInt8>?) -> (UInt64, UInt64) {
            (bytes.flatMap { UInt64(host: $0) } ?? 0, bytes.flatMap { UInt64(host: $0.dropFirst(8)) } ?? 0)
        }
        var stats = DpMeterStats()
        (stats.packets, stats.bytes) = counts(attributes[Int(OVS_METER_ATTR_STATS.rawValue)]?.payload)
        for band in (try? attributes[Int(OVS_METER_ATTR_BANDS.rawValue)]?.nested().all) ?? [] {
            let (packets, bytes) = counts((try? band.nested())?[Int(OVS_BAND_ATTR_STATS.rawValue)]?.payload)
            stats.bands.append((packets, bytes))
        }
        return stats
    }
}
