# Connection tracking and address translation, by the kernel's tracker.

two_tracked_hosts() {
    vsctl add-br br0 -- set bridge br0 fail_mode=secure
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    printf 'priority=100,%s,actions=normal\n' arp icmp6,icmp_type=135 icmp6,icmp_type=136 | ovs-ofctl add-flows br0 -
    conntrack -F 2> /dev/null || true
}

# Lets a begin connections to b and not b to a. In zone 0: others need a kernel with CONFIG_NF_CONNTRACK_ZONES, which Debian's
# user-mode-linux is not.
one_way() {
    local p
    for p in ip ipv6; do
        cat << EOF
priority=50,$p,ct_state=-trk,actions=ct(table=1)
table=1,priority=50,$p,in_port=1,ct_state=+trk+new,actions=ct(commit,exec(set_field:0x5->ct_mark,set_field:0x77->ct_label)),output:2
table=1,priority=50,$p,in_port=1,ct_state=+trk+est,ct_mark=5,actions=output:2
table=1,priority=50,$p,in_port=2,ct_state=+trk+est,ct_mark=5,ct_label=0x77,actions=output:1
table=1,priority=50,$p,ct_state=+trk+rel,actions=normal
EOF
    done | ovs-ofctl add-flows br0 -
}

check_connections() {
    two_tracked_hosts
    one_way
    net b serve tcp 80 &
    net a serve tcp 80 &
    until_ok "a connection" net a ask tcp 10.1.1.2 80
    expect "a connection the other way" eval '! net b ask tcp 10.1.1.1 80'
    expect_pings a 10.1.1.2 3
    dp_flows 'ct_state\([^)]*\+est.*ct_mark\(0x5'
    dp_flows 'ct\(commit,mark=0x5/0xffffffff,label=0x77'
    ovs-appctl dpctl/dump-conntrack zone=0
    ovs-appctl dpctl/dump-conntrack zone=0 | grep -E 'tcp,orig=\(src=10.1.1.1,dst=10.1.1.2,sport=[0-9]+,dport=80\),reply=.*,mark=5,labels=0x77,protoinfo=\(state='
    ovs-appctl dpctl/flush-conntrack zone=8
    ovs-appctl dpctl/dump-conntrack | grep -q tcp
    ovs-appctl dpctl/flush-conntrack zone=0
    expect "connections were left" eval '! ovs-appctl dpctl/dump-conntrack | grep dport=80'
}

check_connectionsOverIPv6() {
    two_tracked_hosts
    ip -n a addr add fd00::1/64 dev eth0 nodad
    ip -n b addr add fd00::2/64 dev eth0 nodad
    one_way
    net b serve tcp6 80 &
    until_ok "a connection" net a ask tcp6 fd00::2 80
    net a serve tcp6 80 &
    expect "a connection the other way" eval '! net b ask tcp6 fd00::1 80'
    ovs-appctl dpctl/dump-conntrack | grep -E 'tcp,orig=\(src=fd00::1,dst=fd00::2'
}

# The helper of a connection stays with it, though later packets commit it again without naming one: what FTP announces is related.
check_helpersPersist() {
    two_tracked_hosts
    net b ftp 21 &
    transfer() {
        ovs-ofctl del-flows br0
        ovs-ofctl add-flows br0 - << EOF
priority=100,arp,actions=normal
priority=50,ip,ct_state=-trk,actions=ct(table=1)
table=1,priority=50,tcp,in_port=1,tcp_dst=21,ct_state=+trk+new,actions=ct(commit$1),output:2
table=1,priority=50,tcp,in_port=1,tcp_dst=21,ct_state=+trk+est,actions=ct(commit),output:2
table=1,priority=40,tcp,in_port=1,ct_state=+trk+new+rel,actions=ct(commit),output:2
table=1,priority=40,ip,in_port=1,ct_state=+trk+est,actions=output:2
table=1,priority=40,ip,in_port=2,ct_state=+trk+est,actions=output:1
EOF
        conntrack -F 2> /dev/null || true
    }
    transfer ,alg=ftp
    until_ok "a transfer" net a fetch 10.1.1.2 21
    [ "$(net a fetch 10.1.1.2 21)" = fetched ]
    dp_flows 'ct\(commit,helper=ftp\)'
    dp_flows 'ct_state\([^)]*\+rel'
    ovs-appctl dpctl/dump-conntrack
    ovs-appctl dpctl/dump-conntrack | grep 'dport=21).*helper=ftp'
    transfer
    expect "a transfer without a helper" eval '! net a fetch 10.1.1.2 21'
}

check_fragmentsAreReassembled() {
    two_tracked_hosts
    one_way
    expect_pings a 10.1.1.2 3 -s 4000
    ovs-appctl dpctl/dump-conntrack | grep icmp
}

check_fragmentsOfIPv6AreReassembled() {
    two_tracked_hosts
    ip -n a addr add fd00::1/64 dev eth0 nodad
    ip -n b addr add fd00::2/64 dev eth0 nodad
    one_way
    expect_pings a fd00::2 3 -s 4000
}

# Zone 0's connections get the times that the database says.
check_timeoutPolicies() {
    two_tracked_hosts
    vsctl -- --id=@system create Datapath datapath_version=0 -- set Open_vSwitch . datapaths:system=@system
    vsctl add-zone-tp system zone=0 udp_first=77 udp_single=77 udp_multiple=88 icmp_first=66 icmp_reply=66
    one_way
    expect_pings a 10.1.1.2 3
    conntrack -L 2> /dev/null
    dp_flows 'ct\(commit,.*timeout=ovs_tp_[0-9]+_icmp4'
    conntrack -L -p icmp 2> /dev/null | awk '{ exit !($3 > 50 && $3 <= 66) }'
    net b serve udp 53 &
    until_ok "an answer" net a ask udp 10.1.1.2 53
    conntrack -L -p udp 2> /dev/null | awk '{ exit !($3 > 60 && $3 <= 88) }'
    vsctl clear Open_vSwitch . datapaths
}

check_sourceNAT() {
    two_tracked_hosts
    ip -n b neigh add 10.1.1.240 lladdr "$(ip netns exec a cat /sys/class/net/eth0/address)" dev eth0
    ovs-ofctl add-flow br0 'priority=50,ip,in_port=1,actions=ct(commit,nat(src=10.1.1.240:5000-5010)),output:2'
    ovs-ofctl add-flow br0 'priority=50,ip,in_port=2,actions=ct(table=1,nat)'
    ovs-ofctl add-flow br0 'table=1,ip,ct_state=+trk,actions=output:1'
    net b serve tcp 80 &
    until_ok "a connection" net a ask tcp 10.1.1.2 80
    seen=$(net a ask tcp 10.1.1.2 80)
    say "the server saw $seen"
    [[ $seen =~ ^10\.1\.1\.240\ 50(0[0-9]|10)$ ]]
    net b serve udp 80 &
    until_ok "UDP" net a ask udp 10.1.1.2 80
    expect_pings a 10.1.1.2 3
    dp_flows 'nat\(src=10.1.1.240:5000-5010\)'
}

check_destinationNAT() {
    two_tracked_hosts
    ip -n a neigh add 10.1.1.99 lladdr "$(ip netns exec b cat /sys/class/net/eth0/address)" dev eth0
    ovs-ofctl add-flow br0 'priority=50,ip,in_port=1,actions=ct(commit,table=1,nat(dst=10.1.1.2:80))'
    ovs-ofctl add-flow br0 'priority=50,ip,in_port=2,actions=ct(table=1,nat)'
    ovs-ofctl add-flow br0 'table=1,ip,in_port=1,actions=output:2'
    ovs-ofctl add-flow br0 'table=1,ip,in_port=2,actions=output:1'
    net b serve tcp 80 &
    until_ok "a connection" net a ask tcp 10.1.1.99 8080
    # An error about a translated packet says what its sender sent.
    net a ask udp 10.1.1.99 8080 2>&1 | grep -i refused
}

check_addressesOfIPv6AreTranslated() {
    two_tracked_hosts
    ip -n a addr add fd00::1/64 dev eth0 nodad
    ip -n b addr add fd00::2/64 dev eth0 nodad
    ip -n b neigh add fd00::240 lladdr "$(ip netns exec a cat /sys/class/net/eth0/address)" dev eth0
    ovs-ofctl add-flow br0 'priority=50,ipv6,in_port=1,actions=ct(commit,nat(src=fd00::240)),output:2'
    ovs-ofctl add-flow br0 'priority=50,ipv6,in_port=2,actions=ct(table=1,nat)'
    ovs-ofctl add-flow br0 'table=1,ipv6,ct_state=+trk,actions=output:1'
    net b serve tcp6 80 &
    until_ok "a connection" net a ask tcp6 fd00::2 80
    net a ask tcp6 fd00::2 80 | grep -q 'fd00::240 '
}

check_zonesAreLimited() {
    two_tracked_hosts
    one_way
    ovs-appctl dpctl/ct-set-limits default=100 zone=0,limit=2
    ovs-appctl dpctl/ct-get-limits
    ovs-appctl dpctl/ct-get-limits | grep -q 'zone=0,limit=2,count=0'
    net b serve udp 80 &
    until_ok "a first connection" net a ask udp 10.1.1.2 80 4001
    net a ask udp 10.1.1.2 80 4002 || true
    net a ask udp 10.1.1.2 80 4003 || true
    net a ask udp 10.1.1.2 80 4004 || true
    ovs-appctl dpctl/ct-get-limits zone=0
    count=$(ovs-appctl dpctl/dump-conntrack zone=0 | wc -l)
    expect "$count connections" [ "$count" -le 2 ]
    ovs-appctl dpctl/ct-del-limits zone=0
    ovs-appctl dpctl/ct-get-limits zone=0 | grep -q 'zone=0,limit=100'
    ovs-appctl dpctl/ct-set-limits default=0
}

check_metersDrop() {
    two_tracked_hosts
    ovs-ofctl -O OpenFlow13 add-meter br0 'meter=1,pktps,stats,bands=type=drop rate=2'
    ovs-ofctl -O OpenFlow13 add-flow br0 'priority=50,icmp,in_port=1,actions=meter:1,output:2'
    ovs-ofctl add-flow br0 'priority=50,icmp,in_port=2,actions=output:1'
    got=$(pings a 10.1.1.2 40)
    expect "$got of 40 passed" [ "$got" -lt 20 ]
    expect "$got of 40 passed" [ "$got" -gt 1 ]
    dp_flows 'meter\('
    ovs-ofctl -O OpenFlow13 meter-stats br0
    ovs-ofctl -O OpenFlow13 meter-stats br0 | grep -E 'packet_in_count:[1-9]'
    ovs-ofctl -O OpenFlow13 del-meters br0
}
