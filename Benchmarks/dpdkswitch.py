"""What the benchmarks on DPDK's devices share: a switch with a database of its own, its counters, packets, and what the machine is."""
import contextlib
import os
import platform
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import turns
import unixctl

OVS = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
#: The processor that polls; everything else shares processor 0.
CORE = 1 if os.cpu_count() > 1 else 0
#: A pool has 262,143 packets, and a capture that is read in circles keeps all of its own.
FLOWS_OF_A_CAPTURE = 200_000


# Switches end with the program, however it ends.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))


# Packets

def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s > 0xFFFF:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def udp_packet(source, destination, ports):
    """64 bytes with their frame check, which captures and sockets leave out."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, 0, 0, 64, 17, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return bytes.fromhex("020000000002020000000001" "0800") + ip + struct.pack("!HHHH", *ports, 26, 0) + bytes(18)


def flow_packet(i):
    """The packet of a flow; 16 million differ."""
    return udp_packet(bytes([10, i >> 16 & 255, i >> 8 & 255, i & 255]), bytes([10, 128, i % 50, i % 20]), (1024 + i % 1000, 53))


def write_capture(path, flows):
    """The packets of these flows, by number."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in flows:
            packet = flow_packet(i)
            f.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)


def write_captures(directory, flows):
    """The captures of so many flows: paths of as many as it takes."""
    paths = []
    for first in range(0, flows, FLOWS_OF_A_CAPTURE):
        paths.append(f"{directory}/{flows}-{first}.pcap")
        write_capture(paths[-1], range(first, min(first + FLOWS_OF_A_CAPTURE, flows)))
    return paths


def acl_rules():
    """A thousand rules on addresses and ports under 49 masks that drop."""
    chance = random.Random(7)
    masks = [(s, d, p) for s in (8, 16, 20, 24, 28, 32) for d in (8, 16, 24, 32) for p in (False, True)] + [(12, 12, True)]
    for i in range(1000):
        s, d, with_port = masks[i % len(masks)]
        source = "172.%d.%d.%d" % tuple(chance.randrange(256) for _ in range(3))
        destination = "10.128.%d.%d" % tuple(chance.randrange(256) for _ in range(2))
        port = f",tp_dst={chance.randrange(1, 65535)}" if with_port else ""
        yield f"priority={100 + i % 100},udp,nw_src={source}/{s},nw_dst={destination}/{d}{port},actions=drop"


# The machine

@contextlib.contextmanager
def without_slow_pages():
    """Huge pages that are far slower than the others are set aside (slowpages.c), so that none of the peers gets them by chance."""
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/slowpages"
        subprocess.run(["cc", "-O2", "-o", program, os.path.join(os.path.dirname(os.path.abspath(__file__)), "slowpages.c")], check=True)
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            print("slow huge pages set aside:", process.stdout.readline().strip(), flush=True)
            # It keeps them until its input ends, as it does with this process.
            yield
            process.stdin.close()


class Sender(threading.Thread):
    """Sends packets on an interface, so many a second, until it is over or there are no more."""

    def __init__(self, interface, packets, rate):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((interface, 0))
        self.packets, self.rate, self.sent, self.refused, self.over = packets, rate, 0, 0, False

    def run(self):
        start, tried = time.monotonic(), 0
        for packet in self.packets:
            while tried >= (time.monotonic() - start) * self.rate and not self.over:
                time.sleep(0.001)
            if self.over:
                return
            tried += 1
            try:
                self.socket.send(packet)
                self.sent += 1
            except OSError:
                self.refused += 1

    def stop(self):
        self.over = True
        self.join()


# The switch

class Switch:
    """A daemon with a database of its own and a bridge br0 with these flows; ports are added to it.

    Two at once need a network namespace each, for br0 is an interface, too.
    """

    def __init__(self, command, flows, config=(), groups=(), cores=(CORE,), own_network=False):
        try:
            self.begin(["unshare", "--net", command] if own_network else [command], config, cores)
            for group in groups:
                self.ofctl("add-group", group)
            self.add_flows(flows)
        except BaseException:
            self.stop()
            raise

    def begin(self, command, config, cores):
        self.directory = d = tempfile.mkdtemp(prefix="switch-")
        self.prefix = os.path.basename(d)
        self.environment = dict(os.environ, OVS_RUNDIR=d, OVS_LOGDIR=d, OVS_DBDIR=d, OVS_SYSCONFDIR=d)
        self.processes, self.sinks = [], []
        self.run("ovsdb-tool", "create", f"{d}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", f"{d}/conf.db", f"--remote=punix:{d}/db.sock", f"--unixctl={d}/db.ctl", "--no-chdir", "-vconsole:off")
        self.wait(lambda: os.path.exists(f"{d}/db.sock"))
        self.vsctl("--no-wait", "init", "--", "set", "o", ".", "other_config:dpdk-init=true", f"other_config:pmd-cpu-mask={mask(cores)}",
                   "other_config:dpdk-lcore-mask=1", "other_config:dpdk-socket-mem=1500",
                   f'other_config:dpdk-extra="--no-pci --file-prefix={self.prefix}"', *[f"other_config:{c}" for c in config])
        self.daemon = self.start(*command, f"unix:{d}/db.sock", "--no-chdir", f"--unixctl={d}/switch.ctl", f"--pidfile={d}/switch.pid",
                                 f"--log-file={d}/switch.log", "-vconsole:off")
        self.wait(lambda: os.path.exists(f"{d}/switch.ctl"))
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure")

    def add_flows(self, flows):
        with tempfile.NamedTemporaryFile("w", dir=self.directory, suffix=".txt") as f:
            f.write("\n".join(flows) + "\n")
            f.flush()
            self.ofctl("add-flows", f.name)

    # Ports

    def port(self, number, devargs, *settings):
        """A device of DPDK's; settings are of its row, as `mtu_request=2000`."""
        self.vsctl("add-port", "br0", f"p{number}", "--", "set", "interface", f"p{number}", "type=dpdk", f"ofport_request={number}",
                   f'options:dpdk-devargs="{devargs}"', *settings)
        self.check(number)

    def sink(self, number):
        self.sinks.append(number)
        self.port(number, f"net_null{number},no-rx=1")

    def capture(self, number, path, *settings):
        """A port where a capture comes in, again and again."""
        self.port(number, f"net_pcap{number},rx_pcap={path},infinite_rx=1", *settings)

    def captures(self, numbers, paths):
        """The captures of one traffic, on a port each. A pool belongs to an MTU, so each port has another."""
        for i, (number, path) in enumerate(zip(numbers, paths)):
            self.capture(number, path, *([f"mtu_request={1500 + 1000 * i}"] if i else []))

    def guest_port(self, number):
        """A virtual machine's port; the machine makes the socket, whose path this returns."""
        path = f"{self.directory}/guest{number}.sock"
        self.vsctl("add-port", "br0", f"p{number}", "--", "set", "interface", f"p{number}", "type=dpdkvhostuserclient",
                   f"ofport_request={number}", f"options:vhost-server-path={path}")
        self.check(number)
        return path

    def check(self, number):
        error = self.vsctl("get", "interface", f"p{number}", "error").strip()
        if error not in ("[]", '""'):
            raise SystemExit(f"port {number}: {error}")

    def wait_for_link(self, *numbers):
        self.wait(lambda: all(self.vsctl("get", "interface", f"p{n}", "link_state").strip() == "up" for n in numbers))

    # Processes and tools

    def start(self, *command):
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def wait(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.02)
        raise SystemExit(f"nothing happens in {self.directory}")

    def run(self, *command):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)[:200]}: {result.stderr.strip()[:500]}")
        return result.stdout

    def vsctl(self, *words):
        return self.run("ovs-vsctl", "--timeout=60", f"--db=unix:{self.directory}/db.sock", *words)

    def ofctl(self, command, *words):
        return self.run("ovs-ofctl", "-O", "OpenFlow13", command, f"unix:{self.directory}/br0.mgmt", *words)

    def appctl(self, *words):
        return unixctl.ask(f"{self.directory}/switch.ctl", *words)

    def signal(self, number):
        """To the daemon alone; its database goes on."""
        self.daemon.send_signal(number)

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # What it counted

    def counters(self, number):
        """Packets of a port: received, sent, dropped on either way."""
        text = self.ofctl("dump-ports", str(number))
        m = re.search(r"rx pkts=(\d+|\?), bytes=\S+, drop=(\d+|\?), .*\n?\s+tx pkts=(\d+|\?), bytes=\S+, drop=(\d+|\?), errs=(\d+|\?)", text)
        if not m:
            raise SystemExit(f"no counters of port {number}: {text}")
        values = [int(v) if v.isdigit() else 0 for v in m.groups()]
        return dict(zip(("received", "receive_drops", "sent", "send_drops", "send_errors"), values))

    def sent(self, *numbers):
        """Packets that left by these ports, or by all sinks."""
        return sum(self.counters(n)["sent"] for n in numbers or self.sinks)

    def rate(self, seconds, *numbers):
        """Packets per second that leave by these ports, or by all sinks."""
        return turns.rate(lambda: self.sent(*numbers), seconds)

    def megaflows(self):
        m = re.search(r"flows: (\d+)", self.appctl("dpctl/show"))
        return int(m.group(1)) if m else 0

    def resident(self):
        """Bytes of the daemon's ordinary memory; huge pages are not among them."""
        with open(f"/proc/{self.daemon.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024

    def packets_in_use(self, number):
        """Packets of a port's pool that are somewhere else; None when the daemon does not tell."""
        try:
            text = self.appctl("netdev-dpdk/get-mempool-info", f"p{number}")
        except unixctl.Refused:
            return None
        m = re.search(r"in use \((\d+)\)", text)
        return int(m.group(1)) if m else None


def mask(cores):
    return f"0x{sum(1 << c for c in cores):x}"


# The machine

def cycles_per_second():
    with open("/proc/cpuinfo") as f:
        return max(float(line.split(":")[1]) for line in f if line.startswith("cpu MHz")) * 1e6


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def in_own_network():
    """Starts the program anew in a network namespace of its own, unless it is there."""
    if os.environ.get("VSWITCH_OWN_NETWORK") != "1":
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], dict(os.environ, VSWITCH_OWN_NETWORK="1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def make_veth(one, other):
    subprocess.run(["ip", "link", "add", one, "type", "veth", "peer", "name", other], check=True)
    for name in (one, other):
        with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as f:
            f.write("1")  # no packets of its own
        subprocess.run(["ip", "link", "set", name, "up"], check=True)


def delete_veth(one):
    subprocess.run(["ip", "link", "del", one], stderr=subprocess.DEVNULL)
