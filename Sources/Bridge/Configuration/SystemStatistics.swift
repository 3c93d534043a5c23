// What Open_vSwitch.statistics says of the machine when other_config:enable-statistics asks for it.

import Glibc

/// Reads the machine's load from /proc.
final class SystemStatistics {
    /// NAME and VERSION_ID of os-release(5).
    static let identity: (type: String, version: String) = {
        var values: [Substring: String] = [:]
        for line in text("/etc/os-release").split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            values[line[..<equals]] = line[line.index(after: equals)...].filter { $0 != "\"" }
        }
        return (values["ID"] ?? "unknown", values["VERSION_ID"] ?? "unknown")
    }()

    /// The whole of a small file; "" when it cannot be read.
    static func text(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : ""
    }

    func read() -> [String: String] {
        var out = ["cpu": String(sysconf(Int32(_SC_NPROCESSORS_ONLN)))]
        let load = Self.text("/proc/loadavg").split(separator: " ").prefix(3)
        if load.count == 3 { out["load_average"] = load.joined(separator: ",") }
        var memory: [Substring: Int] = [:]
        for line in Self.text("/proc/meminfo").split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == ":" })
            if words.count >= 2, let kilobytes = Int(words[1]) { memory[words[0]] = kilobytes }
        }
        if let total = memory["MemTotal"], let free = memory["MemFree"] {
            let cached = (memory["Buffers"] ?? 0) + (memory["Cached"] ?? 0)
            let swap = memory["SwapTotal"] ?? 0
            out["memory"] = "\(total),\(total - free - cached),\(cached),\(swap),\(swap - (memory["SwapFree"] ?? 0))"
        }
        // virtual and resident kB, CPU ms, crashes, booted ms, run ms, restarts
        let page = sysconf(Int32(_SC_PAGESIZE)) / 1024
        let size = Self.text("/proc/self/statm").split(separator: " ").compactMap { Int($0) }
        if size.count > 1 {
            var usage = rusage()
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
            let cpu =
                (Int(usage.ru_utime.tv_sec) + Int(usage.ru_stime.tv_sec)) * 1000
                + (Int(usage.ru_utime.tv_usec) + Int(usage.ru_stime.tv_usec)) / 1000
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            let age = Int(now.tv_sec) * 1000 + Int(now.tv_nsec) / 1_000_000 - DaemonIdentity.started
            out["process_vswitchd"] = "\(size[0] * page),\(size[1] * page),\(cpu),0,\(age),\(age),0"
        }
        var system = statvfs()
        if statvfs("/", &system) == 0 {
            let unit = Int(system.f_frsize)
            let total = Int(system.f_blocks) * unit / 1024
            out["file_systems"] = "/,\(total),\(total - Int(system.f_bfree) * unit / 1024)"
        }
        return out
    }
}

/// Who this daemon says it is.
public enum DaemonIdentity {
    /// The Open vSwitch release whose behaviour this daemon has.
    public static let release = "3.1.0"
    public static let version = "ovs-vswitchd (Open vSwitch) \(release)"
    /// Milliseconds of the monotonic clock when the process started.
    public static let started: Int = {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int(now.tv_sec) * 1000 + Int(now.tv_nsec) / 1_000_000
    }()
}
