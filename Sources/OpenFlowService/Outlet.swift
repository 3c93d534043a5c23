// What goes out by one OpenFlow connection. What the socket takes at once is written to it directly, which saves the way through the
// channel and its pipeline; only what it does not take, and all that TLS has to encrypt, goes through the channel. While that has anything
// left to write everything goes that way, so that the order stays.

import CLinux
import NIOCore

/// The output of a connection. Confined to the event loop.
final class Outlet {
    private let channel: any Channel
    /// The channel's socket, where bytes may go past the channel.
    private let socket: NIOBSDSocket.Handle?
    /// Messages that were not flushed yet, one behind the other.
    private var pending: [UInt8] = []
    private var pendingPacketIns = 0
    /// What the channel has not written yet.
    private var bytesInChannel = 0
    private var packetInsInChannel = 0
    /// Called when the channel has written some, or given it up.
    var onProgress: (() -> Void)?

    /// The most room that is kept for the next messages.
    private static let keptRoom = 1 << 16

    /// - Parameter isEncrypted: something in the channel's pipeline changes what is written.
    init(_ channel: any Channel, isEncrypted: Bool) {
        self.channel = channel
        socket = isEncrypted ? nil : try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable { (s: NIOBSDSocket.Handle) in s }
    }

    /// Bytes that the peer's side has not taken.
    var backlog: Int { pending.count + bytesInChannel }
    /// Packet-ins among them.
    var queuedPacketIns: Int { pendingPacketIns + packetInsInChannel }

    func write(_ message: [UInt8], isPacketIn: Bool) {
        pending.append(contentsOf: message)
        if isPacketIn { pendingPacketIns += 1 }
    }

    func flush() {
        guard !pending.isEmpty else { return }
        let written = bytesInChannel == 0 ? writeDirectly() : 0
        if written < pending.count { writeThroughChannel(pending[written...], packetIns: pendingPacketIns) }
        if pending.capacity > Self.keptRoom { pending = [] } else { pending.removeAll(keepingCapacity: true) }
        pendingPacketIns = 0
    }

    /// Returns how many bytes the socket took. The channel comes upon what is wrong with it, if anything is.
    private func writeDirectly() -> Int {
        // A channel that is not active has closed its socket, whose number may be another's by now.
        guard let socket, channel.isActive else { return 0 }
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        return pending.withUnsafeBytes { max(0, CLinux.send(socket, $0.baseAddress, $0.count, flags)) }
    }

    private func writeThroughChannel(_ bytes: ArraySlice<UInt8>, packetIns: Int) {
        let count = bytes.count
        bytesInChannel += count
        packetInsInChannel += packetIns
        channel.writeAndFlush(channel.allocator.buffer(bytes: bytes)).assumeIsolated().whenComplete { [self] _ in
            bytesInChannel -= count
            packetInsInChannel -= packetIns
            onProgress?()
        }
    }
}
