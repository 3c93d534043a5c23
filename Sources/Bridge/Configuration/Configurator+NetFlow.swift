// NetFlow of a bridge, as its rows say.

import Ofproto
import OVSDB

extension BridgeConfigurator {
    /// Exports what the NetFlow row of a bridge says.
    func configureNetFlow(_ bridge: ConfiguredBridge, _ row: OVSDBRow) {
        let target = bridge.target
        guard let netFlow = row.optionalUUID("netflow").flatMap({ client.row("NetFlow", $0) }) else {
            target.setNetFlow(nil) { _ in }
            bridge.collectors.targets = []
            return
        }
        var settings = NetFlowSettings()
        settings.targets = Set(netFlow.strings("targets"))
        // The real daemon's datapath has this number.
        settings.engineType = netFlow.optionalInteger("engine_type").flatMap { UInt8(exactly: $0) } ?? 0
        settings.engineID = netFlow.optionalInteger("engine_id").flatMap { UInt8(exactly: $0) } ?? 0
        settings.addsIDToInterface = netFlow.bool("add_id_to_interface")
        let timeout = netFlow.integer("active_timeout")
        settings.activeTimeout = timeout < 0 ? 0 : timeout == 0 ? 600_000 : min(timeout, 1 << 40) * 1000
        if settings.addsIDToInterface, target.portsInOrder.count > 508 {
            Self.log.warn("bridge \(target.name): using an interface ID for NetFlow with more than 508 ports is not supported")
        }
        bridge.collectors.targets = settings.targets
        target.setNetFlow(settings) { [weak bridge] in bridge?.collectors.send($0) }
    }
}
