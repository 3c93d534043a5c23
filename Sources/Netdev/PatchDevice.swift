// The patch device: one end of a link between two bridges. Packets cross it in translation, so no datapath sees it.

import Dpif

/// One end of a patch link. Its counters are the switch port's.
public final class PatchDevice: VirtualDevice {
    /// The other end's name.
    public private(set) var peer = ""

    public init(name: String) { super.init(name: name, type: "patch") }

    /// Takes Interface.options: `peer`. Throws EINVAL with the text for Interface.error.
    public func configure(_ options: [String: String]) throws(DpifError) {
        guard let peer = options["peer"] else {
            throw DpifError(22, "\(name): patch type requires valid 'peer' argument")
        }
        guard peer != name else { throw DpifError(22, "\(name): patch peer must not be self") }
        self.peer = peer
    }
}
