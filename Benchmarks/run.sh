#!/usr/bin/env bash
# Measures, and writes the files of docs/performance, which docs/performance.md lists: whole processes beside Debian's ovs-vswitchd,
# forwarding, setting up flows and latency beside OVS-DPDK and testpmd, a soak, and single functions.
#   VSWITCHD=path   the daemon to measure (.build/release/vswitchd)
#   FLOWS=n ROUNDS=n PACKETS=n
#   PARTS="forwarding attack setups latency soak flows scale functions"   which parts, and kernel; the others keep what was measured before
#   MINUTES=n       how long the soak takes (10)
# Installs the peers from Debian's packages: openvswitch-switch-dpdk, dpdk, python3-matplotlib.
set -euo pipefail
restore=:
trap 'eval "$restore"' EXIT
cd "$(dirname "$0")/.."
PARTS=${PARTS:-forwarding attack setups latency soak flows scale functions}
VSWITCHD=${VSWITCHD:-.build/release/vswitchd}
failed=0

wanted() { [[ " $PARTS " == *" $1 "* ]]; }

if wanted forwarding || wanted attack || wanted setups || wanted latency || wanted soak; then
    scripts/setup.sh openvswitch-switch-dpdk dpdk python3-matplotlib
    # The package puts itself in front of the ordinary daemon, which the other comparisons mean.
    update-alternatives --set ovs-vswitchd /usr/lib/openvswitch-switch/ovs-vswitchd > /dev/null
    # Forwarding takes 8 GB of packets, of a million flows or of three switches at once, and 2 GB that may be slow; all else 2 GB.
    pages=$(cat /proc/sys/vm/nr_hugepages)
    restore="$restore; echo $pages > /proc/sys/vm/nr_hugepages"
    needed=1024
    ! wanted forwarding || needed=5120
    [ "$pages" -ge "$needed" ] || echo "$needed" > /proc/sys/vm/nr_hugepages
    mountpoint -q /dev/hugepages || { mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages; }
    # Debian's Python, which has Debian's matplotlib.
    ! wanted forwarding || /usr/bin/python3 Benchmarks/forward.py --vswitchd "$VSWITCHD" --rounds "${ROUNDS:-3}" \
        --output docs/performance/forwarding.md --plot docs/performance/forwarding.png
    ! wanted attack || /usr/bin/python3 Benchmarks/explosion.py --vswitchd "$VSWITCHD" --output docs/performance/explosion.md
    ! wanted setups || /usr/bin/python3 Benchmarks/setups.py --vswitchd "$VSWITCHD" --rounds "${ROUNDS:-3}" --output docs/performance/setups.md
    ! wanted latency || /usr/bin/python3 Benchmarks/latency.py --vswitchd "$VSWITCHD" --rounds "${ROUNDS:-3}" --output docs/performance/latency.md
    if wanted soak; then
        # What is wrong is told at the end, after the other parts.
        /usr/bin/python3 Benchmarks/soak.py --vswitchd "$VSWITCHD" --minutes "${MINUTES:-10}" --output docs/performance/soak.md || failed=1
    fi
fi
if wanted kernel; then
    # In a kernel that has the module and little else: an hour is more than it ever took.
    # That kernel maps each page of its processes by itself.
    maps=$(cat /proc/sys/vm/max_map_count)
    restore="$restore; echo $maps > /proc/sys/vm/max_map_count"
    echo 1000000 > /proc/sys/vm/max_map_count
    RESULTS=$PWD/docs/performance KERNEL_TIMEOUT=3600 KERNEL_MEMORY=7G scripts/kernel.sh python3 Benchmarks/kernel.py --vswitchd "$VSWITCHD" \
        --output docs/performance/kernel.md
fi
if wanted flows; then
    python3 Benchmarks/compare.py --vswitchd "$VSWITCHD" --flows "${FLOWS:-100000}" \
        --rounds "${ROUNDS:-3}" --packets "${PACKETS:-20000}" --output docs/performance/flows.md
fi
if wanted scale; then
    python3 Benchmarks/scale.py --vswitchd "$VSWITCHD" --rounds "${ROUNDS:-3}" --output docs/performance/scale.md
fi
if wanted functions; then
    {
        echo "# Single functions"
        echo
        echo "Packets per second (K: thousands, M: millions) of \`FlowKey.extract\` and \`Classifier.lookup\` with the mask of consulted bits;"
        echo "\`Benchmarks/Micro\`, on $(date +%F). Rules and masks as \`Lookup.swift\` there makes them."
        echo
        (cd Benchmarks/Micro && swift package benchmark --no-progress --grouping metric --format markdown 2> /dev/null) | grep '^|'
    } > docs/performance/functions.md.new
    mv docs/performance/functions.md.new docs/performance/functions.md
fi
exit "$failed"
