#!/usr/bin/env python3
"""Forwarding rates on one core: this switch, Open vSwitch with DPDK (as it comes, and with its signature cache), and testpmd.

All read the same captures through DPDK's net_pcap in an endless loop, and send into net_null: what differs is the switching.
Rounds are interleaved; ratios are of medians.
"""
import argparse
import datetime
import os
import platform
import random
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

OVS = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
CORE = 1 if os.cpu_count() > 1 else 0


def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s > 0xFFFF:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def write_capture(path, flows):
    """64-byte UDP packets (with their frame check), one for each flow."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in range(flows):
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, 0, 0, 64, 17, 0, bytes([10, i >> 16 & 255, i >> 8 & 255, i & 255]),
                             bytes([10, 128, i % 50, i % 20]))
            ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
            packet = bytes.fromhex("020000000002020000000001" "0800") + ip
            packet += struct.pack("!HHHH", 1024 + i % 1000, 53, 26, 0) + bytes(18)
            f.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)


def write_acl(path):
    """A thousand rules on addresses and ports under 49 masks that drop, over one that forwards."""
    chance = random.Random(7)
    masks = [(s, d, p) for s in (8, 16, 20, 24, 28, 32) for d in (8, 16, 24, 32) for p in (False, True)] + [(12, 12, True)]
    rules = []
    while len(rules) < 1000:
        s, d, with_port = masks[len(rules) % len(masks)]
        source = "172.%d.%d.%d" % tuple(chance.randrange(256) for _ in range(3))
        destination = "10.128.%d.%d" % tuple(chance.randrange(256) for _ in range(2))
        port = f",tp_dst={chance.randrange(1, 65535)}" if with_port else ""
        rules.append(f"priority={100 + len(rules) % 100},in_port=1,udp,nw_src={source}/{s},nw_dst={destination}/{d}{port},actions=drop")
    with open(path, "w") as f:
        f.write("\n".join(rules + ["priority=1,in_port=1,actions=output:2"]) + "\n")


class Switch:
    """A daemon with a database of its own, a capture as port 1 and a sink as port 2."""

    def __init__(self, command, capture, flows, config=()):
        self.directory = d = tempfile.mkdtemp(prefix="forward-")
        self.environment = dict(os.environ, OVS_RUNDIR=d, OVS_LOGDIR=d, OVS_DBDIR=d, OVS_SYSCONFDIR=d)
        self.processes = []
        self.run("ovsdb-tool", "create", f"{d}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", f"{d}/conf.db", f"--remote=punix:{d}/db.sock", f"--unixctl={d}/db.ctl", "--no-chdir", "-vconsole:off")
        self.wait(lambda: os.path.exists(f"{d}/db.sock"))
        self.vsctl("--no-wait", "init", "--", "set", "o", ".", "other_config:dpdk-init=true", f"other_config:pmd-cpu-mask={1 << CORE:x}",
                   "other_config:dpdk-lcore-mask=1", "other_config:dpdk-socket-mem=1500", "other_config:dpdk-extra=--no-pci",
                   *[f"other_config:{c}" for c in config])
        self.daemon = self.start(command, f"unix:{d}/db.sock", "--no-chdir", f"--unixctl={d}/switch.ctl", f"--pidfile={d}/switch.pid",
                                 f"--log-file={d}/switch.log", "-vconsole:off")
        self.wait(lambda: os.path.exists(f"{d}/switch.ctl"))
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure")
        self.ofctl("add-flows", flows)
        self.port(2, "net_null0,no-rx=1")
        self.port(1, f"net_pcap0,rx_pcap={capture},infinite_rx=1")

    def port(self, number, devargs):
        self.vsctl("add-port", "br0", f"p{number}", "--", "set", "interface", f"p{number}", "type=dpdk", f"ofport_request={number}",
                   f'options:dpdk-devargs="{devargs}"')

    def start(self, *command):
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def wait(self, condition):
        for _ in range(1000):
            if condition():
                return
            time.sleep(0.02)
        sys.exit(f"nothing happens in {self.directory}")

    def run(self, *command):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        if result.returncode:
            sys.exit(f"{' '.join(command)[:200]}: {result.stderr.strip()[:500]}")
        return result.stdout

    def vsctl(self, *words):
        return self.run("ovs-vsctl", "--timeout=60", f"--db=unix:{self.directory}/db.sock", *words)

    def ofctl(self, command, *words):
        return self.run("ovs-ofctl", "-O", "OpenFlow13", command, f"unix:{self.directory}/br0.mgmt", *words)

    def appctl(self, *words):
        return self.run("ovs-appctl", "-t", f"{self.directory}/switch.ctl", *words)

    def sent(self):
        text = self.ofctl("dump-ports", "2")
        if not (m := re.search(r"tx pkts=(\d+)", text)):
            sys.exit(f"no counters of port 2: {text}{self.vsctl('get', 'interface', 'p2', 'error')}")
        return int(m.group(1))

    def rate(self, seconds):
        """Packets per second that leave."""
        before, start = self.sent(), time.monotonic()
        time.sleep(seconds)
        after = self.sent()
        return (after - before) / (time.monotonic() - start)

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def testpmd(capture, seconds):
    """Packets per second of dpdk-testpmd's io mode on the same devices."""
    process = subprocess.Popen(
        ["dpdk-testpmd", "-l", f"0,{CORE}", "--in-memory", "--no-pci", "--vdev", f"net_pcap0,rx_pcap={capture},infinite_rx=1",
         "--vdev", "net_null0,no-rx=1", "--", "--forward-mode=io", "--auto-start", "--total-num-mbufs=262143", "--stats-period", "1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    rates, deadline = [], time.monotonic() + seconds + 20
    for line in process.stdout:
        if (m := re.search(r"Tx-pps:\s+(\d+)", line)) and int(m.group(1)) > 0:
            rates.append(int(m.group(1)))
        if len(rates) > seconds or time.monotonic() > deadline:
            break
    process.kill()
    process.wait()
    return statistics.median(rates[1:] or rates or [0])


def cycles_per_second():
    with open("/proc/cpuinfo") as f:
        return max(float(line.split(":")[1]) for line in f if line.startswith("cpu MHz")) * 1e6


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def plot(results, counts, names, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    colours = dict(zip(names, ("tab:blue", "tab:orange", "tab:red", "tab:grey")))
    for axis, case in zip(axes, ("port", "acl")):
        for name in names:
            values = [results.get((name, case, n)) for n in counts]
            points = [(n, statistics.median(v) / 1e6) for n, v in zip(counts, values) if v]
            if points:
                axis.plot(*zip(*points), marker="o", label=name, color=colours[name], linestyle="--" if name == "testpmd io" else "-")
        axis.set_xscale("log")
        axis.set_xlabel("flows in the traffic")
        axis.set_title({"port": "one rule on the port", "acl": "1,000 rules under 49 masks"}[case])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("million packets a second, one core")
    axes[0].set_ylim(bottom=0)
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--flows", default="1,1000,10000,100000")
    parser.add_argument("--output", required=True)
    parser.add_argument("--plot", required=True)
    arguments = parser.parse_args()
    counts = [int(n) for n in arguments.flows.split(",")]
    ours = os.path.abspath(arguments.vswitchd)
    peers = {"this switch": (ours, ()), "OVS-DPDK": (OVS, ()), "OVS-DPDK, smc": (OVS, ("smc-enable=true",))}
    results = {}
    with tempfile.TemporaryDirectory(prefix="forward-in-") as directory:
        flows = {"port": f"{directory}/port.txt", "acl": f"{directory}/acl.txt"}
        with open(flows["port"], "w") as f:
            f.write("in_port=1,actions=output:2\n")
        write_acl(flows["acl"])
        for n in counts:
            write_capture(f"{directory}/{n}.pcap", n)
        for number in range(arguments.rounds):
            for n in counts:
                capture = f"{directory}/{n}.pcap"
                for case in flows:
                    for name, (command, config) in peers.items():
                        if case == "port" and name.endswith("smc"):
                            continue
                        switch = Switch(command, capture, flows[case], config)
                        try:
                            time.sleep(1.5)
                            rate = switch.rate(arguments.seconds)
                        finally:
                            switch.stop()
                        results.setdefault((name, case, n), []).append(rate)
                        print(f"round {number + 1}, {n} flows, {case}, {name}: {rate / 1e6:.1f} Mpps", flush=True)
                rate = testpmd(capture, 3)
                for case in flows:
                    results.setdefault(("testpmd io", case, n), []).append(rate)
                print(f"round {number + 1}, {n} flows, testpmd io: {rate / 1e6:.1f} Mpps", flush=True)
    median = {k: statistics.median(v) for k, v in results.items()}
    hertz = cycles_per_second()
    lines = ["| rules | flows | this switch | OVS-DPDK | with smc | testpmd io | ratio to OVS-DPDK (best) | cycles a packet | beyond testpmd |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for case in flows:
        for n in counts:
            a, b, t = (median.get((name, case, n), 0) for name in ("this switch", "OVS-DPDK", "testpmd io"))
            smc = median.get(("OVS-DPDK, smc", case, n), 0)
            if not a or not b or not t:
                continue
            beyond = 1e9 / a - 1e9 / t
            lines.append(
                f"| {'port only' if case == 'port' else 'ACL'} | {n} | {a / 1e6:.1f} | {b / 1e6:.1f} | "
                + (f"{smc / 1e6:.1f}" if smc else "–")
                + f" | {t / 1e6:.1f} | {a / max(b, smc):.2f} | {hertz / a:.0f} | {beyond:.1f} ns, {beyond * hertz / 1e9:.0f} cycles |")
    table = "\n".join(lines)
    print(table)
    plot(results, counts, ["this switch", "OVS-DPDK", "OVS-DPDK, smc", "testpmd io"], arguments.plot)
    with open(arguments.output, "w") as f:
        f.write(f"""# Forwarding on one core

Million packets a second, 64-byte UDP, `net_pcap` (endless) into `net_null`, one polling thread; medians of {arguments.rounds} interleaved
rounds by `Benchmarks/forward.py` on {datetime.date.today()}; {machine()}. *Beyond testpmd* is what switching costs on top of the devices.
The ACL drops what its thousand rules under 49 masks match, and forwards the rest.

{table}

![forwarding rates](performance/{os.path.basename(arguments.plot)})
""")


if __name__ == "__main__":
    main()
