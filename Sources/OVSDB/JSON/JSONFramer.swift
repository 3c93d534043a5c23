// Splits a byte stream into top-level JSON values. JSON-RPC over a stream has neither lengths nor
// separators (RFC 7047 section 4), so nesting alone tells where one message ends.

/// Accumulates bytes and yields complete top-level objects and arrays. Constant work per byte.
public struct JSONFramer: Sendable {
    /// Why the stream cannot be split any further. The connection must be closed.
    public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
        case unexpectedByte(UInt8)
        case tooLong(limit: Int)
        public var description: String {
            switch self {
            case .unexpectedByte(let byte): "syntax error at beginning of input (byte \(byte))"
            case .tooLong(let limit): "message longer than \(limit) bytes"
            }
        }
    }

    private let limit: Int
    private var pending: [UInt8] = []
    /// Bytes of `pending` already looked at, and where the current value starts.
    private var scanned = 0
    private var start = 0
    private var depth = 0
    private var inString = false
    private var escaped = false

    /// - Parameter limit: longest value accepted, in bytes.
    public init(limit: Int) { self.limit = limit }

    /// Bytes held for an incomplete value.
    public var bufferedBytes: Int { pending.count - start }

    public mutating func append(_ bytes: some Sequence<UInt8>) { pending.append(contentsOf: bytes) }

    /// The next complete value's text, or nil when more bytes are needed.
    public mutating func next() throws(Failure) -> [UInt8]? {
        while scanned < pending.count {
            let byte = pending[scanned]
            scanned += 1
            if depth == 0 {
                switch byte {
                case UInt8(ascii: "{"), UInt8(ascii: "["):
                    start = scanned - 1
                    depth = 1
                case 0x20, 0x09, 0x0a, 0x0d: start = scanned
                default: throw .unexpectedByte(byte)
                }
            } else if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                }
            } else {
                switch byte {
                case UInt8(ascii: "\""): inString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 {
                        let value = Array(pending[start..<scanned])
                        start = scanned
                        compact()
                        return value
                    }
                default: break
                }
            }
        }
        compact()
        guard pending.count - start <= limit else { throw .tooLong(limit: limit) }
        return nil
    }

    /// Drops what was consumed once that is most of the buffer, so that the cost stays linear.
    private mutating func compact() {
        guard start > 0, start == pending.count || start > 65536 && start > pending.count / 2 else { return }
        pending.removeSubrange(..<start)
        scanned -= start
        start = 0
    }
}
