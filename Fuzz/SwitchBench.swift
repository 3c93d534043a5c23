// A bridge on a dummy datapath with one controller, for targets that need a switch which remembers what it was told.

import Datapath
import Dpif
import DpifDummy
import Flow
import NIOCore
import NIOEmbedded
import Netdev
import OpenFlow
import Packet
import Vlog

@testable import OpenFlowService
@testable import Ofproto

/// Octets of an input, one field after the other; zeros behind its end.
struct Choices {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isEmpty: Bool { at >= bytes.count }

    mutating func u8() -> UInt8 {
        defer { at += 1 }
        return at < bytes.count ? bytes[at] : 0
    }
    mutating func u16() -> UInt16 { UInt16(u8()) << 8 | UInt16(u8()) }
    mutating func u32() -> UInt32 { UInt32(u16()) << 16 | UInt32(u16()) }
    mutating func take(_ count: Int) -> [UInt8] { (0..<count).map { _ in u8() } }
    mutating func pick<T>(_ list: [T]) -> T { list[Int(u8()) % list.count] }
}

/// The switch, and the connection that speaks to it through memory.
final class FuzzedSwitch {
    let version: OFVersion
    private let time = TimeSource()
    private let backer: DatapathBacker
    private let bridge: OpenFlowSwitch
    private let devices: [DummyDevice]
    private let service: OpenFlowService
    private let channel: EmbeddedChannel
    private var xid: UInt32 = 1
    /// The transaction that the next message begins.
    var nextXID: UInt32 { xid + 1 }

    /// Errors are what inputs are for.
    private static let quiet: Void = Vlog.setLevel(.off)

    init(_ version: OFVersion) throws {
        _ = Self.quiet
        self.version = version
        time.stop()
        let datapath = DummyDatapath(type: "dummy", name: "ovs-dummy", capabilities: DummyProfile.full, time: time)
        backer = DatapathBacker(datapath, time: time)
        bridge = OpenFlowSwitch(id: 1, name: "br0", backer: backer)
        devices = (1...3).map { DummyDevice(name: "p\($0)", type: "dummy") }
        for (i, device) in devices.enumerated() {
            try device.setAdminUp(true)
            let number = try datapath.addPort(device, requested: UInt32(i + 1))
            let port = try bridge.addPort(device, requested: OFPort(UInt32(i + 1)), datapathPort: number)
            bridge.setBundle(BundleSettings(name: device.name), ports: [port])
        }
        let loop = EmbeddedEventLoop()
        service = OpenFlowService(switch: bridge, eventLoop: loop)
        var configuration = ServiceConfiguration(managementSocket: "", snoopSocket: "")
        configuration.failMode = .secure
        service.configure(configuration)
        channel = EmbeddedChannel(loop: loop)
        _ = try service.accept(channel, name: "fuzz", purpose: .primary)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/fuzz")).wait()
        try channel.writeInbound(channel.allocator.buffer(bytes: OFSimple.hello([version], xid: 0)))
    }

    deinit {
        service.close()
        bridge.destroy()
    }

    /// Sends a message, whatever its body; answers are read and forgotten.
    func send(_ type: UInt8, _ body: [UInt8]) throws {
        xid += 1
        try channel.writeInbound(channel.allocator.buffer(bytes: Self.message(version, type, xid: xid, body)))
        while try channel.readOutbound(as: ByteBuffer.self) != nil {}
    }

    static func message(_ version: OFVersion, _ type: UInt8, xid: UInt32, _ body: [UInt8]) -> [UInt8] {
        var w = WireWriter.message(version, type, xid: xid)
        w.array(Array(body.prefix(60_000)))
        return w.finish()
    }

    /// Adds a flow for every packet, with actions as they are on the wire; from 1.1 on they are instructions.
    func addFlow(_ actions: [UInt8], table: UInt8 = 0) throws {
        var w = WireWriter()
        if version == .v10 {
            w.u32(0x3f_ffff)
            w.zeros(36 + 8)
            for field: UInt16 in [0, 0, 0, 10] { w.u16(field) }
            w.u32(.max)
            w.u16(.max)
            w.u16(0)
        } else {
            w.zeros(16)
            w.u8(table)
            w.u8(0)
            for field: UInt16 in [0, 0, 10] { w.u16(field) }
            for _ in 0..<3 { w.u32(.max) }
            w.zeros(4)
            w.u16(version == .v11 ? 0 : 1)
            w.u16(version == .v11 ? 88 : 4)
            w.zeros(version == .v11 ? 84 : 4)
        }
        w.array(actions)
        try send(14, w.finish())
    }

    private static let packets: [[UInt8]] = [
        "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=5,dst=6)",
        "eth_type(0x8100),vlan(vid=7,pcp=3),encap(eth_type(0x86dd),ipv6(src=fc00::1,dst=fc00::2,label=0,proto=17,tclass=0,hlimit=1,frag=no),udp(src=5,dst=6))",
        "eth_type(0x8847),mpls(label=3,tc=1,ttl=1,bos=1)",
        "eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:01,tha=00:00:00:00:00:00)",
    ].map { text in
        guard let flow = try? ODPFlow(parsing: "in_port(1),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),\(text)") else {
            fatalError("\(text) does not parse")
        }
        return flow.key.composePacket().array
    }

    /// Packets of several kinds come in, time goes by, and flows are looked at again.
    func receive() {
        for packet in Self.packets { devices[0].receive(Packet(packet)) }
        time.warp(1_000)
        backer.run()
        bridge.run()
        service.run(time.now)
    }
}
