#!/bin/bash
# Runs the checks of the kernel's datapath, one after the other, within the kernel that scripts/kernel.sh started. Each check is a function
# check_NAME in one of the checks-*.sh beside this file, run with a daemon that forwards and without bridges; it fails when a command does.
# What became of it is told in $RESULTS/NAME: the first line is its status, the rest what it printed.
#
#     run.sh DAEMON [NAME...]
#
# KERNEL_LANE=I/N, without names, runs every Nth check from the Ith (from 1) on: several kernels can share the work.
daemon=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/switch
mkdir -p $work
export OVS_RUNDIR=$work OVS_LOGDIR=$work OVS_DBDIR=$work
RESULTS=${RESULTS:-/tmp/results}
mkdir -p "$RESULTS"
for file in "$here"/checks-*.sh; do . "$file"; done

# The daemon that the checks share; some start others.
say() { printf '%s\n' "$*"; }
fail() {
    say "failed: $*"
    exit 1
}
# Fails with a text unless the command succeeds.
expect() {
    local text=$1
    shift
    "$@" || fail "$text"
}
vsctl() { ovs-vsctl --timeout=20 "$@"; }

# Waits until a command succeeds, for a minute: the machine may be busy with other things.
until_ok() {
    local text=$1 i
    shift
    for ((i = 0; i < 600; i++)); do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "waited in vain for $text"
}

# Ended, though perhaps not yet forgotten by its parent.
is_gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }

start_daemon() {
    SWIFT_BACKTRACE=enable=no "$daemon" --datapath netlink --no-chdir --pidfile --log-file -vconsole:off "$@" > $work/output 2>&1 &
    daemon_pid=$!
    until_ok "the daemon" vsctl get Open_vSwitch . cur_cfg
}
stop_daemon() {
    local pid
    pid=$(cat $work/ovs-vswitchd.pid)
    ovs-appctl exit "$@"
    until_ok "the end of the daemon" is_gone "$pid"
}

# A host in a namespace of its own, whose cable ends at a bridge as an interface of its name: host NAME ADDRESS BRIDGE [add-port's arguments].
host() {
    local name=$1 address=$2 bridge=$3
    shift 3
    ip netns add "$name"
    ip link add name "$name" type veth peer name eth0 netns "$name"
    ip link set dev "$name" up
    ip -n "$name" link set lo up
    ip -n "$name" link set eth0 up
    ip -n "$name" addr add "$address" dev eth0
    [ "$bridge" = - ] || vsctl add-port "$bridge" "$name" "$@"
}
in_host() { ip netns exec "$@"; }
# pings HOST ADDRESS COUNT [ping's arguments]: how many of the pings were answered.
pings() {
    local name=$1 address=$2 count=$3
    shift 3
    in_host "$name" ping -n -c "$count" -i 0.05 -W 1 "$@" "$address" | grep -c "bytes from"
    true
}
expect_pings() {
    local got
    got=$(pings "$@")
    [ "$got" = "$3" ] || fail "$got of $3 pings from $1 to $2 were answered"
}
expect_no_pings() {
    local got
    got=$(pings "$@")
    [ "$got" = 0 ] || fail "$got of $3 pings from $1 to $2 were answered"
}
# net HOST ARGUMENTS: the traffic program, in a host.
net() {
    local name=$1
    shift
    in_host "$name" /usr/bin/python3 -IS "$here/traffic.py" "$@"
}
# Flows of the kernel, as Debian's tool reads them: dp_flows PATTERN.
dp_flows() {
    ovs-dpctl dump-flows > /tmp/flows
    grep -E "$1" /tmp/flows && return 0
    say "no flow has $1:"
    cat /tmp/flows
    return 1
}

clean() {
    local name
    # These keep their bridges.
    ovs-vsctl --timeout=20 --all destroy Flow_Sample_Collector_Set 2> /dev/null
    for name in $(ovs-vsctl --timeout=20 list-br 2> /dev/null); do ovs-vsctl --timeout=20 del-br "$name"; done
    ovs-vsctl --timeout=20 clear Open_vSwitch . other_config 2> /dev/null
    jobs=$(jobs -p | grep -vx "$daemon_pid")
    [ -z "$jobs" ] || kill $jobs 2> /dev/null
    for name in $(ip netns list | cut -d' ' -f1); do
        kill $(ip netns pids "$name") 2> /dev/null
        ip netns del "$name"
    done
    until_ok "the end of all cables" no_cables
}
# A list that changes while it is told may lack some.
no_cables() {
    local name
    for name in $(ip -o link show type veth | sed -n 's/^[0-9]*: \([^@:]*\).*/\1/p'); do ip link del "$name"; done
    [ -z "$(ip -o link show type veth)" ]
}

lane=${KERNEL_LANE:-1/1}
[ $# -gt 0 ] || set -- $(declare -F | sed -n 's/^declare -f check_//p' | awk "NR % ${lane#*/} == ${lane%/*} % ${lane#*/}")
start_daemon
for name in "$@"; do
    began=$(date +%s%N)
    # In a shell of its own, so that it can be left at the first failure.
    ( set -e; "check_$name" ) > "$work/$name.out" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        { echo "-- the daemon's log"; tail -15 $work/ovs-vswitchd.log; cat $work/output; } >> "$work/$name.out"
    fi
    # A check may have stopped it or started another, or it crashed.
    daemon_pid=$(cat $work/ovs-vswitchd.pid 2> /dev/null)
    if [ -z "$daemon_pid" ] || is_gone "$daemon_pid"; then start_daemon; fi
    clean > /dev/null 2>&1
    { echo $status; cat "$work/$name.out"; } > "$RESULTS/$name.part"
    mv "$RESULTS/$name.part" "$RESULTS/$name"
    say "$name: $status ($((($(date +%s%N) - began) / 1000000)) ms)"
done
stop_daemon --cleanup
