// Kernel datapaths themselves (family ovs_datapath): making, finding, setting and counting.

import CLinux
import Dpif
import Glibc

/// A datapath as the module has it.
struct KernelDatapath: Sendable {
    /// The interface number of its local port, which names it in requests.
    var index: Int32
    var name: String
    var stats: DpStats
    /// Nil: the module has no cache of masks, or does not tell.
    var masksCacheSize: UInt32?

    init(_ message: NetlinkMessage) throws(DpifError) {
        let attributes = try message.attributes(after: 8)
        guard let index = Int32(host: message.payload.dropFirst(4)), let name = attributes[Int(OVS_DP_ATTR_NAME.rawValue)]?.string else {
            throw DpifError(EINVAL_, "message of a datapath without a name")
        }
        self.index = index
        self.name = name
        var stats = DpStats()
        if let bytes = attributes[Int(OVS_DP_ATTR_STATS.rawValue)]?.payload {
            stats.hit = UInt64(host: bytes) ?? 0
            stats.missed = UInt64(host: bytes.dropFirst(8)) ?? 0
            stats.lost = UInt64(host: bytes.dropFirst(16)) ?? 0
            stats.flows = UInt64(host: bytes.dropFirst(24)) ?? 0
        }
        if let bytes = attributes[Int(OVS_DP_ATTR_MEGAFLOW_STATS.rawValue)]?.payload {
            stats.maskHits = UInt64(host: bytes)
            stats.masks = UInt32(host: bytes.dropFirst(8))
        }
        self.stats = stats
        masksCacheSize = attributes[Int(OVS_DP_ATTR_MASKS_CACHE_SIZE.rawValue)].flatMap { UInt32(host: $0.payload) }
    }
}

/// Requests about datapaths. Confined to the main thread.
struct DatapathRequests {
    let transport: NetlinkTransport
    let family: GenericFamily

    private func request(_ command: ovs_datapath_cmd, _ index: Int32 = 0, flags: UInt16 = 0) -> NetlinkMessageWriter {
        NetlinkMessageWriter(
            family: family.id, command: command.rawValue, version: UInt8(OVS_DATAPATH_VERSION), flags: flags, datapath: index)
    }

    private func one(_ answers: [NetlinkMessage], _ what: String) throws(DpifError) -> KernelDatapath {
        guard let message = answers.first else { throw DpifError(ENODEV, what) }
        return try KernelDatapath(message)
    }

    func get(name: String) throws(DpifError) -> KernelDatapath {
        var w = request(OVS_DP_CMD_GET)
        w.attribute(Int(OVS_DP_ATTR_NAME.rawValue), string: name)
        return try one(transport.transact(w, "datapath \(name)"), "datapath \(name)")
    }

    func get(_ index: Int32) throws(DpifError) -> KernelDatapath {
        try one(transport.transact(request(OVS_DP_CMD_GET, index), "datapath \(index)"), "datapath \(index)")
    }

    func create(name: String, features: UInt32) throws(DpifError) -> KernelDatapath {
        var w = request(OVS_DP_CMD_NEW, flags: UInt16(NLM_F_ECHO))
        w.attribute(Int(OVS_DP_ATTR_NAME.rawValue), string: name)
        w.attribute(Int(OVS_DP_ATTR_UPCALL_PID.rawValue), host: UInt32(0))
        w.attribute(Int(OVS_DP_ATTR_USER_FEATURES.rawValue), host: features)
        return try one(transport.transact(w, "datapath \(name)"), "datapath \(name)")
    }

    /// Sets features, and with dispatch per processor the sockets. Throws EOPNOTSUPP or EINVAL for features that the module does not know.
    func set(_ index: Int32, features: UInt32, processorPorts: [UInt32] = []) throws(DpifError) {
        var w = request(OVS_DP_CMD_SET, index)
        w.attribute(Int(OVS_DP_ATTR_USER_FEATURES.rawValue), host: features)
        if !processorPorts.isEmpty { w.attribute(Int(OVS_DP_ATTR_PER_CPU_PIDS.rawValue)) { for id in processorPorts { $0.host(id) } } }
        try transport.transact(w, "datapath \(index)")
    }

    func set(_ index: Int32, masksCacheSize size: UInt32) throws(DpifError) {
        var w = request(OVS_DP_CMD_SET, index)
        w.attribute(Int(OVS_DP_ATTR_MASKS_CACHE_SIZE.rawValue), host: size)
        try transport.transact(w, "masks cache of datapath \(index)")
    }

    func remove(_ index: Int32) throws(DpifError) { try transport.transact(request(OVS_DP_CMD_DEL, index), "datapath \(index)") }

    func all() throws(DpifError) -> [KernelDatapath] {
        var list: [KernelDatapath] = []
        try transport.dump(request(OVS_DP_CMD_GET), "datapaths") { (message) throws(DpifError) in list.append(try KernelDatapath(message)) }
        return list
    }
}
