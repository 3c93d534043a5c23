// The daemon's entry: command line, background, then the main loop.

import ArgumentParser
import Bridge
import CLinux
import Glibc
import Vlog

/// Ends the process with a message, as the real daemon words it.
func die(_ message: String) -> Never {
    let text = Array("ovs-vswitchd: \(message)\n".utf8)
    _ = write(STDERR_FILENO, text, text.count)
    exit(1)
}

_ = DaemonIdentity.started
Vlog.setProgramName("ovs-vswitchd")
signal(SIGPIPE, SIG_IGN)
// Whoever started this may have blocked signals.
var noSignals = sigset_t()
sigemptyset(&noSignals)
sigprocmask(SIG_SETMASK, &noSignals, nil)

// What flows and messages took for a moment is wanted again soon: heap that is given back and taken anew costs a page fault for each 4 KiB.
mallopt(M_TRIM_THRESHOLD, 32 << 20)
mallopt(M_TOP_PAD, 1 << 20)
// Setting these ends malloc's learning of what is large; without it, each long text would be mapped anew.
mallopt(M_MMAP_THRESHOLD, 4 << 20)

let arguments = Array(CommandLine.arguments.dropFirst())
// An old way to configure DPDK, whose arguments are not ours to understand.
if arguments.contains("--dpdk") { die("Using --dpdk to configure DPDK is not supported.") }

if arguments.first == "features" { FeaturesCommand.execute(Array(arguments.dropFirst())) }

let options: Options
do {
    options = try Options.parse(Options.normalise(arguments))
} catch {
    let code = Options.exitCode(for: error)
    if code == .success {
        print(Options.fullMessage(for: error))
        exit(0)
    }
    die("\(Options.message(for: error)); use --help for usage")
}
if options.version {
    print(DaemonIdentity.version)
    exit(0)
}

let directories = Directories()
if options.database == nil { directories.create() }
for spec in options.verbose.compactMap(Options.value) {
    if let error = Vlog.set(spec.isEmpty ? "any:any:dbg" : spec) { die("processing \"\(spec)\": \(error)") }
}
if let file = Options.value(options.logFile) {
    let path = file.isEmpty ? "\(directories.log)/ovs-vswitchd.log" : Directories.absolute(file, in: directories.log)
    // A failure has been logged; the daemon goes on without.
    try? Vlog.setLogFile(path)
}

let background = Background(options, directories)
background.start()
Daemon(options, directories, background).run()
