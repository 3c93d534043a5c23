// Life as a process: background, monitor, pid file, user.

import Bridge
import CLinux
import Glibc
import Vlog

/// Puts the process into the background and looks after its pid file. Used before there are threads, except for
/// `ready` and `finish`.
final class Background {
    private static let log = Vlog.module("daemon_unix")
    private let options: Options
    private let pidFile: String?
    private var ownsPidFile = false
    /// Where the starting process waits for a byte that says that all is well.
    private var notify: Int32 = -1

    init(_ options: Options, _ directories: Directories) {
        self.options = options
        pidFile = Options.value(options.pidfile).map {
            $0.isEmpty ? "\(directories.run)/ovs-vswitchd.pid" : Directories.absolute($0, in: directories.run)
        }
    }

    /// Returns in the process that is to be the daemon.
    func start() {
        checkPidFile()
        if options.detach || options.monitor {
            // The runtime's crash reporter needs a terminal and can hang: in the background a crash is to end the process
            // at once, so that whoever watches it restarts it.
            for number in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGTRAP] { signal(number, SIG_DFL) }
        }
        if options.detach {
            if forkAndWait() { exit(0) }
            setsid()
        }
        if options.monitor { monitor() }
        writePidFile()
        if !options.noChdir { _ = chdir("/") }
        if options.mlockall, mlockall(MCL_CURRENT | MCL_FUTURE) != 0 {
            Self.log.err("mlockall failed: \(String(cString: strerror(errno)))")
        }
    }

    /// The daemon is up: lets the starting process return, and leaves the terminal.
    func ready() {
        if notify >= 0 {
            var byte: UInt8 = 0
            _ = write(notify, &byte, 1)
            close(notify)
            notify = -1
        }
        if options.detach {
            let null = open("/dev/null", O_RDWR)
            if null >= 0 {
                for descriptor in Int32(0)...2 { dup2(null, descriptor) }
                if null > 2 { close(null) }
            }
        }
        if let user = options.user { become(user) }
        notifySystemManager()
    }

    /// Removes the pid file.
    func finish() {
        if ownsPidFile, let pidFile { unlink(pidFile) }
        ownsPidFile = false
    }

    // MARK: Forking

    /// Forks. In the parent, waits until the child is ready and returns true; dies when the child does.
    private func forkAndWait() -> Bool {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { die("could not create pipe (\(String(cString: strerror(errno))))") }
        let child = clinux_fork()
        if child < 0 { die("fork failed (\(String(cString: strerror(errno))))") }
        if child == 0 {
            close(ends[0])
            if notify >= 0 { close(notify) }
            notify = ends[1]
            _ = fcntl(notify, F_SETFD, FD_CLOEXEC)
            return false
        }
        close(ends[1])
        var byte: UInt8 = 0
        var count = read(ends[0], &byte, 1)
        while count < 0, errno == EINTR { count = read(ends[0], &byte, 1) }
        close(ends[0])
        if count != 1 {
            var status: Int32 = 0
            waitpid(child, &status, 0)
            die("fork child died before signaling startup (\(Self.describe(status)))")
        }
        monitored = child
        return true
    }

    private var monitored: pid_t = 0

    /// Stays in the monitoring process, and returns in each daemon that it starts.
    private func monitor() {
        // Where the process that started all this waits; -1 once it was told.
        var outer = notify
        notify = -1
        while true {
            let began = time(nil)
            if !forkAndWait() {
                if outer >= 0 { close(outer) }
                return
            }
            if outer >= 0 {
                var byte: UInt8 = 0
                _ = write(outer, &byte, 1)
                close(outer)
                outer = -1
            }
            // What ends the monitor ends the daemon: the signal goes on to it, and its end is ours.
            Forwarding.child = monitored
            for number in [SIGTERM, SIGINT, SIGHUP] { signal(number) { kill(Forwarding.child, $0) } }
            var status: Int32 = 0
            while waitpid(monitored, &status, 0) < 0 { guard errno == EINTR else { exit(1) } }
            let signalNumber = status & 0x7f
            let crashes: Set<Int32> = [SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGTRAP, SIGXCPU, SIGXFSZ]
            guard signalNumber != 0, crashes.contains(signalNumber) else {
                Self.log.info("pid \(monitored) died, \(Self.describe(status)), exiting")
                exit(0)
            }
            Self.log.err("\(monitored) died, \(Self.describe(status)), restarting")
            if time(nil) - began < 10 { sleep(UInt32(max(1, 10 - (time(nil) - began)))) }
            for number in [SIGTERM, SIGINT, SIGHUP] { signal(number, SIG_DFL) }
        }
    }

    /// The process that the monitor's signals go to.
    private enum Forwarding {
        /// Written before the handlers are installed, in a process with one thread; read by them.
        nonisolated(unsafe) static var child: pid_t = 0
    }

    private static func describe(_ status: Int32) -> String {
        let signalNumber = status & 0x7f
        if signalNumber == 0 { return "exit status \(status >> 8 & 0xff)" }
        return "killed (\(String(cString: strsignal(signalNumber))))"
    }

    // MARK: Pid file

    /// Dies when another process holds the pid file.
    private func checkPidFile() {
        guard let pidFile, !options.overwritePidfile else { return }
        let descriptor = open(pidFile, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var lock = Glibc.flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        guard fcntl(descriptor, F_GETLK, &lock) == 0, lock.l_type != Int16(F_UNLCK) else { return }
        die("\(pidFile): already running as pid \(lock.l_pid), aborting")
    }

    /// Writes and locks a new file, and moves it to its place.
    private func writePidFile() {
        guard let pidFile else { return }
        let temporary = "\(pidFile).tmp\(getpid())"
        func fail(_ what: String) -> Never { die("\(pidFile): \(what) failed (\(String(cString: strerror(errno))))") }
        // The descriptor stays open, and with it the lock, as long as the process lives.
        let descriptor = open(temporary, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { fail("create") }
        let text = Array("\(getpid())\n".utf8)
        guard write(descriptor, text, text.count) == text.count else { fail("write") }
        var lock = Glibc.flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        guard fcntl(descriptor, F_SETLK, &lock) == 0 else { fail("fcntl(F_SETLK)") }
        guard rename(temporary, pidFile) == 0 else { fail("rename") }
        ownsPidFile = true
    }

    // MARK: The system

    private func become(_ user: String) {
        let parts = user.split(separator: ":", maxSplits: 1).map(String.init)
        guard let name = parts.first, let entry = getpwnam(name) else { die("\(user): no such user, aborting") }
        var group = entry.pointee.pw_gid
        if parts.count == 2 {
            guard let found = getgrnam(parts[1]) else { die("\(user): no such group, aborting") }
            group = found.pointee.gr_gid
        }
        guard initgroups(name, group) == 0, setgid(group) == 0, setuid(entry.pointee.pw_uid) == 0 else {
            die("could not become \(user) (\(String(cString: strerror(errno))))")
        }
    }

    /// Says READY=1 to systemd when it asked for that (sd_notify(3)).
    private func notifySystemManager() {
        guard let variable = getenv("NOTIFY_SOCKET") else { return }
        var path = Array(String(cString: variable).utf8)
        guard !path.isEmpty, path.count < 108 else { return }
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let message = Array("READY=1".utf8)
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(descriptor, message, message.count, 0, $0, length) }
        }
    }
}
