#!/usr/bin/env bash
# Installs what building, running and testing need from Debian's packages, and what is named as an argument, and says what. Does nothing
# when all is there.
set -euo pipefail

packages=(
    make pkg-config binutils
    libdpdk-dev libmnl-dev libnuma-dev          # libraries of the datapaths
    dpdk-dev                                    # testpmd, which is the guest of vhost-user ports in the tests
    openvswitch-switch openvswitch-common       # ovs-vsctl, ovs-ofctl, ovs-appctl, ovsdb-server; the schema; the oracle
    iproute2 iputils-ping procps                # namespaces and pings of `make run` and the tests
    user-mode-linux conntrack                   # a kernel with the openvswitch module, for the tests of the kernel's datapath
    python3 python3-venv                        # controllers that the tests run
    openssl                                     # keys for the tests of TLS
)

missing=()
for package in "${packages[@]}" "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "setup: these Debian packages are missing, and installing them takes root: ${missing[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The package starts Open vSwitch's own daemons; this switch wants their place.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.vswitch
chmod +x /usr/sbin/policy-rc.d.vswitch
made_policy=
if [ ! -e /usr/sbin/policy-rc.d ]; then
    mv /usr/sbin/policy-rc.d.vswitch /usr/sbin/policy-rc.d
    made_policy=1
else
    rm /usr/sbin/policy-rc.d.vswitch
fi
trap '[ -z "$made_policy" ] || rm -f /usr/sbin/policy-rc.d' EXIT
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
