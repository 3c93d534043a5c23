#!/usr/bin/env bash
# Compares whole processes: this switch and Debian's ovs-vswitchd, in one run, each with an ovsdb-server of its own, turn
# and turn about. Prints a table and writes it to docs/performance.md.
#   VSWITCHD=path   the daemon to measure (.build/release/vswitchd)
#   FLOWS=n ROUNDS=n PACKETS=n
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 Benchmarks/compare.py --vswitchd "${VSWITCHD:-.build/release/vswitchd}" --flows "${FLOWS:-100000}" \
    --rounds "${ROUNDS:-3}" --packets "${PACKETS:-20000}" --output "${OUTPUT:-docs/performance.md}"
