#!/bin/bash
# The first process of the kernel that kernel.sh starts: makes the root writable in RAM, loads modules, runs the command, and turns the
# kernel off. Parameters come from the kernel's command line: work, results, here, modules.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
tree=/usr/lib/uml/modules/$(uname -r)

# Loads modules by name with what they depend on, those first.
load() {
    local name file dependencies
    for name in "$@"; do
        name=${name//-/_}
        [ ! -d "/sys/module/$name" ] || continue
        file=$(grep -E "/${name//_/[-_]}\.ko:" "$tree/modules.dep" | head -1)
        [ -n "$file" ] || continue
        dependencies=${file#*:}
        set -- $dependencies
        local i
        for ((i = $#; i > 0; i--)); do insmod "$tree/${!i}" 2>/dev/null; done
        insmod "$tree/${file%%:*}" 2>/dev/null
    done
}
load overlay
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
if ! mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root; then
    echo "kernel-init: no overlay"
    echo o > /proc/sysrq-trigger
fi
mount --move /proc /mnt/root/proc
mount --move /sys /mnt/root/sys
mount -t devtmpfs devtmpfs /mnt/root/dev
mkdir -p /mnt/root/dev/pts /mnt/root/dev/shm
mount -t tmpfs tmpfs /mnt/root/dev/shm
for folder in tmp run; do mount -t tmpfs tmpfs /mnt/root/$folder; done
for folder in "$work" $results; do
    mkdir -p "/mnt/root$folder"
    mount -t hostfs none -o "$folder" "/mnt/root$folder"
done
# A checkout below /tmp or /run is hidden by now.
[ -d "/mnt/root$here" ] || { mkdir -p "/mnt/root$here" && mount -r -t hostfs none -o "$here" "/mnt/root$here"; }
export work results modules tree
export -f load
exec chroot /mnt/root /bin/bash -c '
    ip link set lo up
    load ipv6 veth tun
    if [ "$modules" != none ]; then
        load openvswitch vport-vxlan vport-geneve vport-gre ip_gre ip6_gre bareudp psample nf_conntrack_netlink nf_conntrack_ftp nfnetlink_cttimeout \
            sch_htb sch_hfsc sch_sfq sch_codel sch_fq_codel sch_netem sch_ingress 8021q act_police cls_matchall cls_basic cls_u32 $modules
    fi
    bash "$work/command" > "$work/result.out" 2>&1 < /dev/null
    echo $? > "$work/result.status.part"
    mv "$work/result.status.part" "$work/result.status"
    echo o > /proc/sysrq-trigger
    sleep 60'
