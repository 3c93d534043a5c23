// Commands of protocols that are not configured on any port: they answer as the real daemon does then.

import Unixctl

extension ControlCommands {
    func registerUnconfigured() {
        for name in ["autoattach/show-isid", "autoattach/statistics", "autoattach/status"] {
            server.register(name, "[bridge]", 0, 1) { _ in .ok("") }
        }
    }
}
