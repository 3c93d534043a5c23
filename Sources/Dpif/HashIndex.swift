// Objects by hash: the index of datapath flows, of which there are hundreds of thousands and thousands come in a second.
//
// A dictionary hashes ids that are hashes already, keeps them beside what they stand for, and moves all of them at once when it grows.
// This index keeps 32 bits of each object's hash and a reference, in pages that are split one by one (extendible hashing). A page is 64
// buckets, each one cache line:
//
//     hash ─▶ tag (32 bits) ─ leading bits ─▶ directory ─▶ page
//                           └ trailing bits ────────────────▶ bucket: 5 tags │ strays │ 5 references
//
// An object lies in the bucket that its tag says, or in one of the next three, and then the first counts it among its strays. So to find
// an object, to know that it is not there, and to add it takes one line that is not in the cache, nearly always; no step takes longer
// than to split a page; and what it takes of memory is about 20 bytes for each object. Several objects may have the same hash: who asks says
// which is meant.
//
// Hashes must be made with a random number that nobody outside knows: otherwise packets could be made that all land in one page.

import CLinux

/// A set of objects, each found by its hash. Confined to one thread.
public final class HashIndex<Element: AnyObject> {
    /// A cache line: 5 tags of 4 bytes, the number of strays, the page's depth in its first bucket, and 5 references. A tag other than 0
    /// says that its place holds a reference, which the index owns.
    @usableFromInline struct Bucket {
        @usableFromInline let line: UnsafeMutableRawPointer

        @inlinable static var slots: Int { 5 }
        @inlinable static var size: Int { 64 }

        @inlinable init(_ line: UnsafeMutableRawPointer) { self.line = line }

        @inlinable var tags: UnsafeMutablePointer<UInt32> { line.assumingMemoryBound(to: UInt32.self) }
        @inlinable var elements: UnsafeMutablePointer<Unmanaged<Element>> { (line + 24).assumingMemoryBound(to: Unmanaged<Element>.self) }
        /// How many objects that belong here lie in the next buckets. There is room for 15 there.
        @inlinable var strays: Int {
            get { Int(line.load(fromByteOffset: 20, as: UInt8.self)) }
            nonmutating set { line.storeBytes(of: UInt8(truncatingIfNeeded: newValue), toByteOffset: 20, as: UInt8.self) }
        }

        @inlinable func put(_ tag: UInt32, _ element: Unmanaged<Element>) -> Bool {
            for i in 0..<Self.slots where tags[i] == 0 {
                tags[i] = tag
                elements[i] = element
                return true
            }
            return false
        }
    }

    /// One page's memory. Plain memory, which `HashIndex` alone touches.
    @usableFromInline struct Page {
        @usableFromInline let memory: UnsafeMutableRawPointer

        @inlinable static var buckets: Int { 64 }
        @inlinable static var size: Int { buckets * Bucket.size }
        /// In how many buckets an object may lie.
        @inlinable static var reach: Int { 4 }

        @inlinable init(depth: Int) {
            memory = .allocate(byteCount: Self.size, alignment: Bucket.size)
            memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
            memory.storeBytes(of: UInt8(truncatingIfNeeded: depth), toByteOffset: 21, as: UInt8.self)
        }

        /// How many leading bits the tags of its objects have in common.
        @inlinable var depth: Int { Int(memory.load(fromByteOffset: 21, as: UInt8.self)) }

        /// The bucket that a tag says, or the `step`th behind it.
        @inlinable @inline(__always)
        func bucket(_ tag: UInt32, _ step: Int = 0) -> Bucket { self[Int(tag) &+ step] }

        @inlinable @inline(__always)
        subscript(number: Int) -> Bucket { Bucket(memory + (number & (Self.buckets - 1)) * Bucket.size) }

        /// False when there is no room.
        @inlinable func put(_ tag: UInt32, _ element: Unmanaged<Element>) -> Bool {
            let home = bucket(tag)
            if home.put(tag, element) { return true }
            for step in 1..<Self.reach where bucket(tag, step).put(tag, element) {
                home.strays += 1
                return true
            }
            return false
        }

        @inlinable func forEach(_ body: (_ bucket: Int, _ slot: Int, UInt32, Unmanaged<Element>) -> Void) {
            for number in 0..<Self.buckets {
                let bucket = self[number]
                for i in 0..<Bucket.slots where bucket.tags[i] != 0 { body(number, i, bucket.tags[i], bucket.elements[i]) }
            }
        }

        /// A page of the objects whose tags have a bit, or have it not, each where it was: there it is found.
        @inlinable func half(_ bit: UInt32, isSet: Bool, depth: Int) -> Page {
            let half = Page(depth: depth)
            forEach { number, i, tag, element in
                guard (tag & bit != 0) == isSet else { return }
                half[number].tags[i] = tag
                half[number].elements[i] = element
                if number != Int(tag) & (Self.buckets - 1) { half.bucket(tag).strays += 1 }
            }
            return half
        }
    }

    /// Pages by the leading `depth` bits of tags. A page of less depth stands in several places, one behind the other.
    @usableFromInline var directory: [Page]
    @usableFromInline var depth = 0
    /// More than this the directory does not grow: what a page of this depth cannot hold lies in `overflow`. That never happens with good
    /// hashes.
    @inlinable static var maxDepth: Int { 20 }
    @usableFromInline var overflow: [(tag: UInt32, element: Element)] = []
    @usableFromInline var total = 0

    /// How many there are.
    public var count: Int { total }

    public init() { directory = [Page(depth: 0)] }

    deinit { free() }

    private func free() {
        forEachPage { page in
            page.forEach { _, _, _, element in element.release() }
            page.memory.deallocate()
        }
    }

    private func forEachPage(_ body: (Page) -> Void) {
        var i = 0
        while i < directory.count {
            let page = directory[i]
            i += 1 << (depth - page.depth)
            body(page)
        }
    }

    /// 32 bits that all bits of a hash have a part in; not 0, which stands for an empty place.
    @inlinable @inline(__always)
    static func tag(_ hash: UInt64) -> UInt32 {
        let (high, low) = hash.multipliedFullWidth(by: 0x9e37_79b9_7f4a_7c15)
        return max(1, UInt32(truncatingIfNeeded: (high ^ low) >> 32))
    }

    /// Where a tag's page stands in the directory.
    @inlinable @inline(__always)
    func place(_ tag: UInt32) -> Int { Int(UInt64(tag) &>> UInt64(32 &- depth)) }

    @inlinable @inline(__always)
    func page(_ tag: UInt32) -> Page { directory[place(tag)] }

    /// Fetches what a search for a hash or an insertion looks at, which is about to come: it takes as long as much else that can be done
    /// meanwhile.
    @inlinable @inline(__always)
    public func prefetch(_ hash: UInt64) {
        let tag = Self.tag(hash)
        clinux_prefetch(page(tag).bucket(tag).line)
    }

    /// The object of this hash that is wanted.
    @inlinable
    public func find(_ hash: UInt64, where isWanted: (Element) -> Bool) -> Element? {
        var search = search(hash)
        while let element = next(&search) {
            if isWanted(element) { return element }
        }
        return nil
    }

    /// A search under way.
    public struct Search {
        @usableFromInline let tag: UInt32
        /// Bucket and slot, three bits, and behind those that may hold the object the place in the overflow.
        @usableFromInline var place = 0
        /// Where the buckets end.
        @usableFromInline let end: Int
        @inlinable init(_ tag: UInt32, end: Int) {
            self.tag = tag
            self.end = end
        }
    }

    /// Begins to go through the objects of a hash, and a few that may have others; for those who cannot say in a closure which they want.
    @inlinable @inline(__always)
    public func search(_ hash: UInt64) -> Search {
        let tag = Self.tag(hash)
        return Search(tag, end: page(tag).bucket(tag).strays == 0 ? 8 : Page.reach * 8)
    }

    /// The next object. The index must not have changed since the search began.
    @inlinable @inline(__always)
    public func next(_ search: inout Search) -> Element? {
        let page = page(search.tag)
        while search.place < search.end {
            let bucket = page.bucket(search.tag, search.place >> 3)
            let i = search.place & 7
            search.place += i == Bucket.slots - 1 ? 8 - i : 1
            if bucket.tags[i] == search.tag { return bucket.elements[i].takeUnretainedValue() }
        }
        return overflow.isEmpty ? nil : nextOverflowing(&search)
    }

    @usableFromInline func nextOverflowing(_ search: inout Search) -> Element? {
        while search.place - search.end < overflow.count {
            let entry = overflow[search.place - search.end]
            search.place += 1
            if entry.tag == search.tag { return entry.element }
        }
        return nil
    }

    /// Adds an object, which must not be there.
    @inlinable
    public func insert(_ hash: UInt64, _ element: Element) {
        let tag = Self.tag(hash)
        let reference = Unmanaged.passUnretained(element)
        total += 1
        while !page(tag).put(tag, reference) {
            guard page(tag).depth < Self.maxDepth else {
                overflow.append((tag, element))
                return
            }
            split(tag)
        }
        _ = reference.retain()
    }

    /// Takes an object out that was put in with this hash. False when it is not there.
    @discardableResult @inlinable
    public func remove(_ hash: UInt64, _ element: Element) -> Bool {
        let tag = Self.tag(hash)
        let page = page(tag)
        for step in 0..<Page.reach {
            let bucket = page.bucket(tag, step)
            for i in 0..<Bucket.slots where bucket.tags[i] == tag {
                let found = bucket.elements[i]
                guard found.toOpaque() == Unmanaged.passUnretained(element).toOpaque() else { continue }
                bucket.tags[i] = 0
                if step > 0 { page.bucket(tag).strays -= 1 }
                total -= 1
                found.release()
                return true
            }
        }
        guard let place = overflow.firstIndex(where: { $0.element === element }) else { return false }
        overflow.remove(at: place)
        total -= 1
        return true
    }

    /// Takes all objects out, and gives their memory back.
    public func removeAll() {
        free()
        directory = [Page(depth: 0)]
        depth = 0
        overflow = []
        total = 0
    }

    /// All objects, in no order.
    public var all: [Element] {
        var result: [Element] = []
        result.reserveCapacity(count)
        forEachPage { page in page.forEach { _, _, _, element in result.append(element.takeUnretainedValue()) } }
        for entry in overflow { result.append(entry.element) }
        return result
    }

    /// Deals the objects of the page that holds a tag to two, by the bit behind those that they have in common.
    @usableFromInline func split(_ tag: UInt32) {
        let page = page(tag)
        let shared = page.depth
        if shared == depth {
            directory = directory.flatMap { [$0, $0] }
            depth += 1
        }
        let bit: UInt32 = 1 << UInt32(31 - shared)
        let halves = (page.half(bit, isSet: false, depth: shared + 1), page.half(bit, isSet: true, depth: shared + 1))
        // The places in the directory that the page stood in.
        let width = 1 << (depth - shared)
        let first = place(tag) & ~(width - 1)
        for i in 0..<width { directory[first + i] = i < width / 2 ? halves.0 : halves.1 }
        page.memory.deallocate()
    }
}
