// Requests about flows and tables.

import Flow
import OpenFlow
import Ofproto

extension OpenFlowConnection {
    func flowMod(_ m: OFMessage) throws(OFError) {
        let mod = try FlowMod.decode(m, tableID: flowModHasTable, tunnelOptions: tunnelOptions)
        // No packet is ever kept for later, and where flows go none is asked for.
        guard mod.table != 254 || mod.command == .deleteStrict else { throw .brcEperm }
        guard mod.bufferID == .max || mod.command == .delete || mod.command == .deleteStrict else { throw .brcBufferUnknown }
        try service.changeFlows(FlowChange(mod), by: self, xid: m.xid)
    }

    private func select(_ m: OFMessage) throws(OFError) -> FlowSelection {
        let request = try FlowStatsRequest.decode(m, tunnelOptions: tunnelOptions)
        owner.backer.synchronise()
        var criteria = FlowCriteria(match: request.match, cookie: request.cookie, cookieMask: request.cookieMask)
        criteria.outPort = request.outPort
        criteria.outGroup = request.outGroup
        return try owner.select(table: request.table, criteria)
    }

    func flowStats(_ m: OFMessage) throws(OFError) { begin(FlowDump(try select(m), for: m, now: owner.time.now)) }

    func aggregateStats(_ m: OFMessage) throws(OFError) { begin(FlowCount(try select(m), for: m)) }

    // MARK: Tables

    func tableStats(_ m: OFMessage) {
        owner.backer.synchronise()
        var reply = MultipartReply(to: m)
        for table in owner.tables.visible {
            var stats = TableStats(table: table.id)
            stats.name = table.name
            stats.maxEntries = table.maxEntries
            stats.activeCount = UInt32(clamping: table.count)
            stats.lookupCount = table.matchedCount &+ table.missedCount
            stats.matchedCount = table.matchedCount
            switch table.miss {
            case .continue: stats.miss = .continue
            case .drop: stats.miss = .drop
            case .controller: stats.miss = .controller
            case .default, .continueDefault: break
            }
            reply.append { stats.encode(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }

    func tableMod(_ m: OFMessage) throws(OFError) {
        let config = try TableConfig.decode(m)
        guard config.table != 254 else { throw .tmfcEperm }
        for id in config.table == 255 ? 0...253 : Int(config.table)...Int(config.table) {
            let table = owner.tables[id]
            if let miss = config.miss {
                table.miss = miss == .controller ? .controller : miss == .continue ? .continue : .drop
            }
            if let evicts = config.evicts { table.setEvictionByControllers(evicts) }
            if let on = config.vacancyOn {
                table.vacancy = on ? (down: config.vacancyDown, up: config.vacancyUp) : nil
            }
        }
        owner.backer.changed()
    }

    func tableDescription(_ m: OFMessage) {
        var reply = MultipartReply(to: m)
        for table in owner.tables.visible {
            let description = TableConfig(table)
            reply.append { description.encodeDescription(version: m.version, to: &$0) }
        }
        sendAll(&reply)
    }
}

extension TableConfig {
    init(_ table: FlowTable) {
        self.init(table: table.id)
        evicts = table.evictsForControllers
        if let vacancy = table.vacancy {
            vacancyOn = true
            vacancyDown = vacancy.down
            vacancyUp = vacancy.up
            let limit = table.maxFlows ?? Int(UInt32.max)
            if limit > 0 { vacancyNow = UInt8(clamping: max(0, limit - table.count) * 100 / limit) }
        }
    }
}

extension FlowStats {
    init(_ rule: Rule, now: Int64) {
        self.init()
        table = rule.tableID
        priority = UInt16(clamping: rule.priority)
        cookie = rule.cookie
        let age = max(0, now - rule.created)
        durationSeconds = UInt32(truncatingIfNeeded: age / 1000)
        durationNanoseconds = UInt32(truncatingIfNeeded: age % 1000 * 1_000_000)
        idleTimeout = rule.idleTimeout
        hardTimeout = rule.hardTimeout
        idleAge = Int(clamping: max(0, now - rule.used) / 1000)
        hardAge = Int(clamping: max(0, now - rule.modified) / 1000)
        packetCount = rule.packetCount
        byteCount = rule.byteCount
        flags = FlowMod.Flags(rawValue: rule.flags.rawValue & 0x1f)
        importance = rule.importance
        actions = rule.actions
    }
}
