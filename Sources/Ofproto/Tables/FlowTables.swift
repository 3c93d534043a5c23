// The tables of a bridge. There are 255, and most bridges use a few: a table is made when something is to be done with it.

/// Flow tables by number; the last is the one that only the switch itself writes. Confined to the main thread.
public final class FlowTables {
    private var made = [FlowTable?](repeating: nil, count: 255)

    /// A table, 0 to 254.
    public subscript(number: Int) -> FlowTable {
        if let table = made[number] { return table }
        let table = FlowTable(id: UInt8(number))
        made[number] = table
        used.insert(table, at: used.firstIndex { $0.id > number } ?? used.count)
        return table
    }

    /// Those that something was done with, in order. All others are empty, and as they began.
    public private(set) var used: [FlowTable] = []

    /// All tables that controllers know of, to be looked at: one that was not used is made for who asks.
    public var visible: [FlowTable] { made.indices.dropLast().map { made[$0] ?? FlowTable(id: UInt8($0)) } }
}
