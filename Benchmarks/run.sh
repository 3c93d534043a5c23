#!/usr/bin/env bash
# Measures, and writes the files of docs/performance, which docs/performance.md lists: whole processes beside Debian's ovs-vswitchd,
# forwarding beside OVS-DPDK and testpmd, and single functions.
#   VSWITCHD=path   the daemon to measure (.build/release/vswitchd)
#   FLOWS=n ROUNDS=n PACKETS=n
#   PARTS="forwarding flows scale functions"   which parts; the others keep what was measured before
# Installs the peers from Debian's packages: openvswitch-switch-dpdk, dpdk, python3-matplotlib.
set -euo pipefail
cd "$(dirname "$0")/.."
PARTS=${PARTS:-forwarding flows scale functions}

if [[ " $PARTS " == *" forwarding "* ]]; then
    scripts/setup.sh openvswitch-switch-dpdk dpdk python3-matplotlib
    # The package puts itself in front of the ordinary daemon, which the other comparisons mean.
    update-alternatives --set ovs-vswitchd /usr/lib/openvswitch-switch/ovs-vswitchd > /dev/null
    pages=$(cat /proc/sys/vm/nr_hugepages)
    [ "$pages" -ge 1024 ] || echo 1024 > /proc/sys/vm/nr_hugepages
    mountpoint -q /dev/hugepages || { mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages; }
    # Debian's Python, which has Debian's matplotlib.
    /usr/bin/python3 Benchmarks/forward.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --rounds "${ROUNDS:-3}" \
        --output docs/performance/forwarding.md --plot docs/performance/forwarding.png
    /usr/bin/python3 Benchmarks/explosion.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --output docs/performance/explosion.md
    echo "$pages" > /proc/sys/vm/nr_hugepages
fi
if [[ " $PARTS " == *" flows "* ]]; then
    python3 Benchmarks/compare.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --flows "${FLOWS:-100000}" \
        --rounds "${ROUNDS:-3}" --packets "${PACKETS:-20000}" --output docs/performance/flows.md
fi
if [[ " $PARTS " == *" scale "* ]]; then
    python3 Benchmarks/scale.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --rounds "${ROUNDS:-3}" --output docs/performance/scale.md
fi
if [[ " $PARTS " == *" functions "* ]]; then
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
