// sFlow version 5 (sflow.org/sflow_version_5.txt): tells collectors of packets that were chosen by chance, with the beginning of each and
// what became of it, and now and then of the counters of interfaces.
//
// The datapath chooses: translation puts a `sample` action before all others (Translation+Sampling), whose packets come up again and
// reach `SFlow.sample`. Samples wait for each other in a datagram, a second at most.

import Dpif
import Flow
import OpenFlow

/// What the database says of sFlow on a bridge.
public struct SFlowSettings: Hashable, Sendable {
    /// `IP:PORT` each.
    public var targets: Set<String> = []
    /// One of so many packets is sampled; 0: none.
    public var sampling: UInt32 = 400
    /// Seconds between counters of an interface; 0: none.
    public var polling: UInt32 = 30
    /// The most bytes of a packet that are sent.
    public var headerSize = 128
    /// The address that the switch is known by to collectors.
    public var agent: IPAddress
    /// Tells bridges with the same agent apart.
    public var subID: UInt32 = 0

    /// A header and what is told of it fit into one datagram.
    public static let maxHeaderSize: UInt32 = 1024

    public init(agent: IPAddress) { self.agent = agent }

    /// How many of 2^32 packets are sampled.
    var probability: UInt32 { sampling == 0 ? 0 : .max / sampling }
}

/// The output of a sampled packet as a record says it: an interface's index, or one of these.
enum SFlowOutput {
    /// Dropped, and nobody says why.
    static let dropped: UInt32 = 0x4000_0000 | 256

    /// - Parameter index: that of the last interface, 0 when it has none.
    static func value(count: Int, index: UInt32) -> UInt32 {
        switch count {
        case 0: dropped
        case 1 where index != 0: index
        default: 0x8000_0000 | UInt32(truncatingIfNeeded: count)
        }
    }

    /// How many outputs a value stands for.
    static func count(_ value: UInt32) -> Int {
        switch value >> 30 {
        case 0: 1
        case 2: Int(value & 0x3fff_ffff)
        default: 0
        }
    }
}

/// sFlow of one bridge. Confined to the main thread.
public final class SFlow {
    /// Datagrams are no longer than this, so that they are not fragmented.
    private static let maxDatagram = 1400
    private static let tickInterval: Int64 = 1000
    /// The source of samples is the bridge as a whole, and its numbers begin here.
    private static let sourceBase: UInt32 = 2 << 24 | 1000

    public let settings: SFlowSettings
    private var pending = WireWriter()
    private var pendingCount: UInt32 = 0
    private var datagrams: UInt32 = 0
    private var samples: UInt32 = 0
    /// How many packets the samples stand for.
    private var pool: UInt32 = 0
    private let boot: Int64
    private var nextTick: Int64
    /// Seconds until the counters of a source are due.
    private var countdowns: [UInt32: UInt32] = [:]
    private var counterSequences: [UInt32: UInt32] = [:]
    private let time: TimeSource
    private let send: ([UInt8]) -> Void

    /// - Parameter send: gets datagrams for every target.
    init(_ settings: SFlowSettings, time: TimeSource, send: @escaping ([UInt8]) -> Void) {
        self.settings = settings
        self.time = time
        self.send = send
        boot = time.now
        nextTick = time.now + Self.tickInterval
    }

    private var source: UInt32 { Self.sourceBase + settings.subID }

    /// A packet was sampled.
    /// - Parameter input: the port that it came in by.
    /// - Parameter actions: those of its flow.
    func sample(
        _ packet: [UInt8], _ key: FlowKey, input: SwitchPort?, tag: (vid: UInt16, pcp: UInt8), output: UInt32, _ actions: [DpAction]
    ) {
        pool &+= settings.sampling
        samples &+= 1
        var w = WireWriter()
        w.u32(samples)
        w.u32(source)
        w.u32(settings.sampling)
        w.u32(pool)
        w.u32(0)
        w.u32(input.map { UInt32(truncatingIfNeeded: $0.device.interfaceIndex) & 0xff_ffff } ?? 0)
        w.u32(output)
        let records = SFlowRecords.flow(packet, key, input: input, tag: tag, output: output, actions, headerSize: settings.headerSize)
        w.records(records)
        add(type: 1, w.bytes)
    }

    private func add(type: UInt32, _ body: [UInt8]) {
        if pending.count + body.count + 8 + 28 > Self.maxDatagram { flush() }
        pending.u32(type)
        pending.u32(UInt32(body.count))
        pending.array(body)
        pendingCount += 1
    }

    /// Does what is due.
    func run(_ owner: OpenFlowSwitch) {
        let now = time.now
        guard now >= nextTick else { return }
        // What was missed is not made up for.
        nextTick = max(nextTick + Self.tickInterval, now)
        if settings.polling > 0 { poll(owner) }
        flush()
    }

    /// Counts the seconds until counters are due. Sources begin at different times, so that they do not come all at once.
    private func poll(_ owner: OpenFlowSwitch) {
        func isDue(_ source: UInt32) -> Bool {
            let left = (countdowns[source] ?? .random(in: 1...settings.polling)) - 1
            countdowns[source] = left == 0 ? settings.polling : left
            return left == 0
        }
        if isDue(source) { add(counters: SFlowRecords.datapathCounters(owner.backer.dpif.stats), of: source) }
        for port in owner.portsInOrder where port.device.interfaceIndex > 0 {
            let index = UInt32(truncatingIfNeeded: port.device.interfaceIndex) & 0xff_ffff
            if isDue(index) { add(counters: SFlowRecords.interfaceCounters(port), of: index) }
        }
    }

    private func add(counters records: [SFlowRecords.Record], of source: UInt32) {
        let sequence = (counterSequences[source] ?? 0) &+ 1
        counterSequences[source] = sequence
        var w = WireWriter()
        w.u32(sequence)
        w.u32(source)
        w.records(records)
        add(type: 2, w.bytes)
    }

    fileprivate func flush() {
        guard pendingCount > 0 else { return }
        datagrams &+= 1
        var w = WireWriter(capacity: Self.maxDatagram)
        w.u32(5)
        if settings.agent.isIPv6 {
            w.u32(2)
            w.u128(settings.agent.value)
        } else {
            w.u32(1)
            w.u32(UInt32(truncatingIfNeeded: settings.agent.value))
        }
        w.u32(settings.subID)
        w.u32(datagrams)
        w.u32(UInt32(truncatingIfNeeded: time.now - boot))
        w.u32(pendingCount)
        w.array(pending.bytes)
        pending = WireWriter()
        pendingCount = 0
        send(w.bytes)
    }
}

extension WireWriter {
    /// A list of records, each with its type and length.
    fileprivate mutating func records(_ list: [SFlowRecords.Record]) {
        u32(UInt32(list.count))
        for record in list {
            u32(record.type)
            u32(UInt32(record.body.count))
            array(record.body.bytes)
        }
    }
}

extension OpenFlowSwitch {
    /// Samples packets with these settings, or none.
    /// - Parameter send: gets datagrams for every target; only looked at when settings change.
    public func setSFlow(_ settings: SFlowSettings?, send: @escaping ([UInt8]) -> Void) {
        guard settings != sFlow?.settings else { return }
        // Who samples otherwise begins to count anew.
        sFlow?.flush()
        sFlow = settings.map { SFlow($0, time: time, send: send) }
        backer.changed()
    }
}
