// bfd/*: sessions with neighbours.

import Flow
import Ofproto
import Unixctl

extension ControlCommands {
    private var sessions: [(name: String, bfd: BFD)] {
        fabric.orderedSwitches.flatMap(\.portsInOrder).compactMap { port in port.bfd.map { (port.name, $0) } }.sorted { $0.name < $1.name }
    }

    func registerBFD() {
        server.register("bfd/show", "[interface]", 0, 1) { [unowned self] args in
            guard let name = args.first else {
                return .ok(sessions.map { "---- \($0.name) ----\n" + show($0.bfd) }.joined())
            }
            guard let session = sessions.first(where: { $0.name == name }) else { return .error("no such bfd object") }
            return .ok(show(session.bfd))
        }
        server.register("bfd/set-forwarding", "[interface] normal|false|true", 1, 2) { [unowned self] args in
            let forced: Bool?
            switch args[args.count - 1].lowercased() {
            case "true": forced = true
            case "false": forced = false
            case "normal": forced = nil
            default: return .error("unknown fault string")
            }
            if args.count > 1 {
                guard let session = sessions.first(where: { $0.name == args[0] }) else { return .error("no such BFD object") }
                session.bfd.forcedForwarding = forced
            } else {
                for session in sessions { session.bfd.forcedForwarding = forced }
            }
            for backer in fabric.backers.values { backer.changed() }
            return .ok("OK")
        }
    }

    private func show(_ bfd: BFD) -> String {
        let now = fabric.time.now
        func relative(_ at: Int64) -> String { "now \(at >= now ? "+" : "")\(at - now)ms" }
        let remote = bfd.remote
        return """
              Forwarding: \(bfd.isForwarding)
              Detect Multiplier: \(bfd.settings.multiplier)
              Concatenated Path Down: \(bfd.settings.concatenatedPathDown)
              TX Interval: Approx \(bfd.transmitInterval)ms
              RX Interval: Approx \(bfd.receiveInterval)ms
              Detect Time: \(relative(bfd.detectDeadline))
              Next TX Time: \(relative(bfd.nextTransmission))
              Last TX Time: \(relative(bfd.lastTransmission))

              Local Flags: none
              Local Session State: \(bfd.state.text)
              Local Diagnostic: \(Self.diagnostic(bfd.diagnostic))
              Local Discriminator: 0x\(String(bfd.discriminator, radix: 16))
              Local Minimum TX Interval: \(bfd.localMinTX)ms
              Local Minimum RX Interval: \(bfd.settings.minRX)ms

              Remote Flags: \(bfd.lastFlags.poll ? "poll" : bfd.lastFlags.final ? "final" : "none")
              Remote Session State: \(remote.state.text)
              Remote Diagnostic: \(Self.diagnostic(remote.diagnostic))
              Remote Discriminator: 0x\(String(remote.mine, radix: 16))
              Remote Minimum TX Interval: \(remote.minTX / 1000)ms
              Remote Minimum RX Interval: \(remote.minRX / 1000)ms
              Remote Detect Multiplier: \(remote.multiplier)

            """
    }

    private static func diagnostic(_ number: UInt8) -> String { BFDPacket.text(diagnostic: number) }
}
