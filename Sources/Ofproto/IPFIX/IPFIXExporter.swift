// One exporter of IPFIX (RFC 7011): a cache of flows that were sampled, and the messages that tell collectors of them.

import Dpif
import Glibc
import OpenFlow

/// What the database says of an exporter, and of the sampling of the bridge that it may be for.
public struct IPFIXSettings: Hashable, Sendable {
    /// `IP:PORT` each.
    public var targets: Set<String> = []
    /// How long a flow is counted before it is told of, in milliseconds; 0: not at all.
    public var activeTimeout: Int64 = 0
    /// How many flows may wait; 0: none.
    public var maxFlows = 0
    public var samplesTunnels = true
    /// Goes with every record.
    public var virtualID: String?

    // For a bridge as a whole.
    /// One of so many packets is sampled.
    public var sampling: UInt32 = 400
    public var domain: UInt32 = 0
    public var point: UInt32 = 0
    public var samplesInput = true
    public var samplesOutput = true

    public init() {}

    /// How many of 2^32 packets are sampled.
    var probability: UInt32 { sampling == 0 ? 0 : .max / sampling }
}

/// An exporter. Confined to the main thread.
final class IPFIXExporter {
    /// Sends a datagram to all collectors; how many of them it was sent to, and how many not.
    typealias Send = ([UInt8]) -> (sent: Int, failed: Int)

    /// Messages with templates are sent when they are longer than this.
    private static let templateMessage = 1024
    /// Milliseconds until templates are sent again, for collectors that came later (RFC 7011 section 8.4).
    private static let templateInterval: Int64 = 600_000
    /// The template of what the exporter tells of itself.
    private static let optionsTemplate: UInt16 = 462
    private static let setHeader = 4
    private static let messageHeader = 16

    var settings: IPFIXSettings
    /// Tells exporters of a process apart.
    let id: UInt32
    private let time: TimeSource
    private let send: Send
    /// Microseconds between the wall clock and the switch's.
    private let epoch: Int64
    private var flows: [IPFIXFlowKey: IPFIXFlow] = [:]
    /// The flows by their age.
    private var order: [IPFIXFlowKey] = []
    private var orderStart = 0
    private var totals = IPFIXCounts()
    private var sequence: UInt32 = 1
    private var templatesSent: [UInt32: Int64] = [:]
    private var optionsSent: Int64?
    private var counters = IPFIXStatistics()

    init(_ settings: IPFIXSettings, id: UInt32, time: TimeSource, send: @escaping Send) {
        self.settings = settings
        self.id = id
        self.time = time
        self.send = send
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        epoch = Int64(wall.tv_sec) * 1_000_000 + Int64(wall.tv_nsec) / 1000 - time.now * 1000
    }

    var statistics: IPFIXStatistics {
        var s = counters
        s.currentFlows = UInt64(flows.count)
        return s
    }

    /// A packet was sampled.
    func add(_ sample: IPFIXSample) {
        count(sample)
        let now = epoch + time.now * 1000
        totals.add(sample)
        let key = IPFIXFlowKey(sample, virtualID: settings.virtualID)
        var flow: IPFIXFlow
        if let known = flows[key] {
            flow = known
        } else {
            flow = IPFIXFlow(key: key, start: now, end: now)
            order.append(key)
            counters.totalFlows += 1
        }
        flow.end = now
        flow.counts.add(sample)
        flow.totals = totals
        flows[key] = flow
        run()
    }

    private func count(_ sample: IPFIXSample) {
        counters.packets += 1
        let network = IPFIXTemplate(sample.key).network
        if sample.isMalformed {
            counters.errors += 1
            if network == .ipv4 { counters.ipv4Errors += 1 } else { counters.ipv6Errors += 1 }
        } else if network == .ipv4 {
            counters.ipv4Packets += 1
        } else if network == .ipv6 {
            counters.ipv6Packets += 1
        }
    }

    /// Tells of flows that are due.
    func run() {
        let now = epoch + time.now * 1000
        while orderStart < order.count, let flow = flows[order[orderStart]] {
            if flow.start + settings.activeTimeout * 1000 <= now {
                tell(flow, .activeTimeout)
            } else if flows.count > settings.maxFlows {
                tell(flow, .lackOfResources)
            } else {
                break
            }
        }
        compact()
    }

    /// Tells of all flows, because the exporter ends.
    func end() {
        while orderStart < order.count, let flow = flows[order[orderStart]] { tell(flow, .forced) }
        compact()
    }

    private func compact() {
        guard orderStart > 64, orderStart * 2 > order.count || orderStart == order.count else { return }
        order.removeFirst(orderStart)
        orderStart = 0
    }

    // MARK: Messages

    /// Sends the record of the oldest flow.
    private func tell(_ flow: IPFIXFlow, _ reason: IPFIXEnd) {
        flows[flow.key] = nil
        orderStart += 1
        let domain = flow.key.domain
        let now = time.now
        if templatesSent[domain].map({ now - $0 >= Self.templateInterval }) ?? true {
            templatesSent[domain] = now
            sendTemplates(domain)
        }
        if optionsSent.map({ now - $0 >= Self.templateInterval }) ?? true {
            optionsSent = now
            sendOptions()
        }
        var w = message(domain)
        set(flow.key.template.number, to: &w) { $0.array(flow.record(reason, exported: epoch + now * 1000)) }
        finish(&w)
        sequence &+= 1
    }

    private func sendTemplates(_ domain: UInt32) {
        var list = WireWriter()
        func flush() {
            guard list.count > 0 else { return }
            var w = message(domain)
            set(2, to: &w) { $0.array(list.bytes) }
            finish(&w)
            list = WireWriter()
        }
        for template in IPFIXTemplate.all {
            var one = WireWriter()
            template.write(hasVirtualID: settings.virtualID != nil, to: &one)
            list.array(one.bytes)
            if Self.messageHeader + Self.setHeader + list.count >= Self.templateMessage { flush() }
        }
        flush()
    }

    /// What the exporter could not send, which is nothing that it knows of (RFC 7011 section 4.3).
    private func sendOptions() {
        // exportingProcessId, which is what the rest is said of, and notSentPacketTotalCount.
        let elements = [IPFIXElement(144, 4), IPFIXElement(167, 8)]
        var template = message(0)
        set(3, to: &template) { w in
            w.u16(Self.optionsTemplate)
            w.u16(UInt16(elements.count))
            w.u16(1)
            for element in elements { element.write(to: &w) }
        }
        finish(&template)
        var data = message(0)
        set(Self.optionsTemplate, to: &data) { w in
            w.u32(id)
            w.u64(0)
        }
        finish(&data)
        sequence &+= 1
    }

    private func message(_ domain: UInt32) -> WireWriter {
        var w = WireWriter(capacity: 512)
        w.u16(10)
        w.u16(0)
        w.u32(UInt32(truncatingIfNeeded: (epoch + time.now * 1000) / 1_000_000))
        w.u32(sequence)
        w.u32(domain)
        return w
    }

    private func set(_ number: UInt16, to w: inout WireWriter, _ fill: (inout WireWriter) -> Void) {
        let start = w.count
        w.u16(number)
        w.u16(0)
        fill(&w)
        w.patch16(w.count - start, at: start + 2)
    }

    private func finish(_ w: inout WireWriter) {
        w.patch16(w.count, at: 2)
        let result = send(w.bytes)
        counters.sent += UInt64(result.sent)
        counters.sendErrors += UInt64(result.failed)
    }
}
