// Objects by hash: the index of datapath flows, of which there are hundreds of thousands and thousands come in a second.
//
// A dictionary hashes ids that are hashes already, keeps them beside what they stand for, and moves all of them at once when it grows.
// This index keeps 32 bits of each object's hash and a reference, in pages that are split one by one (extendible hashing):
//
//     hash ─▶ tag (32 bits) ─ leading bits ─▶ directory ─▶ page: 256 tags │ 256 references
//                           └ trailing bits ────────────────────▶ place in the page, and on from there
//
// So no step takes longer than to split a page, an object that is not there is told from its tag alone, nearly always, and what it takes of
// memory is about 18 bytes for each object. Several objects may have the same hash: who asks says which is meant.
//
// Hashes must be made with a random number that nobody outside knows: otherwise packets could be made that all land in one page.

/// A set of objects, each found by its hash. Confined to one thread.
public final class HashIndex<Element: AnyObject> {
    /// One page's memory: numbers, tags, references. Plain memory, which `HashIndex` alone touches; a tag other than 0 says that its
    /// place holds a reference, which the index owns.
    @usableFromInline struct Page {
        @usableFromInline let memory: UnsafeMutableRawPointer

        @inlinable static var slots: Int { 256 }
        /// More in a page, and it is split.
        @inlinable static var limit: Int { 208 }
        @inlinable static var size: Int { 16 + slots * 12 }

        @inlinable init(depth: Int) {
            memory = .allocate(byteCount: Self.size, alignment: 16)
            memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
            memory.storeBytes(of: depth, toByteOffset: 8, as: Int.self)
        }

        /// How many it holds.
        @inlinable var count: Int {
            get { memory.load(as: Int.self) }
            nonmutating set { memory.storeBytes(of: newValue, as: Int.self) }
        }
        /// How many leading bits the tags of its objects have in common.
        @inlinable var depth: Int { memory.load(fromByteOffset: 8, as: Int.self) }
        @inlinable var tags: UnsafeMutablePointer<UInt32> { (memory + 16).assumingMemoryBound(to: UInt32.self) }
        @inlinable var elements: UnsafeMutablePointer<Unmanaged<Element>> {
            (memory + (16 + 4 * Self.slots)).assumingMemoryBound(to: Unmanaged<Element>.self)
        }

        @inlinable func put(_ tag: UInt32, _ element: Unmanaged<Element>) {
            var i = Int(tag) & (Self.slots - 1)
            while tags[i] != 0 { i = (i + 1) & (Self.slots - 1) }
            tags[i] = tag
            elements[i] = element
            count += 1
        }

        /// Empties a place, and moves those up that would not be found any more.
        @inlinable func clear(_ place: Int) {
            var hole = place
            var next = place
            while true {
                next = (next + 1) & (Self.slots - 1)
                let tag = tags[next]
                guard tag != 0 else { break }
                // It may go to the hole unless it belongs behind that.
                let home = Int(tag) & (Self.slots - 1)
                guard (next &- home) & (Self.slots - 1) >= (next &- hole) & (Self.slots - 1) else { continue }
                tags[hole] = tag
                elements[hole] = elements[next]
                hole = next
            }
            tags[hole] = 0
            count -= 1
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
            for i in 0..<Page.slots where page.tags[i] != 0 { page.elements[i].release() }
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

    /// The object of this hash that is wanted.
    @inlinable
    public func find(_ hash: UInt64, where isWanted: (Element) -> Bool) -> Element? {
        let tag = Self.tag(hash)
        let page = page(tag)
        let tags = page.tags
        var i = Int(tag) & (Page.slots - 1)
        // A page is never full.
        while tags[i] != 0 {
            if tags[i] == tag {
                let element = page.elements[i].takeUnretainedValue()
                if isWanted(element) { return element }
            }
            i = (i + 1) & (Page.slots - 1)
        }
        return overflow.isEmpty ? nil : overflow.first(where: { $0.tag == tag && isWanted($0.element) })?.element
    }

    /// A search under way.
    public struct Search {
        @usableFromInline let tag: UInt32
        /// In the page; negative: in the overflow, -1 its first.
        @usableFromInline var place: Int
        @inlinable init(_ tag: UInt32, _ place: Int) {
            self.tag = tag
            self.place = place
        }
    }

    /// Begins to go through the objects of a hash, and a few that may have others; for those who cannot say in a closure which they want.
    @inlinable
    public func search(_ hash: UInt64) -> Search {
        let tag = Self.tag(hash)
        return Search(tag, Int(tag) & (Page.slots - 1))
    }

    /// The next object. The index must not have changed since the search began.
    @inlinable
    public func next(_ search: inout Search) -> Element? {
        let page = page(search.tag)
        while search.place >= 0 {
            let place = search.place
            let tag = page.tags[place]
            guard tag != 0 else {
                search.place = -1
                break
            }
            search.place = (place + 1) & (Page.slots - 1)
            if tag == search.tag { return page.elements[place].takeUnretainedValue() }
        }
        while -search.place <= overflow.count {
            let entry = overflow[-search.place - 1]
            search.place -= 1
            if entry.tag == search.tag { return entry.element }
        }
        return nil
    }

    /// Adds an object, which must not be there.
    @inlinable
    public func insert(_ hash: UInt64, _ element: Element) {
        let tag = Self.tag(hash)
        total += 1
        while page(tag).count >= Page.limit {
            guard page(tag).depth < Self.maxDepth else {
                overflow.append((tag, element))
                return
            }
            split(tag)
        }
        page(tag).put(tag, Unmanaged.passRetained(element))
    }

    /// Takes an object out that was put in with this hash. False when it is not there.
    @discardableResult @inlinable
    public func remove(_ hash: UInt64, _ element: Element) -> Bool {
        let tag = Self.tag(hash)
        let page = page(tag)
        var i = Int(tag) & (Page.slots - 1)
        while page.tags[i] != 0 {
            if page.tags[i] == tag, page.elements[i].toOpaque() == Unmanaged.passUnretained(element).toOpaque() {
                let found = page.elements[i]
                page.clear(i)
                total -= 1
                found.release()
                return true
            }
            i = (i + 1) & (Page.slots - 1)
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
        forEachPage { page in
            for i in 0..<Page.slots where page.tags[i] != 0 { result.append(page.elements[i].takeUnretainedValue()) }
        }
        for entry in overflow { result.append(entry.element) }
        return result
    }

    /// Deals the objects of the page that holds a tag to two, by the bit behind those that they have in common.
    @inlinable func split(_ tag: UInt32) {
        let page = page(tag)
        let shared = page.depth
        if shared == depth {
            directory = directory.flatMap { [$0, $0] }
            depth += 1
        }
        let halves = (Page(depth: shared + 1), Page(depth: shared + 1))
        let bit: UInt32 = 1 << UInt32(31 - shared)
        for i in 0..<Page.slots where page.tags[i] != 0 {
            (page.tags[i] & bit == 0 ? halves.0 : halves.1).put(page.tags[i], page.elements[i])
        }
        // The places in the directory that the page stood in.
        let width = 1 << (depth - shared)
        let first = place(tag) & ~(width - 1)
        for i in 0..<width { directory[first + i] = i < width / 2 ? halves.0 : halves.1 }
        page.memory.deallocate()
    }
}
