"""Control commands of a daemon over its socket, without the start of a process. As a program (unixctl.py SOCKET) it asks for the version
again and again until its standard input ends, and prints the longest time in ms that an answer took."""
import json
import select
import socket
import sys
import time


class Refused(Exception):
    pass


def ask(path, *words):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(120)
        s.connect(path)
        s.sendall(json.dumps({"id": 0, "method": words[0], "params": list(words[1:])}).encode())
        text, decoder = "", json.JSONDecoder()
        while True:
            piece = s.recv(1 << 20)
            if not piece:
                raise Refused(f"no answer to {words[0]}")
            text += piece.decode()
            try:
                reply = decoder.raw_decode(text)[0]
                break
            except ValueError:
                continue
    if reply.get("error"):
        raise Refused(f"{words[0]}: {str(reply['error'])[:300]}")
    return reply["result"]


def main():
    longest = 0.0
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        start = time.monotonic()
        ask(sys.argv[1], "version")
        longest = max(longest, time.monotonic() - start)
    print(longest * 1000)


if __name__ == "__main__":
    main()
