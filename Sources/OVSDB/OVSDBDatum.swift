// Column values: sorted sets and maps of atoms (RFC 7047 section 5.1, <value>).

/// The value of a column: a set of atoms, or a map between atoms. A scalar is a set of one.
///
/// `keys` is sorted and without duplicates; `values` is parallel to it for a map and empty for a set.
public struct OVSDBDatum: Sendable, Hashable {
    public private(set) var keys: [OVSDBAtom]
    public private(set) var values: [OVSDBAtom]

    /// The empty set or map.
    public init() {
        keys = []
        values = []
    }

    /// A set; duplicates are merged.
    public init(_ atoms: some Sequence<OVSDBAtom>) {
        let sorted = atoms.sorted()
        keys = []
        for atom in sorted where keys.last != atom { keys.append(atom) }
        values = []
    }

    /// A map; of pairs with equal keys the last stays.
    public init(pairs: some Sequence<(OVSDBAtom, OVSDBAtom)>) {
        keys = []
        values = []
        // The sort is stable, so that the last of equal keys comes last.
        for (key, value) in pairs.sorted(by: { $0.0 < $1.0 }) {
            if keys.last == key {
                values[values.count - 1] = value
            } else {
                keys.append(key)
                values.append(value)
            }
        }
    }

    private init(sortedKeys: [OVSDBAtom], values: [OVSDBAtom]) {
        keys = sortedKeys
        self.values = values
    }

    // Conveniences for writing columns.
    public static func integer(_ value: some BinaryInteger) -> OVSDBDatum { OVSDBDatum([.integer(Int64(clamping: value))]) }
    public static func bool(_ value: Bool) -> OVSDBDatum { OVSDBDatum([.boolean(value)]) }
    public static func real(_ value: Double) -> OVSDBDatum { OVSDBDatum([.real(value)]) }
    public static func string(_ value: String) -> OVSDBDatum { OVSDBDatum([.string(value)]) }
    public static func uuid(_ value: UUID) -> OVSDBDatum { OVSDBDatum([.uuid(value)]) }
    public static func optional(_ value: String?) -> OVSDBDatum { OVSDBDatum(value.map { [.string($0)] } ?? []) }
    public static func optional(_ value: Int64?) -> OVSDBDatum { OVSDBDatum(value.map { [.integer($0)] } ?? []) }
    public static func optional(_ value: Bool?) -> OVSDBDatum { OVSDBDatum(value.map { [.boolean($0)] } ?? []) }
    public static func strings(_ values: some Sequence<String>) -> OVSDBDatum { OVSDBDatum(values.map { .string($0) }) }
    public static func integers(_ values: some Sequence<Int64>) -> OVSDBDatum { OVSDBDatum(values.map { .integer($0) }) }
    public static func uuids(_ values: some Sequence<UUID>) -> OVSDBDatum { OVSDBDatum(values.map { .uuid($0) }) }
    public static func map(_ values: [String: String]) -> OVSDBDatum {
        OVSDBDatum(pairs: values.map { (.string($0.key), .string($0.value)) })
    }
    public static func map(_ values: [String: Int64]) -> OVSDBDatum {
        OVSDBDatum(pairs: values.map { (.string($0.key), .integer($0.value)) })
    }

    public var count: Int { keys.count }
    public var isEmpty: Bool { keys.isEmpty }

    /// Position of `key`, by binary search.
    public func position(of key: OVSDBAtom) -> Int? {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low < keys.count && keys[low] == key ? low : nil
    }

    public func contains(_ key: OVSDBAtom) -> Bool { position(of: key) != nil }

    /// The value that a map holds for `key`.
    public subscript(key: OVSDBAtom) -> OVSDBAtom? {
        guard let position = position(of: key), position < values.count else { return nil }
        return values[position]
    }

    private func matches(_ position: Int, _ other: OVSDBDatum, _ theirs: Int) -> Bool {
        values.isEmpty && other.values.isEmpty
            || position < values.count && theirs < other.values.count && values[position] == other.values[theirs]
    }

    /// Whether every element (or pair) of `other` is in this.
    public func includes(_ other: OVSDBDatum) -> Bool {
        other.keys.indices.allSatisfy { theirs in
            guard let position = position(of: other.keys[theirs]) else { return false }
            return matches(position, other, theirs)
        }
    }

    /// Whether no element (or pair) of `other` is in this.
    public func excludes(_ other: OVSDBDatum) -> Bool {
        other.keys.indices.allSatisfy { theirs in
            guard let position = position(of: other.keys[theirs]) else { return true }
            return !matches(position, other, theirs)
        }
    }

    /// This with the elements of `other` whose keys it lacks.
    public func union(_ other: OVSDBDatum) -> OVSDBDatum {
        guard !other.isEmpty else { return self }
        guard !isEmpty else { return other }
        var keys: [OVSDBAtom] = []
        var values: [OVSDBAtom] = []
        let isMap = !self.values.isEmpty
        keys.reserveCapacity(self.keys.count + other.keys.count)
        var mine = 0
        var theirs = 0
        while mine < self.keys.count || theirs < other.keys.count {
            let takeMine = theirs == other.keys.count || mine < self.keys.count && self.keys[mine] <= other.keys[theirs]
            if takeMine {
                if theirs < other.keys.count, self.keys[mine] == other.keys[theirs] { theirs += 1 }
                keys.append(self.keys[mine])
                if isMap, mine < self.values.count { values.append(self.values[mine]) }
                mine += 1
            } else {
                keys.append(other.keys[theirs])
                if isMap, theirs < other.values.count { values.append(other.values[theirs]) }
                theirs += 1
            }
        }
        return OVSDBDatum(sortedKeys: keys, values: values)
    }

    /// This without the elements of `other`. From a map, a set removes keys; a map removes equal pairs.
    public func subtracting(_ other: OVSDBDatum) -> OVSDBDatum {
        filter { key, value in
            guard let theirs = other.position(of: key) else { return true }
            return !other.values.isEmpty && value != nil && (theirs >= other.values.count || other.values[theirs] != value)
        }
    }

    /// The elements for which `keep` holds.
    public func filter(_ keep: (_ key: OVSDBAtom, _ value: OVSDBAtom?) -> Bool) -> OVSDBDatum {
        var keys: [OVSDBAtom] = []
        var values: [OVSDBAtom] = []
        for position in self.keys.indices {
            let value = position < self.values.count ? self.values[position] : nil
            guard keep(self.keys[position], value) else { continue }
            keys.append(self.keys[position])
            if let value { values.append(value) }
        }
        return OVSDBDatum(sortedKeys: keys, values: values)
    }

    /// What `update2` sends for a change from this to `new`: for a set the elements in one of them
    /// only; for a map the pairs that appeared or vanished, and changed ones with their new value.
    public func difference(to new: OVSDBDatum) -> OVSDBDatum {
        let isMap = !values.isEmpty || !new.values.isEmpty
        if !isMap {
            return subtracting(new).union(new.subtracting(self))
        }
        let gone = filter { key, _ in !new.contains(key) }
        let changed = new.filter { key, value in self[key] != value }
        return gone.union(changed)
    }

    /// The inverse of ``difference(to:)``: this with `difference` applied.
    public func applying(difference: OVSDBDatum) -> OVSDBDatum {
        let isMap = !values.isEmpty || !difference.values.isEmpty
        if !isMap {
            return subtracting(difference).union(difference.subtracting(self))
        }
        // A pair that is already here with that value vanishes; any other takes effect.
        let kept = filter { key, _ in !difference.contains(key) }
        let added = difference.filter { key, value in self[key] != value }
        return kept.union(added)
    }

    /// The wire form: a bare atom for exactly one element of a set, else `["set", ...]` or `["map", ...]`.
    public func json(_ type: OVSDBColumnType) -> JSON {
        if type.isMap {
            let pairs = zip(keys, values).map { JSON.array([$0.json, $1.json]) }
            return .array([.string("map"), .array(pairs)])
        }
        if keys.count == 1 { return keys[0].json }
        return .array([.string("set"), .array(keys.map(\.json))])
    }

    /// Reads the wire form, checking types, constraints and size against `type`.
    /// With `anySize` the size limits of the type do not apply (differences, mutations, conditions).
    public init(
        json: JSON, type: OVSDBColumnType, anySize: Bool = false,
        named: ((String) -> UUID?)? = nil
    ) throws(OVSDBError) {
        if type.isMap || json.arrayValue?.first == .string("map") {
            guard type.isMap, let valueType = type.value else { throw .syntax(json, "expected \(type.key.type.rawValue)") }
            guard let array = json.arrayValue, array.count == 2, array[0] == .string("map"), let pairs = array[1].arrayValue
            else { throw .syntax(json, "expected [\"map\", <array>]") }
            try OVSDBDatum.check(pairs.count, type, anySize, json)
            var atoms: [(OVSDBAtom, OVSDBAtom)] = []
            atoms.reserveCapacity(pairs.count)
            for pair in pairs {
                guard let pair = pair.arrayValue, pair.count == 2 else { throw .syntax(pair, "expected 2-element array") }
                atoms.append((try type.key.atom(pair[0], named), try valueType.atom(pair[1], named)))
            }
            self.init(pairs: atoms)
            guard keys.count == atoms.count else { throw OVSDBError("ovsdb error", "map contains duplicate key") }
            return
        }
        guard let array = json.arrayValue, array.first == .string("set") else {
            self.init(sortedKeys: [try type.key.atom(json, named)], values: [])
            return
        }
        guard array.count == 2, let elements = array[1].arrayValue else { throw .syntax(json, "expected [\"set\", <array>]") }
        try OVSDBDatum.check(elements.count, type, anySize, json)
        var atoms: [OVSDBAtom] = []
        atoms.reserveCapacity(elements.count)
        for element in elements { atoms.append(try type.key.atom(element, named)) }
        self.init(atoms)
        guard keys.count == atoms.count else { throw OVSDBError("ovsdb error", "set contains duplicate") }
    }

    private static func check(_ count: Int, _ type: OVSDBColumnType, _ anySize: Bool, _ json: JSON) throws(OVSDBError) {
        guard !anySize, count < type.min || count > type.max else { return }
        let allowed = type.min == type.max ? "exactly one member" : "\(type.min) to \(min(type.max, Int(UInt32.max))) members"
        throw .syntax(json, "\(type.isMap ? "map" : "set") must have \(allowed) but \(count) are present")
    }
}
