"""Prints the sFlow and IPFIX datagrams that arrive at a port, decoded, until it is ended: collect.py PORT."""

import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import datagrams

collector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
collector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
collector.bind(("127.0.0.1", int(sys.argv[1])))
ipfix = datagrams.IPFIX()
while True:
    data = collector.recv(65536)
    decode = ipfix.message if data[:2] == b"\0\x0a" else datagrams.sflow
    for kind, lines in decode(data):
        print(kind, " ".join(lines), flush=True)
