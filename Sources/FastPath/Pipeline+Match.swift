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
    @inline(__always)
    mutating func match(_ n: Int, _ queue: UnsafeMutablePointer<ReceiveQueue>) {
        let inPort = queue.pointee.port
        // Copies, so that they stay in registers while memory is written.
        let (packets, flows, lookups) = (self.packets, self.flows, self.lookups)
        let hints = store.hints
        let acceptsTag = self.acceptsTag
        let last = queue.pointee.last
        let lastEntry = store.entries + Int(last)
        let triesLast = queue.pointee.runs > Self.maybeRuns && last != 0 && lastEntry.pointee.inPort == inPort
        let lastPattern = store.patterns[lastEntry.pointee.subtable]
        let lastKey = lastEntry.pointee.key
        var (count, slow) = (0, 0)
        var i = 0
        while i < n {
            let m = packets[i].unsafelyUnwrapped
            let p = cdpdk_data(m).unsafelyUnwrapped
            let readable = Int(cdpdk_first_length(m))
            // What `FlowStore.covers` says, by what is at hand.
            let mayBeLast =
                triesLast && lastPattern.window.agrees(p, lastKey) && (lastPattern.window.isAll || store.agreesWhole(last, p))
            if mayBeLast, lastPattern.isPrefixOnly, readable >= Int(lastPattern.minimumLength) {
                flows[i] = last
                i &+= 1
                continue
            }
            let length = Int(cdpdk_length(m))
            let shape =
                HeaderShape.plainProtocol(p, readable: readable, length: length) != 0
                ? .ipv4Transport : HeaderShape.of(p, readable: readable, length: length, acceptsTag: acceptsTag)
            if mayBeLast, shape.rawValue == lastPattern.shape {
                flows[i] = last
                i &+= 1
                continue
            }
            if shape != .slow {
                let hash = store.hash(p, shape.rawValue, inPort)
                cdpdk_prefetch(hints.bucket(hash))
                (lookups + count).initialize(to: Lookup(p, readable, shape, hash, inPort, place: i))
                count &+= 1
            } else {
                flows[i] = 0
                slow &+= 1
            }
            i &+= 1
        }
        var runs = queue.pointee.runs
        if triesLast {
            let same = n &- count &- slow
            runs &+= same &* 2 >= n ? 1 : -1
            if same > 0 { tally(.runHits, UInt64(same)) }
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

    /// Finds the flows that are looked for, whose buckets are being fetched. Returns how many were those of the lookup before, and how
    /// many the cache did not know.
    @inline(__always)
    private mutating func resolve(_ count: Int) -> (repeats: Int, misses: Int) {
        let (flows, lookups) = (self.flows, self.lookups)
        let hints = store.hints
        let (entries, wholes) = (store.entries, store.wholes)
        let looksAtWholes = store.wholeCount > 0
        let end = lookups + count
        var l = lookups
        while l < end {
            let index = hints.candidate(l.pointee.hash)
            l.pointee.flow = index
            cdpdk_prefetch(entries + Int(index))
            if looksAtWholes { cdpdk_prefetch(wholes + Int(index)) }
            l += 1
        }
        var previous: UInt32 = 0
        var (repeats, misses) = (0, 0)
        l = lookups
        while l < end {
            var index = l.pointee.flow
            let (length, shape) = (Int(l.pointee.length), HeaderShape(l.pointee.shape))
            if index == 0 || !store.covers(index, l.pointee.packet, l.pointee.inPort, length, shape) {
                misses &+= 1
                index = store.find(l.pointee.packet, l.pointee.hash, l.pointee.inPort, length, shape)
                l.pointee.flow = index
            }
            flows[Int(l.pointee.place)] = index
            if index == previous { repeats &+= 1 }
            previous = index
            l += 1
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
