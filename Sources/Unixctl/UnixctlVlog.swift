// The vlog/* commands.
import Glibc
import Vlog

extension UnixctlServer {
    func registerVlogCommands() {
        register("vlog/set", "{spec | PATTERN:destination:pattern}", 0, .max) { args in
            for spec in args {
                if let error = Vlog.set(spec) { return .error(error) }
            }
            return .ok("")
        }
        register("vlog/list", "", 0, 0) { _ in .ok(Vlog.list()) }
        register("vlog/list-pattern", "", 0, 0) { _ in .ok(Vlog.listPatterns()) }
        register("vlog/enable-rate-limit", "[module]...", 0, .max) { args in Self.setRateLimits(true, args) }
        register("vlog/disable-rate-limit", "[module]...", 0, .max) { args in Self.setRateLimits(false, args) }
        register("vlog/close", "", 0, 0) { _ in
            Vlog.closeLogFile()
            return .ok("")
        }
        register("vlog/reopen", "", 0, 0) { _ in
            do throws(VlogFileError) {
                try Vlog.reopenLogFile()
                return .ok("")
            } catch {
                return .error(String(cString: strerror(error.errno)))
            }
        }
    }

    private static func setRateLimits(_ honoured: Bool, _ modules: [String]) -> UnixctlReply {
        if modules.isEmpty { Vlog.setRateLimits(honoured, module: nil) }
        for name in modules {
            guard Vlog.setRateLimits(honoured, module: name.lowercased() == "any" ? nil : name) else { return .error("unknown module") }
        }
        return .ok("")
    }
}
