"""Peers that take turns on one processor, a fraction of a second each.

The speed of a shared machine can change by half within a minute. Peers that run one after the other meet different machines; here all are there, with
their ports and traffic, and all but one are stopped (SIGSTOP). A turn of each follows within two seconds, so that a turn's figures can be compared
with each other, whatever the machine does between turns.
"""
import re
import signal
import statistics
import subprocess
import time

#: Seconds that a peer runs before its packets are counted: its caches are cold.
WARM = 0.05


class Testpmd:
    """dpdk-testpmd, which is asked for what its ports counted."""

    def __init__(self, *words, ports):
        self.ports = ports
        # Its lines come one by one, not by the buffer.
        self.process = subprocess.Popen(["stdbuf", "-oL", "dpdk-testpmd", *words, "--auto-start", "--interactive"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)

    def packets(self, direction):
        """Packets that all its ports received or sent (RX, TX) since it began."""
        self.process.stdin.write("show port stats all\n")
        counts = []
        for line in self.process.stdout:
            if m := re.search(rf"\b{direction}-packets:\s+(\d+)", line):
                counts.append(int(m.group(1)))
                if len(counts) == self.ports:
                    return sum(counts)
        raise SystemExit("dpdk-testpmd ended")

    def sent(self):
        return self.packets("TX")

    def signal(self, number):
        self.process.send_signal(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def rate(sent, seconds):
    """Packets per second, by what `sent` tells now and later."""
    before, start = sent(), time.monotonic()
    time.sleep(seconds)
    after = sent()
    return (after - before) / (time.monotonic() - start)


def take_turns(peers, turns, seconds):
    """Rates of each peer, by turns. Peers, by name, have `signal` and `sent`; they are stopped when this begins, and when it ends."""
    rates = {name: [] for name in peers}
    for _ in range(turns):
        for name, peer in peers.items():
            peer.signal(signal.SIGCONT)
            time.sleep(WARM)
            rates[name].append(rate(peer.sent, seconds))
            peer.signal(signal.SIGSTOP)
    return rates


class Figures:
    """Rates by case and peer, as the turns of all rounds had them."""

    def __init__(self):
        self.rates = {}

    def add(self, round_number, case, rates):
        for name, values in rates.items():
            self.rates.setdefault((case, name), []).extend(values)
            print(f"round {round_number + 1}, {case}, {name}: {statistics.median(values) / 1e6:.2f} Mpps "
                  f"({min(values) / 1e6:.2f} to {max(values) / 1e6:.2f})", flush=True)

    def median(self, case, name):
        """Packets per second; 0 when this was not measured."""
        return statistics.median(self.rates.get((case, name), [0]))

    def ratio(self, case, name, *others):
        """How many times as fast as the fastest of the others: the median of the turns' ratios."""
        own = self.rates.get((case, name), [])
        ratios = [statistics.median(a / b for a, b in zip(own, self.rates[case, other]) if b) for other in others if (case, other) in self.rates]
        return min(ratios, default=0)
