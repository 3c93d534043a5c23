// A bridge on a dummy datapath with its OpenFlow service, and controllers that talk to it through memory.

import Dpif
import DpifDummy
import Datapath
import Flow
import NIOCore
import NIOEmbedded
import Netdev
import OpenFlow
import Packet

@testable import OpenFlowService
@testable import Ofproto

/// Holds back what is written while the peer does not read.
final class Valve: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private var held: [(NIOAny, EventLoopPromise<Void>?)] = []
    private var context: ChannelHandlerContext?
    var isShut = false {
        didSet {
            guard !isShut, let context else { return }
            let waiting = held
            held = []
            for (data, promise) in waiting { context.write(data, promise: promise) }
            context.flush()
        }
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isShut { held.append((data, promise)) } else { context.write(data, promise: promise) }
    }
}

/// One end of a connection: what a controller sees.
final class Peer {
    let channel: EmbeddedChannel
    let valve = Valve()
    let connection: OpenFlowConnection
    private var xid: UInt32 = 1000
    let version: OFVersion

    init(_ bench: ServiceBench, _ version: OFVersion, purpose: OpenFlowConnection.Purpose) throws {
        self.version = version
        channel = EmbeddedChannel(loop: bench.loop)
        try channel.pipeline.syncOperations.addHandler(valve)
        connection = try bench.service.accept(channel, name: "test", purpose: purpose)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/test")).wait()
    }

    func send(_ bytes: [UInt8]) throws { try channel.writeInbound(channel.allocator.buffer(bytes: bytes)) }

    /// Sends a message of the version that is spoken, and returns its transaction id.
    @discardableResult
    func send(_ type: UInt8, as version: OFVersion? = nil, _ body: (inout WireWriter) -> Void = { _ in }) throws -> UInt32 {
        xid += 1
        var w = WireWriter.message(version ?? self.version, type, xid: xid)
        body(&w)
        try send(w.finish())
        return xid
    }

    func hello() throws { try send(OFSimple.hello([version], xid: 0)) }

    /// What has come since the last call, each message whole.
    func received() throws -> [[UInt8]] {
        var bytes: [UInt8] = []
        while var buffer = try channel.readOutbound(as: ByteBuffer.self) {
            bytes += buffer.readBytes(length: buffer.readableBytes) ?? []
        }
        var messages: [[UInt8]] = []
        while let header = OFHeader(bytes), Int(header.length) >= 8, bytes.count >= Int(header.length) {
            messages.append(Array(bytes.prefix(Int(header.length))))
            bytes.removeFirst(Int(header.length))
        }
        return messages
    }

    /// Type and code of the errors among what has come.
    func errors() throws -> [(xid: UInt32, type: UInt16, code: UInt16)] {
        try received().filter { $0[1] == 1 }.map { m in
            let r = WireReader(m)
            return (r.peek32(4) ?? 0, r.peek16(8) ?? 0, r.peek16(10) ?? 0)
        }
    }

    /// Adds a flow that matches everything and does nothing.
    @discardableResult
    func addFlow(priority: UInt16, command: UInt8 = 0, idle: UInt16 = 0, flags: UInt16 = 0) throws -> UInt32 {
        try send(14) { w in
            w.u64(0)
            w.u64(0)
            w.u8(0)
            w.u8(command)
            w.u16(idle)
            w.u16(0)
            w.u16(priority)
            w.u32(.max)
            w.u32(.max)
            w.u32(.max)
            w.u16(flags)
            w.u16(0)
            w.u16(1)
            w.u16(4)
            w.u32(0)
        }
    }
}

final class ServiceBench {
    let loop = EmbeddedEventLoop()
    let time = TimeSource()
    let datapath: DummyDatapath
    let backer: DatapathBacker
    let bridge: OpenFlowSwitch
    let device = DummyDevice(name: "p1", type: "dummy")
    let service: OpenFlowService

    init() throws {
        time.stop()
        datapath = DummyDatapath(type: "dummy", name: "ovs-dummy", capabilities: DummyProfile.full, time: time)
        backer = DatapathBacker(datapath, time: time)
        bridge = OpenFlowSwitch(id: 1, name: "br0", backer: backer)
        try device.setAdminUp(true)
        let number = try datapath.addPort(device, requested: 1)
        let port = try bridge.addPort(device, requested: OFPort(1), datapathPort: number)
        bridge.setBundle(BundleSettings(name: device.name), ports: [port])
        service = OpenFlowService(switch: bridge, eventLoop: loop)
        var configuration = ServiceConfiguration(managementSocket: "", snoopSocket: "")
        configuration.failMode = .secure
        service.configure(configuration)
    }

    deinit {
        service.close()
        bridge.destroy()
    }

    /// A connection on which the versions are agreed.
    func connect(_ version: OFVersion, purpose: OpenFlowConnection.Purpose = .primary) throws -> Peer {
        let peer = try Peer(self, version, purpose: purpose)
        try peer.hello()
        _ = try peer.received()
        return peer
    }

    func warp(_ milliseconds: Int64) {
        time.warp(milliseconds)
        backer.run()
        bridge.run()
        service.run(time.now)
    }

    func receive() throws {
        let flow =
            "eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=5,dst=6)"
        device.receive(try ODPFlow(parsing: "in_port(1),\(flow)").key.composePacket(size: 0))
    }
}
