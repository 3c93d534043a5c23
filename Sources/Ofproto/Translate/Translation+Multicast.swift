// NORMAL with multicast snooping: groups go to those who asked for them, and to routers.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    /// Forwards a multicast packet by what was snooped. False: flood it like any other.
    func multicast(_ snooping: MulticastSnooping, from input: PortBundle, _ vlans: VLANStack) -> Bool {
        guard EthernetAddress.isMulticast(flow.ethDst), !EthernetAddress.isBroadcast(flow.ethDst) else { return false }
        let vlan = vlans.outer.vid
        let group: UInt128
        switch flow.ethType {
        case EtherType.ipv4:
            wildcards.setExact(Location.nwProto)
            if flow.nwProto == 2 {
                wildcards.setExact(Location.tpSrc)
                return membership(
                    snooping, input, vlans, isQuery: flow.tpSrc == 0x11, isReport: [0x12, 0x16, 0x17, 0x22].contains(flow.tpSrc))
            }
            wildcards.setExact(Location.nwDst)
            group = 0xffff_0000_0000 | UInt128(flow.nwDst)
        case EtherType.ipv6:
            wildcards.setExact(Location.nwProto)
            if flow.nwProto == IPProtocol.icmpv6 {
                wildcards.setExact(Location.tpSrc)
                if [130, 131, 132, 143].contains(flow.tpSrc) {
                    return membership(snooping, input, vlans, isQuery: flow.tpSrc == 130, isReport: flow.tpSrc != 130)
                }
            }
            wildcards.setExact(Location.ipv6Dst)
            group = flow.ipv6Dst
        default: return false
        }
        if MulticastSnooping.isLinkLocal(group) {
            report(.detail, "RFC4541: section 2.1.2, item 2, flooding")
            flood(from: input, vlans)
            return true
        }
        var done: [PortBundle] = [input]
        func send(_ bundles: [PortBundle], _ text: String) {
            for bundle in bundles where !done.contains(where: { $0 === bundle }) {
                done.append(bundle)
                report(.detail, text)
                outputNormal(bundle, vlans)
            }
        }
        let listeners = snooping.listeners(group, vlan: vlan)
        if listeners == nil, snooping.settings.floodsUnregistered {
            report(.detail, "unregistered multicast, flooding")
            flood(from: input, vlans)
            return true
        }
        send(listeners ?? [], "forwarding to mcast group port")
        send(owner.bundlesInOrder.filter { $0.settings.floodsMulticast && $0.includes(vlans) }, "forwarding to mcast flood port")
        send(snooping.routers(vlan: vlan), "forwarding to mcast router port")
        return true
    }

    /// IGMP and MLD themselves: the switch listens, reports go to routers only.
    private func membership(
        _ snooping: MulticastSnooping, _ input: PortBundle, _ vlans: VLANStack, isQuery: Bool, isReport: Bool
    ) -> Bool {
        guard isQuery || isReport else {
            flood(from: input, vlans)
            return true
        }
        // Every one of them is to be seen.
        slowPath.insert(.action)
        snooped = (owner, input, vlans.outer.vid)
        guard isReport else {
            report(.detail, "multicast query, flooding")
            flood(from: input, vlans)
            return true
        }
        var done: [PortBundle] = [input]
        let routers = snooping.routers(vlan: vlans.outer.vid)
        for bundle in routers + owner.bundlesInOrder.filter({ $0.settings.floodsMulticastReports && $0.includes(vlans) })
        where !done.contains(where: { $0 === bundle }) {
            done.append(bundle)
            report(
                .detail, routers.contains { $0 === bundle } ? "forwarding to mcast router port" : "forwarding report to mcast flagged port")
            outputNormal(bundle, vlans)
        }
        return true
    }
}
