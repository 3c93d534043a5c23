// A pass over the configuration, as the steps that are left of it. The configurator takes them, one at a time.

import OVSDB

/// The steps of one pass. Confined to the main thread.
final class ConfigurationPass {
    enum Step {
        /// Makes the bridge of a row, unless there is one.
        case makeBridge(OVSDBRow)
        /// Finds out which ports a bridge is to get, and has them added next.
        case findPorts(OVSDBRow)
        case addPort(InterfaceRecord, ConfiguredBridge)
        /// Applies all settings of a bridge and its ports.
        case configure(OVSDBRow)
    }

    /// The row of Open_vSwitch.
    let root: OVSDBRow
    /// The ports that bridges want, by the bridges' names.
    let wanted: [String: [PortRecord]]
    /// The next is the last.
    private var steps: [Step]

    /// - Parameter bridges: rows of Bridge, in order.
    init(root: OVSDBRow, bridges: [OVSDBRow], wanted: [String: [PortRecord]]) {
        self.root = root
        self.wanted = wanted
        steps = bridges.map { .makeBridge($0) }
        for row in bridges { steps += [.findPorts(row), .configure(row)] }
        steps.reverse()
    }

    func ports(of bridge: OVSDBRow) -> [PortRecord] { wanted[bridge.string("name")] ?? [] }

    /// Takes the next step out; nil: there is none.
    func next() -> Step? { steps.popLast() }

    /// Has steps taken next.
    func insert(_ new: [Step]) { steps += new.reversed() }
}
