// netdev-dummy/*: packets into dummy devices, and their state.

import Dpif
import Flow
import Netdev
import Packet
import Unixctl

extension ControlCommands {
    private func dummy(_ name: String) -> DummyDevice? { fabric.devices[name] as? DummyDevice }

    private var dummies: [DummyDevice] {
        fabric.devices.keys.sorted().compactMap { fabric.devices[$0] as? DummyDevice }
    }

    func registerDummyDevices() {
        server.register(
            "netdev-dummy/receive", "name [--qid queue_id] packet|flow [--len packet_len]", 2, Int.max
        ) { [unowned self] args in receive(args) }
        server.register("netdev-dummy/set-admin-state", "[netdev] up|down", 1, 2) { [unowned self] args in
            let up: Bool
            switch args[args.count - 1].lowercased() {
            case "up": up = true
            case "down": up = false
            default: return .error("Invalid Admin State")
            }
            if args.count == 1 {
                for device in dummies { try? device.setAdminUp(up) }
                return .ok("OK")
            }
            guard let device = dummy(args[0]) else { return .error("Unknown Dummy Interface") }
            try? device.setAdminUp(up)
            return .ok("OK")
        }
        server.register("netdev-dummy/conn-state", "[netdev]", 0, 1) { [unowned self] args in
            func state(_ device: DummyDevice) -> Bool? { (fabric.factory as? StandardDeviceFactory)?.isConnected(device) ?? nil }
            func text(_ state: Bool) -> String { state ? "connected" : "disconnected" }
            // Without a name only those that are to be connected show.
            if args.isEmpty {
                return .ok(dummies.compactMap { device in state(device).map { "\(device.name): \(text($0))\n" } }.joined())
            }
            return .ok("\(args[0]): \(dummy(args[0]).flatMap(state).map(text) ?? "unknown")")
        }
        server.register("netdev-dummy/ip4addr", "[netdev] ipaddr/mask-prefix-len", 2, 2) { [unowned self] args in
            guard let device = dummy(args[0]) else { return .error("Unknown Dummy Interface") }
            let parts = args[1].split(separator: "/", omittingEmptySubsequences: false)
            guard let address = AddressText.parseIPv4(parts[0]), parts.count == 2, let prefix = Int(parts[1]),
                (0...32).contains(prefix)
            else { return .error("\(args[1]): invalid IP address") }
            device.setIPv4(address, prefix: prefix)
            return .ok("OK")
        }
        server.register("netdev-dummy/ip6addr", "[netdev] ip6addr", 2, 2) { [unowned self] args in
            guard let device = dummy(args[0]) else { return .error("Unknown Dummy Interface") }
            let parts = args[1].split(separator: "/", omittingEmptySubsequences: false)
            guard let address = AddressText.parseIPv6(parts[0]) else { return .error("\(args[1]): invalid IPv6 address") }
            device.setIPv6(address, prefix: parts.count == 2 ? min(max(Int(parts[1]) ?? 128, 0), 128) : 128)
            return .ok("OK")
        }
    }

    private func receive(_ args: [String]) -> UnixctlReply {
        guard let device = dummy(args[0]) else { return .error("no such dummy netdev") }
        var i = 1
        if args[i] == "--qid" {
            guard args.count > 3, UInt32(args[2]) != nil else { return .error("the queue id is invalid") }
            i = 3
        }
        var packets: [[UInt8]] = []
        while i < args.count {
            let text = args[i]
            i += 1
            if let bytes = parseHex(text), bytes.count >= HeaderSize.ethernet {
                packets.append(bytes)
                continue
            }
            var size = 0
            if i < args.count, args[i] == "--len" {
                guard i + 1 < args.count, let n = Int(args[i + 1]), n >= 0, n <= 65535 else {
                    return .error("invalid or missing packet_len")
                }
                size = n
                i += 2
            }
            let flow: ODPFlow
            do throws(ODPSyntaxError) {
                flow = try ODPFlow(parsing: text) { [fabric] name in
                    fabric.backers.values.compactMap { $0.dpif.port(named: name)?.number }.first
                }
            } catch {
                return .error("\(error)")
            }
            guard flow.fit != .error else { return .error("invalid flow") }
            packets.append(flow.key.composePacket(size: size).array)
        }
        // What changed before the packets came is heeded by the flows that are there.
        for backer in fabric.backers.values { backer.catchUp() }
        for bytes in packets { device.receive(Packet(bytes)) }
        return .ok("")
    }
}

/// Bytes written as hexadecimal digits, white space between them allowed; nil for anything else.
func parseHex(_ text: String) -> [UInt8]? {
    var out: [UInt8] = []
    var high: UInt8?
    for c in text.utf8 {
        let digit: UInt8
        switch c {
        case 0x30...0x39: digit = c - 0x30
        case 0x61...0x66: digit = c - 0x61 + 10
        case 0x41...0x46: digit = c - 0x41 + 10
        case 0x20, 0x09, 0x0a, 0x0d: continue
        default: return nil
        }
        if let h = high {
            out.append(h << 4 | digit)
            high = nil
        } else {
            high = digit
        }
    }
    return high == nil && !out.isEmpty ? out : nil
}
