// Logging: one named module per subsystem, three destinations (syslog, console, file), each
// with its own threshold per module and its own line pattern, as `ovs-appctl vlog/*` sets them.
//
// A disabled message costs one relaxed atomic load; its text is not built. Enabled messages are
// formatted and written by the calling thread under one lock, so lines never interleave.
import Glibc
import struct NIOConcurrencyHelpers.NIOLockedValueBox
import Synchronization

/// A source of log messages. Obtain one with ``Vlog/module(_:)`` and keep it. Usable from any thread.
public final class VlogModule: Sendable {
    public let name: String
    /// One byte per destination (raw value = byte index), then the highest of them in byte 3.
    private let thresholds: Atomic<UInt32>
    let honoursRateLimits = Atomic<Bool>(true)

    init(name: String, levels: [VlogLevel]) {
        self.name = name
        thresholds = Atomic(VlogModule.pack(levels))
    }

    private static func pack(_ levels: [VlogLevel]) -> UInt32 {
        var packed: UInt32 = 0
        for (index, level) in levels.prefix(3).enumerated() { packed |= UInt32(level.rawValue) << UInt32(index * 8) }
        return packed | UInt32((levels.max() ?? .off).rawValue) << 24
    }

    /// The threshold of `destination`.
    public func level(_ destination: VlogDestination) -> VlogLevel {
        let byte = thresholds.load(ordering: .relaxed) >> UInt32(destination.rawValue * 8) & 0xff
        return VlogLevel(rawValue: UInt8(byte)) ?? .off
    }

    /// Called with the registry locked, so that read-modify-write is safe.
    func set(_ level: VlogLevel, _ destinations: [VlogDestination]) {
        var levels = VlogDestination.allCases.map { self.level($0) }
        for destination in destinations { levels[destination.rawValue] = level }
        thresholds.store(VlogModule.pack(levels), ordering: .relaxed)
    }

    /// Whether a message of `level` would be printed anywhere.
    @inline(__always)
    public func isEnabled(_ level: VlogLevel) -> Bool {
        UInt32(level.rawValue) <= thresholds.load(ordering: .relaxed) >> 24
    }

    public func emer(_ message: @autoclosure () -> String) { log(.emer, message()) }
    public func err(_ message: @autoclosure () -> String) { log(.err, message()) }
    public func warn(_ message: @autoclosure () -> String) { log(.warn, message()) }
    public func info(_ message: @autoclosure () -> String) { log(.info, message()) }
    public func dbg(_ message: @autoclosure () -> String) { log(.dbg, message()) }

    public func log(_ level: VlogLevel, _ message: @autoclosure () -> String) {
        guard level != .off, isEnabled(level) else { return }
        Vlog.emit(self, level, message())
    }

    /// Logs unless `limit` says that too much was logged lately.
    public func log(_ level: VlogLevel, _ limit: VlogRateLimit, _ message: @autoclosure () -> String) {
        guard level != .off, isEnabled(level) else { return }
        if honoursRateLimits.load(ordering: .relaxed) {
            guard let dropped = limit.admit() else { return }
            if dropped.count > 0 {
                Vlog.emit(
                    self, level,
                    "Dropped \(dropped.count) log messages in last \(dropped.since) seconds "
                        + "(most recently, \(dropped.latest) seconds ago) due to excessive rate")
            }
        }
        Vlog.emit(self, level, message())
    }
}

/// A token bucket for messages that hostile or unlucky input could repeat. Usable from any thread.
public final class VlogRateLimit: Sendable {
    private struct State {
        var tokens: Double
        var filled: Int
        var dropped = 0
        var firstDrop = 0
        var lastDrop = 0
    }

    private let perMinute: Double
    private let burst: Double
    private let state: NIOLockedValueBox<State>

    /// - Parameters: sustained messages a minute, and how many may come at once.
    public init(perMinute: Int, burst: Int) {
        self.perMinute = Double(perMinute)
        self.burst = Double(burst)
        state = NIOLockedValueBox(State(tokens: Double(burst), filled: Vlog.monotonicSeconds()))
    }

    /// nil: drop this message. Otherwise how many were dropped before it, and when, in seconds ago.
    func admit() -> (count: Int, since: Int, latest: Int)? {
        let now = Vlog.monotonicSeconds()
        return state.withLockedValue { state in
            state.tokens = min(burst, state.tokens + Double(now - state.filled) * perMinute / 60)
            state.filled = now
            guard state.tokens >= 1 else {
                if state.dropped == 0 { state.firstDrop = now }
                state.dropped += 1
                state.lastDrop = now
                return nil
            }
            state.tokens -= 1
            defer { state.dropped = 0 }
            return (state.dropped, now - state.firstDrop, now - state.lastDrop)
        }
    }
}

/// The registry of modules and the destinations they share. All members may be used from any thread.
public enum Vlog {
    struct Registry {
        var modules: [String: VlogModule] = [:]
        var defaults: [VlogLevel] = [.info, .info, .info]
    }

    struct Output {
        var patterns = VlogDestination.allCases.map { VlogPattern($0.defaultPattern) }
        var program = Vlog.defaultProgramName()
        /// nil: the default, which is "daemon" for the local syslog.
        var facility: Int32?
        var path: String?
        var descriptor: Int32 = -1
        var serial: UInt64 = 0
    }

    /// Lock order: `registry` before `output`.
    static let registry = NIOLockedValueBox(initialRegistry())
    static let output = NIOLockedValueBox(Output())
    private static let started = monotonicMilliseconds()

    /// The module of that name, made on first use with the levels last set for every module.
    public static func module(_ name: String) -> VlogModule {
        registry.withLockedValue { registry in
            if let known = registry.modules[name] { return known }
            let module = VlogModule(name: name, levels: registry.defaults)
            registry.modules[name] = module
            return module
        }
    }

    private static func initialRegistry() -> Registry {
        var registry = Registry()
        for name in wellKnownModules { registry.modules[name] = VlogModule(name: name, levels: registry.defaults) }
        return registry
    }

    /// Sets what `%A` prints; by default the last component of the program's path.
    public static func setProgramName(_ name: String) { output.withLockedValue { $0.program = name } }

    static func emit(_ module: VlogModule, _ level: VlogLevel, _ message: String) {
        let started = started
        let record = VlogRecord(
            module: module.name, level: level, message: message, serial: 0, seconds: 0,
            milliseconds: 0, elapsed: monotonicMilliseconds() - started, program: "", facility: 3)
        output.withLockedValue { output in write(record, module, &output) }
    }

    private static func write(_ template: VlogRecord, _ module: VlogModule, _ output: inout Output) {
        var record = template
        output.serial += 1
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        record.serial = output.serial
        record.seconds = Int(now.tv_sec)
        record.milliseconds = Int(now.tv_nsec) / 1_000_000
        record.program = output.program
        record.facility = output.facility ?? 3
        if record.level <= module.level(.console) {
            writeLine(output.patterns[VlogDestination.console.rawValue].expand(record), to: 2)
        }
        if record.level <= module.level(.file), output.descriptor >= 0 {
            writeLine(output.patterns[VlogDestination.file.rawValue].expand(record), to: output.descriptor)
        }
        if record.level <= module.level(.syslog) {
            let text = output.patterns[VlogDestination.syslog.rawValue].expand(record)
            for line in text.utf8.contains(0x0a) ? text.split(separator: "\n").map(String.init) : [text] {
                line.withCString { pointer in
                    withVaList([pointer]) { vsyslog(record.facility << 3 | record.level.syslogSeverity, "%s", $0) }
                }
            }
        }
    }

    private static func writeLine(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)
        bytes.append(0x0a)
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { offset += count } else if count == 0 || errno != EINTR { return }
        }
    }

    static func monotonicMilliseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    static func monotonicSeconds() -> Int { Int(monotonicMilliseconds() / 1000) }

    private static func defaultProgramName() -> String {
        let path = CommandLine.arguments.first ?? "vswitchd"
        return path.split(separator: "/").last.map(String.init) ?? path
    }
}
