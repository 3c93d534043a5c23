#!/usr/bin/env bash
# Measures, and writes docs/performance.md: whole processes beside Debian's ovs-vswitchd, then single functions.
#   VSWITCHD=path   the daemon to measure (.build/release/vswitchd)
#   FLOWS=n ROUNDS=n PACKETS=n
#   PARTS="flows functions"   which parts; the others keep what was measured before
set -euo pipefail
cd "$(dirname "$0")/.."
PARTS=${PARTS:-flows functions}

if [[ " $PARTS " == *" flows "* ]]; then
    python3 Benchmarks/compare.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --flows "${FLOWS:-100000}" \
        --rounds "${ROUNDS:-3}" --packets "${PACKETS:-20000}" --output docs/performance/flows.md
fi
if [[ " $PARTS " == *" functions "* ]]; then
    {
        echo "## Single functions"
        echo
        echo "Packets per second (K: thousands, M: millions) of \`FlowKey.extract\` and \`Classifier.lookup\` with the mask of consulted bits;"
        echo "\`Benchmarks/Micro\`, on $(date +%F). Rules and masks as \`Lookup.swift\` there makes them."
        echo
        (cd Benchmarks/Micro && swift package benchmark --no-progress --grouping metric --format markdown 2> /dev/null) | grep '^|'
    } > docs/performance/functions.md.new
    mv docs/performance/functions.md.new docs/performance/functions.md
fi
cat docs/performance/flows.md docs/performance/functions.md > docs/performance.md
