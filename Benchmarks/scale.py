#!/usr/bin/env python3
"""Measures this switch against Debian's ovs-vswitchd at scale: very many flows, ports, bridges, groups and controllers, and one large
bundle, while another client asks for the daemon's version all the time."""
import argparse
import datetime
import os
import selectors
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from compare import Daemon, machine, write_flows


class Watch:
    """Runs `ovs-appctl version`'s question again and again, and keeps the longest time that an answer took. A process of its own: a thread
    would also wait for this one's interpreter, for instance while it decodes a dump of 500,000 flows."""

    def __init__(self, daemon):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unixctl.py")
        self.process = subprocess.Popen([sys.executable, script, daemon.ctl], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        output = self.process.communicate()[0]
        if self.process.returncode:
            raise SystemExit("the client that asks for the version failed")
        return float(output)


class OpenFlowClient:
    """One of many controllers, each with a connection of its own: sends a request when the last one is answered. One thread serves all of
    them, so that what is measured is the daemon and not how threads of an interpreter wait for each other."""

    HELLO = struct.pack("!BBHI", 4, 0, 8, 1)
    ECHO = struct.pack("!BBHI", 4, 2, 16, 2) + b"echoecho"
    # OFPMP_AGGREGATE over all tables.
    AGGREGATE = struct.pack("!BBHIHH4xB3xII4xQQHH4x", 4, 18, 56, 3, 2, 0, 255, 0xffffffff, 0xffffffff, 0, 0, 1, 4)

    def __init__(self, address, requests):
        """Connects, and has the version agreed upon."""
        # What is sent, and the type of what answers it.
        self.steps = iter([(self.ECHO, 3), (self.AGGREGATE, 19)] * requests)
        self.received = b""
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(self.HELLO, 0)
        while not self.is_answered():
            pass

    @staticmethod
    def run(clients):
        """Lets each do its work."""
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
                client.send(*next(client.steps))
            while selector.get_map():
                for key, _ in selector.select():
                    if not key.data.is_answered():
                        continue
                    following = next(key.data.steps, None)
                    if following:
                        key.data.send(*following)
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    def send(self, message, wanted):
        self.wanted = wanted
        self.socket.sendall(message)

    def is_answered(self):
        """Takes what came; says whether the answer is among it."""
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit("the daemon closed a controller's connection")
        self.received += data
        answered = False
        while len(self.received) >= 8:
            _, kind, size, _ = struct.unpack_from("!BBHI", self.received)
            if kind == 1 or size < 8:
                raise SystemExit("a controller was sent an OpenFlow error, or nonsense")
            if len(self.received) < size:
                break
            self.received = self.received[size:]
            answered = answered or kind == self.wanted
        return answered


class Round:
    """One round on fresh daemons; figures by name."""

    def __init__(self, name, command, arguments, files):
        self.name, self.command, self.arguments, self.files = name, command, arguments, files
        self.figures = {}

    def timed(self, key, action):
        start = time.monotonic()
        result = action()
        self.figures[key] = time.monotonic() - start
        return result

    def part(self, key, action):
        """Runs a part on a daemon of its own, watched."""
        daemon = Daemon(self.name, self.command)
        try:
            time.sleep(0.5)
            watch = Watch(daemon)
            try:
                used = daemon.cpu()
                action(daemon)
                self.figures[f"{key}_cpu"] = daemon.cpu() - used
            finally:
                self.figures[f"{key}_wait"] = watch.stop()
        finally:
            daemon.stop()

    def run(self):
        for key in self.arguments.parts:
            self.part(key, getattr(self, key))
        return self.figures

    def flows(self, daemon):
        before = daemon.rss()
        self.timed("flows_add", lambda: daemon.ofctl("add-flows", self.files["flows"]))
        time.sleep(1)
        self.figures["flows_bytes"] = (daemon.rss() - before) / self.arguments.flows
        lines = self.timed("flows_dump", lambda: daemon.ofctl("dump-flows")).count("n_packets")
        self.expect(lines, self.arguments.flows, "flows in the dump")
        self.timed("flows_delete", lambda: daemon.ofctl("del-flows"))

    def bundle(self, daemon):
        self.timed("bundle_commit", lambda: daemon.ofctl("add-flows", self.files["bundle"], "--bundle"))
        self.expect(int(daemon.ofctl("dump-aggregate").rsplit("flow_count=", 1)[1]), self.arguments.bundle, "flows of the bundle")

    def groups(self, daemon):
        self.timed("groups_add", lambda: daemon.ofctl("add-groups", self.files["groups"]))
        lines = self.timed("groups_dump", lambda: daemon.ofctl("dump-groups")).count("group_id=")
        self.expect(lines, self.arguments.groups, "groups in the dump")
        self.timed("groups_delete", lambda: daemon.ofctl("del-groups"))

    def ports(self, daemon):
        def words(i):
            return ("--", "add-port", "br0", f"q{i}", "--", "set", "interface", f"q{i}", "type=dummy")
        numbers = range(self.arguments.ports)
        self.timed("ports_add", lambda: daemon.vsctl(*[w for i in numbers for w in words(i)]))
        lines = self.timed("ports_dump", lambda: daemon.ofctl("dump-ports")).count("tx pkts")
        self.expect(lines, self.arguments.ports + 3, "ports in the dump")
        self.timed("ports_delete", lambda: daemon.vsctl(*[w for i in numbers for w in ("--", "del-port", f"q{i}")]))

    def bridges(self, daemon):
        def words(i):
            return ("--", "add-br", f"b{i}", "--", "set", "bridge", f"b{i}", "datapath_type=dummy",
                    "--", "add-port", f"b{i}", f"up{i}", "--", "set", "interface", f"up{i}", "type=patch", f"options:peer=down{i}",
                    "--", "add-port", "br0", f"down{i}", "--", "set", "interface", f"down{i}", "type=patch", f"options:peer=up{i}")
        numbers = range(self.arguments.bridges)
        self.timed("bridges_add", lambda: daemon.vsctl(*[w for i in numbers for w in words(i)]))
        self.expect(daemon.appctl("dpif/show").count("patch: peer="), 2 * self.arguments.bridges, "patch ports")
        self.timed("bridges_delete", lambda: daemon.vsctl(*[w for i in numbers for w in ("--", "del-br", f"b{i}", "--", "del-port", f"down{i}")]))

    def controllers(self, daemon):
        """Controllers that connect by themselves; each sends echoes and asks for statistics, many times."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        daemon.vsctl("set-controller", "br0", f"ptcp:{address[1]}:127.0.0.1")
        self.wait_for(address)
        daemon.ofctl("add-flow", "actions=drop")
        clients = [OpenFlowClient(address, self.arguments.requests) for _ in range(self.arguments.controllers)]
        self.timed("controllers_serve", lambda: OpenFlowClient.run(clients))

    @staticmethod
    def wait_for(address):
        for _ in range(1000):
            try:
                socket.create_connection(address).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise SystemExit(f"nobody listens at {address}")

    def expect(self, got, wanted, what):
        if got != wanted:
            raise SystemExit(f"{self.name}: {got} {what}, not {wanted}")


ROWS = [
    ("flows_add", "{flows} flows: add-flows, s"), ("flows_dump", "— dump-flows, s"), ("flows_delete", "— del-flows, s"),
    ("flows_bytes", "— resident bytes per flow"), ("flows_cpu", "— processor time of the daemon, s"), ("flows_wait", "— longest wait for `version`, ms"),
    ("bundle_commit", "bundle of {bundle} flows, s"), ("bundle_cpu", "— processor time of the daemon, s"), ("bundle_wait", "— longest wait for `version`, ms"),
    ("groups_add", "{groups} groups: add-groups, s"), ("groups_dump", "— dump-groups, s"), ("groups_delete", "— del-groups, s"),
    ("groups_wait", "— longest wait for `version`, ms"),
    ("ports_add", "{ports} ports: add-port, s"), ("ports_dump", "— dump-ports, s"), ("ports_delete", "— del-port, s"),
    ("ports_wait", "— longest wait for `version`, ms"),
    ("bridges_add", "{bridges} bridges with patch ports: add-br, s"), ("bridges_delete", "— del-br, s"), ("bridges_wait", "— longest wait for `version`, ms"),
    ("controllers_serve", "{controllers} controllers, {requests} echoes and {requests} aggregate requests each, s"),
    ("controllers_cpu", "— processor time of the daemon, s"), ("controllers_wait", "— longest wait for `version`, ms"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output")
    for name, count in (("flows", 500000), ("bundle", 100000), ("groups", 10000), ("ports", 1000), ("bridges", 100), ("controllers", 64), ("requests", 1000)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--parts", nargs="+", default=["flows", "bundle", "groups", "ports", "bridges", "controllers"])
    arguments = parser.parse_args()
    commands = {"ours": os.path.abspath(arguments.vswitchd), "real": shutil.which("ovs-vswitchd") or "/usr/sbin/ovs-vswitchd"}
    results = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as directory:
        files = {name: f"{directory}/{name}" for name in ("flows", "bundle", "groups")}
        write_flows(files["flows"], arguments.flows)
        write_flows(files["bundle"], arguments.bundle)
        with open(files["groups"], "w") as f:
            for i in range(arguments.groups):
                f.write(f"group_id={i + 1},type=select,bucket=weight:1,output:1,bucket=weight:2,output:2\n")
        for number in range(arguments.rounds):
            for name, command in commands.items():
                results[name].append(Round(name, command, arguments, files).run())
                print(f"round {number + 1} {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in results[name][-1].items()), flush=True)
    lines = ["| measure | this switch | ovs-vswitchd | ratio |", "|---|---:|---:|---:|"]
    for key, title in ROWS:
        if key not in results["ours"][0]:
            continue
        ours, real = (statistics.median(r[key] for r in results[name]) for name in ("ours", "real"))
        form = "{:.0f}" if key.endswith("bytes") else "{:.1f}" if key.endswith("wait") else "{:.2f}"
        ratio = f"{ours / real:.2f}" if real else "–"
        lines.append(f"| {title.format(**vars(arguments))} | {form.format(ours)} | {form.format(real)} | {ratio} |")
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        version = subprocess.run([commands["real"], "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        with open(arguments.output, "w") as f:
            f.write(f"""# At scale

Beside {version.strip()}, both in one run, turn and turn about, each part on a fresh daemon with its own ovsdb-server, dummy datapath.
Medians of {arguments.rounds} rounds of `Benchmarks/scale.py` on {datetime.date.today()}; {machine()}. Below 1 is better everywhere.

{table}

The longest wait is of a client that asks for the version over the control socket every 20 ms while the part runs, whether or not the last
answer came, so that both daemons are asked equally often; 8 questions wait at most. Times include those of `ovs-ofctl` and `ovs-vsctl`,
which waits for the daemon.
""")


if __name__ == "__main__":
    main()
