#!/usr/bin/env bash
# The main job on real packets: two network namespaces joined by the switch, pings between them, and what the switch
# made of them. With "dummy": a packet trace through the dummy datapath, without root. With "netlink": the same pings through the Linux
# kernel's module; where this machine's kernel has none, in a kernel that has it (scripts/kernel.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
datapath=${1:-netdev}
case $datapath in
netdev | dummy) ;;
netlink)
    if [ ! -d /sys/module/openvswitch ] && ! modprobe -q openvswitch 2>/dev/null; then
        echo "run: this machine's kernel has no openvswitch module: starting one that has"
        exec scripts/kernel.sh "$PWD/scripts/run.sh" netlink
    fi
    ;;
*) echo "run: DATAPATH=$datapath: expected netdev, netlink or dummy" >&2; exit 1 ;;
esac
if [ "$datapath" != dummy ] && [ "$(id -u)" -ne 0 ]; then
    echo "run: real packets take root; without: make run DATAPATH=dummy" >&2
    exit 1
fi
if [ "$datapath" = netdev ] && [ ! -w /dev/net/tun ]; then
    echo "run: the switch's own interfaces take /dev/net/tun; without: make run DATAPATH=dummy" >&2
    exit 1
fi
daemon=$PWD/.build/release/vswitchd
work=$(mktemp -d)
export OVS_RUNDIR=$work OVS_DBDIR=$work OVS_LOGDIR=$work PATH="$PATH:/usr/sbin:/sbin"
control=$work/vswitchd.ctl
pid=
tag=vsw$$
bridge=br$$

cleanup() {
    status=$?
    if [ $status -ne 0 ] && [ -f "$work/vswitchd.log" ]; then tail -20 "$work/vswitchd.log" >&2; fi
    if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi
    if [ "$datapath" != dummy ]; then
        for side in a b; do
            ip link del "$tag$side" 2>/dev/null || true
            ip netns del "$tag-$side" 2>/dev/null || true
        done
    fi
    rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n== %s\n' "$*"; }
appctl() { ovs-appctl -t "$control" "$@"; }

options=()
[ "$datapath" = dummy ] && options+=(--enable-dummy)
"$daemon" --datapath "$datapath" "${options[@]}" --no-chdir --pidfile="$work/vswitchd.pid" --unixctl="$control" \
    --log-file="$work/vswitchd.log" -vconsole:off &
pid=$!
for _ in $(seq 200); do appctl version > /dev/null 2>&1 && [ -S "$work/db.sock" ] && break; sleep 0.05; done

ovs-vsctl --timeout=10 add-br $bridge
if [ "$datapath" = dummy ]; then
    ovs-vsctl --timeout=10 add-port $bridge p1 -- set interface p1 type=dummy -- add-port $bridge p2 -- set interface p2 type=dummy
    a='eth(src=50:54:00:00:00:01,dst=50:54:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)'
    b='eth(src=50:54:00:00:00:02,dst=50:54:00:00:00:01),eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.1,proto=1,tos=0,ttl=64,frag=no),icmp(type=0,code=0)'
    say "a packet trace: three pings from p1 to p2"
    for _ in 1 2 3; do
        appctl netdev-dummy/receive p1 "in_port(1),$a"
        appctl netdev-dummy/receive p2 "in_port(2),$b"
    done
else
    for side in a b; do
        ip netns add "$tag-$side"
        ip link add "$tag$side" type veth peer name eth0 netns "$tag-$side"
        ip link set "$tag$side" up
        ip -n "$tag-$side" link set lo up
        ip -n "$tag-$side" link set eth0 up
        ovs-vsctl --timeout=10 add-port $bridge "$tag$side"
    done
    ip -n "$tag-a" addr add 198.18.7.1/24 dev eth0
    ip -n "$tag-b" addr add 198.18.7.2/24 dev eth0
    say "ping from one namespace to the other"
    ip netns exec "$tag-a" ping -c 5 -i 0.2 -W 2 198.18.7.2
fi

say "what this datapath has a test for, beside the published feature matrix"
"$daemon" features --datapath "$datapath"
say "what the running bridge's datapath can do"
appctl dpif/show-dp-features $bridge
say "OpenFlow flows"
ovs-ofctl dump-flows $bridge
say "addresses learned"
appctl fdb/show $bridge
say "datapath flows"
appctl dpctl/dump-flows
say "datapath"
appctl dpif/show
