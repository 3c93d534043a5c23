#!/usr/bin/env bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each (60), starting from Fuzz/Corpus.
# What crashes is left in .build-fuzz/artifacts; put it into Fuzz/Corpus/TARGET when it is fixed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
scratch=${FUZZ_SCRATCH:-.build-fuzz}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(packet odp openflow oxm json ovsdb protocols netlink actions learn groups meters bundles conntrack)
# Leaks are not looked for: Swift keeps tags in pointers, and globals that hold them look lost.
# Swift's own backtraces can hang after a trap; libFuzzer prints what is needed.
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 VSWITCH_FUZZ=1

${SWIFT:-swift} build --scratch-path "$scratch" --product fuzz -Xswiftc -sanitize=fuzzer,address \
    -Xswiftc -O -Xswiftc -assert-config -Xswiftc Debug
mkdir -p "$scratch/artifacts"
status=0
for target in "${targets[@]}"; do
    found="$scratch/corpus/$target"
    mkdir -p "$found"
    echo "fuzz: $target for $seconds s"
    if ! FUZZ_TARGET=$target "$scratch/debug/fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 \
        -max_len=4096 -detect_leaks=0 -artifact_prefix="$scratch/artifacts/$target-" \
        "$found" "Fuzz/Corpus/$target" 2>"$scratch/$target.log"; then
        tail -n 40 "$scratch/$target.log"
        echo "fuzz: $target failed"
        status=1
    fi
done
[ $status -eq 0 ] && echo "fuzz: no crash in ${#targets[@]} targets"
exit $status
