// The tables of a bridge. There are 255, and most bridges use a few: each table is made when it is first asked for.

/// Flow tables by number; the last is the one that only the switch itself writes. Confined to the main thread.
public final class FlowTables: RandomAccessCollection {
    private var made = [FlowTable?](repeating: nil, count: 255)

    public var startIndex: Int { 0 }
    public var endIndex: Int { made.count }

    public subscript(number: Int) -> FlowTable {
        if let table = made[number] { return table }
        let table = FlowTable(id: UInt8(number))
        made[number] = table
        return table
    }

    /// Those that were asked for, in order. All others are empty, and as they began.
    public var used: [FlowTable] { made.compactMap { $0 } }
}
