// A bridge's spanning tree: which protocol runs on which ports, and what its decisions change.

import Dpif
import Flow
import OpenFlow
import Packet

extension OpenFlowSwitch {
    /// Runs STP with these settings, or not at all.
    public func setSTP(_ settings: STPSettings?, ports: [(port: SwitchPort, settings: STPPortSettings)]) {
        guard let settings else {
            guard stp != nil else { return }
            stp = nil
            spanningTreeChanged(flush: true)
            return
        }
        let tree =
            stp
            ?? STP(name: name, settings: settings, time: time) { [unowned self] port, message in
                self.sendFrame(message.frame(from: port.device.macAddress), on: port)
            }
        if stp == nil {
            stp = tree
            backer.changed()
            tree.onChange = { [unowned self] in self.spanningTreeChanged(flush: $0) }
        }
        tree.configure(settings)
        tree.configure(ports: ports)
        spanningTreeChanged(flush: false)
    }

    /// Runs RSTP with these settings, or not at all.
    public func setRSTP(_ settings: RSTPSettings?, ports: [(port: SwitchPort, settings: RSTPPortSettings)]) {
        guard let settings else {
            guard rstp != nil else { return }
            rstp = nil
            spanningTreeChanged(flush: true)
            return
        }
        let tree =
            rstp
            ?? RSTP(name: name, settings: settings, time: time) { [unowned self] port, message in
                // Every message has the size of the longest.
                self.sendFrame(message.frame(from: port.device.macAddress, size: 36), on: port)
            }
        if rstp == nil {
            rstp = tree
            backer.changed()
            tree.onChange = { [unowned self] in self.spanningTreeChanged(flush: $0) }
        }
        tree.configure(settings)
        tree.configure(ports: ports)
        spanningTreeChanged(flush: false)
    }

    /// Makes the ports do what the tree now lets them.
    private func spanningTreeChanged(flush: Bool) {
        var changed = flush
        for port in portsInOrder {
            let permissions = stp?.port(port)?.permissions ?? rstp?.port(port)?.permissions ?? SpanningTreePermissions()
            guard permissions != port.spanningTree else { continue }
            let isVisible = permissions.openFlowState != port.spanningTree.openFlowState
            port.spanningTree = permissions
            changed = true
            if isVisible { eventReceiver?(.portModified(port)) }
        }
        if flush {
            macs.flush()
            flushSnooping()
        }
        noteStatus()
        if changed { backer.changed() }
    }
}
