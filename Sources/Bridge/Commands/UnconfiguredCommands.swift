// Commands of protocols that are not configured on any port: they answer as the real daemon does then.

import Unixctl

extension ControlCommands {
    func registerUnconfigured() {
        func object(_ name: String, _ usage: String, _ error: String, _ header: String = "") {
            server.register(name, usage, 0, 1) { args in args.isEmpty ? .ok(header) : .error(error) }
        }
        object("stp/show", "[bridge]", "no such stp object")
        object("stp/tcn", "[bridge]", "no such stp object", "OK")
        object("rstp/show", "[bridge]", "no such rstp object")
        object("rstp/tcn", "[bridge]", "no such rstp object", "OK")
        for name in ["autoattach/show-isid", "autoattach/statistics", "autoattach/status"] {
            server.register(name, "[bridge]", 0, 1) { _ in .ok("") }
        }
    }
}
