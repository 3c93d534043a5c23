#!/usr/bin/env python3
"""Runs the switch for minutes under everything at once, and checks that it loses nothing: memory, packets, counts, itself.

Storms (traffic as fast as it goes, new flows all the time, ports that come and go under it, polling threads that come, go and take queues from
each other, flow tables that change) and quiet take turns. In each quiet time, a balance is made of a traffic of known size: what came in went
out, or was dropped for a reason that is counted; packets' memory is all back; the daemon's memory does not grow. Ends with status 1, and says
why, when something is wrong. Needs root and 1,024 huge pages; runs in a network namespace of its own.
"""
import argparse
import datetime
import itertools
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

import unixctl
from dpdkswitch import CORE, Sender, Switch, delete_veth, flow_packet, in_own_network, machine, make_veth, mask, write_capture

#: Ports that stay: a sink, new flows (a veth pair), their sink. Of the balance: a capture that is read once. Of storms: endless capture, sink.
SINK, CHURN, CHURN_SINK, ONCE, ENDLESS, STORM_SINK, GUEST = 2, 4, 5, 7, 11, 12, 13
DROPS = 0xD
RULES = [
    f"priority=30,cookie={DROPS},in_port={ONCE},ip,nw_dst=10.128.0.0/24,actions=drop",
    # A guest's port where no guest is sends nothing, which it has to count.
    f"priority=30,in_port={ONCE},ip,nw_dst=10.128.1.0/24,actions=output:{GUEST}",
    f"priority=20,in_port={ONCE},actions=output:{SINK}",
    f"priority=20,in_port={ENDLESS},actions=output:{STORM_SINK}",
    f"priority=30,cookie={DROPS},in_port={CHURN},ip,nw_dst=10.128.0.0/24,actions=drop",
    # Looks at all of both addresses, so that every packet of the churn is a flow.
    f"priority=20,in_port={CHURN},ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_NX_REG2[],output:{CHURN_SINK}",
    f"priority=0,cookie={DROPS},actions=drop",
]
#: As the real daemon's coverage calls them; those of upcalls are among dpctl/show's lost.
REASONS = ["drop_action_of_pipeline", "datapath_drop_recirc_error", "datapath_drop_invalid_port", "datapath_drop_meter",
           "datapath_drop_tunnel_push_error", "datapath_drop_tunnel_pop_error", "datapath_drop_nsh_decap_error"]


class Soak:
    def __init__(self, arguments, directory):
        self.arguments, self.chance = arguments, random.Random(arguments.seed)
        self.cores = sorted({0, CORE})
        self.once, self.endless = f"{directory}/once.pcap", f"{directory}/endless.pcap"
        write_capture(self.once, range(1000))
        # Read once, so it repeats by itself.
        with open(self.once, "rb") as f:
            header, body = f.read(24), f.read()
        with open(self.once, "wb") as f:
            f.write(header + body * (arguments.packets // 1000))
        self.packets = arguments.packets // 1000 * 1000
        write_capture(self.endless, range(5000, 6000))
        self.failures, self.resident, self.cycles, self.actions = [], [], 0, []
        self.totals = {}
        self.new_flows = (flow_packet(i & 0xFFFFFF) for i in itertools.count(1 << 20))
        self.present = set()
        self.switch = Switch(os.path.abspath(arguments.vswitchd), RULES)
        make_veth("soak0", "soak1")
        self.switch.sink(SINK)
        self.switch.sink(CHURN_SINK)
        self.switch.port(CHURN, f"net_af_packet{CHURN},iface=soak0")

    def stop(self):
        self.switch.stop()
        delete_veth("soak0")

    def fail(self, text):
        self.failures.append(f"cycle {self.cycles}: {text}")
        print(f"WRONG: {self.failures[-1]}", flush=True)

    # Storms

    def toggle(self, number, make):
        if number in self.present:
            self.switch.vsctl("del-port", "br0", f"p{number}")
            self.present.discard(number)
        else:
            make()
            self.present.add(number)

    def set(self, key, value):
        self.switch.vsctl("set", "o", ".", f"other_config:{key}={value}")

    def poll_elsewhere(self):
        self.set("pmd-cpu-mask", mask(self.chance.choice([[c] for c in self.cores] + [self.cores])))

    def change_flows(self):
        self.switch.add_flows([f"priority=10,cookie=0xf,udp,tp_dst={self.chance.randrange(1, 65536)},actions=drop" for _ in range(200)])
        if self.chance.random() < 0.3:
            self.switch.ofctl("del-flows", "cookie=0xf/-1")

    def act(self):
        """One of the things that can happen to a switch."""
        name, change = self.chance.choice([
            ("endless traffic", lambda: self.toggle(ENDLESS, lambda: self.switch.capture(ENDLESS, self.endless))),
            ("its port", lambda: self.toggle(ENDLESS, lambda: self.switch.capture(ENDLESS, self.endless))),
            ("its sink", lambda: self.toggle(STORM_SINK, lambda: self.switch.sink(STORM_SINK))),
            ("a guest's port", lambda: self.toggle(GUEST, lambda: self.switch.guest_port(GUEST))),
            ("threads", self.poll_elsewhere),
            ("other threads", self.poll_elsewhere),
            ("descriptors", lambda: self.set_churn(f"options:n_rxq_desc={self.chance.choice([256, 512, 1024])}")),
            ("affinity", lambda: self.set_churn(f"other_config:pmd-rxq-affinity=0:{self.chance.choice(self.cores)}")),
            ("assignment", lambda: self.set("pmd-rxq-assign", self.chance.choice(["roundrobin", "cycles", "group"]))),
            ("rebalance", lambda: self.switch.appctl("dpif-netdev/pmd-rxq-rebalance")),
            ("purge", lambda: self.switch.appctl("revalidator/purge")),
            ("flows", self.change_flows),
        ])
        self.actions.append(name)
        change()

    def set_churn(self, setting):
        self.switch.vsctl("set", "interface", f"p{CHURN}", setting)

    def storm(self, seconds):
        sender = Sender("soak1", self.new_flows, self.arguments.rate)
        sender.start()
        self.switch.sink(STORM_SINK)
        self.present.add(STORM_SINK)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.act()
            self.check_alive()
            time.sleep(self.chance.uniform(0, 0.4))
        sender.stop()
        self.clear_ports()
        self.switch.ofctl("del-flows", "cookie=0xf/-1")

    def clear_ports(self):
        for number in sorted(self.present):
            self.switch.vsctl("del-port", "br0", f"p{number}")
        self.present.clear()

    def check_alive(self):
        if self.switch.daemon.poll() is not None:
            with open(f"{self.switch.directory}/switch.log") as f:
                tail = f.read()[-2000:]
            self.fail(f"the daemon ended with {self.switch.daemon.returncode} after the changes {', '.join(self.actions[-12:])}\n{tail}")
            raise StopIteration

    # Quiet, and the balance

    def settle(self):
        """Waits until nothing moves, and the flows' counts are in the rules."""
        before = None
        for _ in range(40):
            time.sleep(0.5)
            now = self.counts()
            if now == before:
                return now
            before = now
        self.fail("counters do not come to rest")
        return before

    def counts(self):
        # What the datapath counted is in the rules then.
        self.switch.appctl("revalidator/wait")
        c = {}
        for number in [SINK, CHURN, CHURN_SINK, *sorted(self.present)]:
            for key, value in self.switch.counters(number).items():
                c[f"{key} {number}"] = value
        c["lost"] = int(re.search(r"lost:(\d+)", self.switch.appctl("dpctl/show")).group(1))
        for reason in REASONS:
            c[reason] = self.reason(reason)
        rules = re.findall(r"cookie=(0x[0-9a-f]+),.*?n_packets=(\d+)", self.switch.ofctl("dump-flows"))
        c["by rules"] = sum(int(n) for _, n in rules)
        c["dropped by rules"] = sum(int(n) for cookie, n in rules if int(cookie, 16) == DROPS)
        return c

    def reason(self, name):
        try:
            return int(self.switch.appctl("coverage/read-counter", name))
        except unixctl.Refused:
            return 0

    def balance(self):
        """A traffic of known size, with threads that change under it."""
        self.switch.guest_port(GUEST)
        self.present.add(GUEST)
        before = self.settle()
        sender = Sender("soak1", itertools.islice(self.new_flows, self.arguments.rate * 3), self.arguments.rate)
        sender.start()
        self.switch.port(ONCE, f"net_pcap{ONCE},rx_pcap={self.once}")
        self.present.add(ONCE)
        for _ in range(6):
            self.poll_elsewhere()
            time.sleep(0.5)
        sender.join()
        after = self.settle()
        c = {key: value - before.get(key, 0) for key, value in after.items()}
        self.clear_ports()
        received = c[f"received {ONCE}"] + c[f"received {CHURN}"]
        sent = c[f"sent {SINK}"] + c[f"sent {CHURN_SINK}"]
        unsent = sum(c[f"send_drops {n}"] for n in (SINK, CHURN_SINK, GUEST))
        reasons = {key: c[key] for key in REASONS if c[key]} | {"lost": c["lost"], "not sent": unsent}
        for key, value in (reasons | {"received": received, "sent": sent}).items():
            self.totals[key] = self.totals.get(key, 0) + value
        told = ", ".join(f"{key} {value:,}" for key, value in reasons.items())
        if c[f"received {ONCE}"] != self.packets:
            self.fail(f"{c[f'received {ONCE}']:,} packets of a capture of {self.packets:,} were received")
        if received != sent + sum(reasons.values()):
            self.fail(f"received {received:,}, sent {sent:,}, {told}: {received - sent - sum(reasons.values()):+,} are not accounted for")
        if c["by rules"] != received - c["lost"]:
            self.fail(f"rules counted {c['by rules']:,} packets of {received:,} received without {c['lost']:,} lost")
        if c["dropped by rules"] != c["drop_action_of_pipeline"]:
            self.fail(f"rules dropped {c['dropped by rules']:,}, the datapath for rules {c['drop_action_of_pipeline']:,}")
        return f"received {received:,} = sent {sent:,} + {told}"

    def check_memory(self):
        """All flows gone, all packets back."""
        self.switch.appctl("revalidator/purge")
        try:
            self.switch.wait(lambda: self.switch.megaflows() == 0, 15)
        except SystemExit:
            self.fail(f"{self.switch.megaflows()} megaflows stay where nothing moves")
        time.sleep(1)
        in_use = self.switch.packets_in_use(SINK)
        if in_use is None:
            if self.cycles == 1:
                self.fail("the daemon does not tell what its pool of packets has (netdev-dpdk/get-mempool-info)")
        elif in_use:
            self.fail(f"{in_use} packets of the pool are not back")
        self.resident.append(self.switch.resident())
        return in_use

    def growth(self):
        """Of resident memory after the first third: the last third of the rest against the first, in bytes and parts."""
        rest = self.resident[len(self.resident) // 3:]
        third = max(1, len(rest) // 3)
        first, last = statistics.median(rest[:third]), statistics.median(rest[-third:])
        return last - first, (last - first) / first

    def run(self):
        end = time.monotonic() + self.arguments.minutes * 60
        try:
            while time.monotonic() < end:
                self.cycles += 1
                self.storm(self.arguments.storm)
                text = self.balance()
                in_use = self.check_memory()
                self.check_alive()
                print(f"cycle {self.cycles}: {text}; packets in use {in_use}; resident {self.resident[-1] / 1e6:.1f} MB", flush=True)
        except StopIteration:
            return
        if len(self.resident) < 6:
            print(f"{len(self.resident)} cycles are too few to tell whether memory grows")
            return
        grown, part = self.growth()
        if grown > 4e6 and part > 0.03:
            self.fail(f"resident memory grew by {grown / 1e6:.1f} MB ({100 * part:.1f} %): {[round(r / 1e6, 1) for r in self.resident]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--storm", type=float, default=8, help="seconds of each storm")
    parser.add_argument("--packets", type=int, default=1_000_000, help="of each balance's capture")
    parser.add_argument("--rate", type=int, default=5_000, help="new flows per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    in_own_network()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(arguments, directory)
        try:
            soak.run()
        except (SystemExit, unixctl.Refused, OSError, subprocess.TimeoutExpired) as error:
            soak.fail(f"{error}, after the changes {', '.join(soak.actions[-12:])}")
        finally:
            soak.stop()
    total = ", ".join(f"{key} {value:,}" for key, value in soak.totals.items())
    memory = [r / 1e6 for r in soak.resident] or [0]
    outcome = "Nothing is wrong." if not soak.failures else "Wrong:\n\n" + "\n".join(f"- {f}" for f in soak.failures[:20])
    print(f"{soak.cycles} cycles, {len(soak.actions)} changes; {total}\n{outcome}")
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(f"""# Soak

`Benchmarks/soak.py --vswitchd .build/release/vswitchd --minutes {arguments.minutes:g} --seed {arguments.seed}` on {datetime.date.today()};
{machine()}.

| what | figure |
|---|---|
| storms, and balances after them | {soak.cycles} |
| changes of ports, threads and flows in storms | {len(soak.actions)} |
| packets of all balances | {total} |
| resident memory after the first, a third, and all of them | {memory[0]:.1f}, {memory[len(memory) // 3]:.1f}, {memory[-1]:.1f} MB |

{outcome}

A storm is endless traffic on a port that comes and goes, {arguments.rate:,} new flows a second, polling threads that come and go on the processors,
queues that move between them, devices that begin anew, ports of virtual machines, and changing flow tables. The balance after it is exact: a
capture of {arguments.packets:,} packets and new flows beside it, while threads change; what was received is what was sent, dropped by rules, lost
on the way to the main thread, or refused by a guest's port without a guest.
""")
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
