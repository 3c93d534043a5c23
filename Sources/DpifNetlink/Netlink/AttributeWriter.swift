// Writing netlink messages (netlink(7)): headers and attributes, padded to four bytes, in the byte order that the kernel has for each.

import CLinux
import Dpif

/// Builds one netlink message. A value type; its owner is whoever holds it.
struct NetlinkMessageWriter {
    private(set) var bytes: [UInt8] = []
    /// An attribute was longer than its length field can say.
    private(set) var isTooLong = false

    /// Starts a message. Its length, sequence number and port are filled in by `finish`.
    init(type: UInt16, flags: UInt16) {
        bytes.reserveCapacity(512)
        host(UInt32(0))
        host(type)
        host(flags)
        host(UInt32(0))
        host(UInt32(0))
    }

    /// Starts a generic netlink message of a family, with the header that the openvswitch families have (struct ovs_header).
    init(family: UInt16, command: UInt32, version: UInt8, flags: UInt16, datapath: Int32) {
        self.init(type: family, flags: flags)
        bytes.append(UInt8(truncatingIfNeeded: command))
        bytes.append(version)
        host(UInt16(0))
        host(datapath)
    }

    /// Appends an integer in the machine's byte order.
    mutating func host<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// Appends an integer in network byte order.
    mutating func network<T: FixedWidthInteger>(_ value: T) { host(value.bigEndian) }

    mutating func raw(_ data: some Sequence<UInt8>) { bytes.append(contentsOf: data) }

    mutating func zeros(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }

    /// Writes one attribute; `body` appends its value.
    mutating func attribute(_ type: Int, _ body: (inout Self) -> Void) {
        let start = bytes.count
        host(UInt16(0))
        host(UInt16(truncatingIfNeeded: type))
        body(&self)
        let length = bytes.count - start
        guard let size = UInt16(exactly: length) else {
            isTooLong = true
            return
        }
        patch(size, at: start)
        zeros(-length & 3)
    }

    mutating func attribute<T: FixedWidthInteger>(_ type: Int, host value: T) { attribute(type) { $0.host(value) } }
    mutating func attribute<T: FixedWidthInteger>(_ type: Int, network value: T) { attribute(type) { $0.network(value) } }
    mutating func attribute(_ type: Int, _ data: [UInt8]) { attribute(type) { $0.raw(data) } }
    /// An attribute that says something by being there.
    mutating func flag(_ type: Int) { attribute(type) { _ in } }
    /// A string with its end.
    mutating func attribute(_ type: Int, string: String) {
        attribute(type) {
            $0.raw(string.utf8)
            $0.bytes.append(0)
        }
    }
    /// An attribute that holds attributes.
    mutating func nest(_ type: Int, _ body: (inout Self) -> Void) { attribute(type, body) }
    /// The same with the bit that says so, which rtnetlink and nfnetlink want (NLA_F_NESTED).
    mutating func flaggedNest(_ type: Int, _ body: (inout Self) -> Void) { attribute(type | Int(NLA_F_NESTED), body) }

    private mutating func patch<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        withUnsafeBytes(of: value) { for (i, b) in $0.enumerated() { bytes[offset + i] = b } }
    }

    mutating func addFlags(_ flags: UInt16) {
        let old = UInt16(bytes[6]) | UInt16(bytes[7]) << 8
        patch(UInt16(littleEndian: old) | flags, at: 6)
    }

    /// Completes the header. Throws EMSGSIZE when an attribute did not fit.
    mutating func finish(sequence: UInt32, port: UInt32) throws(DpifError) {
        guard !isTooLong else { throw DpifError(90, "netlink message of \(bytes.count) bytes") }
        patch(UInt32(truncatingIfNeeded: bytes.count), at: 0)
        patch(sequence, at: 8)
        patch(port, at: 12)
        zeros(-bytes.count & 3)
    }
}
