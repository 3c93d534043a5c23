// bond/*: bonds and their members.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    private var bonds: [Bond] {
        var order = HashTableOrder<Bond>()
        for bond in fabric.switches.values.flatMap({ $0.bundles.values.compactMap(\.bond) }).sorted(by: { $0.name < $1.name }) {
            order.insert(bond, hash: MurmurHash.bytes(Array(bond.name.utf8), basis: 0))
        }
        return order.elements
    }

    private func bond(_ name: String) -> Bond? { bonds.first { $0.name == name } }

    func registerBonds() {
        server.register("bond/list", "", 0, 0) { [unowned self] _ in
            var out = "bond\ttype\trecircID\tmembers\n"
            for bond in bonds {
                out +=
                    "\(bond.name)\t\(bond.settings.mode.rawValue)\t\(bond.recirculationID ?? 0)\t\(bond.members.map(\.name).joined(separator: ", "))\n"
            }
            return .ok(out)
        }
        server.register("bond/show", "[port]", 0, 1) { [unowned self] args in
            guard let name = args.first else { return .ok(bonds.map { show($0) }.joined()) }
            guard let bond = bond(name) else { return .error("no such bond") }
            return .ok(show(bond))
        }
        server.register("bond/migrate", "port hash member", 3, 3) { [unowned self] args in
            guard let bond = bond(args[0]) else { return .error("no such bond") }
            guard bond.settings.mode == .balanceSLB else { return .error("not an SLB bond") }
            guard let hash = UInt32(args[1]) else { return .error("bad hash") }
            guard let member = bond.member(named: args[2]) else { return .error("no such member") }
            guard member.isEnabled else { return .error("cannot migrate to disabled member") }
            bond.migrate(bucket: Int(hash & 0xff), to: member)
            bondsChanged()
            return .ok("migrated")
        }
        server.register("bond/set-active-member", "port member", 2, 2) { [unowned self] args in
            guard let bond = bond(args[0]) else { return .error("no such bond") }
            guard let member = bond.member(named: args[1]) else { return .error("no such member") }
            guard member.isEnabled else { return .error("cannot make disabled member active") }
            let isNews = bond.setActive(member)
            bondsChanged()
            return .ok(isNews ? "done" : "no change")
        }
        for (verb, enables) in [("enable", true), ("disable", false)] {
            server.register("bond/\(verb)-member", "port member", 2, 2) { [unowned self] args in
                guard let bond = bond(args[0]) else { return .error("no such bond") }
                guard let member = bond.member(named: args[1]) else { return .error("no such member") }
                bond.force(member, enabled: enables)
                bondsChanged()
                return .ok("\(verb)d")
            }
        }
        server.register("bond/hash", "mac [vlan] [basis]", 1, 3) { args in
            // Whatever follows a number or an address is ignored.
            func number(_ i: Int) -> UInt32? { args.count > i ? UInt32(args[i].prefix { $0.isASCII && $0.isNumber }) : 0 }
            guard let vlan = number(1) else { return .error("invalid vlan") }
            guard let basis = number(2) else { return .error("invalid basis") }
            guard let address = AddressText.parseMAC(args[0].prefix(17)) else { return .error("invalid mac") }
            return .ok("\(Bond.hash(source: address, vlan: UInt16(truncatingIfNeeded: vlan), basis: basis) & 0xff)")
        }
    }

    private func bondsChanged() { for backer in fabric.backers.values { backer.changed() } }

    private func show(_ bond: Bond) -> String {
        let settings = bond.settings
        var out = "---- \(bond.name) ----\nbond_mode: \(settings.mode.rawValue)\n"
        let recirculation = settings.mode == .balanceTCP ? bond.recirculationID : nil
        out += "bond may use recirculation: \(recirculation != nil ? "yes" : "no"), Recirc-ID : "
        out += (recirculation.map(String.init) ?? "-1") + "\n"
        out += "bond-hash-basis: \(settings.hashBasis)\n"
        let direct = settings.usesLbOutput ? recirculation : nil
        out += "lb_output action: \(direct.map { "enabled, bond-id: \($0)" } ?? "disabled, bond-id: -1")\n"
        if settings.mode == .balanceSLB { out += "all members active: \(settings.allMembersActive)\n" }
        out += "updelay: \(settings.upDelay) ms\ndowndelay: \(settings.downDelay) ms\n"
        if settings.mode != .activeBackup, settings.rebalanceInterval > 0 {
            out += "next rebalance: \(bond.nextRebalance - fabric.time.now) ms\n"
        }
        out += "lacp_status: \(bond.lacpStatus().rawValue)\nlacp_fallback_ab: \(settings.fallsBackToActiveBackup)\n"
        out += "active-backup primary: "
        switch settings.primary {
        case nil: out += "<none>\n"
        case let name? where bond.member(named: name) == nil: out += "\(name) (no such member)\n"
        case let name?: out += "\(name)\n"
        }
        let active = bond.active
        out += "active member mac: \(AddressText.mac(active?.port.device.macAddress ?? 0))(\(active?.name ?? "none"))\n"
        for member in bond.members.sorted(by: { $0.name < $1.name }) {
            out += "\nmember \(member.name): \(member.isEnabled ? "enabled" : "disabled")\n"
            if member === active { out += "  active member\n" }
            out += "  may_enable: \(bond.mayBeEnabled(member))\n"
            for (i, bucket) in bond.buckets.enumerated() where bucket.member === member && bucket.load >= 1024 {
                out += "  hash \(i): \(bucket.load / 1024) kB load\n"
            }
        }
        return out + "\n"
    }
}
