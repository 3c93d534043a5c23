// The device of a tunnel port: its settings. Packets are encapsulated in translation and leave through other devices.

import Dpif
import Flow

/// A tunnel's settings as a device. It has no hardware and is always up.
public final class TunnelDevice: VirtualDevice {
    /// Interface types that are tunnels.
    public static let types = [
        "bareudp", "erspan", "geneve", "gre", "gtpu", "ip6erspan", "ip6gre", "lisp", "stt", "vxlan",
    ]

    /// Interface.options.
    public private(set) var options: [String: String] = [:]

    /// The tunnel kind of a datapath port that several tunnels share.
    public override init(name: String, type: String) { super.init(name: name, type: type) }

    /// Extensions of VXLAN that a port which several tunnels share has: `gbp`, `gpe`.
    public var extensions: Set<String> = []

    /// Takes Interface.options. Throws EINVAL with the text for Interface.error.
    public func configure(_ options: [String: String]) throws(DpifError) {
        var problem = ""
        var isRemoteKnown = false
        if let remote = options["remote_ip"] {
            isRemoteKnown = remote == "flow" || AddressText.parseIPv4(remote) != nil || AddressText.parseIPv6(remote) != nil
            if !isRemoteKnown { problem += "\(name): bad \(type) 'remote_ip'\n" }
        }
        if let local = options["local_ip"], local != "flow", AddressText.parseIPv4(local) == nil, AddressText.parseIPv6(local) == nil {
            problem += "\(name): bad \(type) 'local_ip'\n"
        }
        guard isRemoteKnown else {
            throw DpifError(22, problem + "\(name): \(type) type requires valid 'remote_ip' argument")
        }
        guard options != self.options else { return }
        self.options = options
        changeCount += 1
    }
}
