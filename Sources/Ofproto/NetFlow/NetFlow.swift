// NetFlow version 5: tells collectors of the IPv4 flows that go through a bridge, when they end and now and then before.

import Dpif
import Flow
import Glibc
import OpenFlow
import Packet

/// What the database says of NetFlow on a bridge.
public struct NetFlowSettings: Hashable, Sendable {
    /// `IP:PORT` each.
    public var targets: Set<String> = []
    public var engineType: UInt8 = 0
    public var engineID: UInt8 = 0
    /// Milliseconds between records of a flow that goes on; 0 never.
    public var activeTimeout: Int64 = 600_000
    /// Ports are told with seven bits of the engine's id.
    public var addsIDToInterface = false
    public init() {}
}

/// Where packets of a flow go, as a record says it: a port's number, or one of these.
enum NetFlowOutput {
    static let flood = UInt16.max
    static let multiple = UInt16.max - 1
    static let drop = UInt16.max - 2

    /// The output of a packet that has had one, and now another.
    static func merge(_ old: UInt16, _ new: UInt16) -> UInt16 {
        if old == flood || new == flood { return flood }
        return old == drop || old == new ? new : multiple
    }
}

/// NetFlow of one bridge. Confined to the main thread.
public final class NetFlow {
    /// What tells flows apart.
    struct Key: Hashable {
        let inPort: UInt16
        let source: UInt32
        let destination: UInt32
        let sourcePort: UInt16
        let destinationPort: UInt16
        let proto: UInt8
        let tos: UInt8

        init(_ flow: FlowKey) {
            inPort = OFPort(flow.inPort).wire16
            source = flow.nwSrc
            destination = flow.nwDst
            proto = flow.nwProto
            tos = flow.nwTOS
            // An ICMP message's type and code stand for the second port.
            if proto == IPProtocol.icmp {
                sourcePort = 0
                destinationPort = flow.tpSrc << 8 | flow.tpDst & 0xff
            } else {
                sourcePort = flow.tpSrc
                destinationPort = flow.tpDst
            }
        }
    }

    private struct Record {
        var output: UInt16
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        var tcpFlags: UInt8 = 0
        /// Of the packets that were not told of yet; 0: there are none.
        var first: Int64 = 0
        var last: Int64 = 0
        var lastExpired: Int64
    }

    private static let headerSize = 24
    private static let maxRecords = 30
    /// Milliseconds between looks for flows that have gone on for long.
    private static let checkInterval: Int64 = 1000
    /// The most flows that are remembered.
    private static let maxFlows = 100_000

    public internal(set) var settings: NetFlowSettings
    private var flows: [Key: Record] = [:]
    private var pending: [UInt8] = []
    private var pendingCount = 0
    private var sequence: UInt32 = 0
    private let boot: Int64
    private var nextCheck: Int64
    private let time: TimeSource
    private let send: ([UInt8]) -> Void

    /// - Parameter send: gets datagrams for every target.
    init(_ settings: NetFlowSettings, time: TimeSource, send: @escaping ([UInt8]) -> Void) {
        self.settings = settings
        self.time = time
        self.send = send
        boot = time.now
        nextCheck = time.now + Self.checkInterval
    }

    /// The bits that tell flows apart.
    static func consult(_ wildcards: inout FlowMask, of flow: FlowKey) {
        for l in [Location.nwProto, Location.nwSrc, Location.nwDst] { wildcards.setExact(l) }
        wildcards.bits.nwTOS |= 0xfc
        guard flow.nwFrag & IPFragment.later == 0 else { return }
        if [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp, IPProtocol.icmp].contains(flow.nwProto) {
            wildcards.setExact(Location.tpSrc)
            wildcards.setExact(Location.tpDst)
        }
    }

    /// Packets of a flow went out.
    func credit(_ flow: FlowKey, output: UInt16, packets: UInt64, bytes: UInt64, tcpFlags: UInt16, used: Int64) {
        let key = Key(flow)
        var record: Record
        if let known = flows[key] {
            record = known
        } else {
            guard flows.count < Self.maxFlows else { return }
            record = Record(output: output, lastExpired: time.now)
        }
        if record.output != output {
            tell(key, &record)
            record.output = output
        }
        if record.packets == 0 { record.first = used }
        record.packets &+= packets
        record.bytes &+= bytes
        record.tcpFlags |= UInt8(truncatingIfNeeded: tcpFlags)
        record.last = max(record.last, used)
        flows[key] = record
    }

    /// A flow has ended.
    func end(_ flow: FlowKey) {
        let key = Key(flow)
        guard var record = flows.removeValue(forKey: key) else { return }
        tell(key, &record)
    }

    /// Does what is due.
    func run() {
        let now = time.now
        if settings.activeTimeout > 0, now >= nextCheck {
            nextCheck = now + Self.checkInterval
            for (key, record) in flows where record.packets > 0 && now >= record.lastExpired + settings.activeTimeout {
                var record = record
                tell(key, &record)
                flows[key] = record
            }
        }
        flush()
    }

    /// Tells of what was counted since the last time.
    private func tell(_ key: Key, _ record: inout Record) {
        record.lastExpired = time.now
        // Counters of a record have 32 bits.
        while record.packets > 0 {
            let bytes = min(record.bytes, UInt64(UInt32.max))
            let parts = (record.bytes + UInt64(UInt32.max) - 1) / UInt64(UInt32.max)
            let packets = min(parts <= 1 ? record.packets : max(1, record.packets / parts), UInt64(UInt32.max))
            write(key, record, packets: UInt32(packets), bytes: UInt32(bytes))
            record.packets -= packets
            record.bytes -= bytes
        }
        record.bytes = 0
        record.tcpFlags = 0
    }

    private func interface(_ port: UInt16) -> UInt16 {
        settings.addsIDToInterface ? UInt16(settings.engineID & 0x7f) << 9 | port & 0x1ff : port
    }

    private func put<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        for i in (0..<T.bitWidth / 8).reversed() { pending.append(UInt8(truncatingIfNeeded: value >> T(i * 8))) }
    }

    private func write(_ key: Key, _ record: Record, packets: UInt32, bytes: UInt32) {
        if pending.isEmpty { pending = [UInt8](repeating: 0, count: Self.headerSize) }
        put(key.source)
        put(key.destination)
        put(UInt32(0))
        put(interface(key.inPort))
        put(interface(record.output))
        put(packets)
        put(bytes)
        put(UInt32(truncatingIfNeeded: record.first - boot))
        put(UInt32(truncatingIfNeeded: record.last - boot))
        put(key.sourcePort)
        put(key.destinationPort)
        pending += [0, record.tcpFlags, key.proto, key.tos]
        put(UInt64(0))
        pendingCount += 1
        sequence &+= 1
        if pendingCount == Self.maxRecords { flush() }
    }

    private func flush() {
        guard pendingCount > 0 else { return }
        let records = pending[Self.headerSize...]
        pending = []
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        put(UInt16(5))
        put(UInt16(pendingCount))
        put(UInt32(truncatingIfNeeded: time.now - boot))
        put(UInt32(truncatingIfNeeded: wall.tv_sec))
        put(UInt32(truncatingIfNeeded: wall.tv_nsec))
        // The number of the last record.
        put(sequence &- 1)
        pending += [settings.engineType, settings.engineID, 0, 0]
        let message = pending + records
        pending = []
        pendingCount = 0
        send(message)
    }
}

extension OpenFlowSwitch {
    /// Exports flows with these settings, or none.
    /// - Parameter send: gets datagrams for every target; only looked at when exporting begins.
    public func setNetFlow(_ settings: NetFlowSettings?, send: @escaping ([UInt8]) -> Void) {
        guard let settings else {
            guard netFlow != nil else { return }
            netFlow = nil
            backer.changed()
            return
        }
        if let netFlow {
            netFlow.settings = settings
        } else {
            netFlow = NetFlow(settings, time: time, send: send)
            backer.changed()
        }
    }
}
