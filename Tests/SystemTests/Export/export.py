"""Runs a daemon on dummy ports with exporters configured, gives it packets, and prints what comes out, decoded.

    export.py CASE DAEMON...

CASE names a function of cases.py; DAEMON is the daemon's command, in which {db}, {dir} stand for the database's socket and a directory for files.
Two daemons that print the same for a case export the same.
"""

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import cases
import datagrams

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Lab:
    """A database, a daemon and a collector, for as long as a `with` lasts."""

    def __init__(self, command):
        self.dir = tempfile.mkdtemp(prefix="export-")
        self.processes = []
        self.collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.collector.bind(("127.0.0.1", 0))
        self.target = "127.0.0.1:%d" % self.collector.getsockname()[1]
        self.ipfix = datagrams.IPFIX()
        self.command = command
        self.environment = dict(os.environ, OVS_RUNDIR=self.dir)

    def __enter__(self):
        database = self.dir + "/conf.db"
        subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True)
        self.start(["ovsdb-server", database, "--remote=punix:" + self.dir + "/db.sock", "--unixctl=" + self.dir + "/db.ctl",
            "--no-chdir", "-vconsole:off"], self.dir + "/db.sock")
        self.vsctl("--no-wait init")
        self.start([w.format(db=self.dir + "/db.sock", dir=self.dir) for w in self.command], self.dir + "/ctl")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, command, awaited):
        with open(self.dir + "/output", "a") as output:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=output, stderr=output))
        for _ in range(600):
            if os.path.exists(awaited):
                return
            if self.processes[-1].poll() is not None:
                break
            time.sleep(0.05)
        sys.exit("%s did not start: %s" % (command[0], open(self.dir + "/output").read()))

    def run(self, *words):
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            print("%s failed: %s" % (" ".join(words), done.stderr.strip()))
        return done.stdout

    def vsctl(self, line):
        return self.run("ovs-vsctl", "--db=unix:" + self.dir + "/db.sock", "--timeout=20", *shlex.split(line))

    def appctl(self, *words):
        return self.run("ovs-appctl", "--timeout=20", "-t", self.dir + "/ctl", *words)

    def ofctl(self, *words):
        return self.run("ovs-ofctl", "--timeout=20", *words)

    def show(self, text):
        for line in text.splitlines():
            print(line)

    def actions(self, packet):
        """What the datapath is to do with a packet."""
        return self.appctl("ofproto/trace", "ovs-dummy", packet).split("Datapath actions: ")[-1].strip()

    def receive(self, port, packet, times=1):
        for _ in range(times):
            self.appctl("netdev-dummy/receive", port, packet)

    def warp(self, milliseconds):
        self.appctl("time/warp", str(milliseconds), str(max(100, milliseconds // 100)))
        # The daemon goes on by itself until that is over.
        time.sleep(0.5)

    def datagrams(self, seconds):
        """What arrives until nothing has for so long."""
        out = []
        while select.select([self.collector], [], [], seconds)[0]:
            out.append(self.collector.recv(65536))
        return out

    def samples(self, kinds, seconds=0.8):
        """Prints sFlow samples of some kinds, an agent's after another's."""
        for data in sorted(self.datagrams(seconds), key=lambda d: d[8:16] if d[7] == 1 else d[:8]):
            for kind, lines in datagrams.sflow(data):
                if kind in kinds:
                    print("\n".join(lines))

    def records(self, kinds, seconds=0.8):
        """Prints records of IPFIX of some kinds, those of a kind in the order of their text."""
        found = {}
        for data in self.datagrams(seconds):
            for kind, lines in self.ipfix.message(data):
                found.setdefault(kind, []).append("\n".join(lines))
        for kind in kinds:
            values = found.get(kind, [])
            # How many templates a message has is the exporter's choice.
            for line in sorted(set(values) if kind in ("template", "header") else values):
                print("%s %s" % (kind, line))


def main():
    name, command = sys.argv[1], sys.argv[2:]
    with Lab(command) as lab:
        getattr(cases, name)(lab)


main()
