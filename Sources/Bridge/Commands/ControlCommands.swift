// Control commands by topic; each file of this folder registers some.

import Dpif
import Ofproto
import Unixctl

/// Registers the control commands of a running switch.
public final class ControlCommands {
    let fabric: SwitchFabric
    let server: UnixctlServer
    /// Names and usages of dpctl commands, in the order of `dpctl/list-commands`.
    var dpctlCommands: [(String, String)] = []
    /// Seconds until an unused neighbour of a tunnel is forgotten.
    var neighborAging = 900

    /// The commands live as long as the server does.
    public init(fabric: SwitchFabric, server: UnixctlServer) {
        self.fabric = fabric
        self.server = server
    }

    public func registerAll() {
        registerTime()
        registerDummyDevices()
        registerForwardingDatabase()
        registerDatapaths()
        registerDpctl()
        registerUpcalls()
        registerOpenFlow()
        registerTrace()
        registerLLDP()
        registerBonds()
        registerLACP()
        registerBFD()
        registerCFM()
        registerSpanningTree()
        registerMulticast()
        registerNeighbors()
        registerDatapathThreads()
    }

    func findSwitch(_ name: String) -> OpenFlowSwitch? { fabric.switches[name] }

    private func registerTime() {
        server.register("time/stop", "", 0, 0) { [fabric] _ in
            fabric.time.stop()
            return .ok("")
        }
        server.register("time/warp", "[large_msecs] msecs", 1, 2) { [fabric] args in
            guard let total = Int64(args[0]), total > 0 else { return .error("invalid MSECS") }
            var step = total
            if args.count == 2 {
                guard let small = Int64(args[1]), small > 0 else { return .error("invalid MSECS") }
                step = small
            }
            var left = total
            while left > 0 {
                fabric.time.warp(min(step, left))
                left -= step
                fabric.run()
            }
            return .ok("warped")
        }
    }
}
