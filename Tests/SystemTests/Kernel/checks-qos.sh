# Shaping and policing by the kernel's traffic control.

# within VALUE WANTED: within 10 %.
within() { [ "$1" -ge $(($2 * 9 / 10)) ] && [ "$1" -le $(($2 * 11 / 10)) ]; }

# arriving [KBPS]: how many kbit/s of UDP arrive at b of the 8000 that a sends, over some seconds.
arriving() {
    local sent=${1:-8000}
    net b count 9 8 > /tmp/count &
    local counter=$!
    sleep 0.5
    net a flood 10.1.1.2 9 $sent 10 &
    wait $counter || true
    say $(($(cat /tmp/count) * 8 / 1000 / 8)) > /tmp/rate
    cat /tmp/rate
    wait
}

qos_hosts() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    expect_pings a 10.1.1.2 2
}

check_shaping() {
    qos_hosts
    vsctl -- --id=@q0 create queue other_config:max-rate=3000000 -- --id=@q1 create queue other_config:max-rate=1000000 \
        -- --id=@qos create qos type=linux-htb other_config:max-rate=4000000 queues:0=@q0 queues:1=@q1 -- set port b qos=@qos
    tc qdisc show dev b | grep 'htb 1:'
    tc class show dev b
    rate=$(arriving)
    expect "$rate kbit/s of 3000 arrived" within "$rate" 3000
    echo 'priority=50000,udp,in_port=1,actions=set_queue:1,output:2' | ovs-ofctl add-flows br0 -
    rate=$(arriving)
    dp_flows 'set\(skb_priority\(0x10002\)\)'
    expect "$rate kbit/s of 1000 arrived" within "$rate" 1000
    ovs-ofctl -OOpenFlow10 queue-stats br0 b | tee /tmp/queues
    [ "$(grep -cE 'queue [01]: bytes=[1-9][0-9]*, pkts=[1-9]' /tmp/queues)" = 2 ]
    ovs-appctl qos/show b
    for type in linux-hfsc linux-sfq linux-codel linux-fq_codel linux-netem linux-noop; do
        vsctl set qos "$(ovs-vsctl get port b qos)" type=$type
        tc qdisc show dev b
        [ $type = linux-noop ] || tc qdisc show dev b | grep -q "${type#linux-} 1:"
    done
    expect_pings a 10.1.1.2 2
    vsctl clear port b qos
    expect "the discipline is left" eval '! tc qdisc show dev b | grep " 1: "'
}

check_policing() {
    qos_hosts
    vsctl set interface a ingress_policing_rate=2000 ingress_policing_burst=400
    until_ok "the policer" sh -c "tc -s filter show dev a ingress | grep police"
    rate=$(arriving)
    expect "$rate kbit/s of 2000 arrived" within "$rate" 2000
    # Packets: a thousand each second, and a thousand at first.
    vsctl set interface a ingress_policing_rate=0 ingress_policing_kpkts_rate=1 ingress_policing_kpkts_burst=1
    until_ok "the policer of packets" sh -c "tc -s filter show dev a ingress | grep pkts_rate"
    rate=$(arriving 12000)
    say "$rate kbit/s in packets of 1000 bytes"
    tc -s filter show dev a ingress | grep -E 'dropped [1-9]'
    # A busy machine sends less than there may be.
    [ "$rate" -le 9900 ] && [ "$rate" -ge 6000 ]
    # Both: the bytes are fewer.
    vsctl set interface a ingress_policing_rate=2000 ingress_policing_burst=400
    rate=$(arriving)
    expect "$rate kbit/s of 2000 arrived" within "$rate" 2000
    vsctl set interface a ingress_policing_rate=0 ingress_policing_kpkts_rate=0
    until_ok "the end of the policer" sh -c "! tc filter show dev a ingress | grep police"
}
