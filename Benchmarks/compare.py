#!/usr/bin/env python3
"""Measures this switch against Debian's ovs-vswitchd: flow table rates and memory, and the rate of upcalls."""
import argparse
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import unixctl


class Daemon:
    """One switch with a database of its own in a directory of its own."""

    OPTIONS = ["--enable-dummy", "--disable-system", "--disable-system-route"]

    def __init__(self, name, command):
        self.name = name
        self.command = command
        # In memory, as /run is: a disk's file system takes longer for a socket the more were deleted just before.
        self.directory = tempfile.mkdtemp(prefix=f"bench-{name}-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        d = self.directory
        self.environment = dict(os.environ, OVS_RUNDIR=d, OVS_LOGDIR=d, OVS_DBDIR=d, OVS_SYSCONFDIR=d)
        self.processes = []
        self.run("ovsdb-tool", "create", f"{d}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", f"{d}/conf.db", f"--remote=punix:{d}/db.sock", f"--unixctl={d}/db.ctl", "--no-chdir",
                   "-vconsole:off")
        self.wait_for(f"{d}/db.sock")
        self.ctl = f"{d}/switch.ctl"
        self.start_daemon()
        self.vsctl("--no-wait", "init")
        self.add_bridge()

    def start_daemon(self):
        d = self.directory
        self.daemon = self.start(self.command, f"unix:{d}/db.sock", *self.OPTIONS, "--no-chdir", f"--unixctl={self.ctl}",
                                 "-vconsole:off", f"--pidfile={d}/switch.pid")
        self.wait_for(self.ctl)

    def add_bridge(self):
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
                   *[w for i in (1, 2) for w in ("--", "add-port", "br0", f"p{i}", "--", "set", "interface", f"p{i}",
                                                 "type=dummy", f"ofport_request={i}")])

    def start(self, *command):
        log = open(f"{self.directory}/{os.path.basename(command[0])}.out", "w")
        process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def wait_for(self, path):
        for _ in range(1000):
            if os.path.exists(path):
                return
            time.sleep(0.01)
        raise SystemExit(f"{self.name}: {path} did not appear; see {self.directory}")

    def run(self, *command, timeout=600):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)
        if result.returncode:
            raise SystemExit(f"{self.name}: {' '.join(command)[:200]}: {result.stderr.strip()[:500]}")
        return result.stdout

    def vsctl(self, *words):
        return self.run("ovs-vsctl", "--timeout=20", f"--db=unix:{self.directory}/db.sock", *words)

    def ofctl(self, command, *words):
        return self.run("ovs-ofctl", "-O", "OpenFlow13", command, f"unix:{self.directory}/br0.mgmt", *words)

    def appctl(self, *words):
        try:
            return unixctl.ask(self.ctl, *words)
        except unixctl.Refused as error:
            raise SystemExit(f"{self.name}: {error}") from None

    def looked_up(self):
        """Packets that the datapath has looked up, found or not."""
        hit, missed = re.search(r"hit:(\d+) missed:(\d+)", self.appctl("dpif/show")).groups()
        return int(hit) + int(missed)

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.daemon.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024

    def cpu(self):
        """Seconds of processor time used so far."""
        with open(f"/proc/{self.daemon.pid}/stat") as f:
            words = f.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def address(i):
    return f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"


def write_flows(path, count):
    """Exact IPv4 destinations, under few priorities, as a router's or a load balancer's table."""
    with open(path, "w") as f:
        for i in range(count):
            f.write(f"table={i % 4},priority={100 + i % 8},ip,nw_dst={address(i)},actions=output:{1 + i % 2}\n")


def measure(daemon, arguments, flows):
    """One round on a fresh daemon; figures by name."""
    result = {}
    time.sleep(0.5)
    before = daemon.rss()
    start, used = time.monotonic(), daemon.cpu()
    daemon.ofctl("add-flows", flows)
    result["add"] = time.monotonic() - start
    result["add_cpu"] = daemon.cpu() - used
    time.sleep(1)
    result["bytes"] = (daemon.rss() - before) / arguments.flows
    start, used = time.monotonic(), daemon.cpu()
    lines = daemon.ofctl("dump-flows").count("n_packets")
    result["dump"] = time.monotonic() - start
    result["dump_cpu"] = daemon.cpu() - used
    if lines != arguments.flows:
        raise SystemExit(f"{daemon.name}: {lines} flows in the dump, not {arguments.flows}")
    start = time.monotonic()
    daemon.ofctl("del-flows")
    result["delete"] = time.monotonic() - start

    # Upcalls: three tables, an exact match on source and destination, so every packet below is its own megaflow.
    for flow in ("table=0,actions=load:0x1->NXM_NX_REG0[],resubmit(,1)",
                 "table=1,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_NX_REG2[],"
                 "resubmit(,2)", "table=2,actions=output:2"):
        daemon.ofctl("add-flow", flow)
    daemon.appctl("upcall/set-flow-limit", str(arguments.packets * 2))
    packets = [
        "505400000002" "505400000001" "0800" "4500001c00004000401100000a%06x0a%06x" % (i, i) + "0001000200080000"
        for i in range(arguments.packets)
    ]
    batch = 90  # the real daemon's dummy ports queue 100
    seen = daemon.looked_up()
    start, used = time.monotonic(), daemon.cpu()
    for i in range(0, len(packets), batch):
        part = packets[i:i + batch]
        daemon.appctl("netdev-dummy/receive", "p1", *part)
        seen += len(part)
        while daemon.looked_up() < seen:
            if time.monotonic() - start > 300:
                raise SystemExit(f"{daemon.name}: {daemon.looked_up()} packets looked up, not {seen}")
    result["upcalls"] = len(packets) / (time.monotonic() - start)
    result["upcall_cpu"] = (daemon.cpu() - used) / len(packets) * 1e6
    return result


ROWS = [
    ("add", "add-flows of {flows} flows, s", 1, "{:.2f}"),
    ("add_cpu", "— processor time of the daemon, s", 1, "{:.2f}"),
    ("dump", "dump-flows of {flows} flows, s", 1, "{:.2f}"),
    ("dump_cpu", "— processor time of the daemon, s", 1, "{:.2f}"),
    ("delete", "del-flows of {flows} flows, s", 1, "{:.2f}"),
    ("bytes", "resident memory per flow, bytes", 1, "{:.0f}"),
    ("upcalls", "upcalls per second (more is better)", -1, "{:.0f}"),
    ("upcall_cpu", "— processor time per upcall, µs", 1, "{:.1f}"),
]


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--flows", type=int, default=100000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packets", type=int, default=20000)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    commands = {"ours": os.path.abspath(arguments.vswitchd), "real": shutil.which("ovs-vswitchd") or "/usr/sbin/ovs-vswitchd"}
    results = {name: [] for name in commands}
    with tempfile.NamedTemporaryFile(suffix=".flows") as flows:
        write_flows(flows.name, arguments.flows)
        for number in range(arguments.rounds):
            for name, command in commands.items():
                daemon = Daemon(name, command)
                try:
                    results[name].append(measure(daemon, arguments, flows.name))
                finally:
                    daemon.stop()
                print(f"round {number + 1} {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in results[name][-1].items()),
                      flush=True)
    lines = ["| measure | this switch | ovs-vswitchd | ratio |", "|---|---:|---:|---:|"]
    for key, title, _, form in ROWS:
        ours, real = (statistics.median(r[key] for r in results[name]) for name in ("ours", "real"))
        ratio = f"{ours / real:.2f}" if real else "–"
        lines.append(f"| {title.format(flows=arguments.flows)} | {form.format(ours)} | {form.format(real)} | {ratio} |")
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        version = subprocess.run([commands["real"], "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        with open(arguments.output, "w") as f:
            f.write(f"""# Flows, memory and upcalls

Whole-process comparison with the real daemon, {version.strip()}: both in one run, turn and turn about, each on a fresh
daemon with its own ovsdb-server, dummy datapath. Medians of {arguments.rounds} rounds. Written by
`make bench` (`Benchmarks/run.sh`) on {datetime.date.today()}; {machine()}.

{table}

The ratio is this switch over the real daemon: below 1 is better, except for upcalls per second, where above 1 is.

- Flows: exact IPv4 destinations in four tables and eight priorities, sent by `ovs-ofctl -O OpenFlow13 add-flows` and read back by
  `dump-flows`; the times include ovs-ofctl's own, the processor times do not.
- Memory: growth of VmRSS over those flows, divided by their number.
- Upcalls: {arguments.packets} packets, each of a flow of its own, through three tables into one output, handed to
  `netdev-dummy/receive` 90 at a time, waiting with `dpif/show` until they are looked up. The time includes those commands
  and reading the packets from text.
""")


if __name__ == "__main__":
    main()
