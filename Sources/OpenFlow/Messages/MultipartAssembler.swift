// Requests that come in several messages (OFPMPF_REQ_MORE, OpenFlow 1.3 and later): their parts are kept by transaction
// id until the last one is there, for no longer than a second and no more than 4 MiB of them.

/// The unfinished multipart requests of one connection.
public struct MultipartAssembler: Sendable {
    private struct Pending {
        var parts: [OFMessage]
        var bytes: Int
        let started: Int64
    }

    /// Bytes of one request.
    public static let maxBytes = 4 << 20
    /// Bytes of all unfinished requests of the connection.
    public static let maxTotalBytes = 64 << 20
    /// Milliseconds from the first part to the last.
    public static let timeout: Int64 = 1000

    private var pending: [UInt32: Pending] = [:]
    private var totalBytes = 0

    public init() {}

    public var isEmpty: Bool { pending.isEmpty }

    /// Whether parts of a request with this id have come already.
    public func isContinuation(xid: UInt32) -> Bool { pending[xid] != nil }

    /// Takes a part.
    /// - Returns: the parts of the request once it is complete, in order; nil before that.
    public mutating func add(_ part: OFMessage, now: Int64) throws(OFError) -> [OFMessage]? {
        guard var request = pending[part.xid] else {
            guard part.hasMore else { return [part] }
            guard totalBytes + part.bytes.count <= Self.maxTotalBytes else { throw .brcMultipartBufferOverflow }
            pending[part.xid] = Pending(parts: [part], bytes: part.bytes.count, started: now)
            totalBytes += part.bytes.count
            return nil
        }
        // Another kind of request under the same id is refused, and the first goes on.
        guard request.parts[0].kind == part.kind else { throw .brcBadStat }
        let bytes = request.bytes + part.bytes.count
        guard bytes <= Self.maxBytes, totalBytes + part.bytes.count <= Self.maxTotalBytes else {
            remove(part.xid)
            throw .brcMultipartBufferOverflow
        }
        request.parts.append(part)
        guard part.hasMore else {
            remove(part.xid)
            return request.parts
        }
        totalBytes += part.bytes.count
        request.bytes = bytes
        pending[part.xid] = request
        return nil
    }

    /// Gives up requests whose last part does not come, and returns the first part of each.
    public mutating func expire(now: Int64) -> [OFMessage] {
        let late = pending.filter { now - $0.value.started >= Self.timeout }
        for xid in late.keys { remove(xid) }
        return late.values.map { $0.parts[0] }.sorted { $0.xid < $1.xid }
    }

    private mutating func remove(_ xid: UInt32) {
        if let old = pending.removeValue(forKey: xid) { totalBytes -= old.bytes }
    }
}
