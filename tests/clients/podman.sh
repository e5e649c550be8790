#!/bin/bash
# Podman's flows (docs/clients.md).
. "$(dirname "$(readlink -f "$0")")/lib.sh"

mkdir -p /etc/containers
printf '[engine.runtimes]\n%s = ["%s"]\n' "$runtime_name" "$RUNTIME" > /etc/containers/containers.conf
podman() { command podman --runtime "$RUNTIME" --cgroup-manager "$DRIVER" "$@"; }

image() {
    rootfs "$work/rootfs"
    tar -C "$work/rootfs" -c . | podman import - localhost/tiny
}

run_exit_code() {
    exits 3 podman run --rm localhost/tiny sh -c 'echo out; exit 3'
    same out "$output"
}

flow image
flow run_exit_code
finish
