// The datapath type `system`: the kernel's.

import CLinux
import Dpif
import Glibc
import Netdev
import Vlog

/// Opens kernel datapaths. Main thread.
public final class NetlinkProvider: DpifProvider {
    public let type = "system"
    private let time: TimeSource
    private let wake: @Sendable () -> Void
    private var connection: (transport: NetlinkTransport, families: OpenVSwitchFamilies)?

    /// - Parameter wake: called on any thread when the main thread has something to do.
    public init(time: TimeSource, wake: @escaping @Sendable () -> Void) {
        self.time = time
        self.wake = wake
    }

    private func connect() throws(DpifError) -> (transport: NetlinkTransport, families: OpenVSwitchFamilies) {
        if let connection { return connection }
        let transport = NetlinkTransport(try MnlChannel(NETLINK_GENERIC, receiveBuffer: 32 << 20))
        let made = (transport, try OpenVSwitchFamilies(transport))
        connection = made
        return made
    }

    public func open(name: String) throws(DpifError) -> any Dpif {
        do throws(DpifError) {
            let (transport, families) = try connect()
            return try NetlinkDatapath(type: type, name: name, time: time, transport: transport, families: families, wake: wake)
        } catch {
            NetlinkDatapath.log.err("could not open datapath \(name): \(error)")
            throw error
        }
    }

    public func enumerate() -> [String] {
        guard let (transport, families) = try? connect() else { return [] }
        return (try? DatapathRequests(transport: transport, family: families.datapath).all().map(\.name).sorted()) ?? []
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
