# Tunnels: the switch at one end, and the kernel's own interface in a host at the other, or another switch.

# underlay HOST: a bridge with the host a, and a cable to a host with addresses of both kinds at its ends.
underlay() {
    vsctl add-br br0
    host a 10.2.1.1/24 br0
    ip -n a link set eth0 mtu 1400
    host "$1" 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev "$1"
    ip addr add fd31::1/64 dev "$1" nodad
    ip -n "$1" addr add fd31::2/64 dev eth0 nodad
}

# tunnel TYPE INTERFACE-ARGUMENTS OPTIONS...: a bridge with the host a and a tunnel port to the host r, in which the kernel ends the tunnel.
tunnel() {
    local port=$1 native=$2
    shift 2
    underlay r
    ip -n r link add name t0 $native
    ip -n r link set t0 up mtu 1400
    ip -n r addr add 10.2.1.2/24 dev t0
    vsctl add-port br0 t -- set interface t type=$port "$@"
    vsctl get interface t error
    until_ok "the tunnel" ip netns exec a ping -c1 -W1 10.2.1.2
    expect_pings a 10.2.1.2 5
    expect_pings a 10.2.1.2 2 -s 3000
    dp_flows 'set\(tunnel\(.*actions:|actions:set\(tunnel\('
    dp_flows '^recirc_id\(0\),tunnel\('
    ovs-dpctl show
    vsctl del-port t
    until_ok "the end of the tunnel's interface" sh -c '! ovs-dpctl show | grep -q _sys'
    expect "an interface was left" eval '! ip -o link show | grep _sys'
}

check_vxlan() { tunnel vxlan 'type vxlan id 100 remote 172.31.1.1 local 172.31.1.2 dstport 4789 dev eth0' options:remote_ip=172.31.1.2 options:key=100; }
check_vxlanOverIPv6() {
    tunnel vxlan 'type vxlan id 100 remote fd31::1 local fd31::2 dstport 4789 udp6zerocsumrx udp6zerocsumtx dev eth0' \
        options:remote_ip=\"fd31::2\" options:key=100
}
check_geneve() { tunnel geneve 'type geneve id 77 remote 172.31.1.1' options:remote_ip=172.31.1.2 options:key=77; }
check_geneveOverIPv6() {
    tunnel geneve 'type geneve id 77 remote fd31::1 udp6zerocsumrx udp6zerocsumtx' options:remote_ip=\"fd31::2\" options:key=77
}
check_gre() { tunnel gre 'type gretap remote 172.31.1.1 local 172.31.1.2 key 9' options:remote_ip=172.31.1.2 options:key=9; }
check_greOverIPv6() { tunnel ip6gre 'type ip6gretap remote fd31::1 local fd31::2 key 9' options:remote_ip=\"fd31::2\" options:key=9; }
check_erspan() {
    tunnel erspan 'type erspan seq key 5 remote 172.31.1.1 local 172.31.1.2 erspan_ver 1 erspan 3' \
        options:remote_ip=172.31.1.2 options:key=5 options:erspan_ver=1 options:erspan_idx=3
}
check_erspanOverIPv6() {
    tunnel ip6erspan 'type ip6erspan seq key 5 remote fd31::1 local fd31::2 erspan_ver 1 erspan 3' \
        options:remote_ip=\"fd31::2\" options:key=5 options:erspan_ver=1 options:erspan_idx=3
}

# Kernels that have no tunnel interfaces for flows: the module makes the ports.
check_tunnelPortsOfTheModule() {
    stop_daemon --cleanup
    start_daemon --kernel-without tunnel-interfaces
    tunnel vxlan 'type vxlan id 100 remote 172.31.1.1 local 172.31.1.2 dstport 4789 dev eth0' options:remote_ip=172.31.1.2 options:key=100
    again() {
        ip -n r link del t0
        ip -n r link add name t0 $2
        ip -n r link set t0 up mtu 1400
        ip -n r addr add 10.2.1.2/24 dev t0
        ip -n a neigh flush dev eth0
        vsctl add-port br0 t -- set interface t type=$1 options:remote_ip=172.31.1.2 options:key=$3
        until_ok "the tunnel of $1" ip netns exec a ping -c1 -W1 10.2.1.2
        expect_pings a 10.2.1.2 5
        vsctl del-port t
    }
    again geneve 'type geneve id 77 remote 172.31.1.1' 77
    again gre 'type gretap remote 172.31.1.1 local 172.31.1.2 key 9' 9
    # There never was one for this kind.
    vsctl add-port br0 t -- set interface t type=ip6gre options:remote_ip=fd31::2 || true
    grep 'tunnel port ip6gre_sys.*modprobe ip6_gre' $work/ovs-vswitchd.log
    stop_daemon --cleanup
}

# The second switch has a daemon, a datapath and a namespace (s) of its own.
second=/tmp/second
of_second() { OVS_RUNDIR=$second "$@"; }
between() {
    local type=$1 here=$2 there=$3
    vsctl add-port br0 t -- set interface t type=$type options:remote_ip=\"$there\" options:key=42
    of_second ovs-vsctl --timeout=20 add-port br0 t -- set interface t type=$type options:remote_ip=\"$here\" options:key=42
    until_ok "the tunnel of $type" ip netns exec a ping -c1 -W1 10.2.1.2
    expect_pings a 10.2.1.2 5
    expect_pings a 10.2.1.2 2 -s 3000
    dp_flows '^recirc_id\(0\),tunnel\('
    in_host s ovs-dpctl dump-flows | grep '^recirc_id(0),tunnel(' || fail "$type: no flow of the second switch has a tunnel"
    vsctl del-port t
    of_second ovs-vsctl --timeout=20 del-port t
    expect_no_pings a 10.2.1.2 1
}
check_tunnelsBetweenSwitches() {
    underlay s
    mkdir -p $second
    OVS_RUNDIR=$second OVS_LOGDIR=$second OVS_DBDIR=$second SWIFT_BACKTRACE=enable=no \
        in_host s "$daemon" --datapath netlink --no-chdir --pidfile --log-file -vconsole:off > $second/output 2>&1 &
    until_ok "the second daemon" of_second ovs-vsctl --timeout=20 get Open_vSwitch . cur_cfg
    of_second ovs-vsctl --timeout=20 add-br br0
    ip netns add b
    ip -n s link add name b type veth peer name eth0 netns b
    ip -n s link set dev b up
    ip -n b link set eth0 up mtu 1400
    ip -n b addr add 10.2.1.2/24 dev eth0
    of_second ovs-vsctl --timeout=20 add-port br0 b
    between vxlan 172.31.1.1 172.31.1.2
    between vxlan fd31::1 fd31::2
    between geneve 172.31.1.1 172.31.1.2
    between geneve fd31::1 fd31::2
    between gre 172.31.1.1 172.31.1.2
    between ip6gre fd31::1 fd31::2
    of_second ovs-appctl exit --cleanup
}
check_flowBasedTunnel() {
    vsctl add-br br0
    host a 10.2.1.1/24 br0
    host r 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev r
    ip -n r link add name t0 type vxlan id 100 remote 172.31.1.1 local 172.31.1.2 dstport 4789 dev eth0
    ip -n r link set t0 up mtu 1400
    ip -n r addr add 10.2.1.2/24 dev t0
    vsctl add-port br0 t -- set interface t type=vxlan options:remote_ip=flow options:key=flow
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'in_port=1,actions=set_field:100->tun_id,set_field:172.31.1.2->tun_dst,output:2'
    ovs-ofctl add-flow br0 'in_port=2,tun_id=100,tun_src=172.31.1.2,actions=output:1'
    until_ok "the tunnel" ip netns exec a ping -c1 -W1 10.2.1.2
    expect_pings a 10.2.1.2 5
}
# One port for all tunnels of a kind: which host a packet is for is told by its key.
check_multipleVTEPs() {
    vsctl add-br br0 -- add-br br1
    host a 10.2.1.1/24 br0
    host b 10.2.1.1/24 br1
    host r 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev r
    for id in 100 200; do
        ip -n r link add name t$id type vxlan id $id remote 172.31.1.1 local 172.31.1.2 dstport 4789 dev eth0
        ip -n r link set t$id up
    done
    ip -n r addr add 10.2.1.2/24 dev t100
    ip -n r addr add 10.2.2.2/24 dev t200
    ip -n b addr flush dev eth0
    ip -n b addr add 10.2.2.1/24 dev eth0
    vsctl add-port br0 v0 -- set interface v0 type=vxlan options:remote_ip=172.31.1.2 options:key=100
    vsctl add-port br1 v1 -- set interface v1 type=vxlan options:remote_ip=172.31.1.2 options:key=200
    until_ok "the first tunnel" ip netns exec a ping -c1 -W1 10.2.1.2
    until_ok "the second tunnel" ip netns exec b ping -c1 -W1 10.2.2.2
    [ "$(ovs-dpctl show | grep -c vxlan_sys)" = 1 ]
}

# VXLAN's extensions. A host's mark goes with its packets as their group.
check_vxlanGroupPolicy() {
    vsctl add-br br0
    host a 10.2.1.1/24 br0
    host r 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev r
    ip -n r link add name t0 type vxlan id 100 remote 172.31.1.1 local 172.31.1.2 dstport 4789 gbp dev eth0
    ip -n r link set t0 up mtu 1400
    ip -n r addr add 10.2.1.2/24 dev t0
    vsctl add-port br0 t -- set interface t type=vxlan options:remote_ip=172.31.1.2 options:key=100 options:exts=gbp
    ip -d link show vxlan_sys_4789 | grep -w gbp
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'in_port=1,actions=set_field:5->tun_gbp_id,output:2'
    ovs-ofctl add-flow br0 'in_port=2,arp,actions=output:1'
    ovs-ofctl add-flow br0 'in_port=2,tun_gbp_id=77,actions=output:1'
    net r sniff eth0 4789 100 > /tmp/headers 2>&1 &
    sleep 2
    until_ok "the tunnel" ip netns exec r ping -c1 -W1 -m 77 10.2.1.1
    expect_pings r 10.2.1.1 5 -m 77
    dp_flows 'tunnel\(.*vxlan\(gbp\(id=77'
    dp_flows 'actions:set\(tunnel\(.*vxlan\(gbp\(id=5'
    expect_no_pings r 10.2.1.1 2 -m 78
    # The group in the header of what the switch sent.
    cat /tmp/headers
    grep '^88000005' /tmp/headers
}

check_vxlanGenericProtocol() {
    vsctl add-br br0
    host a 10.2.1.1/24 br0
    ip -n a neigh add 10.2.1.2 lladdr 02:00:00:00:00:02 dev eth0
    host r 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev r
    ip -n r link add name t0 type vxlan dstport 4790 gpe external
    ip -n r link set t0 up mtu 1400
    ip -n r addr add 10.2.1.2/32 dev t0
    ip -n r route add 10.2.1.1/32 encap ip id 100 src 172.31.1.2 dst 172.31.1.1 dev t0
    vsctl add-port br0 t -- set interface t type=vxlan options:remote_ip=172.31.1.2 options:key=100 options:dst_port=4790 options:exts=gpe \
        options:packet_type=legacy_l3
    ip -d link show vxlan_sys_4790 | grep -w gpe
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'in_port=1,ip,actions=output:2'
    ovs-ofctl add-flow br0 "in_port=2,ip,actions=set_field:$(ip -n a link show eth0 | sed -n 's/.*ether \([^ ]*\).*/\1/p')->eth_dst,output:1"
    until_ok "the tunnel" ip netns exec a ping -c1 -W1 10.2.1.2
    expect_pings a 10.2.1.2 5
    dp_flows 'pop_eth'
    dp_flows 'push_eth'
}
