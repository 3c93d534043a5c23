// OXM and NXM: the TLV form of matches, and of fields within actions (OpenFlow 1.2 and later, section "Flow Match Fields";
// NXM is Nicira's, of which OXM is made).

import Flow

/// One decoded OXM entry or header.
struct OXMEntry {
    var field: FieldID
    var hasMask: Bool
    /// Bytes of the value, without mask.
    var size: Int
    /// Bytes of the value and the mask.
    var payload = 0
    var value: UInt128 = 0
    var mask: UInt128 = 0
    /// The bytes of a tunnel option.
    var wideValue: [UInt8] = []
    var wideMask: [UInt8] = []
}

extension OXMEntry {
    /// Not of its field's size, or a tunnel option that stands for none.
    func isStrange(_ map: TunnelOptionMap?) -> Bool {
        guard let index = field.tunnelOptionIndex else { return size != field.row.bytes }
        return map?.entries[index] == nil
    }
}

/// The pseudo-field that NXT_FLOW_MOD matches cookies with.
let nxmCookieNumber: UInt8 = 30

/// What the head of an entry says.
enum OXMHeader {
    case field(OXMEntry)
    case cookie(hasMask: Bool, size: Int)
    /// Unknown; the payload's size.
    case unknown(hasMask: Bool, size: Int)
}

extension WireReader {
    /// Reads a header of 4 or 8 bytes. `size` in the result is that of the value alone.
    mutating func oxmHeader() throws(OFError) -> OXMHeader {
        guard remaining >= 4 else { throw .bmcBadLen }
        let word = try u32()
        let oxmClass = UInt16(truncatingIfNeeded: word >> 16)
        let number = UInt8(truncatingIfNeeded: word >> 9) & 0x7f
        let hasMask = word & 0x100 != 0
        var payload = Int(word & 0xff)
        var experimenter: UInt32 = 0
        if oxmClass == 0xffff {
            guard payload >= 4, remaining >= 4 else { throw .bmcBadLen }
            experimenter = try u32()
            payload -= 4
        }
        // The number is MPLS_TTL's too, which is one byte long.
        if oxmClass == 1, number == nxmCookieNumber, payload == (hasMask ? 16 : 8) {
            return .cookie(hasMask: hasMask, size: 8)
        }
        guard let field = FieldRow.find(oxmClass: oxmClass, experimenter: experimenter, number: number) else {
            return .unknown(hasMask: hasMask, size: payload)
        }
        return .field(OXMEntry(field: field, hasMask: hasMask, size: hasMask ? payload / 2 : payload, payload: payload))
    }

    /// Reads the field named by a header that stands alone, without value, as actions have them.
    /// - Parameter isOXM: the action is younger than OXM: errors are those of matches, and a mask is none of its business.
    mutating func oxmFieldHeader(_ map: TunnelOptionMap?, isOXM: Bool = false) throws(OFError) -> OXMEntry {
        guard case .field(let entry) = try oxmHeader(),
            entry.field.isTunnelOption || entry.size == entry.field.row.bytes
        else { throw isOXM ? .bmcBadField : .bacBadSetType }
        guard !isOXM || !entry.hasMask else { throw .bmcBadMask }
        if let index = entry.field.tunnelOptionIndex, let map, map.entries[index] == nil { throw .nxfmfcInvalidTlvField }
        return entry
    }

    /// Looks at what follows the header of a match's entry, whatever the field: it is all there, and no bit is set outside a mask.
    func checkPayload(_ size: Int, hasMask: Bool) throws(OFError) {
        guard remaining >= size * (hasMask ? 2 : 1) else { throw .bmcBadLen }
        guard hasMask else { return }
        var (value, mask) = (self, self)
        try mask.skip(size)
        for _ in 0..<size where try value.u8() & ~mask.u8() != 0 { throw .bmcBadWildcards }
    }

    /// Reads the value and mask that follow a header.
    mutating func oxmPayload(_ entry: inout OXMEntry) throws(OFError) {
        let row = entry.field.row
        if entry.field.isTunnelOption {
            guard entry.size > 0, entry.size <= row.bytes, remaining >= entry.size * (entry.hasMask ? 2 : 1) else {
                throw .bmcBadLen
            }
            entry.wideValue = try array(entry.size)
            entry.wideMask =
                entry.hasMask ? try array(entry.size) : [UInt8](repeating: 0xff, count: entry.size)
            for (v, m) in zip(entry.wideValue, entry.wideMask) where v & ~m != 0 { throw .bmcBadWildcards }
            return
        }
        guard entry.size == row.bytes else { throw .bmcBadField }
        guard remaining >= entry.size * (entry.hasMask ? 2 : 1) else { throw .bmcBadLen }
        entry.value = try uint(size: entry.size)
        let full: UInt128 = entry.size == 16 ? .max : (1 << UInt128(entry.size * 8)) - 1
        entry.mask = entry.hasMask ? try uint(size: entry.size) : full
        guard entry.value & ~entry.mask == 0 else { throw .bmcBadWildcards }
    }
}

extension WireWriter {
    /// Writes a field's header, with no value, as actions name fields.
    mutating func oxmHeader(_ field: FieldID, version: UInt8, hasMask: Bool = false, size: Int? = nil) {
        guard let header = field.row.header(version: version) else { return }
        let bytes = size ?? field.row.bytes
        u32(header.word(hasMask: hasMask, length: hasMask ? 2 * bytes : bytes))
        if header.oxmClass == 0xffff { u32(header.experimenter) }
    }

    /// Writes a header, a value and, unless every bit counts, a mask. An empty mask writes nothing.
    mutating func oxm(_ field: FieldID, _ value: UInt128, mask: UInt128? = nil, version: UInt8) {
        let row = field.row
        let full: UInt128 = row.allOnes
        let m = mask ?? full
        if m == 0 { return }
        let hasMask = m & full != full
        oxmHeader(field, version: version, hasMask: hasMask)
        uint(value, size: row.bytes)
        if hasMask { uint(m, size: row.bytes) }
    }

    /// Writes a tunnel option.
    mutating func oxmWide(_ field: FieldID, _ value: [UInt8], mask: [UInt8]?, version: UInt8) {
        oxmHeader(field, version: version, hasMask: mask != nil, size: value.count)
        array(value)
        if let mask { array(mask) }
    }
}
