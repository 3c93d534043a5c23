// A BFD session on a port (RFC 5880, asynchronous mode): both ends say "I hear you" at an agreed rate, and know within a few
// of these intervals when the way between them is cut.

import Dpif
import Flow
import OpenFlow
import Packet

/// What the database says of BFD (Interface.bfd).
public struct BFDSettings: Hashable, Sendable {
    /// Milliseconds.
    public var minTX: Int64 = 100
    public var minRX: Int64 = 1000
    public var multiplier: UInt8 = 3
    /// Tell the neighbour that what lies behind is down.
    public var concatenatedPathDown = false
    /// Traffic that comes in shows that the way is up.
    public var forwardsIfReceiving = false
    public init() {}
}

/// A BFD session. Confined to the main thread.
public final class BFD {
    public private(set) var settings: BFDSettings
    public private(set) var state = BFDPacket.State.down
    public private(set) var diagnostic: UInt8 = 0
    public private(set) var flapCount: UInt64 = 0
    /// What `bfd/set-forwarding` says; nil: what the session says.
    public var forcedForwarding: Bool? { didSet { noteForwarding() } }
    public let discriminator: UInt32
    public private(set) var remote = BFD.initialRemote
    public private(set) var lastFlags = (poll: false, final: false)
    public private(set) var detectDeadline: Int64
    public private(set) var nextTransmission: Int64
    public private(set) var lastTransmission: Int64
    private var wasForwarding = false
    private var isPolling = false
    private let sourcePort: UInt16
    private let time: TimeSource
    private let send: ([UInt8]) -> Void
    private let address: () -> UInt64
    /// Told when the session's state changes.
    var onChange: (() -> Void)?

    /// Milliseconds between packets while the session is not up, at least (RFC 5880, section 6.8.3).
    private static let idleInterval: Int64 = 1000

    private static var initialRemote: BFDPacket {
        var packet = BFDPacket()
        packet.multiplier = 0
        packet.minRX = 1000
        return packet
    }

    init(_ settings: BFDSettings, time: TimeSource, address: @escaping () -> UInt64, send: @escaping ([UInt8]) -> Void) {
        self.settings = settings
        self.time = time
        self.address = address
        self.send = send
        discriminator = .random(in: 1...UInt32.max)
        sourcePort = .random(in: 49152...65535)
        detectDeadline = 0
        nextTransmission = time.now
        lastTransmission = time.now
    }

    func configure(_ new: BFDSettings) {
        guard new != settings else { return }
        let intervalsChanged = new.minTX != settings.minTX || new.minRX != settings.minRX
        settings = new
        if intervalsChanged, state == .up { isPolling = true }
    }

    /// Milliseconds.
    public var localMinTX: Int64 { state == .up ? settings.minTX : max(settings.minTX, Self.idleInterval) }
    public var transmitInterval: Int64 { max(localMinTX, Int64(remote.minRX) / 1000) }
    public var receiveInterval: Int64 { max(settings.minRX, Int64(remote.minTX) / 1000) }

    public var isForwarding: Bool {
        if let forced = forcedForwarding { return forced }
        // Path down, and both kinds of concatenated path down.
        return state == .up && ![5, 6, 8].contains(remote.diagnostic)
    }

    private func noteForwarding() {
        let now = isForwarding
        guard now != wasForwarding else { return }
        wasForwarding = now
        flapCount += 1
    }

    private func enter(_ new: BFDPacket.State, _ reason: UInt8) {
        guard new != state else { return }
        state = new
        diagnostic = settings.concatenatedPathDown ? 6 : reason
        if new == .up { isPolling = true }
        if new == .down {
            let multiplier = remote.multiplier
            if reason == 1 {
                remote = Self.initialRemote
                remote.multiplier = multiplier
            }
        }
        noteForwarding()
        onChange?()
    }

    /// A packet of the neighbour came in.
    func receive(_ packet: BFDPacket) {
        guard packet.yours == 0 || packet.yours == discriminator else { return }
        remote = packet
        lastFlags = (packet.poll, packet.final)
        if packet.final { isPolling = false }
        detectDeadline = time.now + Int64(packet.multiplier) * receiveInterval
        // RFC 5880, section 6.8.6.
        switch (state, packet.state) {
        case (.adminDown, _): return
        case (.down, .adminDown), (.down, .up): break
        case (_, .adminDown): enter(.down, 3)
        case (.down, .down): enter(.initialising, 0)
        case (.down, .initialising): enter(.up, 0)
        case (.initialising, .initialising), (.initialising, .up): enter(.up, 0)
        case (.initialising, .down): break
        case (.up, .down): enter(.down, 3)
        case (.up, _): break
        }
        noteForwarding()
        if packet.poll {
            transmit(final: true)
        } else if nextTransmission > time.now + transmitInterval {
            nextTransmission = time.now + transmitInterval
        }
    }

    private func transmit(final: Bool = false) {
        var packet = BFDPacket()
        packet.diagnostic = diagnostic
        packet.state = state
        packet.poll = isPolling && !final
        packet.final = final
        packet.multiplier = settings.multiplier
        packet.mine = discriminator
        packet.yours = remote.mine
        packet.minTX = UInt32(clamping: localMinTX * 1000)
        packet.minRX = UInt32(clamping: settings.minRX * 1000)
        if !final {
            lastTransmission = time.now
            // Between 75% and 100%, so that neighbours do not fall into step (section 6.8.7).
            nextTransmission = time.now + transmitInterval * .random(in: 75...100) / 100
        }
        send(packet.frame(from: address(), sourcePort: sourcePort))
    }

    /// Does what is due. Returns true when the way came up or went down.
    func run() -> Bool {
        let before = isForwarding
        let now = time.now
        if state.rawValue > BFDPacket.State.down.rawValue, now >= detectDeadline { enter(.down, 1) }
        // A neighbour that asks for silence gets it.
        if now >= nextTransmission, remote.minRX != 0 || remote.mine == 0 { transmit() }
        return before != isForwarding
    }
}

extension OpenFlowSwitch {
    /// Runs BFD on a port with these settings, or none.
    public func setBFD(_ settings: BFDSettings?, on port: SwitchPort) {
        guard let settings else {
            guard port.bfd != nil else { return }
            port.bfd = nil
            backer.changed()
            return
        }
        if let bfd = port.bfd {
            bfd.configure(settings)
            return
        }
        port.bfd = BFD(settings, time: time) { [unowned port] in
            port.device.macAddress
        } send: { [unowned self, unowned port] in
            self.sendFrame($0, on: port)
        }
        port.bfd?.onChange = { [unowned self] in self.noteStatus() }
        backer.changed()
    }
}
