// Expands log patterns: the `%` specifiers of ovs-appctl(8), "vlog/set PATTERN".
import Glibc
import Synchronization

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

/// A pattern, taken apart once.
struct VlogPattern: Sendable {
    private enum Part {
        case text(String)
        case field(Specifier)
    }

    private struct Specifier {
        var letter: Character
        /// What stands in braces behind it.
        var argument: String?
        var leftAligned = false
        var zeroPadded = false
        var width = 0
    }

    let text: String
    private let parts: [Part]

    /// An unknown specifier prints its own letter.
    init(_ text: String) {
        self.text = text
        var parts: [Part] = []
        var plain = ""
        var rest = Substring(text)
        while let character = rest.popFirst() {
            guard character == "%" else {
                plain.append(character)
                continue
            }
            guard let specifier = Self.specifier(&rest) else { break }
            if !plain.isEmpty { parts.append(.text(plain)) }
            plain = ""
            parts.append(.field(specifier))
        }
        if !plain.isEmpty { parts.append(.text(plain)) }
        self.parts = parts
    }

    /// What follows a `%`; nil: nothing does.
    private static func specifier(_ rest: inout Substring) -> Specifier? {
        var result = Specifier(letter: "%")
        while let flag = rest.first, flag == "-" || flag == "0" {
            if flag == "-" { result.leftAligned = true } else { result.zeroPadded = true }
            rest.removeFirst()
        }
        while let digit = rest.first?.wholeNumberValue, rest.first?.isASCII == true {
            result.width = min(result.width * 10 + digit, 1000)
            rest.removeFirst()
        }
        guard let letter = rest.popFirst() else { return nil }
        result.letter = letter
        if letter == "d" || letter == "D" { result.argument = argument(&rest) }
        return result
    }

    /// What the pattern comes to for `record`.
    func expand(_ record: VlogRecord) -> String {
        var output = ""
        for part in parts {
            switch part {
            case .text(let text): output += text
            case .field(let specifier):
                let field = Self.text(of: specifier, record)
                let padding = specifier.width == 0 ? 0 : specifier.width - field.utf8.count
                if padding <= 0 {
                    output += field
                } else if specifier.leftAligned {
                    output += field + String(repeating: " ", count: padding)
                } else {
                    output += String(repeating: specifier.zeroPadded ? "0" : " ", count: padding) + field
                }
            }
        }
        return output
    }

    private static func text(of specifier: Specifier, _ record: VlogRecord) -> String {
        switch specifier.letter {
        case "A": return record.program
        case "B": return String(record.facility * 8 + record.level.syslogSeverity)
        case "c": return record.module
        case "d": return time(specifier.argument, local: true, record)
        case "D": return time(specifier.argument, local: false, record)
        case "E": return hostName()
        case "m": return record.message
        case "N": return String(record.serial)
        case "n": return "\n"
        case "p": return record.level.name
        case "P": return String(getpid())
        case "r": return String(record.elapsed)
        case "t": return subprogramName() ?? "main"
        case "T": return subprogramName().map { "(\($0))" } ?? ""
        default: return String(specifier.letter)
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
        // `#` characters stand for the decimal digits of the second, most significant first.
        var fraction = record.milliseconds
        var divisor = 100
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
            guard let start = buffer.baseAddress else { return "" }
            let length = strftime(start, buffer.count, template, &parts)
            for i in 0..<length where buffer[i] == CChar(UInt8(ascii: "#")) {
                let digit = divisor > 0 ? fraction / divisor : 0
                if divisor > 0 { fraction %= divisor }
                divisor /= 10
                buffer[i] = CChar(UInt8(ascii: "0")) + CChar(digit)
            }
            return String(decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<length]), as: UTF8.self)
        }
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "-" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The main thread, once it is known.
    private static let mainThread = Atomic<UInt>(0)

    /// The calling thread's name; nil in the main thread. The kernel's /proc is asked because glibc's
    /// own calls for it are not visible without its GNU extensions.
    private static func subprogramName() -> String? {
        guard mainThread.load(ordering: .relaxed) != pthread_self() else { return nil }
        var link = [CChar](repeating: 0, count: 64)
        let length = readlink("/proc/thread-self", &link, link.count)
        guard length > 0 else { return nil }
        let target = String(decoding: link.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let parts = target.split(separator: "/")
        guard let process = parts.first, let thread = parts.last, process != thread else {
            mainThread.store(pthread_self(), ordering: .relaxed)
            return nil
        }
        let descriptor = open("/proc/thread-self/comm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var name = [UInt8](repeating: 0, count: 32)
        let count = name.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        return String(decoding: name.prefix(max(0, count)).prefix { $0 != 0x0a }, as: UTF8.self)
    }
}
