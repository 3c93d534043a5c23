// DPDK's environment in this process: started once, when other_config:dpdk-init asks for it, with the arguments that
// ovs-vswitchd.conf.db(5) describes; and the pools that packets come from.

import CDPDK
import Dpif
import Glibc
import Vlog

/// The state of DPDK in the process. Confined to the main thread.
public final class DPDKRuntime {
    static let log = Vlog.module("dpdk")
    public private(set) var isInitialized = false
    private var wasTried = false
    /// Where `dpdkvhostuser` ports have their sockets (other_config:vhost-sock-dir, within the run directory).
    private(set) var socketDirectory: String
    private let runDirectory: String
    /// Packet memory comes from ordinary pages: slower, and other processes cannot share it.
    public private(set) var lacksHugePages = false
    private var logReader: PollingLogReader?

    /// - Parameter runDirectory: the daemon's.
    public init(runDirectory: String) {
        self.runDirectory = runDirectory
        socketDirectory = runDirectory
    }

    /// "DPDK 22.11.7".
    public var version: String { rte_version().map { String(cString: $0) } ?? "DPDK" }

    /// Starts DPDK when the configuration (Open_vSwitch.other_config) asks for it and it has not been tried yet.
    ///
    /// Throws when it cannot be started and the configuration does not say `try`.
    public func configure(_ config: [String: String]) throws(DpifError) {
        let wanted = config["dpdk-init"] ?? "false"
        guard wanted == "true" || wanted == "try" else { return }
        guard !wasTried else { return }
        wasTried = true
        givesEachPortItsOwnMemory = config["per-port-memory"] == "true"
        sharedPools = Self.sharedPools(config["shared-mempool-config"] ?? "")
        if let sub = config["vhost-sock-dir"], !sub.isEmpty {
            // Nowhere else, whatever the database says.
            if sub.split(separator: "/").contains("..") {
                Self.log.err("vhost-sock-dir '\(sub)' lies outside the run directory; '\(runDirectory)' is used")
            } else {
                socketDirectory = "\(runDirectory)/\(sub)"
            }
        }
        guard cdpdk_cpu_is_supported() != 0 else {
            Self.log.err("DPDK not started: this processor lacks AVX2 or BMI2, which packet processing is compiled for")
            if wanted == "try" { return }
            throw DpifError(ENOTSUP, "DPDK on this processor")
        }
        var arguments = ["ovs-vswitchd"]
        let extra = Self.words(config["dpdk-extra"] ?? "")
        if let mask = config["dpdk-lcore-mask"] {
            arguments += ["-c", mask.hasPrefix("0x") ? mask : "0x\(mask)"]
        } else if !extra.contains("-l"), !extra.contains("-c"), !extra.contains("--lcores") {
            arguments += ["-l", String(cdpdk_first_core())]
        }
        if let directory = config["dpdk-hugepage-dir"] { arguments += ["--huge-dir", directory] }
        let hasPages = Self.hasHugePages && !extra.contains("--no-huge")
        if hasPages {
            if let memory = config["dpdk-socket-mem"] { arguments += ["--socket-mem", memory] }
            if let limit = config["dpdk-socket-limit"] { arguments += ["--socket-limit", limit] }
        } else {
            let megabytes = (config["dpdk-socket-mem"] ?? "1024").split(separator: ",").reduce(0) { $0 + (Int($1) ?? 0) }
            if !extra.contains("--no-huge") { arguments.append("--no-huge") }
            if !extra.contains("-m") { arguments += ["-m", String(max(64, megabytes))] }
        }
        lacksHugePages = !hasPages
        if hasPages, !extra.contains("--in-memory") { arguments.append("--in-memory") }
        arguments += extra
        Self.log.info("Using \(version)")
        Self.log.info("DPDK Enabled - initializing...")
        Self.log.info("EAL ARGS: \(arguments.joined(separator: " "))")
        if lacksHugePages {
            Self.log.warn(
                "no huge pages are free: packets lie in ordinary memory, which is slow; "
                    + "write a number of pages to /proc/sys/vm/nr_hugepages and restart")
        }
        logReader = PollingLogReader { Self.log.info($0) }
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        // DPDK keeps the strings, and pins the thread that starts it.
        let result = rte_eal_init(Int32(arguments.count), &argv)
        cdpdk_unpin()
        guard result >= 0 else {
            let reason = String(cString: rte_strerror(cdpdk_errno()))
            Self.log.err("Unable to initialize DPDK: \(reason)")
            if wanted == "try" { return }
            throw DpifError(cdpdk_errno(), "DPDK")
        }
        isInitialized = true
        Self.log.info("DPDK Enabled - initialized")
    }

    private static func words(_ text: String) -> [String] { text.split { $0 == " " || $0 == "\t" }.map(String.init) }

    private static var hasHugePages: Bool {
        for size in ["hugepages-2048kB", "hugepages-1048576kB"] {
            guard let file = fopen("/sys/kernel/mm/hugepages/\(size)/free_hugepages", "r") else { continue }
            defer { fclose(file) }
            var buffer = [CChar](repeating: 0, count: 32)
            guard fgets(&buffer, 32, file) != nil else { continue }
            let digits = buffer.prefix { $0 >= 48 && $0 <= 57 }.map { UInt8(bitPattern: $0) }
            if let free = Int(String(decoding: digits, as: UTF8.self)), free > 0 { return true }
        }
        return false
    }

    // MARK: Packet memory

    /// per-port-memory.
    private var givesEachPortItsOwnMemory = false
    /// The MTUs that pools are made for, each for a NUMA node or all; none: as ports need them (shared-mempool-config).
    private var sharedPools: [(mtu: Int, node: Int?)] = []

    /// The entries of "9000,1500:1,6000:1"; those that are none are named in the log.
    private static func sharedPools(_ text: String) -> [(mtu: Int, node: Int?)] {
        text.split { $0 == "," || $0 == " " }.compactMap { entry in
            let parts = entry.split(separator: ":", omittingEmptySubsequences: false)
            guard let mtu = Int(parts[0]), (68...65_535).contains(mtu), parts.count <= 2 else {
                log.warn("shared-mempool-config: '\(entry)' is no MTU")
                return nil
            }
            guard parts.count == 2 else { return (mtu, nil) }
            guard let node = Int(parts[1]), node >= 0 else {
                log.warn("shared-mempool-config: '\(entry)' names no NUMA node")
                return nil
            }
            return (mtu, node)
        }
    }

    private struct Pool {
        let pool: OpaquePointer
        var users: Int
    }
    private struct Kind: Hashable {
        let size: Int
        let node: Int
        /// The port's, where each has memory of its own.
        let owner: String?
    }
    private var pools: [Kind: Pool] = [:]
    private var poolsMade = 0

    /// A pool of packets for devices of this MTU on a NUMA node, made when there is none. Give it back with `release`.
    /// - Parameter port: whose device it is for.
    /// - Parameter queued: how many packets its queues hold.
    func pool(mtu wanted: Int, node: Int, port: String, queued: Int) throws(DpifError) -> OpaquePointer {
        let owner = givesEachPortItsOwnMemory ? port : nil
        // Of the pools that are asked for the smallest that will do.
        let shared = sharedPools.filter { $0.mtu >= wanted && ($0.node ?? node) == node }.map(\.mtu).min()
        let mtu = owner == nil ? shared ?? wanted : wanted
        // As much as packets of the MTU need with their headers, in steps.
        let size = (mtu + 26 + 128 + 1023) / 1024 * 1024 + 128
        let kind = Kind(size: size, node: node, owner: owner)
        if var known = pools[kind] {
            known.users += 1
            pools[kind] = known
            return known.pool
        }
        // A port's own: what its queues hold, and as much again as is under way.
        var count: UInt32 = 262_144
        while owner != nil, count > 32_768, count / 2 > queued + 16_384 { count /= 2 }
        while count >= 16_384 {
            poolsMade += 1
            let name = "ovs\(size)-\(node)-\(poolsMade)"
            if let pool = rte_pktmbuf_pool_create(name, count - 1, 256, 0, UInt16(size), Int32(node)) {
                pools[kind] = Pool(pool: pool, users: 1)
                return pool
            }
            count /= 2
        }
        throw DpifError(ENOMEM, "memory for packets (\(16_384 * size >> 20) MB at least)")
    }

    func release(_ pool: OpaquePointer) {
        for (kind, entry) in pools where entry.pool == pool {
            pools[kind]?.users -= 1
            // Packets may still be on their way; the pool is kept for the next device.
        }
    }

    /// What DPDK tells of a device's pool and how many packets of it are in use, or of all pools.
    public func describePools(of device: DPDKDevice?) -> String {
        var text: UnsafeMutablePointer<CChar>?
        var size = 0
        guard let stream = open_memstream(&text, &size) else { return "" }
        if let pool = device?.pool {
            rte_mempool_dump(stream, pool)
            fputs("    count: avail (\(rte_mempool_avail_count(pool))), in use (\(rte_mempool_in_use_count(pool)))\n", stream)
        } else if device == nil {
            rte_mempool_list_dump(stream)
        }
        fclose(stream)
        guard let text else { return "" }
        defer { free(text) }
        return String(cString: text)
    }

    /// Packets of all pools that are in use: what rests when nothing moves is lost.
    public var packetsInUse: Int { pools.values.reduce(0) { $0 + Int(rte_mempool_in_use_count($1.pool)) } }
}

/// Hands what DPDK writes to its log to a logging module, line by line.
private final class PollingLogReader: Sendable {
    init?(_ body: @escaping @Sendable (String) -> Void) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, let stream = fdopen(ends[1], "w") else { return nil }
        setvbuf(stream, nil, Int32(_IOLBF), 4096)
        rte_openlog_stream(stream)
        let input = ends[0]
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Context(input, body)).toOpaque()
        let failed = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Context>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context)
        if failed == 0 { pthread_detach(thread) } else { Unmanaged<Context>.fromOpaque(context).release() }
    }

    private final class Context: Sendable {
        let input: Int32
        let body: @Sendable (String) -> Void
        init(_ input: Int32, _ body: @escaping @Sendable (String) -> Void) {
            self.input = input
            self.body = body
        }
        func run() {
            guard let file = fdopen(input, "r") else { return }
            var line: UnsafeMutablePointer<CChar>?
            var capacity = 0
            while getline(&line, &capacity, file) > 0 {
                guard let line else { continue }
                let text = String(cString: line)
                body(text.hasSuffix("\n") ? String(text.dropLast()) : text)
            }
            free(line)
            fclose(file)
        }
    }
}
