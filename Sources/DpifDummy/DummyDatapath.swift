// The dummy datapath: the userspace engine driven synchronously, without hardware. It can wear the profile of another
// datapath, and refuses whatever that lacks, so that tests see at once when it is asked for too much.

import Datapath
import Dpif
import Flow
import Netdev

/// A deterministic datapath for tests. Main thread.
public final class DummyDatapath: UserspaceDatapath {
    /// Throws EINVAL for keys and actions outside the capabilities.
    public override func check(_ key: borrowing FlowKey, _ mask: MiniMask, _ actions: [DpAction]) throws(DpifError) {
        if let problem = CapabilityCheck(capabilities).problem(key: copy key, mask: mask.mask, actions: actions) {
            throw DpifError(22, problem)
        }
    }
}

/// Makes dummy datapaths.
public final class DummyProvider: DpifProvider {
    public let type: String
    private let time: TimeSource
    private let capabilities: DpifCapabilities
    private var open: Set<String> = []

    /// - Parameters:
    ///   - type: the datapath type to appear as; `dummy` unless another type is overridden.
    ///   - profile: `COLUMN` or `COLUMN:VERSION` of the feature matrix, or nil for all that the engine can do.
    public init(time: TimeSource, profile: String? = nil, type: String = "dummy") throws(DpifError) {
        self.time = time
        self.type = type
        capabilities = try DummyProfile.capabilities(profile)
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        let datapath = DummyDatapath(type: type, name: name, capabilities: capabilities, time: time)
        // The datapath's own port, as the real daemon's has one.
        _ = try datapath.addPort(DummyDevice(name: name, type: "dummy-internal"), requested: 0)
        open.insert(name)
        return datapath
    }

    public func enumerate() -> [String] { open.sorted() }

    public func portType(_ type: String) -> String { type == "internal" ? "dummy-internal" : type }
}
