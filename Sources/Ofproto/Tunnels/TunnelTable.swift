// The tunnels of a datapath: the ports that they share there, which port a decapsulated packet came in by, and which packets
// on their way to a bridge's local port are tunnelled ones.

import Classifier
import Dpif
import Flow
import OpenFlow

extension DatapathBacker {
    /// A datapath port that tunnels share.
    final class TunnelBacking {
        let number: UInt32
        let name: String
        var ports: [SwitchPort] = []
        init(number: UInt32, name: String) {
            self.number = number
            self.name = name
        }
    }

    /// Adds a tunnel port's datapath port, or shares the one that is there.
    /// - Parameter make: the device for a new one, by name and type.
    public func openTunnel(_ settings: TunnelSettings, make: (String, String) -> any PortDevice) throws(DpifError) -> UInt32 {
        let (type, name) = capabilities.tunnelPushPop ? (settings.kind.rawValue, settings.backingName) : settings.datapathBacking
        if let found = tunnelBackings.values.first(where: { $0.name == name }) { return found.number }
        let number = try dpif.addPort(make(name, type), requested: nil)
        tunnelBackings[number] = TunnelBacking(number: number, name: name)
        return number
    }

    func registerTunnel(_ port: SwitchPort) {
        guard let n = port.datapathPort, let backing = tunnelBackings[n] else { return }
        backing.ports.append(port)
        tunnelListeners = nil
    }

    /// Forgets a tunnel port; the last takes the datapath's port along.
    func unregisterTunnel(_ port: SwitchPort) {
        guard let n = port.datapathPort, let backing = tunnelBackings[n] else { return }
        backing.ports.removeAll { $0 === port }
        tunnelListeners = nil
        guard backing.ports.isEmpty else { return }
        tunnelBackings[n] = nil
        try? dpif.deletePort(n)
    }

    /// The tunnel port that a decapsulated packet came in by: the one whose settings say most about it.
    func tunnelPort(_ number: UInt32, _ flow: FlowKey) -> SwitchPort? {
        guard let backing = tunnelBackings[number] else { return nil }
        let isIPv6 = flow.tunDst == 0
        let source: TunnelSettings.Address = isIPv6 ? .ipv6(flow[Location.tunIPv6Src]) : .ipv4(flow.tunSrc)
        let destination: TunnelSettings.Address = isIPv6 ? .ipv6(flow[Location.tunIPv6Dst]) : .ipv4(flow.tunDst)
        var best: (port: SwitchPort, score: Int)?
        for port in backing.ports {
            guard let t = port.tunnel else { continue }
            var score = 0
            switch t.inKey {
            case .flow: break
            case .absent:
                guard flow.tunID == 0 else { continue }
                score += 12
            case .value(let key):
                guard flow.tunID == key else { continue }
                score += 12
            }
            if t.remote != .flow {
                guard t.remote == source else { continue }
                score += 6
            }
            if let local = t.local, local != .flow {
                guard local == destination else { continue }
                score += 2
            } else if t.local == nil {
                score += 1
            }
            if best == nil || score > best!.score { best = (port, score) }
        }
        return best?.port
    }

    // MARK: Listening

    /// One way by which tunnelled packets reach a bridge.
    struct TunnelListener {
        let match: Match
        let number: UInt32
        let name: String
        let text: String
    }

    /// The packets that tunnels take from bridges' local ports, as a table, with the listeners in order.
    func listeners() -> (table: FlowTable, list: [TunnelListener]) {
        if let tunnelListeners { return tunnelListeners }
        let table = FlowTable(id: 0)
        var list: [TunnelListener] = []
        for bridge in routing.devices.sorted() {
            guard let local = switches.first(where: { $0.name == bridge })?.port(.local) else { continue }
            for address in (local.device as? any AddressedDevice)?.addresses ?? [] {
                for backing in tunnelBackings.values.sorted(by: { $0.number < $1.number }) {
                    guard let settings = backing.ports.first?.tunnel else { continue }
                    var match = Match()
                    match.set(Location.packetType, 0)
                    match.set(Location.ethDst, UInt128(local.device.macAddress))
                    match.set(Location.ethType, address.isIPv6 ? 0x86dd : 0x0800)
                    match.set(address.isIPv6 ? Location.ipv6Dst : Location.nwDst, address.value)
                    match.set(Location.nwProto, UInt128(settings.ipProtocol))
                    match.set(Location.nwFrag, 0)
                    var text = "eth(dst=\(AddressText.mac(local.device.macAddress))),"
                    text += address.isIPv6 ? "eth_type(0x86dd),ipv6(dst=" : "eth_type(0x0800),ipv4(dst="
                    text += "\(IPAddress(address).text),proto=\(settings.ipProtocol),frag=no)"
                    if settings.destinationPort != 0 {
                        match.set(Location.tpDst, UInt128(settings.destinationPort))
                        text += ",udp(dst=\(settings.destinationPort))"
                    }
                    // GRE and ERSPAN look alike from outside; the first that listens has them.
                    guard table.find(match, priority: 0) == nil else { continue }
                    table.insert(
                        Rule(tableID: 0, match: match, priority: 0, cookie: UInt64(backing.number), actions: [], now: 0))
                    list.append(TunnelListener(match: match, number: backing.number, name: backing.name, text: text))
                }
            }
        }
        tunnelListeners = (table, list)
        return (table, list)
    }

    /// Routes, neighbours or addresses changed.
    public func tunnelsChanged() {
        guard !tunnelBackings.isEmpty else { return }
        tunnelListeners = nil
        changed()
    }

    /// A bridge's neighbour gave a sign of life.
    func heard(_ ip: IPAddress, _ mac: UInt64, on bridge: OpenFlowSwitch, isAnswer: Bool) {
        if !isAnswer {
            routing.refreshNeighbor(ip, mac, on: bridge.name, now: time.now)
        } else if routing.setNeighbor(ip, mac, on: bridge.name, now: time.now) {
            tunnelsChanged()
        }
    }

    /// Packets wait for a neighbour, in flows that drop them: asks for it again.
    func ask(for ip: IPAddress, on bridge: OpenFlowSwitch, from source: IPAddress) {
        guard let local = bridge.port(.local), routing.mayAsk(for: ip, on: bridge.name, now: time.now) else { return }
        bridge.solicit(ip, from: source, mac: local.device.macAddress)
    }

    // MARK: Text

    /// `tnl/ports/show`.
    public func tunnelPortsText(verbose: Bool) -> String {
        verbose
            ? listeners().list.map { "\($0.name) (\($0.number)) : \($0.text)\n" }.joined()
            : tunnelBackings.values.sorted { $0.number < $1.number }.map { "\($0.name) (\($0.number)) ref_cnt=\($0.ports.count)\n" }
                .joined()
    }

    /// `ofproto/list-tunnels`.
    public var tunnelList: String {
        tunnelBackings.values.sorted { $0.number < $1.number }.flatMap { backing in
            backing.ports.compactMap { port in
                port.tunnel.map { "port \(backing.number): \(port.name) (\($0.text(datapathPort: backing.number)))\n" }
            }
        }.joined()
    }
}
