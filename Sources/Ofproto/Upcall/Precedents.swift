// What translation made of earlier packets, for those that take the same way through the tables.
//
// New flows mostly differ in addresses and ports alone, and go the way that others went: the same flows match, and the same is done. To find
// that out takes only the lookups. What is known lies in trees, one for each port and kind of packet:
//
//     kind of packet ─▶ lookup ─┬─ this flow matched, these bits looked at ─▶ lookup ─▶ … ─▶ outcome
//                               └─ that flow matched, those bits           ─▶ …
//
// A packet goes down as far as its lookups are answered as an earlier packet's were: by the same flow, and after a look at the same bits, so
// that its megaflow has the same mask. A table that looks at nothing in which packets may differ need not be asked again. At an outcome a
// packet has what translation would give; where no branch is, it is translated, and grows one.
// Which translations can be told so is `TranslationRecord`'s to judge. Any change of what translations depend on fells all trees.

import Dpif
import Flow
import OpenFlow

/// Outcomes of translations by the ways that led there. Confined to the main thread.
struct Precedents: ~Copyable {
    /// What becomes of packets that took one way.
    final class Outcome {
        let mask: MiniMask
        /// Of the megaflow, and of the packet.
        let actions: [DpAction]
        let targets: [TranslationTarget]

        init(mask: MiniMask, actions: [DpAction], targets: [TranslationTarget]) {
            self.mask = mask
            self.actions = actions
            self.targets = targets
        }
    }

    /// A value at a place of its own, where it is read: reading a word of an object's property copies the property first.
    private struct Stored<Value>: ~Copyable {
        let place: UnsafePointer<Value>

        init(_ value: consuming Value) {
            let place = UnsafeMutablePointer<Value>.allocate(capacity: 1)
            place.initialize(to: value)
            self.place = UnsafePointer(place)
        }

        deinit { place.deallocate() }
    }

    /// A lookup that all packets make which came here.
    private final class Fork {
        let table: FlowTable
        let constants: [TranslationRecord.Constant]
        let moves: [TranslationRecord.Move]
        /// What was looked at before.
        let before: Stored<FlowMask>
        private var branches: [Answer: Branch] = [:]
        /// The branch of the last packet: they come in runs. `branches` holds it.
        private(set) var recent: Unmanaged<Branch>?
        /// The answer is the same for all packets.
        let isDecided: Bool

        init(_ lookup: TranslationRecord.Lookup) {
            isDecided = !lookup.canVary
            table = lookup.table
            constants = lookup.constants
            moves = lookup.moves
            before = Stored(lookup.before)
        }

        /// The branch, which `branches` holds.
        func branch(_ found: Rule?, _ after: UnsafePointer<FlowMask>) -> Unmanaged<Branch>? {
            let identity = found.map { ObjectIdentifier($0) }
            if let recent, recent._withUnsafeGuaranteedRef({ $0.is(identity, after) }) { return recent }
            let known = branches[Answer(found: identity, bits: TranslationRecord.digest(after))]
            guard let known, known.is(identity, after) else { return nil }
            recent = .passUnretained(known)
            return recent
        }

        /// Adds a branch that is not there; nil where another has its place.
        func grow(_ found: Rule?, _ after: UnsafePointer<FlowMask>) -> Branch? {
            let answer = Answer(found: found.map { ObjectIdentifier($0) }, bits: TranslationRecord.digest(after))
            guard branches[answer] == nil else { return nil }
            let branch = Branch(found, after.pointee)
            branches[answer] = branch
            return branch
        }
    }

    /// The flow that was found, and a digest of what had been looked at then: traffic can make very many masks.
    private struct Answer: Hashable {
        let found: ObjectIdentifier?
        let bits: UInt64
    }

    /// An answer of a lookup, and what follows.
    private final class Branch {
        private let found: Rule?
        private let identity: ObjectIdentifier?
        private let after: Stored<FlowMask>
        var fork: Fork?
        var outcome: Outcome?

        init(_ found: Rule?, _ after: FlowMask) {
            self.found = found
            identity = found.map { ObjectIdentifier($0) }
            self.after = Stored(after)
        }

        func `is`(_ found: ObjectIdentifier?, _ after: UnsafePointer<FlowMask>) -> Bool {
            guard identity == found else { return false }
            let (a, b) = (self.after.place.pointee.bits.words.span, after.pointee.bits.words.span)
            var difference: UInt64 = 0
            for i in a.indices { difference |= a[i] ^ b[i] }
            return difference == 0
        }
    }

    /// A kind of packets: those that come in at one port and have all in common but what may vary.
    private final class Root {
        /// One of them, and what they have in common.
        private let example: Stored<FlowKey>
        private let common: Stored<FlowMask>
        let first: Fork

        init(_ example: FlowKey, _ first: Fork) {
            self.example = Stored(example)
            self.first = first
            var common = FlowMask()
            for i in 0..<FlowKey.wordCount { common.bits.words[i] = ~TranslationRecord.variable.bits.words[i] }
            self.common = Stored(common)
        }

        func covers(_ key: UnsafePointer<FlowKey>) -> Bool {
            let (key, example, mask) = (key.pointee.words.span, example.place.pointee.words.span, common.place.pointee.bits.words.span)
            var difference: UInt64 = 0
            for i in mask.indices { difference |= (key[i] ^ example[i]) & mask[i] }
            return difference == 0
        }
    }

    /// By datapath port.
    private var roots: [UInt32: [Root]] = [:]
    /// That of the last packet, which `roots` holds.
    private var recent: (port: UInt32, root: Unmanaged<Root>)?
    /// What all this holds for.
    private var generation: UInt64 = 0
    private var branchCount = 0
    /// How many outcomes were found since the trees were felled.
    private(set) var hits = 0
    /// How many packets are not noted yet: notes were of no use.
    private var pause = 0
    /// The packet's key, the flow of the lookup under way, and what it looked at; here, so that none is copied around.
    private let packet = UnsafeMutablePointer<FlowKey>.allocate(capacity: 1)
    private let flow = UnsafeMutablePointer<FlowKey>.allocate(capacity: 1)
    private let consulted = UnsafeMutablePointer<FlowMask>.allocate(capacity: 1)

    /// How many branches there may be.
    private static let limit = 4096
    /// How many kinds of packets a port may have.
    private static let rootLimit = 16

    init() {
        packet.initialize(to: FlowKey())
        flow.initialize(to: FlowKey())
        consulted.initialize(to: FlowMask())
    }

    deinit {
        packet.deallocate()
        flow.deallocate()
        consulted.deallocate()
    }

    private mutating func fell() {
        if branchCount >= Self.limit, hits < branchCount { pause = 16 * Self.limit }
        recent = nil
        roots = [:]
        branchCount = 0
        hits = 0
    }

    /// The outcome for a packet of a port; nil: it is not known.
    /// - Parameter key: the packet's in the datapath.
    mutating func outcome(of key: borrowing FlowKey, on port: SwitchPort, generation now: UInt64) -> Outcome? {
        guard now == generation else {
            fell()
            generation = now
            return nil
        }
        packet.pointee = copy key
        guard let root = root() else { return nil }
        packet.pointee.actsetOutput = OFPort.unset.rawValue
        packet.pointee.inPort = port.number.rawValue
        flow.pointee = packet.pointee
        // The trees do not change meanwhile, so nothing has to be held.
        var fork = Unmanaged.passUnretained(root._withUnsafeGuaranteedRef { $0.first })
        while true {
            let branch: Unmanaged<Branch>? = fork._withUnsafeGuaranteedRef { fork in
                if fork.isDecided, let decided = fork.recent { return decided }
                for constant in fork.constants {
                    flow.pointee.words[constant.word] = flow.pointee.words[constant.word] & ~constant.bits | constant.value
                }
                for move in fork.moves { flow.pointee[move.to] = move.from.value(in: packet.pointee) }
                consulted.pointee = fork.before.place.pointee
                let found = fork.table.lookup(flow.pointee, consulted: &consulted.pointee)
                return fork.branch(found, consulted)
            }
            guard let branch else { return nil }
            if let outcome = branch._withUnsafeGuaranteedRef({ $0.outcome }) {
                hits += 1
                return outcome
            }
            guard let next = branch._withUnsafeGuaranteedRef({ $0.fork.map { Unmanaged.passUnretained($0) } }) else { return nil }
            fork = next
            // As the pipeline began.
            for i in Self.changeable { flow.pointee.words[i] = packet.pointee.words[i] }
        }
    }

    /// The words that a plain translation changes, and that tell the port.
    private static let changeable = Location.metadata.word..<FlowStage.metadata.words.upperBound

    /// Whose packet it is.
    private mutating func root() -> Unmanaged<Root>? {
        let port = packet.pointee.inPort
        if let recent, recent.port == port, recent.root._withUnsafeGuaranteedRef({ $0.covers(packet) }) { return recent.root }
        guard let known = roots[port] else { return nil }
        for root in known where root.covers(packet) {
            let root = Unmanaged.passUnretained(root)
            recent = (port, root)
            return root
        }
        return nil
    }

    // MARK: Notes

    /// A record for a translation that is about to begin; nil where none is wanted.
    mutating func record(of key: borrowing FlowKey, on port: SwitchPort) -> TranslationRecord? {
        guard pause == 0 else {
            pause -= 1
            return nil
        }
        let owner = port.owner
        guard key.recircID == 0, !key.hasTunnel, key.packetType == 0, key.nwFrag == 0, port.isPlain, owner.isPlain else { return nil }
        return TranslationRecord()
    }

    /// Takes note of what came of a translation.
    mutating func note(
        _ record: TranslationRecord, _ key: borrowing FlowKey, _ outcome: @autoclosure () -> Outcome, generation now: UInt64
    ) {
        guard now == generation, let first = record.lookups.first else { return }
        if branchCount >= Self.limit { fell() }
        var fork: Fork
        packet.pointee = copy key
        if let root = root() {
            fork = root._withUnsafeGuaranteedRef { $0.first }
        } else {
            fork = Fork(first)
            var known = roots[key.inPort] ?? []
            if known.count >= Self.rootLimit {
                known.removeFirst()
                recent = nil
            }
            known.append(Root(copy key, fork))
            roots[key.inPort] = known
        }
        for (i, lookup) in record.lookups.enumerated() {
            let branch: Branch
            consulted.pointee = lookup.after
            if let known = fork.branch(lookup.found, consulted) {
                branch = known.takeUnretainedValue()
            } else {
                guard let new = fork.grow(lookup.found, consulted) else { return }
                branch = new
                branchCount += 1
            }
            guard i + 1 < record.lookups.count else {
                branch.outcome = outcome()
                return
            }
            let next = branch.fork ?? Fork(record.lookups[i + 1])
            branch.fork = next
            fork = next
        }
    }
}

extension Translation {
    /// Whether all that the translation came to is in its actions and in which flows and tables it touched.
    var isPlain: Bool {
        error == nil && slowPath.isEmpty && !avoidCaching && consumers.isEmpty && snooped == nil && learnedRules.isEmpty
            && recirculationIDs.isEmpty && consulted == nil
            && targets.allSatisfy { if case .rule = $0 { true } else if case .table = $0 { true } else { false } }
    }
}

extension DpAction {
    /// Whether a plain translation may come to it.
    var isPlain: Bool {
        switch self {
        case .output, .drop: true
        default: false
        }
    }
}

extension SwitchPort {
    /// Whether nothing but the tables looks at the packets that come in.
    fileprivate var isPlain: Bool {
        tunnel == nil && !isPatch && bfd == nil && cfm == nil && spanningTree.forwards && spanningTree.learns
            && config.isDisjoint(with: [.noReceive, .noReceiveSTP])
    }
}

extension OpenFlowSwitch {
    /// Whether nothing but the tables looks at the packets that come in.
    fileprivate var isPlain: Bool {
        mirrors.isEmpty && netFlow == nil && sFlow == nil && ipfix == nil && stp == nil && rstp == nil && !inBand
    }
}
