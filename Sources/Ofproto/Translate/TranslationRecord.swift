// The way that a translation took through the tables, noted so that packets which would take the same need not be translated
// (Upcall/Precedents.swift).
//
// Whatever a translation decides follows from the packet. Here is told apart how: by what lookups found, or by anything else. The translations
// that are noted are plain ones: from the first lookup on, their actions only write registers and metadata, look tables up and send the packet
// out of ports. What such actions do is the same for any packet that lookups answer alike, whatever addresses and ports it has. An
// action that may do more ends the note (`allows`), so one that nobody thought of here is safe.

import Flow
import OpenFlow

/// The lookups of a translation, and what registers held then. Confined to the main thread.
final class TranslationRecord {
    /// A register gets what a field of the packet holds.
    struct Move {
        var from: FieldLocation
        var to: FieldLocation
    }

    /// Bits of a word of the key.
    struct Constant {
        var word: Int
        var bits: UInt64
        var value: UInt64
    }

    /// A lookup, its flow told as the difference from the packet, and its answer.
    struct Lookup {
        let table: FlowTable
        let constants: [Constant]
        let moves: [Move]
        /// What the translation had looked at before the lookup, and behind it.
        let before: FlowMask
        var after = FlowMask()
        var found: Rule?

        /// Whether the table looks at something in which packets may differ, or which comes from that.
        var canVary: Bool {
            let relevant = table.relevant
            return relevant.intersects(TranslationRecord.variable) || moves.contains { !relevant.isWild($0.to) }
        }
    }

    private(set) var lookups: [Lookup] = []
    /// The registers that hold what fields of the packet hold.
    private var moves: [Move] = []

    /// Registers and metadata.
    private static let writable = Location.metadata.word..<Location.skbPriority.word

    /// The fields in which packets may differ that take the same way: those of addresses and ports. All others are the same.
    private static let variableFields: [FieldID] = [
        .ethSrc, .ethDst, .ipv4Src, .ipv4Dst, .ipv6Src, .ipv6Dst, .tcpSrc, .tcpDst, .udpSrc, .udpDst, .sctpSrc, .sctpDst,
    ]
    /// The bits in which packets may differ.
    static let variable: FlowMask = {
        var mask = FlowMask()
        for field in variableFields { if let location = field.location { mask.setExact(location) } }
        for location in [Location.nwTTL, Location.nwTOS, Location.ipv6Label, Location.tcpFlags] { mask.setExact(location) }
        return mask
    }()

    /// The words of a key that have such bits.
    private static let variableWords = (0..<FlowKey.wordCount).filter { variable.bits.words[$0] != 0 }

    /// A digest of those bits of a mask.
    static func digest(_ mask: UnsafePointer<FlowMask>) -> UInt64 {
        variableWords.reduce(MiniMask.hashBasis) { MiniMask.mix($0, mask.pointee.bits.words[$1]) }
    }

    /// More lookups are not noted.
    private static let limit = 64

    // MARK: What translation tells

    /// A table is about to be looked up.
    /// - Parameter original: the flow as the pipeline began with it.
    func willLookUp(_ table: FlowTable, _ flow: borrowing FlowKey, from original: borrowing FlowKey, consulted: FlowMask) {
        var constants: [Constant] = []
        let (now, before) = (flow.words.span, original.words.span)
        for i in now.indices where now[i] != before[i] {
            let moved = moves.reduce(UInt64(0)) { $0 | Self.bits(of: $1.to, in: i) }
            constants.append(Constant(word: i, bits: ~moved, value: now[i] & ~moved))
        }
        lookups.append(Lookup(table: table, constants: constants, moves: moves, before: consulted))
    }

    /// The table answered.
    func found(_ rule: Rule?, consulted: FlowMask) {
        lookups[lookups.count - 1].found = rule
        lookups[lookups.count - 1].after = consulted
    }

    /// Whether an action, which is about to be executed, leaves the translation a plain one.
    func allows(_ action: OFAction, _ flow: borrowing FlowKey) -> Bool {
        switch action {
        case .output(let port, _):
            switch port {
            case .normal, .controller, .local: return false
            default: return true
            }
        case .resubmit(let resubmit): return !resubmit.withCT && lookups.count < Self.limit
        case .gotoTable, .clearActions, .writeActions, .note, .exit: return true
        case .writeMetadata(_, let mask): return overwrite(Location.metadata, UInt128(mask))
        case .setField(let set):
            guard let location = set.field.location, Self.isWritable(location) else { return false }
            return overwrite(location, set.mask)
        case .regMove(let from, let to): return move(from, to, flow)
        default: return false
        }
    }

    // MARK: Registers

    private static func isWritable(_ location: FieldLocation) -> Bool {
        writable.contains(location.word) && writable.contains(location.word + (location.width - 1) / 64)
    }

    /// The bits of a location in a word.
    private static func bits(of location: FieldLocation, in word: Int) -> UInt64 {
        guard word >= location.word, word <= location.word + (location.width - 1) / 64 else { return 0 }
        return location.width >= 64 ? .max : ((1 << UInt64(location.width)) - 1) << UInt64(location.shift)
    }

    /// Constant bits are written to a register. False where that leaves half of what a move wrote.
    private func overwrite(_ location: FieldLocation, _ mask: UInt128) -> Bool {
        guard moves.contains(where: { Self.overlap($0.to, location) }) else { return true }
        guard mask == location.allOnes else { return false }
        return clear(location)
    }

    /// All of a register is written. False where that leaves half of what a move wrote.
    private func clear(_ location: FieldLocation) -> Bool {
        for move in moves where Self.overlap(move.to, location) {
            for word in Self.writable where Self.bits(of: move.to, in: word) & ~Self.bits(of: location, in: word) != 0 { return false }
        }
        moves.removeAll { Self.overlap($0.to, location) }
        return true
    }

    private static func overlap(_ a: FieldLocation, _ b: FieldLocation) -> Bool {
        writable.contains { bits(of: a, in: $0) & bits(of: b, in: $0) != 0 }
    }

    private func move(_ from: Subfield, _ to: Subfield, _ flow: borrowing FlowKey) -> Bool {
        guard let source = from.field.location?.bits(from.low, from.count), let destination = to.field.location?.bits(to.low, to.count),
            Self.isWritable(destination)
        else { return false }
        // Whether it moves anything is the same for all: it hangs on protocols alone.
        let isVariable = Self.variableFields.contains(from.field)
        if isVariable, !from.field.prerequisitesHold(flow) { return true }
        guard isVariable || Self.isWritable(source) && !moves.contains(where: { Self.overlap($0.to, source) }), clear(destination)
        else { return false }
        if isVariable { moves.append(Move(from: source, to: destination)) }
        return true
    }
}
