// How the matches of many flows that have one mask are written: compiled once, and used for each of them on the few words that
// the mask keeps. Spelling every match out as a whole key, to look for the fields in it, would be most of the work of a dump.

import Flow

/// The TLVs of matches that agree in their mask, and in the bits that decide which fields there are.
///
/// A value; it belongs to one version and to the TLV map that it was made with.
public struct MatchTemplate {
    public let mask: MiniMask
    public let version: OFVersion
    /// Words, by their place in a rule's values, that must be as they were in the match that this was made of.
    private let deciding: [(place: Int, bits: UInt64, value: UInt64)]
    private let fields: [Field]

    fileprivate struct Field {
        /// The header, in its `headerSize` low bytes.
        let header: UInt64
        let headerSize: Int
        /// Where the field's word is among the values, and its second one; nil: the mask has none of its bits.
        let high: Int?
        let low: Int?
        let shift: UInt64
        let ones: UInt64
        /// Bytes of the value.
        let size: Int
        /// OpenFlow's reserved ports have 32 bits on the wire.
        let isPort: Bool
        /// What follows the value, when there is a mask.
        let mask: UInt128?
    }

    /// Nil when matches of this mask have to be written one by one: those on tunnel options.
    ///
    /// - Parameter values: the words of a match, as `mask` keeps them.
    public init?(_ mask: MiniMask, values: [UInt64], version: OFVersion, tunnelOptions: TunnelOptionMap?) {
        guard values.count == mask.words.count else { return nil }
        let match = Match(key: mask.expand(values), mask: mask.mask)
        var fields: [Field] = []
        var isPlain = true
        MatchCodec.forEachItem(match, version: version, tunnelOptions: tunnelOptions) { item in
            guard case .field(let id, let bits, let hasMask) = item, let field = Field(id, bits, hasMask, mask, version) else {
                isPlain = false
                return
            }
            fields.append(field)
        }
        guard isPlain else { return nil }
        self.mask = mask
        self.version = version
        self.fields = fields
        deciding = mask.words.indices.compactMap { place in
            let word = mask.words[place]
            let bits = word.bits & MatchCodec.deciding.bits.words[word.index]
            return bits == 0 ? nil : (place, bits, values[place] & bits)
        }
    }

    /// Whether a match with these words of the same mask is written with this template.
    public func covers(_ values: [UInt64]) -> Bool {
        guard values.count == mask.words.count else { return false }
        for d in deciding where values[d.place] & d.bits != d.value { return false }
        return true
    }

    /// Appends the TLVs of a match that is covered.
    func write(_ values: [UInt64], to w: inout WireWriter) {
        for field in fields {
            w.tail(field.header, size: field.headerSize)
            let high = field.high.map { values[$0] } ?? 0
            if field.size > 8 {
                w.u64(high)
                w.u64(field.low.map { values[$0] } ?? 0)
            } else {
                let value = high &>> field.shift & field.ones
                w.tail(field.isPort && value >= 0xff00 ? value | 0xffff_0000 : value, size: field.size)
            }
            if let mask = field.mask { w.uint(mask, size: field.size) }
        }
    }
}

extension MatchTemplate.Field {
    init?(_ id: FieldID, _ bits: UInt128, _ hasMask: Bool, _ mini: MiniMask, _ version: OFVersion) {
        let row = id.row
        guard let location = row.location, let identity = row.header(version: version.rawValue) else { return nil }
        func place(_ word: Int) -> Int? { mini.words.firstIndex { $0.index == word } }
        let word = UInt64(identity.word(hasMask: hasMask, length: hasMask ? 2 * row.bytes : row.bytes))
        headerSize = identity.size
        header = headerSize == 8 ? word << 32 | UInt64(identity.experimenter) : word
        high = place(location.word)
        low = location.width > 64 ? place(location.word + 1) : nil
        shift = UInt64(location.shift)
        // A field that says less than its place holds, such as nw_tos without the ECN bits, has that in its mask.
        ones = UInt64(truncatingIfNeeded: location.width > 64 ? UInt128(UInt64.max) : location.allOnes & bits)
        size = row.bytes
        isPort = id == .inPortOXM || id == .actsetOutput
        mask = hasMask ? bits : nil
        guard size <= 8 || (size == 16 && location.width > 64) else { return nil }
    }
}

extension WireWriter {
    /// The low `size` bytes of a number, 1 to 8.
    mutating func tail(_ v: UInt64, size: Int) {
        switch size {
        case 1: u8(UInt8(truncatingIfNeeded: v))
        case 2: u16(UInt16(truncatingIfNeeded: v))
        case 4: u32(UInt32(truncatingIfNeeded: v))
        case 6: mac(v)
        case 8: u64(v)
        default: uint(UInt128(v), size: size)
        }
    }
}

/// A match in a form that messages can be made of.
public protocol EncodableMatch {
    /// Appends the TLVs, as OXM or, in 1.0, NXM.
    func writeTLVs(version: OFVersion, tunnelOptions: TunnelOptionMap?, to w: inout WireWriter)
    /// Appends the fixed form of OpenFlow 1.0.
    func writeFixed(to w: inout WireWriter)
}

extension Match: EncodableMatch {
    public func writeTLVs(version: OFVersion, tunnelOptions: TunnelOptionMap?, to w: inout WireWriter) {
        MatchCodec.encodeTLVs(self, version: version, to: &w, tunnelOptions: tunnelOptions)
    }
    public func writeFixed(to w: inout WireWriter) { MatchCodec.encode10(self, to: &w) }
}

/// A match by a template that covers it.
public struct TemplateMatch: EncodableMatch {
    let template: MatchTemplate
    let values: [UInt64]

    public init(_ template: MatchTemplate, _ values: [UInt64]) {
        self.template = template
        self.values = values
    }

    public func writeTLVs(version: OFVersion, tunnelOptions: TunnelOptionMap?, to w: inout WireWriter) {
        template.write(values, to: &w)
    }
    public func writeFixed(to w: inout WireWriter) {
        MatchCodec.encode10(Match(key: template.mask.expand(values), mask: template.mask.mask), to: &w)
    }
}
