// JSON-RPC 1.0 messages as RFC 7047 section 4 uses them.

/// One JSON-RPC message.
public enum JSONRPCMessage: Sendable, Equatable {
    case request(method: String, params: [JSON], id: JSON)
    case notification(method: String, params: [JSON])
    case reply(result: JSON, id: JSON)
    case error(JSON, id: JSON)

    /// Why a JSON value is not a message.
    public struct Malformed: Error, Sendable, Equatable, CustomStringConvertible {
        public let description: String
    }

    public init(json: JSON) throws(Malformed) {
        guard let object = json.objectValue else { throw Malformed(description: "message is not a JSON object") }
        let allowed: Set<String> = ["method", "params", "result", "error", "id"]
        for key in object.keys where !allowed.contains(key) {
            throw Malformed(description: "message has unexpected member \"\(key)\"")
        }
        let id = object["id"] ?? .null
        if let method = object["method"], !method.isNull {
            guard let method = method.stringValue else { throw Malformed(description: "method is not JSON string") }
            guard let params = object["params"]?.arrayValue else { throw Malformed(description: "\"params\" must be JSON array") }
            self =
                id.isNull
                ? .notification(method: method, params: params)
                : .request(method: method, params: params, id: id)
            return
        }
        guard !id.isNull else { throw Malformed(description: "message lacks both \"method\" and \"id\"") }
        let result = object["result"] ?? .null
        if let error = object["error"], !error.isNull {
            guard result.isNull else { throw Malformed(description: "message has both \"result\" and \"error\"") }
            self = .error(error, id: id)
        } else {
            guard object["result"] != nil else {
                throw Malformed(description: "message has neither \"method\" nor \"result\" nor \"error\"")
            }
            self = .reply(result: result, id: id)
        }
    }

    /// The wire form, with members in the order that Open vSwitch prints them.
    public func write(to bytes: inout [UInt8]) {
        func member(_ text: String, _ value: JSON) {
            bytes += text.utf8
            value.write(to: &bytes)
        }
        switch self {
        case .request(let method, let params, let id):
            member("{\"id\":", id)
            member(",\"method\":", .string(method))
            member(",\"params\":", .array(params))
        case .notification(let method, let params):
            member("{\"id\":null,\"method\":", .string(method))
            member(",\"params\":", .array(params))
        case .reply(let result, let id):
            // Output of a command may be very long.
            if case .string(let text) = result { bytes.reserveCapacity(text.utf8.count + text.utf8.count / 16 + 64) }
            member("{\"id\":", id)
            member(",\"result\":", result)
            bytes += ",\"error\":null".utf8
        case .error(let error, let id):
            member("{\"id\":", id)
            member(",\"error\":", error)
        }
        bytes.append(UInt8(ascii: "}"))
    }
}
