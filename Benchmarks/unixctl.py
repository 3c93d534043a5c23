"""Control commands of a daemon over its socket, without the start of a process. As a program (unixctl.py SOCKET) it asks for the version
at fixed times until its standard input ends, whether or not the last answer came, and prints the longest time in ms that an answer took:
a daemon that answers at once is not asked more often than one that keeps others waiting."""
import json
import select
import socket
import sys
import time

# Seconds between two questions for the version.
INTERVAL = 0.02
# More do not wait at a time, since a socket takes only so many connections that nobody accepts.
WAITING = 8


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


class Question:
    """One question that waits for its answer."""

    def __init__(self, path, asked):
        self.asked = asked
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(path)
        self.socket.sendall(b'{"id":0,"method":"version","params":[]}')

    def fileno(self):
        return self.socket.fileno()

    def close(self):
        if not self.socket.recv(1 << 16):
            raise Refused("no answer to version")
        self.socket.close()


def main():
    longest, next_at, waiting, is_over = 0.0, time.monotonic(), set(), False
    while not is_over or waiting:
        wait = None if is_over else max(0.0, next_at - time.monotonic())
        ready = select.select([*waiting] if is_over else [sys.stdin, *waiting], [], [], wait)[0]
        now = time.monotonic()
        for question in waiting.intersection(ready):
            question.close()
            waiting.remove(question)
            longest = max(longest, now - question.asked)
        is_over = is_over or sys.stdin in ready
        if now >= next_at and not is_over:
            if len(waiting) < WAITING:
                waiting.add(Question(sys.argv[1], now))
            next_at = max(next_at + INTERVAL, now)
    print(longest * 1000)


if __name__ == "__main__":
    main()
