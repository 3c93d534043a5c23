// The Datapath table: conntrack timeouts of zones, and what each datapath can do.

import Dpif
import Ofproto
import OVSDB

extension BridgeConfigurator {
    /// Gives connections the timeouts that CT_Zone and CT_Timeout_Policy rows say.
    func configureDatapaths(_ root: OVSDBRow) {
        let rows = root.namedUUIDs("datapaths")
        for (type, backer) in fabric.backers {
            var zones: [UInt16: [String: UInt32]] = [:]
            let datapath = rows[type].flatMap { client.row("Datapath", $0) }
            for (zone, id) in datapath?.uuidMap("ct_zones") ?? [:] {
                guard let zone = UInt16(exactly: zone), let row = client.row("CT_Zone", id),
                    let policy = row.optionalUUID("timeout_policy").flatMap({ client.row("CT_Timeout_Policy", $0) })
                else { continue }
                zones[zone] = policy.integerMap("timeouts").compactMapValues { UInt32(exactly: $0) }
            }
            backer.setTimeoutPolicies(zones)
        }
    }
}

extension DpifCapabilities {
    /// As Datapath.capabilities names them.
    var databaseColumn: [String: String] {
        let flags: [(String, Bool)] = [
            ("masked_set_action", maskedSet), ("tnl_push_pop", tunnelPushPop), ("ufid", ufid), ("trunc", truncate), ("clone", clone),
            ("sample_nesting", sampleNesting > 0), ("ct_eventmask", ctEventMask), ("ct_clear", ctClear),
            ("check_pkt_len", checkPacketLength), ("ct_timeout", ctTimeoutPolicy), ("explicit_drop_action", explicitDrop),
            ("lb_output_action", lbOutput), ("ct_zero_snat", ctZeroSNAT), ("add_mpls", addMPLS), ("recirc", recirculation),
            ("ct_state", ctState), ("ct_zone", ctZone), ("ct_mark", ctMark), ("ct_label", ctLabel), ("ct_state_nat", ctStateNAT),
            ("ct_orig_tuple", ctOrigTuple), ("ct_orig_tuple6", ctOrigTuple6), ("nd_ext", ndExtensions), ("ct_flush", ctState),
        ]
        var column = Dictionary(uniqueKeysWithValues: flags.map { ($0.0, String($0.1)) })
        for (name, count) in [("max_hash_alg", maxHashAlgorithm), ("max_mpls_depth", maxMPLSDepth), ("max_vlan_headers", maxVLANHeaders)] {
            column[name] = String(count)
        }
        return column
    }
}
