// Expands log patterns: the `%` specifiers of ovs-appctl(8), "vlog/set PATTERN".
import Glibc

/// Everything that a pattern can print about one message.
struct VlogRecord {
    var module: String
    var level: VlogLevel
    var message: String
    /// Serial number in this run of the program, from 1.
    var serial: UInt64
    /// Wall-clock time: seconds since the epoch, and milliseconds of that second.
    var seconds: Int
    var milliseconds: Int
    /// Milliseconds since the program started.
    var elapsed: Int64
    var program: String
    var facility: Int32
}

enum VlogPattern {
    /// Expands `pattern` for `record`. An unknown specifier prints its own letter.
    static func expand(_ pattern: String, _ record: VlogRecord) -> String {
        var output = ""
        var rest = Substring(pattern)
        while let character = rest.popFirst() {
            guard character == "%" else {
                output.append(character)
                continue
            }
            var leftAligned = false
            var zeroPadded = false
            var width = 0
            while let flag = rest.first, flag == "-" || flag == "0" {
                if flag == "-" { leftAligned = true } else { zeroPadded = true }
                rest.removeFirst()
            }
            while let digit = rest.first?.wholeNumberValue, rest.first?.isASCII == true {
                width = min(width * 10 + digit, 1000)
                rest.removeFirst()
            }
            guard let specifier = rest.popFirst() else { break }
            let field = text(of: specifier, &rest, record)
            let padding = width - field.utf8.count
            if padding <= 0 {
                output += field
            } else if leftAligned {
                output += field + String(repeating: " ", count: padding)
            } else {
                output += String(repeating: zeroPadded ? "0" : " ", count: padding) + field
            }
        }
        return output
    }

    private static func text(of specifier: Character, _ rest: inout Substring, _ record: VlogRecord) -> String {
        switch specifier {
        case "A": return record.program
        case "B": return String(record.facility * 8 + record.level.syslogSeverity)
        case "c": return record.module
        case "d": return time(argument(&rest), local: true, record)
        case "D": return time(argument(&rest), local: false, record)
        case "E": return hostName()
        case "m": return record.message
        case "N": return String(record.serial)
        case "n": return "\n"
        case "p": return record.level.name
        case "P": return String(getpid())
        case "r": return String(record.elapsed)
        case "t": return subprogramName() ?? "main"
        case "T": return subprogramName().map { "(\($0))" } ?? ""
        default: return String(specifier)
        }
    }

    /// The `{...}` that may follow `%d` and `%D`.
    private static func argument(_ rest: inout Substring) -> String? {
        guard rest.first == "{" else { return nil }
        rest.removeFirst()
        guard let end = rest.firstIndex(of: "}") else {
            defer { rest = "" }
            return String(rest)
        }
        defer { rest = rest[rest.index(after: end)...] }
        return String(rest[..<end])
    }

    private static func time(_ format: String?, local: Bool, _ record: VlogRecord) -> String {
        var moment = time_t(record.seconds)
        var parts = tm()
        if local { localtime_r(&moment, &parts) } else { gmtime_r(&moment, &parts) }
        let template = format ?? "%Y-%m-%d %H:%M:%S.###"
        guard !template.isEmpty else { return "" }
        var buffer = [CChar](repeating: 0, count: 512)
        let length = strftime(&buffer, buffer.count, template, &parts)
        let expanded = String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // `#` characters stand for the decimal digits of the second, most significant first.
        var fraction = record.milliseconds
        var divisor = 100
        return String(
            expanded.map { character -> Character in
                guard character == "#" else { return character }
                guard divisor > 0 else { return "0" }
                let digit = fraction / divisor
                fraction %= divisor
                divisor /= 10
                return Character(String(digit))
            })
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "-" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The calling thread's name; nil in the main thread. The kernel's /proc is asked because glibc's
    /// own calls for it are not visible without its GNU extensions.
    private static func subprogramName() -> String? {
        var link = [CChar](repeating: 0, count: 64)
        let length = readlink("/proc/thread-self", &link, link.count)
        guard length > 0 else { return nil }
        let target = String(decoding: link.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let parts = target.split(separator: "/")
        guard let process = parts.first, let thread = parts.last, process != thread else { return nil }
        let descriptor = open("/proc/thread-self/comm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var name = [UInt8](repeating: 0, count: 32)
        let count = name.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        return String(decoding: name.prefix(max(0, count)).prefix { $0 != 0x0a }, as: UTF8.self)
    }
}
