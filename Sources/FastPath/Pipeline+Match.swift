// Which flows the packets of a batch have: the first three of the pipeline's passes.

import CDPDK

/// A packet whose flow is looked for: what the passes need of it, in a row with the others of the batch.
struct Lookup {
    var packet: UnsafeMutablePointer<UInt8>
    var hash: UInt64
    var inPort: UInt32
    var flow: UInt32
    /// How many bytes can be read.
    var length: UInt16
    /// Which packet of the batch it is.
    var place: UInt8
    /// HeaderShape.rawValue.
    var shape: UInt8

    @inline(__always)
    init(_ packet: UnsafeMutablePointer<UInt8>, _ readable: Int, _ shape: HeaderShape, _ hash: UInt64, _ inPort: UInt32, place: Int) {
        self.packet = packet
        self.hash = hash
        self.inPort = inPort
        flow = 0
        length = UInt16(truncatingIfNeeded: readable)
        self.place = UInt8(truncatingIfNeeded: place)
        self.shape = shape.rawValue
    }
}

extension Pipeline {
    /// Finds the flows of the first `n` packets, which came in by a queue.
    @inline(never)
    mutating func match(_ n: Int, _ queue: UnsafeMutablePointer<ReceiveQueue>) {
        let last = queue.pointee.last
        let triesLast = queue.pointee.runs > Self.maybeRuns && last != 0 && store.entries[Int(last)].inPort == queue.pointee.port
        var runs = queue.pointee.runs
        let count: Int
        if triesLast {
            let same: Int
            (count, same) = prepare(n, queue.pointee.port, last: last)
            runs &+= same &* 2 >= n ? 1 : -1
            if same > 0 { tally(.runHits, UInt64(same)) }
        } else {
            (count, _) = prepare(n, queue.pointee.port, last: 0)
        }
        if count > 0 {
            let (repeats, misses) = resolve(count)
            if misses > 0 { tally(.cacheMisses, UInt64(misses)) }
            let found = lookups[count &- 1].flow
            if found != 0 { queue.pointee.last = found }
            if !triesLast, repeats &* 2 >= count || last == 0 { runs &+= 1 }
        }
        queue.pointee.runs = max(0, min(Self.surelyRuns, runs))
    }

    /// Looks at each packet once: whether it has the flow of the last packet, if there is one; else what its lookup needs. Inlined twice, so
    /// that traffic of many flows does not carry what that flow has.
    ///
    /// - Parameter last: that flow; 0: none.
    /// - Returns: for how many packets flows are to be looked for, and how many have the last one.
    @inline(__always)
    private mutating func prepare(_ n: Int, _ inPort: UInt32, last: UInt32) -> (lookups: Int, same: Int) {
        // Copies, so that they stay in registers while memory is written.
        let (packets, flows, lookups) = (self.packets, self.flows, self.lookups)
        let hints = store.hints
        let acceptsTag = self.acceptsTag
        let lines = store.lines
        let lastEntry = lines.entries + Int(last)
        let lastPattern = lines.patterns[lastEntry.pointee.subtable]
        let lastKey = lastEntry.pointee.key
        var (next, same) = (lookups, 0)
        var mayBeTCP: UInt64 = 0
        for i in 0..<n {
            let m = packets[i].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            let readable = Int(cdpdk_first_length(m))
            // What `FlowStore.covers` says, by what is at hand.
            let mayBeLast =
                last != 0 && lastPattern.window.agrees(p, lastKey) && (lastPattern.window.isAll || lines.agreesWhole(last, p))
            if mayBeLast, lastPattern.isPrefixOnly, readable >= Int(lastPattern.minimumLength) {
                flows[i] = last
                same &+= 1
                mayBeTCP |= 1 &<< UInt64(i)
                continue
            }
            let length = Int(cdpdk_length(m))
            let plain = HeaderShape.plainProtocol(p, readable: readable, length: length)
            let shape = plain != 0 ? .ipv4Transport : HeaderShape.of(p, readable: readable, length: length, acceptsTag: acceptsTag)
            if plain != 17 { mayBeTCP |= 1 &<< UInt64(i) }
            if mayBeLast, shape.rawValue == lastPattern.shape {
                flows[i] = last
                same &+= 1
                continue
            }
            guard shape != .slow else {
                flows[i] = 0
                continue
            }
            let hash = store.hash(p, shape.rawValue, inPort)
            cdpdk_prefetch(hints.bucket(hash))
            next.initialize(to: Lookup(p, readable, shape, hash, inPort, place: i))
            next += 1
        }
        self.mayBeTCP = mayBeTCP
        return (next - lookups, same)
    }

    /// Finds the flows that are looked for, whose buckets are being fetched. Returns how many were those of the lookup before, and how
    /// many the cache did not know.
    @inline(__always)
    private mutating func resolve(_ count: Int) -> (repeats: Int, misses: Int) {
        let (flows, lookups) = (self.flows, self.lookups)
        let hints = store.hints
        let lines = store.lines
        let looksAtWholes = store.wholeCount > 0
        for k in 0..<count {
            let index = hints.candidate(lookups[k].hash)
            lookups[k].flow = index
            cdpdk_prefetch(lines.entries + Int(index))
            if looksAtWholes { cdpdk_prefetch(lines.wholes + Int(index)) }
        }
        // Those that the cache did not know, by bits, so that the loop that finds nearly all calls nothing.
        var unknown: UInt64 = 0
        var previous: UInt32 = 0
        var repeats = 0
        for k in 0..<count {
            let l = lookups + k
            let index = l.pointee.flow
            let shape = HeaderShape(l.pointee.shape)
            if index == 0 || !lines.cover(index, l.pointee.packet, l.pointee.inPort, Int(l.pointee.length), shape) {
                unknown |= 1 &<< UInt64(k)
            }
            flows[Int(l.pointee.place)] = index
            if index == previous { repeats &+= 1 }
            previous = index
        }
        let misses = unknown.nonzeroBitCount
        while unknown != 0 {
            let l = lookups + unknown.trailingZeroBitCount
            unknown &= unknown &- 1
            let (length, shape) = (Int(l.pointee.length), HeaderShape(l.pointee.shape))
            l.pointee.flow = store.find(l.pointee.packet, l.pointee.hash, l.pointee.inPort, length, shape)
            flows[Int(l.pointee.place)] = l.pointee.flow
        }
        return (repeats, misses)
    }

    /// Finds the flows of packets `from` to `to` of the batch, which come back with a recirculation of this number; 0: none is here.
    @inline(__always)
    mutating func lookUpAgain(_ from: Int, _ to: Int, _ number: Int) {
        let recirculation = recirculations[number]
        var count = 0
        for k in from..<to {
            let m = packets[k].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            let readable = Int(cdpdk_first_length(m))
            let shape = HeaderShape.of(p, readable: readable, length: Int(cdpdk_length(m)), acceptsTag: acceptsTag)
            flows[k] = 0
            guard shape != .slow else { continue }
            let dpHash = PacketHash.dpHash(p, shape, recirculation.hash)
            let port = Recirculation.port(UInt32(truncatingIfNeeded: number), maskedHash: dpHash & recirculation.mask)
            let hash = store.hash(p, shape.rawValue, port)
            cdpdk_prefetch(store.hints.bucket(hash))
            (lookups + count).initialize(to: Lookup(p, readable, shape, hash, port, place: k))
            count &+= 1
        }
        if count > 0 { _ = resolve(count) }
    }
}
