// A field's value in text, as set_field and matches print it.

import Flow

public enum FieldText {
    /// Appends a value, with its mask unless every bit of the field counts.
    public static func write(_ field: FieldID, _ value: UInt128, mask: UInt128, to s: inout String) {
        let row = field.row
        let full: UInt128 = field == .vlanVID ? 0x1fff : field == .ipDSCP ? 0xfc : row.allOnes
        if mask == 0 {
            s += "ANY"
            return
        }
        let exact = mask & full == full
        switch row.format {
        case .ethernet:
            s += AddressText.mac(UInt64(truncatingIfNeeded: value))
            if !exact { s += "/" + AddressText.mac(UInt64(truncatingIfNeeded: mask)) }
        case .ipv4: ipv4(UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: mask), to: &s)
        case .ipv6: ipv6(value, mask, to: &s)
        case .decimal:
            s += String(value)
            if !exact { s += "/" + hex(mask) }
        case .hexadecimal:
            s += hex(value)
            if !exact { s += "/" + hex(mask) }
        case .port10, .port11:
            s += OFPort(UInt32(truncatingIfNeeded: value) & 0xffff).description
        case .frag: s += frag(UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: mask))
        case .tunFlags: s += exact ? (value & 1 != 0 ? "oam" : "0") : ""
        case .tcpFlags: tcpFlags(UInt16(truncatingIfNeeded: value), UInt16(truncatingIfNeeded: mask), to: &s)
        case .ctState: flags(UInt64(value), UInt64(truncatingIfNeeded: mask), CTState.names, to: &s)
        case .packetType:
            s += "(\(value >> 16),0x\(String(value & 0xffff, radix: 16)))"
        }
    }

    public static func hex(_ v: UInt128) -> String { v == 0 ? "0" : "0x" + String(v, radix: 16) }
    static func hex0(_ v: UInt128) -> String { "0x" + String(v, radix: 16) }

    static func ipv4(_ value: UInt32, _ mask: UInt32, to s: inout String) {
        s += AddressText.ipv4(value)
        if mask == .max { return }
        let inverse = ~mask
        s += inverse & (inverse &+ 1) == 0 ? "/\(mask.nonzeroBitCount)" : "/" + AddressText.ipv4(mask)
    }

    static func ipv6(_ value: UInt128, _ mask: UInt128, to s: inout String) {
        s += AddressText.ipv6(value)
        if mask == .max { return }
        let inverse = ~mask
        s += inverse & (inverse &+ 1) == 0 ? "/\(mask.nonzeroBitCount)" : "/" + AddressText.ipv6(mask)
    }

    /// `+new-est`: each bit of the mask, set or not.
    static func flags(_ value: UInt64, _ mask: UInt64, _ names: [String], to s: inout String) {
        for (i, name) in names.enumerated() where mask >> UInt64(i) & 1 != 0 {
            s += value >> UInt64(i) & 1 != 0 ? "+" : "-"
            s += name
        }
    }

    static let tcpFlagNames = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"]

    static func tcpFlags(_ value: UInt16, _ mask: UInt16, to s: inout String) {
        if mask & 0xfff == 0xfff {
            if value == 0 {
                s += "0"
                return
            }
            s += (0..<12).filter { value >> UInt16($0) & 1 != 0 }.map { tcpFlagNames[$0] }.joined(separator: "|")
            return
        }
        flags(UInt64(value), UInt64(mask), tcpFlagNames, to: &s)
    }

    static func frag(_ value: UInt8, _ mask: UInt8) -> String {
        switch (value & mask & 3, mask & 3) {
        case (0, 3), (0, 1): "no"
        case (1, 1): "yes"
        case (1, 3): "first"
        case (3, 3), (2, 2): "later"
        case (0, 2): "not_later"
        default: "<error>"
        }
    }
}
