// The spanning tree columns of the database that the switch fills: status and rstp_status of bridges and ports.

import Ofproto
import OVSDB

enum SpanningTreeStatus {
    /// Bridge.status and Bridge.rstp_status.
    static func columns(of target: OpenFlowSwitch) -> [String: OVSDBDatum] {
        var status: [String: String] = [:]
        if let stp = target.stp {
            status = [
                "stp_bridge_id": stpID(stp.bridgeID), "stp_designated_root": stpID(stp.designatedRoot),
                "stp_root_path_cost": String(stp.rootPathCost),
            ]
        }
        var rapid: [String: String] = [:]
        if let rstp = target.rstp {
            let root = rstp.rootPort
            rapid = [
                "rstp_bridge_id": rstpID(rstp.bridgeID), "rstp_root_id": rstpID(rstp.rootPriority.root),
                "rstp_root_path_cost": String(rstp.rootPriority.cost), "rstp_designated_id": rstpID(rstp.rootPriority.bridge),
                "rstp_designated_port_id": hex4(rstp.rootPriority.port), "rstp_bridge_port_id": hex4(root?.id ?? 0),
            ]
        }
        return ["status": .map(status), "rstp_status": .map(rapid)]
    }

    /// Port.status, Port.rstp_status, and with `counts` the statistics; those stay as they were when the protocol stops.
    static func columns(ofPort name: String, on target: OpenFlowSwitch, counts: Bool) -> [String: OVSDBDatum] {
        let ports = target.bundles[name]?.ports ?? []
        let port = ports.count == 1 ? ports.first : nil
        let stp = port.flatMap { target.stp?.port($0) }
        let rstp = port.flatMap { target.rstp?.port($0) }
        var columns: [String: OVSDBDatum] = ["status": .map([String: String]()), "rstp_status": .map([String: String]())]
        if let tree = target.stp, let stp {
            columns["status"] = .map([
                "stp_port_id": String(stp.id), "stp_state": stp.state.rawValue, "stp_sec_in_state": String(stp.timeInState / 1000),
                "stp_role": tree.role(stp).rawValue,
            ])
            if counts {
                columns["statistics"] = .map([
                    "stp_tx_count": Int64(stp.transmitted), "stp_rx_count": Int64(stp.received), "stp_error_count": Int64(stp.errors),
                ])
            }
        }
        if let rstp {
            columns["rstp_status"] = .map([
                "rstp_port_id": hex4(rstp.id), "rstp_port_role": rstp.role.rawValue, "rstp_port_state": rstp.stateName,
                "rstp_designated_bridge_id": rstpID(rstp.portPriority.bridge),
                "rstp_designated_port_id": hex4(rstp.portPriority.port),
                "rstp_designated_path_cost": String(rstp.portPriority.cost),
            ])
            if counts {
                columns["rstp_statistics"] = .map([
                    "rstp_tx_count": Int64(rstp.transmitted), "rstp_rx_count": Int64(rstp.received),
                    "rstp_error_count": Int64(rstp.errors), "rstp_uptime": Int64(rstp.uptime),
                ])
            }
        }
        return columns
    }

    /// `8000.0123456789ab`
    private static func stpID(_ id: UInt64) -> String {
        let digits = hex16(id)
        return digits.prefix(4) + "." + digits.dropFirst(4)
    }

    /// `8.000.0123456789ab`
    private static func rstpID(_ id: UInt64) -> String {
        let digits = hex16(id)
        return digits.prefix(1) + "." + digits.dropFirst(1).prefix(3) + "." + digits.dropFirst(4)
    }

    private static func hex4(_ value: UInt16) -> String { String(hex16(UInt64(value)).suffix(4)) }
}
