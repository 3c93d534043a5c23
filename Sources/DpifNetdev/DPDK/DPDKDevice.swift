// A device of DPDK: a network card or one of DPDK's virtual devices, by its devargs; a virtual machine's network device by vhost-user;
// a kernel interface by AF_XDP. `DPDKPortKind` says how they differ.

import CDPDK
import Dpif
import Glibc
import Packet

/// A port that polling threads own. Main thread; polling threads know it by its number and queues only.
public final class DPDKDevice: PacketDevice {
    public let name: String
    public let kind: DPDKPortKind
    public var type: String { kind.rawValue }
    public var receiver: ((consuming Packet) -> Void)?
    private let runtime: DPDKRuntime
    private var devargs = ""
    /// DPDK's number of the device, once it is attached.
    public private(set) var number: UInt16?
    private(set) var pool: OpaquePointer?
    private var isStarted = false
    /// Queues as they are.
    public private(set) var receiveQueues = 0
    public private(set) var transmitQueues = 0
    private var wantedReceiveQueues = 1
    /// The processors that queues are pinned to (other_config:pmd-rxq-affinity).
    private(set) var affinity: [Int: Int] = [:]
    /// Called when the device has to be started anew for what was changed about it; set while threads poll it.
    var onReconfigure: (() -> Void)?
    /// Called when queues were pinned to other processors.
    var onRepin: (() -> Void)?
    /// Called before the device goes; when it returns, no thread touches it any more.
    var onRelease: (() -> Void)?
    /// One for each transmit queue, for when there are fewer queues than threads that send.
    private var locks: UnsafeMutablePointer<UInt32>?
    private var sharesQueues = false
    private var receiveDescriptors: UInt16 = 2048
    private var transmitDescriptors: UInt16 = 2048
    public private(set) var mtu = 1500
    public private(set) var macAddress: UInt64 = 0
    public private(set) var isAdminUp = true
    private var linkUp = false
    private var speed: UInt32 = 0
    public private(set) var linkResets: UInt64 = 0
    private var changes: UInt64 = 1
    /// Of the main thread.
    private var transmitDrops: UInt64 = 0
    /// Of polling threads, while they serve the device.
    var threadDrops: (() -> UInt64)?

    public init(name: String, kind: DPDKPortKind, runtime: DPDKRuntime) {
        self.name = name
        self.kind = kind
        self.runtime = runtime
    }

    deinit {
        close()
        locks?.deallocate()
    }

    /// The lock of a transmit queue, nil when one thread alone sends on it.
    func transmitLock(_ queue: Int) -> UnsafeMutablePointer<UInt32>? { sharesQueues ? locks.map { $0 + queue } : nil }

    // MARK: Configuration

    /// Applies Interface.options. Throws with the whole text for Interface.error.
    public func configure(_ options: [String: String]) throws(DpifError) {
        let queues = options["n_rxq"].flatMap { Int($0) }.map { min(64, max(1, $0)) } ?? 1
        let wanted = try kind.devargs(name: name, options: options, queues: queues, socketDirectory: runtime.socketDirectory)
        var pinned: [Int: Int] = [:]
        if let text = options["pmd-rxq-affinity"] {
            guard let cores = QueueAssignment.affinity(text) else {
                throw DpifError(EINVAL, "\(name): pmd-rxq-affinity '\(text)' is not a list of queue:core")
            }
            pinned = cores
        }
        let before = (wantedReceiveQueues, receiveDescriptors, transmitDescriptors)
        let isRepinned = pinned != affinity
        wantedReceiveQueues = queues
        receiveDescriptors = Self.descriptors(options["n_rxq_desc"])
        transmitDescriptors = Self.descriptors(options["n_txq_desc"])
        affinity = pinned
        guard wanted != devargs else {
            if isStarted, before != (wantedReceiveQueues, receiveDescriptors, transmitDescriptors) {
                onReconfigure?()
            } else if isRepinned {
                onRepin?()
            }
            return
        }
        let isPolled = onReconfigure != nil && isStarted
        if number != nil {
            // Threads let go of the device before it goes.
            onRelease?()
            close()
        }
        number = try Self.attach(wanted, name: name)
        devargs = wanted
        readState()
        if isPolled { onReconfigure?() }
    }

    private static func descriptors(_ text: String?) -> UInt16 {
        // A power of two, as the real daemon wants it.
        guard let text, let n = UInt16(text), n > 0, n & (n - 1) == 0, n <= 4096 else { return 2048 }
        return n
    }

    /// Finds a device by its devargs, probing it when DPDK does not have it yet.
    private static func attach(_ devargs: String, name: String) throws(DpifError) -> UInt16 {
        let device = String(devargs.prefix { $0 != "," })
        var number: UInt16 = 0
        if rte_eth_dev_get_port_by_name(device, &number) != 0 {
            let result = rte_dev_probe(devargs)
            guard result == 0, rte_eth_dev_get_port_by_name(device, &number) == 0 else {
                DPDKRuntime.log.warn("Error attaching device '\(devargs)' to DPDK")
                throw DpifError(EINVAL, "Error attaching device '\(devargs)' to DPDK")
            }
            DPDKRuntime.log.info("Device '\(devargs)' attached to DPDK")
        }
        return number
    }

    /// Starts the device with as many transmit queues as there are threads that send. Stops it first when it runs.
    func start(transmitQueues wanted: Int) throws(DpifError) {
        guard let number else { throw DpifError(ENODEV, "DPDK device of port \(name)") }
        if isStarted { stop() }
        var info = rte_eth_dev_info()
        guard rte_eth_dev_info_get(number, &info) == 0 else { throw DpifError(ENODEV, "DPDK device \(devargs)") }
        let rx = max(1, min(wantedReceiveQueues, Int(info.max_rx_queues)))
        let tx = max(1, min(wanted, Int(info.max_tx_queues)))
        var configuration = rte_eth_conf()
        configuration.rxmode.mtu = UInt32(mtu)
        if rx > 1 {
            configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS
            // RTE_ETH_RSS_IP | UDP | TCP, as far as the device has them.
            configuration.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads
        }
        try Self.check(rte_eth_dev_configure(number, UInt16(rx), UInt16(tx), &configuration), "configuring \(devargs)")
        let queued = rx * Int(receiveDescriptors) + tx * Int(transmitDescriptors)
        let memory: OpaquePointer
        if let pool { memory = pool } else { memory = try runtime.pool(mtu: mtu, node: node, port: name, queued: queued) }
        pool = memory
        var rxDescriptors = receiveDescriptors
        var txDescriptors = transmitDescriptors
        try Self.check(rte_eth_dev_adjust_nb_rx_tx_desc(number, &rxDescriptors, &txDescriptors), "descriptors of \(devargs)")
        let socket = UInt32(bitPattern: rte_eth_dev_socket_id(number))
        for q in 0..<rx {
            try Self.check(
                rte_eth_rx_queue_setup(number, UInt16(q), rxDescriptors, socket, nil, memory), "receive queue \(q) of \(devargs)")
        }
        for q in 0..<tx {
            try Self.check(rte_eth_tx_queue_setup(number, UInt16(q), txDescriptors, socket, nil), "transmit queue \(q) of \(devargs)")
        }
        try Self.check(rte_eth_dev_start(number), "starting \(devargs)")
        rte_eth_promiscuous_enable(number)
        rte_eth_allmulticast_enable(number)
        isStarted = true
        receiveQueues = rx
        transmitQueues = tx
        sharesQueues = tx < wanted
        locks?.deallocate()
        locks = .allocate(capacity: tx)
        locks?.initialize(repeating: 0, count: tx)
        readState()
    }

    private static func check(_ result: Int32, _ what: String) throws(DpifError) {
        guard result < 0 else { return }
        throw DpifError(-result, what)
    }

    /// No thread polls the device any more.
    func stop() {
        guard let number, isStarted else { return }
        rte_eth_dev_stop(number)
        isStarted = false
    }

    /// Gives the device back.
    func close() {
        guard let number else { return }
        stop()
        var info = rte_eth_dev_info()
        let known = rte_eth_dev_info_get(number, &info) == 0
        rte_eth_dev_close(number)
        // A virtual device goes; a card stays with DPDK.
        if known, let device = info.device { rte_dev_remove(device) }
        self.number = nil
        devargs = ""
        if let pool { runtime.release(pool) }
        pool = nil
    }

    // MARK: State

    /// The NUMA node of the device; 0 when it has none.
    var node: Int { number.map { max(0, Int(rte_eth_dev_socket_id($0))) } ?? 0 }

    private func readState() {
        guard let number else { return }
        var bytes = [UInt8](repeating: 0, count: 6)
        cdpdk_mac(number, &bytes)
        macAddress = bytes.reduce(0) { $0 << 8 | UInt64($1) }
        refreshLink()
        changes += 1
    }

    private func refreshLink() {
        guard let number else { return }
        let up = cdpdk_link(number, &speed) != 0
        guard up != linkUp else { return }
        linkUp = up
        linkResets += 1
        changes += 1
    }

    public var isLinkUp: Bool { isAdminUp && linkUp }
    public var changeCount: UInt64 {
        refreshLink()
        return changes
    }

    public var features: (current: PortFeatures, advertised: PortFeatures, supported: PortFeatures, peer: PortFeatures) {
        let current: PortFeatures
        switch speed {
        case 10: current = .full10Mb
        case 100: current = .full100Mb
        case 1000: current = .full1Gb
        case 10_000: current = .full10Gb
        case 40_000: current = .full40Gb
        case 100_000: current = .full100Gb
        default: current = .other
        }
        return (current, [], [], [])
    }

    public var stats: DeviceStats {
        var s = DeviceStats()
        guard let number else { return s }
        var raw = rte_eth_stats()
        guard rte_eth_stats_get(number, &raw) == 0 else { return s }
        s.rxPackets = raw.ipackets
        s.txPackets = raw.opackets
        s.rxBytes = raw.ibytes
        s.txBytes = raw.obytes
        s.rxErrors = raw.ierrors
        s.txErrors = raw.oerrors
        s.rxDropped = raw.imissed &+ raw.rx_nombuf
        s.txDropped = transmitDrops &+ (threadDrops?() ?? 0)
        return s
    }

    public var status: [String: String] {
        guard let number else { return [:] }
        var info = rte_eth_dev_info()
        guard rte_eth_dev_info_get(number, &info) == 0 else { return [:] }
        let queues = [
            "n_rxq": String(receiveQueues), "n_txq": String(transmitQueues),
        ]
        if kind.isVhost {
            return queues.merging([
                "mode": kind == .dpdkvhostuserclient ? "client" : "server", "socket": kind.socket(of: devargs) ?? "",
                "status": linkUp ? "connected" : "disconnected",
            ]) { $1 }
        }
        return queues.merging([
            "port_no": String(number), "numa_id": String(rte_eth_dev_socket_id(number)),
            "driver_name": info.driver_name.map { String(cString: $0) } ?? "", "min_rx_bufsize": String(info.min_rx_bufsize),
            "max_rx_pktlen": String(mtu + 18), "max_rx_queues": String(info.max_rx_queues),
            "max_tx_queues": String(info.max_tx_queues), "max_mac_addrs": String(info.max_mac_addrs),
            "max_hash_mac_addrs": String(info.max_hash_mac_addrs), "max_vfs": String(info.max_vfs),
            "max_vmdq_pools": String(info.max_vmdq_pools),
        ]) { $1 }
    }

    public func setAdminUp(_ up: Bool) throws(DpifError) {
        guard up != isAdminUp, let number else { return }
        // Devices without a switch for it say ENOTSUP, and stay up.
        _ = up ? rte_eth_dev_set_link_up(number) : rte_eth_dev_set_link_down(number)
        isAdminUp = up
        changes += 1
    }

    public func setMAC(_ address: UInt64) throws(DpifError) {
        guard address != macAddress, let number else { return }
        let bytes = (0..<6).map { UInt8(truncatingIfNeeded: address >> UInt64(40 - 8 * $0)) }
        try Self.check(cdpdk_set_mac(number, bytes), "address of \(devargs)")
        macAddress = address
        changes += 1
    }

    public func setMTU(_ wanted: Int) throws(DpifError) {
        guard wanted != mtu else { return }
        guard number != nil, wanted >= 68, wanted <= 9702 else { throw DpifError(EINVAL, "MTU \(wanted) of port \(name)") }
        mtu = wanted
        changes += 1
        // Packets of another size come from another pool.
        if let pool { runtime.release(pool) }
        pool = nil
        if isStarted { onReconfigure?() }
    }

    // MARK: Packets of the main thread

    /// Sends on the first transmit queue, which is the main thread's.
    public func transmit(_ packet: consuming Packet) {
        guard let number, isStarted, let pool, packet.count <= Int(UInt16.max), let m = cdpdk_alloc(pool) else {
            transmitDrops += 1
            return
        }
        guard let room = cdpdk_append(m, UInt16(packet.count)) else {
            cdpdk_free(m)
            transmitDrops += 1
            return
        }
        memcpy(room, packet.data, packet.count)
        var one: OpaquePointer? = m
        let lock = transmitLock(0)
        if let lock { cdpdk_lock(lock) }
        let sent = cdpdk_tx_burst(number, 0, &one, 1)
        if let lock { cdpdk_unlock(lock) }
        if sent == 0 {
            cdpdk_free(m)
            transmitDrops += 1
        }
    }
}
