#!/bin/bash
# containerd's flows (docs/clients.md): its runc.v2 shim by `ctr` (containerd/ctr.sh) and its CRI (containerd/cri.sh, with the client
# containerd/cri.py), with no registry and no network. Every start of a Go program takes seconds in a VM without KVM, so a container is
# asked many things at once, and most flows of the CRI share one pod.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

tasks=/run/containerd/io.containerd.runtime.v2.task
cri_port=10350

. "$here/containerd/daemon.sh"
. "$here/containerd/image.sh"
. "$here/containerd/ctr.sh"
. "$here/containerd/cri.sh"

missing() { [ ! -e "$1" ]; }
not() { ! "$@"; }
ends() { ! kill -0 "$1" 2> /dev/null; }
# disk: the block device of /.
disk() { findmnt -no SOURCE /; }
capabilities() { awk '/^CapEff/ { print $2 }' /proc/self/status; }
apparmor_is_here() { [ -e /sys/kernel/security/apparmor/profiles ]; }

# profile NAME: loads an AppArmor profile that denies /etc/secret.
profile() {
    printf 'profile %s flags=(attach_disconnected) {\n file,\n network,\n capability,\n signal,\n deny /etc/secret rwklx,\n}\n' "$1" | apparmor_parser -r
}

# A profile with which mkdir(2) fails with EXDEV, which nothing else gives.
no_mkdir() {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18}]}' > "$work/seccomp.json"
}

setup() {
    configure
    systemctl restart containerd
    oci_layout "$work/tiny.tar"
    until_ok 120 "$ctr_program" version
    for namespace in flows k8s.io; do
        "$ctr_program" --namespace $namespace image import "$work/tiny.tar"
    done
    until_ok 120 cri Version
}

# Containers of both kinds outlive containerd.
containerd_restarted() {
    up restart -- sleep 1000
    shared_pod
    started "survivor" '{}' sleep 1000
    systemctl restart containerd
    until_ok 120 "$ctr_program" version
    until_ok 120 cri Version
    is restart RUNNING
    exits 4 inside restart sh -c 'exit 4'
    ctr task kill --signal KILL restart
    until_ok 30 is restart STOPPED
    container_is "$container" RUNNING
    exits 5 in_container "$container" sh -c 'exit 5'
}

# What all of the others have left: nothing.
nothing_left() {
    shared_pod
    unpod "$pod"
    same '' "$(ctr task ls -q; "$ctr_program" --namespace k8s.io task ls -q)" tasks
    # (crun keeps the filters that it has compiled.)
    local cache=(); [ "$runtime_name" != crun ] || cache=(-name .cache -prune -o)
    same '' "$(find $state/flows $state/k8s.io -mindepth 1 "${cache[@]}" -print 2> /dev/null || true)" state
    # (A pod's own cgroup is its kubelet's.)
    same '' "$(find /sys/fs/cgroup/flows.slice /sys/fs/cgroup/flows /sys/fs/cgroup/flowpods -type d \
        \( -name '*.scope' -o -path '*/flows/*' -o -path '*/flowpods/*/*' \) 2> /dev/null || true)" cgroups
    same '' "$(pgrep -af '^sleep [12]00' || true)" processes
}

python3 "$here/containerd/cri.py" /run/containerd/containerd.sock $cri_port > "$work/cri.log" 2>&1 &
cri_server=$!
( set -e; setup ) > "$work/setup" 2>&1 || { cat "$work/setup" "$work/cri.log"; kill "$cri_server"; exit 1; }
for name in "${ctr_flows[@]}" "${cri_flows[@]}"; do
    flow "$name"
done
flow containerd_restarted
flow nothing_left
kill "$cri_server"
finish
