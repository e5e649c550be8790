#!/bin/bash
# critest of cri-tools (docs/clients.md) against containerd's CRI on $RUNTIME. The program is neither ours nor Debian's: it is
# `critest`, beside this script. The images that it would pull are there already, under their names: each is a busybox.
#
# What it tests of images and registries, of NRI and of SELinux is left out: no runtime is in it. So is NoNewPrivs, which takes a
# set-user-ID program that says who it is, for which the kernel takes no script, and what asks for nginx's own processes or for ipcs;
# MaskedPaths, since the shell of Debian's busybox is its own masked `ls`; execSync with timeout, which on this image fails on runc too.
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/containerd/daemon.sh"
. "$here/containerd/image.sh"

# named NAME [CONFIG]: an image of the root file system.
named() { oci_image "$1" "$work/rootfs" "{\"Env\": [\"PATH=/bin\"], \"Cmd\": [\"sh\"]${2:+, $2}}"; }

images() {
    local tests=registry.k8s.io/e2e-test-images staging=gcr.io/k8s-staging-cri-tools
    rootfs "$work/rootfs"
    mkdir -p "$work/rootfs/var/www"
    echo hello > "$work/rootfs/var/www/index.html"
    # As in cri-tools' images/image-predefined-group.
    echo 'default-user:x:1000:1000::/home:/bin/sh' >> "$work/rootfs/etc/passwd"
    printf 'www-data:x:33:33::/var/www:/bin/sh\nother:x:1002:1002::/home:/bin/sh\n' >> "$work/rootfs/etc/passwd"
    printf 'www-data:x:33:\nusers:x:100:\ngroup-defined-in-image:x:50000:default-user\n' >> "$work/rootfs/etc/group"
    sed -i /^user:/d "$work/rootfs/etc/passwd" "$work/rootfs/etc/group"
    named $image '"Cmd": ["sh", "-c", "trap '\''exit 0'\'' TERM; while :; do sleep 1000 & wait; done"]'
    named $tests/busybox:1.29-2
    named $tests/nginx:1.14-2 '"Cmd": ["httpd", "-f", "-p", "80", "-h", "/var/www"]'
    named $tests/httpd:2.4.39-4 '"Cmd": ["httpd", "-f", "-p", "80", "-h", "/var/www"]'
    named $staging/hostnet-nginx-amd64:latest '"Cmd": ["httpd", "-f", "-p", "12003", "-h", "/var/www"]'
    named $staging/test-image-predefined-group:latest '"User": "1000"'
    named $staging/test-image-user-uid:latest '"User": "1002"'
    named $staging/test-image-user-username:latest '"User": "www-data"'
    named $staging/test-image-user-uid-group:latest '"User": "1003:users"'
    named $staging/test-image-user-username-group:latest '"User": "www-data:100"'
    oci_archive "$work/images.tar"
}

# (Its iptables are for published ports.)
setup() {
    configure '{"type": "portmap", "capabilities": {"portMappings": true}}'
    modprobe -a bridge br_netfilter veth
    # It loads profiles by sudo.
    command -v sudo || { printf '#!/bin/sh\nexec "$@"\n' > /usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo; }
    images
    systemctl restart containerd
    until_ok 120 ctr version
    ctr --namespace k8s.io image import "$work/images.tar"
}

# Each test as a flow: critest's report by Python, in its order.
report() {
    python3 - "$1" <<'END'
import sys
import xml.etree.ElementTree as xml

counts = {"passed": 0, "failed": 0}
skipped = 0
for case in xml.parse(sys.argv[1]).iter("testcase"):
    name, status = case.get("name").removeprefix("[It] [k8s.io] ").removesuffix(" [Conformance]"), case.get("status")
    seconds = round(float(case.get("time")))
    if status == "passed" and case.get("name").startswith("[It]"):
        counts["passed"] += 1
        print(f"ok      {name} ({seconds} s)")
    elif status == "skipped" and (why := case.find("skipped")) is not None and "skipped - " in why.get("message", ""):
        skipped += 1
        print(f"SKIPPED {name}: {why.get('message').removeprefix('skipped - ')}")
    elif status not in ("passed", "skipped"):
        counts["failed"] += 1
        what = case.find("failure")
        what = what if what is not None else case.find("error")
        print(f"FAILED  {name} ({seconds} s): {status}")
        print("        " + (what.get("message", "") + "\n" + (what.text or "") if what is not None else "").replace("\n", "\n        "))
print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(counts["failed"] != 0 or counts["passed"] == 0)
END
}

[ -x "$here/critest" ] || { echo "no critest: CRITEST=PATH"; exit 1; }
( set -e; setup ) > "$work/setup" 2>&1 || { cat "$work/setup"; exit 1; }
cd "$work" || exit
only=()
[ -z "$ONLY" ] || only=(-ginkgo.focus "$ONLY")
"$here/critest" -runtime-endpoint unix:///run/containerd/containerd.sock -ginkgo.junit-report "$work/report" -ginkgo.no-color -ginkgo.seed 1 \
    "${only[@]}" -ginkgo.skip Image -ginkgo.skip NRI -ginkgo.skip SELinux -ginkgo.skip NoNewPrivs -ginkgo.skip 'HostPID|HostIpc|ContainerPID|MaskedPaths|execSync with timeout' > "$work/log" 2>&1
[ -s "$work/report" ] || { cat "$work/log"; exit 1; }
report "$work/report"
code=$?
rm -rf "$work"
exit $code
