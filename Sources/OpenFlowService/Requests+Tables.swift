// What tables can do, and what a controller may change about that: OFPMP_TABLE_FEATURES.

import Flow
import OpenFlow
import Ofproto

extension OpenFlowConnection {
    /// Answers a request for the features of all tables, after making what changes it asks for.
    /// - Parameter parts: the messages of the request.
    func tableFeatures(_ m: OFMessage, _ parts: [OFMessage]) throws(OFError) {
        try changeTables(parts)
        var reply = MultipartReply(to: m)
        for table in owner.tables.visible {
            let features = TableFeatures(table: table.id, name: table.name, maxEntries: table.maxEntries)
            reply.append { features.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }

    /// Of what tables can do only their names can be changed.
    private func changeTables(_ parts: [OFMessage]) throws(OFError) {
        var changes: [TableFeaturesRequest] = []
        var seen: Set<UInt8> = []
        for part in parts {
            var reader = part.body
            while !reader.isEmpty {
                let change = try TableFeaturesRequest.decode(&reader, version: part.version)
                guard seen.insert(change.table).inserted else { throw .nxtffcDupTable }
                changes.append(change)
            }
        }
        if !changes.isEmpty, role == .secondary { throw .brcIsSecondary }
        for change in changes {
            guard change.table != 255 else { throw .tffcBadTable }
            guard change.command == .modify, change.table < 254, change.capabilities == 0,
                change.maxEntries == owner.tables[Int(change.table)].maxEntries
            else { throw .tffcEperm }
        }
        for change in changes { owner.tables[Int(change.table)].setNameByControllers(change.name) }
    }
}

extension FlowTable {
    /// The most flows that the table may hold, as controllers are told.
    var maxEntries: UInt32 { UInt32(clamping: maxFlows ?? 1_000_000) }
}
