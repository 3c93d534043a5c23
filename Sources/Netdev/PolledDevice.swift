// A device with a file descriptor that a polling thread reads.

import Dpif

/// What the polling thread needs of a device. The value may be used on that thread while the device is open.
public struct PacketSource: Sendable {
    /// Readable when packets wait.
    public let fileDescriptor: Int32
    /// Reads one packet into the buffer. Returns its size, 0 for a packet to ignore, or nil when none waits.
    public let read: @Sendable (UnsafeMutableRawBufferPointer) -> Int?
    /// Says of each packet whether it may enter.
    public let policer: IngressPolicer

    public init(
        fileDescriptor: Int32, policer: IngressPolicer = IngressPolicer(), read: @escaping @Sendable (UnsafeMutableRawBufferPointer) -> Int?
    ) {
        self.fileDescriptor = fileDescriptor
        self.policer = policer
        self.read = read
    }
}

public protocol PolledDevice: PacketDevice {
    var source: PacketSource { get }
}

/// The largest packet that a device may hand over: a full segment and its headers.
public let maxPacketSize = 65_536 + 64
