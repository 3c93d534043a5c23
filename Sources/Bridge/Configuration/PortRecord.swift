// Rows of the Port and Interface tables, read into what the switch understands.

import Flow
import Ofproto
import OVSDB

/// An Interface row that a bridge wants.
struct InterfaceRecord {
    /// nil for a bridge's local port that has no row.
    var row: OVSDBRow?
    var name: String
    /// Interface.type; `system` when empty, `internal` for a local port.
    var type: String
    var options: [String: String]
    /// A valid Interface.ofport_request.
    var requested: UInt32?
    /// The number that the interface had when the database was last written.
    var previous: UInt32?

    init(_ row: OVSDBRow, bridge: String) {
        self.row = row
        name = row.string("name")
        let type = row.string("type")
        self.type = name == bridge ? "internal" : type.isEmpty ? "system" : type
        options = row.map("options")
        // What devices are told stands in one place for them.
        if let cores = row.map("other_config")["pmd-rxq-affinity"] { options["pmd-rxq-affinity"] = cores }
        requested = Self.valid(row.optionalInteger("ofport_request"))
        previous = Self.valid(row.optionalInteger("ofport"))
    }

    /// A local port without rows.
    init(local bridge: String) {
        name = bridge
        type = "internal"
        options = [:]
    }

    private static func valid(_ number: Int64?) -> UInt32? {
        guard let number, (1..<0xff00).contains(number) else { return nil }
        return UInt32(number)
    }

    /// The number to ask the switch for.
    var preferred: UInt32? { requested ?? previous }
}

/// A Port row that a bridge wants.
struct PortRecord {
    var row: OVSDBRow?
    var name: String
    var interfaces: [InterfaceRecord]
}

extension BundleSettings {
    /// What ovs-vswitchd.conf.db(5) says of a Port row's VLAN columns.
    init(name: String, row: OVSDBRow?) {
        self.init(name: name)
        guard let row else { return }
        let tag = row.optionalInteger("tag").flatMap { (0...4095).contains($0) ? UInt16($0) : nil }
        let config = row.map("other_config")
        switch row.string("vlan_mode") {
        case "": vlanMode = tag == nil ? .trunk : .access
        case let mode: vlanMode = VLANMode(rawValue: mode) ?? .trunk
        }
        if vlanMode != .trunk { vlan = tag ?? 0 }
        switch vlanMode {
        case .trunk, .nativeTagged, .nativeUntagged:
            var vlans = Self.vlans(row, "trunks")
            if vlanMode != .trunk, vlans != nil, let vlan { vlans?.insert(vlan) }
            trunks = vlans
        case .dot1qTunnel: cvlans = Self.vlans(row, "cvlans")
        case .access: break
        }
        qinqEtherType = config["qinq-ethtype"] == "802.1q" ? 0x8100 : 0x88a8
        switch config["priority-tags"] {
        case "always": priorityTags = .always
        case "if-nonzero", "true": priorityTags = .ifNonzero
        default: priorityTags = .never
        }
        isProtected = row.bool("protected")
        floodsMulticast = config.bool("mcast-snooping-flood")
        floodsMulticastReports = config.bool("mcast-snooping-flood-reports")
        bond = BondSettings(row)
        lacp = LACPSettings(row)
    }

    private static func vlans(_ row: OVSDBRow, _ column: String) -> Set<UInt16>? {
        let vlans = Set(row.integers(column).filter { (0...4095).contains($0) }.map { UInt16($0) })
        return vlans.isEmpty ? nil : vlans
    }
}

extension CFMSettings {
    /// What an Interface row says of CFM; nil: no CFM.
    init?(_ row: OVSDBRow) {
        guard let number = row.optionalInteger("cfm_mpid"), number > 0 else { return nil }
        self.init(mpid: UInt64(number))
        let config = row.map("other_config")
        interval = Int64(config.integer("cfm_interval", default: 1000, in: 1...65535))
        isExtended = config.bool("cfm_extended")
        isUp = config["cfm_opstate"]?.lowercased() != "down"
    }
}

extension BFDSettings {
    /// What Interface.bfd says; nil: no BFD.
    init?(_ config: [String: String]) {
        guard config.bool("enable") else { return nil }
        self.init()
        minTX = Int64(config.integer("min_tx", default: 100, in: 1...Int(Int32.max)))
        minRX = Int64(config.integer("min_rx", default: 1000, in: 1...Int(Int32.max)))
        multiplier = UInt8(clamping: config.integer("mult", default: 3, in: 1...255))
        concatenatedPathDown = config.bool("cpath_down")
        forwardsIfReceiving = config.bool("forwarding_if_rx")
    }
}

extension BondSettings {
    /// What ovs-vswitchd.conf.db(5) says of a Port row's bonding columns.
    init(_ row: OVSDBRow) {
        self.init()
        let config = row.map("other_config")
        mode = BondMode(rawValue: row.string("bond_mode")) ?? .activeBackup
        upDelay = max(0, row.integer("bond_updelay"))
        downDelay = max(0, row.integer("bond_downdelay"))
        hashBasis = UInt32(clamping: config.integer("bond-hash-basis", default: 0, in: 0...Int(UInt32.max)))
        let interval = config.integer("bond-rebalance-interval", default: 10_000, in: 0...Int(Int32.max))
        rebalanceInterval = interval == 0 ? 0 : Int64(max(interval, 1000))
        primary = config["bond-primary"]
        fallsBackToActiveBackup = config.bool("lacp-fallback-ab")
        usesLbOutput = mode == .balanceTCP && config.bool("lb-output-action")
        allMembersActive = config.bool("all-members-active") || config.bool("all-slaves-active")
    }
}

extension LACPSettings {
    /// What a Port row says of LACP, without what its interfaces and its bridge do; nil: off.
    init?(_ row: OVSDBRow) {
        self.init()
        switch row.string("lacp") {
        case "active": isActive = true
        case "passive": isActive = false
        default: return nil
        }
        let config = row.map("other_config")
        isFast = config["lacp-time"]?.lowercased() == "fast"
        systemPriority = UInt16(clamping: config.integer("lacp-system-priority", default: 65534, in: 1...65535))
        systemID = config["lacp-system-id"].flatMap { AddressText.parseMAC($0) } ?? 0
    }
}

extension LACPSettings.Member {
    /// What an Interface row's other_config says.
    init(_ config: [String: String]) {
        self.init()
        portID = UInt16(clamping: config.integer("lacp-port-id", default: 0, in: 0...65535))
        portPriority = UInt16(clamping: config.integer("lacp-port-priority", default: 65535, in: 1...65535))
        key = UInt16(clamping: config.integer("lacp-aggregation-key", default: 0, in: 0...65535))
    }
}

/// Values of other_config maps.
extension Dictionary where Key == String, Value == String {
    func integer(_ key: String, default value: Int, in range: ClosedRange<Int>) -> Int {
        guard let text = self[key], let number = Int(text) else { return value }
        return Swift.min(Swift.max(number, range.lowerBound), range.upperBound)
    }

    func bool(_ key: String, default value: Bool = false) -> Bool {
        switch self[key]?.lowercased() {
        case "true": true
        case "false": false
        default: value
        }
    }

    /// A unicast Ethernet address other than zero.
    func address(_ key: String) -> UInt64? { self[key].flatMap(unicastAddress) }
}

/// Reads a unicast Ethernet address other than zero.
func unicastAddress(_ text: String) -> UInt64? {
    guard let address = AddressText.parseMAC(text), address != 0, address & 0x0100_0000_0000 == 0 else { return nil }
    return address
}
