"""What is exported of which packets: each function is a case of export.py."""

import datagrams

TCP = ("in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x0800),"
    "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=8,ttl=64,frag=no),tcp(src=1000,dst=80),tcp_flags(syn)")
UDP = TCP.replace("proto=6", "proto=17").replace("tcp(", "udp(").replace(",tcp_flags(syn)", "")
ICMP = TCP.replace("proto=6", "proto=1").replace("tcp(src=1000,dst=80),tcp_flags(syn)", "icmp(type=8,code=0)")
TAGGED = TCP.replace("eth_type(0x0800),", "eth_type(0x8100),vlan(vid=10,pcp=3),encap(eth_type(0x0800),") + ")"
ARP = ("in_port(1),eth(src=50:54:00:00:00:05,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),"
    "arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:05,tha=00:00:00:00:00:00)")
TCP6 = ("in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x86dd),"
    "ipv6(src=fe80::1,dst=fe80::2,label=5,proto=6,tclass=0x70,hlimit=128,frag=no),tcp(src=1000,dst=80),tcp_flags(ack)")
ICMP6 = TCP6.replace("proto=6", "proto=58").replace("tcp(src=1000,dst=80),tcp_flags(ack)", "icmpv6(type=128,code=0)")
MPLS = ("in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=1)")


def _encapsulated():
    """A packet in VXLAN 123 from 1.1.2.92 to 1.1.2.88."""
    inner = "505400000005505400000007080045000028000000004006b55f0a0000010a00000203e8005000000000000000005002000097a80000"
    header = bytearray.fromhex("4500005a0000000040110000" "0101025c" "01010258")
    total = sum(header[i] << 8 | header[i + 1] for i in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    header[10:12] = (~total & 0xffff).to_bytes(2, "big")
    return "aa55aa550001" "f8bc124434b6" "0800" + header.hex() + "0fa0" "12b5" "0046" "0000" "0800000000007b00" + inner


VXLAN = _encapsulated()


def ports(lab, count=3):
    """br0 with ports p1 and on, which have the indices 1001 and on."""
    lab.appctl("time/stop")
    words = ["add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:00"]
    words.append("-- set interface br0 options:ifindex=1000")
    for n in range(1, count + 1):
        words.append("-- add-port br0 p%d -- set interface p%d type=dummy ofport_request=%d options:ifindex=%d" % (n, n, n, 1000 + n))
    lab.vsctl(" ".join(words))


def tunnel(lab):
    """br0 with a VXLAN port 9 over br1, which reaches 1.1.2.92."""
    ports(lab)
    lab.vsctl("add-br br1 -- set bridge br1 datapath-type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:01"
        " -- set interface br1 options:ifindex=2000"
        " -- add-port br1 q1 -- set interface q1 type=dummy ofport_request=1 options:ifindex=2001"
        " -- add-port br0 vx -- set interface vx type=vxlan options:remote_ip=1.1.2.92 options:key=123 ofport_request=9")
    lab.appctl("netdev-dummy/ip4addr", "br1", "1.1.2.88/24")
    lab.appctl("ovs/route/add", "1.1.2.88/24", "br1")
    lab.appctl("tnl/neigh/set", "br1", "1.1.2.92", "f8:bc:12:44:34:b6")
    lab.ofctl("add-flow", lab.dir + "/br1.mgmt", "actions=normal")


def sflow(lab, bridge="br0", **settings):
    words = dict(sampling="1", polling="0", header="128", agent="127.0.0.1")
    words.update(settings)
    text = " ".join('%s=%s' % (k, v) for k, v in words.items() if v)
    lab.vsctl("-- --id=@s create sFlow 'targets=\"%s\"' %s -- set bridge %s sflow=@s" % (lab.target, text, bridge))


def flows(lab, *lines, bridge="br0"):
    for line in lines:
        lab.ofctl("-OOpenFlow13", "add-flow", "%s/%s.mgmt" % (lab.dir, bridge), line)


def sflow_flows(lab):
    """Samples of packets that go to one port, to several, to none, and get tags and labels."""
    ports(lab)
    lab.vsctl("set bridge br0 protocols=OpenFlow10,OpenFlow13")
    sflow(lab)
    flows(lab, "priority=1,actions=normal", "udp,actions=drop", "icmp,actions=mod_vlan_vid:7,output:2", "icmp6,actions=push_mpls:0x8847,set_field:77->mpls_label,output:3")
    for packet in (ARP, TCP, TCP, UDP, ICMP, ICMP, TAGGED, TCP6, ICMP6, ICMP6, MPLS):
        lab.receive("p1", packet)
        lab.show(lab.appctl("ofproto/trace", "ovs-dummy", packet).split("Datapath actions: ")[-1])
    lab.show(lab.appctl("dpctl/dump-flows", "-m").replace("ufid", "\nufid"))
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_tunnels(lab):
    """Samples of packets that go into a tunnel and come out of one."""
    tunnel(lab)
    sflow(lab)
    sflow(lab, "br1")
    flows(lab, "in_port=1,tcp,actions=output:9", "in_port=1,udp,actions=output:9,2", "in_port=1,icmp,actions=mod_vlan_vid:5,output:9",
        "in_port=9,actions=output:3")
    flows(lab, "actions=normal", bridge="br1")
    for packet in (TCP, TCP, UDP, UDP, ICMP, ICMP):
        lab.receive("p1", packet)
    for _ in range(2):
        lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    lab.show(lab.appctl("dpctl/dump-flows"))
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_rates(lab):
    """Probabilities, long packets cut to the header's size, and what the flow tables say."""
    ports(lab)
    for sampling in ("0", "2", "3", "400", "70000"):
        sflow(lab, sampling=sampling)
        lab.show(lab.appctl("ofproto/trace", "br0", "in_port=1,tcp").split("Datapath actions: ")[-1])
    flows(lab, "tcp,actions=output:2,output:3", "udp,actions=output:2,local")
    sflow(lab, sampling="1", header="32")
    lab.appctl("netdev-dummy/receive", "p1", TCP, "--len", "200")
    lab.receive("p1", TCP6, times=3)
    lab.receive("p2", UDP)
    lab.receive("p2", ICMP)
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_counters(lab):
    """Counters of interfaces, each once."""
    tunnel(lab)
    flows(lab, "actions=normal")
    lab.receive("p1", TCP, times=3)
    lab.receive("p2", ARP, times=2)
    sflow(lab, polling="1", sampling="1000000")
    seen = set()
    for _ in range(3):
        lab.warp(1000)
        for data in lab.datagrams(0.5):
            for kind, lines in datagrams.sflow(data):
                if lines[0] not in seen:
                    seen.add("\n".join(lines))
    for text in sorted(seen):
        print(text)


def sflow_agents(lab):
    """Where the agent's address comes from."""
    ports(lab)
    flows(lab, "actions=drop")
    for settings in (dict(agent="lo"), dict(agent=""), dict(agent="nothere"), dict(agent="10.9.8.7")):
        sflow(lab, **settings)
        lab.receive("p1", TCP)
        lab.warp(1100)
        print(settings)
        lab.samples(["flow", "other"], 0.7)


def ipfix(lab, bridge="br0", **settings):
    words = dict(sampling="1", obs_domain_id="123", obs_point_id="456", cache_active_timeout="0")
    words.update(settings)
    text = " ".join("%s=%s" % (k.replace("__", ":").replace("_of_", "-"), v) for k, v in words.items() if v)
    lab.vsctl("-- --id=@i create IPFIX 'targets=\"%s\"' %s -- set bridge %s ipfix=@i" % (lab.target, text, bridge))


def ipfix_bridge(lab):
    """Each packet by itself, of each protocol."""
    ports(lab)
    flows(lab, "priority=1,actions=output:2,output:3", "udp,actions=drop", "icmp,actions=mod_vlan_vid:7,output:2")
    ipfix(lab)
    for packet in (ARP, TCP, UDP, ICMP, TAGGED, TCP6, ICMP6, MPLS):
        lab.receive("p1", packet)
        lab.show(lab.appctl("ofproto/trace", "ovs-dummy", packet).split("Datapath actions: ")[-1])
    lab.warp(1000)
    lab.records(["header", "options", "template", "data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))


def raw4(lab):
    tunnel(lab)
    sflow(lab)
    ipfix(lab, other_config__enable_of_tunnel_of_sampling="true")
    flows(lab, "in_port=9,actions=output:3", "in_port=1,actions=output:9,2")
    flows(lab, "actions=normal", bridge="br1")
    for _ in range(2):
        lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    lab.show(lab.appctl("dpctl/dump-flows"))
    lab.warp(1100)
    for d in lab.datagrams(1.5):
        if d[:2] == b"\0\x0a":
            for kind, lines in lab.ipfix.message(d):
              if kind == "data" : print(" ", kind, d[8:16].hex(), lines[0][:2000])
        else:
            for k, l in datagrams.sflow(d): print("\n".join(l))
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))

def raw5(lab):
    ports(lab)
    lab.vsctl("add-br br1 -- set bridge br1 datapath-type=dummy fail-mode=secure -- add-port br1 q1 -- set interface q1 type=dummy options:ifindex=2001 ofport_request=1 -- add-port br1 q2 -- set interface q2 type=dummy options:ifindex=2002 ofport_request=2 -- add-port br0 pa -- set interface pa type=patch options:peer=pb ofport_request=20 -- add-port br1 pb -- set interface pb type=patch options:peer=pa ofport_request=20")
    sflow(lab)
    sflow(lab,"br1")
    for a,b in (("output:20","output:1"),("output:20,2","output:1"),("output:20","output:1,2"),("controller,in_port","drop"),("output:20","ct(table=1)"),("ct(table=1),output:2","drop")):
        flows(lab, "actions="+a); flows(lab,"table=1,actions=output:3")
        flows(lab, "actions="+b, bridge="br1")
        print(a,b,lab.appctl("ofproto/trace", "ovs-dummy", TCP).split("Datapath actions: ")[-1])
    ipfix(lab)
    ipfix(lab,"br1")
    flows(lab, "actions=output:20")
    flows(lab, "actions=output:1,2", bridge="br1")
    print(a,b,lab.appctl("ofproto/trace", "ovs-dummy", TCP).split("Datapath actions: ")[-1])
    print(lab.ofctl("-OOpenFlow13", "packet-out", lab.dir+"/br0.mgmt", "in_port=1,packet=50540000000750540000000508004508002800000000400666c60a0000010a00000203e8005000000000000000005002000097a80000,actions=output:2"))
    print(lab.ofctl("-OOpenFlow13", "packet-out", lab.dir+"/br0.mgmt", "in_port=controller,packet=50540000000750540000000508004508002800000000400666c60a0000010a00000203e8005000000000000000005002000097a80000,actions=output:2"))
    lab.warp(1100)
    lab.warp(1100)
    for d in lab.datagrams(1.5):
        if d[:2] == b"\0\x0a":
            for kind, lines in lab.ipfix.message(d):
              if kind == "data" : print(" ", kind, d[8:16].hex(), lines[0][:200])
        else:
            for k, l in datagrams.sflow(d): print("\n".join(l))
