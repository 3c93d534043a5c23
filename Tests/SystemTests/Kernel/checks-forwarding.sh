# Forwarding: the first packet of a flow by an upcall, the rest in the kernel.

two_hosts() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
}

check_pings() {
    two_hosts
    expect_pings a 10.1.1.2 10
    # Of ten echoes all but the first are the kernel's own.
    packets=$(dp_flows 'eth_type\(0x0800\).*actions:' | sed -n 's/.*packets:\([0-9]*\),.*/\1/p' | sort -n | tail -1)
    expect "the kernel forwarded $packets packets" [ "$packets" = 9 ]
    misses=$(ovs-dpctl show | sed -n 's/.*missed:\([0-9]*\) .*/\1/p')
    until_ok "statistics of the rule" sh -c "ovs-ofctl dump-flows br0 | grep -E 'n_packets=([2-9][0-9]|[0-9]{3,})'"
    ovs-appctl dpif/show
    ovs-appctl dpif/show | grep -q 'a 1/[0-9]*: (system)'
    ovs-appctl fdb/show br0
}

check_localPort() {
    two_hosts
    ip addr add 10.1.1.9/24 dev br0
    ip link set br0 up
    expect_pings a 10.1.1.9 3
    [ "$(cat /sys/class/net/br0/mtu)" = 1500 ]
    vsctl set bridge br0 other_config:hwaddr=02:00:00:00:00:77
    until_ok "the bridge's address" grep -q 02:00:00:00:00:77 /sys/class/net/br0/address
    vsctl add-port br0 inner -- set interface inner type=internal mtu_request=1400
    until_ok "the MTU of the internal port" grep -qx 1400 /sys/class/net/inner/mtu
    ovs-dpctl show | grep 'inner (internal)'
    vsctl del-port inner
    until_ok "the end of the internal port" sh -c '! ip link show inner'
}

check_vlans() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0 tag=10
    host b 10.1.1.2/24 br0 tag=10
    host c 10.1.1.3/24 br0 tag=20
    host t 10.9.9.9/24 br0 trunks=10,20
    ip -n t link add link eth0 name v10 type vlan id 10
    ip -n t link add link eth0 name v20 type vlan id 20
    ip -n t link set v10 up
    ip -n t link set v20 up
    ip -n t addr add 10.1.1.10/24 dev v10
    expect_pings a 10.1.1.2 3
    expect_no_pings a 10.1.1.3 1
    expect_pings t 10.1.1.1 3
    dp_flows 'push_vlan\(vid=10'
    dp_flows 'vlan\(vid=10,pcp=0\),encap\(.*pop_vlan'
}

check_tcpAndUDP() {
    two_hosts
    for proto in tcp udp; do net b serve $proto 7 & done
    until_ok "TCP" net a ask tcp 10.1.1.2 7
    net a ask udp 10.1.1.2 7
    ip -n a addr add fd00::1/64 dev eth0 nodad
    ip -n b addr add fd00::2/64 dev eth0 nodad
    for proto in tcp6 udp6; do net b serve $proto 8 & done
    until_ok "TCP over IPv6" net a ask tcp6 fd00::2 8
    net a ask udp6 fd00::2 8
}

check_fragments() {
    two_hosts
    expect_pings a 10.1.1.2 3 -s 4000
    dp_flows 'frag=first'
    dp_flows 'frag=later'
    ip -n a addr add fd00::1/64 dev eth0 nodad
    ip -n b addr add fd00::2/64 dev eth0 nodad
    expect_pings a fd00::2 3 -s 4000
}

check_openFlowPipeline() {
    two_hosts
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'table=0,priority=10,arp,actions=normal'
    ovs-ofctl add-flow br0 'table=0,priority=20,icmp,nw_src=10.1.1.1,actions=set_field:7->reg0,resubmit(,1)'
    ovs-ofctl add-flow br0 'table=0,priority=20,icmp,nw_src=10.1.1.2,actions=output:1'
    ovs-ofctl add-flow br0 'table=1,priority=20,reg0=7,icmp,actions=mod_nw_tos:32,dec_ttl,output:2'
    expect_pings a 10.1.1.2 4
    dp_flows 'set\(ipv4\(tos=0x20/0xfc,ttl=63\)\)'
    ovs-ofctl dump-flows br0 table=1 | grep -E 'n_packets=[1-9]'
    ovs-ofctl add-flow br0 'table=0,priority=30,icmp,actions=drop'
    until_ok "the change in the kernel" sh -c "! ip netns exec a ping -c1 -W1 10.1.1.2"
    dp_flows 'actions:drop'
}

check_setActions() {
    two_hosts
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'arp,actions=normal'
    # The host b is 10.1.1.77 with another address on its card for a.
    mac=$(ip netns exec b cat /sys/class/net/eth0/address)
    ip -n a neigh replace 10.1.1.77 lladdr 02:00:00:00:00:77 dev eth0
    ovs-ofctl add-flow br0 "ip,in_port=1,nw_dst=10.1.1.77,actions=mod_dl_dst:$mac,mod_nw_dst:10.1.1.2,output:2"
    ovs-ofctl add-flow br0 'ip,in_port=2,actions=mod_nw_src:10.1.1.77,output:1'
    expect_pings a 10.1.1.77 3
    net b serve tcp 80 &
    net b serve udp 80 &
    ovs-ofctl add-flow br0 "tcp,priority=40000,in_port=1,nw_dst=10.1.1.77,actions=mod_dl_dst:$mac,mod_nw_dst:10.1.1.2,mod_tp_dst:80,output:2"
    ovs-ofctl add-flow br0 'tcp,priority=40000,in_port=2,actions=mod_nw_src:10.1.1.77,mod_tp_src:8080,output:1'
    until_ok "TCP to another port" net a ask tcp 10.1.1.77 8080
    dp_flows 'set\(tcp\('
}

check_sctpFlows() {
    two_hosts
    ip -n a neigh add 10.1.1.2 lladdr "$(ip netns exec b cat /sys/class/net/eth0/address)" dev eth0
    echo 'priority=50000,sctp,tp_src=5,tp_dst=6,actions=output:2' | ovs-ofctl add-flows br0 -
    for i in 1 2 3; do net a sctp 10.1.1.2 5 6; done
    dp_flows 'sctp\(src=5,dst=6\), packets:2'
    # Another port is another flow.
    net a sctp 10.1.1.2 5 7
    dp_flows 'sctp\(src=5,dst=7\)|sctp\(src=5(/0x[0-9a-f]*)?,dst=7'
}

check_mpls() {
    two_hosts
    ovs-ofctl -O OpenFlow13 del-flows br0
    ovs-ofctl -O OpenFlow13 add-flow br0 'arp,actions=normal'
    # Out with a label, through a cable back in, and without it on.
    ip link add m0 type veth peer name m1
    ip link set m0 up
    ip link set m1 up
    vsctl add-port br0 m0 -- set interface m0 ofport_request=10 -- add-port br0 m1 -- set interface m1 ofport_request=11
    ovs-ofctl -O OpenFlow13 del-flows br0
    ovs-ofctl -O OpenFlow13 add-flow br0 'priority=9,arp,in_port=1,actions=output:2'
    ovs-ofctl -O OpenFlow13 add-flow br0 'priority=9,arp,in_port=2,actions=output:1'
    ovs-ofctl -O OpenFlow13 add-flow br0 'ip,in_port=1,actions=push_mpls:0x8847,set_field:33->mpls_label,output:10'
    ovs-ofctl -O OpenFlow13 add-flow br0 'mpls,in_port=11,mpls_label=33,actions=pop_mpls:0x0800,output:2'
    ovs-ofctl -O OpenFlow13 add-flow br0 'ip,in_port=2,actions=output:1'
    expect_pings a 10.1.1.2 4
    dp_flows 'push_mpls\(label=33'
    dp_flows 'mpls\(label=33.*pop_mpls'
}

check_recirculation() {
    two_hosts
    ovs-ofctl -O OpenFlow15 del-flows br0
    ovs-ofctl -O OpenFlow15 add-group br0 'group_id=1,type=select,selection_method=dp_hash,bucket=output:2,bucket=output:2'
    ovs-ofctl -O OpenFlow15 add-flow br0 'in_port=1,actions=group:1'
    ovs-ofctl -O OpenFlow15 add-flow br0 'in_port=2,actions=output:1'
    expect_pings a 10.1.1.2 4
    dp_flows 'hash\(l4\(0\)\),recirc\('
    dp_flows 'recirc_id\(0x[0-9a-f]*\),dp_hash\('
}

check_tcpFlagsMatch() {
    two_hosts
    net b serve tcp 7 &
    until_ok "TCP" net a ask tcp 10.1.1.2 7
    ovs-ofctl add-flow br0 'priority=50000,tcp,tcp_flags=+syn-ack,in_port=1,actions=drop'
    sleep 0.3
    expect "a connection in spite of the flow" eval '! net a ask tcp 10.1.1.2 7'
    dp_flows 'tcp_flags\(\+syn-ack\)'
}

check_packetOutAndIn() {
    two_hosts
    ovs-ofctl add-flow br0 'priority=50000,icmp,in_port=1,actions=controller,output:2'
    timeout 5 ovs-ofctl monitor br0 65534 > /tmp/monitor 2>&1 &
    sleep 0.5
    expect_pings a 10.1.1.2 2
    until_ok "packet-ins" sh -c 'grep -c icmp_type=8 /tmp/monitor'
    cat /tmp/monitor
    dp_flows 'userspace\('
    ovs-ofctl packet-out br0 'in_port=controller packet=ffffffffffff00000000000108060001080006040001000000000001 0a010109 000000000000 0a010102 actions=output:2' ||
        ovs-ofctl packet-out br0 'in_port=controller packet=ffffffffffff000000000001080600010800060400010000000000010a0101090000000000000a010102 actions=output:2'
}

check_checkPacketLength() {
    two_hosts
    ovs-ofctl add-flow br0 'priority=50000,icmp,in_port=1,actions=check_pkt_larger(1000)->reg0[0],resubmit(,1)'
    ovs-ofctl add-flow br0 'table=1,reg0=1/1,actions=drop'
    ovs-ofctl add-flow br0 'table=1,reg0=0/1,actions=output:2'
    expect_pings a 10.1.1.2 2
    expect_no_pings a 10.1.1.2 2 -s 1200
    dp_flows 'check_pkt_len\(size=1000'
}

check_mirrors() {
    two_hosts
    host m 10.1.1.3/24 br0
    vsctl -- --id=@p get port m -- --id=@m create mirror name=m0 select_all=true output_port=@p -- set bridge br0 mirrors=@m
    before=$(ip netns exec m cat /sys/class/net/eth0/statistics/rx_packets)
    expect_pings a 10.1.1.2 5
    after=$(ip netns exec m cat /sys/class/net/eth0/statistics/rx_packets)
    expect "mirrored $((after - before))" [ $((after - before)) -ge 10 ]
}

check_bonds() {
    vsctl add-br br0 -- add-br br1
    for i in 1 2; do
        ip link add x$i type veth peer name y$i
        ip link set x$i up
        ip link set y$i up
    done
    vsctl add-bond br0 bond0 x1 x2 lacp=active bond_mode=balance-slb -- add-bond br1 bond1 y1 y2 lacp=active bond_mode=balance-slb
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br1
    until_ok "LACP" sh -c "ovs-appctl lacp/show bond0 | grep -q 'status: active negotiated'"
    until_ok "the bond" ip netns exec a ping -c1 -W1 10.1.1.2
    expect_pings a 10.1.1.2 5
    ip link set x1 down
    until_ok "the other member" ip netns exec a ping -c1 -W1 10.1.1.2
}
