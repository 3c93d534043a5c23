// The run-time controls: specs as in `-vSPEC` and `vlog/set`, listings, and the log file.
import Glibc

/// Why a log file could not be opened.
public struct VlogFileError: Error, Sendable, CustomStringConvertible {
    public let path: String
    public let errno: Int32
    public var description: String { "failed to open \(path) for logging: \(String(cString: strerror(errno)))" }
}

extension Vlog {
    private static let log = module("vlog")

    /// Applies one spec: `[MODULE][:DESTINATION][:LEVEL]` in any order, `PATTERN:DESTINATION:PATTERN`
    /// or `FACILITY:NAME`. Returns the error text, or nil when it was applied.
    public static func set(_ spec: String) -> String? {
        let separators: Set<Character> = [" ", ",", ":", "\t"]
        let words = spec.split(whereSeparator: { separators.contains($0) })
        switch words.first?.uppercased() {
        case "PATTERN": return setPattern(spec)
        case "FACILITY":
            guard words.count > 1, let facility = SyslogFacility.number(of: words[1]) else { return "invalid facility" }
            output.withLockedValue { $0.facility = facility }
            return nil
        default: break
        }
        var moduleName: String?
        var destination: VlogDestination?
        var level: VlogLevel?
        for word in words where word.uppercased() != "ANY" {
            if let parsed = VlogDestination(name: word) {
                guard destination == nil else { return "cannot specify multiple destinations" }
                destination = parsed
            } else if let parsed = VlogLevel(name: word) {
                guard level == nil else { return "cannot specify multiple levels" }
                level = parsed
            } else if let known = registeredName(String(word)) {
                guard moduleName == nil else { return "cannot specify multiple modules" }
                moduleName = known
            } else {
                return "no destination, level, or module \"\(word)\""
            }
        }
        setLevel(level ?? .dbg, module: moduleName, destination: destination)
        return nil
    }

    /// Sets a threshold; nil means every module, and every destination.
    public static func setLevel(_ level: VlogLevel, module name: String? = nil, destination: VlogDestination? = nil) {
        let destinations = destination.map { [$0] } ?? VlogDestination.allCases
        registry.withLockedValue { registry in
            if let name {
                registry.modules[name]?.set(level, destinations)
            } else {
                for destination in destinations { registry.defaults[destination.rawValue] = level }
                for module in registry.modules.values { module.set(level, destinations) }
            }
        }
    }

    private static func registeredName(_ word: String) -> String? {
        let lower = word.lowercased()
        return registry.withLockedValue { $0.modules[lower]?.name }
    }

    /// The pattern is everything after the destination's separator, separators included.
    private static func setPattern(_ spec: String) -> String? {
        let separators: Set<Character> = [" ", ",", ":", "\t"]
        var rest = Substring(spec).drop(while: { separators.contains($0) }).drop(while: { !separators.contains($0) })
        rest = rest.drop(while: { separators.contains($0) })
        let word = rest.prefix(while: { !separators.contains($0) })
        guard !word.isEmpty else { return "missing destination" }
        let pattern = String(rest.dropFirst(word.count).dropFirst())
        if word.uppercased() == "ANY" {
            output.withLockedValue { for index in $0.patterns.indices { $0.patterns[index] = VlogPattern(pattern) } }
        } else if let destination = VlogDestination(name: word) {
            output.withLockedValue { $0.patterns[destination.rawValue] = VlogPattern(pattern) }
        } else {
            return "unknown destination \"\(word)\""
        }
        return nil
    }

    /// What `vlog/list` prints: every module with its three thresholds.
    public static func list() -> String {
        var text = "                 console    syslog    file\n                 -------    ------    ------\n"
        let modules = registry.withLockedValue { registry in registry.modules.values.sorted { $0.name < $1.name } }
        for module in modules {
            let name =
                module.name.utf8.count >= 16
                ? module.name
                : module.name + String(repeating: " ", count: 16 - module.name.utf8.count)
            func column(_ destination: VlogDestination) -> String {
                let level = module.level(destination).name
                return String(repeating: " ", count: 4 - level.utf8.count) + level
            }
            text += "\(name)  \(column(.console))       \(column(.syslog))       \(column(.file))\n"
        }
        return text
    }

    /// What `vlog/list-pattern` prints.
    public static func listPatterns() -> String {
        var text = "         prefix                            format\n         ------                            ------\n"
        let patterns = output.withLockedValue { $0.patterns.map(\.text) }
        for destination in VlogDestination.allCases {
            let prefix = destination == .syslog ? "<%B> %D{%h %e %T} %E %A: " : "none"
            let padding = String(repeating: " ", count: 34 - prefix.utf8.count)
            let name = destination.name + String(repeating: " ", count: 9 - destination.name.utf8.count)
            text += name + prefix + padding + patterns[destination.rawValue] + "\n"
        }
        return text
    }

    /// Opens (creates or appends to) the log file at `path`, replacing the one in use.
    public static func setLogFile(_ path: String) throws(VlogFileError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o660)
        guard descriptor >= 0 else {
            let error = VlogFileError(path: path, errno: errno)
            log.warn(error.description)
            throw error
        }
        let previous = output.withLockedValue { output in
            defer { (output.path, output.descriptor) = (path, descriptor) }
            return output.descriptor
        }
        if previous >= 0 { Glibc.close(previous) }
        log.info("opened log file \(path)")
    }

    /// Closes and reopens the log file, after it was rotated. Does nothing when none is configured.
    public static func reopenLogFile() throws(VlogFileError) {
        guard let path = output.withLockedValue({ $0.path }) else { return }
        log.info("closing log file")
        closeLogFile()
        try setLogFile(path)
    }

    /// Closes the log file; ``reopenLogFile()`` opens it again.
    public static func closeLogFile() {
        let descriptor = output.withLockedValue { output in
            defer { output.descriptor = -1 }
            return output.descriptor
        }
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Whether the rate limits of `module` (nil: every module) apply. False when there is no such module.
    @discardableResult
    public static func setRateLimits(_ honoured: Bool, module name: String?) -> Bool {
        registry.withLockedValue { registry in
            guard let name else {
                for module in registry.modules.values { module.honoursRateLimits.store(honoured, ordering: .relaxed) }
                return true
            }
            guard let module = registry.modules[name] else { return false }
            module.honoursRateLimits.store(honoured, ordering: .relaxed)
            return true
        }
    }
}
