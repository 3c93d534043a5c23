#!/usr/bin/env bash
# Runs a command in a Linux kernel of its own that has the openvswitch module: Debian's user-mode-linux, started as a process, with this
# machine's files as its root, read-only below a RAM overlay, so that nothing of what the command changes stays.
#
#     scripts/kernel.sh COMMAND [ARGUMENT...]
#
# The command runs as root in the current directory; its output and exit status come back. $RESULTS is a folder that both sides see, where
# it is set. KERNEL_TIMEOUT (seconds, 300) ends a kernel that hangs; KERNEL_MEMORY (2G) is the most that it uses; KERNEL_MODULES=none leaves
# openvswitch out.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
kernel=$(command -v linux.uml || true)
[ -n "$kernel" ] || { echo "kernel: linux.uml is missing: apt-get install user-mode-linux" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pid=
# timeout leads a group of its own, with all that it started.
trap '[ -z "$pid" ] || kill -KILL -- "-$pid" 2>/dev/null || true; rm -rf "$work" "${memory:-$work}"' EXIT
{
    printf 'cd %q\n' "$PWD"
    printf 'export PATH=%q\n' "$PATH:/usr/sbin:/sbin:/usr/share/openvswitch/scripts"
    [ -z "${RESULTS:-}" ] || printf 'export RESULTS=%q\n' "$RESULTS"
    while IFS='=' read -r name _; do printf 'export %s=%q\n' "$name" "${!name}"; done < <(env | grep -E '^KERNEL_[A-Z_]+=' || true)
    printf '%q ' "$@"
    echo
} > "$work/command"
# The kernel's memory is a file there: in RAM, where that is big enough.
memory=$work
[ ! -d /dev/shm ] || [ "$(df --output=avail -B1M /dev/shm | tail -1)" -lt 3000 ] || memory=/dev/shm
memory=$(mktemp -d "$memory/kernel-XXXXXX")
registers=
if grep -qw amx_tile /proc/cpuinfo; then
    registers=LD_PRELOAD=$work/whole-registers.so
    clang -O1 -shared -fPIC -o "$work/whole-registers.so" "$here/whole-registers.c"
fi
timeout --signal=KILL "${KERNEL_TIMEOUT:-300}" env -i PATH="$PATH" TMPDIR="$memory" ${registers:+"$registers"} \
    "$kernel" mem="${KERNEL_MEMORY:-2G}" umid="vsw$$" uml_dir="$work" rootfstype=hostfs ro init="$here/kernel-init.sh" work="$work" results="${RESULTS:-}" here="$PWD" modules="${KERNEL_MODULES:-}" \
    quiet loglevel=1 con=null con0=null,fd:1 > "$work/console" 2>&1 < /dev/null &
pid=$!
wait "$pid" || true
# A kernel that aborts leaves its processes behind.
kill -KILL -- "-$pid" 2>/dev/null || true
pid=
cat "$work/result.out" 2>/dev/null || true
if [ ! -f "$work/result.status" ]; then
    echo "kernel: it ended without a result:" >&2
    tail -20 "$work/console" >&2
    exit 3
fi
exit "$(cat "$work/result.status")"
