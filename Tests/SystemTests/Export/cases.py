"""What is exported of which packets: each public function that takes only a lab is a case of export.py."""

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

SCTP = UDP.replace("proto=17", "proto=132").replace("udp", "sctp")
MULTICAST = UDP.replace("dst=50:54:00:00:00:07", "dst=01:00:5e:00:00:07")
FRAGMENT = UDP.replace("frag=no", "frag=later").replace(",udp(src=1000,dst=80)", "")
ETHERNET = "5054000000075054000000050800"


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
        " -- add-port br0 vx -- set interface vx type=vxlan options:remote_ip=1.1.2.92 options:key=123 ofport_request=9"
        " -- add-port br0 gre -- set interface gre type=gre options:remote_ip=1.1.2.92 options:key=7 options:csum=true ofport_request=10")
    lab.appctl("netdev-dummy/ip4addr", "br1", "1.1.2.88/24")
    lab.appctl("ovs/route/add", "1.1.2.88/24", "br1")
    lab.appctl("tnl/neigh/set", "br1", "1.1.2.92", "f8:bc:12:44:34:b6")
    lab.ofctl("add-flow", lab.dir + "/br1.mgmt", "actions=normal")


def patch(lab):
    """br0 and br1, joined by their ports 20."""
    ports(lab)
    lab.vsctl("add-br br1 -- set bridge br1 datapath-type=dummy fail-mode=secure other-config:hwaddr=aa:55:aa:55:00:01"
        " -- add-port br1 q41 -- set interface q41 type=dummy options:ifindex=2001 ofport_request=1"
        " -- add-port br1 q42 -- set interface q42 type=dummy options:ifindex=2002 ofport_request=2"
        " -- add-port br0 pa -- set interface pa type=patch options:peer=pb ofport_request=20"
        " -- add-port br1 pb -- set interface pb type=patch options:peer=pa ofport_request=20")


def ipfix(lab, bridge="br0", **settings):
    """Exports of a bridge; in names of settings, `__` stands for a colon and `_of_` for a hyphen."""
    words = dict(sampling="1", obs_domain_id="123", obs_point_id="456", cache_active_timeout="0")
    words.update(settings)
    text = " ".join("%s=%s" % (k.replace("__", ":").replace("_of_", "-"), v) for k, v in words.items() if v)
    lab.vsctl("-- --id=@i create IPFIX 'targets=\"%s\"' %s -- set bridge %s ipfix=@i" % (lab.target, text, bridge))


def collectors(lab, number, text, bridge="br0"):
    """A set of collectors for `sample` actions."""
    lab.vsctl("-- --id=@b get bridge %s -- --id=@i create IPFIX 'targets=\"%s\"' %s"
        " -- --id=@c create Flow_Sample_Collector_Set id=%d bridge=@b ipfix=@i" % (bridge, lab.target, text, number))


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
    flows(lab, "priority=1,actions=output:2,output:3,local", "udp,actions=drop", "icmp,actions=mod_vlan_vid:7,output:2",
        "icmp6,actions=push_mpls:0x8847,set_field:77->mpls_label,output:3",
        "mpls,actions=push_mpls:0x8847,set_field:5->mpls_label,push_mpls:0x8847,output:2",
        "arp,actions=controller,in_port", "sctp,actions=resubmit(,1),output:3", "table=1,actions=output:2")
    for packet in (ARP, TCP, TCP, UDP, ICMP, ICMP, TAGGED, TCP6, ICMP6, ICMP6, MPLS, MPLS, SCTP):
        lab.receive("p1", packet)
        print(lab.actions(packet))
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_tunnels(lab):
    """Samples of packets that go into a tunnel and come out of one."""
    tunnel(lab)
    sflow(lab)
    sflow(lab, "br1")
    flows(lab, "in_port=1,tcp,actions=output:9", "in_port=1,udp,actions=output:9,2", "in_port=1,icmp,actions=mod_vlan_vid:5,output:9",
        "in_port=1,sctp,actions=output:10", "in_port=9,actions=output:3")
    flows(lab, "actions=normal", bridge="br1")
    for packet in (TCP, TCP, UDP, UDP, ICMP, ICMP, SCTP):
        lab.receive("p1", packet)
    for _ in range(2):
        lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    lab.show("\n".join(sorted(lab.appctl("dpctl/dump-flows").splitlines())))
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_patch(lab):
    """Samples of packets that leave by another bridge, and of those that a controller sends."""
    patch(lab)
    sflow(lab)
    sflow(lab, "br1")
    for first, second in (("output:20", "output:1"), ("output:20,2", "output:1"), ("output:20", "output:1,2"), ("output:20", "drop")):
        flows(lab, "actions=" + first)
        flows(lab, "actions=" + second, bridge="br1")
        print(lab.actions(TCP))
    packet = ETHERNET + "4508002800000000400666c60a0000010a00000203e8005000000000000000005002000097a80000"
    for port in ("1", "local", "controller"):
        lab.ofctl("-OOpenFlow13", "packet-out", lab.dir + "/br0.mgmt", "in_port=%s,packet=%s,actions=output:2" % (port, packet))
    lab.warp(1100)
    lab.samples(["flow", "other"])


def sflow_rates(lab):
    """Probabilities, long packets cut to the header's size, and settings that change."""
    ports(lab)
    for sampling in ("0", "2", "3", "400", "70000"):
        sflow(lab, sampling=sampling)
        print(lab.actions(TCP))
    flows(lab, "tcp,actions=output:2,output:3", "udp,actions=output:2,local")
    sflow(lab, sampling="1", header="32")
    lab.appctl("netdev-dummy/receive", "p1", TCP, "--len", "200")
    lab.receive("p1", TCP6, times=3)
    lab.receive("p2", UDP)
    lab.receive("p2", ICMP)
    lab.warp(1100)
    lab.samples(["flow", "other"])
    lab.vsctl("clear bridge br0 sflow")
    print(lab.actions(TCP))


def sflow_counters(lab):
    """Counters of the datapath and of interfaces."""
    tunnel(lab)
    flows(lab, "actions=normal")
    lab.receive("p1", TCP, times=3)
    lab.receive("p2", ARP, times=2)
    sflow(lab, polling="1", sampling="1000000")
    seen = set()
    for _ in range(3):
        lab.warp(1000)
        for data in lab.datagrams(0.7):
            for kind, lines in datagrams.sflow(data):
                seen.add("\n".join(lines))
    for text in sorted(seen):
        print(text)


def sflow_agents(lab):
    """The agent's address, and that of an interface."""
    ports(lab)
    flows(lab, "actions=drop")
    for agent in ("lo", "10.9.8.7"):
        sflow(lab, agent=agent)
        lab.receive("p1", TCP)
        lab.warp(1100)
        lab.samples(["flow", "other"])


def ipfix_bridge(lab):
    """Each packet by itself, of each protocol, with templates and statistics."""
    ports(lab)
    flows(lab, "priority=1,actions=output:2,output:3", "udp,actions=drop", "icmp,actions=mod_vlan_vid:7,output:2")
    ipfix(lab)
    for packet in (ARP, TCP, UDP, ICMP, TAGGED, TCP6, ICMP6, MPLS, SCTP, MULTICAST, FRAGMENT):
        lab.receive("p1", packet)
        print(lab.actions(packet))
    lab.appctl("netdev-dummy/receive", "p1", ETHERNET[:24] + "88a84014" "8100600a" "0800450800280000000040")
    # Padding; options; headers that are cut or empty.
    for packet in ("4508002800000000400666c60a0000010a00000203e8005000000000000000005002000097a80000000000000000",
            "4608002c00000000400666c60a0000010a0000020101010103e8005000000000000000005002000097a80000", "450800280000000040", "000000"):
        lab.appctl("netdev-dummy/receive", "p1", ETHERNET + packet)
    lab.warp(1000)
    lab.records(["header", "options", "template", "data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))
    lab.show(lab.ofctl("dump-ipfix-flow", lab.dir + "/br0.mgmt"))


def ipfix_drops(lab):
    """What is counted as dropped."""
    ports(lab)
    flows(lab, "in_port=1,actions=output:2", "in_port=3,actions=drop")
    ipfix(lab)
    lab.ipfix.shows_drops = True
    for _ in range(2):
        lab.receive("p1", TCP)
        lab.receive("p3", TCP)
    lab.warp(1000)
    lab.records(["data"])


def ipfix_cache(lab):
    """Flows are counted together for a while, and no more of them than may be."""
    ports(lab)
    flows(lab, "priority=1,actions=output:2,output:3")
    ipfix(lab, cache_active_timeout="2", cache_max_flows="3", other_config__virtual_obs_id="vobs")
    for _ in range(2):
        for packet in (ARP, TCP, TCP, UDP):
            lab.receive("p1", packet)
    lab.records(["header", "options", "template", "data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))
    for _ in range(3):
        lab.warp(1000)
    lab.records(["header", "data"])
    lab.receive("p1", ICMP)
    for _ in range(3):
        lab.warp(1000)
    lab.records(["header", "data"])
    lab.receive("p1", ICMP)
    lab.vsctl("clear bridge br0 ipfix")
    lab.records(["header", "data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))


def ipfix_settings(lab):
    """What is sampled where, and how many packets a sample stands for."""
    ports(lab)
    flows(lab, "actions=output:2,output:3,local")
    for settings in (dict(), dict(other_config__enable_of_input_of_sampling="true"), dict(other_config__enable_of_output_of_sampling="true"),
            dict(other_config__enable_of_input_of_sampling="false"), dict(sampling="400"), dict(sampling="")):
        ipfix(lab, **settings)
        print(lab.actions(TCP))
    ipfix(lab, sampling="2")
    lab.receive("p1", TCP, times=40)
    found = set()
    for data in lab.datagrams(1):
        for kind, lines in lab.ipfix.message(data):
            found.update(w for w in lines[0].split() if w.startswith(("2=", "1=", "198=", "352=", "25=")))
    print(sorted(found))


def ipfix_tunnels(lab):
    """Packets that come out of a tunnel, and go into one."""
    tunnel(lab)
    ipfix(lab)
    flows(lab, "in_port=9,actions=output:3", "in_port=1,actions=output:9,2")
    flows(lab, "actions=normal", bridge="br1")
    for _ in range(2):
        lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    print(lab.actions(TCP))
    lab.receive("p1", TCP)
    lab.warp(1000)
    lab.records(["header", "data"])
    ipfix(lab, other_config__enable_of_tunnel_of_sampling="false")
    lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    lab.warp(1000)
    lab.records(["data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))


def ipfix_patch(lab):
    """Two bridges that export, with a patch port between them."""
    patch(lab)
    ipfix(lab)
    ipfix(lab, "br1", obs_domain_id="9", obs_point_id="8")
    flows(lab, "actions=output:2,20")
    flows(lab, "actions=output:1,2", bridge="br1")
    print(lab.actions(TCP))
    lab.receive("p1", TCP, times=2)
    lab.warp(1000)
    lab.records(["options", "data"])


def ipfix_flow(lab):
    """Samples that flows ask for."""
    tunnel(lab)
    collectors(lab, 7, "other_config:virtual_obs_id=vo")
    collectors(lab, 3, "cache_active_timeout=1 other_config:enable-tunnel-sampling=false")
    sample = "sample(probability=65535,collector_set_id=%d,obs_domain_id=11,obs_point_id=12%s)"
    flows(lab, "tcp,in_port=1,actions=%s,output:2" % sample % (7, ""),
        "udp,in_port=1,actions=%s,%s,%s,output:3" % tuple(sample % (7, ",sampling_port=" + p) for p in ("3", "1,ingress", "3,egress")),
        "icmp,in_port=1,actions=%s,output:9,%s" % (sample % (7, ",sampling_port=9"), sample % (3, ",sampling_port=9,egress")),
        "arp,actions=mod_vlan_vid:9,%s,%s,output:2" % (sample % (99, ""), sample % (3, "")),
        "tcp6,actions=sample(probability=1000,collector_set_id=7),sample(probability=65535,collector_set_id=7,sampling_port=77)",
        "in_port=9,actions=%s,output:3" % (sample % (7, "")))
    flows(lab, "actions=normal", bridge="br1")
    for packet in (TCP, UDP, ICMP, ARP, TCP6):
        print(lab.actions(packet))
    lab.records(["header"], 0.3)
    for packet in (TCP, UDP, ICMP, ARP, TCP):
        lab.receive("p1", packet)
    lab.appctl("netdev-dummy/receive", "q1", VXLAN)
    lab.warp(2000)
    lab.records(["options", "template", "data"])
    lab.show(lab.ofctl("dump-ipfix-bridge", lab.dir + "/br0.mgmt"))
    lab.show(lab.ofctl("dump-ipfix-flow", lab.dir + "/br0.mgmt"))
    # Beside the bridge's own.
    ipfix(lab)
    print(lab.actions(TCP))
