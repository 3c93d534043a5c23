// Flows of a kernel datapath (family ovs_flow), and packets sent into it (family ovs_packet): requests and answers.

import CLinux
import Dpif
import Flow
import Glibc

/// Writes requests about flows and packets, and reads what answers.
struct FlowRequests {
    let families: OpenVSwitchFamilies
    let datapath: Int32
    var keys = KeyCodec()
    var actions = ActionCodec()

    private func request(_ command: ovs_flow_cmd, flags: UInt16 = 0) -> NetlinkMessageWriter {
        NetlinkMessageWriter(
            family: families.flow.id, command: command.rawValue, version: UInt8(OVS_FLOW_VERSION), flags: flags, datapath: datapath)
    }

    private func identify(_ ufid: UFID, _ w: inout NetlinkMessageWriter) {
        w.attribute(Int(OVS_FLOW_ATTR_UFID.rawValue), network: ufid.value)
    }

    private func writeFlow(
        _ flow: DpFlow, isProbe: Bool, _ rawActions: ((inout NetlinkMessageWriter) -> Void)?, _ w: inout NetlinkMessageWriter
    ) throws(DpifError) {
        w.nest(Int(OVS_FLOW_ATTR_KEY.rawValue)) { keys.writeKey(flow.key, mask: flow.mask, to: &$0) }
        w.nest(Int(OVS_FLOW_ATTR_MASK.rawValue)) { keys.writeMask(flow.mask, key: flow.key, to: &$0) }
        var problem: DpifError?
        w.nest(Int(OVS_FLOW_ATTR_ACTIONS.rawValue)) { w in
            do throws(DpifError) { try actions.write(flow.actions, to: &w) } catch { problem = error }
            rawActions?(&w)
        }
        if let problem { throw problem }
        if isProbe { w.flag(Int(OVS_FLOW_ATTR_PROBE.rawValue)) }
    }

    /// - Parameters:
    ///   - isProbe: the module is to refuse without a word in its log.
    ///   - rawActions: writes more actions, of which this switch has no other form.
    func put(_ put: DpFlowPut, isProbe: Bool = false, rawActions: ((inout NetlinkMessageWriter) -> Void)? = nil) throws(DpifError)
        -> NetlinkMessageWriter
    {
        let (command, flags): (ovs_flow_cmd, Int32) =
            switch put.mode {
            // The module takes NLM_F_CREATE for "and not there before".
            case .create: (OVS_FLOW_CMD_NEW, NLM_F_CREATE)
            case .modify: (OVS_FLOW_CMD_SET, 0)
            // Over a flow that is there, the caller tries `modify` next: the module compares keys without their masks.
            case .createOrModify: (OVS_FLOW_CMD_NEW, NLM_F_CREATE)
            }
        var w = request(command, flags: UInt16(flags))
        identify(put.flow.ufid, &w)
        try writeFlow(put.flow, isProbe: isProbe, rawActions, &w)
        if put.zeroStats { w.flag(Int(OVS_FLOW_ATTR_CLEAR.rawValue)) }
        return w
    }

    /// The answer has the flow's last statistics.
    func delete(_ ufid: UFID) -> NetlinkMessageWriter {
        var w = request(OVS_FLOW_CMD_DEL, flags: UInt16(NLM_F_ECHO))
        identify(ufid, &w)
        return w
    }

    /// The same for a flow that was made without an identifier.
    func delete(key: FlowKey, mask: FlowMask) -> NetlinkMessageWriter {
        var w = request(OVS_FLOW_CMD_DEL, flags: UInt16(NLM_F_ECHO))
        w.nest(Int(OVS_FLOW_ATTR_KEY.rawValue)) { keys.writeKey(key, mask: mask, to: &$0) }
        return w
    }

    /// - Parameter statisticsOnly: leave out key, mask and actions.
    func get(_ ufid: UFID, statisticsOnly: Bool = false) -> NetlinkMessageWriter {
        var w = request(OVS_FLOW_CMD_GET)
        identify(ufid, &w)
        if statisticsOnly { w.attribute(Int(OVS_FLOW_ATTR_UFID_FLAGS.rawValue), host: UInt32(7)) }
        return w
    }

    func get(key: FlowKey, mask: FlowMask) -> NetlinkMessageWriter {
        var w = request(OVS_FLOW_CMD_GET)
        w.nest(Int(OVS_FLOW_ATTR_KEY.rawValue)) { keys.writeKey(key, mask: mask, to: &$0) }
        return w
    }

    /// - Parameter statisticsOnly: leave out key, mask and actions, of flows that have an identifier.
    func dump(statisticsOnly: Bool = false) -> NetlinkMessageWriter {
        var w = request(OVS_FLOW_CMD_GET)
        if statisticsOnly { w.attribute(Int(OVS_FLOW_ATTR_UFID_FLAGS.rawValue), host: UInt32(7)) }
        return w
    }
    /// Removes all flows.
    func flush() -> NetlinkMessageWriter { request(OVS_FLOW_CMD_DEL) }

    /// Runs actions on a packet.
    /// - Parameters:
    ///   - metadata: what the packet has beside its bytes.
    ///   - hash, maximumFragment: as the upcall had them.
    func execute(
        _ packet: some Sequence<UInt8>, metadata: FlowKey, actions list: [DpAction], hash: UInt64? = nil, maximumFragment: UInt16? = nil,
        isProbe: Bool = false
    ) throws(DpifError) -> NetlinkMessageWriter {
        var w = NetlinkMessageWriter(
            family: families.packet.id, command: OVS_PACKET_CMD_EXECUTE.rawValue, version: UInt8(OVS_PACKET_VERSION), flags: 0,
            datapath: datapath)
        w.attribute(Int(OVS_PACKET_ATTR_PACKET.rawValue)) { $0.raw(packet) }
        w.nest(Int(OVS_PACKET_ATTR_KEY.rawValue)) { keys.writeMetadata(metadata, to: &$0) }
        var problem: DpifError?
        w.nest(Int(OVS_PACKET_ATTR_ACTIONS.rawValue)) { w in
            do throws(DpifError) { try actions.write(list, to: &w) } catch { problem = error }
        }
        if let problem { throw problem }
        if let hash { w.attribute(Int(OVS_PACKET_ATTR_HASH.rawValue), host: hash) }
        if let maximumFragment, maximumFragment != 0 { w.attribute(Int(OVS_PACKET_ATTR_MRU.rawValue), host: maximumFragment) }
        if isProbe { w.flag(Int(OVS_PACKET_ATTR_PROBE.rawValue)) }
        return w
    }

    // MARK: Answers

    /// A flow's counters.
    static func statistics(_ attributes: AttributeList, at moment: ModuleMoment) -> DpFlowStats {
        var stats = DpFlowStats()
        if let bytes = attributes[Int(OVS_FLOW_ATTR_STATS.rawValue)]?.payload {
            stats.packets = UInt64(host: bytes) ?? 0
            stats.bytes = UInt64(host: bytes.dropFirst(8)) ?? 0
        }
        if let used = attributes[Int(OVS_FLOW_ATTR_USED.rawValue)]?.host(UInt64.self), used != 0 {
            stats.used = moment.time(of: used)
        }
        stats.tcpFlags = UInt16(attributes[Int(OVS_FLOW_ATTR_TCP_FLAGS.rawValue)]?.host(UInt8.self) ?? 0)
        return stats
    }

    /// Reads a flow. `hasIdentifier`: the flow was made with its UFID; others get one from their key and mask.
    /// Throws EINVAL for what is malformed or holds actions that are not this switch's.
    func flow(_ message: NetlinkMessage, at moment: ModuleMoment) throws(DpifError) -> (flow: DpFlow, hasIdentifier: Bool) {
        let attributes = try message.attributes(after: 8)
        var key = FlowKey()
        var mask = FlowMask()
        if let a = attributes[Int(OVS_FLOW_ATTR_KEY.rawValue)] { try keys.readKey(a.nested(), into: &key) }
        if let a = attributes[Int(OVS_FLOW_ATTR_MASK.rawValue)] { try keys.readMask(a.nested(), into: &mask) }
        var list: [DpAction] = []
        if let a = attributes[Int(OVS_FLOW_ATTR_ACTIONS.rawValue)] { list = try actions.read(a.nested()) }
        let identifier = attributes[Int(OVS_FLOW_ATTR_UFID.rawValue)].flatMap { a -> UFID? in
            a.payload.count == 16 ? UFID(a.payload.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }) : nil
        }
        let flow = DpFlow(
            ufid: identifier ?? UFID(key: key, mask: mask), key: key, mask: mask, actions: list,
            stats: Self.statistics(attributes, at: moment))
        return (flow, identifier != nil)
    }
}

/// A moment by two clocks: the datapath's, which tests stop, and the monotonic one, by which the module says when a flow was used. It is
/// taken once for all flows of an answer: a look at a clock is not cheap everywhere.
struct ModuleMoment {
    private let now: Int64
    private let monotonic: Int64

    /// - Parameter now: by the datapath's clock, in milliseconds.
    init(now: Int64) {
        self.now = now
        var t = timespec()
        clock_gettime(CLOCK_MONOTONIC, &t)
        monotonic = Int64(t.tv_sec) * 1000 + Int64(t.tv_nsec) / 1_000_000
    }

    /// By the datapath's clock, what the module told.
    fileprivate func time(of used: UInt64) -> Int64 { now - max(0, monotonic - Int64(clamping: used)) }
}
