// Mutations of a column (RFC 7047 section 5.1, <mutation>).

/// One checked mutation of a table's column.
struct OVSDBMutation {
    private enum Mutator: String {
        case add = "+=", subtract = "-=", multiply = "*=", divide = "/=", remainder = "%=", insert, delete
        var isArithmetic: Bool { self != .insert && self != .delete }
    }

    private let column: Int
    private let mutator: Mutator
    private let argument: OVSDBDatum

    init(json: JSON, table: OVSDBTable, named: ((String) -> UUID?)?) throws(OVSDBError) {
        guard let parts = json.arrayValue, parts.count == 3, let name = parts[0].stringValue,
            let mutatorName = parts[1].stringValue
        else { throw .syntax(json, "Parse error in mutation.") }
        guard let position = table.position[name] else {
            throw OVSDBError("unknown column", "No column \(name) in table \(table.schema.name).", syntax: json)
        }
        let schema = table.columns[position]
        guard schema.isMutable else {
            throw OVSDBError("constraint violation", "Cannot mutate immutable column \(name) in table \(table.schema.name).", syntax: json)
        }
        guard let mutator = Mutator(rawValue: mutatorName) else { throw OVSDBError("unknown mutator", "No mutator named \(mutatorName).") }
        let type = schema.type
        let mismatch = OVSDBError.syntax(
            json, "Type mismatch: \"\(mutatorName)\" operator may not be applied to column \(name) of type \(type.name).")
        column = position
        self.mutator = mutator
        if mutator.isArithmetic {
            guard !type.isMap, type.key.type == .integer || type.key.type == .real && mutator != .remainder else { throw mismatch }
            argument = try OVSDBDatum(json: parts[2], type: OVSDBColumnType(key: OVSDBBaseType(type.key.type)))
            return
        }
        guard type.isMap || type.max > 1 || type.min == 0 else { throw mismatch }
        // From a map, either pairs or bare keys may be deleted.
        let isMapValue = parts[2].arrayValue?.first == .string("map")
        let argumentType = type.isMap && mutator == .delete && !isMapValue ? OVSDBColumnType(key: type.key, min: 0, max: .max) : type
        argument = try OVSDBDatum(json: parts[2], type: argumentType, anySize: true, named: named)
    }

    func apply(to row: inout OVSDBStoredRow, _ table: OVSDBTable) throws(OVSDBError) {
        let schema = table.columns[column]
        let before = row.data[column]
        let after: OVSDBDatum
        switch mutator {
        case .insert: after = before.union(argument)
        case .delete: after = before.subtracting(argument)
        default:
            var atoms: [OVSDBAtom] = []
            for atom in before.keys {
                let atom = try calculate(atom)
                if let violation = schema.type.key.violation(of: atom) { throw OVSDBError("constraint violation", violation) }
                atoms.append(atom)
            }
            after = OVSDBDatum(atoms)
            guard after.count == atoms.count else {
                throw OVSDBError("constraint violation", "Result of \"\(mutator.rawValue)\" operation contains duplicates.")
            }
        }
        guard after.count >= schema.type.min, after.count <= schema.type.max else {
            throw OVSDBError("constraint violation", "Attempted to store \(after.count) elements in \(schema.type.name).")
        }
        row.data[column] = after
    }

    private func calculate(_ atom: OVSDBAtom) throws(OVSDBError) -> OVSDBAtom {
        let outOfRange = OVSDBError("range error", "Result of \"\(mutator.rawValue)\" operation is out of range.")
        switch (atom, argument.keys.first) {
        case (.integer(let left), .integer(let right)?):
            if right == 0, mutator == .divide || mutator == .remainder { throw OVSDBError("domain error", "Division by zero.") }
            let (value, overflow) =
                switch mutator {
                case .add: left.addingReportingOverflow(right)
                case .subtract: left.subtractingReportingOverflow(right)
                case .multiply: left.multipliedReportingOverflow(by: right)
                case .divide: left.dividedReportingOverflow(by: right)
                default: left.remainderReportingOverflow(dividingBy: right)
                }
            guard !overflow else { throw outOfRange }
            return .integer(value)
        case (.real(let left), .real(let right)?):
            if right == 0, mutator == .divide { throw OVSDBError("domain error", "Division by zero.") }
            let value =
                switch mutator {
                case .add: left + right
                case .subtract: left - right
                case .multiply: left * right
                default: left / right
                }
            guard value.isFinite else { throw outOfRange }
            return .real(value)
        default: throw outOfRange
        }
    }
}
