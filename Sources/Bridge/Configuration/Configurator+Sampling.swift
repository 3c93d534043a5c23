// sFlow and IPFIX of a bridge, as their rows say.

import Flow
import OVSDB
import Ofproto

extension BridgeConfigurator {
    /// Samples for what the sFlow row of a bridge says.
    func configureSFlow(_ bridge: ConfiguredBridge, _ row: OVSDBRow) {
        let target = bridge.target
        guard let sFlow = row.optionalUUID("sflow").flatMap({ client.row("sFlow", $0) }), let agent = agent(of: sFlow, target.name) else {
            target.setSFlow(nil) { _ in }
            bridge.sFlowCollectors.targets = []
            return
        }
        func number(_ column: String) -> UInt32? { sFlow.optionalInteger(column).map { UInt32(clamping: $0) } }
        var settings = SFlowSettings(agent: agent)
        settings.targets = Set(sFlow.strings("targets"))
        settings.sampling = number("sampling") ?? settings.sampling
        settings.polling = number("polling") ?? settings.polling
        settings.headerSize = number("header").map { Int(min($0, SFlowSettings.maxHeaderSize)) } ?? settings.headerSize
        settings.subID = sampledBridges
        sampledBridges += 1
        bridge.sFlowCollectors.targets = settings.targets
        target.setSFlow(settings) { [weak bridge] in bridge?.sFlowCollectors.send($0) }
    }

    /// The agent's address: given, or that of an interface, or the one that the first collector is reached from.
    private func agent(of row: OVSDBRow, _ bridge: String) -> IPAddress? {
        if let text = row.optionalString("agent"), !text.isEmpty {
            if let address = IPAddress(text: text) ?? Collectors.address(ofInterface: text) { return address }
        }
        for target in row.strings("targets").sorted() {
            if let address = Collectors.localAddress(to: target) { return address }
        }
        Self.log.warn("bridge \(bridge): sFlow: could not determine IP address for agent")
        return nil
    }

    /// Exports what the IPFIX row of a bridge says, and what the rows of its sets of collectors say.
    func configureIPFIX(_ bridge: ConfiguredBridge, _ row: OVSDBRow) {
        var wanted: [UInt32?: IPFIXSettings] = [:]
        if let ipfix = row.optionalUUID("ipfix").flatMap({ client.row("IPFIX", $0) }) {
            var settings = exporter(ipfix)
            func number(_ column: String) -> UInt32? { ipfix.optionalInteger(column).map { UInt32(clamping: $0) } }
            settings.sampling = number("sampling") ?? settings.sampling
            settings.domain = number("obs_domain_id") ?? 0
            settings.point = number("obs_point_id") ?? 0
            // The real daemon takes these for the opposite of what the manual says: true switches sampling off.
            let config = ipfix.map("other_config")
            settings.samplesInput = !config.bool("enable-input-sampling")
            settings.samplesOutput = !config.bool("enable-output-sampling")
            wanted[nil] = settings
        }
        for set in client.rows("Flow_Sample_Collector_Set").values where set.optionalUUID("bridge") == row.uuid {
            guard let ipfix = set.optionalUUID("ipfix").flatMap({ client.row("IPFIX", $0) }) else { continue }
            wanted[UInt32(clamping: set.integer("id"))] = exporter(ipfix)
        }
        for (id, settings) in wanted {
            let collectors = bridge.ipfixCollectors[id] ?? Collectors()
            collectors.targets = settings.targets
            bridge.ipfixCollectors[id] = collectors
        }
        var sets: [UInt32: IPFIXSettings] = [:]
        for case (.some(let id), let settings) in wanted { sets[id] = settings }
        bridge.target.setIPFIX(bridge: wanted[nil], sets: sets) { [weak bridge] id in
            { bridge?.ipfixCollectors[id]?.send($0) ?? (0, 0) }
        }
        // What exporters that end had left to say has gone out.
        bridge.ipfixCollectors = bridge.ipfixCollectors.filter { wanted[$0.key] != nil }
    }

    private func exporter(_ row: OVSDBRow) -> IPFIXSettings {
        let config = row.map("other_config")
        var settings = IPFIXSettings()
        settings.targets = Set(row.strings("targets"))
        settings.activeTimeout = max(0, row.integer("cache_active_timeout")) * 1000
        settings.maxFlows = Int(max(0, row.integer("cache_max_flows")))
        settings.samplesTunnels = config["enable-tunnel-sampling"] != "false"
        settings.virtualID = config["virtual_obs_id"].flatMap { (1...254).contains($0.utf8.count) ? $0 : nil }
        return settings
    }
}
