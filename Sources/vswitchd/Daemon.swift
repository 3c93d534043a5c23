// Wiring: makes the parts of the daemon, joins them, and runs the main loop until a signal or `exit` ends it.

import Bridge
import Dispatch
import Dpif
import DpifDummy
import DpifNetdev
import DpifNetlink
import Glibc
import Netdev
import NIOCore
import NIOPosix
import OVSDB
import Unixctl
import Vlog

/// The running daemon. Confined to the main thread.
final class Daemon {
    private static let log = Vlog.module("vswitchd")
    private let options: Options
    private let directories: Directories
    private let background: Background
    private let time = TimeSource()
    private let registry = DpifRegistry()
    private let factory = StandardDeviceFactory()

    private var configurator: BridgeConfigurator?
    private var control: UnixctlServer?
    private var database: EmbeddedDatabase?
    private var commands: [AnyObject] = []
    private var loop: MainLoop?
    private var signals: [any DispatchSourceSignal] = []
    private var isEnding = false

    init(_ options: Options, _ directories: Directories, _ background: Background) {
        self.options = options
        self.directories = directories
        self.background = background
    }

    /// Runs the event loop on this thread. Never returns.
    func run() -> Never {
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { eventLoop in self.start(eventLoop) }
        exit(0)
    }

    private func start(_ eventLoop: any EventLoop) {
        let loop = MainLoop(eventLoop: eventLoop)
        self.loop = loop
        factory.eventLoop = eventLoop
        registerDatapaths(loop.waker)
        let fabric = SwitchFabric(
            time: time, registry: registry, factory: factory, hostRoutes: options.disableSystemRoute ? nil : KernelRoutes())
        watchSignals(eventLoop)

        var settings = ConfiguratorSettings(runDirectory: directories.run)
        settings.tls.privateKey = options.privateKey
        settings.tls.certificate = options.certificate
        settings.tls.caCertificate = options.caCert ?? options.bootstrapCaCert
        settings.tls.bootstraps = options.bootstrapCaCert != nil
        let remote: OVSDBRemote
        if let text = options.database {
            do { remote = try OVSDBRemote(text) } catch { die("\(error)") }
        } else {
            settings.ownsDatabase = true
            do {
                let database = try EmbeddedDatabase(directories, eventLoop)
                self.database = database
                remote = database.remote
            } catch { die("\(error)") }
        }
        let configurator = BridgeConfigurator(
            remote: remote, fabric: fabric, controllers: OpenFlowServices(eventLoop: eventLoop), settings: settings, eventLoop: eventLoop)
        self.configurator = configurator
        configurator.shaper = try? TrafficControl()
        configurator.onFirstConfiguration = { [background] in background.ready() }
        configurator.onWake = { [weak loop] in loop?.waker.wake() }
        if let database { database.follow(configurator) }

        fabric.onChange = { [weak loop] in loop?.noteActivity() }
        loop.add { fabric.run() }
        loop.add { configurator.controllers.run() }
        loop.add { configurator.run() }
        time.onWarp = { [weak loop] in loop?.waker.wake() }
        loop.start()
        openControl(eventLoop, fabric, configurator)
        if let database {
            database.listen { configurator.start() }
        } else {
            configurator.start()
        }
    }

    // MARK: Datapaths

    /// The only place that knows the providers.
    private func registerDatapaths(_ waker: MainLoopWaker) {
        factory.registerKernelDevices()
        let netdev = NetdevProvider(time: time, runDirectory: directories.run) { waker.wake() }
        netdev.onDPDK = { [factory, unowned self] runtime in
            control?.register("netdev-dpdk/get-mempool-info", "[netdev]", 0, 1) { [unowned self] args in
                let device = args.first.flatMap { configurator?.fabric.devices[$0] as? DPDKDevice }
                guard args.isEmpty || device != nil else { return .error("Not a DPDK Interface") }
                return .ok(runtime.describePools(of: device))
            }
            for kind in DPDKPortKind.allCases {
                factory.register(kind.rawValue) { (name, _) throws(DpifError) in
                    DPDKDevice(name: name, kind: kind, runtime: runtime)
                } configure: {
                    (device, options) throws(DpifError) in
                    try (device as? DPDKDevice)?.configure(options)
                }
            }
        }
        registry.register(netdev)
        if !options.disableSystem { registry.register(NetlinkProvider(time: time, without: Set(options.kernelWithout)) { waker.wake() }) }
        if let mode = Options.value(options.enableDummy) {
            guard ["", "override", "system"].contains(mode) else { die("--enable-dummy=\(mode): unknown mode") }
            factory.registerDummies(also: mode == "" ? [] : ["system"])
            register("dummy")
            if mode == "system" || mode == "override" { register("system") }
            if mode == "override" { register("netdev") }
        } else if options.datapath == "dummy" {
            factory.registerDummies()
            register("dummy")
        }
        if let datapath = options.datapath {
            guard ["netlink", "netdev", "dummy", "system"].contains(datapath) else {
                die("--datapath=\(datapath): expected netlink, netdev or dummy")
            }
            registry.defaultType = registry.normalise(datapath)
        }
    }

    private func register(_ type: String) {
        do { registry.register(try DummyProvider(time: time, profile: options.dummyProfile, type: type)) } catch { die(error.detail) }
    }

    // MARK: Control

    private func openControl(_ eventLoop: any EventLoop, _ fabric: SwitchFabric, _ configurator: BridgeConfigurator) {
        let server = UnixctlServer(eventLoop: eventLoop, version: DaemonIdentity.version)
        control = server
        server.prepare = { configurator.settle() }
        let general = ControlCommands(fabric: fabric, server: server)
        general.registerAll()
        let daemon = DaemonCommands(configurator: configurator, server: server) { [weak self] cleanup in self?.end(cleanup: cleanup) }
        daemon.registerAll()
        commands = [general, daemon]
        guard options.unixctl != "none" else { return }
        let path =
            options.unixctl.map { Directories.absolute($0, in: directories.run) }
            ?? "\(directories.run)/ovs-vswitchd.\(getpid()).ctl"
        server.listen(path: path) { error in
            guard let error else { return }
            let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            die("\(path): could not initialize control socket (\(reason))")
        }
    }

    // MARK: The end

    private func watchSignals(_ eventLoop: any EventLoop) {
        let daemon = NIOLoopBound(self, eventLoop: eventLoop)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGALRM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { eventLoop.execute { daemon.value.received(number) } }
            source.activate()
            signals.append(source)
        }
    }

    private func received(_ number: Int32) {
        if number == SIGHUP {
            try? Vlog.reopenLogFile()
            return
        }
        Vlog.module("fatal_signal").warn("terminating with signal \(number) (\(String(cString: strsignal(number))))")
        end(cleanup: false)
    }

    /// Ends the process once replies under way are written.
    private func end(cleanup: Bool) {
        guard !isEnding else { return }
        isEnding = true
        loop?.stop()
        if cleanup { configurator?.destroyAll() }
        configurator?.stop()
        database?.close()
        control?.close()
        background.finish()
        exit(0)
    }
}
