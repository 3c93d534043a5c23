#!/usr/bin/env python3
"""How long packets take through this switch and through Open vSwitch with DPDK, at a tenth and at four fifths of what they can do.

A virtual machine (prober.c, made here with the C compiler) sends 64-byte UDP with the time in it on one vhost-user port, and receives it from
another. Needs root, libdpdk-dev and 1,024 huge pages.
"""
import argparse
import datetime
import json
import os
import re
import shlex
import statistics
import subprocess
import tempfile
import time

from dpdkswitch import CORE, OVS, Switch, machine

#: Per cent of what the slower switch can do, or of what each can itself.
LOADS = [(10, "slower"), (80, "slower"), (80, "own")]
PERCENTILES = {"p50": "50 %", "p99": "99 %", "p999": "99.9 %"}


def build(directory):
    """The virtual machine's program."""
    source, program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prober.c"), f"{directory}/prober"
    flags = shlex.split(subprocess.run(["pkg-config", "--cflags", "--libs", "libdpdk"], check=True, capture_output=True, text=True).stdout)
    subprocess.run(["cc", "-O2", "-o", program, source, *flags], check=True)
    return program


def probe(switch, program, paths, rate, seconds):
    """What the virtual machine saw at so many packets a second; 0 are as many as possible."""
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)  # left by the one before
    devices = [f"--vdev=net_virtio_user{i},path={path},server=1,queue_size=1024" for i, path in enumerate(paths)]
    process = subprocess.Popen([program, "--lcores", "0@0", "--in-memory", "--single-file-segments", "--no-pci", "--file-prefix=prober",
                                "--no-telemetry", *devices, "--", str(rate), str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        switch.wait_for_link(1, 2)
        time.sleep(2)  # as the prober warms up
        switch.appctl("dpif-netdev/pmd-stats-clear")
        time.sleep(seconds * 0.8)
        busy = re.search(r"processing cycles: \d+ \(([\d.]+)%\)", switch.appctl("dpif-netdev/pmd-stats-show"))
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"the prober says nothing: {errors[-500:]}")
    return json.loads(lines[-1]) | {"busy": float(busy.group(1)) if busy else 0}


class Side:
    """A switch with a virtual machine's two ports."""

    def __init__(self, command):
        self.switch = Switch(command, ["in_port=1,actions=output:2"])
        try:
            self.paths = [self.switch.guest_port(n) for n in (1, 2)]
        except BaseException:
            self.switch.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.switch.stop()

    def probe(self, program, rate, seconds):
        return probe(self.switch, program, self.paths, rate, seconds)


def measure(commands, program, arguments, number, results):
    """One round: what each can do, and then the loads, each switch alone on the machine."""
    most = {}
    for name, command in commands.items():
        with Side(command) as side:
            figures = side.probe(program, 0, arguments.seconds)
        most[name] = figures["received"] / figures["seconds"]
        results.setdefault((name, "most"), []).append(figures | {"rate": most[name]})
        print(f"round {number + 1}, {name}: at most {most[name] / 1e6:.3f} Mpps: {json.dumps(figures)}", flush=True)
    for share, of in LOADS:
        for name, command in commands.items():
            rate = (min(most.values()) if of == "slower" else most[name]) * share / 100
            with Side(command) as side:
                figures = side.probe(program, rate, arguments.seconds) | {"rate": rate}
            results.setdefault((name, share, of), []).append(figures)
            print(f"round {number + 1}, {name}, {share} % of {of}: {json.dumps(figures)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    commands = {"this switch": os.path.abspath(arguments.vswitchd), "OVS-DPDK": OVS}
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        program = build(directory)
        for number in range(arguments.rounds):
            measure(commands, program, arguments, number, results)

    def median(key, figure):
        return statistics.median(r[figure] for r in results[key])

    lines = ["| load | percentile | this switch, µs | OVS-DPDK, µs | ratio |", "|---|---|---:|---:|---:|"]
    notes = ["| load | switch | packets a second | polling thread busy, % | lost, % | left out, % |", "|---|---|---:|---:|---:|---:|"]
    for share, of in LOADS:
        title = f"{share} % of {'what the slower can' if of == 'slower' else 'what it can itself'}"
        for key, percentile in PERCENTILES.items():
            ours, theirs = (median((name, share, of), key) / 1000 for name in commands)
            lines.append(f"| {title} | {percentile} | {ours:.1f} | {theirs:.1f} | {ours / theirs if theirs else 0:.2f} |")
        for name in commands:
            runs = results[name, share, of]
            offered = sum(r["sent"] + r["refused"] for r in runs)
            received, samples = sum(r["received"] for r in runs), sum(r["samples"] for r in runs)
            notes.append(f"| {title} | {name} | {median((name, share, of), 'rate'):,.0f} | {median((name, share, of), 'busy'):.0f} | "
                         f"{100 * max(0, offered - received) / max(1, offered):.3f} | "
                         f"{100 * max(0, received - samples) / max(1, received):.1f} |")
    table = "\n".join(lines + [""] + notes)
    most = " and ".join(f"{median((name, 'most'), 'rate') / 1e6:.2f} Mpps through {name} "
                        f"(its polling thread {median((name, 'most'), 'busy'):.0f} % busy)" for name in commands)
    print(table, most, sep="\n\n")
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(f"""# Latency

Medians of {arguments.rounds} interleaved rounds of `Benchmarks/latency.py --vswitchd .build/release/vswitchd` on {datetime.date.today()};
{machine()}. A virtual machine (`Benchmarks/prober.c`) sends 64-byte UDP of 1,000 flows at even distances from one `dpdkvhostuserclient` port, and
receives it from another. It has processor 0 together with the switch's other threads; the polling thread has processor {CORE} for itself.

{table}

- The loads are shares of what passes when the machine sends as fast as it can: {most}.
  *Of what the slower can* is the same number of packets for both. Where a polling thread is not busy all the time, the machine was the limit.
- The time is from when a packet was due to its reception, so what waits in the machine's own queue counts. It includes the machine's part.
- Left out are packets that were under way while the machine did not have its processor for 20 µs or longer; lost includes what the machine's
  full queue refused.
""")


if __name__ == "__main__":
    main()
