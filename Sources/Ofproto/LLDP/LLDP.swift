// LLDP on a port: says who is at this end, remembers who says so at the other, and has an Auto Attach server carry VLANs.

import Dpif
import Flow
import OpenFlow

/// What the database says of Auto Attach on a bridge: its AutoAttach row.
public struct AutoAttachSettings: Hashable, Sendable {
    public var systemName = ""
    public var systemDescription = ""
    /// VLANs by service, in the order in which they are asked for.
    public var mappings: [LLDPDU.Assignment] = []
    public init() {}
}

/// LLDP on one port. Confined to the main thread.
public final class LLDP {
    /// Somebody at the other end.
    public struct Neighbor: Sendable {
        public fileprivate(set) var last: LLDPDU
        /// Milliseconds.
        fileprivate var expires: Int64
        /// An Auto Attach server.
        public var element: LLDPDU.Element? { last.element }
        /// The address by which it names itself; nil when it does by something else.
        public var chassisAddress: UInt64? {
            guard last.chassisID.count == 7, last.chassisID[0] == 4 else { return nil }
            return last.chassisID.dropFirst().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// Milliseconds between two frames.
    private static let interval: Int64 = 5000
    /// How many neighbours are remembered.
    private static let maxNeighbors = 32
    private static let defaultDescription = "openvswitch 3.1.0"

    public let name: String
    /// Frames come and go.
    public internal(set) var isEnabled: Bool { didSet { if isEnabled, !oldValue { nextTransmission = time.now + Self.interval } } }
    public internal(set) var settings: AutoAttachSettings
    /// What the server says of the services that were asked for.
    public private(set) var statuses: [UInt32: UInt8] = [:]
    /// By chassis and port, in the order in which they were found.
    public private(set) var neighbors: [Neighbor] = []
    public private(set) var transmitted = 0
    public private(set) var received = 0
    public private(set) var discarded = 0
    public private(set) var unrecognized = 0
    public private(set) var agedOut = 0
    public private(set) var inserted = 0
    public private(set) var dropped = 0
    private var nextTransmission: Int64
    private let time: TimeSource
    private let address: () -> UInt64
    private let send: ([UInt8]) -> Void

    init(
        name: String, isEnabled: Bool, settings: AutoAttachSettings, time: TimeSource, address: @escaping () -> UInt64,
        send: @escaping ([UInt8]) -> Void
    ) {
        self.name = name
        self.isEnabled = isEnabled
        self.settings = settings
        self.time = time
        self.address = address
        self.send = send
        nextTransmission = time.now + Self.interval
    }

    private var message: LLDPDU {
        let source = address()
        let bytes = (0..<6).map { UInt8(truncatingIfNeeded: source >> UInt64(8 * (5 - $0))) }
        var m = LLDPDU()
        // Named by an address, and by the interface's name.
        m.chassisID = [4] + bytes
        m.portID = [5] + Array(name.utf8.prefix(255))
        m.systemName = settings.systemName
        m.systemDescription = settings.systemDescription.isEmpty ? Self.defaultDescription : settings.systemDescription
        var element = LLDPDU.Element()
        element.systemID = bytes + [0, 0, 0, 0]
        m.element = element
        m.assignments = settings.mappings
        return m
    }

    /// A frame's payload came in.
    func receive(_ payload: ArraySlice<UInt8>) {
        guard isEnabled else { return }
        received += 1
        guard let m = try? LLDPDU(payload) else {
            discarded += 1
            return
        }
        unrecognized += m.unrecognized
        let known = neighbors.firstIndex { $0.last.chassisID == m.chassisID && $0.last.portID == m.portID }
        guard m.timeToLive > 0 else {
            if let known { neighbors.remove(at: known) }
            return
        }
        let neighbor = Neighbor(last: m, expires: time.now + Int64(m.timeToLive) * 1000)
        if let known {
            neighbors[known] = neighbor
        } else if neighbors.count < Self.maxNeighbors {
            neighbors.append(neighbor)
            inserted += 1
        } else {
            dropped += 1
            return
        }
        for a in m.assignments where settings.mappings.contains(where: { $0.service == a.service }) { statuses[a.service] = a.status }
    }

    /// Does what is due.
    func run() {
        let now = time.now
        let before = neighbors.count
        neighbors.removeAll { now >= $0.expires }
        agedOut += before - neighbors.count
        guard isEnabled, now >= nextTransmission else { return }
        nextTransmission = now + Self.interval
        transmitted += 1
        send(message.frame(from: address()))
    }
}

extension OpenFlowSwitch {
    /// Runs LLDP on a port, switched on or off, or forgets about it.
    public func setLLDP(_ isEnabled: Bool?, _ settings: AutoAttachSettings, on port: SwitchPort) {
        let before = port.lldp?.isEnabled
        if let isEnabled {
            if let lldp = port.lldp {
                lldp.isEnabled = isEnabled
                lldp.settings = settings
            } else {
                port.lldp = LLDP(name: port.name, isEnabled: isEnabled, settings: settings, time: time) { [unowned port] in
                    port.device.macAddress
                } send: { [unowned self, unowned port] in
                    self.sendFrame($0, on: port)
                }
            }
        } else {
            port.lldp = nil
        }
        if before != port.lldp?.isEnabled { backer.changed() }
    }
}
