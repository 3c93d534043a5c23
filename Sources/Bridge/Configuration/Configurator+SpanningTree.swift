// STP and RSTP of a bridge, as ovs-vswitchd.conf.db(5) describes them in the Bridge and Port tables.

import Dpif
import Flow
import Ofproto
import OVSDB

extension BridgeConfigurator {
    /// Starts, changes or stops the spanning tree of a bridge.
    func configureSpanningTree(_ bridge: ConfiguredBridge, _ row: OVSDBRow, _ records: [PortRecord]) {
        let target = bridge.target
        let config = row.map("other_config")
        let usesRSTP = row.bool("rstp_enable")
        let usesSTP = row.bool("stp_enable") && !usesRSTP
        if usesRSTP, row.bool("stp_enable") {
            Self.log.err("\(target.name): RSTP and STP are mutually exclusive but both are configured; enabling RSTP")
        }
        guard usesSTP || usesRSTP else {
            target.setSTP(nil, ports: [])
            target.setRSTP(nil, ports: [])
            return
        }
        let members = candidates(target, records)
        if usesSTP {
            target.setRSTP(nil, ports: [])
            target.setSTP(stpSettings(bridge, config), ports: stpPorts(target, members))
        } else {
            target.setSTP(nil, ports: [])
            target.setRSTP(rstpSettings(bridge, config), ports: rstpPorts(target, members))
        }
    }

    private typealias Member = (port: SwitchPort, config: [String: String])

    /// The ports that may take part, in the order in which the real daemon numbers them: no bonds, internal ports, or outputs of
    /// mirrors.
    private func candidates(_ target: OpenFlowSwitch, _ records: [PortRecord]) -> [Member] {
        var order = HashTableOrder<PortRecord>()
        for record in records { order.insert(record, hash: MurmurHash.bytes(Array(record.name.utf8), basis: 0)) }
        return order.elements.compactMap { record in
            guard record.interfaces.count == 1, record.interfaces[0].type != "internal",
                let port = target.port(named: record.interfaces[0].name),
                !target.mirrors.contains(where: { $0.settings.outputPort == record.name })
            else { return nil }
            return (port, record.row?.map("other_config") ?? [:])
        }
    }

    // MARK: STP

    private func stpSettings(_ bridge: ConfiguredBridge, _ config: [String: String]) -> STPSettings {
        var settings = STPSettings(systemID: config.anyAddress("stp-system-id") ?? bridge.address)
        // Values are cut to 16 bits. The hello time counts milliseconds, whatever the documentation says.
        func number(_ key: String, _ scale: Int) -> Int? {
            config[key].flatMap { UInt64($0) }.map { Int(UInt16(truncatingIfNeeded: $0 &* UInt64(scale))) }
        }
        if let priority = number("stp-priority", 1) { settings.priority = UInt16(truncatingIfNeeded: priority) }
        if let time = number("stp-hello-time", 1) { settings.helloTime = time }
        if let time = number("stp-max-age", 1000) { settings.maxAge = time }
        if let time = number("stp-forward-delay", 1000) { settings.forwardDelay = time }
        return settings
    }

    private func stpPorts(_ target: OpenFlowSwitch, _ members: [Member]) -> [(port: SwitchPort, settings: STPPortSettings)] {
        var ports: [(port: SwitchPort, settings: STPPortSettings)] = []
        var used: Set<UInt8> = []
        var numbered = 0
        for (port, config) in members where config.bool("stp-enable", default: true) {
            let number: UInt8
            if let wanted = config["stp-port-num"].flatMap({ Int($0) }) {
                guard let valid = UInt8(exactly: wanted), valid > 0 else {
                    Self.log.err("port \(port.name): invalid STP port number \(wanted)")
                    continue
                }
                guard used.insert(valid).inserted else {
                    Self.log.err("port \(port.name): Duplicate STP port number \(valid)")
                    continue
                }
                number = valid
                numbered += 1
            } else {
                guard numbered == 0 else {
                    Self.log.err("port \(port.name): STP port numbers must all be automatic, or all be configured; disabling")
                    continue
                }
                guard let free = (1...255).map({ UInt8($0) }).first(where: { !used.contains($0) }) else {
                    Self.log.err("port \(port.name): too many STP ports, disabling")
                    continue
                }
                used.insert(free)
                number = free
            }
            let cost = config["stp-path-cost"].flatMap { UInt64($0) }.map { UInt16(truncatingIfNeeded: $0) }
            var settings = STPPortSettings(number: number, pathCost: cost ?? Self.stpCost(port))
            if let priority = config["stp-port-priority"].flatMap({ UInt64($0) }) {
                settings.priority = UInt8(truncatingIfNeeded: priority)
            }
            ports.append((port, settings))
        }
        return ports
    }

    /// IEEE 802.1D-1998, table 8-5, and on from there.
    private static func stpCost(_ port: SwitchPort) -> UInt16 {
        switch megabits(port) {
        case 10_000...: 2
        case 1000...: 4
        case 100...: 19
        case 16...: 62
        case 10...: 100
        case 4...: 250
        default: 19
        }
    }

    // MARK: RSTP

    private func rstpSettings(_ bridge: ConfiguredBridge, _ config: [String: String]) -> RSTPSettings {
        var settings = RSTPSettings(address: config.anyAddress("rstp-address") ?? bridge.address)
        settings.priority = UInt16(config.integer("rstp-priority", default: 0x8000, in: 0...61_440)) & 0xf000
        settings.version = config["rstp-force-protocol-version"] == "0" ? 0 : 2
        settings.maxAge = config.integer("rstp-max-age", default: 20, in: 6...40)
        settings.forwardDelay = config.integer("rstp-forward-delay", default: 15, in: 4...30)
        settings.transmitHoldCount = config.integer("rstp-transmit-hold-count", default: 6, in: 1...10)
        return settings
    }

    private func rstpPorts(_ target: OpenFlowSwitch, _ members: [Member]) -> [(port: SwitchPort, settings: RSTPPortSettings)] {
        let taking = members.filter { $0.config.bool("rstp-enable", default: true) }
        var used: Set<UInt16> = []
        // Those that ask for a number get it first.
        var numbers: [UInt16?] = taking.map { member in
            guard let wanted = member.config["rstp-port-num"].flatMap({ UInt16($0) }), (1...4095).contains(wanted),
                used.insert(wanted).inserted
            else { return nil }
            return wanted
        }
        // The others get the first that no other has, now or so far.
        var held: [String: UInt16] = [:]
        for port in target.rstp?.ports ?? [] where taking.contains(where: { $0.port === port.port }) {
            if !used.contains(port.settings.number) { held[port.port.name] = port.settings.number }
        }
        for i in numbers.indices where numbers[i] == nil {
            let name = taking[i].port.name
            held[name] = nil
            let others = used.union(held.values)
            numbers[i] = (1...4095).first { !others.contains($0) }
            held[name] = numbers[i]
        }
        return zip(taking, numbers).compactMap { member, number in
            guard let number else {
                Self.log.err("port \(member.port.name): too many RSTP ports, disabling")
                return nil
            }
            let cost = member.config["rstp-path-cost"].flatMap { UInt32($0) }.flatMap { (1...200_000_000).contains($0) ? $0 : nil }
            var settings = RSTPPortSettings(number: number, pathCost: cost ?? Self.rstpCost(member.port))
            settings.priority = UInt8(member.config.integer("rstp-port-priority", default: 128, in: 0...240)) & 0xf0
            settings.adminEdge = member.config.bool("rstp-port-admin-edge")
            settings.autoEdge = member.config.bool("rstp-port-auto-edge", default: true)
            settings.mcheck = member.config.bool("rstp-port-mcheck")
            return (member.port, settings)
        }
    }

    /// IEEE 802.1D-2004, table 17-3.
    private static func rstpCost(_ port: SwitchPort) -> UInt32 {
        let speed = megabits(port)
        return speed == 0 ? 200_000 : UInt32(clamping: max(1, 20_000_000 / speed))
    }

    /// A port's speed in Mbit/s; 10 Gbit/s where the device does not say.
    private static func megabits(_ port: SwitchPort) -> Int {
        port.device.features.current.fastest.map { Int($0.bitsPerSecond / 1_000_000) } ?? 10_000
    }
}

extension Dictionary where Key == String, Value == String {
    /// Reads an Ethernet address.
    fileprivate func anyAddress(_ key: String) -> UInt64? { self[key].flatMap { AddressText.parseMAC($0) } }
}
