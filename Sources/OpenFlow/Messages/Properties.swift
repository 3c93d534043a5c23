// Properties: what messages of OpenFlow 1.4 and later, and Nicira's newer ones, have a varying number of. Each is a type, a length and a body,
// and padded to eight bytes (OpenFlow 1.4 section 7.2.1.2 shows one).

extension WireReader {
    /// Takes the next property with its padding.
    /// - Parameter foreign: from which type on properties are experimenters'.
    /// - Returns: the type, and a reader of what follows type and length.
    mutating func property(foreign: UInt16 = 0xffff) throws(OFError) -> (type: UInt16, body: WireReader) {
        guard let type = peek16(), let length = peek16(2).map(Int.init) else { throw .bpcBadLen }
        // Experimenters' say whose they are, and of which kind.
        guard length >= (type >= foreign ? 12 : 4), (length + 7) / 8 * 8 <= remaining else { throw .bpcBadLen }
        var body = try part(length, error: .bpcBadLen)
        try skip((8 - length % 8) % 8)
        body.shortError = .bpcBadLen
        try body.skip(4)
        return (type, body)
    }
}

extension OFError {
    /// What is wrong with a property that is not known: with an experimenter's it is the kind, whoever the experimenter.
    static func unknownProperty(_ type: UInt16) -> OFError { type == 0xffff ? .bpcBadExpType : .bpcBadType }
}
