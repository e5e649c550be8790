# shellcheck shell=bash
# An image, made on the spot. Part of containerd.sh.

# oci_layout TAR: `$image` of the static busybox, as `skopeo copy … oci-archive:` would write it.
oci_layout() {
    local dir=$work/layout layer config manifest
    mkdir -p "$dir/blobs/sha256"
    rootfs "$work/rootfs"
    tar --owner 0 --group 0 --numeric-owner -C "$work/rootfs" -cf "$work/layer" .
    layer=$(blob "$work/layer")
    cat > "$work/config" <<END
{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},
 "config":{"Env":["PATH=/bin","FROM_IMAGE=yes"],"Cmd":["sh","-c","trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"],"StopSignal":"SIGUSR1"}}
END
    config=$(blob "$work/config")
    cat > "$work/manifest" <<END
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
 "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(stat -c %s "$work/config")},
 "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(stat -c %s "$work/layer")}]}
END
    manifest=$(blob "$work/manifest")
    cat > "$dir/index.json" <<END
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest",
 "size":$(stat -c %s "$work/manifest"),"platform":{"architecture":"amd64","os":"linux"},
 "annotations":{"io.containerd.image.name":"$image","org.opencontainers.image.ref.name":"1"}}]}
END
    echo '{"imageLayoutVersion":"1.0.0"}' > "$dir/oci-layout"
    tar -C "$dir" -cf "$1" .
}

# blob FILE: puts it into the layout and prints its digest.
blob() {
    local digest
    digest=$(sha256sum < "$1" | cut -d ' ' -f 1)
    cp "$1" "$work/layout/blobs/sha256/$digest"
    echo "$digest"
}

