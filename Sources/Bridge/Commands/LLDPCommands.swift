// autoattach/*: what LLDP has found out. The commands take a bridge's name and show every bridge's ports whatever it is, as those
// of the real daemon do.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    private var agents: [LLDP] {
        fabric.orderedSwitches.flatMap(\.portsInOrder).compactMap(\.lldp).sorted { $0.name < $1.name }
    }

    func registerLLDP() {
        for (name, show) in [
            ("status", Self.status), ("show-isid", Self.services), ("statistics", Self.statistics),
        ] {
            server.register("autoattach/\(name)", "[bridge]", 0, 1) { [unowned self] _ in .ok(agents.map(show).joined()) }
        }
    }

    private static func status(_ lldp: LLDP) -> String {
        var out = "LLDP: \(lldp.name)\n"
        for neighbor in lldp.neighbors {
            guard let element = neighbor.element else { continue }
            let description = neighbor.last.systemDescription
            let id = neighbor.chassisAddress.map(AddressText.mac) ?? hex(neighbor.last.chassisID.dropFirst())
            out += "  Auto Attach Primary Server Id: \(id)\n"
            out += "  Auto Attach Primary Server Descr: \(description.isEmpty ? "<None>" : description)\n"
            out += "  Auto Attach Primary Server System Id: \(hex(element.systemID + [0, 0]))\n"
        }
        return out
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }

    private static func services(_ lldp: LLDP) -> String {
        var out = "LLDP: \(lldp.name)\nI-SID    VLAN Source      Status  \n-------- ---- ----------- --------\n"
        func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.utf8.count)) }
        for mapping in lldp.settings.mappings.sorted(by: { $0.service > $1.service }) {
            let status =
                switch lldp.statuses[mapping.service] ?? 0 {
                case 0, 1: "Pending"
                case 2: "Active"
                case 3: "Reject (AA resources unavailable)"
                case 4: "Reject (VLAN resources unavailable)"
                default: "Reject (Application interaction issue)"
                }
            out += "\(pad(String(mapping.service), 8)) \(pad(String(mapping.vlan), 4)) Switch      \(pad(status, 11))\n"
        }
        return out
    }

    /// Those who say goodbye are not counted.
    private static func statistics(_ lldp: LLDP) -> String {
        "Statistics: \(lldp.name)\n  tx cnt: \(lldp.transmitted)\n  rx cnt: \(lldp.received)\n"
            + "  rx discarded cnt: \(lldp.discarded)\n  rx unrecognized cnt: \(lldp.unrecognized)\n"
            + "  ageout cnt: \(lldp.agedOut)\n  insert cnt: \(lldp.inserted)\n  delete cnt: 0\n"
            + "  drop cnt: \(lldp.dropped)\n"
    }
}
