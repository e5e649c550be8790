# shellcheck shell=bash
# Images, made on the spot. Part of containerd.sh and critest.sh.

layout=$work/layout

# oci_layout TAR: `$image` of the static busybox, as `skopeo copy … oci-archive:` would write it.
oci_layout() {
    rootfs "$work/rootfs"
    oci_image "$image" "$work/rootfs" '{"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "StopSignal": "SIGUSR1",
        "Cmd": ["sh", "-c", "trap '\''exit 0'\'' TERM; while :; do sleep 1000 & wait; done"]}'
    oci_archive "$1"
}

# oci_image NAME DIR CONFIG: one more image of the archive, of this root file system and with this `config`.
manifests=()
oci_image() {
    local layer config manifest
    mkdir -p "$layout/blobs/sha256"
    tar --owner 0 --group 0 --numeric-owner -C "$2" -cf "$work/layer" .
    layer=$(blob "$work/layer")
    cat > "$work/config" <<END
{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},
 "config":$3}
END
    config=$(blob "$work/config")
    cat > "$work/manifest" <<END
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
 "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(stat -c %s "$work/config")},
 "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$layer","size":$(stat -c %s "$work/layer")}]}
END
    manifest=$(blob "$work/manifest")
    manifests+=("{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$manifest\",
 \"size\":$(stat -c %s "$work/manifest"),\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"},
 \"annotations\":{\"io.containerd.image.name\":\"$1\",\"org.opencontainers.image.ref.name\":\"${1##*:}\"}}")
}

# oci_archive TAR: what `ctr image import` takes.
oci_archive() {
    (IFS=,; echo "{\"schemaVersion\":2,\"manifests\":[${manifests[*]}]}") > "$layout/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
    tar -C "$layout" -cf "$1" .
}

# blob FILE: puts it into the layout and prints its digest.
blob() {
    local digest
    digest=$(sha256sum < "$1" | cut -d ' ' -f 1)
    cp "$1" "$layout/blobs/sha256/$digest"
    echo "$digest"
}
