// What else OpenFlow connections ask of a switch: fragment handling, hidden flows, continuations.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// Sets how IP fragments are matched. What is cached no longer holds then.
    public func setFragmentHandling(_ handling: FragmentHandling) {
        guard handling != fragmentHandling else { return }
        fragmentHandling = handling
        backer.changed()
    }

    /// Removes a flow that `addHiddenFlow` installed.
    public func removeHiddenFlow(_ match: Match, priority: Int) {
        guard let rule = tables[0].find(match, priority: priority), rule.isHidden else { return }
        uninstall(rule, nil)
    }

    /// Goes on with a packet that a `controller(pause)` action stopped.
    public func resume(_ request: Resume) throws(OFError) { throw .nxrNotSupported }

    /// Forgets the tracked connections of a zone.
    public func flushConntrack(zone: UInt16) { backer.dpif.conntrack?.flush(zone: zone) }
}
