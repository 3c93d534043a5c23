"""Decodes sFlow version 5 and IPFIX datagrams into lines of text that two daemons' exports can be compared by."""

import socket
import struct


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError("truncated at %d of %d, %d wanted" % (self.at, len(self.data), n))
        self.at += n
        return self.data[self.at - n : self.at]

    def u32(self):
        return struct.unpack("!I", self.take(4))[0]

    def u64(self):
        return struct.unpack("!Q", self.take(8))[0]

    def address(self):
        kind = self.u32()
        if kind == 1:
            return socket.inet_ntop(socket.AF_INET, self.take(4))
        if kind == 2:
            return socket.inet_ntop(socket.AF_INET6, self.take(16))
        return "address of type %d" % kind

    def text(self):
        n = self.u32()
        out = self.take(n).decode()
        self.take(-n % 4)
        return out

    @property
    def left(self):
        return len(self.data) - self.at


def tunnel(r):
    length, protocol = r.u32(), r.u32()
    source, destination = (socket.inet_ntoa(r.take(4)) for _ in range(2))
    return "length=%d protocol=%d %s>%s ports=%d>%d flags=%d tos=%d" % (
        (length, protocol, source, destination) + tuple(r.u32() for _ in range(4)))


def flow_record(tag, r):
    if tag == 1:
        protocol, length, stripped, n = (r.u32() for _ in range(4))
        text = "header protocol=%d length=%d stripped=%d bytes=%s" % (protocol, length, stripped, r.take(n).hex())
        r.take(-n % 4)
        return text
    if tag == 1001:
        return "switch in=%d/%d out=%d/%d" % tuple(r.u32() for _ in range(4))
    if tag == 1006:
        hop = r.address()
        stacks = [[hex(r.u32()) for _ in range(r.u32())] for _ in range(2)]
        return "mpls next=%s in=%s out=%s" % (hop, stacks[0], stacks[1])
    if tag in (1023, 1024):
        return "tunnel %s %s" % ("egress" if tag == 1023 else "ingress", tunnel(r))
    if tag in (1029, 1030):
        return "vni %s %d" % ("egress" if tag == 1029 else "ingress", r.u32())
    return "flow record %d %s" % (tag, r.take(r.left).hex())


INTERFACE = [("index", 4), ("type", 4), ("speed", 8), ("direction", 4), ("status", 4), ("inOctets", 8), ("inUnicast", 4), ("inMulticast", 4),
    ("inBroadcast", 4), ("inDiscards", 4), ("inErrors", 4), ("inUnknown", 4), ("outOctets", 8), ("outUnicast", 4), ("outMulticast", 4),
    ("outBroadcast", 4), ("outDiscards", 4), ("outErrors", 4), ("promiscuous", 4)]
DATAPATH = ["hit", "missed", "lost", "mask_hits", "flows", "masks"]
RESOURCES = ["user_time", "system_time", "memory_used", "memory_max", "fd_open", "fd_max", "conn_open", "conn_max"]


def counter_record(tag, r):
    if tag == 1:
        return "interface " + " ".join("%s=%d" % (n, r.u32() if w == 4 else r.u64()) for n, w in INTERFACE)
    if tag == 2:
        return "ethernet " + " ".join(str(r.u32()) for _ in range(13))
    if tag == 1004:
        return "openflow dpid=%016x port=%d" % (r.u64(), r.u32())
    if tag == 1005:
        return "name " + r.text()
    if tag == 2203:
        # Time and memory are each daemon's own.
        values = dict((n, r.u64() if n.startswith("memory") else r.u32()) for n in RESOURCES)
        return "resources conn_open=%d conn_max=%d and %d others" % (values["conn_open"], values["conn_max"], len(values) - 2)
    if tag == 2207:
        return "datapath " + " ".join("%s=%d" % (n, r.u32()) for n in DATAPATH)
    return "counter record %d %s" % (tag, r.take(r.left).hex())


def records(r, decode):
    out = []
    for _ in range(r.u32()):
        tag, n = r.u32(), r.u32()
        body = Reader(r.take(n))
        out.append(decode(tag, body))
        if body.left:
            out[-1] += " and %d bytes more" % body.left
    return out


def sflow(data):
    """Yields (kind, lines) for each sample: kind "flow" or "counters"."""
    r = Reader(data)
    version = r.u32()
    agent, sub, _sequence, _uptime, count = r.address(), r.u32(), r.u32(), r.u32(), r.u32()
    head = "version=%d agent=%s sub=%d" % (version, agent, sub)
    for _ in range(count):
        tag, n = r.u32(), r.u32()
        s = Reader(r.take(n))
        sequence = s.u32()
        if tag == 1:
            source, rate, pool, drops, i, o, = (s.u32() for _ in range(6))
            yield "flow", ["%s sample %d source=%#x rate=%d pool=%d drops=%d in=%#x out=%#x" % (
                head, sequence, source, rate, pool, drops, i, o)] + ["  " + x for x in records(s, flow_record)]
        elif tag == 2:
            yield "counters", ["%s counters source=%#x" % (head, s.u32())] + ["  " + x for x in records(s, counter_record)]
        else:
            yield "other", ["sample of type %d" % tag]
    if r.left:
        yield "other", ["%d bytes behind the samples" % r.left]


# Elements of IPFIX whose values two runs do not share.
VOLATILE = {158: "start", 159: "end"}
# What was dropped. The real daemon finds out by a flow whose first packet had the very fields of this one, else it counts a drop.
DROPS = (132, 133, 134, 135)


class IPFIX:
    """Reads messages in order, as templates come before the records that need them."""

    def __init__(self):
        self.templates = {}
        self.shows_drops = False

    def message(self, data):
        """Yields (kind, lines); kinds: "header", "template", "options", "data"."""
        version, length, _time, sequence, domain = struct.unpack("!HHIII", data[:16])
        yield "header", ["version=%d domain=%d length %s sequence=%d" % (
            version, domain, "right" if length == len(data) else "wrong", sequence)]
        at = 16
        while at < len(data):
            set_id, n = struct.unpack("!HH", data[at : at + 4])
            body, at = Reader(data[at + 4 : at + n]), at + n
            if n < 4:
                raise ValueError("set of %d bytes" % n)
            if set_id in (2, 3):
                yield from self.template(body, set_id == 3)
            else:
                yield from self.data(set_id, body, domain)

    def template(self, r, has_scope):
        while r.left >= 4:
            number, fields = struct.unpack("!HH", r.take(4))
            if has_scope:
                r.take(2)
            elements = []
            for _ in range(fields):
                element, size = struct.unpack("!HH", r.take(4))
                enterprise = 0
                if element & 0x8000:
                    enterprise, element = r.u32(), element & 0x7FFF
                elements.append((enterprise, element, size))
            self.templates[number] = elements
            yield "options" if has_scope else "template", ["%d: %s" % (number, " ".join(
                ("%d/" % e if e else "") + "%d:%s" % (i, "v" if s == 65535 else s) for e, i, s in elements))]

    def data(self, number, r, domain):
        elements = self.templates.get(number)
        if elements is None:
            yield "data", ["data of unknown template %d" % number]
            return
        # Padding is shorter than a record.
        while r.left >= sum(1 if s == 65535 else s for _, _, s in elements):
            out = []
            for enterprise, element, size in elements:
                if size == 65535:
                    size = r.take(1)[0]
                    if size == 255:
                        size = struct.unpack("!H", r.take(2))[0]
                value = r.take(size)
                if not enterprise and element in VOLATILE:
                    out.append("%s" % VOLATILE[element])
                elif not enterprise and element in DROPS and not self.shows_drops:
                    out.append("%d" % element)
                else:
                    out.append("%s%d=%s" % ("%d/" % enterprise if enterprise else "", element, value.hex()))
            yield "data", ["domain=%d template=%d %s" % (domain, number, " ".join(out))]
