import CLinux
import NIOCore
import NIOPosix
import Testing

@testable import OpenFlowService

/// What a connection writes past its channel and through it, on a real socket.
@Suite struct OutletTests {
    /// Two sockets that are joined.
    private func pair() throws -> [Int32] {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return ends
    }

    /// Runs `body` with the outlet of a channel, made on its loop, and the other end of the channel's socket.
    private func withOutlet(_ body: (any Channel, NIOLoopBound<Outlet>, Int32) throws -> Void) throws {
        let ends = try pair()
        defer { _ = CLinux.close(ends[1]) }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let channel = try ClientBootstrap(group: group).withConnectedSocket(ends[0]).wait()
        defer { try? channel.close().wait() }
        let outlet = try channel.eventLoop.submit {
            NIOLoopBound(Outlet(channel, isEncrypted: false), eventLoop: channel.eventLoop)
        }.wait()
        try body(channel, outlet, ends[1])
    }

    /// Reads `count` bytes; fewer where the other side closes before.
    private func read(_ socket: Int32, _ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < count {
            let n = CLinux.recv(socket, &piece, piece.count, 0)
            guard n > 0 else { break }
            bytes += piece[..<n]
        }
        return bytes
    }

    @Test func bytesStayInOrderWhenTheSocketIsFull() throws {
        try withOutlet { channel, outlet, peer in
            let message: @Sendable (Int) -> [UInt8] = { n in [UInt8](repeating: UInt8(truncatingIfNeeded: n), count: 10_000 + n) }
            let messages = 400
            // Nobody reads: the first go to the socket, some bytes of one of them, and the others wait in the channel.
            let backlog = try channel.eventLoop.submit {
                for n in 0..<messages {
                    outlet.value.write(message(n), isPacketIn: n % 2 == 0)
                    outlet.value.flush()
                }
                return outlet.value.backlog
            }.wait()
            let expected = (0..<messages).flatMap(message)
            #expect(backlog > 0 && backlog < expected.count)
            #expect(read(peer, expected.count) == expected)
            // When all is read the channel has written it, and knows before it does anything else.
            let left = try channel.eventLoop.submit { (outlet.value.backlog, outlet.value.queuedPacketIns) }.wait()
            #expect(left == (0, 0))
            // The socket is written to directly again.
            try channel.eventLoop.submit {
                outlet.value.write([1, 2, 3], isPacketIn: false)
                outlet.value.flush()
                #expect(outlet.value.backlog == 0)
            }.wait()
            #expect(read(peer, 3) == [1, 2, 3])
        }
    }

    @Test func aClosedChannelsSocketIsNotWrittenTo() throws {
        try withOutlet { channel, outlet, _ in
            try channel.close().wait()
            // Another file may have the number now.
            let others = try pair()
            defer { for end in others { _ = CLinux.close(end) } }
            try channel.eventLoop.submit {
                outlet.value.write([1], isPacketIn: false)
                outlet.value.flush()
            }.wait()
            for end in others {
                var byte: UInt8 = 0
                #expect(CLinux.recv(end, &byte, 1, Int32(MSG_DONTWAIT)) == -1)
            }
        }
    }
}
