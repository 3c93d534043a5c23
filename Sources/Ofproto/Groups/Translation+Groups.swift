// Executing groups: which buckets are live, which of them a packet takes, and what happens in a bucket.

import Dpif
import Flow
import OpenFlow

extension Translation {
    /// How many links of watched groups are followed.
    private static let maxLiveness = 128

    /// - Returns: false when there is no such group, which ends the list of actions.
    func executeGroup(_ id: UInt32) -> Bool {
        guard let group = owner.group(id) else {
            report(.warning, "output to nonexistent group \(id)")
            return false
        }
        guard resourcesLeft() else { return true }
        let wasInGroup = inGroup
        inGroup = true
        depth += 1
        switch group.kind {
        case .all, .indirect:
            let wasLast = isLastAction
            for (i, bucket) in group.buckets.enumerated() {
                isLastAction = wasLast && i == group.buckets.count - 1
                execute(bucket)
            }
            isLastAction = wasLast
            credit(group, bucket: nil)
        case .fastFailover, .select:
            let chosen = group.kind == .select ? select(group) : firstLive(group)
            if let chosen {
                report(.detail, "using bucket \(group.buckets[chosen].id)")
                execute(group.buckets[chosen])
                credit(group, bucket: chosen)
            } else {
                report(.detail, "no live bucket")
            }
        }
        depth -= 1
        inGroup = wasInGroup
        return true
    }

    private func credit(_ group: Group, bucket: Int?) {
        targets.append(.group(group, bucket: bucket))
        if let packet { group.credit(bucket: bucket, packets: 1, bytes: UInt64(packet.bytes)) }
    }

    /// A bucket is an action set that a copy of the packet goes through. What it adds to the stack and to the packet's own action set
    /// stays, as in the real daemon.
    private func execute(_ bucket: Group.Bucket) {
        let saved = (flow, wasMPLS, conntracked, exit)
        let encapsulated = encapsulation
        let savedSteps = frozenSteps
        frozenSteps = FrozenSteps()
        let oldTrace = trace
        if let trace { self.trace = trace.add(.bucket, "bucket \(bucket.id)") }
        execute(Self.ordered(bucket.actions))
        if isFreezing { finishFreezing() }
        trace = oldTrace
        frozenSteps = savedSteps
        (flow, wasMPLS, conntracked, exit) = saved
        encapsulation.leaveCopy(encapsulated)
        // What one copy of the packet cannot become does not keep the others from being sent.
        if error == .tooManyMPLSLabels || error == .unsupportedPacketType { error = nil }
    }

    // MARK: Liveness

    private func isLive(_ bucket: Group.Bucket, depth: Int = 0) -> Bool {
        guard depth < Self.maxLiveness else {
            report(.error, "bucket chaining exceeded \(Self.maxLiveness) links")
            return false
        }
        if bucket.watchPort == .none, bucket.watchGroup == .max { return true }
        if bucket.watchPort != .none, let port = owner.port(bucket.watchPort), port.isOperational { return true }
        guard bucket.watchGroup != .max, let watched = owner.group(bucket.watchGroup) else { return false }
        // Groups that watch each other by several buckets each could be followed for ever.
        guard followedWatches < Self.maxResubmits else { return false }
        followedWatches += 1
        return firstLive(watched, depth: depth + 1) != nil
    }

    private func firstLive(_ group: Group, depth: Int = 0) -> Int? {
        for (i, bucket) in group.buckets.enumerated() {
            if isLive(bucket, depth: depth) { return i }
            reportDead(bucket)
        }
        return nil
    }

    private func reportDead(_ bucket: Group.Bucket) {
        guard trace != nil else { return }
        var watched: [String] = []
        if bucket.watchPort != .none { watched.append("port \(bucket.watchPort)") }
        // As the real daemon says it.
        if bucket.watchGroup != .max { watched.append("port \(bucket.watchGroup)") }
        report(.detail, "bucket \(bucket.id): not live due to \(watched.joined(separator: " and "))")
    }

    // MARK: Select

    private func select(_ group: Group) -> Int? {
        guard !wasMPLS else {
            // What is hashed lies behind the popped label: the datapath looks first, and the group is executed again.
            isFreezing = true
            freezesCurrentAction = true
            return nil
        }
        switch group.selection {
        case .hash(_, nil):
            consult(.symmetricL4)
            return best(group, hash: flow.symmetricL4Hash(basis: 0))
        case .hash(let basis, let fields?):
            var hash = basis
            for (field, mask) in fields where field.prerequisitesHold(flow) {
                consultPrerequisites(of: field)
                let count = field.row.bytes
                let value = field.value(in: flow) & mask
                let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (count - 1 - $0))) }
                hash = MurmurHash.bytes(bytes, basis: hash)
                field.match(mask, in: &wildcards)
            }
            return best(group, hash: hash)
        case .datapathHash(let algorithm, let basis, let table):
            guard flow.dpHash != 0 else {
                // The datapath computes the hash, and the group is executed again with it.
                recirculationHash = (algorithm, basis)
                isFreezing = true
                freezesCurrentAction = true
                return nil
            }
            let mask = UInt32(table.count - 1)
            wildcards.bits.dpHash |= mask
            for i in 0...mask {
                let candidate = table[Int((flow.dpHash &+ i) & mask)]
                if isLive(group.buckets[candidate]) { return candidate }
            }
            return nil
        }
    }

    /// The live bucket with the highest score: its share of a hash with its number, times its weight.
    private func best(_ group: Group, hash: UInt32) -> Int? {
        var found: Int?
        var best: UInt32 = 0
        for (i, bucket) in group.buckets.enumerated() {
            guard bucket.weight > 0, isLive(bucket) else {
                reportDead(bucket)
                continue
            }
            let score = (MurmurHash.pair(bucket.id, hash) & 0xffff) &* UInt32(bucket.weight)
            report(.detail, "bucket \(bucket.id): score \(score)")
            if score >= best {
                found = i
                best = score
            }
        }
        return found
    }
}
