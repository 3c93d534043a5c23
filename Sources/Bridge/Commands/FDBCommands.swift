// fdb/*: what bridges learned about addresses.

import Flow
import Ofproto
import OpenFlow
import Unixctl

extension ControlCommands {
    func registerForwardingDatabase() {
        server.register("fdb/show", "bridge", 1, 1) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            var out = " port  VLAN  MAC                Age\n"
            for (entry, age) in target.macs.all {
                guard let port = entry.bundle?.ports.first else { continue }
                let number = port.number.reservedName ?? String(port.number.rawValue)
                let ageText = entry.isStatic ? "static" : pad(String(age), 3)
                out += "\(pad(number, 5))  \(pad(String(entry.key.vlan), 4))  \(AddressText.mac(entry.key.address))  \(ageText)\n"
            }
            return .ok(out)
        }
        server.register("fdb/flush", "[bridge]", 0, 1) { [unowned self] args in
            if let name = args.first {
                guard let target = findSwitch(name) else { return .error("no such bridge") }
                target.macs.flush()
                target.backer.changed()
            } else {
                for target in fabric.switches.values {
                    target.macs.flush()
                    target.backer.changed()
                }
            }
            return .ok("table successfully flushed")
        }
        server.register("fdb/stats-show", "bridge", 1, 1) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            let macs = target.macs
            return .ok(
                """
                Statistics for bridge "\(target.name)":
                  Current/maximum MAC entries in the table: \(macs.count)/\(macs.capacity)
                  Current static MAC entries in the table : \(macs.staticCount)
                  Total number of learned MAC entries     : \(macs.counters.learned)
                  Total number of expired MAC entries     : \(macs.counters.expired)
                  Total number of evicted MAC entries     : \(macs.counters.evicted)
                  Total number of port moved MAC entries  : \(macs.counters.moved)
                """)
        }
        server.register("fdb/stats-clear", "[bridge]", 0, 1) { [unowned self] args in
            if let name = args.first {
                guard let target = findSwitch(name) else { return .error("no such bridge") }
                target.macs.counters = .init()
            } else {
                for target in fabric.switches.values { target.macs.counters = .init() }
            }
            return .ok("statistics successfully cleared")
        }
        server.register("fdb/add", "bridge port vlan mac", 4, 4) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            guard let port = target.port(named: args[1]), let bundle = port.bundle else {
                return .error("software error, odp port is present but no ofp port")
            }
            let vlan = UInt16(truncatingIfNeeded: Self.number(args[2]))
            guard let address = AddressText.parseMAC(args[3]) else { return .error("bad MAC address") }
            target.macs.addStatic(address, vlan: vlan, on: bundle)
            target.backer.changed()
            return .ok("")
        }
        server.register("fdb/del", "bridge vlan mac", 3, 3) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            let vlan = UInt16(truncatingIfNeeded: Self.number(args[1]))
            guard let address = AddressText.parseMAC(args[2]) else { return .error("bad MAC address") }
            let isStatic = target.macs.all.contains {
                $0.entry.isStatic && $0.entry.key == .init(vlan: vlan, address: address)
            }
            guard isStatic, target.macs.remove(address, vlan: vlan) else {
                return .error("could not find static mac entry")
            }
            target.backer.changed()
            return .ok("")
        }
    }

    /// What atoi(3) makes of a text: digits at its beginning, perhaps behind a sign; 0 where there are none or too many.
    static func number(_ text: String) -> Int {
        let isNegative = text.hasPrefix("-")
        let digits = text.dropFirst(isNegative || text.hasPrefix("+") ? 1 : 0).prefix { $0.isASCII && $0.isNumber }
        return (Int(digits) ?? 0) * (isNegative ? -1 : 1)
    }

    /// Right-aligned.
    func pad(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }
}
