# The datapath as others see it: Debian's tools, restarts, interfaces that come and go.

check_capabilitiesAreProbed() {
    vsctl add-br br0
    ovs-appctl dpif/show-dp-features br0
    for feature in "Masked set action: Yes" "Tunnel push pop: No" "Ufid: Yes" "Truncate action: Yes" "Clone action: Yes" \
        "Sample nesting: 10" "Conntrack clear: Yes" "Check pkt length action: Yes" "Explicit Drop action: No" "Max MPLS depth: 3" \
        "Recirc: Yes" "CT state: Yes" "CT mark: Yes" "CT label: Yes" "CT state NAT: Yes" "IPv6 ND Extension: No" "MPLS Label add: Yes"; do
        ovs-appctl dpif/show-dp-features br0 | grep -qx "$feature" || fail "not so: $feature"
    done
    # Debian's user-mode-linux is built without CONFIG_NF_CONNTRACK_ZONES.
    ovs-appctl dpif/show-dp-features br0 | grep -qx "CT zone: No"
    expect "a zone is taken" eval '! ovs-ofctl add-flow br0 "ip,actions=ct(zone=1,table=1)"'
    expect "something is left of the probes" eval '! ovs-dpctl dump-flows | grep recirc_id.0xfffffffe'
}

check_flowsOfTheKernelsTools() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    a=$(ovs-dpctl show | sed -n 's/.*port \([0-9]*\): a$/\1/p')
    b=$(ovs-dpctl show | sed -n 's/.*port \([0-9]*\): b$/\1/p')
    # A flow that Debian's tool installs is one that this daemon's commands see, and the other way around.
    ovs-dpctl add-flow "in_port($a),eth(),eth_type(0x0800),ipv4(dst=10.77.0.0/255.255.0.0,frag=no)" "$b"
    ovs-appctl dpctl/dump-flows system@ovs-system | grep "ipv4(dst=10.77.0.0/255.255.0.0,frag=no).*actions:$b"
    ovs-appctl dpctl/add-flow system@ovs-system "in_port($b),eth(),eth_type(0x0800),ipv4(dst=10.78.0.1,frag=no)" "$a"
    dp_flows "ipv4\\(dst=10.78.0.1,frag=no\\).*actions:$a"
    ovs-appctl dpctl/del-flow system@ovs-system "in_port($b),eth(),eth_type(0x0800),ipv4(dst=10.78.0.1,frag=no)"
    expect "the flow is there still" eval '! ovs-dpctl dump-flows | grep 10.78.0.1'
    # Flows that are not the switch's own go with the next look.
    ovs-dpctl del-flows
    expect_pings a 10.1.1.2 3
    ovs-dpctl show | grep -E 'lookups: hit:[0-9]+ missed:[0-9]+ lost:0'
}

check_restartLosesNothing() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    expect_pings a 10.1.1.2 3
    ovs-dpctl show
    ip netns exec a ping -n -c 200 -i 0.05 -W 1 10.1.1.2 > /tmp/flood &
    flood=$!
    sleep 1
    stop_daemon
    ovs-dpctl show | grep -E 'port [0-9]+: b' || fail "the ports went with the daemon"
    sleep 2
    start_daemon
    ovs-dpctl show
    wait $flood || true
    cat /tmp/flood | tail -3
    grep -q ' 0% packet loss' /tmp/flood
    grep 'took over' $work/ovs-vswitchd.log | tail -1
    grep -E 'took over [1-9][0-9]* of' $work/ovs-vswitchd.log
    # With flow-restore-wait nothing is decided before the flows are back.
    vsctl set Open_vSwitch . other_config:flow-restore-wait=true
    stop_daemon
    start_daemon
    count=$(grep -c 'took over' $work/ovs-vswitchd.log)
    expect_pings a 10.1.1.2 3
    vsctl remove Open_vSwitch . other_config flow-restore-wait
    until_ok "the end of the wait" sh -c "[ \$(grep -c 'took over' $work/ovs-vswitchd.log) -gt $count ]"
    expect_pings a 10.1.1.2 3
}

# On kernels that cannot dispatch upcalls by processors, each port names sockets.
check_dispatchPerPort() {
    stop_daemon --cleanup
    start_daemon --kernel-without processor-dispatch
    vsctl add-br br0
    grep 'ovs-system: upcalls are dispatched per port' $work/ovs-vswitchd.log
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    expect_pings a 10.1.1.2 5
    ovs-ofctl del-flows br0
    ovs-ofctl add-flow br0 'priority=10,icmp,actions=controller(max_len=128),normal'
    ovs-ofctl add-flow br0 'priority=1,actions=normal'
    expect_pings a 10.1.1.2 3
    ovs-dpctl show | grep -E 'lookups: hit:[0-9]+ missed:[1-9][0-9]* lost:0'
    # A daemon that knows better takes the datapath over, and the other way around.
    stop_daemon
    start_daemon
    expect_pings a 10.1.1.2 3
    stop_daemon
    start_daemon --kernel-without processor-dispatch
    expect_pings a 10.1.1.2 3
    stop_daemon --cleanup
}

check_portsComeAndGo() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    host b 10.1.1.2/24 br0
    expect_pings a 10.1.1.2 2
    ovs-dpctl del-if ovs-system b
    # Who wants the port gets it back.
    until_ok "the port" sh -c "ovs-dpctl show | grep -E 'port [0-9]+: b'"
    until_ok "forwarding" ip netns exec a ping -c1 -W1 10.1.1.2
    ip link del dev b
    until_ok "the error" sh -c "ovs-vsctl get interface b error | grep -i 'no such device'"
    ip link add name b type veth peer name eth0 netns b
    ip link set dev b up
    ip -n b link set eth0 up
    ip -n b addr add 10.1.1.2/24 dev eth0
    until_ok "the interface that came back" sh -c "ovs-dpctl show | grep -E 'port [0-9]+: b'"
    until_ok "forwarding" ip netns exec a ping -c1 -W1 10.1.1.2
    ip link set dev b down
    ip link set dev b name other
    until_ok "the new name" sh -c "ovs-vsctl get interface b error | grep -i 'no such device'"
    ip link del dev other
}

check_cleanUp() {
    vsctl add-br br0
    host a 10.1.1.1/24 br0
    vsctl add-port br0 v -- set interface v type=vxlan options:remote_ip=172.31.1.2
    ip -o link | grep vxlan_sys
    stop_daemon --cleanup
    expect "the datapath is left" eval '! ovs-dpctl show | grep ovs-system'
    expect "an interface is left" eval '! ip -o link show | grep -E "br0|vxlan_sys"'
    start_daemon
    until_ok "the bridge" sh -c "ovs-dpctl show | grep 'br0 (internal)'"
}

# Ports come and go by the dozen, again and again: what is used does not grow. KERNEL_PORT_ROUNDS rounds of thirty (10).
check_manyPorts() {
    vsctl add-br br0
    used() { sed -n 's/VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' /proc/"$(cat $work/ovs-vswitchd.pid)"/status; }
    descriptors() { ls /proc/"$(cat $work/ovs-vswitchd.pid)"/fd | wc -l; }
    add=()
    del=()
    for i in $(seq 10); do
        ip link add name v$i type veth peer name w$i
        for name in v w; do add+=(-- add-port br0 $name$i); del+=(-- del-port $name$i); done
        add+=(-- add-port br0 i$i -- set interface i$i type=internal)
        del+=(-- del-port i$i)
    done
    rounds=${KERNEL_PORT_ROUNDS:-10}
    for round in $(seq "$rounds"); do
        vsctl --timeout=60 "${add[@]}"
        [ "$(ovs-dpctl show | grep -cE ': (i[0-9]+ \(internal\)|[vw][0-9]+)$')" = 30 ]
        vsctl --timeout=60 "${del[@]}"
        [ "$(ovs-dpctl show | grep -cE ': (i[0-9]+ \(internal\)|[vw][0-9]+)$')" = 0 ]
        say "round $round: $(used) kB, $(descriptors) descriptors"
        # The first rounds warm up.
        [ $round != $((rounds / 2)) ] || before=$(used) open=$(descriptors)
    done
    expect "$before kB grew to $(used)" [ $(($(used) - before)) -lt 4096 ]
    expect "descriptors grew" [ "$(descriptors)" -le "$open" ]
    for i in $(seq 10); do ip link del dev v$i; done
}

check_masksCache() {
    vsctl add-br br0
    ovs-appctl dpctl/cache-get-size | grep -x '    masks-cache: size:256'
    ovs-appctl dpctl/cache-set-size system@ovs-system masks-cache 500 | grep -x 'Setting cache size successful, new size 512'
    ovs-dpctl cache-get-size ovs-system | grep 'masks-cache: size:512'
    expect "another cache was set" eval '! ovs-appctl dpctl/cache-set-size system@ovs-system nosuch 512'
    ovs-appctl dpctl/cache-set-size system@ovs-system masks-cache 256
}

# In a network namespace the module is there, too; without the right to, or without the module, one message says what is missing.
check_noModule() {
    folder=/tmp/other
    mkdir -p $folder
    OVS_RUNDIR=$folder OVS_LOGDIR=$folder OVS_DBDIR=$folder setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$daemon" --datapath netlink \
        --no-chdir --pidfile --log-file -vconsole:off --unixctl=$folder/ctl > /dev/null 2>&1 &
    other=$!
    until_ok "the other daemon" sh -c "OVS_RUNDIR=$folder ovs-vsctl --db=unix:$folder/db.sock --timeout=1 get Open_vSwitch . cur_cfg"
    ovs-vsctl --db=unix:$folder/db.sock --timeout=10 add-br sys -- add-br user -- set bridge user datapath_type=netdev || true
    until_ok "the message" grep -E 'could not open datapath ovs-system.*CAP_NET_ADMIN' $folder/ovs-vswitchd.log
    ovs-vsctl --db=unix:$folder/db.sock --timeout=10 get interface sys error | grep CAP_NET_ADMIN
    grep 'could not open datapath' $folder/ovs-vswitchd.log | head -3
    # Its other datapaths go on.
    ovs-appctl -t $folder/ctl dpif/show
    kill $other
    wait $other || true
}

check_conformance() {
    # A datapath beside the one that is tested.
    vsctl add-br br0
    bundle=$(ls "$(dirname "$daemon")"/*.xctest | head -1)
    expect "no test bundle beside $daemon" [ -x "$bundle" ]
    SWIFT_BACKTRACE=enable=no KERNEL_TESTS=no timeout 120 "$bundle" --testing-library swift-testing --filter 'DpifConformanceTests.*netlink' > /tmp/conformance 2>&1 || {
        grep -aE '↳|skipped' /tmp/conformance
        fail "conformance"
    }
    grep -E 'skipped, lacks|Test run with' /tmp/conformance
    expect "it was skipped" eval '! grep -q "needs the module" /tmp/conformance'
}
