// mdb/*: what multicast snooping has learned.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    func registerMulticast() {
        server.register("mdb/show", "bridge", 1, 1) { [unowned self] args in
            guard let target = findSwitch(args[0]) else { return .error("no such bridge") }
            guard let snooping = target.snooping else { return .error("multicast snooping is disabled") }
            var out = " port  VLAN  GROUP                Age\n"
            func line(_ bundle: PortBundle?, _ vlan: UInt16, _ name: String, _ width: Int, _ age: Int64) {
                let port = bundle?.ports.first.map { $0.number == .local ? "LOCAL" : String($0.number.rawValue) } ?? "-1"
                func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.utf8.count)) + text }
                out += "\(pad(port, 5))  \(pad(String(vlan), 4))  \(name)\(String(repeating: " ", count: width))\(pad(String(age), 3))\n"
            }
            for (key, listeners) in snooping.groups.sorted(by: { ($0.key.vlan, $0.key.group) < ($1.key.vlan, $1.key.group) }) {
                let isIPv4 = key.group >> 32 == 0xffff
                let name = isIPv4 ? AddressText.ipv4(UInt32(truncatingIfNeeded: key.group)) : AddressText.ipv6(key.group)
                for listener in listeners { line(listener.bundle, key.vlan, name, 9, snooping.age(listener)) }
            }
            for (vlan, listener) in snooping.routers { line(listener.bundle, vlan, "querier", 13, snooping.age(listener)) }
            return .ok(out)
        }
        server.register("mdb/flush", "[bridge]", 0, 1) { [unowned self] args in
            if let name = args.first {
                guard let target = findSwitch(name) else { return .error("no such bridge") }
                guard target.snooping != nil else { return .error("multicast snooping is disabled") }
                target.flushSnooping()
            } else {
                for target in fabric.orderedSwitches { target.flushSnooping() }
            }
            return .ok("table successfully flushed")
        }
    }
}
