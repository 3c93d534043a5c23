#!/usr/bin/env python3
"""Measures the kernel's datapath under this switch and under Debian's ovs-vswitchd, turn and turn about in the same kernel: setting up
flows through upcalls, changing the kernel's flows by hand, revalidation, start-up with many ports, and a flood of routes.

To be run as root in a kernel with the openvswitch module that nobody else uses; scripts/kernel.sh provides one."""
import argparse
import datetime
import os
import re
import shutil
import socket
import statistics
import subprocess
import time

import compare
import unixctl


class KernelSwitch(compare.Daemon):
    """A switch on the kernel's datapath with two ports, of which the first has a host to send from."""

    OPTIONS = []

    def add_bridge(self):
        for i in (1, 2):
            ip("link", "add", f"p{i}", "type", "veth", "peer", "name", f"h{i}")
            for end in (f"p{i}", f"h{i}"):
                with open(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6", "w") as f:
                    f.write("1")
                ip("link", "set", end, "up")
        # What is set up stays, however long that takes.
        self.vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=3600000")
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=system", "fail_mode=secure",
                   *[w for i in (1, 2) for w in ("--", "add-port", "br0", f"p{i}", "--", "set", "interface", f"p{i}",
                                                 f"ofport_request={i}")])

    def datapath(self):
        """Packets looked up, and flows, as the kernel counts them."""
        text = self.appctl("dpctl/show")
        hit, missed, _ = map(int, re.search(r"hit:(\d+) missed:(\d+) lost:(\d+)", text).groups())
        return hit + missed, int(re.search(r"flows: (\d+)", text)[1])

    def stop(self):
        try:
            self.appctl("exit", "--cleanup")
            self.daemon.wait(30)
        except (SystemExit, subprocess.TimeoutExpired, OSError):
            pass
        super().stop()
        for i in (1, 2):
            subprocess.run(["ip", "link", "del", f"p{i}"], capture_output=True)
        subprocess.run(["ovs-dpctl", "del-dp", "ovs-system"], capture_output=True)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def set_up_flows(switch, count, result):
    """Sends packets that are each a flow of its own, and waits until all are in the kernel."""
    for flow in ("table=0,actions=load:0x1->NXM_NX_REG0[],resubmit(,1)",
                 "table=1,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_NX_REG2[],resubmit(,2)",
                 "table=2,actions=output:2"):
        switch.ofctl("add-flow", flow)
    switch.appctl("upcall/set-flow-limit", str(count * 2))
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("h1", 0))
    before, _ = switch.datapath()
    start, used = time.monotonic(), switch.cpu()
    sent = 0
    while sent < count:
        # No more at a time than queues hold.
        for i in range(sent, min(sent + 64, count)):
            sender.send(bytes.fromhex("505400000002" "505400000001" "0800" "4500001c00004000401100000a%06x0a%06x" % (i, i)
                                      + "0001000200080000"))
        sent = min(sent + 64, count)
        while switch.datapath()[1] < sent:
            if time.monotonic() - start > 600:
                raise SystemExit(f"{switch.name}: {switch.datapath()} of {sent}")
    result["setups"] = count / (time.monotonic() - start)
    result["setup_cpu"] = (switch.cpu() - used) / count * 1e6


def keep(switch, result):
    """All stays as it is, and the daemon looks after its flows."""
    time.sleep(2)
    used, start = switch.cpu(), time.monotonic()
    time.sleep(10)
    result["keep"] = (switch.cpu() - used) / (time.monotonic() - start) * 100


def revalidate(switch, count, result):
    """Lets the daemon look through all its flows because the tables changed: what that takes beyond what it takes to keep them."""
    used, start = switch.cpu(), time.monotonic()
    switch.ofctl("add-flow", "table=9,priority=1,actions=drop")
    # As long as it takes here, and once again.
    time.sleep(4 + count / 10_000)
    kept = result["keep"] / 100 * (time.monotonic() - start)
    # The real daemon lowers its limit of flows when looking through them takes long, and drops what is beyond.
    result["left"] = switch.datapath()[1]
    result["revalidate"] = (switch.cpu() - used - kept) / count * 1e6


def change_by_hand(switch, count, result):
    """Puts, dumps and deletes the kernel's flows from a file. The peer of this switch's commands is ovs-dpctl."""
    flows, keys = f"{switch.directory}/flows.txt", f"{switch.directory}/keys.txt"
    with open(flows, "w") as f, open(keys, "w") as k:
        for i in range(count):
            key = ("in_port(0),eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),"
                   f"ipv4(src={compare.address(i)},dst=10.255.0.1,frag=no)")
            f.write(f"{key} 1\n")
            k.write(f"{key}\n")

    def command(*words):
        if switch.name == "ours":
            return switch.appctl("dpctl/" + words[0], *words[1:])
        # On a datapath of its own, whose flows no daemon looks through.
        return switch.run("ovs-dpctl", words[0], "bench", *words[1:])

    if switch.name != "ours":
        switch.run("ovs-dpctl", "add-dp", "bench")
    for key, words in (("put", ("add-flows", flows)), ("dump", ("dump-flows",)), ("del", ("del-flows", keys))):
        start = time.monotonic()
        text = command(*words)
        seconds = time.monotonic() - start
        result[key] = count / seconds
        if key == "dump":
            # With those that were set up before.
            lines = text.count("ipv4(src=10.")
            if lines < count:
                raise SystemExit(f"{switch.name}: {lines} flows in the dump, not {count}")
            result[key] = lines / seconds
        if key != "dump" and text.strip():
            raise SystemExit(f"{switch.name}: {words[0]}: {text[:200]}")
    if switch.name != "ours":
        switch.run("ovs-dpctl", "del-dp", "bench")


def flood_routes(switch, count, result):
    """Routes appear in the host's table; the daemon follows them."""
    # Not all in one file: what ip takes of memory grows with its length, and user-mode-linux maps each page of it by itself.
    paths = []
    for first in range(0, count, 10_000):
        paths.append(f"{switch.directory}/routes{first}.txt")
        with open(paths[-1], "w") as f:
            for i in range(first, min(first + 10_000, count)):
                f.write(f"route add {20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.1/32 dev h2\n")
    # What flows cost is told apart from it, and a daemon that nobody asks for a route might not follow them.
    switch.appctl("dpctl/del-flows")
    switch.appctl("ovs/route/show")
    time.sleep(1)
    start, used = time.monotonic(), switch.cpu()
    for path in paths:
        ip("-batch", path)
    time.sleep(1)
    result["routes"] = (switch.cpu() - used) / (time.monotonic() - start) * 100
    result["routes_time"] = time.monotonic() - start
    ip("route", "flush", "dev", "h2")


def start_up(switch, count, result):
    """The daemon starts again with many ports."""
    for i in range(count // 2):
        ip("link", "add", f"a{i}", "type", "veth", "peer", "name", f"b{i}")
    words = [w for i in range(count // 2) for end in "ab" for w in ("--", "add-port", "br0", f"{end}{i}")]
    switch.run("ovs-vsctl", "--timeout=300", f"--db=unix:{switch.directory}/db.sock", *words[1:])
    switch.daemon.kill()
    switch.daemon.wait()
    os.unlink(switch.ctl)
    start = time.monotonic()
    switch.start_daemon()
    # Waits until the daemon has done what the database says.
    switch.run("ovs-vsctl", "--timeout=300", f"--db=unix:{switch.directory}/db.sock", "set", "bridge", "br0", "other-config:x=1")
    result["start"] = time.monotonic() - start
    for i in range(count // 2):
        ip("link", "del", f"a{i}")


ROWS = [
    ("setups", "flows set up through upcalls, per second (more is better)", "{:.0f}"),
    ("setup_cpu", "— processor time of the daemon for each, µs", "{:.0f}"),
    ("revalidate", "revalidation of {flows} flows: processor time for each, µs", "{:.2f}"),
    ("left", "— flows that are left", "{:.0f}"),
    ("keep", "share of a processor to look after them while nothing happens, percent", "{:.1f}"),
    ("put", "flows put by hand, per second (more is better)", "{:.0f}"),
    ("dump", "flows dumped, per second (more is better)", "{:.0f}"),
    ("del", "flows deleted by hand, per second (more is better)", "{:.0f}"),
    ("start", "start with {ports} ports, s", "{:.2f}"),
    ("routes", "share of a processor while {routes} routes appear, percent", "{:.1f}"),
    ("routes_time", "— seconds that they take to", "{:.1f}"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--flows", type=int, default=100000, help="set up through upcalls and revalidated")
    parser.add_argument("--puts", type=int, default=100000, help="put by hand")
    parser.add_argument("--ports", type=int, default=1000)
    parser.add_argument("--routes", type=int, default=100000)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    commands = {"ours": os.path.abspath(arguments.vswitchd), "real": shutil.which("ovs-vswitchd") or "/usr/sbin/ovs-vswitchd"}
    results = {name: [] for name in commands}
    for number in range(arguments.rounds):
        for name, command in commands.items():
            switch, result = KernelSwitch(name, command), {}
            try:
                set_up_flows(switch, arguments.flows, result)
                keep(switch, result)
                revalidate(switch, arguments.flows, result)
                change_by_hand(switch, arguments.puts, result)
                flood_routes(switch, arguments.routes, result)
                start_up(switch, arguments.ports, result)
            finally:
                switch.stop()
            results[name].append(result)
            print(f"round {number + 1} {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in result.items()), flush=True)
    lines = ["| measure | this switch | ovs-vswitchd | ratio |", "|---|---:|---:|---:|"]
    for key, title, form in ROWS:
        ours, real = (statistics.median(r[key] for r in results[name]) for name in ("ours", "real"))
        title = title.format(flows=arguments.flows, ports=arguments.ports, routes=arguments.routes)
        lines.append(f"| {title} | {form.format(ours)} | {form.format(real)} | {f'{ours / real:.2f}' if real else '–'} |")
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(f"""# The kernel's datapath

This switch and Debian's ovs-vswitchd with the same module, turn and turn about in Debian's user-mode-linux on one processor, where all takes several
times as long as on a machine of its own. Medians of {arguments.rounds} rounds. Written by `PARTS=kernel make bench` (`Benchmarks/kernel.py`) on
{datetime.date.today()}; {compare.machine()}.

{table}

- Flows set up: packets from a veth pair, each a flow of its own through three tables, 64 at a time until `dpctl/show` counts their flows.
- Revalidation: over those flows, because the OpenFlow tables changed; beyond the time that it takes to look after them.
- By hand: {arguments.puts} flows from a file, put, dumped and deleted with `ovs-appctl dpctl/add-flows`, `dump-flows` and `del-flows` here and by
  `ovs-dpctl` there, on a datapath without a daemon.
- Start: from the start of the process until the database says that all is configured; the ports were there before.
- Routes: host routes by `ip -batch`, and a second after the last, without flows, after `ovs/route/show` had the daemon follow them.
""")


if __name__ == "__main__":
    main()
