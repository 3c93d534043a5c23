// Datapath actions as a flat program over packets of one shape.
//
// A program is a run of fixed-size steps. Rewriting a field is a masked write of two bytes at a place that the shape gives, with the
// checksums that cover it corrected by the difference (RFC 1624); so one kind of step serves every field.

import CDPDK
import Dpif
import Flow

/// One step of a program.
struct FlowStep {
    enum Kind: UInt8 {
        /// Sends a copy to the transmit queue `port`.
        case copyTo
        /// Sends the packet itself; the last step.
        case sendTo
        /// Rewrites two bytes.
        case write
        /// Rewrites two bytes that IPv4's header checksum covers.
        case writeIPv4
        /// Rewrites two bytes that the transport checksum covers.
        case writeTransport
        /// Rewrites two bytes that both cover: an IPv4 address.
        case writeAddress
        case pushVLAN
        case popVLAN
    }
    var kind: Kind
    /// Where, from the packet's start as it is by then.
    var at: UInt16 = 0
    /// As in the packet, in network byte order.
    var value: UInt16 = 0
    var mask: UInt16 = 0
    /// Where the network header starts by then.
    var network: UInt16 = 0
    var isIPv6 = false
    /// A transmit queue's index, or the tag of `pushVLAN` as TPID and TCI in network byte order.
    var port: UInt32 = 0
}

/// A compiled list of actions. A flow keeps its steps alone, in memory that it owns: `FlowStore.program`.
public struct FlowProgram {
    static let limit = 48
    var count = 0
    var steps: InlineArray<48, FlowStep> = InlineArray(repeating: FlowStep(kind: .write))

    private mutating func add(_ step: FlowStep) -> Bool {
        guard count < Self.limit else { return false }
        steps[count] = step
        count += 1
        return true
    }

    /// The steps in memory of their own, which the caller frees.
    func makeSteps() -> UnsafeMutablePointer<FlowStep> {
        let memory = UnsafeMutablePointer<FlowStep>.allocate(capacity: max(count, 1))
        for i in 0..<count { (memory + i).initialize(to: steps[i]) }
        return memory
    }

    /// What actions come to.
    public enum Compiled {
        case drop
        case output(UInt32)
        /// The number of a `Recirculation`.
        case recirculate(UInt32)
        /// Apart, so that the other cases are small.
        indirect case program(FlowProgram)
        /// The fast path cannot do them.
        case unable
    }

    /// Compiles actions for packets of a shape.
    ///
    /// - Parameter queue: the transmit queue of a datapath port, or nil when packets cannot be sent there from here.
    /// - Parameter recirculation: what stands for a recirculation id, of packets with this hash; nil: that is not to be had.
    public static func compile(
        _ actions: [DpAction], shape original: HeaderShape, queue: (UInt32) -> UInt32?,
        recirculation: (_ id: UInt32, _ hash: Recirculation.Hash) -> UInt32? = { _, _ in nil }
    ) -> Compiled {
        if actions.isEmpty { return .drop }
        if actions.count == 1, case .drop = actions[0] { return .drop }
        if actions.count == 1, case .output(let port) = actions[0] { return queue(port).map { .output($0) } ?? .unable }
        if actions.count == 2, case .hash(let algorithm, let basis) = actions[0], case .recirc(let id) = actions[1] {
            return recirculation(id, Recirculation.Hash(algorithm, basis: basis)).map { .recirculate($0) } ?? .unable
        }
        var program = FlowProgram()
        var shape = original
        for (i, action) in actions.enumerated() {
            let isDone: Bool
            switch action {
            case .output(let port):
                guard let q = queue(port) else { return .unable }
                isDone = program.add(FlowStep(kind: i == actions.count - 1 ? .sendTo : .copyTo, port: q))
            case .pushVLAN(let tpid, let tci):
                // Only one tag has a shape.
                guard !shape.isTagged, tpid == 0x8100 || tpid == 0x88a8 else { return .unable }
                shape = shape.tagged(tpid)
                isDone = program.add(FlowStep(kind: .pushVLAN, port: (UInt32(tpid) << 16 | UInt32(tci & ~0x1000)).bigEndian))
            case .popVLAN:
                guard shape.isTagged else { return .unable }
                shape = shape.untagged
                isDone = program.add(FlowStep(kind: .popVLAN))
            case .set(let set): isDone = program.rewrite(set, shape)
            default: return .unable
            }
            guard isDone else { return .unable }
        }
        return .program(program)
    }

    private mutating func rewrite(_ set: DpSet, _ shape: HeaderShape) -> Bool {
        switch set.kind {
        case .eth, .ipv4, .ipv6, .tcp, .udp: break
        default: return false
        }
        for field in set.fields where field.mask != 0 {
            guard let place = HeaderMatch.place(field.location, shape) else { return false }
            let isAddress4 = field.location == Location.nwSrc || field.location == Location.nwDst
            let isAddress6 = field.location == Location.ipv6Src || field.location == Location.ipv6Dst
            let isPort = field.location == Location.tpSrc || field.location == Location.tpDst
            let kind: FlowStep.Kind
            if isAddress4 {
                kind = .writeAddress
            } else if isAddress6 || isPort {
                kind = .writeTransport
            } else if set.kind == .ipv4 {
                kind = .writeIPv4
            } else {
                kind = .write
            }
            // Pairs of bytes at even distances from the header's start, as checksums count them.
            let first = place.at & ~1
            let last = place.at + place.size
            for at in stride(from: first, to: last, by: 2) {
                var value: UInt16 = 0
                var mask: UInt16 = 0
                for b in 0..<2 where at + b >= place.at && at + b < last {
                    let shift = UInt128(8 * (place.size - 1 - (at + b - place.at)))
                    let up = UInt16(8 * (1 - b))
                    value |= UInt16(UInt8(truncatingIfNeeded: (field.value << UInt128(place.shift)) >> shift)) << up
                    mask |= UInt16(UInt8(truncatingIfNeeded: (field.mask << UInt128(place.shift)) >> shift)) << up
                }
                guard mask != 0 else { continue }
                let step = FlowStep(
                    kind: kind, at: UInt16(at), value: value & mask, mask: mask, network: UInt16(shape.networkOffset),
                    isIPv6: shape.untagged == .ipv6 || shape.untagged == .ipv6Transport)
                guard add(step) else { return false }
            }
        }
        return true
    }
}

extension FlowStep {
    @inline(__always)
    private static func load(_ p: UnsafeMutableRawPointer, _ at: Int) -> UInt16 {
        UInt16(bigEndian: p.loadUnaligned(fromByteOffset: at, as: UInt16.self))
    }
    @inline(__always)
    private static func store(_ p: UnsafeMutableRawPointer, _ at: Int, _ v: UInt16) {
        p.storeBytes(of: v.bigEndian, toByteOffset: at, as: UInt16.self)
    }

    /// Corrects the checksum at `at` for a word that changed (RFC 1624, equation 3).
    @inline(__always)
    private static func correct(_ p: UnsafeMutableRawPointer, _ at: Int, _ old: UInt16, _ new: UInt16) {
        var sum = UInt32(~load(p, at)) &+ UInt32(~old) &+ UInt32(new)
        sum = (sum & 0xffff) &+ (sum >> 16)
        sum = (sum & 0xffff) &+ (sum >> 16)
        store(p, at, ~UInt16(truncatingIfNeeded: sum))
    }

    /// Rewrites two bytes of a packet of the shape that the step was compiled for.
    @inline(__always)
    func rewrite(_ p: UnsafeMutableRawPointer) {
        let at = Int(self.at)
        let old = Self.load(p, at)
        let new = old & ~mask | value
        guard new != old else { return }
        Self.store(p, at, new)
        if kind == .writeIPv4 || kind == .writeAddress { Self.correct(p, Int(network) + 10, old, new) }
        if kind == .writeTransport || kind == .writeAddress { correctTransport(p, old, new) }
    }

    private func correctTransport(_ p: UnsafeMutableRawPointer, _ old: UInt16, _ new: UInt16) {
        let network = Int(self.network)
        let proto = p.load(fromByteOffset: network + (isIPv6 ? 6 : 9), as: UInt8.self)
        let transport = network + (isIPv6 ? 40 : 20)
        switch proto {
        case 6: Self.correct(p, transport + 16, old, new)
        case 17:
            // Zero says that there is none; a result of zero is sent as its complement (RFC 768).
            guard Self.load(p, transport + 6) != 0 else { return }
            Self.correct(p, transport + 6, old, new)
            if Self.load(p, transport + 6) == 0 { Self.store(p, transport + 6, 0xffff) }
        case 58 where isIPv6: Self.correct(p, transport + 2, old, new)
        default: break
        }
    }
}
