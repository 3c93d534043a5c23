#!/usr/bin/env python3
"""Prints a scenario of OpenFlow messages with up to three wrong bytes each, made by chance of those of the scenarios here. What is answered is
compared: which error, or what was taken. The same seed gives the same scenario.

    mutate.py SEED MESSAGES > FILE && oracle run FILE

Known to differ: fields that nobody knows, in set_field and learn (the real daemon's error depends on where in a hash table it looks), and
flow monitor requests that end too early (its answer quotes the memory behind them).
"""
import glob
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MESSAGE = re.compile(r"ofraw br0 ([0-9a-f]{16,2000})$")


def originals():
    found = {}
    for name in sorted(glob.glob(os.path.join(HERE, "*.scn"))):
        for line in open(name):
            match = MESSAGE.match(line.strip())
            if match and len(match[1]) // 2 == int(match[1][4:8], 16) and 1 <= int(match[1][:2], 16) <= 6:
                found[match[1]] = None
    return list(found)


def mutate(message, chance):
    """Never the header, but its transaction id."""
    message = bytearray(bytes.fromhex(message))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(8, len(message))
        byte = message[at]
        message[at] = chance.choice([0, 255, byte ^ 1, (byte + 1) & 255, (byte - 1) & 255, chance.randrange(256), byte ^ (1 << chance.randrange(8))])
    return message


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    print(f"# Seed {seed}, {count} messages of mutate.py.")
    print("vsctl add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:00 "
          "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15")
    for i in (1, 2):
        print(f"vsctl add-port br0 p{i} -- set interface p{i} type=dummy ofport_request={i}")
    messages = [m for m in originals() if len(m) > 16]
    for xid in range(0x1000, 0x1000 + count):
        message = mutate(chance.choice(messages), chance)
        message[4:8] = xid.to_bytes(4, "big")
        print(f"ofraw br0 {message.hex()}")


if __name__ == "__main__":
    main()
