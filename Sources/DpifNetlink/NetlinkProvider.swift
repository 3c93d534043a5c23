// The datapath type `system`: the kernel's.

import CLinux
import Dpif
import Glibc
import Netdev
import Vlog

/// The sockets to the kernel that datapaths share, and what it calls its families. Confined to the main thread.
struct KernelConnection {
    let generic: NetlinkTransport
    let route: NetlinkTransport
    let netfilter: NetlinkTransport
    let families: OpenVSwitchFamilies

    /// Throws ENOENT without the module, EPERM without the right to, EPROTONOSUPPORT where the kernel lacks netlink.
    init() throws(DpifError) {
        generic = NetlinkTransport(try MnlChannel(NETLINK_GENERIC, receiveBuffer: 32 << 20))
        families = try OpenVSwitchFamilies(generic)
        route = NetlinkTransport(try MnlChannel(NETLINK_ROUTE))
        netfilter = NetlinkTransport(try MnlChannel(NETLINK_NETFILTER, receiveBuffer: 32 << 20))
    }
}

/// What kernels have had for a while, and what there is a way around where they lack it.
public enum KernelFeature: String, CaseIterable, Sendable {
    /// Upcalls that are dispatched by processors (Linux 5.15). Without it each port names the sockets.
    case processorDispatch = "processor-dispatch"
    /// Tunnel interfaces that take their addresses from flows (Linux 4.3). Without them the module makes tunnel ports itself.
    case tunnelInterfaces = "tunnel-interfaces"
}

/// Opens kernel datapaths. Main thread.
public final class NetlinkProvider: DpifProvider {
    public let type = "system"
    private let time: TimeSource
    private let wake: @Sendable () -> Void
    private let absent: Set<KernelFeature>
    private var connection: KernelConnection?

    /// - Parameter absent: features that are not to be used though the kernel may have them, so that the ways around them can be tested.
    /// - Parameter wake: called on any thread when the main thread has something to do.
    public init(time: TimeSource, without absent: Set<KernelFeature> = [], wake: @escaping @Sendable () -> Void) {
        self.time = time
        self.absent = absent
        self.wake = wake
    }

    private func connect() throws(DpifError) -> KernelConnection {
        if let connection { return connection }
        let made = try KernelConnection()
        connection = made
        return made
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        do throws(DpifError) {
            return try NetlinkDatapath(type: type, name: name, time: time, kernel: try connect(), without: absent, wake: wake)
        } catch {
            var problem = error
            if error.errno == EPERM {
                problem = DpifError(EPERM, "\(error.detail): the daemon may not administer the network (CAP_NET_ADMIN, which root has)")
            }
            NetlinkDatapath.log.err("could not open datapath \(name): \(problem)")
            throw problem
        }
    }

    public func enumerate() -> [String] {
        guard let kernel = try? connect() else { return [] }
        return (try? DatapathRequests(transport: kernel.generic, family: kernel.families.datapath).all().map(\.name).sorted()) ?? []
    }

    public func portType(_ type: String) -> String { type == "internal" ? "internal" : type }

    /// Interfaces are the kernel's own, which sees their packets without help.
    public func openDevice(name: String, type: String) throws(DpifError) -> (any PortDevice)? {
        switch type {
        case "system": try InterfaceDevice(name: name, type: type, mustExist: true)
        case "internal": try InterfaceDevice(name: name, type: type, mustExist: false)
        default: nil
        }
    }
}
