// The tracker as the seam shows it, with the datapath's clock.

import Dpif

/// Confined to the main thread.
final class ConntrackControl: DpifConntrack {
    private let tracker: ConnectionTracker
    private let time: TimeSource

    init(_ tracker: ConnectionTracker, time: TimeSource) {
        self.tracker = tracker
        self.time = time
    }

    func connections(zone: UInt16?) -> [ConntrackEntry] { tracker.connections(zone: zone, now: time.now) }
    func flush(zone: UInt16?) { tracker.flush(zone: zone) }
    func flush(_ tuple: ConntrackEntry.Tuple, zone: UInt16?) throws(DpifError) {
        try tracker.flush(tuple, zone: zone, now: time.now)
    }
    var connectionCount: Int { tracker.connectionCount }
    var maxConnections: UInt32 {
        get { tracker.maxConnections }
        set { tracker.maxConnections = newValue }
    }
    var checksTCPSequence: Bool {
        get { tracker.checksTCPSequence }
        set { tracker.checksTCPSequence = newValue }
    }
    var defaultZoneLimit: UInt32 {
        get { tracker.defaultZoneLimit }
        set { tracker.defaultZoneLimit = newValue }
    }
    var zoneLimits: [ConntrackZoneLimit] { tracker.zoneLimits }
    func zoneLimit(_ zone: UInt16) -> ConntrackZoneLimit { tracker.zoneLimit(zone) }
    func setZoneLimit(_ zone: UInt16, _ limit: UInt32?) { tracker.setZoneLimit(zone, limit) }
    func setTimeoutPolicy(_ name: String, _ timeouts: [String: UInt32]?) { tracker.setTimeoutPolicy(name, timeouts) }

    var fragments: FragmentStatus { tracker.reassembly.withLock { $0.status } }
    func setFragmentReassembly(ipv6: Bool, enabled: Bool) {
        tracker.reassembly.withLock { $0.setEnabled(ipv6: ipv6, enabled) }
    }
    func setMinimumFragment(ipv6: Bool, _ size: Int) throws(DpifError) {
        // The smallest that the protocols promise to carry whole, with some room.
        guard size >= 400 else { throw DpifError(1, "minimum fragment size \(size)") }
        tracker.reassembly.withLock { $0.setMinimum(ipv6: ipv6, size) }
    }
    func setMaximumFragments(_ count: Int) throws(DpifError) {
        guard count >= 0, count <= 5000 else { throw DpifError(1, "maximum fragments \(count)") }
        tracker.reassembly.withLock { $0.setMaximum(count) }
    }
}
