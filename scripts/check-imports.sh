#!/usr/bin/env bash
# Holds the layering that Package.swift draws: no target imports one that is not listed among its dependencies, and
# nothing but vswitchd and tests knows a datapath provider.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
while read -r file; do
    target=$(echo "$file" | cut -d/ -f2)
    case "$target" in
    vswitchd | DpifNetlink | DpifNetdev | DpifDummy) ;;
    *)
        if grep -nE '^import (DpifNetlink|DpifNetdev|DpifDummy)\b' "$file" /dev/null; then
            echo "check-imports: only vswitchd may import a datapath provider" >&2
            failed=1
        fi
        ;;
    esac
    case "$target" in
    DpifNetlink | DpifNetdev | DpifDummy | Datapath | Netdev | Dpif)
        if grep -nE '^import (Ofproto|OpenFlow|Bridge)\b' "$file" /dev/null; then
            echo "check-imports: nothing below the seam may import what is above it" >&2
            failed=1
        fi
        ;;
    esac
done < <(find Sources -name '*.swift')
exit $failed
