// The kernel's datapath: the openvswitch module forwards, and this object tells it how, through generic netlink.
//
// The journey of a packet that no flow covers: the module sends it to a socket (Upcalls/UpcallThread), the main thread reads its key
// (Codec/KeyCodec), asks the handler, and answers with a flow and the packet itself (Flows), in one call for all that waited.

import CLinux
import Dpif
import Flow
import Glibc
import NIOConcurrencyHelpers
import Netdev
import Packet
import Vlog

/// A datapath of the kernel's openvswitch module. Main thread; its reading thread is its own.
public final class NetlinkDatapath: Dpif {
    static let log = Vlog.module("dpif_netlink")
    public let type: String
    public let name: String
    public internal(set) var capabilities = DpifCapabilities()
    public var vlanLimit = 1
    public var tunnelOptions: TunnelOptionMap? {
        didSet {
            flowRequests.keys.tunnelOptions = tunnelOptions
            flowRequests.actions.tunnelOptions = tunnelOptions
        }
    }
    public weak var upcallHandler: (any UpcallHandler)?

    let transport: NetlinkTransport
    let families: OpenVSwitchFamilies
    let index: Int32
    let time: TimeSource
    var flowRequests: FlowRequests
    let portRequests: PortRequests
    private let datapathRequests: DatapathRequests
    private let links: LinkRequests
    private let thread: UpcallThread
    let inbox = UpcallInbox()
    /// With dispatch per processor ports need no sockets.
    private let portSockets: [UInt32]
    public let conntrack: (any DpifConntrack)?
    public let meters: (any DpifMeters)?
    /// The datapath was there before.
    public let isAdopted: Bool
    private var isHolding: Bool
    private var seenLinks: UInt64 = 0

    // Ports.
    struct Entry {
        var port: KernelPort
        /// Nil while nobody here asked for the port.
        var device: (any PortDevice)?
    }
    var portTable: [UInt32: Entry] = [:]
    var portNumbers: [String: UInt32] = [:]
    public internal(set) var portChangeCount: UInt64 = 1
    /// Flows that were made without an identifier, by the one that they have here.
    private var unnamed: [UFID: (FlowKey, FlowMask)] = [:]
    /// What has been logged of the reading thread's losses.
    private var loggedLosses: (overflows: UInt64, malformed: UInt64) = (0, 0)

    /// Opens a datapath, and makes it when it is not there. Throws ENOENT without the module, EPERM without the right to.
    /// - Parameter wake: called on the reading thread when something waits; it must make the main thread call `run`.
    init(
        type: String, name: String, time: TimeSource, kernel: KernelConnection, without absent: Set<KernelFeature>,
        wake: @escaping @Sendable () -> Void
    ) throws(DpifError) {
        self.type = type
        self.name = name
        self.time = time
        transport = kernel.generic
        families = kernel.families
        links = LinkRequests(transport: kernel.route, makesTunnels: !absent.contains(.tunnelInterfaces))
        datapathRequests = DatapathRequests(transport: transport, family: families.datapath)
        let base = UInt32(OVS_DP_F_UNALIGNED) | UInt32(OVS_DP_F_VPORT_PIDS)
        let known: KernelDatapath
        do throws(DpifError) {
            known = try datapathRequests.get(name: name)
            isAdopted = true
        } catch {
            guard error.errno == ENODEV else { throw error }
            known = try datapathRequests.create(name: name, features: base)
            isAdopted = false
        }
        isHolding = isAdopted
        index = known.index
        flowRequests = FlowRequests(families: families, datapath: index)
        portRequests = PortRequests(transport: transport, family: families.port, datapath: index)
        thread = try UpcallThread(families: families, inbox: inbox, processors: sysconf(Int32(_SC_NPROCESSORS_CONF)), wake: wake)
        // Dispatch per processor since Linux 5.15; without it each port has all sockets.
        let perProcessor = UInt32(OVS_DP_F_UNALIGNED) | UInt32(OVS_DP_F_DISPATCH_UPCALL_PER_CPU)
        do throws(DpifError) {
            guard !absent.contains(.processorDispatch) else { throw DpifError(EOPNOTSUPP, "dispatch per processor") }
            try datapathRequests.set(index, features: perProcessor, processorPorts: thread.portIDs)
            portSockets = []
        } catch {
            guard error.errno == EOPNOTSUPP || error.errno == EINVAL else {
                thread.stop()
                throw error
            }
            portSockets = thread.portIDs
            try datapathRequests.set(index, features: base)
        }
        Self.log.info("\(name): upcalls are dispatched per \(portSockets.isEmpty ? "processor" : "port")")
        if let first = portSockets.first { flowRequests.actions.upcallPort = first }
        let probed = CapabilityProbes(transport, flowRequests, families).run()
        capabilities = probed
        conntrack = probed.ctState ? KernelConntrack(kernel, datapath: index) : nil
        meters = probed.meters ? families.meter.map { [transport, index] in KernelMeters(transport, $0, datapath: index) } : nil
        for port in try portRequests.all() { remember(port, nil) }
        if !portSockets.isEmpty {
            for number in portTable.keys { try portRequests.setUpcallPorts(number, portSockets) }
        }
    }

    deinit { thread.stop() }

    public func destroy() {
        thread.stop()
        do throws(DpifError) { try datapathRequests.remove(index) } catch { Self.log.warn("removing \(name): \(error.reason)") }
        for entry in portTable.values { if let device = entry.device { (try? KernelPortPlan(device))?.remove(links) } }
        portTable = [:]
        portNumbers = [:]
    }

    public var stats: DpStats { (try? datapathRequests.get(index).stats) ?? DpStats() }
    public var masksCacheSize: UInt32? { try? datapathRequests.get(index).masksCacheSize }
    public func setMasksCacheSize(_ size: UInt32) throws(DpifError) {
        // The module takes powers of two, and 0.
        guard size <= 1 << 31 else { throw DpifError(ERANGE, "masks cache of \(size) entries") }
        let rounded = size < 2 ? size : UInt32(1) << (32 - UInt32((size - 1).leadingZeroBitCount))
        try datapathRequests.set(index, masksCacheSize: rounded)
    }

    // MARK: Ports

    private func remember(_ port: KernelPort, _ device: (any PortDevice)?) {
        if let old = portTable[port.number], old.port.name != port.name { portNumbers[old.port.name] = nil }
        portTable[port.number] = Entry(port: port, device: device)
        portNumbers[port.name] = port.number
        portChangeCount += 1
    }

    private func forgetPort(_ number: UInt32) {
        guard let entry = portTable.removeValue(forKey: number) else { return }
        if portNumbers[entry.port.name] == number { portNumbers[entry.port.name] = nil }
        portChangeCount += 1
    }

    public func addPort(_ device: any PortDevice, requested: UInt32?) throws(DpifError) -> UInt32 {
        let plan = try KernelPortPlan(device)
        if let number = portNumbers[device.name], let entry = portTable[number] {
            guard entry.device == nil, plan.accepts(entry.port), requested == nil || requested == number else {
                throw DpifError(EEXIST, "port \(device.name)")
            }
            // It was there before this daemon, and goes on as it is.
            portTable[number]?.device = device
            portChangeCount += 1
            return number
        }
        let port: KernelPort
        do throws(DpifError) {
            port = try plan.create(portRequests, links, number: requested, upcallPorts: portSockets)
        } catch {
            // What is missing is told here; above only that something is.
            if error.errno == EOPNOTSUPP { Self.log.warn("\(name): \(error)") }
            throw error
        }
        remember(port, device)
        (device as? InterfaceDevice)?.attach()
        return port.number
    }

    public func deletePort(_ number: UInt32) throws(DpifError) {
        guard let entry = portTable[number] else { throw DpifError(ENODEV, "port \(number)") }
        do throws(DpifError) {
            try portRequests.remove(number)
        } catch {
            forgetPort(number)
            throw error
        }
        forgetPort(number)
        if let device = entry.device { try KernelPortPlan(device).remove(links) }
        (entry.device as? InterfaceDevice)?.attach()
    }

    private func describe(_ entry: Entry) -> DpPort {
        DpPort(number: entry.port.number, name: entry.port.name, type: entry.device?.type ?? entry.port.typeName)
    }
    public func port(_ number: UInt32) -> DpPort? { portTable[number].map(describe) }
    public func port(named name: String) -> DpPort? { portNumbers[name].flatMap { port($0) } }
    public var ports: [DpPort] { portTable.values.map(describe).sorted { $0.number < $1.number } }
    public func device(_ number: UInt32) -> (any PortDevice)? { portTable[number]?.device }

    /// Learns what others did to ports.
    private func takePortNews() {
        let (news, isLost) = inbox.takePortNews()
        if isLost {
            resynchronisePorts()
            return
        }
        for datagram in news {
            guard let messages = try? NetlinkMessage.split(datagram[...]) else { continue }
            for message in messages where message.type == families.port.id && Int32(host: message.payload.dropFirst(4)) == index {
                if let port = try? KernelPort(message) { check(port) }
            }
        }
    }

    /// News may be old: what counts is what the module says now.
    private func check(_ told: KernelPort) {
        do throws(DpifError) {
            let port = try portRequests.get(number: told.number)
            if portTable[told.number]?.port.name != port.name {
                remember(port, portTable[told.number]?.device.flatMap { $0.name == port.name ? $0 : nil })
            }
        } catch {
            guard error.errno == ENODEV, let entry = portTable[told.number] else { return }
            Self.log.info("\(name): port \(entry.port.name) is gone")
            forgetPort(told.number)
            (entry.device as? InterfaceDevice)?.attach()
        }
    }

    /// An interface that was renamed is another port.
    private func checkNames() {
        let links = KernelLinks.changeCount
        guard links != seenLinks else { return }
        seenLinks = links
        for entry in portTable.values {
            if let device = entry.device as? InterfaceDevice, !device.isPresent { check(entry.port) }
        }
    }

    private func resynchronisePorts() {
        guard let now = try? portRequests.all() else { return }
        let numbers = Set(now.map(\.number))
        for number in portTable.keys where !numbers.contains(number) { forgetPort(number) }
        for port in now where portTable[port.number]?.port.name != port.name { remember(port, nil) }
    }

    // MARK: Flows

    public func putFlow(_ put: DpFlowPut) throws(DpifError) {
        do throws(DpifError) {
            try transport.transact(try flowRequests.put(put), "flow \(put.flow.ufid)")
        } catch {
            guard error.errno == EEXIST, put.mode == .createOrModify else { throw error }
            var put = put
            put.mode = .modify
            try transport.transact(try flowRequests.put(put), "flow \(put.flow.ufid)")
        }
    }

    private func deletion(_ ufid: UFID) -> NetlinkMessageWriter {
        guard let (key, mask) = unnamed[ufid] else { return flowRequests.delete(ufid) }
        return flowRequests.delete(key: key, mask: mask)
    }

    public func deleteFlow(_ ufid: UFID) throws(DpifError) -> DpFlowStats {
        let answers = try transport.transact(deletion(ufid), "flow \(ufid)")
        unnamed[ufid] = nil
        return statistics(answers, at: moment) ?? DpFlowStats()
    }

    private func statistics(_ answers: [NetlinkMessage], at moment: ModuleMoment) -> DpFlowStats? {
        guard let message = answers.first, let attributes = try? message.attributes(after: 8) else { return nil }
        return FlowRequests.statistics(attributes, at: moment)
    }

    private var moment: ModuleMoment { ModuleMoment(now: time.now) }

    private func request(_ ufid: UFID, statisticsOnly: Bool) -> NetlinkMessageWriter {
        guard let (key, mask) = unnamed[ufid] else { return flowRequests.get(ufid, statisticsOnly: statisticsOnly) }
        return flowRequests.get(key: key, mask: mask)
    }

    public func flow(_ ufid: UFID) -> DpFlow? {
        guard let message = try? transport.transact(request(ufid, statisticsOnly: false), "flow \(ufid)").first else { return nil }
        return try? flowRequests.flow(message, at: moment).flow
    }

    public func flowStats(_ ufid: UFID) -> DpFlowStats? { flowStats([ufid])[0] }

    public func flowStats(_ ufids: [UFID]) -> [DpFlowStats?] {
        let answers = transport.batch(ufids.map { request($0, statisticsOnly: true) })
        let moment = moment
        return answers.map { answer in
            guard case .success(let messages) = answer else { return nil }
            return statistics(messages, at: moment)
        }
    }

    public func walkFlowStats() -> (any FlowStatsWalk)? {
        guard let channel = try? MnlChannel(NETLINK_GENERIC, burst: 1) else { return nil }
        return try? FlowWalk(flowRequests.dump(statisticsOnly: true), on: channel) { [time] in time.now }
    }

    public func flow(key: FlowKey, mask: FlowMask) -> DpFlow? { flow(UFID(key: key, mask: mask)) }

    public func flushFlows() {
        do throws(DpifError) {
            try transport.transact(flowRequests.flush(), "flows of \(name)")
        } catch {
            Self.log.warn("\(error)")
        }
        unnamed = [:]
    }

    public func dumpFlows(_ body: (DpFlow) -> Bool) {
        var goesOn = true
        let moment = moment
        do throws(DpifError) {
            try transport.dump(flowRequests.dump(), "flows of \(name)") { message in
                guard goesOn, let (flow, hasIdentifier) = try? flowRequests.flow(message, at: moment) else { return }
                if !hasIdentifier { unnamed[flow.ufid] = (flow.key, flow.mask) }
                goesOn = body(flow)
            }
        } catch {
            Self.log.warn("\(error)")
        }
    }

    // MARK: Packets

    public func execute(_ packet: consuming Packet, metadata: FlowKey, actions: [DpAction]) throws(DpifError) {
        if UserspaceExecution.isNeeded(actions) {
            var problem: DpifError?
            UserspaceExecution(vlanLimit: vlanLimit).run(actions, packet, metadata: metadata) { bytes, metadata, rest in
                do throws(DpifError) {
                    try transport.transact(flowRequests.execute(bytes, metadata: metadata, actions: rest), "packet")
                } catch {
                    problem = error
                }
            }
            if let problem { throw problem }
            return
        }
        try transport.transact(flowRequests.execute(packet.array, metadata: metadata, actions: actions), "packet")
    }

    public func operate(_ operations: [DpifOperation]) -> [DpifResult] {
        var requests: [NetlinkMessageWriter] = []
        var results = [DpifResult?](repeating: nil, count: operations.count)
        var places: [Int] = []
        for (i, operation) in operations.enumerated() {
            do throws(DpifError) {
                switch operation {
                case .put(let put): requests.append(try flowRequests.put(put))
                case .delete(let ufid, _, _): requests.append(deletion(ufid))
                case .get(let ufid): requests.append(request(ufid, statisticsOnly: false))
                case .execute(let packet, let metadata, let actions):
                    guard !UserspaceExecution.isNeeded(actions) else {
                        results[i] = perform(operation)
                        continue
                    }
                    requests.append(try flowRequests.execute(packet, metadata: metadata, actions: actions))
                }
                places.append(i)
            } catch {
                results[i] = .failed(error)
            }
        }
        let answers = transport.batch(requests)
        let moment = moment
        for (i, answer) in zip(places, answers) {
            switch (answer, operations[i]) {
            case (.failure(let error), .put(let put)) where error.errno == EEXIST && put.mode == .createOrModify:
                results[i] = perform(operations[i])
            case (.failure(let error), _): results[i] = .failed(error)
            case (.success(let messages), .delete(let ufid, _, _)):
                unnamed[ufid] = nil
                results[i] = .stats(statistics(messages, at: moment) ?? DpFlowStats())
            case (.success(let messages), .get(let ufid)):
                if let flow = messages.first.flatMap({ try? flowRequests.flow($0, at: moment).flow }) {
                    results[i] = .flow(flow)
                } else {
                    results[i] = .failed(DpifError(ENOENT, "flow \(ufid)"))
                }
            case (.success, _): results[i] = .done
            }
        }
        return results.map { $0 ?? .failed(DpifError(EPROTO, "operation")) }
    }

    public func priority(ofQueue queue: UInt32) -> UInt32 {
        // The class 1:N+1 of the interface's qdisc (linux/pkt_sched.h, TC_H_MAKE).
        queue < 0xf000 ? 1 << 16 | (queue + 1) : 0
    }

    public func endAdoption() {
        isHolding = false
        for (number, entry) in portTable where entry.device == nil && number != 0 {
            Self.log.info("\(name): removing port \(entry.port.name), which nobody wants")
            do throws(DpifError) { try deletePort(number) } catch { Self.log.warn("\(error)") }
        }
    }

    public func run() {
        takePortNews()
        checkNames()
        logLosses()
        guard !isHolding else { return }
        let waiting = inbox.packets.drain()
        guard !waiting.isEmpty else { return }
        var answers: [Answer] = []
        for (_, upcall) in waiting where upcall.datapath == index {
            do throws(DpifError) { try handle(upcall, &answers) } catch { reject(error) }
        }
        for (answer, outcome) in zip(answers, transport.batch(answers.map(\.request))) {
            guard case .failure(let error) = outcome else { continue }
            do throws(DpifError) {
                // Another packet of the same flow was faster.
                if error.errno == EEXIST, let put = answer.put { try putFlow(put) } else { throw error }
            } catch {
                // A port went meanwhile.
                if error.errno != ENODEV { reject(error) }
            }
        }
    }

    private func logLosses() {
        let losses = (overflows: inbox.overflows, malformed: inbox.malformed)
        guard losses != loggedLosses else { return }
        Self.log.warn(
            "\(name): upcalls were lost: sockets overflowed \(losses.overflows) times, \(losses.malformed) messages were malformed, "
                + "\(inbox.packets.dropped) packets were beyond their ports' share of the queue")
        loggedLosses = losses
    }

    private func reject(_ error: DpifError) {
        Self.log.warn("\(name): upcall: \(error)")
    }

    /// What goes to the kernel for an upcall: the packet, or the flow that it leads to.
    private struct Answer {
        let request: NetlinkMessageWriter
        var put: DpFlowPut?
    }

    /// Asks the handler about a packet, and adds the answer to those that go to the kernel together.
    private func handle(_ upcall: KernelUpcall, _ answers: inout [Answer]) throws(DpifError) {
        guard let handler = upcallHandler else { return }
        let bytes = Array(upcall.packet)
        var packet = Packet(bytes)
        var key = FlowKey()
        // First what a packet looks like here, then the kernel's word for all that it has words for.
        var metadata = FlowKey()
        try flowRequests.keys.readKey(upcall.key, into: &metadata)
        key.packetType = metadata.packetType
        key.extract(from: &packet, vlanLimit: vlanLimit)
        try flowRequests.keys.readKey(upcall.key, into: &key)
        let kind: Upcall.Kind
        if upcall.isMiss {
            kind = .miss
        } else {
            guard let data = upcall.userdata, let action = UserspaceCookie.action(data) else {
                throw DpifError(EINVAL, "packet of a userspace action without this switch's cookie")
            }
            kind = .action(action)
        }
        var question = Upcall(kind: kind, key: key)
        if let actions = upcall.actions { question.actions = (try? flowRequests.actions.read(actions)) ?? [] }
        if let tunnel = upcall.egressTunnel { question.egressTunnel = try? flowRequests.keys.readTunnel(tunnel) }
        var verdict = handler.handle(question, packet: packet)
        if let install = verdict.install.take() {
            let flow = DpFlow(ufid: install.ufid, key: key, mask: install.mask.mask, actions: install.actions)
            let put = DpFlowPut(.createOrModify, flow)
            answers.append(Answer(request: try flowRequests.put(put), put: put))
        }
        guard !verdict.actions.isEmpty else { return }
        if UserspaceExecution.isNeeded(verdict.actions) {
            UserspaceExecution(vlanLimit: vlanLimit).run(verdict.actions, packet, metadata: key) { bytes, metadata, rest in
                do throws(DpifError) {
                    answers.append(Answer(request: try flowRequests.execute(bytes, metadata: metadata, actions: rest)))
                } catch {
                    reject(error)
                }
            }
            return
        }
        let request = try flowRequests.execute(
            bytes, metadata: key, actions: verdict.actions, hash: upcall.hash, maximumFragment: upcall.maximumFragment)
        answers.append(Answer(request: request))
    }
}
