#!/usr/bin/env python3
"""Prints a scenario made by chance, of what the comparison tool's own generator does not reach: groups in groups, learning, stacks, service
headers, copies, labels below labels and below tags. The same seed gives the same scenario.

    generate.py SEED CASES > FILE && oracle run FILE
"""
import random
import sys

PACKETS = {
    "udp": "50540000000250540000000108004500001c000000004011f96cc0a80001c0a800020005000100080000",
    "tcp": "505400000002505400000001080045000028000000004006f96bc0a80001c0a800020005005000000000000000005002000000000000",
    "tagged": "5054000000025054000000018100006408004500001c000000004011f96cc0a80001c0a800020005000100080000",
    "twice tagged": "50540000000250540000000188a800648100006508004500001c000000004011f96cc0a80001c0a800020005000100080000",
    "arp": "ffffffffffff505400000001080600010800060400015054000000010a0000010000000000000a000002",
    "udp6": "50540000000250540000000186dd60000000000811402001000000000000000000000000000120010000000000000000000000000002000500010008a5a5",
    "label": "5054000000025054000000018847000641ff45000032000000003d1159a70a0908010a09080200070009001ebd6fa5a5a5a5",
    "labels": "505400000002505400000001884700064040000651ff45000032000000003d1159a70a0908010a09080200070009001ebd6fa5a5a5a5",
    "tagged label": "505400000002505400000001810000018847000641ff45000032000000003d1159a70a0908010a09080200070009001ebd6fa5a5a5a5",
    "service header": "505400000002505400000001894f0fc6010300002201" + "00000007" * 4 + "5054000000025054000000010800" + "45" + "00001c0000000040"
                      "11f96cc0a80001c0a800020005000100080000",
    "other service header": "505400000002505400000001894f0fc402030000220110000a0412345678" + "5054000000025054000000010800" + "45"
                            "00001c000000004011f96cc0a80001c0a800020005000100080000",
}
MATCHES = {"udp": "udp", "tcp": "tcp", "tagged": "udp", "arp": "arp", "udp6": "udp6", "label": "mpls", "labels": "mpls", "tagged label": "mpls",
           "service header": "dl_type=0x894f", "other service header": "dl_type=0x894f"}
#: Where values are pushed from, popped and moved to.
FIELDS = ["NXM_NX_REG0[]", "NXM_NX_REG1[0..15]", "NXM_OF_ETH_SRC[]", "NXM_OF_VLAN_TCI[0..11]", "OXM_OF_METADATA[0..31]", "NXM_NX_XXREG1[0..63]",
          "NXM_NX_PKT_MARK[]", "NXM_NX_TUN_ID[0..31]"]
FIELDS_OF_IP = ["NXM_OF_IP_SRC[]", "NXM_OF_IP_DST[0..15]", "NXM_NX_IP_TTL[]", "NXM_OF_IP_TOS[2..7]"]
SERVICE_HEADERS = [
    "encap(nsh(md_type=1)),set_field:0x22->nsh_spi,encap(ethernet),output:3", "encap(nsh),dec_nsh_ttl,output:2,decap(),output:3",
    "encap(nsh(md_type=2,tlv(0x1000,10,0x12345678))),encap(ethernet),set_field:11:22:33:44:55:66->eth_dst,output:4"]
#: What is put around a packet goes out at once: the real daemon dies where something else goes out first.
ON_SERVICE_HEADERS = ["dec_nsh_ttl", "set_field:3->nsh_si", "set_field:0x44->nsh_spi", "decap(),decap()", "decap(),encap(ethernet),output:3",
                      "encap(nsh),encap(ethernet),output:4", "move:NXOXM_NSH_SPI[0..15]->NXM_NX_REG0[0..15]"]
GROUPS = 7


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        #: Actions for packets of the case's kind only.
        self.of_kind = ["note:03"]

    def port(self):
        return self.random.randint(2, 5)

    def on_any(self, fields, depth):
        """An action for any packet."""
        choose, number = self.random.choice, self.random.randint
        return choose([
            lambda: f"output:{self.port()}", lambda: f"output:{self.port()}", lambda: f"output(port={self.port()},max_len={number(14, 80)})",
            lambda: f"push:{choose(fields)}", lambda: f"push:{choose(fields)}", lambda: f"pop:{choose(fields)}",
            lambda: choose(["move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31]", "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]",
                            "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", "move:NXM_OF_IN_PORT[]->NXM_NX_REG3[0..15]"]),
            lambda: f"set_field:{number(0, 9)}->{choose(['reg0', 'tun_id', 'metadata'])}",
            lambda: f"set_field:00:11:22:33:44:{number(10, 99)}->{choose(['eth_src', 'eth_dst'])}",
            lambda: f"push_vlan:0x8100,set_field:{4096 + number(1, 200)}->vlan_vid", lambda: f"group:{number(1, GROUPS)}",
            lambda: choose([f"resubmit(,{number(1, 4)})", f"resubmit:{self.port()}", f"resubmit({self.port()},{number(1, 4)})"]),
            lambda: f"learn(table={number(5, 6)},NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG0[]->NXM_NX_REG1[],output:NXM_OF_IN_PORT[])",
            lambda: f"clone({self.actions(fields, number(1, 3), depth + 1)})" if depth < 2 else "note:01",
            lambda: f"load:{number(1, 6)}->NXM_NX_REG5[0..15],output:NXM_NX_REG5[0..15]", lambda: f"controller(userdata={number(10, 99)})",
            lambda: f"multipath(eth_src,{number(0, 99)},{choose(['modulo_n', 'hrw'])},{number(1, 9)},0,NXM_NX_REG6[0..3])",
            lambda: f"set_queue:{number(0, 3)}", lambda: "note:02", lambda: "exit" if number(0, 9) == 0 else "ct_clear",
            lambda: choose(SERVICE_HEADERS) if depth == 0 else "output:2",
            lambda: choose(self.of_kind)])()

    def actions(self, fields, count, depth=0):
        return ",".join(self.on_any(fields, depth) for _ in range(count))

    def on_labels(self, labels, count):
        """Actions that push and pop labels, and what they allow between."""
        choose, number, out = self.random.choice, self.random.randint, []
        for _ in range(count):
            always = [f"output:{self.port()}", f"controller(userdata={number(10, 99)})", f"set_field:00:11:22:33:44:{number(10, 99)}->eth_src",
                      "push:NXM_NX_REG0[]", "note:01", f"set_field:{number(1, 9)}->reg0", "push_vlan:0x8100"]
            if labels:
                action = choose(["pop", "pop", "pop", "push", "dec_mpls_ttl", f"set_field:{number(16, 99)}->mpls_label"] + always)
            else:
                action = choose(["push", "push", "dec_ttl", "dec_ttl", f"set_field:1.2.3.{number(1, 99)}->ip_src", "ct(commit)", "group:1"] + always)
            if action == "pop":
                labels -= 1
                action = "pop_mpls:0x8847" if labels else "pop_mpls:0x0800"
            elif action == "push":
                if labels == 3:
                    continue
                labels += 1
                action = "push_mpls:0x8847"
            out.append(action)
        return ",".join(out) or "drop"

    def bucket(self, group):
        """An action set, which may name groups of higher numbers."""
        choose, number = self.random.choice, self.random.randint
        further = [f"group:{number(group + 1, GROUPS)}"] * 2 if group < GROUPS else []
        chosen = {}
        for _ in range(number(1, 3)):
            action = choose([f"output:{self.port()}", f"output:{self.port()}", f"set_field:00:11:22:33:44:{number(10, 99)}->eth_src",
                             "push_vlan:0x8100", f"resubmit(,{number(1, 4)})", f"set_field:{number(0, 9)}->reg0"] + further)
            chosen.setdefault(action.split(":")[0].split("(")[0], action)
        return ",".join(chosen.values())

    def group(self, number):
        kind = self.random.choice(["all", "all", "select", "indirect", "ff"])
        prefix = {"select": "weight:2,", "ff": f"watch_port:{self.random.randint(2, 3)},"}.get(kind, "")
        method = self.random.choice(["", ",selection_method=dp_hash", ",selection_method=hash,fields(eth_src)"]) if kind == "select" else ""
        count = 1 if kind == "indirect" else self.random.randint(1, 3)
        return f"group_id={number},type={kind}{method}," + ",".join(f"bucket={prefix}actions={self.bucket(number)}" for _ in range(count))

    def case(self):
        choose, number = self.random.choice, self.random.randint
        kind = choose(list(PACKETS))
        match = MATCHES.get(kind)
        match = f"{match}," if match else ""
        fields = FIELDS + (FIELDS_OF_IP if match in ("udp,", "tcp,") else [])
        self.of_kind = ON_SERVICE_HEADERS if "service" in kind else ["decap(),encap(ethernet),output:3", "note:03"]
        first = self.on_labels(2 if kind == "labels" else 1, number(2, 9)) if "label" in kind else self.actions(fields, number(2, 6))
        written = choose(["", "", f",write_actions(group:{number(1, GROUPS)})", ",write_actions(output:2,set_field:5->reg0,push_vlan:0x8100)"])
        yield "ofctl -O OpenFlow15 del-flows br0"
        yield "ofctl -O OpenFlow15 del-groups br0"
        yield "ofctl -O OpenFlow15 add-groups br0 - <<EOF"
        for i in range(GROUPS, 0, -1):
            yield self.group(i)
        yield "EOF"
        yield "ofctl -O OpenFlow15 add-flows br0 - <<EOF"
        yield f"table=0,cookie=1,{match}actions={first}{written}"
        for table in range(1, 5):
            yield f"table={table},cookie={table + 1},{match if 'service' in kind else choose([match, ''])}actions={self.actions(FIELDS, number(1, 3))}"
        yield "EOF"
        yield "appctl revalidator/purge"
        yield "@only ^(Flow|Final flow|Megaflow|Datapath actions): "
        yield f"appctl ofproto/trace br0 in_port=1 {PACKETS[kind]}"
        yield f"appctl netdev-dummy/receive p1 {PACKETS[kind]}"
        yield "@sort"
        yield "appctl dpctl/dump-flows"
        yield f"appctl netdev-dummy/receive p1 {PACKETS[kind]}"
        yield "appctl revalidator/wait"
        for request in ("dump-flows", "dump-group-stats"):
            yield "@sort"
            yield f"ofctl -O OpenFlow15 {request} br0"


def main():
    seed, cases = int(sys.argv[1]), int(sys.argv[2])
    print(f"# Seed {seed}, {cases} cases of generate.py.")
    print("vsctl add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:00")
    for i in range(1, 6):
        print(f"vsctl add-port br0 p{i} -- set interface p{i} type=dummy ofport_request={i}")
    maker = Maker(seed)
    for _ in range(cases):
        print("\n".join(maker.case()))


if __name__ == "__main__":
    main()
