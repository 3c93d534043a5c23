// The statistics of all flows in one dump that is read bit by bit: asking for each flow takes two messages back, one after the other, and a
// dump has hundreds of flows in one.

import CLinux
import Dpif
import Glibc

/// One dump, on a socket of its own, since other requests come in between.
final class FlowWalk: FlowStatsWalk {
    private let channel: any NetlinkChannel
    private let clock: () -> Int64
    private static let sequence: UInt32 = 1
    private var isDone = false

    /// - Parameter request: a dump's.
    /// - Parameter clock: the datapath's, in milliseconds.
    init(_ request: NetlinkMessageWriter, on channel: any NetlinkChannel, clock: @escaping () -> Int64) throws(DpifError) {
        self.channel = channel
        self.clock = clock
        var request = request
        request.addFlags(UInt16(NLM_F_REQUEST) | UInt16(NLM_F_DUMP))
        try request.finish(sequence: Self.sequence, port: channel.portID)
        let bytes = request.bytes
        try channel.persistently { () throws(DpifError) in try channel.send(bytes) }
    }

    func next(about count: Int) -> [(ufid: UFID, stats: DpFlowStats)]? {
        var found: [(ufid: UFID, stats: DpFlowStats)] = []
        while !isDone, found.count < count {
            do throws(DpifError) {
                // Each look has the kernel write the next part, so that nothing there means that the rest was lost.
                guard let datagram = try channel.persistently({ () throws(DpifError) in try channel.receive() }) else { break }
                let moment = ModuleMoment(now: clock())
                for message in try NetlinkMessage.split(datagram[...]) where message.sequence == Self.sequence {
                    read(message, at: moment, &found)
                }
            } catch {
                break
            }
        }
        if found.count < count { isDone = true }
        return found.isEmpty && isDone ? nil : found
    }

    private func read(_ message: NetlinkMessage, at moment: ModuleMoment, _ found: inout [(ufid: UFID, stats: DpFlowStats)]) {
        guard message.errorCode == nil, Int32(message.type) != NLMSG_DONE else {
            isDone = true
            return
        }
        // genlmsghdr, ovs_header. Flows that others made without an identifier are none of those that are looked for.
        guard let attributes = try? message.attributes(after: 8),
            let id = attributes[Int(OVS_FLOW_ATTR_UFID.rawValue)]?.network(UInt128.self)
        else { return }
        found.append((UFID(id), FlowRequests.statistics(attributes, at: moment)))
    }
}
