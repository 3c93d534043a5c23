#!/usr/bin/env python3
"""Forwarding rates: this switch, Open vSwitch with DPDK (as it comes, and with its signature cache), and testpmd.

All read the same captures through DPDK's net_pcap in an endless loop, and send into net_null: what differs is the switching. Then pipelines
that do more than send, two polling threads, and a virtual machine. Peers take turns (turns.py); ratios are the medians of the turns' ratios.
Needs 4,096 huge pages of 2 MB, besides those that are set aside as slow.
"""
import argparse
import contextlib
import datetime
import functools
import os
import random
import re
import signal
import statistics
import tempfile
import time

import turns
from dpdkswitch import CORE, OVS, Switch, acl_rules, cycles_per_second, machine, without_slow_pages, write_capture, write_captures
from turns import Figures, Testpmd, take_turns

#: Ports of the captures; port 2 is the sink, port 4 another.
CAPTURES = (1, 3, 5, 6, 7)
PIPELINES = {
    "output": (["in_port=1,actions=output:2"], []),
    "push_vlan, set_field of two fields": (
        ["in_port=1,actions=push_vlan:0x8100,set_field:4196->vlan_vid,set_field:02:00:00:00:00:99->eth_dst,output:2"], []),
    "group of type select": (["in_port=1,actions=group:1"], ["group_id=1,type=select,bucket=output:2,bucket=output:4"]),
    "resubmit through ten tables": (
        [f"table={i},udp,nw_dst=10.128.0.0/{16 + i},actions=resubmit(,{i + 1})" for i in range(2)]
        + [f"table={i},in_port=1,actions=resubmit(,{i + 1})" for i in range(2, 10)]
        + [f"table={i},priority=0,actions=resubmit(,{i + 1})" for i in range(2)] + ["table=10,actions=output:2"], []),
}
PIPELINE_FLOWS = 1000
#: Seconds until traffic has its flows.
SETTLE = 2


def peers(arguments, smc=False):
    """Name, command and configuration of the switches that take turns."""
    both = [("this switch", os.path.abspath(arguments.vswitchd), ()), ("OVS-DPDK", OVS, ())]
    return both + ([("OVS-DPDK, smc", OVS, ("smc-enable=true",))] if smc else [])


def testpmd_io(captures):
    """The ceiling: the same devices in io mode, each capture with a sink of its own."""
    devices = [w for i, path in enumerate(captures)
               for w in ("--vdev", f"net_pcap{i},rx_pcap={path},infinite_rx=1", "--vdev", f"net_null{i},no-rx=1")]
    return Testpmd("-l", f"0,{CORE}", "--in-memory", "--no-pci", "--file-prefix=ceiling", *devices, "--", "--forward-mode=io",
                   f"--total-num-mbufs={262143 * len(captures)}", ports=2 * len(captures))


def measure(arguments, makers):
    """Rates of peers, by name, that these make. They take turns; each is alone where not all have room."""
    with contextlib.ExitStack() as stack:
        peers = {}
        for name, make in makers.items():
            peers[name] = stack.enter_context(make())
            # Its traffic has its flows, before it waits for the others.
            time.sleep(SETTLE)
            peers[name].signal(signal.SIGSTOP)
        return take_turns(peers, arguments.turns, arguments.seconds)


def forwarding(command, rules, config, captures, groups=(), sinks=(2,)):
    """A switch that has its traffic."""
    # A flow that has no packets while the others take their turns stays; nobody looks for idle ones.
    switch = Switch(command, rules, [*config, "max-idle=600000", "max-revalidator=600000"], groups, own_network=True)
    try:
        for number in sinks:
            switch.sink(number)
        switch.captures(CAPTURES, captures)
        return switch
    except BaseException:
        switch.stop()
        raise


# One core, more and more flows

def rates_by_flows(arguments, directory):
    counts = [int(n) for n in arguments.flows.split(",")]
    rules = {"port": [f"in_port={n},actions=output:2" for n in CAPTURES], "acl": [*acl_rules(), "priority=1,actions=output:2"]}
    captures = {n: write_captures(directory, n) for n in counts}
    figures = Figures()
    for number in range(arguments.rounds):
        for n in counts:
            for case in rules:
                makers = {name: functools.partial(forwarding, command, rules[case], config, captures[n])
                          for name, command, config in peers(arguments, smc=case == "acl")}
                makers["testpmd io"] = functools.partial(testpmd_io, captures[n])
                # The pools of several captures take 8 GB, of which few machines have four.
                for group in [makers] if len(captures[n]) == 1 else [{name: make} for name, make in makers.items()]:
                    figures.add(number, (case, n), measure(arguments, group))
    plot(figures, counts, ["this switch", "OVS-DPDK", "OVS-DPDK, smc", "testpmd io"], arguments.plot)
    hertz = cycles_per_second()
    lines = ["| rules | flows | this switch | OVS-DPDK | with smc | testpmd io | ratio to OVS-DPDK (best) | ratio to testpmd | cycles a packet "
             "| beyond testpmd |", "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for case in rules:
        for n in counts:
            a, b, smc, t = (figures.median((case, n), name) for name in ("this switch", "OVS-DPDK", "OVS-DPDK, smc", "testpmd io"))
            if not a or not b or not t:
                continue
            to_ovs = figures.ratio((case, n), "this switch", "OVS-DPDK", "OVS-DPDK, smc")
            to_testpmd = figures.ratio((case, n), "this switch", "testpmd io")
            beyond = 1e9 / a - 1e9 / t
            lines.append(
                f"| {'port only' if case == 'port' else 'ACL'} | {n} | {a / 1e6:.1f} | {b / 1e6:.1f} | "
                + (f"{smc / 1e6:.1f}" if smc else "–")
                + f" | {t / 1e6:.1f} | {to_ovs:.2f} | {to_testpmd:.2f} | {hertz / a:.0f} "
                + f"| {beyond:.1f} ns, {beyond * hertz / 1e9:.0f} cycles |")
    return f"""*Beyond testpmd* is what switching costs on top of the devices. The ACL drops what its thousand rules under 49 masks match, and
forwards the rest. Beyond 200,000 flows the captures are several, each on a port of its own of the same polling thread: a capture that is read in
circles keeps its packets in its port's pool, and a pool of both switches has 262,144 packets, one pool for each MTU. So ports have MTUs of
1500, 2500, 3500 and so on. testpmd reads the same ports, with as many packets in one pool.

{chr(10).join(lines)}

![forwarding rates]({os.path.basename(arguments.plot)})
"""


# More and more masks

MASK_FLOWS = 10_000


def mask_rules(count):
    """Rules under which flows that differ in their source are a megaflow each, under so many masks."""
    for k in range(1000):
        yield f"table=0,udp,tp_src={1024 + k},actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],resubmit(,{1 + k % count})"
    for j in range(count):
        yield f"table={1 + j},dl_src=02:00:00:00:00:{j & 1:02x}/02:00:00:00:00:{j:02x},actions=output:2"


def rates_by_masks(arguments, directory):
    chance = random.Random(11)
    weights = [1 / (i + 1) for i in range(MASK_FLOWS)]
    everyone = list(range(MASK_FLOWS))
    # Which flows are the frequent ones has nothing to do with their masks.
    shuffled = chance.sample(everyone, MASK_FLOWS)
    traffic = {"uniform": shuffled + chance.choices(shuffled, k=100_000), "Zipf": shuffled + chance.choices(shuffled, weights, k=100_000)}
    captures = {kind: f"{directory}/{kind}.pcap" for kind in traffic}
    for kind, flows in traffic.items():
        write_capture(captures[kind], flows)
    counts = (1, 10, 50, 200)
    figures = Figures()
    for number in range(arguments.rounds):
        for count in counts:
            for kind, capture in captures.items():
                makers = {name: functools.partial(forwarding, command, mask_rules(count), config, [capture])
                          for name, command, config in peers(arguments, smc=True)}
                figures.add(number, (count, kind), measure(arguments, makers))
    lines = ["| masks | traffic | this switch | OVS-DPDK | with smc | ratio (best) |", "|---:|---|---:|---:|---:|---:|"]
    for count in counts:
        for kind in captures:
            a, b, smc = (figures.median((count, kind), name) for name in ("this switch", "OVS-DPDK", "OVS-DPDK, smc"))
            ratio = figures.ratio((count, kind), "this switch", "OVS-DPDK", "OVS-DPDK, smc")
            lines.append(f"| {count} | {kind} | {a / 1e6:.1f} | {b / 1e6:.1f} | {smc / 1e6:.1f} | {ratio:.2f} |")
    return f"""{MASK_FLOWS} flows, a megaflow each, under so many masks; by chance, all as often or as Zipf's law has it (exponent 1).

{chr(10).join(lines)}
"""


# More than sending

def rates_of_pipelines(arguments, directory):
    capture, = write_captures(directory, PIPELINE_FLOWS)
    figures = Figures()
    for number in range(arguments.rounds):
        for title, (flows, groups) in PIPELINES.items():
            makers = {name: functools.partial(forwarding, command, flows, config, [capture], groups, (2, 4))
                      for name, command, config in peers(arguments)}
            figures.add(number, title, measure(arguments, makers))
    lines = ["| pipeline | this switch | OVS-DPDK | ratio | beyond output alone | OVS-DPDK's |", "|---|---:|---:|---:|---:|---:|"]
    for title in PIPELINES:
        a, b = (figures.median(title, name) for name in ("this switch", "OVS-DPDK"))
        beyond = [1e9 / figures.median(title, name) - 1e9 / figures.median("output", name) for name in ("this switch", "OVS-DPDK")]
        ratio = figures.ratio(title, "this switch", "OVS-DPDK")
        lines.append(f"| {title} | {a / 1e6:.1f} | {b / 1e6:.1f} | {ratio:.2f} | {beyond[0]:.1f} ns | {beyond[1]:.1f} ns |")
    return f"""{PIPELINE_FLOWS} flows on the same devices, one core; what is beyond plain output is the cost of the actions.

{chr(10).join(lines)}
"""


# Two polling threads

def rates_of_threads(arguments, directory):
    cores = [int(c) for c in arguments.cores.split(",")] if arguments.cores else [1, 2]
    if max(cores) >= os.cpu_count():
        text = f"Not measured: two polling threads and the rest of the switch want three processors, and this machine has {os.cpu_count()}."
        print(text)
        return text + "\n"
    captures = [*write_captures(directory, 1000), *write_captures(directory, 1001)]
    figures = Figures()
    for number in range(arguments.rounds):
        for threads in (1, 2):
            for name, command, config in peers(arguments):
                with Switch(command, [f"in_port={n},actions=output:2" for n in CAPTURES], config, cores=cores[:threads]) as switch:
                    switch.sink(2)
                    for port, path in zip(CAPTURES, captures):
                        switch.capture(port, path)
                    time.sleep(SETTLE)
                    figures.add(number, threads, {name: [switch.rate(arguments.seconds) for _ in range(arguments.turns)]})
    lines = ["| threads | this switch | OVS-DPDK | ratio |", "|---|---:|---:|---:|"]
    names = ("this switch", "OVS-DPDK")
    for threads in (1, 2):
        a, b = (figures.median(threads, name) for name in names)
        lines.append(f"| {threads} | {a / 1e6:.1f} | {b / 1e6:.1f} | {figures.ratio(threads, *names):.2f} |")
    gains = [figures.median(2, name) / figures.median(1, name) for name in names]
    return f"""Two captures of 1,000 flows into one sink, by one polling thread and by two, on processors {cores[0]} and {cores[1]}.

{chr(10).join(lines)}
| two over one | {gains[0]:.2f} | {gains[1]:.2f} | |
"""


# A virtual machine

@contextlib.contextmanager
def guest(paths, flows):
    """testpmd as a virtual machine: its devices are virtio-user, its processor 0. It makes packets on both and counts what comes."""
    devices = [f"--vdev=net_virtio_user{i},path={path},server=1,queue_size=1024" for i, path in enumerate(paths)]
    with Testpmd("--lcores", "0@0,1@0", "--in-memory", "--single-file-segments", "--no-pci", "--file-prefix=guest", *devices, "--",
                 "--total-num-mbufs=32768", "--forward-mode=flowgen", f"--flowgen-flows={flows}", "--txd=1024", "--rxd=1024",
                 ports=len(paths)) as process:
        yield process


@contextlib.contextmanager
def ceiling_with_guest(flows, directory):
    """The ceiling between the machine's devices: testpmd has the other ends and passes packets in io mode."""
    paths = [f"{directory}/ceiling{i}.sock" for i in (1, 2)]
    with guest(paths, flows) as process:
        # The machine makes one socket after the other has been connected to; who connects tries until it is there.
        devices = [f"--vdev=net_vhost{i},iface={path},client=1" for i, path in enumerate(paths)]
        with Testpmd("-l", f"0,{CORE}", "--in-memory", "--no-pci", "--file-prefix=ceiling", *devices, "--", "--forward-mode=io",
                     "--total-num-mbufs=32768", "--txd=1024", "--rxd=1024", ports=len(paths)):
            yield process
    for path in paths:
        os.unlink(path)


def rates_of_guests(arguments, directory):
    figures = Figures()
    cycles = {}

    def rates(process):
        time.sleep(SETTLE)
        return [turns.rate(lambda: process.packets("RX"), arguments.seconds) for _ in range(arguments.turns)]

    for number in range(arguments.rounds):
        for flows in (1, 1000):
            for name, command, config in peers(arguments):
                with Switch(command, ["in_port=1,actions=output:2", "in_port=2,actions=output:1"], config) as switch:
                    paths = [switch.guest_port(n) for n in (1, 2)]
                    with guest(paths, flows) as process:
                        switch.wait_for_link(1, 2)
                        switch.appctl("dpif-netdev/pmd-stats-clear")
                        figures.add(number, flows, {name: rates(process)})
                        text = switch.appctl("dpif-netdev/pmd-stats-show")
                        found = re.search(r"avg processing cycles per packet: ([\d.]+)", text)
                        cycles.setdefault((name, flows), []).append(float(found.group(1)) if found else 0)
            with ceiling_with_guest(flows, directory) as process:
                figures.add(number, flows, {"testpmd io": rates(process)})
    lines = ["| flows | this switch | OVS-DPDK | testpmd io | ratio to OVS-DPDK | its busy cycles a packet | OVS-DPDK's | ratio |",
             "|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for flows in (1, 1000):
        a, b, t = (figures.median(flows, name) for name in ("this switch", "OVS-DPDK", "testpmd io"))
        own, other = (statistics.median(cycles[name, flows]) for name in ("this switch", "OVS-DPDK"))
        lines.append(f"| {flows} | {a / 1e6:.2f} | {b / 1e6:.2f} | {t / 1e6:.2f} | {a / b if b else 0:.2f} | {own:.0f} | {other:.0f} "
                     f"| {other / own if own else 0:.2f} |")
    return f"""A virtual machine with two `virtio-user` devices on two `dpdkvhostuserclient` ports: `dpdk-testpmd` makes 64-byte UDP on both (flowgen) and
counts what comes out of the other. Packets are copied twice. The polling thread has processor {CORE} for itself; the machine shares processor 0
with all other threads, so it may be what limits the rate: then the busy cycles a packet, which exclude waiting, tell the switches apart.

{chr(10).join(lines)}
"""


def plot(figures, counts, names, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    drawing, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    colours = dict(zip(names, ("tab:blue", "tab:orange", "tab:red", "tab:grey")))
    for axis, case in zip(axes, ("port", "acl")):
        for name in names:
            points = [(n, rate / 1e6) for n in counts if (rate := figures.median((case, n), name))]
            if points:
                axis.plot(*zip(*points), marker="o", label=name, color=colours[name], linestyle="--" if name == "testpmd io" else "-")
        axis.set_xscale("log")
        axis.set_xlabel("flows in the traffic")
        axis.set_title({"port": "one rule on the port", "acl": "1,000 rules under 49 masks"}[case])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("million packets a second, one core")
    axes[0].set_ylim(bottom=0)
    axes[1].legend()
    drawing.tight_layout()
    drawing.savefig(path, dpi=100)


SECTIONS = {
    "flows": ("One core", rates_by_flows), "masks": ("Masks", rates_by_masks), "pipelines": ("Pipelines", rates_of_pipelines),
    "threads": ("Two polling threads", rates_of_threads), "guests": ("Virtual machines", rates_of_guests),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is started anew")
    parser.add_argument("--turns", type=int, default=8, help="of each peer in a round")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn")
    parser.add_argument("--flows", default="1,1000,10000,100000,1000000")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which of these")
    parser.add_argument("--cores", help="processors of the two polling threads (1,2)")
    parser.add_argument("--output", required=True)
    parser.add_argument("--plot", required=True)
    arguments = parser.parse_args()
    texts = []
    with tempfile.TemporaryDirectory(prefix="forward-in-") as directory, without_slow_pages():
        for key in arguments.sections.split(","):
            title, section = SECTIONS[key]
            texts.append(f"## {title}\n\n{section(arguments, directory)}")
            print(texts[-1])
    with open(arguments.output, "w") as f:
        f.write(f"""# Forwarding

Million packets a second, 64-byte UDP, `net_pcap` (endless) into `net_null` unless it says otherwise, one polling thread; `Benchmarks/forward.py --vswitchd .build/release/vswitchd` on {datetime.date.today()}; {machine()}. The peers run at once
and take turns of {arguments.seconds} seconds, {arguments.turns} in each of {arguments.rounds} rounds; figures are medians of all turns, ratios the medians of the
turns' ratios.

""" + "\n".join(texts))


if __name__ == "__main__":
    main()
