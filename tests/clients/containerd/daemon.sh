# shellcheck shell=bash
# containerd's configuration. Part of containerd.sh and critest.sh.

image=localhost/tiny:1
state=/run/containerd/runc

# configure [PLUGIN]: a runtime class of $RUNTIME, $image for sandboxes, a bridge with this plugin of CNI too. Version 2 is read by containerd 1.7 and 2.
configure() {
    local cri='plugins."io.containerd.grpc.v1.cri"'
    cat > /etc/containerd/config.toml <<END
version = 2
[$cri]
  sandbox_image = "$image"
  [$cri.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [$cri.containerd]
    default_runtime_name = "tested"
  [$cri.containerd.runtimes.tested]
    runtime_type = "io.containerd.runc.v2"
    [$cri.containerd.runtimes.tested.options]
      BinaryName = "$RUNTIME"
      SystemdCgroup = $([ "$DRIVER" = systemd ] && echo true || echo false)
END
    mkdir -p /etc/cni/net.d
    cat > /etc/cni/net.d/10-flows.conflist <<END
{"cniVersion": "1.0.0", "name": "flows", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}, {"type": "loopback"}${1:+, $1}]}
END
}
