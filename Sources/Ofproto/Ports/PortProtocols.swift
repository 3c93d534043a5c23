// Frames that the switch itself exchanges with its neighbours: which they are, where they go, and how they are sent.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// The protocol that takes a packet away from the pipeline.
    func consumer(of flow: FlowKey, on port: SwitchPort, consulted: inout FlowMask) -> SlowPathReasons? {
        // The type and destination of every packet are looked at.
        if flow.ethType == LACPDU.etherType, port.bundle?.lacp != nil { return .lacp }
        if flow.ethType == LLDPDU.etherType, port.lldp?.isEnabled == true { return .lldp }
        if let cfm = port.cfm, flow.ethType == CCM.etherType {
            consulted.setExact(Location.ethDst)
            if flow.ethDst == (cfm.settings.isExtended ? CCM.extendedGroup : CCM.group) { return .cfm }
        }
        if stp != nil || rstp != nil {
            consulted.setExact(Location.ethDst)
            if flow.ethDst == BPDU.group, flow.ethType == BPDU.frameType { return .stp }
        }
        if port.bfd != nil, flow.ethDst == BFDPacket.destination, flow.ethType == EtherType.ipv4 {
            consulted.setExact(Location.ethDst)
            consulted.setExact(Location.nwProto)
            guard flow.nwProto == IPProtocol.udp else { return nil }
            consulted.setExact(Location.tpDst)
            if flow.tpDst == BFDPacket.port { return .bfd }
        }
        return nil
    }

    /// Hands a packet to the protocol that takes it.
    func consume(_ frame: [UInt8], for reason: SlowPathReasons, on port: SwitchPort) {
        if reason.contains(.lacp), let bundle = port.bundle, let lacp = bundle.lacp, frame.count > 14 {
            lacp.receive(frame[14...], on: port)
            runLACP(of: bundle)
        }
        if reason.contains(.cfm), let cfm = port.cfm, frame.count > 14 {
            // A VLAN tag may come before the type.
            let start = frame[12] == 0x81 && frame[13] == 0 && frame.count > 18 ? 18 : 14
            if let message = CCM(Array(frame[start...]), isExtended: cfm.settings.isExtended) { cfm.receive(message) }
        }
        if reason.contains(.lldp), let lldp = port.lldp, frame.count > 14 {
            // A VLAN tag may come before the type.
            lldp.receive(frame[(frame[12] == 0x81 && frame[13] == 0 && frame.count > 18 ? 18 : 14)...])
        }
        if reason.contains(.stp), let payload = BPDU.payload(of: frame) {
            stp?.receive(payload, on: port)
            rstp?.receive(payload, on: port)
        }
        if reason.contains(.bfd), let bfd = port.bfd, let payload = BFDPacket.payload(of: frame), let packet = BFDPacket(payload) {
            let before = bfd.isForwarding
            bfd.receive(packet)
            if bfd.isForwarding != before { backer.changed() }
        }
    }

    /// Does what is due for BFD, CFM and LLDP.
    func runMonitors() {
        for port in portsInOrder {
            let changes = [port.bfd?.run() == true, port.cfm?.run() == true]
            if changes.contains(true) { backer.changed() }
            port.lldp?.run()
        }
    }

    /// Sends a frame out of a port, past the pipeline.
    func sendFrame(_ frame: [UInt8], on port: SwitchPort) {
        if port.isPatch {
            // What it meets in the other bridge, translation finds.
            send(Packet(frame), from: .none, actions: [.output(port.number, maxLength: 0)])
            return
        }
        guard let number = port.datapathPort else { return }
        try? backer.dpif.execute(Packet(frame), metadata: FlowKey(), actions: [.output(number)])
    }

    /// Makes a bundle's bond and LACP what its settings say.
    func updateBond(of bundle: PortBundle) {
        if let settings = bundle.settings.lacp, !bundle.ports.isEmpty {
            let lacp =
                bundle.lacp
                ?? LACP(name: bundle.name, settings: settings, time: time) { [unowned self] port, frame in
                    self.sendFrame(frame, on: port)
                }
            bundle.lacp = lacp
            lacp.configure(settings, ports: bundle.ports)
        } else {
            bundle.lacp = nil
        }
        guard bundle.ports.count > 1 else {
            if let bond = bundle.bond { releaseRecirculation(of: bond) }
            bundle.bond = nil
            return
        }
        let bond = bundle.bond ?? Bond(name: bundle.name, settings: bundle.settings.bond, time: time)
        bundle.bond = bond
        bond.lacpAllows = bundle.lacp.map { lacp in { lacp.allows($0) } }
        bond.lacpStatus = { [weak bundle] in bundle?.lacp?.status ?? .off }
        _ = bond.configure(bundle.settings.bond, ports: bundle.ports)
        updateRecirculation(of: bond)
    }

    /// Gives a bond that balances a name in the datapath, or takes it away. Only balance-tcp makes use of it.
    private func updateRecirculation(of bond: Bond) {
        guard bond.settings.mode != .activeBackup, backer.capabilities.recirculation else {
            releaseRecirculation(of: bond)
            return
        }
        if bond.recirculationID == nil {
            let state = FrozenState(
                switchID: id, table: 254, inPort: OFPort.none.rawValue, metadata: 0, registers: [], tunnelID: 0, stack: [], steps: [],
                actionSet: [], conntracked: false, bond: bond.name, cookie: .max)
            let new = backer.recirculation.id(for: state)
            backer.recirculation.retain([new])
            bond.recirculationID = new
        }
        followBuckets(of: bond)
    }

    private func releaseRecirculation(of bond: Bond) {
        guard let old = bond.recirculationID else { return }
        bond.recirculationID = nil
        updateRules(of: bond)
        if backer.capabilities.lbOutput { backer.dpif.setBond(old, buckets: nil) }
        backer.recirculation.release([old])
    }

    /// The datapath's own balancing, or the flows in its place, follow the members, and what it sent counts for the next rebalancing.
    private func followBuckets(of bond: Bond) {
        updateRules(of: bond)
        guard let id = bond.recirculationID, bond.settings.mode == .balanceTCP, bond.settings.usesLbOutput, backer.capabilities.lbOutput
        else { return }
        for (bucket, bytes) in backer.dpif.takeBondBytes(id).enumerated() where bytes > 0 { bond.credit(bucket: bucket, bytes: bytes) }
        let ports = bond.bucketPorts()
        guard ports != bond.toldPorts else { return }
        bond.toldPorts = ports
        backer.dpif.setBond(id, buckets: ports)
    }

    private func runLACP(of bundle: PortBundle) {
        let changed = bundle.lacp?.run() == true
        defer { if let bond = bundle.bond { followBuckets(of: bond) } }
        if bundle.bond?.run() == true || changed {
            backer.changed()
            noteStatus()
        }
    }

    /// Does what is due for bonds and LACP.
    func runBonds() { for bundle in bundles.values where bundle.lacp != nil || bundle.bond != nil { runLACP(of: bundle) } }
}
