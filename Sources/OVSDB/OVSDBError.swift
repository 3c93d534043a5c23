// Errors in the shape that the protocol carries them (RFC 7047 section 3.1, <error>).

/// An OVSDB error: a short standard string, details for people, and the JSON text that was wrong.
public struct OVSDBError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The standard short text, such as "constraint violation".
    public var error: String
    public var details: String?
    public var syntax: String?

    public init(_ error: String, _ details: String? = nil, syntax: JSON? = nil) {
        self.error = error
        self.details = details
        self.syntax = syntax?.text(sorted: true)
    }

    /// A "syntax error" about `json`.
    public static func syntax(_ json: JSON?, _ details: String) -> OVSDBError {
        OVSDBError("syntax error", details, syntax: json)
    }

    /// Reads the object form; nil when `json` is not an error object.
    public init?(json: JSON) {
        guard let object = json.objectValue, let error = object["error"]?.stringValue else { return nil }
        self.error = error
        details = object["details"]?.stringValue
        syntax = object["syntax"]?.stringValue
    }

    public var json: JSON {
        var object = JSONObject()
        if let syntax { object["syntax"] = .string(syntax) }
        if let details { object["details"] = .string(details) }
        object["error"] = .string(error)
        return .object(object)
    }

    public var description: String {
        var text = syntax.map { "syntax \"\($0)\": " } ?? ""
        text += error
        if let details { text += ": \(details)" }
        return text
    }
}
