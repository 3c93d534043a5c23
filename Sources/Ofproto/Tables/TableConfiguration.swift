// What the database says about a bridge's flow tables and about its flows when nobody controls it.

import Classifier
import Flow
import OpenFlow

/// A Flow_Table row (ovs-vswitchd.conf.db(5)).
public struct TableSettings: Hashable, Sendable {
    public var name = ""
    /// The most flows, or nil.
    public var flowLimit: Int?
    /// Evict a flow for a new one instead of refusing it (overflow_policy `evict`).
    public var evicts = false
    /// The fields whose values make eviction groups.
    public var groups: [Subfield] = []
    /// Fields to keep tries for, or nil for the default.
    public var prefixes: [FieldLocation]?
    public init() {}
}

extension OpenFlowSwitch {
    /// Applies a table's settings; what no longer fits is evicted when the settings say so.
    public func configureTable(_ id: UInt8, _ settings: TableSettings) {
        guard Int(id) < Self.internalTable else { return }
        let table = tables[Int(id)]
        table.configuredName = settings.name
        table.maxFlows = settings.flowLimit
        table.setEviction(settings.evicts, fields: settings.groups)
        table.prefixFields = settings.prefixes ?? Classifier.defaultPrefixFields
        guard settings.evicts, let limit = settings.flowLimit else { return }
        while table.count > limit, let victim = table.evictionVictim() { uninstall(victim, .eviction) }
    }

    /// Removes every flow, and when nobody is to control the switch lets it switch like a learning switch.
    public func resetFlows(standalone: Bool) {
        flushFlows()
        guard standalone else { return }
        install(
            Rule(tableID: 0, match: Match(), priority: 0, actions: [.output(.normal, maxLength: 0)], now: time.now))
    }
}
