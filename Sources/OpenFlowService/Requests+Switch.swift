// Requests about the switch itself: features, configuration, roles, formats, ports.

import Dpif
import Flow
import OpenFlow
import Ofproto
import Packet

extension OpenFlowConnection {
    func features(_ m: OFMessage) {
        var f = SwitchFeatures(datapathID: owner.datapathID)
        var capabilities: SwitchFeatures.Capabilities = [.flowStats, .tableStats, .portStats, .queueStats]
        if m.version <= .v11 { capabilities.insert(.arpMatchIP) }
        if m.version >= .v11 { capabilities.insert(.groupStats) }
        if m.version >= .v14 { capabilities.insert(.bundles) }
        f.capabilities = capabilities
        // Every action of OpenFlow 1.0.
        if m.version == .v10 { f.actions = 0xfff }
        f.ports = owner.portsInOrder.map { PortDescription($0, version: m.version) }
        send(f.encode(version: m.version, xid: m.xid))
    }

    func getConfig(_ m: OFMessage) {
        var flags = owner.fragmentHandling.rawValue
        if sendsInvalidTTL, m.version == .v11 || m.version == .v12 { flags |= 4 }
        send(SwitchConfig(flags: flags, missSendLength: missSendLength).reply(version: m.version, xid: m.xid))
    }

    func setConfig(_ m: OFMessage) throws(OFError) {
        let config = try SwitchConfig.decode(m)
        if purpose != .primary || role != .secondary {
            // Reassembly is nothing that the switch can do, so it stays as it is.
            if let handling = FragmentHandling(rawValue: config.flags & 3) { owner.setFragmentHandling(handling) }
        }
        sendsInvalidTTL = config.flags & 4 != 0
        if m.version <= .v12 {
            if sendsInvalidTTL { async.primary[0] |= 4 } else { async.primary[0] &= ~4 }
        }
        missSendLength = config.missSendLength
    }

    // MARK: Roles

    func roleRequest(_ m: OFMessage) throws(OFError) {
        let request = try RoleRequest.decode(m)
        if request.role != .noChange {
            if let new = request.generation {
                // Older than the newest seen, in a number space that wraps.
                if let seen = service.generation, Int64(bitPattern: new &- seen) < 0 { throw .rrfcStale }
                service.generation = new
            }
            service.setRole(request.role, of: self)
        }
        send(RoleRequest.reply(to: m, role: role, generation: service.generation))
    }

    // MARK: Nicira's settings

    func setFlowFormat(_ m: OFMessage) throws(OFError) {
        var r = m.body
        switch try r.u32() {
        case 0: usesNXM = false
        case 2: usesNXM = true
        default: throw .brcEperm
        }
    }

    func setFlowModTableID(_ m: OFMessage) throws(OFError) {
        var r = m.body
        flowModHasTable = try r.u8() != 0
    }

    func setPacketInFormat(_ m: OFMessage) throws(OFError) {
        var r = m.body
        guard let format = PacketInFormat(rawValue: try r.u32()) else { throw .brcEperm }
        packetInFormat = format
    }

    func setControllerID(_ m: OFMessage) throws(OFError) {
        var r = m.body
        guard r.isZero(6) else { throw .nxbrcMustBeZero }
        try r.skip(6)
        controllerID = try r.u16()
        service.updateMissInterest()
    }

    // MARK: Ports

    func portMod(_ m: OFMessage) throws(OFError) {
        let mod = try PortMod.decode(m)
        let port = try portForMod(mod)
        apply(mod, to: port)
    }

    /// The port that a port_mod means, checked.
    func portForMod(_ mod: PortMod) throws(OFError) -> SwitchPort {
        guard let port = owner.port(mod.port) else { throw .pmfcBadPort }
        guard mod.address == port.device.macAddress else { throw .pmfcBadHwAddr }
        return port
    }

    func apply(_ mod: PortMod, to port: SwitchPort) {
        let settable: PortDescription.Config = [
            .portDown, .noReceive, .noReceiveSTP, .noFlood, .noForward, .noPacketIn,
        ]
        let mask = mod.mask.intersection(settable).rawValue
        owner.setConfig(PortConfig(rawValue: port.config.rawValue & ~mask | mod.config.rawValue & mask), of: port)
    }

    func portDescription(_ m: OFMessage) throws(OFError) {
        let wanted = try PortStats.decodeRequest(m)
        var reply = MultipartReply(to: m)
        for port in owner.portsInOrder where wanted == .none || port.number == wanted {
            let description = PortDescription(port, version: m.version)
            reply.append { description.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }

    func portStats(_ m: OFMessage) throws(OFError) {
        let wanted = try PortStats.decodeRequest(m)
        owner.backer.synchronise()
        var reply = MultipartReply(to: m)
        let now = owner.time.now
        for port in owner.portsInOrder where wanted == .none || port.number == wanted {
            let stats = PortStats(port, now: now)
            reply.append { stats.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }

    // MARK: Queues

    /// The queues that a request asks for, by port and number. Throws where there are none.
    /// - Parameter port: `.none`: all. `queue`: the largest number: all.
    private func queues(of port: OFPort, _ queue: UInt32) throws(OFError) -> [(port: OFPort, queue: UInt32, counters: QueueCounters)] {
        if port != .none, owner.port(port) == nil { throw .qofcBadPort }
        var found: [(port: OFPort, queue: UInt32, counters: QueueCounters)] = []
        for candidate in owner.portsInOrder where port == .none || candidate.number == port {
            for (number, counters) in candidate.device.queues.sorted(by: { $0.key < $1.key }) where queue == .max || number == queue {
                found.append((candidate.number, number, counters))
            }
        }
        guard !found.isEmpty || queue == .max else { throw .qofcBadQueue }
        return found
    }

    func queueStats(_ m: OFMessage) throws(OFError) {
        let (wanted, queue) = try QueueStats.decodeRequest(m)
        var reply = MultipartReply(to: m)
        for (port, number, counters) in try queues(of: wanted, queue) {
            var stats = QueueStats(port: port, queue: number)
            (stats.txBytes, stats.txPackets, stats.txErrors) = (counters.bytes, counters.packets, counters.dropped)
            if let created = counters.created {
                let age = max(0, owner.time.now - created)
                stats.durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
                stats.durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
            }
            reply.append { stats.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }

    func queueConfig(_ m: OFMessage) throws(OFError) {
        let (wanted, queue) = try QueueDescription.decodeRequest(m)
        let all = try queues(of: wanted, queue).map { QueueDescription(port: $0.port, queue: $0.queue) }
        guard m.version >= .v14 else {
            guard wanted != .local else { throw .qofcBadPort }
            guard wanted != .none || m.version > .v10 else { throw .qofcBadPort }
            send(QueueDescription.reply(all, port: wanted, version: m.version, xid: m.xid))
            return
        }
        var reply = MultipartReply(to: m)
        for queue in all { reply.append { queue.encode(version: m.version, to: &$0) } }
        sendAll(&reply)
    }

    // MARK: Packets

    func packetOut(_ m: OFMessage) throws(OFError) {
        let request = try PacketOut.decode(m, tunnelOptions: tunnelOptions)
        try owner.packetOut(request, version: m.version)
    }

    func resume(_ m: OFMessage) throws(OFError) {
        let request = try Resume.decode(m, tunnelOptions: tunnelOptions)
        guard !request.continuation.isEmpty else { throw .nxrStale }
        try owner.resume(request, version: m.version)
    }

    func flushConntrack(_ m: OFMessage) throws(OFError) {
        owner.flushConntrack(try ConntrackFlush.decode(m))
    }

    func describe(_ m: OFMessage) {
        var reply = MultipartReply(to: m)
        reply.describe(
            manufacturer: owner.manufacturer, hardware: owner.hardware, software: owner.software, serial: owner.serial,
            datapath: owner.datapathDescription)
        sendAll(&reply)
    }

    func sendAll(_ reply: inout MultipartReply) {
        for message in reply.finish() { send(message) }
    }
}

extension PortDescription {
    init(_ port: SwitchPort, version: OFVersion) {
        self.init(port: port.number)
        address = port.device.macAddress
        name = port.name
        config = Config(rawValue: port.config.rawValue)
        state = !port.device.isLinkUp ? .linkDown : config.contains(.portDown) ? [] : .live
        if version == .v10 { state.insert(State(rawValue: port.spanningTree.openFlowState << 8)) }
        let features = port.device.features
        current = Self.bits(features.current)
        advertised = Self.bits(features.advertised)
        supported = Self.bits(features.supported)
        peer = Self.bits(features.peer)
        currentSpeed = Self.speed(features.current)
        maxSpeed = Self.speed(features.supported.isEmpty ? features.current : features.supported)
    }

    private static func bits(_ f: PortFeatures) -> UInt32 {
        // Asymmetric and symmetric pause follow autonegotiation in OpenFlow 1.1.
        f.rawValue & 0x3fff
    }

    /// Kbit/s of the fastest mode.
    private static func speed(_ f: PortFeatures) -> UInt32 { UInt32(clamping: (f.fastest?.bitsPerSecond ?? 0) / 1000) }
}

extension PortStats {
    init(_ port: SwitchPort, now: Int64) {
        self.init(port: port.number)
        let s = port.stats
        rxPackets = s.rxPackets ?? .max
        txPackets = s.txPackets ?? .max
        rxBytes = s.rxBytes ?? .max
        txBytes = s.txBytes ?? .max
        rxDropped = s.rxDropped ?? .max
        txDropped = s.txDropped ?? .max
        rxErrors = s.rxErrors ?? .max
        txErrors = s.txErrors ?? .max
        rxFrameErrors = s.rxFrameErrors ?? .max
        rxOverErrors = s.rxOverErrors ?? .max
        rxCRCErrors = s.rxCRCErrors ?? .max
        collisions = s.collisions ?? .max
        let age = max(0, now - port.created)
        durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
        durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
        if port.device.type.hasPrefix("dummy") {
            custom = [
                ("rx_custom_packets_1", s.rxPackets ?? 0), ("rx_custom_packets_2", s.rxPackets ?? 0), ("rx_q0_bytes", s.rxBytes ?? 0),
                ("rx_q0_packets", s.rxPackets ?? 0), ("tx_q0_bytes", s.txBytes ?? 0), ("tx_q0_packets", s.txPackets ?? 0),
            ]
        }
    }
}
