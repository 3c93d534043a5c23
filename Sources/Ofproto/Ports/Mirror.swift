// Port mirroring: copies of what some ports receive or send, or of what is in some VLANs, for a port or a VLAN.

import OpenFlow

/// What the database says of a Mirror row, by names of ports.
public struct MirrorSettings: Hashable, Sendable {
    public var name: String
    /// Packets that these ports receive.
    public var sourcePorts: Set<String> = []
    /// Packets that these ports send.
    public var destinationPorts: Set<String> = []
    /// Nil: of every VLAN.
    public var vlans: Set<UInt16>?
    public var outputPort: String?
    public var outputVLAN: UInt16?
    /// Bytes of each copy; nil: all.
    public var snapLength: UInt32?

    public init(name: String) { self.name = name }
}

/// A mirror of a bridge. Confined to the main thread.
public final class Mirror {
    public let settings: MirrorSettings
    public internal(set) var packetCount: UInt64 = 0
    public internal(set) var byteCount: UInt64 = 0

    init(_ settings: MirrorSettings) { self.settings = settings }

    func credit(packets: UInt64, bytes: UInt64) {
        packetCount &+= packets
        byteCount &+= bytes
    }

    /// True when both send their copies to the same place.
    func sharesOutput(with other: Mirror) -> Bool {
        settings.outputPort != nil
            ? settings.outputPort == other.settings.outputPort : settings.outputVLAN == other.settings.outputVLAN
    }
}

extension OpenFlowSwitch {
    /// Replaces the mirrors; those that did not change keep their counters.
    public func setMirrors(_ wanted: [MirrorSettings]) {
        guard wanted != mirrors.map(\.settings) else { return }
        mirrors = wanted.map { settings in mirrors.first { $0.settings == settings } ?? Mirror(settings) }
        macs.flush()
        backer.changed()
    }

    /// The mirror that a bundle is the exclusive output of.
    func isMirrorOutput(_ bundle: PortBundle) -> Bool {
        !mirrors.isEmpty && mirrors.contains { $0.settings.outputPort == bundle.name }
    }
}
