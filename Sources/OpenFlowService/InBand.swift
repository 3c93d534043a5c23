// In-band control: flows that keep the connections to controllers alive when these go through the very bridge that the
// controllers command (ovs-vswitchd.conf.db(5), Controller.connection_mode). They are above all that a controller can add, and
// controllers do not see them.
//
// Let through are DHCP requests of the local port, ARP of the local port and of the next hop on the way to each controller, ARP for and
// by each controller's address, and TCP to and from each controller. DHCP replies for the local port are seen to by translation itself, whatever a flow says.

import Flow
import OpenFlow
import Ofproto

/// A flow for in-band control.
struct InBandFlow: Hashable {
    var match: Match
    var priority: Int
    var actions: [OFAction]
}

/// The in-band flows of a bridge.
struct InBandControl {
    /// The lowest priority of them.
    private static let base = 180_000
    /// What is installed.
    private(set) var flows: [InBandFlow] = []
    /// The next hops' Ethernet addresses by controllers' addresses, and when to ask for them again.
    private var nextHops: [UInt32: (mac: UInt64?, due: Int64)] = [:]
    /// How long an answer holds, in milliseconds: an address, and that there is none.
    private static let hopLifetime: (known: Int64, unknown: Int64) = (10_000, 1_000)

    /// A controller's address and port.
    struct Remote: Hashable {
        var address: UInt32
        var port: UInt16
    }

    /// The flows that control through a bridge needs.
    /// - Parameter nextHops: the Ethernet addresses of the next hops on the way to remotes.
    static func flows(local: UInt64, remotes: [Remote], nextHops: Set<UInt64> = [], queue: UInt32?) -> [InBandFlow] {
        guard !remotes.isEmpty else { return [] }
        let actions: [OFAction] = (queue.map { [.setQueue($0)] } ?? []) + [.output(.normal, maxLength: 0)]
        var flows: [InBandFlow] = []
        func add(_ offset: Int, _ fields: [(FieldLocation, UInt128)]) {
            var match = Match()
            match.setDefaultPacketType()
            for (location, value) in fields { match.set(location, value) }
            flows.append(InBandFlow(match: match, priority: base + offset, actions: actions))
        }
        let arp: (FieldLocation, UInt128) = (Location.ethType, 0x0806)
        let ipv4: (FieldLocation, UInt128) = (Location.ethType, 0x0800)
        let request: (FieldLocation, UInt128) = (Location.nwProto, 1)
        let reply: (FieldLocation, UInt128) = (Location.nwProto, 2)
        add(
            0,
            [
                (Location.inPort, UInt128(OFPort.local.rawValue)), ipv4, (Location.ethSrc, UInt128(local)), (Location.nwProto, 17),
                (Location.tpSrc, 68), (Location.tpDst, 67),
            ])
        add(1, [arp, (Location.ethDst, UInt128(local)), reply])
        add(2, [arp, (Location.ethSrc, UInt128(local)), request])
        for mac in nextHops.sorted() {
            add(3, [arp, (Location.ethDst, UInt128(mac)), reply])
            add(4, [arp, (Location.ethSrc, UInt128(mac)), request])
        }
        for address in Set(remotes.map(\.address)).sorted() {
            add(5, [arp, reply, (Location.nwDst, UInt128(address))])
            add(6, [arp, request, (Location.nwSrc, UInt128(address))])
        }
        for remote in remotes {
            let tcp: (FieldLocation, UInt128) = (Location.nwProto, 6)
            add(7, [ipv4, tcp, (Location.nwDst, UInt128(remote.address)), (Location.tpDst, UInt128(remote.port))])
            add(8, [ipv4, tcp, (Location.nwSrc, UInt128(remote.address)), (Location.tpSrc, UInt128(remote.port))])
        }
        return flows
    }

    /// The Ethernet addresses of the next hops to remotes, as far as the host knows them.
    mutating func hops(to remotes: [Remote], routing: TunnelRouting, now: Int64) -> Set<UInt64> {
        let old = nextHops
        nextHops = [:]
        for address in Set(remotes.map(\.address)) {
            if let known = old[address], now < known.due {
                nextHops[address] = known
            } else {
                let mac = routing.hostNeighbor(toward: IPAddress(address))
                nextHops[address] = (mac, now + (mac == nil ? Self.hopLifetime.unknown : Self.hopLifetime.known))
            }
        }
        return Set(nextHops.values.compactMap(\.mac))
    }

    /// Makes the bridge's flows those wanted, also after somebody removed all flows.
    mutating func update(_ owner: OpenFlowSwitch, _ wanted: [InBandFlow]) {
        if wanted != flows {
            let new = Set(wanted)
            for flow in flows where !new.contains(flow) { owner.removeHiddenFlow(flow.match, priority: flow.priority) }
            flows = wanted
        }
        for flow in flows { owner.addHiddenFlow(flow.match, priority: flow.priority, actions: flow.actions) }
        owner.inBand = !flows.isEmpty
    }
}

extension OpenFlowService {
    /// Brings the flows for in-band control up to date.
    func updateInBand() {
        guard !configuration.disableInBand else {
            if !inBand.flows.isEmpty { inBand.update(owner, []) }
            return
        }
        let remotes = Set(controllers.filter(\.settings.isInBand).compactMap(\.remote))
        guard !remotes.isEmpty || !inBand.flows.isEmpty else { return }
        let ordered = remotes.sorted { ($0.address, $0.port) < ($1.address, $1.port) }
        let hops = inBand.hops(to: ordered, routing: owner.backer.routing, now: owner.time.now)
        inBand.update(
            owner,
            InBandControl.flows(
                local: owner.port(.local)?.device.macAddress ?? 0, remotes: ordered, nextHops: hops, queue: configuration.inBandQueue))
    }
}
