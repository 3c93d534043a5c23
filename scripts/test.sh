#!/usr/bin/env bash
# The whole test suite. Prints the test runner's own summary last.
set -euo pipefail
cd "$(dirname "$0")/.."
export SWIFT_BACKTRACE=enable=no

swift build --build-tests
# Debian's packages keep the real tools here.
export PATH="$PATH:/usr/sbin:/sbin:/usr/share/openvswitch/scripts"
swift test --skip-build
