// The ports of a kernel datapath (family ovs_vport): what the module says of them, and how they are made.

import CLinux
import Dpif
import Glibc

/// A port as the module has it.
struct KernelPort: Sendable, Equatable {
    var number: UInt32
    var name: String
    /// OVS_VPORT_TYPE_*.
    var type: UInt32
    var upcallPorts: [UInt32]

    /// Throws EINVAL when the message lacks what a port has.
    init(_ message: NetlinkMessage) throws(DpifError) {
        let attributes = try message.attributes(after: 8)
        guard let number = attributes[Int(OVS_VPORT_ATTR_PORT_NO.rawValue)]?.host(UInt32.self),
            let name = attributes[Int(OVS_VPORT_ATTR_NAME.rawValue)]?.string,
            let type = attributes[Int(OVS_VPORT_ATTR_TYPE.rawValue)]?.host(UInt32.self)
        else { throw DpifError(EINVAL_, "message of a port without number, name or type") }
        self.number = number
        self.name = name
        self.type = type
        var list: [UInt32] = []
        var rest = attributes[Int(OVS_VPORT_ATTR_UPCALL_PID.rawValue)]?.payload ?? []
        while let id = UInt32(host: rest.prefix(4)) {
            list.append(id)
            rest = rest.dropFirst(4)
        }
        upcallPorts = list
    }

    /// As dpif/show names the type.
    var typeName: String {
        switch type {
        case OVS_VPORT_TYPE_INTERNAL.rawValue: "internal"
        case OVS_VPORT_TYPE_GRE.rawValue: "gre"
        case OVS_VPORT_TYPE_VXLAN.rawValue: "vxlan"
        case OVS_VPORT_TYPE_GENEVE.rawValue: "geneve"
        default: "system"
        }
    }
}

/// Requests about ports. Confined to the main thread.
struct PortRequests {
    let transport: NetlinkTransport
    let family: GenericFamily
    let datapath: Int32

    private func request(_ command: ovs_vport_cmd, flags: UInt16 = 0) -> NetlinkMessageWriter {
        NetlinkMessageWriter(
            family: family.id, command: command.rawValue, version: UInt8(OVS_VPORT_VERSION), flags: flags, datapath: datapath)
    }

    /// Makes a port.
    /// - Parameter options: writes OVS_VPORT_ATTR_OPTIONS, for tunnels.
    /// Throws EBUSY for a number that is taken, EEXIST for a name or a device that is a port already, ENODEV for a device that is not there.
    func add(
        name: String, type: ovs_vport_type, number: UInt32?, upcallPorts: [UInt32], options: ((inout NetlinkMessageWriter) -> Void)? = nil
    ) throws(DpifError) -> KernelPort {
        var w = request(OVS_VPORT_CMD_NEW, flags: UInt16(NLM_F_ECHO))
        w.attribute(Int(OVS_VPORT_ATTR_NAME.rawValue), string: name)
        w.attribute(Int(OVS_VPORT_ATTR_TYPE.rawValue), host: type.rawValue)
        if let number { w.attribute(Int(OVS_VPORT_ATTR_PORT_NO.rawValue), host: number) }
        w.attribute(Int(OVS_VPORT_ATTR_UPCALL_PID.rawValue)) { for id in upcallPorts.isEmpty ? [0] : upcallPorts { $0.host(id) } }
        if let options { w.nest(Int(OVS_VPORT_ATTR_OPTIONS.rawValue), options) }
        let answers = try transport.transact(w, "port \(name)")
        guard let message = answers.first else { return try get(name: name) }
        return try KernelPort(message)
    }

    func remove(_ number: UInt32) throws(DpifError) {
        var w = request(OVS_VPORT_CMD_DEL)
        w.attribute(Int(OVS_VPORT_ATTR_PORT_NO.rawValue), host: number)
        try transport.transact(w, "port \(number)")
    }

    /// Says where packets of a port go up to.
    func setUpcallPorts(_ number: UInt32, _ ids: [UInt32]) throws(DpifError) {
        var w = request(OVS_VPORT_CMD_SET)
        w.attribute(Int(OVS_VPORT_ATTR_PORT_NO.rawValue), host: number)
        w.attribute(Int(OVS_VPORT_ATTR_UPCALL_PID.rawValue)) { for id in ids.isEmpty ? [0] : ids { $0.host(id) } }
        try transport.transact(w, "port \(number)")
    }

    func get(number: UInt32) throws(DpifError) -> KernelPort {
        var w = request(OVS_VPORT_CMD_GET)
        w.attribute(Int(OVS_VPORT_ATTR_PORT_NO.rawValue), host: number)
        return try one(transport.transact(w, "port \(number)"), "port \(number)")
    }

    func get(name: String) throws(DpifError) -> KernelPort {
        var w = request(OVS_VPORT_CMD_GET)
        w.attribute(Int(OVS_VPORT_ATTR_NAME.rawValue), string: name)
        return try one(transport.transact(w, "port \(name)"), "port \(name)")
    }

    private func one(_ answers: [NetlinkMessage], _ what: String) throws(DpifError) -> KernelPort {
        guard let message = answers.first else { throw DpifError(ENODEV, what) }
        return try KernelPort(message)
    }

    func all() throws(DpifError) -> [KernelPort] {
        var list: [KernelPort] = []
        try transport.dump(request(OVS_VPORT_CMD_GET), "ports") { (message) throws(DpifError) in list.append(try KernelPort(message)) }
        return list
    }
}
