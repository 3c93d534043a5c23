// Counters that only some devices have, by the names that Interface.statistics gives them.

import Dpif

/// A device with counters beyond `DeviceStats`.
public protocol ExtraCounters: PortDevice {
    /// By name.
    var extraCounters: [String: UInt64] { get }
}

extension DummyDevice: ExtraCounters {
    /// The counters of its one queue, and two that show that custom counters work.
    public var extraCounters: [String: UInt64] {
        let stats = stats
        return [
            "rx_q0_packets": stats.rxPackets ?? 0, "rx_q0_bytes": stats.rxBytes ?? 0,
            "tx_q0_packets": stats.txPackets ?? 0, "tx_q0_bytes": stats.txBytes ?? 0,
            "rx_custom_packets_1": stats.rxPackets ?? 0, "rx_custom_packets_2": stats.rxPackets ?? 0,
        ]
    }
}

extension DeviceStats {
    /// What is counted, by the names of Interface.statistics.
    public var byName: [String: UInt64] {
        let all: [(String, UInt64?)] = [
            ("rx_packets", rxPackets), ("tx_packets", txPackets), ("rx_bytes", rxBytes), ("tx_bytes", txBytes),
            ("rx_errors", rxErrors), ("tx_errors", txErrors), ("rx_dropped", rxDropped), ("tx_dropped", txDropped),
            ("rx_multicast_packets", multicast), ("collisions", collisions), ("rx_over_err", rxOverErrors),
            ("rx_crc_err", rxCRCErrors), ("rx_frame_err", rxFrameErrors), ("rx_missed_errors", rxMissedErrors),
        ]
        var named: [String: UInt64] = [:]
        for case (let name, let value?) in all { named[name] = value }
        return named
    }
}
