// Sending into tunnels and taking packets out of them: the outer header, where it goes, and the bridge that it leaves by.

import Dpif
import Flow
import OpenFlow
import Packet

extension Translation {
    /// Sends the packet into a tunnel.
    func outputToTunnel(_ port: SwitchPort, _ settings: TunnelSettings, datapathPort: UInt32) {
        // What the packet has of tunnels is the flow's business again afterwards.
        let tunnelWords = (0..<Location.metadata.word).map { flow.words[$0] }
        defer { for (i, word) in tunnelWords.enumerated() { flow.words[i] = word } }
        guard fillTunnel(settings) else { return }
        report(.detail, "output to native tunnel")
        let routing = owner.backer.routing
        let target = flow.tunDst != 0 ? IPAddress(flow.tunDst) : IPAddress(ipv6: flow[Location.tunIPv6Dst])
        guard let route = routing.lookup(target, mark: flow.pktMark),
            let bridge = owner.backer.switches.first(where: { $0.name == route.device }), let local = bridge.port(.local),
            let localNumber = local.datapathPort
        else {
            report(.warning, "native tunnel routing failed")
            return
        }
        let next = route.gateway ?? target
        report(.detail, "tunneling to \(next.text) via \(route.device)")
        var source = route.source
        if flow.tunSrc != 0 { source = IPAddress(flow.tunSrc) }
        if flow[Location.tunIPv6Src] != 0 { source = IPAddress(ipv6: flow[Location.tunIPv6Src]) }
        let now = owner.time.now
        guard let neighbor = routing.neighbor(next, on: bridge.name, now: now) else {
            report(
                .detail,
                "neighbor cache miss for \(next.text) on bridge \(bridge.name), sending \(next.isIPv6 ? "ND" : "ARP") request")
            targets.append(.missingNeighbor(bridge, next, source: source))
            if sideEffects { bridge.solicit(next, from: source, mac: local.device.macAddress, within: self) }
            return
        }
        report(
            .detail,
            "tunneling from \(AddressText.mac(local.device.macAddress)) \(source.text) to \(AddressText.mac(neighbor)) \(next.text)")
        let encoding = TunnelEncoding(
            settings: settings, flow: flow, source: source, destination: target, sourceMAC: local.device.macAddress,
            destinationMAC: neighbor, options: owner.tunnelOptions)
        push(
            .tunnelPush(
                TunnelHeader(
                    tunnelPort: datapathPort, outPort: localNumber, header: encoding.header, type: settings.kind.rawValue,
                    number: encoding.typeNumber)),
            encoding.outerFlow(), headerSize: encoding.header.count, through: bridge, local)
        targets.append(.tunnel(port, sent: true))
        if let packet { port.creditSent(packets: 1, bytes: UInt64(packet.bytes)) }
    }

    /// Sends the packet into a tunnel of a datapath that puts the header on by itself: it is told what is to be in it.
    func outputToDatapathTunnel(_ port: SwitchPort, _ settings: TunnelSettings, datapathPort: UInt32) {
        // What the packet has of tunnels is the flow's business again afterwards.
        let tunnelWords = (0..<Location.metadata.word).map { flow.words[$0] }
        defer { for (i, word) in tunnelWords.enumerated() { flow.words[i] = word } }
        // What goes over from one tunnel into the next is looked at.
        if original.hasTunnel {
            if settings.outKey == .flow { wildcards.setExact(Location.tunID) }
            if settings.remote == .flow { for l in [Location.tunDst, Location.tunIPv6Dst] { wildcards.setExact(l) } }
            if settings.local == .flow { for l in [Location.tunSrc, Location.tunIPv6Src] { wildcards.setExact(l) } }
        }
        guard fillTunnel(settings) else { return }
        report(.detail, "output to kernel tunnel")
        fillDatapathTunnel(settings)
        commit()
        actions.append(.set(DpSet(.tunnel, tunnelFields(flow))))
        sampleOutput(datapathPort, isTunnel: true)
        if let limit = truncation {
            actions.append(.truncate(limit))
            truncation = nil
        }
        actions.append(.output(datapathPort))
        targets.append(.tunnel(port, sent: true))
        if let packet { port.creditSent(packets: 1, bytes: UInt64(packet.bytes)) }
    }

    /// Says what a tunnel's header would be, for a datapath that is to tell of it.
    func describeTunnel(_ settings: TunnelSettings) {
        let tunnelWords = (0..<Location.metadata.word).map { flow.words[$0] }
        defer { for (i, word) in tunnelWords.enumerated() { flow.words[i] = word } }
        guard fillTunnel(settings) else { return }
        fillDatapathTunnel(settings)
        actions.append(.set(DpSet(.tunnel, tunnelFields(flow))))
    }

    /// Fills what only a datapath that puts the header on by itself is told.
    private func fillDatapathTunnel(_ settings: TunnelSettings) {
        if settings.kind == .erspan {
            flow[Location.tunERSPANVer] = UInt128(settings.erspanVersion)
            flow[Location.tunERSPANIdx] = UInt128(settings.erspanIndex)
            flow[Location.tunERSPANDir] = UInt128(settings.erspanDirection)
            flow[Location.tunERSPANHwid] = UInt128(settings.erspanHardware)
        }
        // The ports of the outer header are the datapath's choice.
        flow[Location.tunTpSrc] = 0
        flow[Location.tunTpDst] = settings.destinationPort == 0 ? 0 : UInt128(settings.destinationPort)
    }

    /// The fields of a tunnel header that say something.
    private func tunnelFields(_ key: FlowKey) -> [DpSet.Field] {
        var locations = [
            Location.tunID, Location.tunSrc, Location.tunDst, Location.tunIPv6Src, Location.tunIPv6Dst, Location.tunTOS, Location.tunTTL,
            Location.tunTpSrc, Location.tunTpDst, Location.tunFlags, Location.tunGBPID, Location.tunGBPFlags, Location.tunERSPANVer,
            Location.tunERSPANIdx, Location.tunERSPANDir, Location.tunERSPANHwid, Location.tunOptionsPresent,
        ]
        locations += (0..<Location.tunOptionWords).map { FieldLocation(Location.tunOptionsFirstWord + $0, 0, 64) }
        return locations.filter { key[$0] != 0 }.map { DpSet.Field($0, key[$0]) }
    }

    /// Fills what the port's settings say of the tunnel. False: the packet cannot go that way.
    private func fillTunnel(_ settings: TunnelSettings) -> Bool {
        switch settings.remote {
        case .flow: break
        case .ipv4(let a):
            flow.tunDst = a
            flow[Location.tunIPv6Dst] = 0
        case .ipv6(let a):
            flow.tunDst = 0
            flow[Location.tunIPv6Dst] = a
        }
        switch settings.local {
        case .flow: break
        case nil:
            flow.tunSrc = 0
            flow[Location.tunIPv6Src] = 0
        case .ipv4(let a): flow.tunSrc = a
        case .ipv6(let a): flow[Location.tunIPv6Src] = a
        }
        guard flow.tunDst != 0 || flow[Location.tunIPv6Dst] != 0 else {
            report(.warning, "Tunneling decided against output")
            return false
        }
        switch settings.outKey {
        case .absent: flow.tunID = 0
        case .flow: break
        case .value(let key): flow.tunID = key
        }
        let isIP = flow.isIP
        if let ttl = settings.ttl {
            flow.tunTTL = ttl
        } else if isIP {
            wildcards.setExact(Location.nwTTL)
            flow.tunTTL = flow.nwTTL
        } else {
            flow.tunTTL = 64
        }
        var tos = settings.tos ?? 0
        if settings.tos == nil, isIP {
            wildcards.bits.nwTOS |= 0xfc
            tos = flow.nwTOS & 0xfc
        }
        if isIP {
            // RFC 6040: congestion is told by what decapsulates.
            wildcards.bits.nwTOS |= 3
            tos = tos & 0xfc | (flow.nwTOS & 3 == 3 ? 2 : flow.nwTOS & 3)
        }
        flow.tunTOS = tos
        var flags = flow.tunFlags & TunnelFlag.oam
        if settings.dontFragment { flags |= TunnelFlag.dontFragment }
        if settings.checksum { flags |= TunnelFlag.checksum }
        if settings.outKey != .absent { flags |= TunnelFlag.key }
        flow.tunFlags = flags
        return true
    }

    /// Puts the header before the packet, and lets the packet enter the bridge by its local port.
    private func push(_ action: DpAction, _ outer: FlowKey, headerSize: Int, through bridge: OpenFlowSwitch, _ local: SwitchPort) {
        commit()
        let isLast = isLastAction
        let before = actions
        let savedBase = base
        let savedFlow = flow
        let savedWildcards = wildcards
        let savedOutput = sFlowOutput
        actions = [action]
        flow = outer
        base = outer
        // What is looked at out there is of the header that was built here.
        targets.append(.header(headerSize))
        packet?.bytes += headerSize
        enterBridge(local, of: bridge)
        packet?.bytes -= headerSize
        targets.append(.header(-headerSize))
        let inner = actions
        sFlowOutput = savedOutput
        wildcards = savedWildcards
        flow = savedFlow
        base = savedBase
        if inner.count == 1 {
            // Nothing becomes of it.
            actions = before
        } else if isLast {
            actions = before + inner
        } else {
            actions = before + [.clone(inner)]
        }
    }

    /// A packet on its way to a bridge's local port may be a tunnelled one: then it is decapsulated instead.
    /// - Returns: true when that is so.
    func outputFromTunnel(_ local: SwitchPort) -> Bool {
        let backer = owner.backer
        guard capabilities.tunnelPushPop, !backer.tunnelBackings.isEmpty else { return false }
        let listeners = backer.listeners()
        guard listeners.table.count > 0 else { return false }
        guard let found = listeners.table.lookup(flow, consulted: &wildcards) else {
            snoopNeighbor(local)
            return false
        }
        // Who sends it is there still.
        hear(flow.ethType == EtherType.ipv6 ? IPAddress(ipv6: flow.ipv6Src) : IPAddress(flow.nwSrc), flow.ethSrc, isAnswer: false)
        commit()
        actions.append(.tunnelPop(UInt32(truncatingIfNeeded: found.cookie)))
        return true
    }

    /// Answers to the questions after neighbours (RFC 826, RFC 4861).
    private func snoopNeighbor(_ local: SwitchPort) {
        guard let device = local.device as? any AddressedDevice else { return }
        var heard: (IPAddress, UInt64)?
        if flow.ethType == EtherType.arp {
            wildcards.setExact(Location.nwProto)
            guard flow.nwProto == 2 else { return }
            wildcards.setExact(Location.nwDst)
            guard device.addresses.contains(where: { !$0.isIPv6 && $0.value == UInt128(flow.nwDst) }) else { return }
            wildcards.setExact(Location.nwSrc)
            wildcards.setExact(Location.arpSHA)
            heard = (IPAddress(flow.nwSrc), UInt64(flow[Location.arpSHA]))
        } else if flow.ethType == EtherType.ipv6, flow.nwProto == IPProtocol.icmpv6 {
            let isAdvertisement = flow.tpSrc == 136 && flow.tpDst == 0
            if isAdvertisement { wildcards.setExact(Location.ipv6Dst) }
            guard device.addresses.contains(where: { $0.isIPv6 && $0.value == flow.ipv6Dst }) else { return }
            // Of whatever else comes from the neighbour, too: a flow for that must not take its answers along.
            wildcards.setExact(Location.nwProto)
            wildcards.bits.tpDst |= 0xff
            if flow.tpDst == 0 { wildcards.bits.tpSrc |= 0xff }
            guard isAdvertisement else { return }
            for l in [Location.ipv6Src, Location.ndTarget, Location.arpTHA] { wildcards.setExact(l) }
            heard = (IPAddress(ipv6: flow[Location.ndTarget]), UInt64(flow[Location.arpTHA]))
        }
        if let (ip, mac) = heard, mac != 0 { hear(ip, mac, isAnswer: true) }
    }

    /// This packet, and each that follows it, tells of a neighbour.
    private func hear(_ ip: IPAddress, _ mac: UInt64, isAnswer: Bool) {
        targets.append(.neighbor(owner, ip, mac: mac, isAnswer: isAnswer))
        if sideEffects { owner.backer.heard(ip, mac, on: owner, isAnswer: isAnswer) }
    }

    /// What a packet that a tunnel delivered tells of congestion (RFC 6040). False: it is to be dropped.
    func takeCongestion() -> Bool {
        guard flow.hasTunnel, flow.isIP, flow.tunTOS & 3 == 3 else { return true }
        wildcards.bits.nwTOS |= 3
        guard flow.nwTOS & 3 != 0 else {
            report(.warning, "dropping tunnel packet marked ECN CE but is not ECN capable")
            return false
        }
        flow.nwTOS |= 3
        return true
    }
}

extension OpenFlowSwitch {
    /// Asks on the bridge who has an address.
    /// - Parameter outer: the translation that needs it.
    func solicit(_ ip: IPAddress, from source: IPAddress, mac: UInt64, within outer: Translation? = nil) {
        guard !ip.isIPv6 else { return solicitIPv6(ip, from: source, mac: mac, within: outer) }
        var key = FlowKey()
        key.ethSrc = mac
        key.ethDst = EthernetAddress.broadcast
        key.ethType = EtherType.arp
        key.nwProto = 1
        key.nwSrc = UInt32(truncatingIfNeeded: source.value)
        key.nwDst = UInt32(truncatingIfNeeded: ip.value)
        key[Location.arpSHA] = UInt128(mac)
        send(key.composePacket(), within: outer)
    }

    private func solicitIPv6(_ ip: IPAddress, from source: IPAddress, mac: UInt64, within outer: Translation?) {
        var w = WireWriter()
        w.mac(0x3333_ff00_0000 | UInt64(truncatingIfNeeded: ip.value & 0xff_ffff))
        w.mac(mac)
        w.u16(EtherType.ipv6)
        w.u32(6 << 28)
        w.u16(32)
        w.u8(IPProtocol.icmpv6)
        w.u8(255)
        w.u128(source.value)
        w.u128(0xff02_0000_0000_0000_0000_0001_ff00_0000 | ip.value & 0xff_ffff)
        w.u8(135)
        w.u8(0)
        w.u16(0)
        w.u32(0)
        w.u128(ip.value)
        w.u8(1)
        w.u8(1)
        w.mac(mac)
        let sum = w.bytes.withUnsafeBytes { bytes in
            let addresses = InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: bytes[22..<54]), 32 + 58)
            return InternetChecksum.finish(InternetChecksum.partial(UnsafeRawBufferPointer(rebasing: bytes[54...]), addresses))
        }
        w.patch16(Int(sum), at: 56)
        send(Packet(w.bytes), within: outer)
    }

    /// A packet of the bridge itself goes through its tables. These may lead it into a tunnel that wants a neighbour itself, or into the
    /// very tunnel that it is about: after a few of that kind there is an end.
    private func send(_ packet: consuming Packet, within outer: Translation?) {
        let questions = (outer?.questions ?? 0) + 1
        guard questions <= Translation.maxQuestions else { return }
        var packet = packet
        var key = FlowKey()
        key.extract(from: &packet)
        var flow = key
        flow.inPort = OFPort.local.rawValue
        let translation = Translation(self, flow: flow, sideEffects: true, packet: (packet.count, 0))
        translation.questions = questions
        translation.depth = outer?.depth ?? 0
        translation.resubmits = outer?.resubmits ?? 0
        translation.run(actions: [.output(.table, maxLength: 0)])
        key.inPort = localDatapathPort
        try? backer.dpif.execute(packet, metadata: key, actions: translation.actions)
    }
}
