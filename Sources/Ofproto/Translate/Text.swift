// Text of matches, keys and actions as the commands of this switch print them.

import Flow
import OpenFlow

extension OFAction {
    public static func text(_ actions: [OFAction], ports: @escaping (OFPort) -> String?) -> String {
        ActionFormatter(portName: ports).format(actions)
    }
}

extension Match {
    public func text(ports: @escaping (OFPort) -> String?) -> String { MatchFormatter(portName: ports).format(self) }
}

extension FlowKey {
    /// Every field that a packet with this key has, as a trace shows it.
    public func traceText(ports: @escaping (OFPort) -> String?) -> String { MatchFormatter(portName: ports).format(self) }
}
