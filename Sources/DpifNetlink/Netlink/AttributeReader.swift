// Reading netlink messages (netlink(7)). Lengths are checked before anything is read; what does not fit is an error, and never a trap.

import CLinux
import Dpif

/// A message as it came, without its header.
struct NetlinkMessage: Sendable {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    let port: UInt32
    let payload: ArraySlice<UInt8>

    /// The error that the message is, when it is one: 0 for an acknowledgement; nil for other messages.
    var errorCode: Int32? {
        guard Int32(type) == NLMSG_ERROR else { return nil }
        guard let code = Int32(host: payload.prefix(4)) else { return EINVAL_ }
        return code == .min ? EINVAL_ : -code
    }

    /// The attributes behind a header of `size` bytes.
    func attributes(after size: Int) throws(DpifError) -> AttributeList {
        let aligned = (size + 3) & ~3
        guard payload.count >= size else { throw DpifError(EINVAL_, "netlink message of \(payload.count) bytes, shorter than its header") }
        return try AttributeList(payload.dropFirst(aligned))
    }

    /// The messages in what one read gave. Throws EINVAL for lengths that do not fit.
    static func split(_ bytes: ArraySlice<UInt8>) throws(DpifError) -> [NetlinkMessage] {
        var out: [NetlinkMessage] = []
        var rest = bytes
        while rest.count >= 16 {
            guard let length = UInt32(host: rest.prefix(4)), length >= 16, Int(length) <= rest.count else {
                throw DpifError(EINVAL_, "netlink message with a bad length in \(rest.count) bytes")
            }
            let message = rest.prefix(Int(length))
            out.append(
                NetlinkMessage(
                    type: UInt16(host: message.dropFirst(4).prefix(2)) ?? 0, flags: UInt16(host: message.dropFirst(6).prefix(2)) ?? 0,
                    sequence: UInt32(host: message.dropFirst(8).prefix(4)) ?? 0, port: UInt32(host: message.dropFirst(12).prefix(4)) ?? 0,
                    payload: message.dropFirst(16)))
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        guard rest.isEmpty else { throw DpifError(EINVAL_, "\(rest.count) bytes behind a netlink message") }
        return out
    }
}

/// EINVAL, as a name that needs no C library here.
let EINVAL_: Int32 = 22

/// One attribute.
struct Attribute: Sendable {
    let type: Int
    let payload: ArraySlice<UInt8>

    func host<T: FixedWidthInteger>(_: T.Type) -> T? { T(host: payload) }
    func network<T: FixedWidthInteger>(_: T.Type) -> T? { T(host: payload)?.byteSwapped }
    /// The attributes inside.
    func nested() throws(DpifError) -> AttributeList { try AttributeList(payload) }
    /// Text up to its end.
    var string: String { String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self) }
}

/// Attributes in their order.
struct AttributeList: Sequence, Sendable {
    let all: [Attribute]

    /// Throws EINVAL when a length does not fit.
    init(_ bytes: ArraySlice<UInt8>) throws(DpifError) {
        var list: [Attribute] = []
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(UInt16(host: rest.prefix(2)) ?? 0)
            guard length >= 4, length <= rest.count else {
                throw DpifError(EINVAL_, "netlink attribute of \(length) bytes in \(rest.count)")
            }
            let type = Int((UInt16(host: rest.dropFirst(2).prefix(2)) ?? 0) & ~(UInt16(NLA_F_NESTED) | UInt16(NLA_F_NET_BYTEORDER)))
            list.append(Attribute(type: type, payload: rest.dropFirst(4).prefix(length - 4)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        // The last may go without padding; anything else is no attribute.
        guard rest.isEmpty else { throw DpifError(EINVAL_, "\(rest.count) bytes behind netlink attributes") }
        all = list
    }

    /// The last attribute of a type, as the kernel takes them.
    subscript(type: Int) -> Attribute? { all.last { $0.type == type } }

    func makeIterator() -> IndexingIterator<[Attribute]> { all.makeIterator() }
}

extension FixedWidthInteger {
    /// From bytes in the machine's order; nil when there are too few.
    init?(host bytes: ArraySlice<UInt8>) {
        let size = Self.bitWidth / 8
        guard bytes.count >= size else { return nil }
        var value: Self = 0
        withUnsafeMutableBytes(of: &value) { out in
            for (i, byte) in bytes.prefix(size).enumerated() { out[i] = byte }
        }
        self = value
    }
}
