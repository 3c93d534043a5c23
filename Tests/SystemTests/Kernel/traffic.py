"""Traffic for the checks of the kernel's datapath: small servers and clients.

serve PROTO PORT          answer what comes, for ever; PROTO tcp or udp, with 6 behind it for IPv6
ask PROTO ADDRESS PORT [SOURCEPORT]
                          send a line, print "ADDRESS PORT" of whom the server saw; status 1 without an answer
sink PORT                 receive TCP for ever
push ADDRESS PORT SECONDS print the megabits per second that TCP got through
flood ADDRESS PORT KBPS SECONDS
                          UDP of 1000 bytes at a rate
sctp ADDRESS FROM TO      send one packet with an SCTP header
sniff DEVICE PORT COUNT   print the first eight bytes of so many UDP packets for a port as they leave or come
ftp PORT                  serve the little of FTP that a passive transfer needs, for ever
fetch ADDRESS PORT        print what such a server has
count PORT SECONDS        print the bytes of UDP that arrive within the time after the first packet
"""
import socket
import sys
import time


def family(proto):
    return socket.AF_INET6 if proto.endswith("6") else socket.AF_INET


def serve(proto, port):
    kind = socket.SOCK_STREAM if proto.startswith("tcp") else socket.SOCK_DGRAM
    s = socket.socket(family(proto), kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::" if proto.endswith("6") else "0.0.0.0", int(port)))
    if kind == socket.SOCK_DGRAM:
        while True:
            data, peer = s.recvfrom(65536)
            s.sendto(f"{peer[0]} {peer[1]}".encode(), peer)
    s.listen(64)
    while True:
        c, peer = s.accept()
        with c:
            c.recv(65536)
            c.sendall(f"{peer[0]} {peer[1]}".encode())


def ask(proto, address, port, source="0"):
    kind = socket.SOCK_STREAM if proto.startswith("tcp") else socket.SOCK_DGRAM
    for attempt in range(3):
        s = socket.socket(family(proto), kind)
        s.settimeout(1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::" if proto.endswith("6") else "0.0.0.0", int(source)))
        try:
            s.connect((address, int(port)))
            s.send(b"hello\n")
            print(s.recv(65536).decode())
            return
        except OSError as e:
            problem = e
        finally:
            s.close()
    sys.exit(f"no answer: {problem}")


def listener(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(port)))
    s.listen(8)
    return s


def sink(port):
    s = listener(port)
    while True:
        c, _ = s.accept()
        with c:
            while c.recv(1 << 16):
                pass


def push(address, port, seconds):
    s = socket.create_connection((address, int(port)), 5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    s.settimeout(float(seconds) + 5)
    data = bytes(1 << 14)
    sent, begin = 0, time.time()
    while time.time() - begin < float(seconds):
        sent += s.send(data)
    print(round(sent * 8 / (time.time() - begin) / 1e6, 2))


def flood(address, port, kbps, seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gap = 8000 / (float(kbps) * 1000)
    begin = due = time.time()
    while due - begin < float(seconds):
        s.sendto(bytes(972), (address, int(port)))
        due += gap
        time.sleep(max(0, due - time.time()))


def sniff(device, port, count):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
    s.bind((device, 0x800))
    left = int(count)
    while left:
        data = s.recv(65536)
        at = (data[0] & 15) * 4
        if data[9] == 17 and int.from_bytes(data[at + 2 : at + 4], "big") == int(port):
            print(data[at + 8 : at + 16].hex(), flush=True)
            left -= 1


def sctp(address, source, destination):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    header = int(source).to_bytes(2, "big") + int(destination).to_bytes(2, "big")
    s.sendto(header + bytes(28), (address, 0))


def ftp(port):
    s = listener(port)
    while True:
        control, _ = s.accept()
        with control, socket.socket() as data:
            control.sendall(b"220 ready\r\n")
            if not control.recv(1024).startswith(b"NOOP"):
                continue
            control.sendall(b"200 well\r\n")
            if not control.recv(1024).startswith(b"PASV"):
                continue
            data.bind((control.getsockname()[0], 0))
            data.listen(1)
            data.settimeout(2)
            address, number = data.getsockname()
            place = ",".join([*address.split("."), str(number >> 8), str(number & 255)])
            control.sendall(f"227 Entering Passive Mode ({place}).\r\n".encode())
            try:
                with data.accept()[0] as c:
                    c.sendall(b"fetched\n")
            except OSError:
                pass


def fetch(address, port):
    with socket.create_connection((address, int(port)), 3) as control:
        control.recv(1024)
        control.sendall(b"NOOP\r\n")
        control.recv(1024)
        control.sendall(b"PASV\r\n")
        *host, high, low = control.recv(1024).decode().split("(")[1].split(")")[0].split(",")
        with socket.create_connection((".".join(host), int(high) << 8 | int(low)), 2) as data:
            print(data.recv(1024).decode().strip())


def count(port, seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind(("0.0.0.0", int(port)))
    # The time begins with the first packet.
    s.settimeout(15)
    s.recv(65536)
    total, end = 0, time.time() + float(seconds)
    while time.time() < end:
        s.settimeout(max(0.01, end - time.time()))
        try:
            total += len(s.recv(65536)) + 28
        except OSError:
            pass
    print(total)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
