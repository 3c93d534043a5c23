// What a log message may be: its level, where it may go, and its syslog facility.

/// Importance of a log message, and the threshold that a destination is set to.
/// A destination prints messages whose level is at most its threshold.
public enum VlogLevel: UInt8, Sendable, CaseIterable, Comparable {
    case off, emer, err, warn, info, dbg

    public static func < (left: VlogLevel, right: VlogLevel) -> Bool { left.rawValue < right.rawValue }

    /// The name as printed in log lines and by `vlog/list`.
    public var name: String {
        switch self {
        case .off: "OFF"
        case .emer: "EMER"
        case .err: "ERR"
        case .warn: "WARN"
        case .info: "INFO"
        case .dbg: "DBG"
        }
    }

    /// Parses a name in any case.
    public init?(name: some StringProtocol) {
        let upper = name.uppercased()
        guard let level = VlogLevel.allCases.first(where: { $0.name == upper }) else { return nil }
        self = level
    }

    /// The severity of RFC 5424 section 6.2.1.
    var syslogSeverity: Int32 {
        switch self {
        case .off, .emer: 1
        case .err: 3
        case .warn: 4
        case .info: 5
        case .dbg: 7
        }
    }
}

/// Where log messages go.
public enum VlogDestination: Int, Sendable, CaseIterable {
    case syslog, console, file

    public var name: String {
        switch self {
        case .syslog: "SYSLOG"
        case .console: "CONSOLE"
        case .file: "FILE"
        }
    }

    /// Parses a name in any case.
    public init?(name: some StringProtocol) {
        let upper = name.uppercased()
        guard let destination = VlogDestination.allCases.first(where: { $0.name == upper }) else { return nil }
        self = destination
    }

    var defaultPattern: String {
        switch self {
        case .syslog: "ovs|%05N|%c%T|%p|%m"
        case .console: "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m"
        case .file: "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m"
        }
    }
}

/// Facility numbers of RFC 5424 section 6.2.1 by the names that `-vFACILITY:` takes.
enum SyslogFacility {
    static let names = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "clock", "ftp", "ntp",
        "audit", "alert", "clock2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ]

    static func number(of name: some StringProtocol) -> Int32? {
        let lower = name.lowercased()
        guard let index = names.firstIndex(of: lower) else { return nil }
        // RFC 5424 numbers ten as a second "security" facility, which has no name of its own here.
        return Int32(index < 10 ? index : index + 1)
    }
}
