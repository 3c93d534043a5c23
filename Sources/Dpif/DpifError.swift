// Errors of datapaths: an errno, what it was about, and its text.

import Glibc

/// A datapath operation that failed.
public struct DpifError: Error, Hashable, CustomStringConvertible {
    /// A positive errno value.
    public let errno: Int32
    /// What the error is about: the object and the wrong value.
    public let detail: String

    public init(_ errno: Int32, _ detail: String) {
        self.errno = errno
        self.detail = detail
    }

    /// The text of `errno`, as strerror gives it.
    public var reason: String { Self.reason(errno) }

    public static func reason(_ errno: Int32) -> String {
        String(cString: strerror(errno))
    }

    public var description: String { "\(detail): \(reason)" }
}
