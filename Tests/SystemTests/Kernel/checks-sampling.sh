# sFlow and IPFIX: the module samples packets of its flows and sends them up, and collectors are told of them.

# collect: decoded datagrams that arrive at port 9000 go to /tmp/collected.
collect() {
    ip link set lo up
    /usr/bin/python3 -IS "$here/../Export/collect.py" 9000 > /tmp/collected 2>&1 &
    sleep 1
}
index() { cat "/sys/class/net/$1/ifindex"; }
# collected PATTERN LEAST: that so many lines have it, soon.
collected() {
    until_ok "$2 of $1" sh -c "[ \$(grep -cE '$1' /tmp/collected) -ge $2 ]"
}

sampled_hosts() {
    vsctl add-br br0
    host a 10.3.1.1/24 br0
    host b 10.3.1.2/24 br0
    expect_pings a 10.3.1.2 2
    collect
}

check_sFlow() {
    sampled_hosts
    vsctl -- --id=@s create sflow targets=\"127.0.0.1:9000\" sampling=1 polling=1 header=64 agent=127.0.0.1 -- set bridge br0 sflow=@s
    expect_pings a 10.3.1.2 20
    dp_flows 'actions:userspace\(.*\),[0-9]'
    collected "^flow .* in=0x$(printf %x "$(index a)") out=0x$(printf %x "$(index b)") .*switch in=0/0 out=0/0 .*header protocol=1 length=102 stripped=4" 20
    collected "^flow .* in=0x$(printf %x "$(index b)") out=0x$(printf %x "$(index a)") " 20
    collected "^counters .*openflow .* name a +interface index=$(index a) " 1
    collected "^counters .*datapath hit=[0-9]+ missed=" 1
    # One in eight: the module's choice, by chance.
    vsctl set sflow "$(ovs-vsctl get bridge br0 sflow)" sampling=8 polling=0
    sleep 1
    expect_pings a 10.3.1.2 2
    before=$(grep -c 'rate=8 ' /tmp/collected) || true
    net b count 9 5 > /tmp/count &
    net a flood 10.3.1.2 9 4000 4 &
    sleep 7
    dp_flows 'actions:sample\(sample=12.5%,'
    got=$(($(grep -c 'rate=8 ' /tmp/collected) - before))
    sent=$(ovs-ofctl dump-ports br0 a | sed -n 's/.*rx pkts=\([0-9]*\).*/\1/p')
    say "$got samples of $sent packets"
    [ $got -ge $((sent / 16)) ] && [ $got -le $((sent / 4)) ]
    # The packets stay in the kernel, but for those.
    vsctl clear bridge br0 sflow
    until_ok "the end of sampling" sh -c "! ovs-dpctl dump-flows | grep userspace"
}

check_ipfix() {
    sampled_hosts
    vsctl -- --id=@i create ipfix targets=\"127.0.0.1:9000\" sampling=1 obs_domain_id=5 obs_point_id=6 cache_active_timeout=1 cache_max_flows=100 \
        -- set bridge br0 ipfix=@i
    expect_pings a 10.3.1.2 20
    dp_flows 'actions:userspace\(.*\),userspace\(.*\),[0-9]'
    # Input, which is from a; then output to b.
    collected "^data domain=5 template=292 138=00000006 61=00 .* 10=$(printf %08x "$(index a)") 368=00000000 82=61 .* 8=0a030101 12=0a030102 " 1
    collected "^data domain=5 template=293 138=00000006 61=01 .* 14=$(printf %08x "$(index b)") 369=00000000 82=62 .* 8=0a030101 12=0a030102 " 1
    ovs-ofctl dump-ipfix-bridge br0 | grep -E 'sampled pkts=[1-9]'
    # Flows that ask for it.
    vsctl clear bridge br0 ipfix
    vsctl -- --id=@b get bridge br0 -- --id=@i create ipfix targets=\"127.0.0.1:9000\" \
        -- --id=@c create flow_sample_collector_set id=7 bridge=@b ipfix=@i
    ovs-ofctl add-flow br0 'priority=50000,icmp,in_port=1,actions=sample(probability=65535,collector_set_id=7,obs_domain_id=8,obs_point_id=9,sampling_port=2,egress),output:2'
    expect_pings a 10.3.1.2 10
    collected "^data domain=8 template=293 138=00000009 61=01 .* 14=$(printf %08x "$(index b)") " 10
    ovs-ofctl dump-ipfix-flow br0 | grep -E 'id +7: .*sampled pkts=[1-9]'
}

# The module says what the tunnel's header is.
check_ipfixTunnels() {
    vsctl add-br br0
    host a 10.3.1.1/24 br0
    host r 172.31.1.2/24 -
    ip addr add 172.31.1.1/24 dev r
    ip -n r link add name t0 type vxlan id 100 remote 172.31.1.1 local 172.31.1.2 dstport 4789 dev eth0
    ip -n r link set t0 up mtu 1400
    ip -n r addr add 10.3.1.2/24 dev t0
    vsctl add-port br0 t -- set interface t type=vxlan options:remote_ip=172.31.1.2 options:key=100
    until_ok "the tunnel" ip netns exec a ping -c1 -W1 10.3.1.2
    collect
    vsctl -- --id=@i create ipfix targets=\"127.0.0.1:9000\" sampling=1 obs_domain_id=5 -- set bridge br0 ipfix=@i \
        -- --id=@s create sflow targets=\"127.0.0.1:9000\" sampling=1 polling=0 agent=127.0.0.1 -- set bridge br0 sflow=@s
    expect_pings a 10.3.1.2 5
    dp_flows 'userspace\(.*\),set\(tunnel\(.*\)\),userspace\(.*tunnel_out_port=.*\),[0-9]'
    # From the switch into the tunnel, and out of it.
    collected '6876/893=ac1f0101 6876/894=ac1f0102 6876/895=11 6876/896=.... 6876/897=12b5 6876/891=01 6876/892=000064' 5
    collected '6876/893=ac1f0102 6876/894=ac1f0101 6876/895=11 6876/896=.... 6876/897=12b5 6876/891=01 6876/892=000064' 5
    # Which address the packets leave by is the kernel's choice.
    collected '^flow .*vni egress 100 +tunnel egress length=0 protocol=17 0.0.0.0>172.31.1.2 ' 5
    collected '^flow .*vni ingress 100 +tunnel ingress length=0 protocol=17 172.31.1.2>172.31.1.1 ' 5
    # A flow that asks for the sample of a tunnel.
    vsctl clear bridge br0 ipfix -- clear bridge br0 sflow
    vsctl -- --id=@b get bridge br0 -- --id=@i create ipfix targets=\"127.0.0.1:9000\" \
        -- --id=@c create flow_sample_collector_set id=7 bridge=@b ipfix=@i
    ovs-ofctl add-flow br0 'priority=50000,icmp,in_port=1,actions=sample(probability=65535,collector_set_id=7,obs_domain_id=8,sampling_port=2),output:2'
    expect_pings a 10.3.1.2 5
    collected '^data domain=8 .*6876/893=ac1f0101 6876/894=ac1f0102 6876/895=11 ' 5
}
