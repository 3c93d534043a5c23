// Conditions on rows (RFC 7047 section 5.1, <condition>).

/// A conjunction of clauses on the columns of one table.
struct OVSDBCondition {
    private enum Column { case uuid, version, stored(Int) }
    private enum Function: String {
        case less = "<", lessOrEqual = "<=", equal = "==", notEqual = "!=", greaterOrEqual = ">=", greater = ">", includes, excludes
    }
    private enum Clause {
        case constant(Bool)
        case test(Column, Function, OVSDBDatum)
    }

    private let clauses: [Clause]

    static let always = OVSDBCondition(clauses: [])
    private init(clauses: [Clause]) { self.clauses = clauses }

    /// Reads `[[COLUMN, FUNCTION, VALUE] or BOOLEAN, ...]`.
    init(json: JSON, table: OVSDBTable, named: ((String) -> UUID?)? = nil) throws(OVSDBError) {
        guard let array = json.arrayValue else { throw .syntax(json, "array expected") }
        var clauses: [Clause] = []
        for element in array {
            if let constant = element.boolValue {
                clauses.append(.constant(constant))
                continue
            }
            guard let parts = element.arrayValue, parts.count == 3, let name = parts[0].stringValue,
                let functionName = parts[1].stringValue
            else { throw .syntax(element, "Parse error in condition.") }
            let (column, type) = try OVSDBCondition.column(name, table, element)
            guard let function = Function(rawValue: functionName) else {
                throw OVSDBError("unknown function", "No function named \(functionName).")
            }
            if [.less, .lessOrEqual, .greater, .greaterOrEqual].contains(function) {
                guard !type.isMap, type.max == 1, type.key.type == .integer || type.key.type == .real else {
                    throw .syntax(
                        element, "Type mismatch: \"\(functionName)\" operator may not be applied to column \(name) of type \(type.name).")
                }
            }
            let anySize = function == .includes || function == .excludes
            var valueType = type
            // Whatever constraints the column has, a condition may name values outside them.
            valueType.key = OVSDBBaseType(type.key.type)
            valueType.value = type.value.map { OVSDBBaseType($0.type) }
            let datum = try OVSDBDatum(json: parts[2], type: valueType, anySize: anySize, named: named)
            clauses.append(.test(column, function, datum))
        }
        self.clauses = clauses
    }

    private static func column(_ name: String, _ table: OVSDBTable, _ clause: JSON) throws(OVSDBError) -> (Column, OVSDBColumnType) {
        switch name {
        case "_uuid": return (.uuid, OVSDBColumnType(key: OVSDBBaseType(.uuid)))
        case "_version": return (.version, OVSDBColumnType(key: OVSDBBaseType(.uuid)))
        default:
            guard let position = table.position[name] else {
                throw OVSDBError("unknown column", "No column \(name) in table \(table.schema.name).", syntax: clause)
            }
            return (.stored(position), table.columns[position].type)
        }
    }

    /// The only row that can match, when a clause says `_uuid ==`.
    var uuid: UUID? {
        for case .test(.uuid, .equal, let datum) in clauses {
            if case .uuid(let uuid)? = datum.keys.first, datum.count == 1 { return uuid }
        }
        return nil
    }

    func matches(_ uuid: UUID, _ row: OVSDBStoredRow) -> Bool {
        clauses.allSatisfy { clause in
            switch clause {
            case .constant(let value): value
            case .test(.uuid, let function, let datum): test(.uuid(uuid), function, datum)
            case .test(.version, let function, let datum): test(.uuid(row.version), function, datum)
            case .test(.stored(let position), let function, let datum): test(row.data[position], function, datum)
            }
        }
    }

    /// Whether any clause lets the row through: how conditional monitors combine theirs.
    func matchesAny(_ uuid: UUID, _ row: OVSDBStoredRow) -> Bool {
        clauses.isEmpty || clauses.contains { OVSDBCondition(clauses: [$0]).matches(uuid, row) }
    }

    private func test(_ value: OVSDBDatum, _ function: Function, _ argument: OVSDBDatum) -> Bool {
        func ordered(_ compare: (OVSDBAtom, OVSDBAtom) -> Bool) -> Bool {
            guard let left = value.keys.first, let right = argument.keys.first else { return false }
            return compare(left, right)
        }
        switch function {
        case .equal: return value == argument
        case .notEqual: return value != argument
        case .includes: return value.includes(argument)
        case .excludes: return value.excludes(argument)
        case .less: return ordered(<)
        case .lessOrEqual: return ordered(<=)
        case .greater: return ordered(>)
        case .greaterOrEqual: return ordered(>=)
        }
    }
}
