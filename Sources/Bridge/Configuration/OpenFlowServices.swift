// The OpenFlow connections of all bridges: the configuration's `ControllerManager` on top of one `OpenFlowService` each.

import NIOCore
import OpenFlow
import OpenFlowService
import Ofproto
import OVSDB

/// Keeps an OpenFlow service for each bridge. Confined to the event loop.
public final class OpenFlowServices: ControllerManager {
    private let eventLoop: any EventLoop
    private var services: [ObjectIdentifier: OpenFlowService] = [:]
    private var removedChanges: UInt64 = 0
    private let tls = TLSIdentity()

    public init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    public func configure(_ bridge: OpenFlowSwitch, _ configuration: ControllerConfiguration) {
        let service: OpenFlowService
        if let known = services[ObjectIdentifier(bridge)] {
            service = known
        } else {
            service = OpenFlowService(switch: bridge, eventLoop: eventLoop, tls: tls)
            services[ObjectIdentifier(bridge)] = service
        }
        var settings = ServiceConfiguration(
            managementSocket: configuration.managementSocket, snoopSocket: configuration.snoopSocket)
        settings.failMode = configuration.failMode == .secure ? .secure : .standalone
        let versions = Set(configuration.protocols.compactMap(OFVersion.init(named:)))
        if !versions.isEmpty { settings.versions = versions }
        settings.disableInBand = configuration.disableInBand
        settings.inBandQueue = configuration.inBandQueue
        settings.packetQueueSize = Int(clamping: configuration.packetQueueSize ?? 100)
        settings.controllers = configuration.controllers.map { target in
            var c = ControllerSettings(id: target.id.description, target: target.target)
            c.isService = target.isService
            c.inactivityProbe = target.inactivityProbe ?? 5000
            c.maxBackoff = max(1000, target.maxBackoff ?? 8000)
            c.enableAsyncMessages = target.enableAsyncMessages
            c.rateLimit = target.rateLimit
            c.burstLimit = target.burstLimit
            c.isInBand = target.isInBand ?? true
            return c
        }
        service.configure(settings)
    }

    public func configureTLS(_ settings: TLSSettings) { tls.settings = settings }

    public func remove(_ bridge: OpenFlowSwitch) {
        guard let service = services.removeValue(forKey: ObjectIdentifier(bridge)) else { return }
        service.close()
        removedChanges &+= service.changeCount &+ 1
    }

    public func reconnect(_ bridge: OpenFlowSwitch) { services[ObjectIdentifier(bridge)]?.reconnect() }

    public func status(_ bridge: OpenFlowSwitch) -> [UUID: ControllerStatus] {
        guard let service = services[ObjectIdentifier(bridge)] else { return [:] }
        var all: [UUID: ControllerStatus] = [:]
        for (id, state) in service.status {
            guard let uuid = UUID(id) else { continue }
            var status = ControllerStatus()
            status.isConnected = state.isConnected
            status.role = state.role
            status.status = state.details
            all[uuid] = status
        }
        return all
    }

    public var changeCount: UInt64 { services.values.reduce(removedChanges) { $0 &+ $1.changeCount } }

    public func run() {
        for service in services.values { service.run(service.owner.time.now) }
    }

    public var memoryUsage: [String: Int] {
        let count = services.values.reduce(0) { $0 + $1.connectionCount }
        return count > 0 ? ["ofconns": count] : [:]
    }
}
