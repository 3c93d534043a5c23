#!/usr/bin/env python3
"""How fast flows are set up and what each takes of memory, on this switch and on Open vSwitch with DPDK.

Every packet of a capture is a flow of its own, because the rules look at all of its addresses; the capture comes in as fast as it is taken.
Then a steady traffic, beside which new flows come at a fixed rate. Needs root and 1,024 huge pages; runs in a network namespace of its own.
"""
import argparse
import datetime
import os
import re
import statistics
import tempfile
import time

from dpdkswitch import OVS, Sender, Switch, acl_rules, delete_veth, flow_packet, in_own_network, machine, make_veth, without_slow_pages, write_capture

#: Through three tables to one port, and every bit of both addresses is looked at. What comes in at port 4 leaves by port 5.
RULES = ["table=0,actions=load:0x1->NXM_NX_REG0[],resubmit(,1)",
         "table=1,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_NX_REG2[],resubmit(,2)",
         "table=2,actions=output:2", "table=2,priority=40000,in_port=4,actions=output:5"]
#: The same with a thousand rules under 49 masks in the third table, which decide by addresses and ports.
ACL_RULES = RULES + ["table=2," + rule for rule in acl_rules()]
STEADY_FLOWS = 1000
#: Flows of the churn begin here: none of the steady traffic's.
FIRST_NEW = 1 << 20


def start(command, limit, rules=RULES):
    switch = Switch(command, rules, [f"flow-limit={limit}"])
    # The real daemon begins with a lower limit, and raises it bit by bit.
    switch.appctl("upcall/set-flow-limit", str(limit))
    return switch


def upcalls(switch):
    """Packets that polling threads had no flow for, as the switch counts them: served and not."""
    text = switch.appctl("dpif-netdev/pmd-stats-show").split("main thread")[0]
    return tuple(sum(int(n) for n in re.findall(rf"miss with {how} upcall: (\d+)", text)) for how in ("success", "failed"))


def fill(command, flows, captures, rules=RULES):
    """Figures of a switch that gets all flows at once."""
    with start(command, flows * 2, rules) as switch:
        switch.vsctl("set", "o", ".", "other_config:max-idle=600000")
        switch.sink(2)
        switch.capture(1, captures["one"])
        time.sleep(2)
        known, resident, before = switch.megaflows(), switch.resident(), upcalls(switch)
        samples, end = [(time.monotonic(), 0)], time.monotonic() + 90
        switch.capture(3, captures["all"])
        while samples[-1][1] < flows * 0.999 and time.monotonic() < end:
            time.sleep(0.05)
            known_now = switch.megaflows()  # may take long, where packets keep the main thread from commands
            samples.append((time.monotonic(), known_now - known))
        waits = [b - a for (a, _), (b, _) in zip(samples[1:], samples[2:])] or [samples[-1][0] - samples[0][0]]
        served, failed = (b - a for a, b in zip(before, upcalls(switch)))
        time.sleep(1)
        installed = switch.megaflows() - known
        return {"rate": slope(samples, flows * 0.02, flows * 0.5), "bytes": (switch.resident() - resident) / max(1, installed),
                "installed": installed, "served": served, "failed": failed, "wait": max(waits) * 1000}


def slope(samples, low, high):
    """Flows a second between two counts of flows, or as far as it came."""
    inside = [(t, n) for t, n in samples if low <= n <= high]
    if len(inside) < 2:  # it was not told in between
        inside = [samples[0]] + [s for s in samples if s[1] > high][:1]
    (t0, n0), (t1, n1) = inside[0], inside[-1]
    return (n1 - n0) / (t1 - t0) if t1 > t0 else 0


def churn(command, arguments, captures, packets):
    """Figures of a switch with steady traffic, to which new flows are added."""
    with start(command, 200_000) as switch:
        switch.sink(2)
        switch.sink(5)
        switch.capture(1, captures["steady"])
        make_veth("churn0", "churn1")
        try:
            switch.port(4, "net_af_packet4,iface=churn0")
            time.sleep(2)
            before = statistics.median(switch.rate(1, 2) for _ in range(3))
            came, went = switch.counters(4)["received"], switch.counters(5)["sent"]
            sender, begin = Sender("churn1", packets, arguments.rate), time.monotonic()
            sender.start()
            rates = []
            while time.monotonic() < begin + arguments.seconds:
                rates.append(switch.rate(1, 2))
            megaflows = switch.megaflows()
            sender.stop()
            lasted = time.monotonic() - begin
            time.sleep(1)
            came, went = switch.counters(4)["received"] - came, switch.counters(5)["sent"] - went
        finally:
            delete_veth("churn0")
        return {"before": before, "during": statistics.median(rates[len(rates) // 2:]), "offered": sender.sent / lasted, "came": came / lasted,
                "went": went / lasted, "megaflows": megaflows}


ROWS = [
    ("rate", "flows set up per second, every packet a new flow", "{:,.0f}"), ("installed", "— flows at the end, of {flows}", "{:,.0f}"),
    ("served", "— packets without a flow that were taken", "{:,.0f}"), ("failed", "— that were not", "{:,.0f}"),
    ("wait", "— longest wait for `dpctl/show` meanwhile, ms", "{:,.0f}"),
    ("acl", "flows set up per second through an ACL of 1,000 rules in 49 masks", "{:,.0f}"),
    ("bytes", "resident bytes per megaflow (less is better)", "{:,.0f}"),
    ("before", "steady traffic alone, packets per second", "{:,.0f}"), ("during", "— beside new flows", "{:,.0f}"),
    ("left", "— left, %", "{:.0f}"), ("offered", "— packets of new flows sent per second", "{:,.0f}"),
    ("came", "— that the port took", "{:,.0f}"), ("went", "— that were forwarded", "{:,.0f}"),
    ("megaflows", "— megaflows at the end", "{:,.0f}"),
]
RATIOS = ("rate", "acl", "bytes", "before", "during", "went")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vswitchd", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flows", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=10_000, help="new flows per second beside the steady traffic")
    parser.add_argument("--seconds", type=float, default=20, help="how long they come; flows become idle after 10")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    in_own_network()
    commands = {"this switch": os.path.abspath(arguments.vswitchd), "OVS-DPDK": OVS}
    results = {name: [] for name in commands}
    packets = [flow_packet(FIRST_NEW + i) for i in range(int(arguments.rate * (arguments.seconds + 5)))]
    with tempfile.TemporaryDirectory() as directory, without_slow_pages():
        captures = {}
        for name, count in (("one", 1), ("steady", STEADY_FLOWS), ("all", arguments.flows)):
            captures[name] = f"{directory}/{name}.pcap"
            write_capture(captures[name], range(count))
        for number in range(arguments.rounds):
            for name, command in commands.items():
                figures = fill(command, arguments.flows, captures) | churn(command, arguments, captures, packets)
                figures["acl"] = fill(command, arguments.flows, captures, ACL_RULES)["rate"]
                figures["left"] = 100 * figures["during"] / figures["before"]
                results[name].append(figures)
                print(f"round {number + 1}, {name}: " + ", ".join(f"{k} {v:,.0f}" for k, v in figures.items()), flush=True)
    lines = ["| measure | this switch | OVS-DPDK | ratio |", "|---|---:|---:|---:|"]
    for key, title, form in ROWS:
        ours, theirs = (statistics.median(r[key] for r in results[name]) for name in commands)
        ratio = f"{ours / theirs:.2f}" if key in RATIOS and theirs else ""
        lines.append(f"| {title.format(flows=f'{arguments.flows:,}')} | {form.format(ours)} | {form.format(theirs)} | {ratio} |")
    table = "\n".join(lines)
    print(table)
    if arguments.output:
        with open(arguments.output, "w") as f:
            f.write(f"""# Setting up flows

Medians of {arguments.rounds} interleaved rounds of `Benchmarks/setups.py --vswitchd .build/release/vswitchd` on {datetime.date.today()};
{machine()}. One polling thread; the other processor has all other threads.

{table}

- Every packet a new flow: a capture of {arguments.flows:,} flows that is read in circles, through three tables that look at all of both
  addresses; then the same with a thousand rules on addresses and ports in the third. The rate is of the datapath's count of flows, between 2 and 50 % of them; later packets increasingly have a flow already. Open
  vSwitch serves upcalls on the polling thread, which takes no packets meanwhile; this switch serves them on its main thread, so packets beyond
  what that can take are counted as not taken, and their flows come again.
- Memory: growth of VmRSS, without huge pages, over those flows, divided by their number.
- Churn: {STEADY_FLOWS:,} flows, endless, while packets that are each of a new flow come from a veth pair (`net_af_packet`) to the same polling
  thread at {arguments.rate:,} a second for {arguments.seconds:.0f} s. The sender is a thread of the script, on the other processor.
""")


if __name__ == "__main__":
    main()
