// The settings of one bridge: addresses, VLANs, tables, learning, control.

import Dpif
import Flow
import Ofproto
import OpenFlow
import OVSDB

extension BridgeConfigurator {
    /// Applies all that a Bridge row says, once its ports are there.
    func configure(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ records: [PortRecord]) {
        let target = bridge.target
        let config = row.map("other_config")
        configureMTUs(records, target)
        configureAddress(bridge, config, records)
        let autoAttach = autoAttachSettings(row)
        for record in records { configure(record, of: bridge, autoAttach) }
        configureLearning(target, row, config)
        configureSpanningTree(bridge, row, records)
        configureNetFlow(bridge, row)
        configureSFlow(bridge, row)
        configureIPFIX(bridge, row)
        configureMirrors(target, row)
        configureTables(bridge, row)
        target.forwardsBPDU = config.bool("forward-bpdu")
        target.datapathDescription = config["dp-desc"] ?? "None"
        target.serial = config["dp-sn"] ?? "None"
        configureControl(bridge, row, config)
    }

    /// What the AutoAttach row of a bridge says.
    private func autoAttachSettings(_ row: OVSDBRow) -> AutoAttachSettings {
        var settings = AutoAttachSettings()
        guard let autoAttach = row.optionalUUID("auto_attach").flatMap({ client.row("AutoAttach", $0) }) else { return settings }
        settings.systemName = autoAttach.string("system_name")
        settings.systemDescription = autoAttach.string("system_description")
        settings.mappings = autoAttach.numberMap("mappings").sorted { $0.key < $1.key }.compactMap { service, vlan in
            guard (0...0xff_ffff).contains(service), (0...4095).contains(vlan) else { return nil }
            return LLDPDU.Assignment(vlan: UInt16(vlan), service: UInt32(service))
        }
        return settings
    }

    private func configure(_ record: PortRecord, of bridge: ConfiguredBridge, _ autoAttach: AutoAttachSettings) {
        let target = bridge.target
        let ports = record.interfaces.compactMap { target.port(named: $0.name) }
        var settings = BundleSettings(name: record.name, row: record.row)
        if settings.lacp != nil {
            if settings.lacp?.systemID == 0 { settings.lacp?.systemID = bridge.address }
            for interface in record.interfaces {
                settings.lacp?.members[interface.name] = LACPSettings.Member(interface.row?.map("other_config") ?? [:])
            }
        }
        if !ports.isEmpty { target.setBundle(settings, ports: ports) }
        for interface in record.interfaces {
            guard let row = interface.row, let port = target.port(named: interface.name) else { continue }
            target.setCFM(CFMSettings(row), on: port)
            let lldp = row.map("lldp")
            target.setLLDP(lldp.isEmpty ? nil : lldp.bool("enable"), autoAttach, on: port)
            target.setBFD(BFDSettings(row.map("bfd")), on: port)
            if let text = row.optionalString("mac") {
                if port.number == .local {
                    Self.log.err("interface \(port.name): ignoring mac in Interface record (use Bridge record to set local port's mac)")
                } else if interface.type == "internal" {
                    guard let address = unicastAddress(text) else {
                        Self.log.err("interface \(port.name): \"\(text)\" is not a unicast Ethernet address")
                        continue
                    }
                    do { try port.device.setMAC(address) } catch {
                        Self.log.err("interface \(port.name): setting MAC failed (\(error.reason))")
                    }
                }
            }
        }
    }

    /// The MTU that an interface's row asks for.
    func requestedMTU(_ record: InterfaceRecord) -> Int? {
        record.row?.optionalInteger("mtu_request").flatMap { (68...65535).contains($0) ? Int($0) : nil }
    }

    /// Requested MTUs; internal ports without one follow the smallest of the others.
    private func configureMTUs(_ records: [PortRecord], _ target: OpenFlowSwitch) {
        var smallest: Int?
        var followers: [SwitchPort] = []
        for interface in records.flatMap(\.interfaces) {
            guard let port = target.port(named: interface.name) else { continue }
            if let requested = requestedMTU(interface), !port.isPatch, port.device.mtu != 0 {
                do { try port.device.setMTU(requested) } catch {
                    Self.log.err("interface \(port.name): setting MTU \(requested) failed (\(error.reason))")
                }
            } else if interface.type == "internal" {
                followers.append(port)
            }
            if interface.type != "internal", port.device.mtu > 0 {
                smallest = min(smallest ?? .max, port.device.mtu)
            }
        }
        for port in followers where port.device.mtu != smallest ?? 1500 {
            try? port.device.setMTU(smallest ?? 1500)
        }
    }

    private func configureAddress(_ bridge: ConfiguredBridge, _ config: [String: String], _ records: [PortRecord]) {
        let target = bridge.target
        var address = config.address("hwaddr")
        if config["hwaddr"] != nil, address == nil {
            Self.log.err("bridge \(target.name): invalid other-config:hwaddr \"\(config["hwaddr"] ?? "")\"")
        }
        if address == nil {
            for record in records {
                var candidate = record.row?.optionalString("mac").flatMap(unicastAddress)
                if candidate == nil, let interface = record.interfaces.first, interface.name != target.name,
                    let port = target.port(named: interface.name)
                {
                    candidate = port.device.macAddress
                }
                // Not those that this or another switch made up.
                guard let candidate, candidate != 0, candidate & 0x0300_0000_0000 == 0 else { continue }
                address = min(address ?? .max, candidate)
            }
        }
        bridge.address = address ?? bridge.defaultAddress
        if let local = target.port(.local), local.device.macAddress != bridge.address {
            do { try local.device.setMAC(bridge.address) } catch {
                Self.log.err("bridge \(target.name): failed to set bridge Ethernet address: \(error.reason)")
            }
        }
        let id = config["datapath-id"].flatMap(datapathID) ?? bridge.address
        if id != target.datapathID {
            target.datapathID = id
            Self.log.info("bridge \(target.name): using datapath ID \(hex16(id))")
        }
    }

    /// Sixteen hexadecimal digits, or fewer after `0x`; not zero.
    private func datapathID(_ text: String) -> UInt64? {
        let digits = text.hasPrefix("0x") ? text.dropFirst(2) : text[...]
        guard text.hasPrefix("0x") ? (1...16).contains(digits.utf8.count) : digits.utf8.count == 16,
            let first = digits.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-"),
            let id = UInt64(digits, radix: 16), id != 0
        else { return nil }
        return id
    }

    private func configureMirrors(_ target: OpenFlowSwitch, _ row: OVSDBRow) {
        func portName(_ id: UUID?) -> String? { id.flatMap { client.row("Port", $0) }?.string("name") }
        let mirrors = row.uuids("mirrors").compactMap { id -> MirrorSettings? in
            guard let mirror = client.row("Mirror", id) else { return nil }
            var settings = MirrorSettings(name: mirror.string("name"))
            if mirror.bool("select_all") {
                settings.sourcePorts = Set(target.bundles.keys)
                settings.destinationPorts = settings.sourcePorts
            } else {
                settings.sourcePorts = Set(mirror.uuids("select_src_port").compactMap { portName($0) })
                settings.destinationPorts = Set(mirror.uuids("select_dst_port").compactMap { portName($0) })
            }
            let vlans = Set(mirror.integers("select_vlan").compactMap { UInt16(exactly: $0) })
            settings.vlans = vlans.isEmpty ? nil : vlans
            settings.outputPort = portName(mirror.optionalUUID("output_port"))
            settings.outputVLAN = mirror.optionalInteger("output_vlan").flatMap { UInt16(exactly: $0) }
            settings.snapLength = mirror.optionalInteger("snaplen").flatMap { UInt32(exactly: $0) }.flatMap { $0 < 14 ? nil : $0 }
            if settings.outputPort == nil, settings.outputVLAN == nil {
                Self.log.err("bridge \(target.name): mirror \(settings.name) does not specify output; ignoring")
                return nil
            }
            return settings
        }
        target.setMirrors(mirrors)
    }

    private func configureLearning(_ target: OpenFlowSwitch, _ row: OVSDBRow, _ config: [String: String]) {
        let macs = target.macs
        let floodVLANs = Set(row.integers("flood_vlans").filter { (0...4095).contains($0) }.map { UInt16($0) })
        if floodVLANs != macs.floodVLANs {
            macs.floodVLANs = floodVLANs
            macs.flush()
            target.backer.changed()
        }
        macs.agingTime = Int64(config.integer("mac-aging-time", default: 300, in: 15...3600))
        let capacity = config.integer("mac-table-size", default: 8192, in: 10...1_000_000)
        if capacity != macs.capacity { macs.setCapacity(capacity) }
        var snooping: SnoopingSettings?
        if row.bool("mcast_snooping_enable") {
            var settings = SnoopingSettings()
            settings.agingTime = Int64(config.integer("mcast-snooping-aging-time", default: 300, in: 15...3600))
            settings.capacity = config.integer("mcast-snooping-table-size", default: 2048, in: 10...1_000_000)
            settings.floodsUnregistered = !config.bool("mcast-snooping-disable-flood-unregistered")
            snooping = settings
        }
        target.setSnooping(snooping)
    }

    private func configureTables(_ bridge: ConfiguredBridge, _ row: OVSDBRow) {
        let rows = row.uuidMap("flow_tables")
        for id in UInt8(0)..<254 {
            var settings = TableSettings()
            if let table = rows[Int64(id)].flatMap({ client.row("Flow_Table", $0) }) {
                settings.name = table.string("name")
                settings.flowLimit = table.optionalInteger("flow_limit").flatMap { (0...Int64(UInt32.max)).contains($0) ? Int($0) : nil }
                settings.evicts = table.string("overflow_policy") == "evict"
                for text in table.strings("groups") {
                    do { settings.groups.append(try Subfield(parsing: text)) } catch {
                        Self.log.warn("bridge \(bridge.target.name): ignoring \(text) in Flow_Table groups (\(error))")
                    }
                }
                let prefixes = table.strings("prefixes").compactMap { name -> FieldLocation? in
                    let location = FieldID(named: name)?.row.location
                    if location == nil { Self.log.warn("bridge \(bridge.target.name): \(name) is not a field to keep prefixes of") }
                    return location
                }
                if !prefixes.isEmpty { settings.prefixes = prefixes }
            }
            if settings != bridge.tables[id] ?? TableSettings() {
                bridge.target.configureTable(id, settings)
                bridge.tables[id] = settings
            }
        }
    }

    // MARK: Control

    private func configureControl(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ config: [String: String]) {
        var control = bridge.controllers
        control.failMode = FailMode(rawValue: row.string("fail_mode")) ?? .standalone
        control.protocols = row.strings("protocols")
        control.disableInBand = config.bool("disable-in-band")
        control.inBandQueue = config["in-band-queue"].flatMap { UInt32($0) }
        control.packetQueueSize = config["controller-queue-size"].flatMap { Int64($0) }
        control.controllers = row.uuids("controller").compactMap { id in client.row("Controller", id).map(controller) }
            .sorted { $0.target < $1.target }
        bridge.controllers = control
        let hasControllers = control.controllers.contains { target in
            target.isService.map { !$0 }
                ?? !(target.target.hasPrefix("ptcp:") || target.target.hasPrefix("pssl:") || target.target.hasPrefix("punix:"))
        }
        let before = bridge.control
        bridge.control = (control.failMode, hasControllers)
        let standalone = control.failMode == .standalone && !hasControllers
        if before == nil || before?.hasControllers != hasControllers
            || !hasControllers && before?.mode != control.failMode
        {
            bridge.target.resetFlows(standalone: standalone)
        }
        controllers.configure(bridge.target, control)
    }

    private func controller(_ row: OVSDBRow) -> ControllerTarget {
        var target = ControllerTarget(id: row.uuid, target: row.string("target"))
        target.isService = row.optionalString("type").map { $0 == "service" }
        target.isInBand = row.optionalString("connection_mode").map { $0 == "in-band" }
        target.inactivityProbe = row.optionalInteger("inactivity_probe")
        target.maxBackoff = row.optionalInteger("max_backoff")
        target.enableAsyncMessages = row.optionalBool("enable_async_messages") ?? true
        target.rateLimit = row.optionalInteger("controller_rate_limit")
        target.burstLimit = row.optionalInteger("controller_burst_limit")
        target.queueSize = row.optionalInteger("controller_queue_size")
        target.dscp = row.map("other_config")["dscp"].flatMap { UInt8($0) }.flatMap { $0 < 64 ? $0 : nil }
        return target
    }
}

/// Sixteen hexadecimal digits.
func hex16(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
}
