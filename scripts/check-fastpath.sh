#!/usr/bin/env bash
# Fails when a compiled per-packet function counts references, allocates, locks or calls through an existential. Looks at the symbols
# of the release build, or of the binary that it is given.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-.build/release/vswitchd}
[ $# -gt 0 ] || swift build -c release --product vswitchd > /dev/null
# Mangled names of what runs for each packet or batch, by the parts that matter.
functions='8FastPath8PipelineV(4poll|9passAsOne|5match|3act|7execute|8transmit|4send|5flush|8handOver|10countFlags|4keep|11recirculate|11lookUpAgain|8actAgain|7resolve)|8FastPath9FlowStoreV(4find|4hash|6covers|11agreesWhole)|8FastPath9HintCacheV(5first|8remember|9candidate|4grow)|8FastPath9FlowEntryV(5count|3add)|8FastPath8FlowHashV|8FastPath12HeaderWindowV6agrees|8FastPath11HeaderShapeV|8FastPath8FlowStepV|8FastPath10PacketHashO|8FastPath13RecirculationV'
forbidden='swift_(retain|release|alloc|dealloc|bridgeObject|once|beginAccess|getWitnessTable|project_boxed|dynamicCast|unknownObject)|<(malloc|free|calloc|pthread_mutex)|__swift_project'
checked=0
failed=0
while read -r symbol; do
    checked=$((checked + 1))
    if calls=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$binary" | grep -E "call|jmp" | grep -E "$forbidden"); then
        echo "check-fastpath: $(swift demangle --compact "$symbol"):" >&2
        echo "$calls" >&2
        failed=1
    fi
done < <(nm "$binary" | awk '$2 ~ /[tT]/ { print $3 }' | grep -E "^.s($functions)" | grep -vE 'ly$|Wl$|Ma$|Mn$' || true)
[ "$checked" -ge 3 ] || { echo "check-fastpath: found $checked functions of the fast path in $binary; the names have changed" >&2; exit 1; }
[ "$failed" -eq 0 ] && echo "check-fastpath: $checked functions, no reference counting, allocation or lock"
exit $failed
